//! What the journal tells the agent. Pure: the times are those of the entries.

use std::time::SystemTime;

use super::{Entry, Event, past};
use crate::decide::FenceAnswer;
use crate::failure::Outcome;
use crate::observation::Past;
use crate::plan::Goal;

/// What is known of a node's earlier runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chronicle {
    /// What broken takeovers of this boot left behind.
    pub past: Past,
    /// When the latest takeover made this node active, unless a person or a cluster manager asked for it or has acknowledged it
    /// since, or it was given up again.
    pub took_over: Option<SystemTime>,
    /// The latest takeover or release of this boot was a takeover that made this node active, or could not be taken back.
    pub is_active: bool,
    /// When and why this node gave up by itself, unless a person has acknowledged it or made it active since.
    pub gave_up: Option<(SystemTime, String)>,
    /// When the latest run of this boot ended, and why, if it was a takeover in vain.
    pub in_vain: Option<(SystemTime, String)>,
    /// What DRBD's handler answered last since the boot, if nothing has settled it since.
    pub fence_answer: Option<FenceAnswer>,
    /// When a person typed on this node that the agents may act again.
    pub resumed: Option<SystemTime>,
}

/// Reads the entries of a journal. `boot` is the kernel's identifier of this boot, which began at `booted`.
pub fn chronicle(entries: &[Entry], boot: &str, booted: SystemTime) -> Chronicle {
    let mut told = Chronicle { past: past(entries, boot), ..Chronicle::default() };
    let mut run = None;
    let mut by_agent = false;
    for entry in entries {
        let Ok(at) = humantime::parse_rfc3339(&entry.at) else { continue };
        match &entry.event {
            Event::Begin { boot: of, plan, request } => {
                run = Some((entry.run, plan.goal, of == boot, plan.reason.clone()));
                by_agent = request.from_agent;
            }
            Event::Refused { goal: Goal::Takeover, reason, .. } if at >= booted => {
                told.in_vain = Some((at, reason.clone()));
            }
            Event::StepFailed { step, failure, .. } => {
                if let Some((number, _, _, reason)) = &mut run
                    && *number == entry.run
                {
                    *reason = format!("{step} failed: {}", failure.seen);
                }
            }
            Event::End { outcome, .. } => {
                let Some((number, goal, this_boot, reason)) = run.take() else { continue };
                if number == entry.run {
                    told.ended(at, goal, *outcome, this_boot, reason);
                    told.took_over = told.took_over.filter(|_| by_agent);
                }
            }
            Event::GaveUp { reason } => {
                told.gave_up = Some((at, reason.clone()));
                told.took_over = None;
            }
            Event::FencePeerAnswered { answer, .. } if at >= booted => told.fence_answer = Some(*answer),
            Event::PeerUnfenced => told.fence_answer = None,
            Event::Resumed { .. } => told.resumed = Some(at),
            Event::Acknowledged { .. } => {
                told.gave_up = None;
                told.took_over = None;
                told.in_vain = None;
            }
            _ => {}
        }
    }
    told
}

