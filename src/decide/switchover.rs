//! May this node hand the active role to its peer now, and how?
//!
//! Everything that could keep the peer from taking over is asked before anything is given up: a switchover is typed at a quiet
//! hour, and a refusal costs nothing then.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::standing::{Standing, standing};
use super::{Decision, Refusal, RefusalKind, Request, refuse, release};
use crate::config::{ClusterManager, Config};
use crate::observation::{Connection, Disk, Drbd, Fact, Observation, Replication, Role};
use crate::plan::{Action, DirtyPagesLimits, Goal, HandOverBy, Plan, ServerAccess, Step, Undo, shell_words};

/// For setting two variables of a server that answers.
const RESTORE: Duration = Duration::from_secs(10);

/// What the peer said when it was asked whether it could take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerReadiness {
    /// It could, as soon as this node has given everything up.
    Ready {
        /// Where it was asked.
        address: Ipv4Addr,
    },
    /// It could, and does not hear the virtual IP, which this node has.
    Deaf {
        /// Where it was asked.
        address: Ipv4Addr,
    },
    /// It would refuse, with its reason.
    NotReady(String),
    /// It could not be asked, with the cause.
    NotAsked(String),
}

/// What the peer's agent does as soon as this node holds nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentReadiness {
    /// It makes the peer active.
    TakesOver,
    /// It would, and does not for now: why, and what ends that.
    HoldsBack(String),
    /// The configuration does not let it.
    TakesNothingOver,
    /// It could not be asked, with the cause.
    NotAsked(String),
}

/// What is known beside the observation, and what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switching {
    /// What the peer said.
    pub peer: PeerReadiness,
    /// Whether the peer's agent takes over by itself.
    pub peer_agent: AgentReadiness,
    /// What is typed on the peer to make it take over.
    pub takeover_there: Vec<String>,
    /// Both agents do nothing by themselves: the sentence that says so.
    pub paused: Option<String>,
    /// The limits of dirty pages as they are set; unknown, with the cause, when the server can't be asked. None: no flush is
    /// wanted.
    pub dirty_pages: Option<Fact<DirtyPagesLimits>>,
    /// How long the flush may take while it still gets anywhere.
    pub flush: Duration,
    /// How long the peer may take to become active.
    pub hand_over: Duration,
    /// How the cluster manager moves the resource: the command, and what cleans up after it. Asked only under Pacemaker, which
    /// alone knows the resource's name.
    pub pacemaker_move: Fact<(Vec<String>, Vec<String>)>,
    /// A switchover of this boot was killed before its end: this one goes on where it stopped.
    pub unfinished: bool,
}

/// The two halves of a switchover. What fails in the first is taken back by it; after the second a takeover of this node is
/// decided anew, because the peer may have become active meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switchover {
    /// This node gives up what it holds; under a cluster manager it only prepares.
    pub give_up: Plan,
    /// The peer becomes active.
    pub hand_over: Plan,
}

