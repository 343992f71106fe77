//! What the agent has begun: one thing at a time, in a thread of its own, which starts the process that does it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::config::{ClusterManager, Config};
use crate::failure::Outcome;
use crate::frontends::managed::{Managed, Run};
use crate::frontends::say::say_error;
use crate::journal::{self, Event, Journal, Sink};
use crate::node::real::RealNode;
use crate::node::reset::Reset;
use crate::node::within::within;
use crate::node::{Attempt, Node, Progress, address, drbd, systemd};
use crate::observation::{Connection, Drbd, Role};
use crate::plan::{Action, HeartbeatStop};

/// How long a node whose peer has taken over is given to give up by itself before it is reset.
const STEP_DOWN: Duration = Duration::from_secs(10);
/// For a release from a disk that hangs: the virtual IP goes, and the rest will not.
const HUNG_DISK: Duration = Duration::from_secs(5);
/// For a line in the journal.
const RECORD: Duration = Duration::from_millis(500);
/// Between two looks whether the virtual IP has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// For a look at DRBD.
const LOOK: Duration = Duration::from_secs(2);

/// What can be begun.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    /// Make this node active: how long the peer has been silent, and whether the virtual IP was waited for.
    TakeOver { silent_for: Duration, waited_out: bool },
    /// Give everything up, then take the cluster manager out of the way.
    GiveUp { reason: String, disk_hangs: bool },
    /// Get out of the way of a peer that has taken over.
    StepDown { reason: String },
    /// Listen for the peer again.
    Reconnect,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) done: bool,
    pub(super) sentence: String,
    /// It touched nothing, because it was refused: what is here belongs to somebody else, or another run is at work.
    pub(super) refused: bool,
}

/// A task under way.
pub(super) struct Work {
    pub(super) task: Task,
    thread: JoinHandle<End>,
}

impl Work {
    /// Begins a task.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn begin(
        task: Task,
        config: &Arc<Config>,
        selector: Option<&str>,
        node: &Arc<RealNode>,
        done: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let worker = Worker {
            config: Arc::clone(config),
            selector: selector.map(str::to_owned),
            node: Arc::clone(node),
        };
        let begun = task.clone();
        let thread = thread::Builder::new().name("work".to_owned()).spawn(move || {
            let end = worker.run(&begun);
            done();
            end
        })?;
        Ok(Self { task, thread })
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    pub(super) fn end(self) -> (Task, End) {
        let broken = || End { done: false, refused: false, sentence: "it ended without a result".to_owned() };
        (self.task, self.thread.join().unwrap_or_else(|_| broken()))
    }
}

struct Worker {
    config: Arc<Config>,
    selector: Option<String>,
    node: Arc<RealNode>,
}

