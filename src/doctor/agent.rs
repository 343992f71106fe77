//! Checks of what the agent may do by itself. Without an automatic takeover there is nothing to check.

use super::Finding;
use super::survey::{Manager, Survey};
use crate::config::{AGENT_PORT, AutomaticTakeover, ClusterManager, Config};
use crate::observation::Fact;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    if config.agent.takeover != AutomaticTakeover::Automatic {
        return takes_nothing_over(survey, config).into_iter().collect();
    }
    let unit = unit(&survey.cluster_manager.agent);
    vec![unit, evidence(config), self_fence(config), hears_the_peer(config)]
}

/// Who has switched the agent on expects something of it.
fn takes_nothing_over(survey: &Survey, config: &Config) -> Option<Finding> {
    let on = survey.cluster_manager.agent.known().is_some_and(|agent| agent.runs || agent.enabled);
    let nobody = config.cluster_manager == ClusterManager::None;
    (on && nobody).then(|| {
        Finding::warn(
            "agent-takeover",
            format!("the agent is on, and agent.takeover is {}", config.agent.takeover),
            "without a cluster manager nothing fails over by itself: the agents look on and tell",
        )
        .advice(format!(
            "write `takeover: automatic` under agent in {}, on both nodes, and restart the agents; or take over by hand: standin takeover",
            config.file.display()
        ))
    })
}

fn unit(agent: &Fact<Manager>) -> Finding {
    let check = "agent-unit";
    let why = "nobody guards this node or makes it step up";
    match agent {
        Fact::Unknown(cause) => {
            Finding::warn(check, format!("whether the agent runs is not known: {cause}"), why)
        }
        Fact::Known(Manager { name, runs: true, enabled: true }) => {
            Finding::pass(check, format!("{name} runs, and starts at boot"))
        }
        Fact::Known(Manager { name, runs, .. }) => {
            let seen = if *runs { "runs, and does not start at boot" } else { "does not run" };
            Finding::warn(check, format!("{name} {seen}"), why)
                .remedy(format!("systemctl enable --now {name}"))
        }
    }
}

fn evidence(config: &Config) -> Finding {
    let check = "agent-evidence";
    match (&config.fence, config.witnesses.len()) {
        (Some(_), _) => Finding::pass(check, "a fence command makes sure of the peer"),
        (None, 0) => Finding::fail(
            check,
            "agent.takeover is automatic, and there is neither a fence command nor a witness",
            "a node that is cut off takes over by itself while the other one serves: two databases, and the commits of one are lost",
        )
        .advice(format!(
            "name machines that are neither node under witnesses, such as the router, or a fence command, in {}, on both nodes",
            config.file.display()
        )),
        (None, _) => Finding::pass(check, "a witness tells this node's own cut from the peer's death"),
    }
}

fn self_fence(config: &Config) -> Finding {
    let check = "agent-self-fence";
    if config.agent.self_fence {
        return Finding::pass(check, "a node that can't give up resets itself");
    }
    Finding::warn(
        check,
        "agent.self_fence is false",
        "a node whose release hangs, on a dead disk for one, stays Primary, and the peer can't take over until a person resets it",
    )
    .advice(format!("write `self_fence: true` under agent in {}, on both nodes", config.file.display()))
}

