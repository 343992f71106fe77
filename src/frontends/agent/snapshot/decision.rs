//! What was decided last, and what the checks behind it brought.

use std::time::Duration;

use serde::Serialize;

use crate::decide;

/// What the guard or the watch decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Who.
    pub by: Judge,
    /// The decision's name, in lower case with hyphens: `well`, `give-up`, `take-over`.
    pub word: &'static str,
    /// Why, in one sentence.
    pub sentence: String,
    /// Since when it has been the same, whatever the sentence says (RFC 3339, UTC).
    pub since: String,
    /// How long that is, in seconds.
    pub seconds: f64,
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judge {
    /// On the active side.
    Guard,
    /// On the standby.
    Watch,
}

/// One of the loop's checks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Its name, in lower case with hyphens.
    pub name: &'static str,
    /// What came of it.
    pub state: CheckState,
    /// Seconds that the last one took; of a pending one, since it began; none before the first.
    pub seconds: Option<f64>,
    /// Failures among the last ones.
    pub failures: u32,
    /// How many the last ones are.
    pub of: u32,
    /// What failed or is to be known, in one sentence.
    pub sentence: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// Well.
    Ok,
    /// Well, with something that an operator should know.
    Warned,
    /// Not well.
    Failed,
    /// It has not ended.
    Pending,
}

impl Check {
    /// What is told of a check, if it was made; `took` is how long the latest one that ended took.
    pub fn of(
        name: &'static str,
        check: &decide::Check,
        took: Option<Duration>,
        failures: u32,
        of: u32,
    ) -> Option<Self> {
        let took = took.map(|took| took.as_secs_f64());
        let (state, seconds, sentence) = match check {
            decide::Check::NotMade => return None,
            decide::Check::Passed => (CheckState::Ok, took, None),
            decide::Check::Warned(text) => (CheckState::Warned, took, Some(text.clone())),
            decide::Check::Failed(text) => (CheckState::Failed, took, Some(text.clone())),
            decide::Check::Pending(pending) => (CheckState::Pending, Some(pending.as_secs_f64()), None),
        };
        Some(Self { name, state, seconds, failures, of, sentence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_was_not_made_is_not_told() {
        let took = Some(Duration::from_millis(250));
        let of = |check| Check::of("write", &check, took, 1, 5);
        assert_eq!(of(decide::Check::NotMade), None);
        let told = |check| of(check).map(|check| (check.state, check.seconds, check.sentence));
        assert_eq!(told(decide::Check::Passed), Some((CheckState::Ok, Some(0.25), None)));
        let pending = decide::Check::Pending(Duration::from_secs(7));
        assert_eq!(told(pending), Some((CheckState::Pending, Some(7.0), None)));
        let failed = decide::Check::Failed("no room".to_owned());
        assert_eq!(told(failed), Some((CheckState::Failed, Some(0.25), Some("no room".to_owned()))));
        let warned = decide::Check::Warned("almost full".to_owned());
        assert_eq!(told(warned), Some((CheckState::Warned, Some(0.25), Some("almost full".to_owned()))));
    }
}
