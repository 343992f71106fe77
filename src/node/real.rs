//! This machine: the [`Node`] that looks at and acts on the real thing.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::address::{self, Target};
use super::hand_over::{self, Sight};
use super::worker;
use super::{Applied, Attempt, Change, Node, command, drbd, filesystem, heartbeat, mysqld, pacemaker, ssh};
use crate::audit::EngineTotals;
use crate::audit::offline::{Settings, TOP};
use crate::audit::verdict::{Verdict, verdict};
use crate::config::{ClusterManager, Config};
use crate::failure::Failure;
use crate::observation::{
    AddressProbe, ClusterManagerState, Drbd, Fact, Mysqld, Observation, Past, Peer, Vip,
};
use crate::plan::{Action, HeartbeatStop, shell_words};

/// How long the one DRBD command of an observation may take.
const DRBD_LOOK: Duration = Duration::from_secs(5);
/// The same while DRBD holds I/O back and waits for an answer.
const DRBD_FENCE_LOOK: Duration = Duration::from_secs(2);
/// How long a silence of the virtual IP that the observation saw still counts.
const SILENCE_IS_FRESH: Duration = Duration::from_secs(1);
/// How long the worker may take to accept a request.
const WORKER_STARTS: Duration = Duration::from_secs(2);
/// For a write to a file system that was mounted before.
const WRITE: Duration = Duration::from_secs(10);
/// Gratuitous ARP rounds after the first, and the time between them.
const ANNOUNCEMENTS: (u32, Duration) = (10, Duration::from_secs(1));

/// This machine, for one cluster.
pub struct RealNode {
    config: Config,
    past: Mutex<Past>,
    vip_silent_at: Mutex<Option<Instant>>,
    last_drbd: Mutex<Option<Drbd>>,
    line: Mutex<Option<ssh::Line>>,
    mounted: AtomicBool,
}

impl RealNode {
    /// This machine, and what the journal says of earlier runs.
    pub fn new(config: Config, past: Past) -> Self {
        Self {
            config,
            past: Mutex::new(past),
            vip_silent_at: Mutex::new(None),
            last_drbd: Mutex::new(None),
            mounted: AtomicBool::new(false),
            line: Mutex::new(None),
        }
    }

    /// Keeps a command that waits on the peer: the step that hands over gives it the word to begin.
    pub fn hold_line(&self, line: ssh::Line) {
        *self.line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(line);
    }

    /// What the journal says by now, for who looks again and again.
    pub fn know(&self, past: Past) {
        *self.past.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = past;
    }

