//! The cluster that the faults strike: under each manager, or under none.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::cluster::ClusterOptions;
use crate::lab::LabOptions;
use crate::manager::Manager;
use crate::managers::{Agent, ByHand, Heartbeat, Keepalived, Pacemaker};

/// Who is to notice a fault and act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Under {
    /// standin's own agent, and no cluster manager.
    #[default]
    Agent,
    /// A person who types standin's commands.
    ByHand,
    /// Heartbeat with standin as its resource, and the agents.
    Heartbeat,
    /// keepalived with standin's scripts, and the agents.
    Keepalived,
    /// Pacemaker with standin as a primitive.
    Pacemaker,
    /// Pacemaker with standin as a promotable clone.
    Promotable,
}

impl fmt::Display for Under {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value();
        out.write_str(name.as_ref().map_or("", |name| name.get_name()))
    }
}

/// DRBD's fencing, as the doctor insists on it.
pub const STONITH: &str = "resource-and-stonith";

impl Under {
    /// Whether the agents guard the nodes. Heartbeat looks after no resource, and neither it nor keepalived gets a node out of the way
    /// that was replaced while it was paused; Pacemaker has a monitor and fencing of its own.
    pub(super) fn has_agents(self) -> bool {
        matches!(self, Self::Agent | Self::Heartbeat | Self::Keepalived)
    }

    pub(crate) fn manager(self) -> Box<dyn Manager> {
        match self {
            Self::Agent => Box::new(Agent),
            Self::ByHand => Box::new(ByHand),
            Self::Heartbeat => Box::new(Heartbeat::standin()),
            Self::Keepalived => Box::new(Keepalived),
            Self::Pacemaker => Box::new(Pacemaker::primitive()),
            Self::Promotable => Box::new(Pacemaker::promotable()),
        }
    }

    /// A lab for it, with DRBD's handlers switched on.
    pub fn lab(self) -> LabOptions {
        let mut cmdline = vec!["drbd.usermode_helper=/sbin/drbdadm".to_owned()];
        if self == Self::Promotable {
            cmdline.push("lab.drbd=no".to_owned());
        }
        LabOptions { cmdline, ..LabOptions::default() }
    }

    /// standin's configuration, and DRBD's fencing policy.
    pub fn cluster(self, fencing: &'static str) -> ClusterOptions {
        let more = match self {
            Self::Agent => Agent::MORE.to_vec(),
            Self::ByHand => Vec::new(),
            Self::Heartbeat => [["cluster_manager: {heartbeat: keep}"].as_slice(), Agent::BESIDE].concat(),
            Self::Keepalived => [[Keepalived::MORE].as_slice(), Agent::BESIDE].concat(),
            Self::Pacemaker | Self::Promotable => vec!["cluster_manager: pacemaker"],
        };
        ClusterOptions { more, fencing: Some(fencing), ..ClusterOptions::default() }
    }

    /// For how long after the last repair nobody may serve, before the nodes are asked why.
    pub(super) fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::ByHand => 40,
            Self::Agent => 60,
            Self::Keepalived => 90,
            Self::Heartbeat | Self::Pacemaker | Self::Promotable => 180,
        })
    }

    /// How long the pair may take to become whole by itself before a person helps.
    pub(super) fn by_itself(self) -> Duration {
        Duration::from_secs(match self {
            Self::ByHand => 8,
            Self::Agent => 40,
            Self::Heartbeat | Self::Keepalived | Self::Pacemaker | Self::Promotable => 30,
        })
    }
}
