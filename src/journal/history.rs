//! What the journal's entries say of earlier runs. Pure.

use serde::Serialize;

use super::{Entry, Event};
use crate::failure::Outcome;
use crate::node::Change;
use crate::observation::Past;
use crate::plan::Goal;

/// One run of a takeover or a release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// When it began (RFC 3339, UTC).
    pub at: String,
    /// What it was for.
    pub goal: Goal,
    /// Why it was done or refused.
    pub reason: String,
    /// How it ended; none when it was killed.
    pub outcome: Option<Outcome>,
    /// Seconds in all; none when it was killed.
    pub seconds: Option<f64>,
    /// A time per step, undone steps last.
    pub steps: Vec<StepTime>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    /// Its name; undone steps read "undo mount".
    pub step: String,
    /// Seconds it took; none when it was cut short.
    pub seconds: Option<f64>,
    /// What came of it: done, already so, failed with what was seen, or killed.
    pub result: String,
}

/// Every run in the journal, oldest first.
pub fn runs(entries: &[Entry]) -> Vec<Run> {
    let mut runs: Vec<(u64, Run)> = Vec::new();
    for entry in entries {
        match &entry.event {
            Event::Begin { plan, .. } => runs.push((
                entry.run,
                Run {
                    at: entry.at.clone(),
                    goal: plan.goal,
                    reason: plan.reason.clone(),
                    outcome: None,
                    seconds: None,
                    steps: Vec::new(),
                },
            )),
            Event::Refused { goal, reason, .. } => runs.push((
                entry.run,
                Run {
                    at: entry.at.clone(),
                    goal: *goal,
                    reason: reason.clone(),
                    outcome: Some(Outcome::Refused),
                    seconds: None,
                    steps: Vec::new(),
                },
            )),
            event => {
                if let Some((_, run)) = runs.iter_mut().rev().find(|(number, _)| *number == entry.run) {
                    add(run, event);
                }
            }
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}

fn add(run: &mut Run, event: &Event) {
    let begin = |step: String| StepTime { step, seconds: None, result: "cut short".to_owned() };
    let changed = |change| match change {
        Change::Done => "done",
        Change::AlreadySo => "already so",
    };
    match event {
        Event::StepStart { step } => run.steps.push(begin(step.clone())),
        Event::UndoStart { of, .. } => run.steps.push(begin(format!("undo {of}"))),
        Event::StepEnd { seconds, applied, .. } | Event::UndoEnd { seconds, applied, .. } => {
            let note = applied.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            end(run, *seconds, format!("{}{note}", changed(applied.change)));
        }
        Event::StepFailed { seconds, failure, .. } | Event::UndoFailed { seconds, failure, .. } => {
            end(run, *seconds, format!("failed: {}", failure.seen));
        }
        Event::End { outcome, seconds } => {
            run.outcome = Some(*outcome);
            run.seconds = Some(*seconds);
        }
        Event::Begin { .. } | Event::Refused { .. } => {}
    }
}

fn end(run: &mut Run, seconds: f64, result: String) {
    if let Some(step) = run.steps.last_mut() {
        step.seconds = Some(seconds);
        step.result = result;
    }
}

/// What earlier runs of this boot left behind.
///
/// Entries of another boot don't count: DRBD starts afresh with the kernel.
pub fn past(entries: &[Entry], boot: &str) -> Past {
    let mut past = Past::default();
    // Of the run that an entry belongs to; none for a run of another boot.
    let mut goal = None;
    for entry in entries {
        if let Event::Begin { boot: begun_in, plan, .. } = &entry.event {
            goal = (begun_in == boot).then_some(plan.goal);
            match goal {
                None => past = Past::default(),
                // A takeover that continues a broken one keeps what that one had started.
                Some(Goal::Takeover) => {}
                Some(Goal::Release) => past.unfinished_takeover.clear(),
            }
        }
        let Some(goal) = goal else { continue };
        match &entry.event {
            Event::StepStart { step } => {
                if step == "disconnect-drbd" {
                    past.we_disconnected_drbd = true;
                }
                if goal == Goal::Takeover && !past.unfinished_takeover.contains(step) {
                    past.unfinished_takeover.push(step.clone());
                }
            }
            Event::StepEnd { step, .. } | Event::UndoEnd { step, .. } if step == "reconnect-drbd" => {
                past.we_disconnected_drbd = false;
            }
            Event::End { outcome, .. } if *outcome != Outcome::Stuck => past.unfinished_takeover.clear(),
            _ => {}
        }
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Request;

    fn entry(event: Event) -> Entry {
        Entry { at: String::new(), run: 1, event }
    }

    fn begin(boot: &str, goal: Goal) -> Entry {
        let plan = crate::plan::Plan { goal, reason: String::new(), warnings: Vec::new(), steps: Vec::new() };
        entry(Event::Begin { boot: boot.to_owned(), plan, request: Request::default() })
    }

    fn start(step: &str) -> Entry {
        entry(Event::StepStart { step: step.to_owned() })
    }

    #[test]
    fn what_an_earlier_boot_disconnected_is_not_ours() {
        let broken = [begin("one", Goal::Takeover), start("disconnect-drbd"), start("promote-drbd")];
        assert_eq!(past(&broken, "two"), Past::default());
        let here = past(&broken, "one");
        assert!(here.we_disconnected_drbd);
        assert_eq!(here.unfinished_takeover, ["disconnect-drbd", "promote-drbd"]);
        let later = [broken.as_slice(), &[begin("two", Goal::Takeover), start("wait-vip-gone")]].concat();
        assert!(!past(&later, "two").we_disconnected_drbd);
        assert_eq!(past(&later, "two").unfinished_takeover, ["wait-vip-gone"]);
    }

    #[test]
    fn a_release_ends_what_a_broken_takeover_began_but_not_its_disconnection() {
        let entries = [begin("one", Goal::Takeover), start("disconnect-drbd"), begin("one", Goal::Release)];
        let past = past(&entries, "one");
        assert!(past.we_disconnected_drbd && past.unfinished_takeover.is_empty());
    }
}