/// Decides about a switchover typed on the active node.
///
/// # Errors
/// The refusal: this node does not serve, or the peer could not take over at once without losing anything.
pub fn switchover(
    observation: &Observation,
    config: &Config,
    switching: &Switching,
) -> Result<Switchover, Refusal> {
    serves_here(observation, config, switching)?;
    let drbd = peer_has_everything(observation, config)?;
    peer_answers(observation, config)?;
    let mut warnings = Vec::new();
    peer_could(observation, config, switching, &mut warnings)?;
    let by = by_whom(observation, config, switching, &mut warnings)?;
    let mut steps: Vec<Step> = flush(observation, config, switching, &mut warnings).into_iter().collect();
    if !matches!(by, HandOverBy::Manager { .. }) {
        let request = Request { from_cluster_manager: true, ..Request::default() };
        match release(observation, config, &request) {
            Decision::Plan(plan) => steps.extend(plan.steps.into_iter().map(|step| with_undo(step, config))),
            Decision::Refusal(refusal) => return Err(refusal),
        }
    }
    let (node, peer) = (&config.this_node.name, &config.peer.name);
    let says = match &switching.peer {
        PeerReadiness::Ready { .. } => " and says that it could take over",
        _ => "",
    };
    let reason = format!("{node} serves; {peer} is connected, has every commit ({:?}){says}", drbd.peer_disk);
    // A constraint that stays would keep the resource where it is for ever: what takes it out has a time of its own.
    let clean_up = match &by {
        HandOverBy::Manager { afterwards, .. } if !afterwards.is_empty() => HandOverBy::CLEAN_UP,
        _ => Duration::ZERO,
    };
    let hand_over = Step {
        action: Action::HandOver {
            by,
            peer: peer.clone(),
            resource: config.resource.clone(),
            vip: config.vip.address.addr(),
            interface: config.vip.interface.clone(),
        },
        deadline: switching.hand_over + clean_up,
        undo: None,
    };
    let plan = |reason, warnings, steps| Plan { goal: Goal::Switchover, reason, warnings, steps };
    let limit = humantime::format_duration(switching.hand_over);
    Ok(Switchover {
        give_up: plan(reason, warnings, steps),
        hand_over: plan(
            format!("{peer} becomes active; if it is not within {limit}, {node} takes over again"),
            Vec::new(),
            vec![hand_over],
        ),
    })
}

fn serves_here(observation: &Observation, config: &Config, switching: &Switching) -> Result<(), Refusal> {
    let (node, peer) = (&config.this_node.name, &config.peer.name);
    match standing(observation, config) {
        Standing::Active => Ok(()),
        // What is given up already is found so.
        Standing::Standby | Standing::Partial { .. } if switching.unfinished => Ok(()),
        Standing::Standby => Err(refuse(
            RefusalKind::NotActive,
            format!("{node} is not active"),
            "a switchover is typed on the active node, which prepares its shutdown while it still serves",
            format!("type it on {peer}: standin switchover"),
        )),
        Standing::Partial { reason, .. } | Standing::Unknown { reason } => Err(refuse(
            RefusalKind::NotActive,
            format!("{node} does not serve: {reason}"),
            "a switchover moves a service that works; what is broken would stay broken on the way",
            "see standin status; to give up what is here: standin release; then on the peer: standin takeover",
        )),
    }
}

/// Connected, and both copies current: the peer has every commit, and gets the last ones too.
fn peer_has_everything<'a>(observation: &'a Observation, config: &Config) -> Result<&'a Drbd, Refusal> {
    let (resource, peer) = (&config.resource, &config.peer.name);
    let not_ready =
        |reason: String, why: &str, next: String| Err(refuse(RefusalKind::PeerNotReady, reason, why, next));
    let drbd = match &observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => {
            return not_ready(
                format!("the state of DRBD resource {resource} could not be read: {cause}"),
                "without it nobody knows whether the peer's copy is current",
                format!("drbdadm status {resource}"),
            );
        }
    };
    if drbd.io_suspended {
        return not_ready(
            format!("DRBD holds back all I/O on {resource}"),
            "mysqld could not shut down, nor could the data be unmounted",
            "look at the peer, and at standin status".to_owned(),
        );
    }
    if drbd.connection != Connection::Connected || drbd.peer_role != Role::Secondary {
        return not_ready(
            format!("{peer} is not a connected Secondary ({:?}, {:?})", drbd.connection, drbd.peer_role),
            "it would lack the latest commits, or could not be promoted",
            format!("make it a standby first: on {peer}: standin rejoin"),
        );
    }
    if drbd.disk != Disk::UpToDate || drbd.peer_disk != Disk::UpToDate {
        let percent = drbd.resync_percent.map(|percent| format!(", {percent} % done")).unwrap_or_default();
        return not_ready(
            format!(
                "the copies are not equal: {:?} here, {:?} on {peer}{percent}",
                drbd.disk, drbd.peer_disk
            ),
            "a takeover there would refuse, or lose commits",
            format!("wait until the resync ends: on {peer}: standin rejoin"),
        );
    }
    if !matches!(drbd.replication, Replication::Established | Replication::Verifying) {
        return not_ready(
            format!(
                "DRBD resource {resource} is in the middle of a change of state ({:?})",
                drbd.replication
            ),
            "a takeover there would have to wait for its end while nobody serves",
            format!("wait until it ends: drbdadm status {resource}"),
        );
    }
    Ok(drbd)
}