    fn past(&self) -> Past {
        self.past.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Repeats gratuitous ARP after this process has ended.
    ///
    /// # Errors
    /// Why the repeats can't be sent.
    pub fn announce_vip_in_background(&self) -> Result<(), Failure> {
        let (count, interval) = ANNOUNCEMENTS;
        let vip = &self.config.vip;
        let deadline = Instant::now() + WORKER_STARTS;
        worker::announce(&vip.interface, vip.address.addr(), count, interval, deadline)
    }

    /// The commands that act on a resource come from a process; as long as its state is the same, they are.
    fn look_at_drbd(&self) -> Fact<Drbd> {
        let config = &self.config;
        let last = self.last_drbd.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if let Some(last) = last
            && let Fact::Known(state) = drbd::observe_state(&config.resource, &config.mount.device, DRBD_LOOK)
            && (Drbd { commands: last.commands.clone(), ..state }) == last
        {
            return Fact::Known(last);
        }
        let seen = drbd::observe(&config.resource, &config.mount.device, DRBD_LOOK);
        *self.last_drbd.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = seen.known().cloned();
        seen
    }

    fn look_at_network(&self) -> (Vip, Peer, Vec<AddressProbe>) {
        let config = &self.config;
        let vip = config.vip.address.addr();
        let here: Fact<Option<String>> = address::interface_of(vip).into();
        let ask_for_vip = here == Fact::Known(None);
        let on_link = |address, interface: Option<&String>| Target { address, interface: interface.cloned() };
        let peer = &config.peer;
        let mut peers = vec![peer.replication_address];
        if peer.address != peer.replication_address {
            peers.push(peer.address);
        }
        let mut targets: Vec<Target> = peers.iter().map(|peer| on_link(*peer, None)).collect();
        targets.extend(config.witnesses.iter().map(|witness| on_link(*witness, None)));
        if ask_for_vip {
            targets.push(on_link(vip, Some(&config.vip.interface)));
        }
        let mut probes = address::probe(&targets, config.vip.misses, config.vip.interval);
        let answer = if ask_for_vip {
            probes.pop().map_or_else(|| Fact::Unknown("it was not asked".to_owned()), |probe| probe.answer)
        } else {
            Fact::Known(None)
        };
        let silent = ask_for_vip && answer == Fact::Known(None);
        *self.vip_silent_at.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
            silent.then(Instant::now);
        let witnesses = probes.split_off(peers.len());
        (Vip { here, answer }, Peer { addresses: probes }, witnesses)
    }

    /// What a fence-peer handler needs to know, and nothing that could wait for the disk whose I/O DRBD holds back. Without
    /// the network it takes no time at all.
    pub fn observe_for_fence(&self, with_network: bool) -> Observation {
        let config = &self.config;
        let drbd = drbd::observe_state(&config.resource, &config.mount.device, DRBD_FENCE_LOOK);
        let not_looked_at = || "not looked at while DRBD waits".to_owned();
        let (vip, peer, witnesses) = if with_network {
            self.look_for_other_holders()
        } else {
            let vip = Vip { here: Fact::Unknown(not_looked_at()), answer: Fact::Unknown(not_looked_at()) };
            (vip, Peer { addresses: Vec::new() }, Vec::new())
        };
        Observation {
            drbd,
            mount: Fact::Unknown(not_looked_at()),
            mysqld: Fact::Unknown(not_looked_at()),
            vip,
            peer,
            witnesses,
            cluster_manager: Fact::Unknown(not_looked_at()),
            past: self.past(),
        }
    }

    /// What this node holds, as cheaply as it can be had: nothing is asked of the network, and on DRBD 8.4 no process is
    /// started. Enough for [`standing`](crate::decide::standing), and for no takeover.
    pub fn observe_local(&self) -> Observation {
        let config = &self.config;
        let not_asked = || "not asked in a look at this node alone".to_owned();
        Observation {
            drbd: drbd::observe_state(&config.resource, &config.mount.device, DRBD_FENCE_LOOK),
            mount: filesystem::observe(&config.mount),
            mysqld: mysqld::observe(&config.mysqld, &config.mount),
            vip: Vip {
                here: address::interface_of(config.vip.address.addr()).into(),
                answer: Fact::Unknown(not_asked()),
            },
            peer: Peer { addresses: Vec::new() },
            witnesses: Vec::new(),
            cluster_manager: Fact::Unknown(not_asked()),
            past: self.past(),
        }
    }

    /// The look at the network, with a look for a second holder of the virtual IP when it is here.
    fn look_for_other_holders(&self) -> (Vip, Peer, Vec<AddressProbe>) {
        let vip = &self.config.vip;
        thread::scope(|scope| {
            let second = scope.spawn(|| address::second_holder(vip.address.addr(), &vip.interface));
            let (mut seen, peer, witnesses) = self.look_at_network();
            let broken = || Err("the look for a second holder ended without a result".to_owned());
            let second = second.join().unwrap_or_else(|_| broken());
            if let Fact::Known(Some(_)) = seen.here {
                seen.answer = second.into();
            }
            (seen, peer, witnesses)
        })
    }

    fn look_at_cluster_manager(&self) -> Fact<ClusterManagerState> {
        match self.config.cluster_manager {
            ClusterManager::None | ClusterManager::Keepalived => {
                Fact::Known(ClusterManagerState { pids: Vec::new() })
            }
            ClusterManager::Heartbeat(_) => heartbeat::observe(),
            ClusterManager::Pacemaker => pacemaker::observe(),
        }
    }

    fn vip_was_silent_just_now(&self) -> bool {
        let seen = *self.vip_silent_at.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        seen.is_some_and(|seen| seen.elapsed() < SILENCE_IS_FRESH)
    }

    /// Looked at again right before the server starts: systemd unmounts what it believes to belong to a lost device.
    fn data_is_mounted(&self) -> Result<(), Failure> {
        let mount = &self.config.mount;
        let (device, directory) = (mount.device.display(), mount.directory.display());
        let seen = match filesystem::observe(mount) {
            Fact::Known(seen) => match seen.at_directory {
                Some(mounted) if mounted.is_our_device && !mounted.read_only => return Ok(()),
                Some(mounted) if mounted.is_our_device => format!("{device} is read-only at {directory}"),
                Some(mounted) => format!("{} is mounted at {directory}, not {device}", mounted.source),
                None => format!("{device} is not mounted at {directory}"),
            },
            Fact::Unknown(cause) => format!("what is mounted at {directory} can't be learnt: {cause}"),
        };
        Err(Failure::refused(
            seen,
            "mysqld would start on other data than the cluster's, or fail on it",
            format!("see who unmounted it (journalctl -b, dmesg), and: findmnt {directory}"),
        ))
    }

    fn audit(
        &self,
        datadir: &Path,
        refuse_above_percent: u8,
        accept_myisam: bool,
        attempt: &Attempt,
    ) -> Result<Applied, Failure> {
        // A table that the power cut broke must not keep all the others from being served.
        let settings = Settings { datadir: datadir.to_owned(), top: TOP, tolerate_damage: true };
        let totals: EngineTotals = worker::call(&worker::Request::Audit { settings }, attempt.deadline())?;
        let verdict: Verdict = verdict(&totals, refuse_above_percent);
        if verdict.refused && !accept_myisam {
            return Err(Failure::refused(
                verdict.sentence,
                "crashed MyISAM tables need a slow repair and may lose rows, so that a takeover that starts them makes things worse",
                "convert them to InnoDB on the active node (standin audit prints the statements), or accept it: \
                 standin takeover --accept-myisam",
            ));
        }
        let accepted = verdict.refused.then(|| format!("{}; accepted by --accept-myisam", verdict.shares()));
        let warnings: Vec<String> = accepted.into_iter().chain(verdict.warning).collect();
        let applied = Applied::done();
        Ok(if warnings.is_empty() { applied } else { applied.warning(warnings.join("; ")) })
    }
}

impl Node for RealNode {
    fn observe(&self) -> Observation {
        let config = &self.config;
        thread::scope(|scope| {
            let network = scope.spawn(|| self.look_at_network());
            let drbd = scope.spawn(|| self.look_at_drbd());
            let mysqld: Fact<Mysqld> = mysqld::observe(&config.mysqld, &config.mount);
            let mount = filesystem::observe(&config.mount);
            let cluster_manager = self.look_at_cluster_manager();
            let ended = |what: &str| format!("the look at {what} ended without a result");
            let (vip, peer, witnesses) = network.join().unwrap_or_else(|_| {
                let unknown = || ended("the network");
                let vip = Vip { here: Fact::Unknown(unknown()), answer: Fact::Unknown(unknown()) };
                (vip, Peer { addresses: Vec::new() }, Vec::new())
            });
            let drbd = drbd.join().unwrap_or_else(|_| Fact::Unknown(ended("DRBD")));
            Observation { drbd, mount, mysqld, vip, peer, witnesses, cluster_manager, past: self.past() }
        })
    }

