//! What every command that a person types, and that changes something, begins with.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::json;

use super::lock::{self, Lock};
use super::operate;
use super::report::TextReporter;
use super::say::{say, say_error};
use crate::config::Config;
use crate::decide::{Refusal, Request};
use crate::failure::{Failure, FailureKind, Outcome};
use crate::journal::{self, Event, Sink};
use crate::plan::Goal;

/// A journal, a reporter and a way to be interrupted.
pub(super) struct Run {
    pub(super) journal: Box<dyn Sink>,
    pub(super) reporter: Arc<TextReporter>,
    pub(super) interrupted: Arc<AtomicBool>,
    as_json: bool,
}

impl Run {
    /// Prepares it; none, after it was said why, when this is not root.
    ///
    /// # Errors
    /// Signal handlers that can't be set.
    pub(super) fn begin(config: &Config, as_json: bool) -> anyhow::Result<Option<Self>> {
        if !nix::unistd::geteuid().is_root() {
            say_error(
                "standin does not run as root\n  why it matters: DRBD, mounts and addresses can't be changed\n  what to do next: run it as root, or with sudo",
            );
            return Ok(None);
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("a signal handler")?;
        }
        // A connection that drops is no reason to undo anything: the history shows how it ended.
        let ignored = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGHUP, ignored).context("a signal handler")?;
        let reporter = Arc::new(TextReporter::new(as_json));
        let path = std::path::absolute(journal::path(&config.name))?;
        let journal = operate::open_journal(&path, &reporter);
        // Whoever calls from inside the data directory must not keep it busy through us.
        std::env::set_current_dir("/").context("the root directory")?;
        Ok(Some(Self { journal, reporter, interrupted, as_json }))
    }

    /// Takes a lock, or says who holds it.
    pub(super) fn lock(&self, name: &str, goal: Goal) -> Result<Lock, Outcome> {
        lock::take(name, goal).map_err(|failure| {
            let outcome = match failure.kind {
                FailureKind::Refused => Outcome::Refused,
                _ => Outcome::Failed,
            };
            self.tell_failure(outcome, &failure);
            outcome
        })
    }

    /// Says why it must not be done, to the person and to the journal.
    pub(super) fn refuse(&mut self, goal: Goal, refusal: &Refusal) -> Outcome {
        self.note_refusal(goal, refusal);
        if self.as_json {
            say(json!({"outcome": Outcome::Refused, "refusal": refusal}));
        } else {
            say_error(refusal);
        }
        Outcome::Refused
    }

    /// Tells the journal alone.
    pub(super) fn note_refusal(&mut self, goal: Goal, refusal: &Refusal) {
        let event = Event::Refused { goal, request: Request::default(), reason: refusal.reason.clone() };
        if let Err(error) = self.journal.append(&event) {
            say_error(format_args!("warning: the journal can't be written: {error}"));
        }
    }

    fn tell_failure(&self, outcome: Outcome, failure: &Failure) {
        if self.as_json {
            say(json!({"outcome": outcome, "failure": failure}));
        } else if outcome == Outcome::Refused {
            say_error(format_args!("refused: {failure}"));
        } else {
            say_error(failure);
        }
    }
}
