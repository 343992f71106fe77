//! Is this node fit for its role: does it serve when it is active, could it take over when it is not?

use serde::{Deserialize, Serialize};

use super::FenceAnswer;
use super::standing::{Standing, standing};
use super::takeover::refusal_of_this_node;
use crate::config::Config;
use crate::observation::{Connection, Disk, Drbd, Fact, Mount, Mysqld, MysqldAnswer, Observation, Role};
use crate::plan::Goal;

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

impl Health {
    /// The sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Health::Good(text) | Health::Degraded(text) | Health::Bad(text) => text,
        }
    }
}

/// What is going on beside what can be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    /// The takeover or release that runs.
    pub running: Option<Goal>,
    /// What DRBD's handler answered last, when it did since the node booted.
    pub fence_answer: Option<FenceAnswer>,
    /// Why the latest takeover did not make this node active, when that was a short while ago.
    pub in_vain: Option<String>,
}

/// Judges a look at this node alone: the network is not asked, so that a standby whose peer serves counts as fit.
pub fn health(observation: &Observation, config: &Config) -> Health {
    let name = &config.this_node.name;
    match (standing(observation, config), &observation.drbd) {
        (Standing::Active, Fact::Known(drbd)) => match lacks_redundancy(drbd) {
            None => Health::Good(format!("{name} is active")),
            Some(lack) => Health::Degraded(format!("{name} is active, but {lack}")),
        },
        (Standing::Standby, Fact::Known(drbd)) => match refusal_of_this_node(observation, config) {
            Some(refusal) => Health::Bad(format!("{name} could not take over: {}", refusal.reason)),
            None if drbd.connection == Connection::Connected => {
                Health::Good(format!("{name} is standby and could take over"))
            }
            None => Health::Degraded(format!(
                "{name} is standby and could take over, but DRBD is not connected to the peer ({:?})",
                drbd.connection
            )),
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

/// The same for who acts on it at once, as keepalived does: what passes by itself is no reason to give the role away.
pub fn fitness(observation: &Observation, config: &Config, now: &Now) -> Health {
    let name = &config.this_node.name;
    if let Some(goal) = now.running {
        return Health::Good(format!("a {goal} runs on {name}"));
    }
    let health = health(observation, config);
    match (health, &now.in_vain) {
        (Health::Bad(_), _) if waits_for_the_handler(observation, now) => Health::Degraded(format!(
            "{name} is active, but its I/O is held back while DRBD's handler finds out what became of the peer"
        )),
        (Health::Good(_) | Health::Degraded(_), Some(why))
            if standing(observation, config) == Standing::Standby =>
        {
            Health::Bad(format!("{name} has just tried to take over in vain: {why}"))
        }
        (health, _) => health,
    }
}

/// Whether this node serves: the question of a load balancer.
pub fn serves(observation: &Observation, config: &Config) -> Health {
    match standing(observation, config) {
        Standing::Active => health(observation, config),
        Standing::Standby => Health::Bad(format!("{} is standby", config.this_node.name)),
        Standing::Partial { reason, .. } | Standing::Unknown { reason } => {
            Health::Bad(format!("{} does not serve: {reason}", config.this_node.name))
        }
    }
}

/// Everything but DRBD's I/O is in order, and the handler has not forbidden that for good.
fn waits_for_the_handler(observation: &Observation, now: &Now) -> bool {
    let suspended =
        |drbd: &Drbd| drbd.role == Role::Primary && drbd.io_suspended && drbd.peer_role != Role::Primary;
    let mounted = |mount: &Mount| {
        mount.at_directory.as_ref().is_some_and(|mounted| mounted.is_our_device && !mounted.read_only)
    };
    let answers = |mysqld: &Mysqld| {
        !mysqld.processes.is_empty() && matches!(mysqld.answer, MysqldAnswer::Ready | MysqldAnswer::Busy)
    };
    observation.drbd.known().is_some_and(suspended)
        && observation.mount.known().is_some_and(mounted)
        && observation.mysqld.known().is_some_and(answers)
        && matches!(observation.vip.here, Fact::Known(Some(_)))
        && now.fence_answer.is_none_or(FenceAnswer::lets_write)
}

/// What an active node lacks of a second copy of its data; none on a standby, or when DRBD can't be read.
pub fn lack_of_redundancy(observation: &Observation) -> Option<String> {
    let drbd = observation.drbd.known().filter(|drbd| drbd.role == Role::Primary)?;
    lacks_redundancy(drbd)
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
