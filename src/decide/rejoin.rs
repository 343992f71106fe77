//! How does a node that returns become a standby again, and what if both sides took writes meanwhile?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Decision, Refusal, RefusalKind, refuse};
use crate::config::Config;
use crate::observation::{Connection, Disk, Drbd, Fact, Observation, Role};
use crate::plan::{Action, Goal, Plan, Step};

/// What one side knows of how its data came apart from the peer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Since its last connection to the peer the kernel found a split brain that it could not resolve.
    pub kernel_found_split_brain: Fact<bool>,
    /// DRBD's generation identifiers of this side: current, bitmap, then the history.
    pub generations: Fact<Vec<u64>>,
    /// How much this side has changed that the peer lacks, in KiB, as its bitmap counts it (4 KiB a bit).
    pub out_of_sync_kib: Fact<u64>,
    /// Its role.
    pub role: Fact<Role>,
}

/// What is known beside the observation, and what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejoining {
    /// A person on this node gives its data up.
    pub discard_my_data: bool,
    /// This side.
    pub here: Divergence,
    /// The other side, as far as it could be asked.
    pub peer: Fact<Divergence>,
    /// How long to wait for a peer that does not connect, and for a resync that does not move.
    pub patience: Duration,
}

/// Whether both sides took writes apart from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diverged {
    /// They did, and what shows it.
    Yes(String),
    /// They did not.
    No,
    /// Nothing tells.
    NotKnown,
}

/// Judges by the kernel's own word and by the generation identifiers of both sides.
pub fn diverged(here: &Divergence, peer: &Fact<Divergence>) -> Diverged {
    if here.kernel_found_split_brain == Fact::Known(true) {
        return Diverged::Yes(
            "the kernel says: Split-Brain detected but unresolved, dropping connection".to_owned(),
        );
    }
    let Fact::Known(peer) = peer else { return Diverged::NotKnown };
    if peer.kernel_found_split_brain == Fact::Known(true) {
        return Diverged::Yes(
            "the peer's kernel says: Split-Brain detected but unresolved, dropping connection".to_owned(),
        );
    }
    match (&here.generations, &peer.generations) {
        (Fact::Known(mine), Fact::Known(theirs)) => match (mine.first(), theirs.first()) {
            (Some(own), Some(other)) if !descends(mine, *other) && !descends(theirs, *own) => {
                Diverged::Yes(format!(
                    "neither side's data is based on the other's: generation {own:016X} here, {other:016X} there"
                ))
            }
            (Some(_), Some(_)) => Diverged::No,
            _ => Diverged::NotKnown,
        },
        _ => Diverged::NotKnown,
    }
}

/// Whether data with these identifiers has seen that generation. The lowest bit only says that the node was Primary.
fn descends(identifiers: &[u64], generation: u64) -> bool {
    // A node that was never written to has identifier 4.
    const JUST_CREATED: u64 = 4;
    let generation = generation & !1;
    generation == JUST_CREATED || identifiers.iter().any(|own| own & !1 == generation)
}

/// Decides about a rejoin: a plan that ends with both copies equal, or why a person must act first.
pub fn rejoin(observation: &Observation, config: &Config, rejoining: &Rejoining) -> Decision {
    match judge(observation, config, rejoining) {
        Ok(plan) => Decision::Plan(plan),
        Err(refusal) => Decision::Refusal(refusal),
    }
}

