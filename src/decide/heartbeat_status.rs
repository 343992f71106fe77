//! What to tell Heartbeat when it asks for the status.
//!
//! Its ResourceManager (3.0.6) asks at two moments, and takes the answer as yes or no:
//!
//! - before a start (`takegroup`, also for what this node serves already when the peer dies, and `req_resource` at Heartbeat's
//!   own start): "running" skips the start, "stopped" calls it. A start that is refused gives up the whole group.
//! - after a stop that failed ten times: "running" resets this machine, "stopped" lets the peer take over.

use super::standing::{Standing, missing, standing};
use crate::config::Config;
use crate::observation::{Connection, Fact, Observation, Role};

/// The answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatStatus {
    /// Whether Heartbeat is to believe that this node has the resource.
    pub running: bool,
    /// Whether everything that the answer rests on could be learnt.
    pub certain: bool,
    /// The reason in one sentence.
    pub reason: String,
}

/// What is known beside what this node holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doings {
    /// A takeover or a release runs now.
    pub under_way: bool,
    /// The last that Heartbeat asked for was a stop, and it failed.
    pub stop_failed: bool,
}

/// Decides what to tell Heartbeat.
///
/// A node where something is missing is "stopped", so that a start is not skipped: half-way after a kill, without its mysqld,
/// or in crash recovery, where the start waits for the takeover that runs. A node where nothing is missing is "running" even
/// while something is not in order or can't be seen: DRBD holds back I/O for a moment when the peer dies, which is just when
/// Heartbeat asks, and a start that is refused then would take down the one node that is left.
pub fn heartbeat_status(observation: &Observation, config: &Config, doings: Doings) -> HeartbeatStatus {
    let (running, reason) = match standing(observation, config) {
        Standing::Standby => (false, "this node holds nothing".to_owned()),
        held if doings.stop_failed => {
            (true, format!("the last stop failed, and it is not all gone: {}", told(&held)))
        }
        held if doings.under_way => {
            (false, format!("a takeover or a release runs, and a start waits for it: {}", told(&held)))
        }
        Standing::Active => (true, "this node serves".to_owned()),
        held if missing(observation, config).is_empty() => {
            (true, format!("nothing is missing, and a start could not mend it: {}", told(&held)))
        }
        held => (false, format!("a start is needed: {}", told(&held))),
    };
    HeartbeatStatus { running, certain: certain(observation), reason }
}

fn told(standing: &Standing) -> String {
    match standing {
        Standing::Active => "this node serves".to_owned(),
        Standing::Standby => "this node holds nothing".to_owned(),
        Standing::Partial { reason, .. } | Standing::Unknown { reason } => reason.clone(),
    }
}

fn certain(observation: &Observation) -> bool {
    matches!(&observation.drbd, Fact::Known(drbd) if drbd.role != Role::Unknown || drbd.connection == Connection::Unconfigured)
        && observation.mount.known().is_some()
        && observation.mysqld.known().is_some()
        && observation.vip.here.known().is_some()
}
