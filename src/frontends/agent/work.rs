//! What the agent has begun: one thing at a time, in a thread of its own, which starts the process that does it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::config::{ClusterManager, Config};
use crate::failure::Outcome;
use crate::frontends::fence_peer::within;
use crate::frontends::managed::{Managed, Run};
use crate::frontends::say::say_error;
use crate::journal::{self, Event, Journal, Sink};
use crate::node::real::RealNode;
use crate::node::reset::Reset;
use crate::node::{Attempt, Node, Progress, drbd, systemd};
use crate::plan::{Action, HeartbeatStop};

/// How long a node whose peer has taken over is given to give up by itself before it is reset.
const STEP_DOWN: Duration = Duration::from_secs(10);
/// For a line in the journal.
const RECORD: Duration = Duration::from_millis(500);
/// For a look at DRBD.
const LOOK: Duration = Duration::from_secs(2);

/// What can be begun.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    /// Make this node active: how long the peer has been silent, and whether the virtual IP was waited for.
    TakeOver { silent_for: Duration, waited_out: bool },
    /// Give everything up, then take the cluster manager out of the way.
    GiveUp { reason: String },
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
            Task::GiveUp { reason } => self.give_up(reason),
            Task::StepDown { reason } => self.step_down(reason),
            Task::Reconnect => self.reconnect(),
        }
    }

    /// The virtual IP goes first in any case: under keepalived that is its end, otherwise the release's first step.
    fn give_up(&self, reason: &str) -> End {
        self.note(Event::GaveUp { reason: reason.to_owned() });
        let limits = &self.config.limits;
        if self.config.cluster_manager == ClusterManager::Keepalived
            && let Err(error) = systemd::stop_no_block("keepalived.service", limits.stop_cluster_manager)
        {
            say_error(format_args!("keepalived can't be stopped: {error}"));
        }
        let released = told(self.managed().release_for_agent(self.config.agent.release_limit));
        if released.refused {
            return released;
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
                sentence: format!("everything was given up, but Heartbeat still runs: {cause}"),
            },
        }
    }

    /// Not for long: the root file system may hang, and what follows must not wait for it.
    fn note(&self, event: Event) {
        let path = journal::path(&self.config.name);
        let written =
            within(RECORD, move || Journal::open(&path).and_then(|mut journal| journal.append(&event)));
        match written {
            Some(Ok(())) => {}
            Some(Err(error)) => say_error(format_args!("the journal can't be written: {error}")),
            None => say_error("the journal is not written in time: going on without it"),
        }
    }

    fn stop_cluster_manager(&self) -> Option<String> {
        let how: HeartbeatStop = match self.config.cluster_manager {
            ClusterManager::Heartbeat(Some(how)) => how,
            _ => return None,
        };
        let limit = self.config.limits.stop_cluster_manager;
        self.apply(&Action::StopClusterManager { how }, limit).err()
    }

    fn step_down(&self, reason: &str) -> End {
        self.note(Event::SteppedDown { reason: reason.to_owned() });
        let vip = &self.config.vip;
        let remove = Action::RemoveVip { vip: vip.address, interface: vip.interface.clone() };
        match self.apply(&remove, self.config.limits.vip) {
            Ok(()) => say_error(format_args!("removed the virtual IP {}", vip.address)),
            Err(cause) => say_error(format_args!("the virtual IP {} can't be removed: {cause}", vip.address)),
        }
        let released = told(self.managed().release_for_agent(STEP_DOWN));
        if released.done || released.refused {
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
        let seen = drbd::observe_state(&config.resource, &config.mount.device, LOOK);
        let Some(drbd) = seen.known() else {
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
}

impl Backoff {
    pub(super) fn failed(&mut self, why: &str, now: Instant, pause: Duration) {
        self.until = Some(now + pause);
        why.clone_into(&mut self.why);
    }

    pub(super) fn holds(&self, now: Instant) -> Option<&str> {
        self.until.filter(|until| now < *until).map(|_| self.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_was_refused_resets_no_machine() {
        let ended = |outcome| told(Run::Ended { outcome, reason: None });
        assert!(ended(Outcome::Refused).refused && ended(Outcome::Usage).refused);
        for outcome in [Outcome::Stuck, Outcome::Failed, Outcome::Done] {
            assert!(!ended(outcome).refused, "{outcome:?}");
        }
    }
}
