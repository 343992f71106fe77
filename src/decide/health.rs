//! Is this node fit for its role: does it serve when it is active, could it take over when it is not?

use serde::{Deserialize, Serialize};

use super::standing::{Standing, standing};
use crate::config::Config;
use crate::observation::{Connection, Disk, Drbd, Fact, Observation, Replication};

/// Whether a node is fit for its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It is, with what it does in one sentence.
    Good(String),
    /// It is, but something that protects the data is missing (the peer is not connected, or is behind).
    Degraded(String),
    /// It is not, with the cause in one sentence.
    Bad(String),
}

/// Judges a look at this node alone: the network is not asked, so that a standby whose peer serves counts as fit.
pub fn health(observation: &Observation, config: &Config) -> Health {
    let name = &config.this_node.name;
    match (standing(observation, config), &observation.drbd) {
        (Standing::Active, Fact::Known(drbd)) => match lacks_redundancy(drbd) {
            None => Health::Good(format!("{name} is active")),
            Some(lack) => Health::Degraded(format!("{name} is active, but {lack}")),
        },
        (Standing::Standby, Fact::Known(drbd)) => match unfit(drbd, config) {
            None => Health::Good(format!("{name} is standby and could take over")),
            Some(cause) => Health::Bad(format!("{name} could not take over: {cause}")),
        },
        (Standing::Active | Standing::Standby, Fact::Unknown(cause)) => {
            Health::Bad(format!("the state of DRBD resource {} is not known: {cause}", config.resource))
        }
        (Standing::Partial { reason, .. }, _) => {
            Health::Bad(format!("{name} is half-way between standby and active: {reason}"))
        }
        (Standing::Unknown { reason }, _) => Health::Bad(format!("what {name} holds is not known: {reason}")),
    }
}

/// What an active node lacks of a second copy of its data.
fn lacks_redundancy(drbd: &Drbd) -> Option<String> {
    if drbd.connection != Connection::Connected {
        return Some(format!(
            "DRBD is not connected to the peer ({:?}): there is no second copy",
            drbd.connection
        ));
    }
    if drbd.peer_disk != Disk::UpToDate {
        let percent = drbd.resync_percent.map(|percent| format!(", {percent} % in sync")).unwrap_or_default();
        return Some(format!("the peer's disk is {:?}{percent}", drbd.peer_disk));
    }
    None
}

/// Why a takeover would be refused whatever the peer does.
fn unfit(drbd: &Drbd, config: &Config) -> Option<String> {
    let resource = &config.resource;
    if drbd.connection == Connection::Unconfigured {
        return Some(format!("DRBD resource {resource} is down"));
    }
    if drbd.connection == Connection::StandAlone {
        return Some(format!("DRBD resource {resource} is StandAlone"));
    }
    if drbd.replication == Replication::SyncTarget {
        let percent = drbd.resync_percent.map(|percent| format!(", {percent} % done")).unwrap_or_default();
        return Some(format!("a resync from the peer runs{percent}"));
    }
    match drbd.disk {
        Disk::UpToDate => None,
        Disk::Consistent if config.fence.is_some() => None,
        disk => Some(format!("the local disk of {resource} is {disk:?}")),
    }
}
