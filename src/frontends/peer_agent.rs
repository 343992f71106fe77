//! What the peer's agent says, as far as what a person types goes by it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::agent::peer_status;
use crate::config::{AGENT_PORT as PORT, AutomaticTakeover, Config};
use crate::decide::AgentReadiness;

/// What matters of its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerAgent {
    /// It holds back because of a pause of either node.
    pub(super) paused: bool,
    /// Why it gave its node up by itself a short while ago, while nobody has acknowledged that.
    pub(super) holds_back: Option<String>,
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
    Ok(PeerAgent { paused: status.pause.is_some(), holds_back: status.gave_up })
}

/// Whether it makes its node active by itself. The configuration of both nodes is the same.
pub(super) fn readiness(config: &Config) -> AgentReadiness {
    if config.agent.takeover != AutomaticTakeover::Automatic {
        return AgentReadiness::TakesNothingOver;
    }
    match ask(config) {
        Ok(agent) => judge(agent, &config.peer.name),
        Err(cause) => AgentReadiness::NotAsked(cause),
    }
}

fn judge(agent: PeerAgent, peer: &str) -> AgentReadiness {
    match agent {
        PeerAgent { paused: true, .. } => {
            AgentReadiness::HoldsBack("it is paused; to end that: standin resume".to_owned())
        }
        PeerAgent { holds_back: Some(why), .. } => AgentReadiness::HoldsBack(format!(
            "it gave {peer} up by itself ({why}); when the cause is mended, on {peer}: standin acknowledge"
        )),
        PeerAgent { paused: false, holds_back: None } => AgentReadiness::TakesOver,
    }
}

/// Where it listens: the file is the same on both nodes, so that the peer's address, or any, is among its own.
///
/// # Errors
/// It listens where only its own node reaches it.
pub(super) fn address(config: &Config) -> Result<SocketAddr, String> {
    let peer = [config.peer.replication_address, config.peer.address].map(IpAddr::V4);
    let listens = |ip: IpAddr| config.agent.listen.iter().find(|listen| listen.ip() == ip).copied();
    // That of IPv6 is of IPv6 alone.
    let any = || {
        let listen = config.agent.listen.iter().find(|listen| listen.ip() == Ipv4Addr::UNSPECIFIED)?;
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
    #[test]
    fn one_that_holds_back_takes_nothing_over() {
        let agent = |paused, holds_back: Option<&str>| PeerAgent {
            paused,
            holds_back: holds_back.map(str::to_owned),
        };
        assert_eq!(judge(agent(false, None), "node1"), AgentReadiness::TakesOver);
        for (agent, next) in [
            (agent(true, None), "standin resume"),
            (agent(true, Some("read-only")), "standin resume"),
            (
                agent(false, Some("read-only")),
                "(read-only); when the cause is mended, on node1: standin acknowledge",
            ),
        ] {
            let AgentReadiness::HoldsBack(why) = judge(agent.clone(), "node1") else { panic!("{agent:?}") };
            assert!(why.contains(next), "{why}");
        }
    }
}
