//! What the peer's agent says, as far as what a person types goes by it.

use std::net::{IpAddr, SocketAddr};

use super::agent::peer_status;
use crate::config::{AGENT_PORT as PORT, AutomaticTakeover, Config};
use crate::observation::Fact;

/// What matters of its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerAgent {
    /// It holds back because of a pause of either node.
    pub(super) paused: bool,
}

/// Asks it.
///
/// # Errors
/// In one sentence why there is no answer that counts.
pub(super) fn ask(config: &Config) -> Result<PeerAgent, String> {
    let status = peer_status::ask(address(config)?, &config.name, &config.peer.name)?;
    if status.stale {
        return Err(format!("its latest look is {:.0} s old", status.age_seconds));
    }
    Ok(PeerAgent { paused: status.pause.is_some() })
}

/// Whether it makes its node active by itself. The configuration of both nodes is the same.
pub(super) fn takes_over_by_itself(config: &Config) -> Fact<bool> {
    if config.agent.takeover != AutomaticTakeover::Automatic {
        return Fact::Known(false);
    }
    ask(config).map(|agent| !agent.paused).into()
}

/// Where it listens: the file is the same on both nodes, so that the peer's address, or any, is among its own.
///
/// # Errors
/// It listens where only its own node reaches it.
pub(super) fn address(config: &Config) -> Result<SocketAddr, String> {
    let peer = [config.peer.replication_address, config.peer.address].map(IpAddr::V4);
    let listens = |ip: IpAddr| config.agent.listen.iter().find(|listen| listen.ip() == ip).copied();
    let any = || {
        let listen = config.agent.listen.iter().find(|listen| listen.ip().is_unspecified())?;
        Some(SocketAddr::new(peer[0], listen.port()))
    };
    peer.into_iter().find_map(listens).or_else(any).ok_or_else(|| {
        format!(
            "agent.listen names no address of {} (for the agents to see each other, on both nodes: agent: {{listen: \
             [\"{}:{PORT}\", \"{}:{PORT}\"]}})",
            config.peer.name, config.this_node.replication_address, config.peer.replication_address
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Host, parse};

    fn listening(listen: &str) -> Config {
        let text = include_str!("../../docs/examples/heartbeat.yaml");
        let text = format!("{text}\nagent: {{listen: [{listen}]}}\n");
        parse(&text, "orders.yaml".as_ref(), &Host::fixed("node2")).unwrap()
    }

    #[test]
    fn the_peer_is_asked_where_it_listens() {
        let peer = listening("\"127.0.0.1:7780\"").peer.replication_address;
        assert!(ask(&listening("\"127.0.0.1:7780\"")).unwrap_err().contains("agent.listen"));
        let both = listening(&format!("\"127.0.0.1:7780\", \"{peer}:7781\""));
        assert_eq!(address(&both), Ok(SocketAddr::new(peer.into(), 7781)));
        assert_eq!(address(&listening("\"0.0.0.0:7782\"")), Ok(SocketAddr::new(peer.into(), 7782)));
    }
}