    fn apply(&self, action: &Action, attempt: &Attempt) -> Result<Applied, Failure> {
        let device = &self.config.mount.device;
        match action {
            Action::WaitVipGone { .. } if self.vip_was_silent_just_now() => {
                Ok(Applied::already_so().note("silent to ICMP echo and ARP"))
            }
            Action::WaitVipGone { vip, interface, misses, interval } => {
                let target = Target { address: *vip, interface: Some(interface.clone()) };
                address::wait_gone(&target, *misses, *interval, attempt)
            }
            Action::StopClusterManager { how: HeartbeatStop::Kill } => heartbeat::kill(attempt),
            Action::StopClusterManager { how: HeartbeatStop::Stop } => heartbeat::stop(attempt),
            Action::FencePeer { command } => fence(command, attempt),
            Action::DisconnectDrbd { resource, command, was_connected } => {
                drbd::apply_disconnect(command, resource, device, *was_connected, attempt)
            }
            Action::PromoteDrbd { resource, command } => {
                drbd::apply_promote(command, resource, device, attempt)
            }
            Action::DemoteDrbd { resource, command } => {
                drbd::apply_demote(command, resource, device, attempt)
            }
            Action::ReconnectDrbd { resource, command } => {
                drbd::apply_connect(command, resource, device, attempt)
            }
            Action::Mount { device, directory, filesystem, options } => {
                let applied = filesystem::mount(device, directory, filesystem, options, attempt);
                if applied.as_ref().is_ok_and(|applied| applied.change == Change::Done) {
                    self.mounted.store(true, Ordering::Relaxed);
                }
                applied
            }
            Action::Unmount { device, directory } => filesystem::unmount(device, directory, attempt),
            Action::AuditEngines { datadir, refuse_above_percent, accept_myisam } => {
                self.audit(datadir, *refuse_above_percent, *accept_myisam, attempt)
            }
            Action::StartMysqld { control, datadir, socket, error_log } => {
                self.data_is_mounted()?;
                if !self.mounted.load(Ordering::Relaxed) {
                    takes_writes(&self.config.mount.directory, attempt.deadline())?;
                }
                mysqld::start(control, datadir, socket, error_log.as_deref(), attempt)
            }
            Action::StopMysqld { control, datadir, error_log, kill_at_deadline } => {
                mysqld::stop(control, datadir, error_log.as_deref(), *kill_at_deadline, attempt)
            }
            Action::AddVip { vip, interface } => address::add(*vip, interface, attempt),
            Action::RemoveVip { vip, interface } => address::remove(*vip, interface, attempt),
            Action::Verify { vip, port, read_only, credentials } => {
                mysqld::verify(*vip, *port, *read_only, credentials.as_deref(), attempt)
            }
            Action::FlushDirtyPages { server, .. } => mysqld::dirty_pages::flush(server, attempt),
            Action::RestoreDirtyPages { server, was } => mysqld::dirty_pages::restore(server, was, attempt),
            Action::HandOver { by, peer, resource, vip, interface } => {
                let line = self.line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
                let sight = Sight { resource, device, vip: *vip, interface, peer };
                hand_over::hand_over(by, line, sight, attempt)
            }
            Action::BringUpDrbd { resource } => {
                drbd::bring_up(resource, device, attempt.remaining()).map(|()| Applied::done())
            }
            Action::DiscardMyData { resource } => drbd::discard_my_data(resource, device, attempt),
            Action::FollowResync { resource, peer } => drbd::follow_resync(resource, device, peer, attempt),
        }
    }
}

/// A file system that was mounted before may have failed since: after an error of its disk ext4 takes no more writes, and the mount
/// table need not show it (seen on Linux 6.1). A server that starts on it serves what is never kept.
fn takes_writes(directory: &Path, deadline: Instant) -> Result<(), Failure> {
    let request = worker::Request::WriteThrough { directory: directory.to_owned() };
    let deadline = deadline.min(Instant::now() + WRITE);
    worker::call::<Option<String>>(&request, deadline).map(drop).map_err(|failure| Failure {
        why: "mysqld would start on a file system that does not keep what is written, and acknowledged commits would be lost"
            .to_owned(),
        next: format!(
            "see what happened to it: dmesg | tail -50; then give this node up, so that the other one can take over, or the file \
             system be mounted afresh: standin release ({})",
            failure.next
        ),
        ..failure
    })
}

fn fence(command: &[String], attempt: &Attempt) -> Result<Applied, Failure> {
    let why = "without its confirmation the peer may still be Primary and take writes";
    let next = format!(
        "find out why by hand: {}; when the peer is certainly off: standin takeover --peer-confirmed-inactive \
         with the fence command taken out of the configuration",
        shell_words(command)
    );
    match command::run(command, attempt.remaining()) {
        Ok(finished) if finished.succeeded() => Ok(Applied::done().note("the fence command confirmed it")),
        Ok(finished) => Err(Failure::failed(
            format!("the fence command did not confirm: {}", finished.describe()),
            why,
            next,
        )),
        Err(error) if error.is_timeout() => Err(Failure::timed_out(error.to_string(), why, next)),
        Err(error) => Err(Failure::failed(error.to_string(), why, next)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Host, parse};
    use crate::failure::FailureKind;
    use crate::node::Progress;

    struct Quiet;

    impl Progress for Quiet {
        fn report(&self, _: &str) {}
    }

    #[test]
    fn mysqld_is_not_started_beside_the_mount() {
        let text = include_str!("../../docs/examples/command-line.yaml");
        let mut config = parse(text, "orders.yaml".as_ref(), &Host::fixed("db1.example.com")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        config.mount.device = directory.path().join("no-device");
        config.mount.directory = directory.path().to_owned();
        let mysqld = &config.mysqld;
        let start = Action::StartMysqld {
            control: mysqld.control.clone(),
            datadir: directory.path().to_owned(),
            socket: mysqld.socket.clone(),
            error_log: None,
        };
        let attempt = Attempt::new(Duration::from_secs(1), Box::new(Quiet));
        let failure = RealNode::new(config, Past::default()).apply(&start, &attempt).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.seen.contains("is not mounted at"), "{failure}");
    }

    #[test]
    fn no_server_is_started_where_writes_fail() {
        let until = Instant::now() + Duration::from_secs(20);
        let directory = tempfile::tempdir().unwrap();
        takes_writes(directory.path(), until).unwrap();
        let failure = takes_writes(Path::new("/proc"), until).unwrap_err();
        assert!(failure.seen.contains("/proc") && failure.next.contains("standin release"), "{failure}");
    }
}
