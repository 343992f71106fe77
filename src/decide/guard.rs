//! May the active node go on, or should it step down so that the other side can step in?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FenceAnswer;
use super::health::{Health, health};
use super::standing::{Standing, standing};
use crate::config::{AutomaticTakeover, ClusterManager, Config};
use crate::observation::{
    Connection, Disk, Drbd, Fact, MysqldAnswer, MysqldProcess, Observation, Replication, Role,
};
use crate::plan::Goal;

/// What became of a check that may hang.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Not made, or not to be made now.
    #[default]
    NotMade,
    /// It succeeded.
    Passed,
    /// Something an operator should know, and no failure of this node.
    Warned(String),
    /// It failed, with what was seen in one sentence.
    Failed(String),
    /// It has not come back for so long.
    Pending(Duration),
}

/// What is known of a node beside its latest look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarding {
    /// It was seen to serve, or took over, since it booted. What a person holds by hand on another node is left alone.
    pub was_active: bool,
    /// Of the last looks (`agent.of`), with this one, how many found something wrong.
    pub failures: u32,
    /// A write through the mount.
    pub write: Check,
    /// How long ago DRBD was last seen to wait for the peer alone; none when it was not.
    pub waited_for_peer: Option<Duration>,
    /// A query.
    pub query: Check,
    /// The link of the virtual IP's interface.
    pub carrier: Check,
    /// How long the server's socket has accepted and not answered; zero when it answers.
    pub stalled_for: Duration,
    /// How long a server's process has run and not listened yet; zero when it listens.
    pub starting_for: Duration,
    /// Why the agent is to do nothing by itself.
    pub paused: Option<String>,
    /// The latest answer of DRBD's handler since this node booted.
    pub fence_answer: Option<FenceAnswer>,
    /// The peer's agent says that its node holds something of the cluster.
    pub peer_holds: bool,
    /// Since the end of this node's latest takeover, when nobody has acknowledged it.
    pub since_takeover: Option<Duration>,
    /// A takeover or release that runs.
    pub running: Option<Goal>,
}

/// What an active node is to do, with the reason in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// It is not active: nothing is guarded.
    NotActive(String),
    /// It serves.
    Well(String),
    /// Something is wrong, and not for long enough to count.
    Suspicious(String),
    /// It fails, and goes on as it is: giving up would not help.
    Stay(String),
    /// It fails, the peer can't step in, and a takeover of this node itself brings back what is missing.
    Mend(String),
    /// It gives everything up in order, so that the peer can step in.
    GiveUp(String),
    /// The peer has taken over while this node was held: the virtual IP goes at once, and the machine is reset if its I/O stays
    /// frozen.
    StepDown(String),
}

impl Guard {
    /// The sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Guard::NotActive(text)
            | Guard::Well(text)
            | Guard::Suspicious(text)
            | Guard::Stay(text)
            | Guard::Mend(text)
            | Guard::GiveUp(text)
            | Guard::StepDown(text) => text,
        }
    }
}

/// What one look finds wrong with a node that should serve; none when it is in order.
///
/// What DRBD holds back while its handler finds out what became of the peer is not counted: it passes by itself.
pub fn ailment(observation: &Observation, config: &Config, guarding: &Guarding) -> Option<String> {
    let mut wrong = Vec::new();
    let frozen = matches!(&observation.drbd, Fact::Known(drbd) if drbd.io_suspended);
    wrong.extend(of_drbd(observation, config));
    wrong.extend(of_mount(observation, config));
    wrong.extend(of_mysqld(observation, config, guarding, frozen));
    wrong.extend(of_vip(observation, config));
    let limits = config.agent.write_limit;
    let checks = [
        (&guarding.write, "a write to the data", limits),
        (&guarding.query, "a query", config.agent.mysqld_limit),
    ];
    if !frozen {
        wrong.extend(checks.into_iter().filter_map(|(check, what, limit)| failed(check, what, limit)));
    }
    wrong.extend(failed(&guarding.carrier, "the link", Duration::MAX));
    if wrong.is_empty() { None } else { Some(wrong.join("; ")) }
}

