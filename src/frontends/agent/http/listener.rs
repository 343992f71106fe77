//! The addresses that are listened on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::failure::Failure;

/// Clients that the kernel keeps waiting at each address.
const BACKLOG: i32 = 128;

/// An address: listened on, or to be tried again.
#[derive(Debug)]
pub(super) enum Listening {
    /// Clients may come.
    Here(TcpListener),
    /// Not yet, and what stood against it the last time.
    NotYet(Wanted, Option<io::ErrorKind>),
}

/// An address that is to be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    /// It is at the active node alone: that no interface has it is as it should be on the other.
    pub(super) is_virtual: bool,
}

impl Listening {
    /// Tries to listen, unless that is done. Neither is for ever: no interface has the virtual IP on a standby, and a port may be
    /// held by an earlier agent that a dead disk keeps from ending.
    pub(super) fn try_again(&mut self) {
        let Self::NotYet(wanted, before) = self else { return };
        match bound(wanted.address) {
            Ok(listener) => {
                if before.is_some() {
                    log::info!("the agent listens on {} now", wanted.address);
                }
                *self = Self::Here(listener);
            }
            Err(error) => {
                if *before != Some(error.kind()) {
                    tell(*wanted, &error);
                }
                *before = Some(error.kind());
            }
        }
    }
}

fn tell(wanted: Wanted, error: &io::Error) {
    log::log!(level(wanted, error), "{}", failure(wanted.address, error));
}

fn level(wanted: Wanted, error: &io::Error) -> log::Level {
    let is_as_it_should_be = wanted.is_virtual && error.kind() == io::ErrorKind::AddrNotAvailable;
    if is_as_it_should_be { log::Level::Info } else { log::Level::Warn }
}

fn failure(address: SocketAddr, error: &io::Error) -> Failure {
    let next = match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "see which addresses this node has (ip -br address), and mend {address} in agent.listen if it is mistyped"
            )
        }
        _ => format!(
            "see who has the port (ss -ltnp 'sport = :{}'), or name another one in agent.listen",
            address.port()
        ),
    };
    Failure::failed(
        format!("the agent can't listen on {address}: {error}"),
        "nobody can ask it there for this node's health; it tries again every second",
        next,
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_told_in_words_that_help() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut listening = Listening::NotYet(Wanted { address, is_virtual: false }, None);
        listening.try_again();
        assert!(matches!(listening, Listening::NotYet(_, Some(io::ErrorKind::AddrInUse))), "{listening:?}");
        let failure = failure(address, &bound(address).unwrap_err());
        assert!(failure.seen.starts_with(&format!("the agent can't listen on {address}: ")), "{failure}");
        assert!(failure.next.contains(&format!("sport = :{}", address.port())), "{failure}");
        drop(taken);
        listening.try_again();
        assert!(matches!(listening, Listening::Here(_)), "{listening:?}");
    }

    #[test]
    fn an_address_that_no_interface_has_is_told_unless_it_is_the_virtual_ip() {
        // A network for documentation (RFC 5737).
        let address = "192.0.2.1:7780".parse().unwrap();
        let (missing, taken) = (io::ErrorKind::AddrNotAvailable.into(), io::ErrorKind::AddrInUse.into());
        let level = |is_virtual, error| level(Wanted { address, is_virtual }, error);
        assert_eq!(level(false, &missing), log::Level::Warn, "the level that is shown");
        assert_eq!(level(true, &missing), log::Level::Info);
        assert_eq!(level(true, &taken), log::Level::Warn);
        assert!(failure(address, &missing).next.contains("ip -br address"));
    }
}
