//! What happened lately, by the clock. Pure: the time is given.

use std::time::{Duration, SystemTime};

use super::{Entry, Event, runs};
use crate::failure::Outcome;
use crate::plan::Goal;

/// Why the last run was a takeover that did not make this node active, if it ended within `window` before `now`.
pub fn in_vain(entries: &[Entry], now: SystemTime, window: Duration) -> Option<String> {
    let ended = humantime::parse_rfc3339(&entries.iter().rev().find(|entry| is_of_a_run(entry))?.at).ok()?;
    // A clock that was set back makes it look as if it were to come: it was just now, then.
    if now.duration_since(ended).is_ok_and(|since| since > window) {
        return None;
    }
    let run = runs(entries).pop()?;
    if run.goal != Goal::Takeover {
        return None;
    }
    match run.outcome? {
        Outcome::Done => None,
        Outcome::Refused if run.steps.is_empty() => Some(run.reason),
        _ => {
            let failed = run.steps.iter().find(|step| step.result.starts_with("failed"));
            Some(failed.map_or(run.reason, |step| format!("{} {}", step.step, step.result)))
        }
    }
}

fn is_of_a_run(entry: &Entry) -> bool {
    !matches!(
        entry.event,
        Event::FencePeerAnswered { .. }
            | Event::PeerUnfenced
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Acknowledged { .. }
            | Event::GaveUp { .. }
            | Event::SteppedDown { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Request;
    use crate::failure::Failure;
    use crate::plan::Plan;

    const WINDOW: Duration = Duration::from_secs(30);

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn journal(events: &[(u64, u64, Event)]) -> Vec<Entry> {
        events
            .iter()
            .map(|(second, run, event)| Entry {
                at: humantime::format_rfc3339_millis(at(*second)).to_string(),
                run: *run,
                event: event.clone(),
            })
            .collect()
    }

    fn begin(goal: Goal) -> Event {
        let plan = Plan { goal, reason: "it is dead".to_owned(), warnings: Vec::new(), steps: Vec::new() };
        Event::Begin { boot: "b".to_owned(), plan, request: Request::default() }
    }

    fn refused() -> Event {
        let reason = "the peer lives".to_owned();
        Event::Refused { goal: Goal::Takeover, request: Request::default(), reason }
    }

    fn end(outcome: Outcome) -> Event {
        Event::End { outcome, seconds: 1.0 }
    }

    fn failed() -> [Event; 2] {
        let step = "mount".to_owned();
        let failure = Failure::failed("no such device", "w", "n");
        [Event::StepStart { step: step.clone() }, Event::StepFailed { step, seconds: 1.0, failure }]
    }

    #[test]
    fn a_takeover_in_vain_counts_for_a_while() {
        let entries = journal(&[(100, 1, refused())]);
        assert_eq!(in_vain(&entries, at(101), WINDOW).as_deref(), Some("the peer lives"));
        assert_eq!(
            in_vain(&entries, at(90), WINDOW).as_deref(),
            Some("the peer lives"),
            "the clock was set back"
        );
        assert_eq!(in_vain(&entries, at(131), WINDOW), None);
        assert_eq!(in_vain(&[], at(131), WINDOW), None);
    }

    #[test]
    fn a_failed_step_is_named() {
        let [start, fails] = failed();
        let entries = journal(&[
            (100, 1, begin(Goal::Takeover)),
            (101, 1, start),
            (102, 1, fails),
            (103, 1, end(Outcome::Failed)),
        ]);
        assert_eq!(in_vain(&entries, at(104), WINDOW).as_deref(), Some("mount failed: no such device"));
    }

    #[test]
    fn what_succeeded_still_runs_or_is_a_release_is_not_in_vain() {
        let done = [(100, 1, begin(Goal::Takeover)), (101, 1, end(Outcome::Done))];
        assert_eq!(in_vain(&journal(&done), at(102), WINDOW), None);
        assert_eq!(in_vain(&journal(&done[..1]), at(102), WINDOW), None);
        let released = [(100, 1, refused()), (101, 2, begin(Goal::Release)), (102, 2, end(Outcome::Done))];
        assert_eq!(in_vain(&journal(&released), at(103), WINDOW), None);
        let stuck = [(101, 2, begin(Goal::Release)), (102, 2, end(Outcome::Stuck))];
        assert_eq!(in_vain(&journal(&stuck), at(103), WINDOW), None, "a release");
    }
}