impl Worker {
    fn managed(&self) -> Managed<'_> {
        Managed { config: &self.config, selector: self.selector.as_deref() }
    }

    fn run(&self, task: &Task) -> End {
        match task {
            Task::TakeOver { silent_for, waited_out } => {
                told(self.managed().take_over_for_agent(*silent_for, *waited_out))
            }
            Task::GiveUp { reason, disk_hangs } => self.give_up(reason, *disk_hangs),
            Task::StepDown { reason } => self.step_down(reason),
            Task::Reconnect => self.reconnect(),
        }
    }

    fn give_up(&self, reason: &str, disk_hangs: bool) -> End {
        if disk_hangs && !self.peer_is_connected() {
            return End {
                done: false,
                refused: true,
                sentence: "stays: the peer could not step in any more".to_owned(),
            };
        }
        self.let_the_address_go(disk_hangs);
        let limit = self.config.agent.release_limit;
        let limit = if disk_hangs { limit.min(HUNG_DISK) } else { limit };
        let released = self.release(limit);
        if released.refused {
            return released;
        }
        self.note(Event::GaveUp { reason: reason.to_owned() });
        if let Some(interface) = self.address_is_still_here() {
            let vip = self.config.vip.address;
            let stop = match self.config.cluster_manager {
                ClusterManager::Keepalived => "systemctl stop keepalived; ",
                _ => "",
            };
            return self.reset_if_configured(&format!(
                "{reason}; the virtual IP is still here: {stop}ip address delete {vip} dev {interface}"
            ));
        }
        if !released.done {
            return self
                .reset_if_configured(&format!("{reason}; the release is stuck: {}", released.sentence));
        }
        match self.stop_cluster_manager() {
            None => released,
            Some(cause) => End {
                done: false,
                refused: false,
                sentence: format!(
                    "everything was given up, but Heartbeat still runs, and its peer does not know of it: {cause}; stop it: systemctl stop heartbeat"
                ),
            },
        }
    }

    /// Under keepalived that is its end; otherwise it is the first step of the release, which may not even be begun when the journal is
    /// on the disk that hangs.
    fn let_the_address_go(&self, at_once: bool) {
        let (vip, limits) = (&self.config.vip, &self.config.limits);
        if self.config.cluster_manager == ClusterManager::Keepalived {
            if let Err(error) = systemd::stop_no_block("keepalived.service", limits.stop_cluster_manager) {
                say_error(format_args!(
                    "keepalived can't be stopped: {error}\n  why it matters: it keeps the virtual IP on a node that gives up\n  \
                     what to do next: systemctl stop keepalived"
                ));
            }
        } else if at_once {
            let remove = Action::RemoveVip { vip: vip.address, interface: vip.interface.clone() };
            match self.apply(&remove, limits.vip) {
                Ok(()) => say_error(format_args!("removed the virtual IP {}", vip.address)),
                Err(cause) => {
                    say_error(format_args!("the virtual IP {} can't be removed: {cause}", vip.address));
                }
            }
        }
    }

    /// keepalived takes a moment to end.
    fn address_is_still_here(&self) -> Option<String> {
        let here = || address::interface_of(self.config.vip.address.addr()).ok().flatten();
        let deadline = Instant::now() + self.config.limits.vip;
        while Instant::now() < deadline {
            here()?;
            thread::sleep(LOOK_AGAIN);
        }
        here()
    }

    fn drbd(&self) -> Option<Drbd> {
        let config = Arc::clone(&self.config);
        let look = move || drbd::observe_state(&config.resource, &config.mount.device, LOOK);
        within(LOOK, look).and_then(|seen| seen.known().cloned())
    }

    /// What can't be looked at is as it was at the last look.
    fn peer_is_connected(&self) -> bool {
        self.drbd().is_none_or(|drbd| drbd.connection == Connection::Connected && !drbd.io_suspended)
    }

    fn io_is_frozen(&self) -> bool {
        self.drbd().is_some_and(|drbd| drbd.role == Role::Primary && drbd.io_suspended)
    }

    /// Not for longer than its limit, even when no program can be started because its file can't be read.
    fn release(&self, limit: Duration) -> End {
        let (config, selector) = (Arc::clone(&self.config), self.selector.clone());
        let release = move || {
            let managed = Managed { config: &config, selector: selector.as_deref() };
            told(managed.release_for_agent(limit))
        };
        within(limit + LOOK, release).unwrap_or_else(|| End {
            done: false,
            refused: false,
            sentence: "the release could not even be begun".to_owned(),
        })
    }

    /// Not for long: the root file system may hang, and what follows must not wait for it.
    fn note(&self, event: Event) {
        let path = journal::path(&self.config.name);
        // A reset may follow.
        let write = move || {
            let mut journal = Journal::open(&path)?;
            journal.append(&event)?;
            journal.sync()
        };
        let written: Option<std::io::Result<()>> = within(RECORD, write);
        match written {
            Some(Ok(())) => {}
            Some(Err(error)) => say_error(format_args!("the journal can't be written: {error}")),
            None => say_error("the journal is not written in time: going on without it"),
        }
    }

    fn stop_cluster_manager(&self) -> Option<String> {
        let how = match self.config.cluster_manager {
            // What leaves Heartbeat alone in a takeover that it has asked for would leave it in the belief that it serves here.
            ClusterManager::Heartbeat(how) => how.unwrap_or(HeartbeatStop::Stop),
            _ => return None,
        };
        let limit = self.config.limits.stop_cluster_manager;
        self.apply(&Action::StopClusterManager { how }, limit).err()
    }

    fn step_down(&self, reason: &str) -> End {
        self.note(Event::SteppedDown { reason: reason.to_owned() });
        self.let_the_address_go(true);
        let released = self.release(STEP_DOWN);
        // Pacemaker's presence is a refusal, too: but the peer serves already.
        if released.done || (released.refused && !self.io_is_frozen()) {
            return released;
        }
        self.reset_if_configured(&format!("{reason}; {}", released.sentence))
    }

    fn reset_if_configured(&self, why: &str) -> End {
        if !self.config.agent.self_fence {
            return End {
                done: false,
                refused: false,
                sentence: format!(
                    "{why}; a person must reset this machine, or see to it: standin release (agent.self_fence is false)"
                ),
            };
        }
        say_error(format_args!("resets this machine: {why}"));
        let sentence = Reset::default().now(why).err().unwrap_or_default();
        End { done: false, refused: false, sentence: format!("{why}; {sentence}") }
    }

    fn reconnect(&self) -> End {
        let config = &self.config;
        let Some(drbd) = self.drbd() else {
            return End {
                done: false,
                refused: false,
                sentence: "the state of DRBD is not known".to_owned(),
            };
        };
        let resource = config.resource.clone();
        let connect = Action::ReconnectDrbd { resource, command: drbd.commands.connect.clone() };
        match self.apply(&connect, config.limits.drbd) {
            Ok(()) => End { done: true, refused: false, sentence: "listens for the peer again".to_owned() },
            Err(sentence) => End { done: false, refused: false, sentence },
        }
    }

    /// In a thread that is left behind when it does not end: this one must come back.
    fn apply(&self, action: &Action, limit: Duration) -> Result<(), String> {
        let (node, action) = (Arc::clone(&self.node), action.clone());
        let name = action.name();
        let applied =
            within(limit + LOOK, move || node.apply(&action, &Attempt::new(limit, Box::new(Quiet))));
        match applied {
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(failure.seen),
            None => Err(format!("{name} does not end")),
        }
    }
}

