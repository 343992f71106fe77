//! A query through the virtual IP: the way that clients come.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, DriverError, Error, Value};

use super::{connect, handshake};
use crate::failure::Failure;
use crate::node::credentials::{self, Credentials};
use crate::node::{Applied, Attempt};
use crate::observation::MysqldAnswer;

/// ER_CON_COUNT_ERROR, ER_HOST_IS_BLOCKED, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED.
pub(super) const FULL: [u16; 4] = [1040, 1129, 1203, 1226];

/// ER_ACCESS_DENIED_ERROR, ER_HOST_NOT_PRIVILEGED, ER_NOT_SUPPORTED_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED,
/// ER_ACCESS_DENIED_NO_PASSWORD_ERROR, ER_MUST_CHANGE_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN,
/// ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL, MariaDB), ER_SECURE_TRANSPORT_REQUIRED: the account is at fault, not the server.
pub(super) const DENIED: [u16; 10] = [1045, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159, 4151];

/// Connects to `vip` over TCP and compares `read_only` and the host name with what they must be. Without usable
/// credentials the handshake is all that can be had, which is a warning. So is a full server, and one that knows no such account.
///
/// # Errors
/// Nothing answers there, another host does, or `read_only` is not as configured.
pub fn verify(
    vip: Ipv4Addr,
    port: u16,
    read_only: bool,
    credentials: Option<&Path>,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let Some(file) = credentials else {
        return greeted(vip, port, "no credentials are configured", attempt);
    };
    let account = match credentials::read(file) {
        Ok(account) => account,
        // A file that is unfit is no reason to take a server that serves down again.
        Err(failure) => return greeted(vip, port, &failure.seen, attempt),
    };
    match query(vip, port, &account, limit(attempt)) {
        Ok((actual, host)) => compare(vip, read_only, &actual, &host),
        Err(Error::MySqlError(error)) if DENIED.contains(&error.code) => Ok(Applied::done().warning(format!(
            "{vip}:{port} answers, but denies the account in {} (error {}); read_only was not checked",
            file.display(),
            error.code
        ))),
        Err(Error::MySqlError(error)) if FULL.contains(&error.code) => {
            Ok(Applied::done().warning(format!("{vip}:{port} answers that it is full; read_only was not checked")))
        }
        Err(Error::DriverError(DriverError::UnknownAuthPlugin(plugin))) => Ok(Applied::done().warning(format!(
            "{vip}:{port} answers, but wants the account in {} to log in by {plugin}, which standin can't; read_only \
             was not checked",
            file.display()
        ))),
        Err(error) => Err(unreachable(vip, port, &error.to_string())),
    }
}

/// Without an account the handshake is all that can be had.
fn greeted(vip: Ipv4Addr, port: u16, cause: &str, attempt: &Attempt) -> Result<Applied, Failure> {
    match handshake::handshake_tcp(vip, port, limit(attempt)) {
        MysqldAnswer::Ready => Ok(Applied::done()
            .note("handshake only")
            .warning(format!("{cause}, so read_only was not checked"))),
        MysqldAnswer::Busy => Ok(Applied::done().warning(format!("{vip}:{port} answers that it is full"))),
        MysqldAnswer::Silent => Err(unreachable(vip, port, "nothing listens there")),
        MysqldAnswer::Stalled(cause) => Err(unreachable(vip, port, &cause)),
    }
}

/// Never zero: the socket options take that for "no limit".
fn limit(attempt: &Attempt) -> Duration {
    attempt.remaining().max(Duration::from_millis(100))
}

fn query(vip: Ipv4Addr, port: u16, account: &Credentials, limit: Duration) -> Result<(Value, String), Error> {
    let options = connect::options(account, limit).ip_or_hostname(Some(vip.to_string())).tcp_port(port);
    let mut connection = Conn::new(options)?;
    let row: Option<(Value, String)> = connection.query_first("SELECT @@global.read_only, @@hostname")?;
    Ok(row.unwrap_or((Value::NULL, String::new())))
}

