//! Pure decisions: no clock, no input or output, no sleep. Observation + configuration → a plan or a refusal.

mod evidence;
mod fence_peer;
mod guard;
mod health;
mod heartbeat_status;
mod keepalived;
mod rejoin;
mod release;
mod standing;
mod switchover;
mod takeover;
mod watch;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use evidence::{PeerStanding, answers, hears_nobody, peer_standing};
pub use fence_peer::{FenceAnswer, FenceDecision, FenceRequest, fence_peer};
pub use guard::{Check, Guard, Guarding, ailment, disk_hangs, guard};
pub use health::{Health, Now, fitness, health, lack_of_redundancy, serves};
pub use heartbeat_status::{Doings, HeartbeatStatus, heartbeat_status};
pub use keepalived::{Attendance, Scene, keepalived};
pub use rejoin::{Diverged, Divergence, Rejoining, diverged, rejoin};
pub use release::release;
pub use standing::{Part, Standing, standing};
pub use switchover::{AgentReadiness, PeerReadiness, Switching, Switchover, switchover};
pub use takeover::takeover;
pub use watch::{Watch, Watching, watch};

use crate::plan::{Action, Plan};

/// What a person or a front-end asked for beyond "take over".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// A person accepted that MyISAM tables will need a slow repair and may lose rows.
    pub accept_myisam: bool,
    /// A person checked that the peer is off, or Secondary and without mysqld.
    pub peer_confirmed_inactive: bool,
    /// The time for the virtual IP to drop and the peer to yield has passed.
    pub waited_out: bool,
    /// The call comes from the cluster manager's own agent.
    pub from_cluster_manager: bool,
    /// DRBD alone: other resources of the cluster manager do the rest.
    #[serde(default)]
    pub drbd_only: bool,
    /// The call comes from this node's agent, which never fences a peer that has the virtual IP.
    #[serde(default)]
    pub from_agent: bool,
    /// The agent has seen the peer silent for so long already.
    #[serde(default)]
    pub silent_for: Option<Duration>,
    /// A server that does not move for so long while it shuts down is killed, for InnoDB to recover elsewhere.
    #[serde(default)]
    pub kill_mysqld_after: Option<Duration>,
}

/// The part of a plan that was asked for.
fn asked_for(mut plan: Plan, request: &Request) -> Plan {
    if request.drbd_only {
        plan.steps.retain(|step| {
            matches!(
                step.action,
                Action::WaitVipGone { .. }
                    | Action::FencePeer { .. }
                    | Action::DisconnectDrbd { .. }
                    | Action::PromoteDrbd { .. }
                    | Action::DemoteDrbd { .. }
                    | Action::ReconnectDrbd { .. }
            )
        });
    }
    plan
}

/// A plan or a refusal, each with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It may be done, and this is how.
    Plan(Plan),
    /// It must not be done.
    Refusal(Refusal),
}

/// Why something must not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Refusal {
    /// Which rule refuses.
    pub kind: RefusalKind,
    /// One sentence: what was seen.
    pub reason: String,
    /// Why it matters.
    pub why: String,
    /// What to do next.
    pub next: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "refused: {}\n  why it matters: {}\n  what to do next: {}",
            self.reason, self.why, self.next
        )
    }
}

/// Which rule refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// Pacemaker runs and owns the resource.
    PacemakerOwns,
    /// The state of DRBD could not be read.
    DrbdUnknown,
    /// The resource is not configured in the kernel.
    DrbdNotConfigured,
    /// The local disk is not known to be current.
    DiskNotCurrent,
    /// DRBD holds back all I/O.
    IoSuspended,
    /// StandAlone that we did not make ourselves.
    StandAlone,
    /// Both sides are Primary.
    TwoPrimaries,
    /// DRBD is between two states.
    Unsettled,
    /// The mount table could not be read.
    MountUnknown,
    /// The mount point holds something else.
    MountOccupied,
    /// The device is mounted at another directory.
    MountedElsewhere,
    /// The data file system is mounted read-only.
    ReadOnly,
    /// The process table could not be read.
    MysqldUnknown,
    /// Another mysqld has the data directory open.
    AnotherMysqld,
    /// Whether someone holds the virtual IP could not be learnt.
    VipUnknown,
    /// The virtual IP is still answered.
    VipAnswers,
    /// The virtual IP is on another interface of this node.
    VipMisplaced,
    /// keepalived asked for a takeover, and the virtual IP is not here.
    VipNotGiven,
    /// The peer is alive and Primary.
    PeerPrimary,
    /// The peer is alive but what it does can't be seen.
    PeerUnseen,
    /// There is no evidence that the peer is dead.
    NoEvidence,
    /// No witness answers: it is we who are cut off.
    Isolated,
    /// A switchover was asked for on a node that does not serve.
    NotActive,
    /// The peer could not take over.
    PeerNotReady,
    /// A rejoin was asked for on a node that still holds something.
    NotReleased,
    /// Both sides took writes apart from each other.
    SplitBrain,
    /// The local data may lack what the peer committed alone: only the agent asks for more than DRBD does.
    OutOfStep,
}

impl RefusalKind {
    /// Whether it may pass by itself, so that waiting makes sense.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            RefusalKind::Unsettled
                | RefusalKind::VipUnknown
                | RefusalKind::VipAnswers
                | RefusalKind::PeerPrimary
                | RefusalKind::PeerUnseen
                | RefusalKind::NoEvidence
                | RefusalKind::Isolated
        )
    }
}

fn refuse(
    kind: RefusalKind,
    reason: impl Into<String>,
    why: impl Into<String>,
    next: impl Into<String>,
) -> Refusal {
    Refusal { kind, reason: reason.into(), why: why.into(), next: next.into() }
}
