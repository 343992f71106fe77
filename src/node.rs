//! The only code that touches the machine: one trait, a real node and a pair of simulated ones.

pub mod address;
mod clock;
pub mod command;
pub mod credentials;
pub mod discover;
pub mod drbd;
pub mod filesystem;
mod hand_over;
pub mod heartbeat;
pub mod kernel_log;
pub mod mysqld;
pub mod option_files;
pub mod pacemaker;
pub mod processes;
pub mod real;
pub mod requirements;
pub mod reset;
pub mod scope;
pub mod simulated;
pub mod ssh;
pub mod survey;
pub mod system_log;
pub mod systemd;
pub mod within;
pub mod worker;
mod write_check;

pub use clock::booted_at;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::forecast::Recovery;
use crate::observation::Observation;
use crate::plan::Action;

/// What a node can do: look, and act.
pub trait Node: Send + Sync {
    /// One look at everything. Never fails: what can't be learnt is unknown.
    fn observe(&self) -> Observation;

    /// Does one thing, or finds that it is so already.
    ///
    /// # Errors
    /// The failure says what was seen, why it matters and what to do next. An implementation should end by the
    /// attempt's deadline, and is abandoned in its thread when it does not.
    fn apply(&self, action: &Action, attempt: &Attempt) -> Result<Applied, Failure>;
}

/// Whether anything had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The step did its work.
    Done,
    /// Nothing was to be done.
    AlreadySo,
}

/// The result of a step that reached its goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Whether anything had to be done.
    pub change: Change,
    /// What an operator would like to know of it ("recovered 812 pages"), if anything.
    pub note: Option<String>,
    /// What an operator must know of it although the step reached its goal.
    pub warning: Option<String>,
    /// The crash recovery that the step went through, when it was a start that did: later forecasts rest on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

impl Applied {
    /// The step did its work.
    pub fn done() -> Self {
        Self { change: Change::Done, note: None, warning: None, recovery: None }
    }

    /// Nothing was to be done.
    pub fn already_so() -> Self {
        Self { change: Change::AlreadySo, note: None, warning: None, recovery: None }
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Adds a warning.
    #[must_use]
    pub fn warning(mut self, warning: impl Into<String>) -> Self {
        self.warning = Some(warning.into());
        self
    }
}

/// Where a step tells how far it is. Called from the step's own thread.
pub trait Progress: Send + Sync {
    /// One line for people: "crash recovery: 1200 of 4711 pages".
    fn report(&self, line: &str);
}

/// One try at a step: its deadline, and where it reports progress.
pub struct Attempt {
    deadline: Mutex<Instant>,
    limit: Duration,
    cancelled: AtomicBool,
    progress: Box<dyn Progress>,
}

impl Attempt {
    /// A try that may take `limit` from now.
    pub fn new(limit: Duration, progress: Box<dyn Progress>) -> Self {
        Self {
            deadline: Mutex::new(Instant::now() + limit),
            limit,
            cancelled: AtomicBool::new(false),
            progress,
        }
    }

    /// When the try must have ended.
    pub fn deadline(&self) -> Instant {
        *self.deadline.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The time left; zero when the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// The time that the step was given.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Starts the limit again from now, because what is waited for was seen to move.
    pub fn moved(&self) {
        if self.cancelled.load(Ordering::Relaxed) {
            return;
        }
        let mut deadline = self.deadline.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *deadline = (*deadline).max(Instant::now() + self.limit);
    }

    /// Ends the try: its deadline is now, and is not extended any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        *self.deadline.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Instant::now();
    }

    /// Whether it was ended before its time.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Reports progress.
    pub fn report(&self, line: &str) {
        self.progress.report(line);
    }
}
