//! What the journal's entries say of earlier runs. Pure.

use serde::Serialize;

use super::{Entry, Event};
use crate::failure::Outcome;
use crate::node::Change;
use crate::observation::{OwnTakeover, Past};
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
    /// What came of it: done or already so, and what it warned of; failed with what was seen; or cut short.
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
            let warning =
                applied.warning.as_ref().map(|text| format!("; warning: {text}")).unwrap_or_default();
            end(run, *seconds, format!("{}{note}{warning}", changed(applied.change)));
        }
        Event::StepFailed { seconds, failure, .. } | Event::UndoFailed { seconds, failure, .. } => {
            end(run, *seconds, format!("failed: {}", failure.seen));
        }
        Event::End { outcome, seconds } => {
            run.outcome = Some(*outcome);
            run.seconds = Some(*seconds);
        }
        Event::Begin { .. }
        | Event::Refused { .. }
        | Event::FencePeerAnswered { .. }
        | Event::PeerUnfenced
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::Acknowledged { .. }
        | Event::GaveUp { .. }
        | Event::SteppedDown { .. } => {}
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
    // The goal of the run that the entries belong to; none while they belong to another boot.
    let mut goal = None;
    for entry in entries {
        match (&entry.event, goal) {
            (Event::Begin { boot: begun_in, .. }, _) if begun_in != boot || boot.is_empty() => {
                past = Past::default();
                goal = None;
            }
            (Event::Begin { plan, .. }, _) => {
                // A takeover that continues a broken one keeps what that one had started.
                if plan.goal == Goal::Release {
                    past.unfinished_takeover.clear();
                }
                goal = Some(plan.goal);
            }
            (Event::StepStart { step }, Some(goal)) => {
                if step == "disconnect-drbd" {
                    past.we_disconnected_drbd = true;
                }
                if goal == Goal::Takeover && !past.unfinished_takeover.contains(step) {
                    past.unfinished_takeover.push(step.clone());
                }
            }
            (Event::StepEnd { step, .. } | Event::UndoEnd { step, .. }, Some(_))
                if step == "reconnect-drbd" =>
            {
                past.we_disconnected_drbd = false;
            }
            (Event::End { outcome, .. }, Some(_)) if *outcome != Outcome::Stuck => {
                past.unfinished_takeover.clear();
                // Who could not reconnect was told; from here on a StandAlone may be a split brain.
                past.we_disconnected_drbd = false;
            }
            _ => {}
        }
    }
    past
}

/// The takeover of this boot whose last entry is the start of its promotion.
///
/// Whether its process still lives is not in the journal: only its lock tells.
pub fn promoting(entries: &[Entry], boot: &str) -> Option<OwnTakeover> {
    let begun = entries.iter().rposition(|entry| matches!(entry.event, Event::Begin { .. }))?;
    let Event::Begin { boot: begun_in, plan, request } = &entries[begun].event else { return None };
    if begun_in != boot || boot.is_empty() || plan.goal != Goal::Takeover {
        return None;
    }
    // Other processes append to the same file: entries of another run say nothing of this one.
    let run = entries[begun].run;
    let mut of_run = entries[begun..].iter().filter(|entry| entry.run == run).map(|entry| &entry.event);
    let confirmed =
        of_run.clone().any(|event| matches!(event, Event::StepEnd { step, .. } if step == "fence-peer"));
    let last = of_run.next_back();
    matches!(last, Some(Event::StepStart { step }) if step == "promote-drbd").then(|| OwnTakeover {
        reason: plan.reason.clone(),
        peer_judged: plan.steps.iter().any(|step| step.action.name() == "disconnect-drbd"),
        confirmed: confirmed || request.peer_confirmed_inactive,
    })
}

/// The goal of the last run of this boot, and the step that it has started and not ended, if it is not over. An undo counts as
/// the step that it takes back.
///
/// Whether its process still lives is not in the journal: only its lock tells.
pub fn under_way(entries: &[Entry], boot: &str) -> Option<(Goal, Option<String>)> {
    let begun = entries.iter().rposition(|entry| matches!(entry.event, Event::Begin { .. }))?;
    let Event::Begin { boot: begun_in, plan, .. } = &entries[begun].event else { return None };
    if begun_in != boot || boot.is_empty() {
        return None;
    }
    let run = entries[begun].run;
    let mut step = None;
    for entry in entries[begun..].iter().filter(|entry| entry.run == run) {
        match &entry.event {
            Event::StepStart { step: started } => step = Some(started.clone()),
            Event::UndoStart { of, .. } => step = Some(format!("undo {of}")),
            Event::End { .. } => return None,
            _ => {}
        }
    }
    Some((plan.goal, step))
}