fn judge(observation: &Observation, config: &Config, rejoining: &Rejoining) -> Result<Plan, Refusal> {
    let (resource, node, peer) = (&config.resource, &config.this_node.name, &config.peer.name);
    let drbd = match &observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => {
            return Err(refuse(
                RefusalKind::DrbdUnknown,
                format!("the state of DRBD resource {resource} could not be read: {cause}"),
                "without it nobody knows what this node's data is worth",
                format!("see: cat /proc/drbd; drbdadm status {resource}"),
            ));
        }
    };
    let apart =
        matches!(drbd.connection, Connection::StandAlone | Connection::Connecting | Connection::Broken);
    // The active side may ask for the diagnosis, too.
    if apart
        && !rejoining.discard_my_data
        && let Diverged::Yes(evidence) = diverged(&rejoining.here, &rejoining.peer)
    {
        return Err(split_brain(config, rejoining, &evidence));
    }
    holds_nothing(observation, drbd, config)?;
    let follow = Step {
        action: Action::FollowResync { resource: resource.clone(), peer: peer.clone() },
        deadline: rejoining.patience,
        undo: None,
    };
    let change = |action| Step { action, deadline: config.limits.drbd, undo: None };
    let discard = || change(Action::DiscardMyData { resource: resource.clone() });
    let plan = |reason: String, warnings: Vec<String>, steps: Vec<Step>| {
        Ok(Plan { goal: Goal::Rejoin, reason, warnings, steps })
    };
    let equal = drbd.disk == Disk::UpToDate && drbd.peer_disk == Disk::UpToDate;
    match drbd.connection {
        Connection::Connected if equal => plan(
            format!("{node} is a standby already: connected, and both copies are equal"),
            Vec::new(),
            Vec::new(),
        ),
        Connection::Connected if drbd.disk == Disk::Diskless => Err(no_disk(config)),
        Connection::Connected | Connection::Handshake => {
            plan(format!("{node} is connected to {peer}; the resync goes on"), Vec::new(), vec![follow])
        }
        Connection::Unconfigured => {
            let up = change(Action::BringUpDrbd { resource: resource.clone() });
            let mut steps = vec![up];
            steps.extend(rejoining.discard_my_data.then(discard));
            steps.push(follow);
            plan(format!("DRBD resource {resource} is down on {node}"), given_up(rejoining, config), steps)
        }
        _ if drbd.disk == Disk::Diskless => Err(no_disk(config)),
        Connection::Connecting | Connection::Broken if !rejoining.discard_my_data => plan(
            format!("{node} waits for {peer}"),
            vec![format!("if {peer} does not listen, type there: drbdadm connect {resource}")],
            vec![follow],
        ),
        Connection::StandAlone if !rejoining.discard_my_data => {
            reconnectable(observation, config, rejoining)?;
            let connect = change(Action::ReconnectDrbd {
                resource: resource.clone(),
                command: drbd.commands.connect.clone(),
            });
            plan(
                format!("{node} was disconnected, and nothing speaks of a split brain"),
                Vec::new(),
                vec![connect, follow],
            )
        }
        Connection::StandAlone | Connection::Connecting | Connection::Broken => plan(
            format!("a person on {node} gives up what only {node} has"),
            given_up(rejoining, config),
            vec![discard(), follow],
        ),
    }
}

/// Whoever serves, or could be written to, must not lose its data, nor be connected behind mysqld's back.
fn holds_nothing(observation: &Observation, drbd: &Drbd, config: &Config) -> Result<(), Refusal> {
    let node = &config.this_node.name;
    let mut held = Vec::new();
    if drbd.role == Role::Primary {
        held.push(format!("{} is Primary", config.resource));
    }
    match &observation.mysqld {
        Fact::Known(mysqld) => {
            held.extend(mysqld.processes.iter().map(|one| format!("{} runs (pid {})", one.name, one.pid)));
        }
        Fact::Unknown(cause) => held.push(format!("whether mysqld runs is not known: {cause}")),
    }
    match &observation.mount {
        Fact::Known(mount) => {
            let there = mount.at_directory.iter().filter(|mounted| mounted.is_our_device);
            held.extend(there.map(|_| format!("{} is mounted", config.mount.device.display())));
            held.extend(
                mount.device_elsewhere.iter().map(|place| format!("it is mounted at {}", place.display())),
            );
        }
        Fact::Unknown(cause) => held.push(format!("what is mounted is not known: {cause}")),
    }
    if let Fact::Known(Some(interface)) = &observation.vip.here {
        held.push(format!("the virtual IP is on {interface}"));
    }
    if drbd.io_suspended {
        return Err(refuse(
            RefusalKind::IoSuspended,
            format!("DRBD holds back all I/O on {} of {node}", config.resource),
            "it lost its peer while it was active; what mysqld still wants to write would go through as soon as it may",
            "if the peer is active now, reset this machine, then try again",
        ));
    }
    if held.is_empty() {
        return Ok(());
    }
    Err(refuse(
        RefusalKind::NotReleased,
        format!("{node} is no standby: {}", held.join(", ")),
        "a node rejoins by taking the peer's data, and this one may be serving its own",
        "give up what is here first: standin release",
    ))
}

