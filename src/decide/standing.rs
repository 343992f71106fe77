//! What of the cluster this node holds: everything, nothing, or a part of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::observation::{Connection, DrbdGeneration, Fact, MysqldAnswer, Observation, Role};

/// What makes a node active, in the order in which a takeover gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The DRBD resource is Primary.
    Drbd,
    /// The data file system is mounted.
    Mount,
    /// A database server runs on it.
    Mysqld,
    /// The virtual IP.
    Vip,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Part::Drbd => "DRBD Primary",
            Part::Mount => "the mount",
            Part::Mysqld => "mysqld",
            Part::Vip => "the virtual IP",
        })
    }
}

/// What of the cluster this node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It serves: Primary, mounted read-write, mysqld answers, virtual IP here.
    Active,
    /// It holds nothing, and that was seen of each part.
    Standby,
    /// It holds something, and does not serve.
    Partial {
        /// What it holds.
        holds: Vec<Part>,
        /// What is wrong or missing, in one sentence.
        reason: String,
    },
    /// It holds nothing that was seen, but not all of it could be looked at.
    Unknown {
        /// What could not be learnt, in one sentence.
        reason: String,
    },
}

/// One part of it: held and in order, held and not in order, not held, or not known.
enum Held {
    Good,
    Bad(String),
    No(String),
    NotKnown(String),
}

/// Judges what this node holds. What belongs to others (another device on the mount point, another data directory's server)
/// is not held.
pub fn standing(observation: &Observation, config: &Config) -> Standing {
    let parts = parts(observation, config);
    let holds: Vec<Part> = parts
        .iter()
        .filter(|(_, held)| matches!(held, Held::Good | Held::Bad(_)))
        .map(|(part, _)| *part)
        .collect();
    let wrong: Vec<&str> = parts
        .iter()
        .filter_map(|(_, held)| match held {
            Held::Good => None,
            Held::Bad(what) | Held::No(what) | Held::NotKnown(what) => Some(what.as_str()),
        })
        .collect();
    if wrong.is_empty() {
        return Standing::Active;
    }
    if !holds.is_empty() {
        return Standing::Partial { holds, reason: wrong.join("; ") };
    }
    let unknown: Vec<&str> = parts
        .iter()
        .filter_map(|(_, held)| match held {
            Held::NotKnown(what) => Some(what.as_str()),
            _ => None,
        })
        .collect();
    if unknown.is_empty() { Standing::Standby } else { Standing::Unknown { reason: unknown.join("; ") } }
}

/// The parts that were seen not to be held. One that could not be looked at is not among them.
pub(super) fn missing(observation: &Observation, config: &Config) -> Vec<Part> {
    let parts = parts(observation, config);
    parts.iter().filter(|(_, held)| matches!(held, Held::No(_))).map(|(part, _)| *part).collect()
}

fn parts(observation: &Observation, config: &Config) -> [(Part, Held); 4] {
    [
        (Part::Drbd, drbd(observation, config)),
        (Part::Mount, mount(observation, config)),
        (Part::Mysqld, mysqld(observation)),
        (Part::Vip, vip(observation, config)),
    ]
}

fn drbd(observation: &Observation, config: &Config) -> Held {
    let resource = &config.resource;
    let drbd = match &observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => {
            return Held::NotKnown(format!("the state of DRBD resource {resource} is not known: {cause}"));
        }
    };
    match drbd.role {
        _ if drbd.generation == DrbdGeneration::NotLoaded => {
            Held::No("the drbd module is not loaded".to_owned())
        }
        _ if drbd.connection == Connection::Unconfigured => {
            Held::No(format!("DRBD resource {resource} is down"))
        }
        Role::Primary if drbd.io_suspended => Held::Bad(format!("DRBD holds back all I/O on {resource}")),
        Role::Primary => Held::Good,
        Role::Secondary => Held::No(format!("DRBD resource {resource} is Secondary")),
        Role::Unknown => Held::NotKnown(format!("the role of DRBD resource {resource} is not known")),
    }
}

fn mount(observation: &Observation, config: &Config) -> Held {
    let directory = config.mount.directory.display();
    let mount = match &observation.mount {
        Fact::Known(mount) => mount,
        Fact::Unknown(cause) => return Held::NotKnown(format!("what is mounted is not known: {cause}")),
    };
    match &mount.at_directory {
        Some(mounted) if mounted.is_our_device && mounted.read_only => {
            Held::Bad(format!("{directory} is mounted read-only"))
        }
        Some(mounted) if mounted.is_our_device => Held::Good,
        _ if !mount.device_elsewhere.is_empty() => {
            Held::Bad(format!("the device is mounted at {} instead", mount.device_elsewhere[0].display()))
        }
        Some(mounted) => {
            Held::No(format!("{directory} holds {}, which is not the cluster's", mounted.source))
        }
        None => Held::No(format!("nothing is mounted at {directory}")),
    }
}

fn mysqld(observation: &Observation) -> Held {
    let mysqld = match &observation.mysqld {
        Fact::Known(mysqld) => mysqld,
        Fact::Unknown(cause) => return Held::NotKnown(format!("which mysqld runs is not known: {cause}")),
    };
    let Some(process) = mysqld.processes.iter().find(|process| process.on_our_device) else {
        return Held::No("no mysqld runs on the data".to_owned());
    };
    let pid = process.pid;
    match &mysqld.answer {
        MysqldAnswer::Ready | MysqldAnswer::Busy => Held::Good,
        MysqldAnswer::Silent => {
            Held::Bad(format!("mysqld (process {pid}) runs and nothing answers on its socket"))
        }
        MysqldAnswer::Stalled(cause) => Held::Bad(format!("mysqld (process {pid}) does not answer: {cause}")),
    }
}

fn vip(observation: &Observation, config: &Config) -> Held {
    let vip = config.vip.address.addr();
    match &observation.vip.here {
        Fact::Known(Some(interface)) if *interface == config.vip.interface => Held::Good,
        Fact::Known(Some(interface)) => {
            Held::Bad(format!("the virtual IP {vip} is on {interface} and not on {}", config.vip.interface))
        }
        Fact::Known(None) => Held::No(format!("the virtual IP {vip} is not here")),
        Fact::Unknown(cause) => {
            Held::NotKnown(format!("whether the virtual IP {vip} is here is not known: {cause}"))
        }
    }
}