/// How the last release of this boot ended, when no other run came after it: with something still held, or not known because
/// it was killed.
pub fn release_failed(entries: &[Entry], boot: &str) -> bool {
    let last = entries.iter().rposition(|entry| matches!(entry.event, Event::Begin { .. }));
    let Some(begun) = last else { return false };
    let Event::Begin { boot: begun_in, plan, .. } = &entries[begun].event else { return false };
    if begun_in != boot || boot.is_empty() || plan.goal != Goal::Release {
        return false;
    }
    let run = entries[begun].run;
    let end = entries[begun..].iter().filter(|entry| entry.run == run).find_map(|entry| match entry.event {
        Event::End { outcome, .. } => Some(outcome),
        _ => None,
    });
    end != Some(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Request;
    use crate::node::Applied;
    use crate::plan::{Action, Plan, Step};

    fn begin(goal: Goal) -> Event {
        let plan = Plan { goal, reason: "test".to_owned(), warnings: Vec::new(), steps: Vec::new() };
        Event::Begin { boot: "this boot".to_owned(), plan, request: Request::default() }
    }

    fn start(step: &str) -> Event {
        Event::StepStart { step: step.to_owned() }
    }

    fn done(step: &str) -> Event {
        Event::StepEnd { step: step.to_owned(), seconds: 0.1, applied: Applied::done() }
    }

    fn end(outcome: Outcome) -> Event {
        Event::End { outcome, seconds: 1.0 }
    }

    fn past_of(events: &[Event]) -> Past {
        let entries: Vec<Entry> =
            events.iter().map(|event| Entry { at: String::new(), run: 1, event: event.clone() }).collect();
        past(&entries, "this boot")
    }

    #[test]
    fn a_disconnect_is_ours_until_it_was_reconnected() {
        let mut events = vec![begin(Goal::Takeover), start("disconnect-drbd")];
        assert!(past_of(&events).we_disconnected_drbd, "even when it was killed before its end");
        events.extend([done("disconnect-drbd"), start("reconnect-drbd"), done("reconnect-drbd")]);
        assert!(!past_of(&events).we_disconnected_drbd);
    }

    #[test]
    fn a_disconnect_of_a_run_that_ended_is_not_trusted_any_more() {
        let events = [begin(Goal::Takeover), start("disconnect-drbd"), end(Outcome::Done)];
        assert!(!past_of(&events).we_disconnected_drbd);
    }

    #[test]
    fn an_undone_disconnect_is_not_ours_any_more() {
        let undone = Event::UndoEnd {
            of: "disconnect-drbd".to_owned(),
            step: "reconnect-drbd".to_owned(),
            seconds: 0.1,
            applied: Applied::done(),
        };
        let events = [begin(Goal::Takeover), start("disconnect-drbd"), undone, end(Outcome::Failed)];
        assert_eq!(past_of(&events), Past::default());
    }

    #[test]
    fn a_broken_takeover_stays_unfinished_over_its_reruns_and_ends_with_a_release() {
        let mut events = vec![begin(Goal::Takeover), start("promote-drbd"), begin(Goal::Takeover)];
        assert_eq!(past_of(&events).unfinished_takeover, ["promote-drbd"]);
        events.push(end(Outcome::Stuck));
        assert_eq!(past_of(&events).unfinished_takeover, ["promote-drbd"]);
        events.push(begin(Goal::Release));
        assert!(past_of(&events).unfinished_takeover.is_empty());
    }

    #[test]
    fn a_takeover_that_ended_is_not_unfinished() {
        for outcome in [Outcome::Done, Outcome::Failed, Outcome::Refused] {
            let events = [begin(Goal::Takeover), start("mount"), end(outcome)];
            assert!(past_of(&events).unfinished_takeover.is_empty(), "{outcome:?}");
        }
    }

    fn promoting_after(events: &[Event]) -> Option<OwnTakeover> {
        let entries: Vec<Entry> =
            events.iter().map(|event| Entry { at: String::new(), run: 1, event: event.clone() }).collect();
        promoting(&entries, "this boot")
    }

    fn begin_with(actions: Vec<Action>, request: Request) -> Event {
        let steps = actions
            .into_iter()
            .map(|action| Step { action, deadline: std::time::Duration::from_secs(1), undo: None })
            .collect();
        let plan =
            Plan { goal: Goal::Takeover, reason: "it is dead".to_owned(), warnings: Vec::new(), steps };
        Event::Begin { boot: "this boot".to_owned(), plan, request }
    }

    fn disconnect() -> Action {
        Action::DisconnectDrbd { resource: "r0".to_owned(), command: Vec::new(), was_connected: true }
    }

    #[test]
    fn a_takeover_promotes_while_that_step_is_its_last_entry() {
        let mut events = vec![begin_with(vec![disconnect()], Request::default())];
        assert_eq!(promoting_after(&events), None);
        events.extend([start("disconnect-drbd"), done("disconnect-drbd"), start("promote-drbd")]);
        let own = promoting_after(&events).unwrap();
        assert!(own.peer_judged && !own.confirmed && own.reason == "it is dead", "{own:?}");
        events.push(done("promote-drbd"));
        assert_eq!(promoting_after(&events), None);
        for other in [Goal::Takeover, Goal::Release] {
            let again = [&events[..3], &[begin(other)]].concat();
            assert_eq!(promoting_after(&again), None, "{other:?} has not come to it");
        }
    }

    #[test]
    fn a_peer_that_yielded_while_connected_was_not_judged() {
        let events = [begin_with(Vec::new(), Request::default()), start("promote-drbd")];
        assert!(!promoting_after(&events).unwrap().peer_judged);
    }

    #[test]
    fn a_fence_or_a_person_confirms() {
        let fenced =
            [begin_with(vec![disconnect()], Request::default()), done("fence-peer"), start("promote-drbd")];
        assert!(promoting_after(&fenced).unwrap().confirmed);
        let begun_only =
            [begin_with(vec![disconnect()], Request::default()), start("fence-peer"), start("promote-drbd")];
        assert!(!promoting_after(&begun_only).unwrap().confirmed);
        let told = Request { peer_confirmed_inactive: true, ..Request::default() };
        assert!(
            promoting_after(&[begin_with(vec![disconnect()], told), start("promote-drbd")])
                .unwrap()
                .confirmed
        );
    }

    #[test]
    fn a_promotion_of_another_boot_or_interleaved_with_another_process_is_told_apart() {
        let entry = |run, event| Entry { at: String::new(), run, event };
        let entries = [
            entry(1, begin_with(vec![disconnect()], Request::default())),
            entry(1, start("promote-drbd")),
            entry(2, Event::PeerUnfenced),
        ];
        assert!(promoting(&entries, "this boot").is_some());
        assert_eq!(promoting(&entries, "another boot"), None);
        assert_eq!(promoting(&entries, ""), None);
    }

    #[test]
    fn the_step_under_way_is_the_last_one_begun_until_the_run_ends() {
        let of = |events: &[Event]| {
            let entry = |event: &Event| Entry { at: String::new(), run: 1, event: event.clone() };
            under_way(&events.iter().map(entry).collect::<Vec<_>>(), "this boot")
        };
        let mut events = vec![begin(Goal::Takeover)];
        assert_eq!(of(&events), Some((Goal::Takeover, None)));
        events.extend([start("mount"), done("mount"), start("start-mysqld")]);
        assert_eq!(of(&events), Some((Goal::Takeover, Some("start-mysqld".to_owned()))));
        events.push(end(Outcome::Done));
        assert_eq!(of(&events), None);
        assert_eq!(under_way(&[], "this boot"), None);
    }

    #[test]
    fn a_release_failed_unless_it_ended_well_or_something_came_after_it() {
        let of = |events: &[Event]| {
            let entry = |(run, event): (usize, &Event)| Entry {
                at: String::new(),
                run: run as u64 / 2,
                event: event.clone(),
            };
            release_failed(&events.iter().enumerate().map(entry).collect::<Vec<_>>(), "this boot")
        };
        assert!(!of(&[]));
        assert!(of(&[begin(Goal::Release)]), "it was killed");
        assert!(of(&[begin(Goal::Release), end(Outcome::Stuck)]));
        assert!(!of(&[begin(Goal::Release), end(Outcome::Done)]));
        let after = [begin(Goal::Release), end(Outcome::Stuck), begin(Goal::Takeover), end(Outcome::Done)];
        assert!(!of(&after));
    }

    #[test]
    fn what_a_step_warned_of_is_told() {
        let warned = Event::StepEnd {
            step: "audit-engines".to_owned(),
            seconds: 0.1,
            applied: Applied::done().warning("a tenth is MyISAM"),
        };
        let entry = |event| Entry { at: String::new(), run: 1, event };
        let entries = [begin(Goal::Takeover), start("audit-engines"), warned, end(Outcome::Done)].map(entry);
        assert_eq!(runs(&entries)[0].steps[0].result, "done; warning: a tenth is MyISAM");
    }

    #[test]
    fn an_earlier_boot_counts_for_nothing() {
        let entry = |event| Entry { at: String::new(), run: 1, event };
        let entries = [entry(begin(Goal::Takeover)), entry(start("disconnect-drbd"))];
        assert_eq!(past(&entries, "another boot"), Past::default());
    }
}
