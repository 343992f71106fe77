//! The cluster manager, and the third machines that tell whether it is we who are cut off.

use std::net::Ipv4Addr;

use super::address::Clients;
use super::found::from_pacemaker;
use super::{ANSWERED, Answers, Chosen, Found, Missing, Topic, only};
use crate::config::ClusterManager;
use crate::plan::HeartbeatStop;

/// Heartbeat as a takeover takes it out of the way: its stop scripts would undo what is left on this node.
pub(super) const HEARTBEAT: ClusterManager = ClusterManager::Heartbeat(Some(HeartbeatStop::Kill));

/// As the configuration writes it.
pub(super) fn word(manager: ClusterManager) -> &'static str {
    match manager {
        ClusterManager::None => "none",
        ClusterManager::Pacemaker => "pacemaker",
        ClusterManager::Keepalived => "keepalived",
        ClusterManager::Heartbeat(None) => "{heartbeat: keep}",
        ClusterManager::Heartbeat(Some(HeartbeatStop::Kill)) => "{heartbeat: kill}",
        ClusterManager::Heartbeat(Some(HeartbeatStop::Stop)) => "{heartbeat: stop}",
    }
}

/// Who decides about failover; `None` when a question was asked.
///
/// A configuration that a package brought along is no evidence: only what runs, is enabled, or names resources of its own.
pub(super) fn choose(
    found: &Found,
    answers: &Answers,
    missing: &mut Missing,
) -> Option<Chosen<ClusterManager>> {
    if let Some(manager) = answers.cluster_manager {
        return Some(Chosen::new(manager, ANSWERED));
    }
    let managers = &found.managers;
    let groups = managers.haresources.iter().flat_map(|file| &file.groups);
    // The takeover that Heartbeat asks for must not kill it.
    let names_standin =
        groups.clone().flat_map(|group| &group.resources).any(|held| held.script == "standin");
    let heartbeat = if names_standin { ClusterManager::Heartbeat(None) } else { HEARTBEAT };
    let active = managers.active.iter().map(|(manager, how)| {
        Chosen::new(if *manager == HEARTBEAT { heartbeat } else { *manager }, how.clone())
    });
    let of_heartbeat = groups
        .filter(|group| managers.ha_cf.is_some() && !group.resources.is_empty())
        .map(|group| Chosen::new(heartbeat, group.place.to_string()));
    let of_keepalived = managers.keepalived.iter().filter(|instance| !instance.addresses.is_empty());
    let of_keepalived =
        of_keepalived.map(|instance| Chosen::new(ClusterManager::Keepalived, instance.place.to_string()));
    let of_pacemaker =
        managers.primitives(&["IPaddr2", "IPaddr", "Filesystem", "mysql", "mariadb", "innodb"]);
    let of_pacemaker =
        of_pacemaker.map(|primitive| Chosen::new(ClusterManager::Pacemaker, from_pacemaker(primitive)));
    match only(active.chain(of_heartbeat).chain(of_pacemaker).chain(of_keepalived).collect()) {
        Ok(manager) => Some(manager),
        Err(candidates) if candidates.is_empty() => {
            let from = "neither Heartbeat, Pacemaker nor keepalived runs, is enabled, or has resources here";
            Some(Chosen::new(ClusterManager::None, from))
        }
        Err(candidates) => {
            let candidates = candidates.into_iter().map(|candidate| {
                let word = word(candidate.value).trim_matches(['{', '}']).replace(": ", "-");
                Chosen::new(word, candidate.from)
            });
            let cause = "several have resources or run here";
            missing.ask(
                Topic::ClusterManager,
                "the cluster manager of these nodes",
                cause,
                candidates.collect(),
            )
        }
    }
}

/// Third machines: those that answered or that a person named, and those that stayed silent.
pub(super) fn witnesses(
    found: &Found,
    answers: &Answers,
    clients: &Clients,
) -> (Vec<Chosen<Ipv4Addr>>, Vec<Chosen<Ipv4Addr>>) {
    if !answers.witnesses.is_empty() {
        return (
            answers.witnesses.iter().map(|address| Chosen::new(*address, ANSWERED)).collect(),
            Vec::new(),
        );
    }
    let gateways = found.gateways.iter().map(|address| Chosen::new(*address, "the default route's gateway"));
    let pings = found.managers.ha_cf.iter().flat_map(|file| file.ping_addresses());
    let pings = pings.map(|(address, place)| Chosen::new(address, format!("{place}: ping")));
    let of_cluster = |address: Ipv4Addr| {
        let nodes = clients.nodes.iter();
        let replication = nodes.clone().filter_map(|node| node.replication_address.as_ref());
        nodes.map(|node| &node.address).chain(replication).any(|own| own.value == address)
            || clients.vip.value.addr() == address
    };
    let mut all: Vec<Chosen<Ipv4Addr>> = Vec::new();
    for candidate in gateways.chain(pings).filter(|candidate| !of_cluster(candidate.value)) {
        if !all.iter().any(|known| known.value == candidate.value) {
            all.push(candidate);
        }
    }
    all.into_iter().partition(|candidate| found.answering.contains(&candidate.value))
}