impl Chronicle {
    fn ended(&mut self, at: SystemTime, goal: Goal, outcome: Outcome, this_boot: bool, reason: String) {
        match (goal, outcome) {
            (Goal::Takeover, Outcome::Done) => {
                self.took_over = Some(at);
                self.gave_up = None;
                self.in_vain = None;
                self.is_active = this_boot;
                // What was asked before this node became active, or while it did, says nothing of the connection that it loses next.
                self.fence_answer = None;
            }
            (Goal::Takeover, _) => {
                self.in_vain = this_boot.then_some((at, reason));
                // One that could not be taken back holds what the peer would need.
                self.is_active = this_boot && outcome == Outcome::Stuck;
            }
            (Goal::Release | Goal::Switchover, Outcome::Done) => {
                self.took_over = None;
                self.in_vain = None;
                self.is_active = false;
                self.fence_answer = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::Request;
    use crate::plan::Plan;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn run(second: u64, boot: &str, goal: Goal, outcome: Outcome) -> [Entry; 2] {
        let plan = Plan { goal, reason: "it is dead".to_owned(), warnings: Vec::new(), steps: Vec::new() };
        let request = Request { from_agent: true, ..Request::default() };
        let begin = Event::Begin { boot: boot.to_owned(), plan, request };
        [entry(second, second, begin), entry(second + 1, second, Event::End { outcome, seconds: 1.0 })]
    }

    fn entry(second: u64, run: u64, event: Event) -> Entry {
        Entry { at: humantime::format_rfc3339_millis(at(second)).to_string(), run, event }
    }

    fn told(entries: &[Entry]) -> Chronicle {
        chronicle(entries, "now", at(50))
    }

    #[test]
    fn a_takeover_counts_until_it_is_acknowledged_or_given_up() {
        let mut entries = run(100, "now", Goal::Takeover, Outcome::Done).to_vec();
        assert_eq!((told(&entries).took_over, told(&entries).is_active), (Some(at(101)), true));
        entries.push(entry(110, 110, Event::Acknowledged { by: "root@node1".to_owned() }));
        assert_eq!((told(&entries).took_over, told(&entries).is_active), (None, true));
        entries.push(entry(120, 120, Event::GaveUp { reason: "read-only".to_owned() }));
        assert_eq!(told(&entries).gave_up, Some((at(120), "read-only".to_owned())));
        entries.extend(run(121, "now", Goal::Release, Outcome::Done));
        assert!(!told(&entries).is_active && told(&entries).gave_up.is_some());
        entries.extend(run(130, "now", Goal::Takeover, Outcome::Done));
        assert_eq!(told(&entries).gave_up, None, "a person made it active again");
    }

    #[test]
    fn what_a_person_asked_for_is_acknowledged() {
        let mut entries = run(100, "now", Goal::Takeover, Outcome::Done);
        if let Event::Begin { request, .. } = &mut entries[0].event {
            request.from_agent = false;
        }
        assert_eq!((told(&entries).took_over, told(&entries).is_active), (None, true));
    }

    #[test]
    fn what_another_boot_held_is_gone() {
        let entries = run(10, "before", Goal::Takeover, Outcome::Done);
        assert!(!told(&entries).is_active);
        assert_eq!(told(&entries).took_over, Some(at(11)), "the anti-flap window outlives a boot");
    }

    #[test]
    fn an_answer_of_the_handler_counts_until_the_connection_it_was_asked_for_is_history() {
        let answer = |second, answer| {
            entry(second, second, Event::FencePeerAnswered { answer, reason: String::new(), seconds: 0.1 })
        };
        let before_the_boot = [answer(40, FenceAnswer::PeerDown)];
        assert_eq!(told(&before_the_boot).fence_answer, None);
        let mut entries = vec![answer(100, FenceAnswer::NotKnown), answer(110, FenceAnswer::PeerPrimary)];
        assert_eq!(told(&entries).fence_answer, Some(FenceAnswer::PeerPrimary));
        let after = |more: &[Entry]| told(&[entries.as_slice(), more].concat()).fence_answer;
        assert_eq!(after(&[entry(120, 120, Event::PeerUnfenced)]), None);
        assert_eq!(
            after(&run(120, "now", Goal::Takeover, Outcome::Done)),
            None,
            "a switchover asks no handler"
        );
        assert_eq!(after(&run(120, "now", Goal::Takeover, Outcome::Failed)), Some(FenceAnswer::PeerPrimary));
        entries.extend(run(120, "now", Goal::Takeover, Outcome::Done));
        entries.push(answer(130, FenceAnswer::PeerDown));
        assert_eq!(told(&entries).fence_answer, Some(FenceAnswer::PeerDown));
    }

    #[test]
    fn a_takeover_in_vain_is_told_until_another_succeeds() {
        let refused = Event::Refused {
            goal: Goal::Takeover,
            request: Request::default(),
            reason: "the peer lives".to_owned(),
        };
        let mut entries = vec![entry(60, 60, refused)];
        assert_eq!(told(&entries).in_vain, Some((at(60), "the peer lives".to_owned())));
        entries.extend(run(70, "now", Goal::Takeover, Outcome::Failed));
        assert_eq!(told(&entries).in_vain, Some((at(71), "it is dead".to_owned())));
        entries.extend(run(80, "now", Goal::Takeover, Outcome::Done));
        assert_eq!(told(&entries).in_vain, None);
    }
}