fn reconnectable(observation: &Observation, config: &Config, rejoining: &Rejoining) -> Result<(), Refusal> {
    match diverged(&rejoining.here, &rejoining.peer) {
        Diverged::No => Ok(()),
        _ if observation.past.we_disconnected_drbd => Ok(()),
        _ => {
            let (resource, peer) = (&config.resource, &config.peer.name);
            let cause = match &rejoining.peer {
                Fact::Unknown(cause) => format!(" ({peer} could not be asked: {cause})"),
                Fact::Known(_) => String::new(),
            };
            Err(refuse(
                RefusalKind::StandAlone,
                format!(
                    "DRBD resource {resource} is StandAlone, not because of a takeover of ours, and whether the data has \
                     diverged could not be learnt{cause}"
                ),
                "DRBD's own policies may settle a split brain at once, to the loss of one side's commits",
                format!(
                    "compare the first identifiers of both nodes: drbdadm get-gi {resource}; when one side has the other's \
                     among its own: drbdadm connect {resource}; otherwise on the node whose data is to be given up: standin \
                     rejoin --discard-my-data"
                ),
            ))
        }
    }
}

/// The diagnosis, with both choices as complete commands: which side's commits are kept is for a person to say.
fn split_brain(config: &Config, rejoining: &Rejoining, evidence: &str) -> Refusal {
    let (node, peer, resource) = (&config.this_node.name, &config.peer.name, &config.resource);
    let there = match &rejoining.peer {
        Fact::Known(there) => side(there),
        Fact::Unknown(cause) => {
            format!("not known, it could not be asked ({cause}); type there: standin rejoin")
        }
    };
    let choice = |keeps: &str, loses: &str| {
        format!(
            "\n  to keep the data of {keeps} and give up what only {loses} has:\n    \
             on {loses}:  standin release\n    on {loses}:  standin rejoin --discard-my-data\n    \
             on {keeps}:  drbdadm connect {resource}    # when it is StandAlone (standin status); the resync begins then\n    \
             on {keeps}:  standin takeover    # when it does not serve yet"
        )
    };
    refuse(
        RefusalKind::SplitBrain,
        format!(
            "split brain of {resource}: {evidence}\n  {node} has changed alone: {}\n  {peer} has changed alone: {there}",
            side(&rejoining.here)
        ),
        "both sides took writes apart from each other, and the commits of one side only can be kept",
        format!(
            "find out which side's commits matter (compare tables; a copy of the losing side's data can be dumped from it while \
             it is disconnected), then choose:{}{}",
            choice(peer, node),
            choice(node, peer)
        ),
    )
}

fn side(side: &Divergence) -> String {
    let amount = match &side.out_of_sync_kib {
        Fact::Known(kib) => format!("{kib} KiB"),
        Fact::Unknown(cause) => format!("not known ({cause})"),
    };
    let role = side.role.known().map(|role| format!(", {role:?}")).unwrap_or_default();
    let generation = side.generations.known().and_then(|generations| generations.first());
    let generation = generation.map(|own| format!(", generation {own:016X}")).unwrap_or_default();
    format!("{amount}{role}{generation}")
}

fn given_up(rejoining: &Rejoining, config: &Config) -> Vec<String> {
    if !rejoining.discard_my_data {
        return Vec::new();
    }
    let (node, peer, resource) = (&config.this_node.name, &config.peer.name, &config.resource);
    let amount = match &rejoining.here.out_of_sync_kib {
        Fact::Known(kib) => format!("{kib} KiB"),
        Fact::Unknown(_) => "everything".to_owned(),
    };
    vec![
        format!("{amount} that only {node} has changed are given up for good"),
        format!("when {peer} is StandAlone, too, type there: drbdadm connect {resource}"),
    ]
}

fn no_disk(config: &Config) -> Refusal {
    let resource = &config.resource;
    refuse(
        RefusalKind::DiskNotCurrent,
        format!("DRBD resource {resource} has no disk on {}", config.this_node.name),
        "there is nothing that a resync could write to",
        format!(
            "find out why it was detached (dmesg), replace the disk if it failed, then: drbdadm attach {resource}"
        ),
    )
}