/// DRBD notices a cut link late.
fn peer_answers(observation: &Observation, config: &Config) -> Result<(), Refusal> {
    match observation.peer.addresses.first() {
        Some(probe) if matches!(probe.answer, Fact::Known(Some(_))) => Ok(()),
        _ => Err(refuse(
            RefusalKind::PeerNotReady,
            format!(
                "{} does not answer at its replication address {}",
                config.peer.name, config.peer.replication_address
            ),
            "DRBD's \"Connected\" may be stale: the peer would miss the last commits and could not take over",
            format!("check the link: arping -c 3 {}; standin status", config.peer.replication_address),
        )),
    }
}

fn peer_could(
    observation: &Observation,
    config: &Config,
    switching: &Switching,
    warnings: &mut Vec<String>,
) -> Result<(), Refusal> {
    let (node, peer, vip) = (&config.this_node.name, &config.peer.name, config.vip.address.addr());
    match &switching.peer {
        PeerReadiness::Ready { .. } | PeerReadiness::NotAsked(_) => Ok(()),
        PeerReadiness::NotReady(reason) => Err(refuse(
            RefusalKind::PeerNotReady,
            format!("{peer} would refuse to take over: {reason}"),
            "this node would give up its service for nothing",
            format!("mend it on {peer} (standin plan, standin doctor), then try again"),
        )),
        // A node that the clients don't reach is a reason for a switchover, and the peer does not hear it either.
        PeerReadiness::Deaf { .. } if is_cut_off(observation) => {
            warnings.push(format!(
                "{peer} does not hear the virtual IP {vip}, and no witness answers here: it is {node} that is cut off"
            ));
            Ok(())
        }
        PeerReadiness::Deaf { .. } => Err(refuse(
            RefusalKind::PeerNotReady,
            format!("{peer} does not hear the virtual IP {vip}, although it is on {node}"),
            "one of the two is not where the clients are: if that is the peer, the service would move to where nobody reaches it",
            format!(
                "see to the network of {peer} (there: ip -br link; arping -c 3 -I {} {vip}); when it is {node} that the clients \
                 don't reach: standin release; then on {peer}: standin takeover",
                config.vip.interface
            ),
        )),
    }
}

/// Whether none of the witnesses answers, if there are any.
fn is_cut_off(observation: &Observation) -> bool {
    let silent = |answer| !matches!(answer, &Fact::Known(Some(_)));
    !observation.witnesses.is_empty() && observation.witnesses.iter().all(|probe| silent(&probe.answer))
}