/// Both nodes' addresses in the same file: each agent leaves out those of the other.
fn hears_the_peer(config: &Config) -> Finding {
    let check = "agent-listen";
    let on = |addresses: [std::net::Ipv4Addr; 2]| {
        // The agents ask each other at IPv4 addresses, and [::] takes none of those.
        let all = std::net::Ipv4Addr::UNSPECIFIED;
        let here = |ip: std::net::IpAddr| ip == all || addresses.iter().any(|address| ip == *address);
        config.agent.listen.iter().any(|listen| here(listen.ip()))
    };
    let (this, peer) = (&config.this_node, &config.peer);
    if on([this.address, this.replication_address]) && on([peer.address, peer.replication_address]) {
        return Finding::pass(check, "the agents hear each other");
    }
    let example =
        [this, peer].map(|node| format!("\"{}:{AGENT_PORT}\"", node.replication_address)).join(", ");
    Finding::warn(
        check,
        "agent.listen has no address of each node that the other one could ask",
        "a pause is seen by one agent only, and an active node that is held up while it is replaced does not learn of it in time",
    )
    .advice(format!(
        "write `listen: [\"127.0.0.1:{AGENT_PORT}\", {example}]` under agent in {}, on both nodes",
        config.file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::super::sample::{self, config_with};
    use super::*;

    fn status(more: &str, check: &str) -> Option<Status> {
        let findings = examine(&sample::survey(), &config_with(more));
        findings.into_iter().find(|finding| finding.check == check).map(|finding| finding.status)
    }

    #[test]
    fn without_an_automatic_takeover_nothing_is_asked_for() {
        assert!(examine(&sample::survey(), &config_with("")).is_empty());
        assert!(examine(&sample::survey(), &config_with("agent: {takeover: never}\n")).is_empty());
    }

    #[test]
    fn an_automatic_takeover_needs_evidence_a_reset_and_the_peers_word() {
        let whole =
            "agent: {takeover: automatic, self_fence: true, listen: ['10.77.1.1:7780', '10.77.1.2:7780']}\n";
        for check in ["agent-evidence", "agent-self-fence", "agent-listen"] {
            assert_eq!(status(whole, check), Some(Status::Pass), "{check}");
        }
        let bare = "agent: {takeover: automatic}\n";
        assert_eq!(status(bare, "agent-self-fence"), Some(Status::Warn));
        assert_eq!(status(bare, "agent-listen"), Some(Status::Warn));
        let mut config = config_with(bare);
        config.witnesses.clear();
        let evidence = |config: &Config| super::evidence(config).status;
        assert_eq!(evidence(&config), Status::Fail);
        config.fence = Some(vec!["/usr/local/sbin/power-off".to_owned()]);
        assert_eq!(evidence(&config), Status::Pass);
    }

    #[test]
    fn an_agent_that_may_do_nothing_is_told_where_nobody_else_does() {
        let mut survey = sample::survey();
        let of = |survey: &Survey, more: &str| {
            sample::status(&examine(survey, &config_with(more)), "agent-takeover")
        };
        assert_eq!(of(&survey, "cluster_manager: none\n"), None, "it is not on");
        survey.cluster_manager.agent =
            Fact::Known(Manager { name: "agent".to_owned(), runs: true, enabled: false });
        assert_eq!(of(&survey, "cluster_manager: none\n"), Some(Status::Warn));
        assert_eq!(of(&survey, "cluster_manager: none\nagent: {takeover: automatic}\n"), None);
        assert_eq!(of(&survey, "cluster_manager: {heartbeat: keep}\n"), None, "Heartbeat decides");
    }

    #[test]
    fn an_agent_that_does_not_run_or_start_is_told() {
        let unit =
            |runs, enabled| super::unit(&Fact::Known(Manager { name: "agent".to_owned(), runs, enabled }));
        assert_eq!(unit(true, true).status, Status::Pass);
        for (runs, enabled) in [(true, false), (false, true), (false, false)] {
            assert_eq!(unit(runs, enabled).status, Status::Warn);
        }
        assert_eq!(super::unit(&Fact::Unknown("no systemd".to_owned())).status, Status::Warn);
    }

    #[test]
    fn every_interface_is_an_address_of_each_node() {
        let all = "agent: {takeover: automatic, listen: ['0.0.0.0:7780']}\n";
        assert_eq!(status(all, "agent-listen"), Some(Status::Pass));
        let only_ipv6 = "agent: {takeover: automatic, listen: ['[::]:7780']}\n";
        assert_eq!(
            status(only_ipv6, "agent-listen"),
            Some(Status::Warn),
            "the agents ask each other over IPv4"
        );
    }
}