/// Decides what an active node does.
pub fn guard(observation: &Observation, config: &Config, guarding: &Guarding) -> Guard {
    let name = &config.this_node.name;
    if let Some(goal) = guarding.running {
        return Guard::Well(format!("a {goal} runs on {name}"));
    }
    match standing(observation, config) {
        Standing::Active => {}
        _ if guarding.was_active => {}
        Standing::Standby => return Guard::NotActive(format!("{name} holds nothing")),
        Standing::Partial { reason, .. } | Standing::Unknown { reason } => {
            return Guard::NotActive(format!("{name} has not served since it booted: {reason}"));
        }
    }
    if let Some(reason) = replaced(observation, config, guarding) {
        return match &guarding.paused {
            Some(pause) => Guard::Stay(format!("{reason}; {pause}")),
            None => Guard::StepDown(reason),
        };
    }
    let Some(wrong) = ailment(observation, config, guarding) else {
        return match health(observation, config) {
            Health::Good(text) | Health::Degraded(text) => Guard::Well(text),
            // Only what passes by itself is left.
            Health::Bad(text) => Guard::Suspicious(text),
        };
    };
    if let Some(pause) = &guarding.paused {
        return Guard::Stay(format!("{wrong}; {pause}"));
    }
    let (failures, needed, of) = (guarding.failures, config.agent.failures, config.agent.of);
    if failures < needed {
        return Guard::Suspicious(format!(
            "{wrong} ({failures} of the last {of} looks failed, {needed} count)"
        ));
    }
    match why_not_the_peer(observation, config, guarding) {
        None => Guard::GiveUp(wrong),
        Some(why) if can_be_mended(observation, config, guarding) => Guard::Mend(format!("{wrong}; {why}")),
        Some(why) => Guard::Stay(format!("{wrong}; {why}")),
    }
}

/// DRBD's handler has learnt that the peer is active, and this node's I/O is frozen since.
fn replaced(observation: &Observation, config: &Config, guarding: &Guarding) -> Option<String> {
    let frozen = |drbd: &Drbd| {
        drbd.role == Role::Primary && drbd.io_suspended && drbd.connection != Connection::Connected
    };
    // The handler waits for the virtual IP to be the peer's, and that waits for this node to let it go.
    let told = guarding.fence_answer == Some(FenceAnswer::PeerPrimary) || guarding.peer_holds;
    (told && observation.drbd.known().is_some_and(frozen)).then(|| {
        format!(
            "{} has taken over while this node was held, and DRBD keeps this node from writing",
            config.peer.name
        )
    })
}

fn of_drbd(observation: &Observation, config: &Config) -> Option<String> {
    let resource = &config.resource;
    match &observation.drbd {
        // One look that fails to read it proves nothing, and several are no reason to give up what may well serve.
        Fact::Unknown(_) => None,
        Fact::Known(drbd) if drbd.connection == Connection::Unconfigured => {
            Some(format!("DRBD resource {resource} is down"))
        }
        Fact::Known(drbd) if drbd.role != Role::Primary => {
            Some(format!("DRBD resource {resource} is {:?}", drbd.role))
        }
        Fact::Known(drbd) if drbd.disk == Disk::Diskless && drbd.peer_disk != Disk::UpToDate => Some(
            format!("DRBD resource {resource} has lost its disk, and the peer's is {:?}", drbd.peer_disk),
        ),
        Fact::Known(_) => None,
    }
}

fn of_mount(observation: &Observation, config: &Config) -> Option<String> {
    let directory = config.mount.directory.display();
    let mount = observation.mount.known()?;
    match &mount.at_directory {
        None => Some(format!("nothing is mounted at {directory}")),
        Some(mounted) if !mounted.is_our_device => {
            Some(format!("{directory} holds {}, which is not the cluster's", mounted.source))
        }
        Some(mounted) if mounted.read_only => Some(format!("{directory} is mounted read-only")),
        Some(_) => None,
    }
}

fn of_mysqld(
    observation: &Observation,
    config: &Config,
    guarding: &Guarding,
    frozen: bool,
) -> Option<String> {
    let mysqld = observation.mysqld.known()?;
    let ours = |process: &&MysqldProcess| process.on_our_device;
    let Some(process) = mysqld.processes.iter().find(ours) else {
        return Some("no mysqld runs on the data".to_owned());
    };
    let pid = process.pid;
    let seconds = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
    match &mysqld.answer {
        MysqldAnswer::Ready | MysqldAnswer::Busy => None,
        _ if frozen => None,
        // It may be in crash recovery, which nobody shortens by beginning it anew elsewhere.
        MysqldAnswer::Silent => (guarding.starting_for >= config.limits.start_mysqld).then(|| {
            format!("mysqld (process {pid}) runs and has not listened for {}", seconds(guarding.starting_for))
        }),
        MysqldAnswer::Stalled(cause) => (guarding.stalled_for >= config.agent.mysqld_limit).then(|| {
            format!("mysqld (process {pid}) has not answered for {}: {cause}", seconds(guarding.stalled_for))
        }),
    }
}

