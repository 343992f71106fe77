//! How standin's own questions reach the server: over its socket, or at the virtual IP where the account may only come from there.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mysql::{Conn, Error, OptsBuilder};

use crate::node::credentials::Credentials;

/// Larger than any answer, in bytes; set so that the library need not ask for it.
const MAX_PACKET: usize = 1024 * 1024;

/// An error in words: the library's own are those of its data types.
pub(super) fn said(error: &Error) -> String {
    match error {
        Error::MySqlError(error) => format!("error {}: {}", error.code, error.message),
        Error::DriverError(error) => error.to_string(),
        Error::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The account, and the limit for each step.
pub(super) fn options(account: &Credentials, limit: Duration) -> OptsBuilder {
    OptsBuilder::new()
        // Else the library goes on over the server's Unix socket, which would prove nothing about an address.
        .prefer_socket(false)
        .user(Some(account.user.clone()))
        .pass(account.password.as_ref().map(|password| password.expose().to_owned()))
        .max_allowed_packet(Some(MAX_PACKET))
        .tcp_connect_timeout(Some(limit))
        .read_timeout(Some(limit))
        .write_timeout(Some(limit))
}

/// Connects over the socket, or at the address when the server does not let the account in there.
///
/// # Errors
/// That of the socket.
pub(super) fn over_socket_or_address(
    socket: &Path,
    (vip, port): (Ipv4Addr, u16),
    account: &Credentials,
    limit: Duration,
) -> Result<Conn, Error> {
    let over_socket = options(account, limit).socket(Some(socket.to_string_lossy()));
    Conn::new(over_socket).or_else(|error| match error {
        Error::MySqlError(_) => {
            let at_address = options(account, limit).ip_or_hostname(Some(vip.to_string())).tcp_port(port);
            Conn::new(at_address).map_err(|_| error)
        }
        other => Err(other),
    })
}