fn by_whom(
    observation: &Observation,
    config: &Config,
    switching: &Switching,
    warnings: &mut Vec<String>,
) -> Result<HandOverBy, Refusal> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let runs = !matches!(&observation.cluster_manager, Fact::Known(state) if state.pids.is_empty());
    match config.cluster_manager {
        ClusterManager::Heartbeat(_) if runs => {
            return Ok(HandOverBy::Manager {
                command: words(&["/usr/share/heartbeat/hb_standby", "all"]),
                afterwards: Vec::new(),
            });
        }
        // It starts again as the one that has not got the address, and stays so (nopreempt).
        ClusterManager::Keepalived => {
            return Ok(HandOverBy::Manager {
                command: words(&["systemctl", "restart", "keepalived.service"]),
                afterwards: Vec::new(),
            });
        }
        ClusterManager::Pacemaker if runs => {
            return match &switching.pacemaker_move {
                Fact::Known((command, afterwards)) => {
                    Ok(HandOverBy::Manager { command: command.clone(), afterwards: afterwards.clone() })
                }
                Fact::Unknown(cause) => Err(refuse(
                    RefusalKind::PacemakerOwns,
                    format!("Pacemaker owns the resource, and which one it is could not be learnt: {cause}"),
                    "Pacemaker would see the change as a failure and act against it",
                    "move it by hand: crm_resource --move --resource NAME; then: crm_resource --clear --resource NAME",
                )),
            };
        }
        ClusterManager::Heartbeat(_) | ClusterManager::Pacemaker => warnings.push(
            "the cluster manager does not run here; one that runs on the peer may act on its own".to_owned(),
        ),
        ClusterManager::None => {}
    }
    let remote = switching.takeover_there.clone();
    let cause = match &switching.peer {
        PeerReadiness::Ready { address } | PeerReadiness::Deaf { address } => {
            return Ok(HandOverBy::Ssh { address: *address, remote });
        }
        PeerReadiness::NotReady(cause) | PeerReadiness::NotAsked(cause) => cause,
    };
    let peer = &config.peer.name;
    let agent = match &switching.peer_agent {
        AgentReadiness::TakesOver if switching.paused.is_none() => {
            warnings.push(format!(
                "whether {peer} could take over was not asked ({cause}); its agent does so by itself"
            ));
            return Ok(HandOverBy::Agent);
        }
        AgentReadiness::HoldsBack(why) => format!("its agent holds back: {why}"),
        AgentReadiness::NotAsked(cause) => {
            format!("whether an agent there takes over by itself is not known ({cause})")
        }
        AgentReadiness::TakesOver | AgentReadiness::TakesNothingOver => {
            "no agent there takes over by itself".to_owned()
        }
    };
    warnings.push(format!(
        "{peer} can't be told over ssh ({cause}); {agent}; somebody must type there, as soon as this node says so: {}",
        shell_words(&remote)
    ));
    Ok(HandOverBy::Person { remote })
}

fn flush(
    observation: &Observation,
    config: &Config,
    switching: &Switching,
    warnings: &mut Vec<String>,
) -> Option<Step> {
    // Stopped by the one that was killed before its end.
    if matches!(&observation.mysqld, Fact::Known(mysqld) if mysqld.processes.is_empty()) {
        return None;
    }
    let was = switching.dirty_pages.as_ref()?;
    let without = "the dirty pages are not written beforehand, so that the shutdown of mysqld takes longer";
    let (was, credentials) = match (was, &config.mysqld.credentials) {
        (Fact::Known(was), Some(credentials)) => (was, credentials),
        (_, None) => {
            warnings.push(format!("no mysqld.credentials are configured: {without}"));
            return None;
        }
        (Fact::Unknown(cause), _) => {
            warnings.push(format!("{cause}: {without}"));
            return None;
        }
    };
    let server = ServerAccess {
        socket: config.mysqld.socket.clone(),
        vip: config.vip.address.addr(),
        port: config.mysqld.port,
        credentials: credentials.clone(),
    };
    Some(Step {
        action: Action::FlushDirtyPages { server: server.clone(), was: was.clone() },
        deadline: switching.flush,
        undo: Some(Undo {
            action: Action::RestoreDirtyPages { server, was: was.clone() },
            deadline: RESTORE,
        }),
    })
}

/// A step of a release with what takes it back. A demotion has nothing: as soon as this node is Secondary the peer may be
/// Primary, so that a takeover must be decided anew.
fn with_undo(step: Step, config: &Config) -> Step {
    let limits = &config.limits;
    let mysqld = &config.mysqld;
    let undo = match &step.action {
        Action::RemoveVip { vip, interface } => {
            Some((Action::AddVip { vip: *vip, interface: interface.clone() }, limits.vip))
        }
        Action::StopMysqld { .. } => Some((
            Action::StartMysqld {
                control: mysqld.control.clone(),
                datadir: mysqld.datadir.clone(),
                socket: mysqld.socket.clone(),
                error_log: mysqld.error_log.clone(),
            },
            limits.start_mysqld,
        )),
        Action::Unmount { device, directory } => Some((
            Action::Mount {
                device: device.clone(),
                directory: directory.clone(),
                filesystem: config.mount.filesystem.clone(),
                options: config.mount.options.clone(),
            },
            limits.mount,
        )),
        _ => None,
    };
    Step { undo: undo.map(|(action, deadline)| Undo { action, deadline }), ..step }
}
