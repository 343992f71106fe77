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
    NotYet(SocketAddr, Option<io::ErrorKind>),
}

impl Listening {
    /// Tries to listen, unless that is done. Neither is for ever: no interface has the virtual IP on a standby, and a port may be
    /// held by an earlier agent that a dead disk keeps from ending.
    pub(super) fn try_again(&mut self) {
        let Self::NotYet(address, before) = self else { return };
        match bound(*address) {
            Ok(listener) => {
                if before.is_some() {
                    log::info!("the agent listens on {address} now");
                }
                *self = Self::Here(listener);
            }
            Err(error) => {
                if *before != Some(error.kind()) {
                    tell(*address, &error);
                }
                *before = Some(error.kind());
            }
        }
    }
}

fn tell(address: SocketAddr, error: &io::Error) {
    if error.kind() == io::ErrorKind::AddrNotAvailable {
        log::info!(
            "no interface has {address}: the agent listens there as soon as one has it (agent.listen)"
        );
    } else {
        log::warn!("{}", failure(address, error));
    }
}

fn failure(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::failed(
        format!("the agent can't listen on {address}: {error}"),
        "nobody can ask it there for this node's health; it tries again every second",
        format!(
            "see who has the port (ss -ltnp 'sport = :{}'), or name another one in agent.listen",
            address.port()
        ),
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
        let mut listening = Listening::NotYet(address, None);
        listening.try_again();
        assert!(matches!(listening, Listening::NotYet(_, Some(io::ErrorKind::AddrInUse))), "{listening:?}");
        let failure = failure(address, &bound(address).unwrap_err());
        assert!(failure.seen.starts_with(&format!("the agent can't listen on {address}: ")), "{failure}");
        assert!(failure.next.contains(&format!("sport = :{}", address.port())), "{failure}");
        drop(taken);
        listening.try_again();
        assert!(matches!(listening, Listening::Here(_)), "{listening:?}");
    }
}
