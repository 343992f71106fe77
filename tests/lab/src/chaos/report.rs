//! What a run has shown: a line for each round, and the list of the times in which nobody served for good reasons.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::Run;
use super::rules::Justified;
use super::schedule::Fault;
use super::watch::Overlap;
use crate::scenario::keep_logs_of;

/// What followed when every fault of a round was mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A node serves.
    Service {
        /// Its name.
        node: String,
        /// Whether it was the standby before.
        moved: bool,
    },
    /// Nobody serves, each node for a reason that a rule knows.
    Refused(Vec<Justified>),
    /// Something that must not be.
    Failed(String),
}

/// One round.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of its first fault.
    pub number: usize,
    /// Since the begin of the run.
    pub at: Duration,
    /// What struck.
    pub faults: Vec<String>,
    /// The longest time without an acknowledged row.
    pub outage: Duration,
    /// What followed by itself.
    pub end: End,
    /// What both nodes held at the same time.
    pub overlaps: Vec<Overlap>,
    /// What a person did to make the pair whole again.
    pub operator: Vec<String>,
    /// Rows that were acknowledged until its end, all of which are there.
    pub acknowledged: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "fault {} at {:.1} s: {}: ",
            self.number,
            self.at.as_secs_f64(),
            self.faults.join(" + ")
        )?;
        match &self.end {
            End::Service { node, moved: true } => write!(out, "{node} took over")?,
            End::Service { node, moved: false } => write!(out, "{node} serves on")?,
            End::Refused(reasons) => {
                write!(out, "NO SERVICE, justified")?;
                for Justified { node, rule, text } in reasons {
                    write!(out, "; {node}: {rule} ({text})")?;
                }
            }
            End::Failed(error) => write!(out, "FAILED: {error}")?,
        }
        write!(out, "; outage {:.2} s", self.outage.as_secs_f64())?;
        for overlap in &self.overlaps {
            write!(out, "; {overlap}")?;
        }
        if !self.operator.is_empty() {
            write!(out, "; a person: {}", self.operator.join(", "))?;
        }
        Ok(())
    }
}

/// A run that broke nothing.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The rounds.
    pub outcomes: Vec<Outcome>,
    /// Rows that were acknowledged, all of which are there.
    pub acknowledged: usize,
    /// Where the logs are.
    pub logs: PathBuf,
}

/// How a fault is called on the command line.
pub(super) fn argument(fault: &Fault) -> String {
    fault.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn summary(outcomes: &[Outcome]) -> Vec<String> {
    let faults: usize = outcomes.iter().map(|outcome| outcome.faults.len()).sum();
    let refused: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| matches!(outcome.end, End::Refused(_))).collect();
    let moved = outcomes.iter().filter(|outcome| matches!(outcome.end, End::Service { moved: true, .. }));
    let helped = outcomes.iter().filter(|outcome| !outcome.operator.is_empty()).count();
    let shared = outcomes.iter().filter(|outcome| !outcome.overlaps.is_empty()).count();
    let mut lines = vec![
        format!(
            "{faults} faults in {} rounds: {} takeovers, {} without service at the end (each justified)",
            outcomes.len(),
            moved.count(),
            refused.len()
        ),
        format!(
            "a person helped after {helped} rounds; in {shared} both nodes held something, and one alone acknowledged"
        ),
    ];
    lines.extend(refused.iter().map(|outcome| format!("no service: {outcome}")));
    lines
}

impl Run<'_> {
    /// Keeps the logs, and judges the run, whose rounds had this result.
    pub(super) fn finish(mut self, result: Result<()>) -> Result<Summary> {
        for line in summary(&self.outcomes) {
            self.say(&line);
        }
        let acknowledged = self.outcomes.last().map_or(0, |outcome| outcome.acknowledged);
        let struck: usize = self.outcomes.iter().map(|outcome| outcome.faults.len()).sum();
        let replay = self.options.replay(struck.max(1));
        match &result {
            Ok(()) => self.say(&format!("{acknowledged} rows acknowledged, none lost, no invariant broken")),
            Err(error) => {
                self.say(&format!("FAILED: {error:#}"));
                self.say(&format!("replay it: {replay}"));
            }
        }
        for node in self.lab.nodes() {
            keep_logs_of(node, self.manager.logs(), &self.logs)?;
        }
        let rounds: Vec<Value> = self
            .outcomes
            .iter()
            .map(|outcome| {
                json!({
                    "number": outcome.number, "at": outcome.at.as_secs_f64(), "faults": outcome.faults,
                    "outage": outcome.outage.as_secs_f64(), "end": format!("{:?}", outcome.end),
                    "operator": outcome.operator,
                    "overlaps": outcome.overlaps.iter().map(ToString::to_string).collect::<Vec<_>>(),
                })
            })
            .collect();
        fs::write(self.logs.join("rounds.json"), format!("{:#}\n", Value::from(rounds)))?;
        fs::write(self.logs.join("report.txt"), &self.told)?;
        let Self { watch, outcomes, logs, .. } = self;
        let record = watch.stop();
        if let Ok(record) = &record {
            record.write(&logs)?;
        }
        let at = format!("the run's logs are in {}; replay it: {replay}", logs.display());
        result.context(at.clone())?;
        record.context(at)?;
        Ok(Summary { outcomes, acknowledged, logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::{Options, Under};

    fn outcome(number: usize, end: End) -> Outcome {
        Outcome {
            number,
            at: Duration::from_secs(5),
            faults: vec!["hang on node1 (active) for 3.0 s".to_owned()],
            outage: Duration::from_millis(6210),
            end,
            overlaps: Vec::new(),
            operator: vec!["reset node1".to_owned()],
            acknowledged: 10,
        }
    }

    #[test]
    fn a_line_tells_what_struck_what_followed_and_the_outage() {
        let line = outcome(7, End::Service { node: "node2".to_owned(), moved: true }).to_string();
        assert_eq!(
            line,
            "fault 7 at 5.0 s: hang on node1 (active) for 3.0 s: node2 took over; outage 6.21 s; a person: reset node1"
        );
    }

    #[test]
    fn every_end_without_service_is_listed() {
        let reason = Justified {
            node: "node1".to_owned(),
            rule: "this node is isolated",
            text: "no witness".to_owned(),
        };
        let lines = summary(&[
            outcome(1, End::Service { node: "node2".to_owned(), moved: true }),
            outcome(2, End::Refused(vec![reason])),
        ]);
        assert!(lines[0].starts_with("2 faults in 2 rounds: 1 takeovers, 1 without service"), "{lines:?}");
        assert!(lines[2].contains("fault 2") && lines[2].contains("this node is isolated"), "{lines:?}");
    }

    #[test]
    fn the_line_that_replays_a_run_has_all_that_it_depends_on() {
        let mut options = Options::new(7, 40, Under::ByHand);
        assert_eq!(options.replay(12), "make chaos SEED=7 FAULTS=12 MANAGER=by-hand");
        options.kinds = vec![Fault::Hang, Fault::PowerCut];
        options.fencing = "dont-care";
        assert_eq!(
            options.replay(1),
            "make chaos SEED=7 FAULTS=1 MANAGER=by-hand ONLY=hang,power-cut FENCING=dont-care"
        );
    }
}