fn of_vip(observation: &Observation, config: &Config) -> Option<String> {
    let vip = config.vip.address.addr();
    match &observation.vip.here {
        // keepalived moves it by its own rules, and its notify script follows.
        _ if config.cluster_manager == ClusterManager::Keepalived => None,
        Fact::Unknown(_) => None,
        Fact::Known(Some(interface)) if *interface == config.vip.interface => None,
        Fact::Known(Some(interface)) => Some(format!("the virtual IP {vip} is on {interface}")),
        Fact::Known(None) => Some(format!("the virtual IP {vip} is not here any more")),
    }
}

fn failed(check: &Check, what: &str, limit: Duration) -> Option<String> {
    match check {
        Check::Failed(cause) => Some(cause.clone()),
        Check::Pending(time) if *time >= limit => Some(format!(
            "{what} has not come back for {}",
            humantime::format_duration(Duration::from_secs(time.as_secs()))
        )),
        Check::NotMade | Check::Passed | Check::Warned(_) | Check::Pending(_) => None,
    }
}

/// Why giving up would not help; none when the peer could step in.
fn why_not_the_peer(observation: &Observation, config: &Config, guarding: &Guarding) -> Option<String> {
    let peer = &config.peer.name;
    if config.cluster_manager == ClusterManager::Pacemaker {
        return Some("Pacemaker's own monitor decides what follows".to_owned());
    }
    if nobody_decides(config) {
        return Some(format!("nobody would make {peer} step in: agent.takeover is not automatic"));
    }
    let takes_part = |drbd: &Drbd| {
        drbd.connection == Connection::Connected
            && drbd.peer_disk == Disk::UpToDate
            && matches!(drbd.replication, Replication::Established | Replication::Verifying)
    };
    match &observation.drbd {
        Fact::Unknown(cause) => {
            return Some(format!("whether {peer} could step in is not known: {cause}"));
        }
        Fact::Known(drbd) if !takes_part(drbd) => {
            return Some(format!(
                "{peer} could not step in: DRBD is {:?}, the disk there is {:?}",
                drbd.connection, drbd.peer_disk
            ));
        }
        Fact::Known(_) => {}
    }
    let but_for_the_write = Guarding { write: Check::NotMade, ..guarding.clone() };
    if waits_for_peer(config, guarding) && ailment(observation, config, &but_for_the_write).is_none() {
        return Some(format!(
            "DRBD waits for {peer} to answer, and this node's disk for nothing: {peer} or the link to it is slow, and it could not \
             take over any faster"
        ));
    }
    let since = guarding.since_takeover.filter(|since| *since < config.agent.settle)?;
    Some(format!(
        "this node took over only {} ago, and moving back would make the database flap (standin acknowledge ends the wait)",
        humantime::format_duration(Duration::from_secs(since.as_secs()))
    ))
}

/// A write that does not come back because of the peer. While our own disk hangs, some request always waits for it.
fn waits_for_peer(config: &Config, guarding: &Guarding) -> bool {
    // The write may have begun a moment before the disk hung.
    let begun = Duration::from_secs(1);
    match (&guarding.write, guarding.waited_for_peer) {
        (Check::Pending(pending), Some(ago)) => {
            *pending >= config.agent.write_limit && ago + begun < *pending && ago < config.agent.write_limit
        }
        _ => false,
    }
}

/// Whether our own disk keeps a write for longer than it may: then nothing can be flushed, and no unmount ends.
pub fn disk_hangs(observation: &Observation, config: &Config, guarding: &Guarding) -> bool {
    let frozen = observation.drbd.known().is_some_and(|drbd| drbd.io_suspended);
    !frozen
        && failed(&guarding.write, "a write", config.agent.write_limit).is_some()
        && matches!(guarding.write, Check::Pending(_))
        && !waits_for_peer(config, guarding)
}

/// Without a cluster manager only an agent that may take over follows one that gives up.
fn nobody_decides(config: &Config) -> bool {
    config.cluster_manager == ClusterManager::None && config.agent.takeover != AutomaticTakeover::Automatic
}

/// Everything but the server, or the address, is here.
fn can_be_mended(observation: &Observation, config: &Config, guarding: &Guarding) -> bool {
    let written = failed(&guarding.write, "a write", config.agent.write_limit).is_none();
    let primary = |drbd: &Drbd| drbd.role == Role::Primary && !drbd.io_suspended;
    let gone = observation.mysqld.known().is_some_and(|mysqld| mysqld.processes.is_empty())
        || observation.vip.here == Fact::Known(None);
    config.cluster_manager == ClusterManager::None
        && !nobody_decides(config)
        && observation.drbd.known().is_some_and(primary)
        && of_mount(observation, config).is_none()
        && observation.mount.known().is_some()
        && written
        && gone
}
