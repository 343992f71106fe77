//! A switchover that was killed before its end. Pure.

use super::{Entry, Event};
use crate::plan::{Action, DirtyPagesLimits, Goal};

/// What the next one goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The steps that it had started.
    pub steps: Vec<String>,
    /// The limits of dirty pages before it began, when it was to change them.
    pub dirty_pages: Option<DirtyPagesLimits>,
}

/// The last run of this boot, if it is a switchover that has no end. Whether its process still lives only its lock tells.
pub fn unfinished_switchover(entries: &[Entry], boot: &str) -> Option<Unfinished> {
    let begun = entries.iter().rposition(|entry| matches!(entry.event, Event::Begin { .. }))?;
    let Event::Begin { boot: begun_in, plan, .. } = &entries[begun].event else { return None };
    if begun_in != boot || boot.is_empty() || plan.goal != Goal::Switchover {
        return None;
    }
    let run = entries[begun].run;
    // Both halves of a switchover are one run in the journal: what the first half did belongs to it, too.
    let of_run = || entries.iter().filter(|entry| entry.run == run).map(|entry| &entry.event);
    if entries[begun..].iter().any(|entry| entry.run == run && matches!(entry.event, Event::End { .. })) {
        return None;
    }
    let steps = of_run().filter_map(|event| match event {
        Event::StepStart { step } => Some(step.clone()),
        _ => None,
    });
    let dirty_pages = of_run().find_map(|event| match event {
        Event::Begin { plan, .. } => plan.steps.iter().find_map(|step| match &step.action {
            Action::FlushDirtyPages { was, .. } => Some(was.clone()),
            _ => None,
        }),
        _ => None,
    });
    Some(Unfinished { steps: steps.collect(), dirty_pages })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::Request;
    use crate::failure::Outcome;
    use crate::plan::{Plan, ServerAccess, Step};

    fn begin(goal: Goal, flush: bool) -> Event {
        let server = ServerAccess {
            socket: "/s".into(),
            vip: std::net::Ipv4Addr::LOCALHOST,
            port: 3306,
            credentials: "/c".into(),
        };
        let was = DirtyPagesLimits { max: "90".to_owned(), low_water_mark: "10".to_owned() };
        let action = Action::FlushDirtyPages { server, was };
        let step = Step { action, deadline: Duration::from_secs(1), undo: None };
        let steps = if flush { vec![step] } else { Vec::new() };
        let plan = Plan { goal, reason: String::new(), warnings: Vec::new(), steps };
        Event::Begin { boot: "this".to_owned(), plan, request: Request::default() }
    }

    fn of(events: &[(u64, Event)]) -> Option<Unfinished> {
        let entry =
            |(run, event): &(u64, Event)| Entry { at: String::new(), run: *run, event: event.clone() };
        unfinished_switchover(&events.iter().map(entry).collect::<Vec<_>>(), "this")
    }

    #[test]
    fn a_kill_leaves_its_steps_and_the_limits_as_they_were() {
        let start = |step: &str| Event::StepStart { step: step.to_owned() };
        let end = Event::End { outcome: Outcome::Done, seconds: 1.0 };
        let mut events = vec![
            (7, begin(Goal::Switchover, true)),
            (7, start("flush-dirty-pages")),
            (8, Event::PeerUnfenced),
            (7, start("remove-vip")),
        ];
        let unfinished = of(&events).map(|unfinished| (unfinished.steps, unfinished.dirty_pages.is_some()));
        assert_eq!(unfinished, Some((vec!["flush-dirty-pages".to_owned(), "remove-vip".to_owned()], true)));
        assert_eq!(unfinished_switchover(&[], "this"), None);

        // Killed in its second half.
        events.extend([(7, end.clone()), (7, begin(Goal::Switchover, false)), (7, start("hand-over"))]);
        assert_eq!(of(&events).map(|unfinished| unfinished.steps.len()), Some(3));
        events.push((7, end));
        assert_eq!(of(&events), None, "it ended");
        events.push((9, begin(Goal::Release, false)));
        assert_eq!(of(&events), None, "something else came after it");
    }
}
