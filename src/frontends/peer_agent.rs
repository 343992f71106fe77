//! What the peer's agent says, as far as what a person types goes by it.

use std::net::{IpAddr, SocketAddr};

use crate::config::{AutomaticTakeover, Config};
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
    let Some(address) = address(config) else {
        return Err(format!(
            "agent.listen names no address of {} (for the agents to see each other: listen: [\"{}:7780\", \"{}:7780\"])",
            config.peer.name, config.this_node.replication_address, config.peer.replication_address
        ));
    };
    Err(format!("the agent at {address} does not answer"))
}

/// Whether it makes its node active by itself. The configuration of both nodes is the same.
pub(super) fn takes_over_by_itself(config: &Config) -> Fact<bool> {
    if config.agent.takeover != AutomaticTakeover::Automatic {
        return Fact::Known(false);
    }
    ask(config).map(|agent| !agent.paused).into()
}

/// Where it listens: the file is the same on both nodes, so that the peer's address, or any, is among its own.
fn address(config: &Config) -> Option<SocketAddr> {
    let peer = [config.peer.replication_address, config.peer.address].map(IpAddr::V4);
    let listens = |ip: IpAddr| config.agent.listen.iter().find(|listen| listen.ip() == ip).copied();
    let any = || {
        let listen = config.agent.listen.iter().find(|listen| listen.ip().is_unspecified())?;
        Some(SocketAddr::new(peer[0], listen.port()))
    };
    peer.into_iter().find_map(listens).or_else(any)
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
        assert_eq!(address(&listening("\"127.0.0.1:7780\"")), None);
        assert!(ask(&listening("\"127.0.0.1:7780\"")).unwrap_err().contains("agent.listen"));
        let both = listening(&format!("\"127.0.0.1:7780\", \"{peer}:7781\""));
        assert_eq!(address(&both), Some(SocketAddr::new(peer.into(), 7781)));
        assert_eq!(address(&listening("\"0.0.0.0:7782\"")), Some(SocketAddr::new(peer.into(), 7782)));
    }
}
