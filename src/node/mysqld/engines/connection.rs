//! A connection with limits, and what its errors mean.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use mysql::{Conn, DriverError, Error, OptsBuilder};

use super::super::handshake;
use super::super::verify::{DENIED, FULL};
use super::{Account, Server};
use crate::failure::Failure;
use crate::observation::MysqldAnswer;

/// For the greeting: the library's own waiting for it has the limit of an answer.
const GREETING: Duration = Duration::from_secs(5);
/// For an answer. Counting 100 000 tables takes a server a minute.
const ANSWER: Duration = Duration::from_secs(330);
/// ER_SPECIFIC_ACCESS_DENIED_ERROR.
const NOT_PERMITTED: u16 = 1227;
/// Set so that the library need not ask for it, in bytes.
const MAX_PACKET: usize = 16 * 1024 * 1024;

pub(super) fn open(server: &Server, account: &Account) -> Result<Conn, Failure> {
    let options = OptsBuilder::new()
        .user(Some(account.user().to_owned()))
        .pass(account.credentials.as_ref().and_then(|credentials| {
            credentials.password.as_ref().map(|password| password.expose().to_owned())
        }))
        .max_allowed_packet(Some(MAX_PACKET))
        .tcp_connect_timeout(Some(GREETING))
        .read_timeout(Some(ANSWER))
        .write_timeout(Some(ANSWER))
        // Else the library goes on over the Unix socket of a server on this host.
        .prefer_socket(false);
    let (answer, options) = match server {
        Server::Socket(path) => {
            let path = path.to_string_lossy().into_owned();
            (handshake::handshake(path.as_ref(), GREETING), options.socket(Some(path)))
        }
        Server::Tcp { host, port } => {
            (greeting(host, *port), options.ip_or_hostname(Some(host.clone())).tcp_port(*port))
        }
    };
    match answer {
        MysqldAnswer::Ready => Conn::new(options).map_err(|error| failure(server, account, &error)),
        MysqldAnswer::Busy => Err(full(server)),
        MysqldAnswer::Silent => Err(unreachable(server, "nothing listens there")),
        MysqldAnswer::Stalled(cause) => Err(unreachable(server, &cause)),
    }
}

fn greeting(host: &str, port: u16) -> MysqldAnswer {
    let mut found = match (host, port).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => return MysqldAnswer::Stalled(format!("the name can't be resolved: {error}")),
    };
    match found.find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }) {
        Some(address) => handshake::handshake_tcp(address, port, GREETING),
        None => MysqldAnswer::Stalled("it has no IPv4 address".to_owned()),
    }
}

/// Whether the account lacks a privilege.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == NOT_PERMITTED)
}

/// What an error means to a person.
pub(super) fn failure(server: &Server, account: &Account, error: &Error) -> Failure {
    let user = account.user();
    let why = "the storage engines can't be counted over SQL";
    match error {
        Error::MySqlError(error) if DENIED.contains(&error.code) => Failure::failed(
            format!("{server} denies the account {user}: {error}"),
            why,
            if account.credentials.is_some() {
                format!("check user and password in the credentials file, and: SHOW GRANTS FOR {user}")
            } else {
                "name an account: --credentials FILE, or mysqld.credentials in the configuration".to_owned()
            },
        ),
        Error::MySqlError(error) if FULL.contains(&error.code) => full(server),
        Error::DriverError(DriverError::UnknownAuthPlugin(plugin)) => Failure::failed(
            format!("{server} wants the account {user} to log in by {plugin}, which standin can't"),
            why,
            "use an account that logs in with a password (caching_sha2_password or mysql_native_password), or over the socket",
        ),
        error => unreachable(server, &error.to_string()),
    }
}

fn full(server: &Server) -> Failure {
    Failure::failed(
        format!("{server} answers that it has no connection left"),
        "the storage engines can't be counted over SQL",
        "try again later, or raise max_connections",
    )
}

fn unreachable(server: &Server, cause: &str) -> Failure {
    Failure::failed(
        format!("no answer from {server}: {cause}"),
        "the storage engines can't be counted over SQL",
        "check that the server runs and listens there, or scan its files: standin audit --datadir DIR",
    )
}