fn told(run: Run) -> End {
    match run {
        Run::Ended { outcome: Outcome::Done, .. } => {
            End { done: true, refused: false, sentence: "done".to_owned() }
        }
        Run::Ended { outcome, reason } => {
            let how = format!("{outcome:?}").to_lowercase();
            let sentence = reason.map_or_else(|| how.clone(), |reason| format!("{how}: {reason}"));
            End { done: false, refused: matches!(outcome, Outcome::Refused | Outcome::Usage), sentence }
        }
        Run::GoesOn { progress } => End { done: false, refused: false, sentence: progress },
    }
}

struct Quiet;

impl Progress for Quiet {
    fn report(&self, _: &str) {}
}

/// Keeps one task from being begun again at once after it failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    until: Option<Instant>,
    why: String,
    pause: Duration,
}

impl Backoff {
    pub(super) fn failed(&mut self, why: &str, now: Instant, pause: Duration) {
        self.until = Some(now + pause);
        why.clone_into(&mut self.why);
    }

    /// Twice as long as after the failure before.
    pub(super) fn failed_again(&mut self, why: &str, now: Instant, first: Duration, most: Duration) {
        self.pause = (self.pause * 2).clamp(first, most);
        self.failed(why, now, self.pause);
    }

    pub(super) fn holds(&self, now: Instant) -> Option<&str> {
        self.until.filter(|until| now < *until).map(|_| self.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_tried_ever_less_often() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut backoff = Backoff::default();
        for expected in [10, 20, 40, 60, 60] {
            backoff.failed_again("why", now, second * 10, second * 60);
            assert_eq!(backoff.holds(now + second * (expected - 1)), Some("why"));
            assert_eq!(backoff.holds(now + second * expected), None);
        }
    }

    #[test]
    fn a_release_that_was_refused_resets_no_machine() {
        let ended = |outcome| told(Run::Ended { outcome, reason: None });
        assert!(ended(Outcome::Refused).refused && ended(Outcome::Usage).refused);
        for outcome in [Outcome::Stuck, Outcome::Failed, Outcome::Done] {
            assert!(!ended(outcome).refused, "{outcome:?}");
        }
    }
}
