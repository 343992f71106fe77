//! What went wrong, in the words an operator needs: what was seen, why it matters, what to do next.

use serde::{Deserialize, Serialize};

/// How a command ended. The numbers are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything is as asked for, whether or not anything had to be done.
    Done,
    /// A step failed and everything done before it was undone.
    Failed,
    /// The command line or the configuration is wrong; nothing was touched.
    Usage,
    /// Going on would risk data or a second holder of the virtual IP; nothing is changed.
    Refused,
    /// An undo failed: a person is needed.
    Stuck,
}

impl Outcome {
    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::Refused => 3,
            Outcome::Stuck => 4,
        }
    }
}

/// Why a step did not reach its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The step looked and found that going on would lose data or clash with someone.
    Refused,
    /// The step tried and could not.
    Failed,
    /// The step did not end by its deadline; what it started may still be running.
    TimedOut,
}

/// An error that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{seen}\n  why it matters: {why}\n  what to do next: {next}")]
pub struct Failure {
    /// Whether it was refused, failed, or ran out of time.
    pub kind: FailureKind,
    /// What was seen, with the output of the command when there was one.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do next.
    pub next: String,
}

impl Failure {
    /// A step that tried and could not.
    pub fn failed(seen: impl Into<String>, why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, seen, why, next)
    }

    /// A step that looked and must not go on.
    pub fn refused(seen: impl Into<String>, why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, seen, why, next)
    }

    /// A step whose deadline passed.
    pub fn timed_out(seen: impl Into<String>, why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(FailureKind::TimedOut, seen, why, next)
    }

    fn new(
        kind: FailureKind,
        seen: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { kind, seen: seen.into(), why: why.into(), next: next.into() }
    }
}
