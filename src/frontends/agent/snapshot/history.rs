//! Takeovers and releases of the past, counted from the journal.

use serde::Serialize;

use crate::failure::Outcome;
use crate::journal::Run;
use crate::plan::Goal;

/// What the journal has of takeovers and releases.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct History {
    /// Takeovers.
    pub takeovers: Tally,
    /// Releases.
    pub releases: Tally,
}

/// The runs of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Those that came to their goal.
    pub done: u64,
    /// Those that failed and were undone.
    pub failed: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that could not be undone.
    pub stuck: u64,
    /// Those that were killed.
    pub cut_short: u64,
    /// Seconds of those that came to their goal, all together.
    pub done_seconds: f64,
    /// The latest that ended, refusals aside.
    pub last: Option<LastRun>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastRun {
    /// When it began (RFC 3339, UTC).
    pub at: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Seconds in all.
    pub seconds: f64,
}

impl History {
    /// Counts the journal's runs; the last one, while it runs, is not over.
    pub fn of(runs: &[Run], last_one_runs: bool) -> Self {
        let mut history = Self::default();
        for (number, run) in runs.iter().enumerate() {
            let is_over = run.outcome.is_some() || !last_one_runs || number + 1 < runs.len();
            if is_over {
                match run.goal {
                    Goal::Takeover => history.takeovers.add(run),
                    Goal::Release => history.releases.add(run),
                    Goal::Switchover | Goal::Rejoin => {}
                }
            }
        }
        history
    }
}

impl Tally {
    fn add(&mut self, run: &Run) {
        match run.outcome {
            Some(Outcome::Done) => {
                self.done += 1;
                self.done_seconds += run.seconds.unwrap_or_default();
            }
            Some(Outcome::Failed | Outcome::Usage) => self.failed += 1,
            Some(Outcome::Refused) => self.refused += 1,
            Some(Outcome::Stuck) => self.stuck += 1,
            None => self.cut_short += 1,
        }
        if let (Some(outcome), Some(seconds)) = (run.outcome, run.seconds) {
            self.last = Some(LastRun { at: run.at.clone(), outcome, seconds });
        }
    }

    /// Every outcome by name, with its count.
    pub fn by_outcome(&self) -> [(&'static str, u64); 5] {
        [
            ("done", self.done),
            ("failed", self.failed),
            ("refused", self.refused),
            ("stuck", self.stuck),
            ("cut-short", self.cut_short),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(goal: Goal, outcome: Option<Outcome>, seconds: Option<f64>) -> Run {
        Run {
            at: "2026-01-02T03:04:05.678Z".to_owned(),
            goal,
            reason: String::new(),
            outcome,
            seconds,
            steps: Vec::new(),
        }
    }

    #[test]
    fn runs_are_counted_by_how_they_ended() {
        let runs = [
            run(Goal::Takeover, Some(Outcome::Done), Some(4.0)),
            run(Goal::Takeover, Some(Outcome::Done), Some(6.5)),
            run(Goal::Takeover, Some(Outcome::Refused), None),
            run(Goal::Takeover, Some(Outcome::Stuck), Some(1.0)),
            run(Goal::Takeover, None, None),
            run(Goal::Release, Some(Outcome::Failed), Some(2.0)),
        ];
        let history = History::of(&runs, false);
        let counts = history.takeovers.by_outcome().map(|(_, count)| count);
        assert_eq!(counts, [2, 0, 1, 1, 1]);
        assert_eq!(history.takeovers.done_seconds, 10.5);
        assert_eq!(
            history.takeovers.last.map(|last| (last.outcome, last.seconds)),
            Some((Outcome::Stuck, 1.0))
        );
        assert_eq!(history.releases.failed, 1);
    }

    #[test]
    fn one_that_runs_is_not_over() {
        let runs = [run(Goal::Takeover, None, None), run(Goal::Takeover, None, None)];
        assert_eq!(History::of(&runs, true).takeovers.cut_short, 1, "the first was killed");
        assert_eq!(History::of(&runs, false).takeovers.cut_short, 2);
    }
}