fn compare(vip: Ipv4Addr, read_only: bool, actual: &Value, host: &str) -> Result<Applied, Failure> {
    let here = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !same_host(host, &here) {
        return Err(Failure::failed(
            format!("the server behind {vip} says that it runs on {host}, and this host is {here}"),
            "clients would reach another server than the one that was started here",
            format!("find out who else has the address: arping -I INTERFACE {vip}"),
        ));
    }
    match is_on(actual) {
        Some(actual) if actual == read_only => {
            Ok(Applied::done().note(format!("read_only={}", u8::from(actual))))
        }
        Some(actual) => Err(Failure::failed(
            format!(
                "read_only is {} on the server behind {vip}, and must be {}",
                u8::from(actual),
                u8::from(read_only)
            ),
            if read_only { "clients could write" } else { "clients can't write" },
            "set read_only in the server's my.cnf, or correct it in standin's configuration",
        )),
        None => Ok(Applied::done().warning(format!("read_only has a value that is not known: {actual:?}"))),
    }
}

/// A number in MySQL and MariaDB; a word since MariaDB 12, where every word but OFF forbids writes to somebody.
fn is_on(value: &Value) -> Option<bool> {
    match value {
        Value::Int(number) => Some(*number != 0),
        Value::UInt(number) => Some(*number != 0),
        Value::Bytes(text) => match String::from_utf8_lossy(text).to_ascii_uppercase().as_str() {
            "0" | "OFF" => Some(false),
            "1" | "ON" => Some(true),
            text if text.starts_with("NO_LOCK") => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// One of them may carry its domain. An unknown name proves nothing.
fn same_host(theirs: &str, ours: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    theirs.is_empty() || ours.is_empty() || short(theirs) == short(ours)
}

fn unreachable(vip: Ipv4Addr, port: u16, cause: &str) -> Failure {
    Failure::failed(
        format!("no query through {vip}:{port}: {cause}"),
        "clients come this way, so they are not served",
        format!(
            "check bind_address and port in my.cnf: ss -ltnp 'sport = :{port}'; ip address show to {vip}"
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::node::Progress;

    struct Quiet;

    impl Progress for Quiet {
        fn report(&self, _: &str) {}
    }

    fn verified(bytes: &'static [u8]) -> Result<Applied, Failure> {
        verified_as(None, bytes)
    }

    fn verified_as(credentials: Option<&Path>, bytes: &'static [u8]) -> Result<Applied, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(bytes).unwrap();
            stream
        });
        let attempt = Attempt::new(Duration::from_millis(300), Box::new(Quiet));
        let result = verify(Ipv4Addr::LOCALHOST, port, false, credentials, &attempt);
        drop(server.join());
        result
    }

    #[test]
    fn without_credentials_the_handshake_is_all() {
        assert!(
            verified(b"\x4a\0\0\0\x0a10.11").unwrap().warning.unwrap().contains("read_only was not checked")
        );
        assert!(verified(b"\x17\0\0\0\xff\x10\x04#08004Too many").unwrap().warning.unwrap().contains("full"));
        assert!(verified(b"").unwrap_err().seen.contains("no greeting"));
    }

    #[test]
    fn an_unfit_credentials_file_is_a_warning() {
        let file = Path::new("/nonexistent/standin.cnf");
        let applied = verified_as(Some(file), b"\x4a\0\0\0\x0a10.11").unwrap();
        assert!(applied.warning.unwrap().contains("/nonexistent/standin.cnf can't be read"));
        assert!(verified_as(Some(file), b"").is_err());
    }

    #[test]
    fn nothing_there_fails() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let attempt = Attempt::new(Duration::from_millis(300), Box::new(Quiet));
        let failure = verify(Ipv4Addr::LOCALHOST, port, false, None, &attempt).unwrap_err();
        assert!(failure.seen.contains("nothing listens"));
    }

    #[test]
    fn read_only_and_host_are_compared() {
        let here = nix::unistd::gethostname().unwrap().to_string_lossy().into_owned();
        let vip = Ipv4Addr::LOCALHOST;
        assert!(compare(vip, false, &Value::Int(0), &here).is_ok());
        assert!(compare(vip, true, &Value::Bytes(b"NO_LOCK_NO_ADMIN".to_vec()), &here).is_ok());
        assert!(compare(vip, false, &Value::Int(1), &here).unwrap_err().why.contains("can't write"));
        assert!(compare(vip, false, &Value::Int(0), "somebody-else").is_err());
        assert!(same_host("DB1.example.com", "db1") && same_host("", "db1") && !same_host("db1", "db2"));
    }
}
