//! What a person sees of a run: a line per step, progress within it, and how it ended.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::say::{say, say_error};
use crate::config::Config;
use crate::decide::{Refusal, Request};
use crate::execute::{Ended, Phase, Reporter};
use crate::failure::{Failure, Outcome};
use crate::node::{Applied, Change};
use crate::plan::{Goal, Plan};

/// Lines on standard output; a spinner with the running step on a terminal.
pub(super) struct TextReporter {
    quiet: bool,
    spinner: Mutex<Option<ProgressBar>>,
    terminal: bool,
    steps: AtomicUsize,
}

impl TextReporter {
    /// Quiet when the result is printed as JSON; progress then goes to the log.
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            spinner: Mutex::new(None),
            terminal: std::io::stdout().is_terminal(),
            steps: AtomicUsize::new(0),
        }
    }

    pub(super) fn heading(&self, config: &Config, plan: &Plan) {
        self.steps.store(plan.steps.len(), Ordering::Relaxed);
        self.line(&format!("{} of {} on {}: {}", plan.goal, config.name, config.this_node.name, plan.reason));
    }

    pub(super) fn waiting(&self, refusal: &Refusal, left: Duration) {
        self.line(&format!(
            "waiting up to {} because {}",
            humantime::format_duration(Duration::from_secs(left.as_secs_f64().ceil() as u64)),
            refusal.reason
        ));
    }

    fn line(&self, line: &str) {
        if self.quiet {
            log::info!("{line}");
            return;
        }
        match self.spinner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_ref() {
            Some(spinner) => spinner.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn stop_spinner(&self) {
        let spinner = self.spinner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
    }
}

fn name(what: &Phase) -> String {
    match what {
        Phase::Step(step) => (*step).to_owned(),
        Phase::Undo { of, step } => format!("undo {of} ({step})"),
    }
}

impl Reporter for TextReporter {
    fn started(&self, what: &Phase) {
        if self.quiet || !self.terminal {
            return;
        }
        let style = ProgressStyle::with_template("  {spinner} {prefix:22} {elapsed:>6}  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let spinner = ProgressBar::new_spinner().with_style(style).with_prefix(name(what));
        spinner.enable_steady_tick(Duration::from_millis(100));
        *self.spinner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(spinner);
    }

    fn progress(&self, what: &Phase, line: &str) {
        if self.terminal
            && let Some(spinner) =
                self.spinner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_ref()
        {
            spinner.set_message(line.to_owned());
            return;
        }
        self.line(&format!("  ... {:20} {line}", name(what)));
    }

    fn ended(&self, what: &Phase, took: Duration, applied: &Applied) {
        self.stop_spinner();
        let change = match applied.change {
            Change::Done => "done",
            Change::AlreadySo => "already so",
        };
        let note = applied.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        self.line(&format!("  {:22} {:>8.3} s  {change}{note}", name(what), took.as_secs_f64()));
        if let Some(warning) = &applied.warning {
            self.warn(warning);
        }
    }

    fn failed(&self, what: &Phase, took: Duration, failure: &Failure) {
        self.stop_spinner();
        let seen = failure.seen.lines().next().unwrap_or_default();
        self.line(&format!("  {:22} {:>8.3} s  FAILED: {seen}", name(what), took.as_secs_f64()));
    }

    fn warn(&self, line: &str) {
        self.line(&format!("  warning: {line}"));
    }
}

/// The last lines of a run.
pub(super) fn print_end(
    config: &Config,
    goal: Goal,
    request: Request,
    plan: &Plan,
    ended: &Ended,
    took: Duration,
) {
    let node = &config.this_node.name;
    let seconds = took.as_secs_f64();
    if let Some((step, failure)) = &ended.failed {
        say_error(format_args!("\n{step}: {failure}"));
    }
    match ended.outcome {
        Outcome::Done if plan.steps.is_empty() => {}
        Outcome::Done if request.drbd_only => {
            let role = if goal == Goal::Takeover { "Primary" } else { "Secondary" };
            say(format_args!("{} is {role} on {node} after {seconds:.3} s", config.resource));
        }
        Outcome::Done if goal == Goal::Takeover => say(format_args!("{node} is active after {seconds:.3} s")),
        // What came of these is told by their own front-ends.
        Outcome::Done if matches!(goal, Goal::Switchover | Goal::Rejoin) => {}
        Outcome::Done => say(format_args!("{node} has released everything after {seconds:.3} s")),
        Outcome::Stuck => {
            for (undo, failure) in &ended.stuck {
                say_error(format_args!("\n{undo}: {failure}"));
            }
            say_error(format_args!(
                "\nSTUCK after {seconds:.3} s: {node} is half-way and needs a person. Type, in this order:"
            ));
            for command in &ended.commands {
                say_error(format_args!("  {command}"));
            }
        }
        Outcome::Refused => {
            say_error(format_args!("\nrefused after {seconds:.3} s; what had been done was undone"))
        }
        Outcome::Failed | Outcome::Usage => {
            say_error(format_args!(
                "\nthe {goal} failed after {seconds:.3} s; what had been done was undone"
            ));
        }
    }
}

/// The result for a machine.
pub(super) fn as_json(ended: &Ended, took: Duration) -> serde_json::Value {
    json!({
        "outcome": ended.outcome,
        "seconds": took.as_secs_f64(),
        "failed": ended.failed.as_ref().map(|(step, failure)| json!({"step": step, "failure": failure})),
        "stuck": ended.stuck.iter().map(|(step, failure)| json!({"step": step, "failure": failure})).collect::<Vec<_>>(),
        "commands": ended.commands,
    })
}
