//! The addresses that are listened on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::failure::Failure;

/// Clients that the kernel keeps waiting at each address.
const BACKLOG: i32 = 128;

/// An address: listened on, or not there yet.
#[derive(Debug)]
pub(super) enum Listening {
    /// Clients may come.
    Here(TcpListener),
    /// No interface has it: the virtual IP on a standby, say.
    NotYet(SocketAddr),
}

/// Listens on an address, or finds that no interface has it yet.
///
/// # Errors
/// Everything else: taken, or not permitted.
pub(super) fn listen(address: SocketAddr) -> Result<Listening, Failure> {
    match bound(address) {
        Ok(listener) => Ok(Listening::Here(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(Listening::NotYet(address)),
        Err(error) => Err(Failure::failed(
            format!("the agent can't listen on {address}: {error}"),
            "nobody could ask it for this node's health: no load balancer, no monitoring, not the peer's agent",
            format!(
                "see who has the port (ss -ltnp 'sport = :{}'), or name another one in `agent: {{listen: […]}}`",
                address.port()
            ),
        )),
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for what is left of old connections.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] may both be named, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
