//! What was decided last, and what the checks behind it brought.

use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::rfc3339;
use crate::decide::{self, Guard, Watch};

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
    /// When it began by a clock that nobody sets.
    #[serde(skip)]
    pub began: Instant,
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

impl Decision {
    /// What the guard decided, after what was decided before it.
    pub fn of_guard(guard: &Guard, before: Option<&Self>, at: SystemTime, now: Instant) -> Self {
        let word = match guard {
            Guard::NotActive(_) => "not-active",
            Guard::Well(_) => "well",
            Guard::Suspicious(_) => "suspicious",
            Guard::Stay(_) => "stay",
            Guard::Mend(_) => "mend",
            Guard::GiveUp(_) => "give-up",
            Guard::StepDown(_) => "step-down",
        };
        Self::new(Judge::Guard, word, guard.sentence(), before, at, now)
    }

    /// What the watch decided, after what was decided before it.
    pub fn of_watch(watch: &Watch, before: Option<&Self>, at: SystemTime, now: Instant) -> Self {
        let word = match watch {
            Watch::NotStandby(_) => "not-standby",
            Watch::Well(_) => "well",
            Watch::LookAgain(_) => "look-again",
            Watch::TakeOver(_) => "take-over",
            Watch::Refuse(_) => "refuse",
        };
        Self::new(Judge::Watch, word, watch.sentence(), before, at, now)
    }

    fn new(
        by: Judge,
        word: &'static str,
        sentence: &str,
        before: Option<&Self>,
        at: SystemTime,
        now: Instant,
    ) -> Self {
        let (since, began) = match before {
            Some(before) if (before.by, before.word) == (by, word) => (before.since.clone(), before.began),
            _ => (rfc3339(at), now),
        };
        let seconds = now.saturating_duration_since(began).as_secs_f64();
        Self { by, word, sentence: sentence.to_owned(), since, seconds, began }
    }
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
    fn a_decision_lasts_until_it_is_another_one() {
        let (at, now) = (SystemTime::UNIX_EPOCH, Instant::now());
        let later = |seconds| (at + Duration::from_secs(seconds), now + Duration::from_secs(seconds));
        let well = |text: &str| Guard::Well(text.to_owned());
        let first = Decision::of_guard(&well("node1 is active"), None, at, now);
        let (at2, now2) = later(5);
        let second = Decision::of_guard(&well("node1 is active, alone"), Some(&first), at2, now2);
        assert_eq!((second.since.as_str(), second.seconds), ("1970-01-01T00:00:00.000Z", 5.0));
        assert_eq!(second.sentence, "node1 is active, alone");
        let (at3, now3) = later(7);
        let third = Decision::of_watch(&Watch::Well("standby".to_owned()), Some(&second), at3, now3);
        assert_eq!(
            (third.since.as_str(), third.seconds),
            ("1970-01-01T00:00:07.000Z", 0.0),
            "by another judge"
        );
        let (at4, now4) = later(8);
        let fourth = Decision::of_watch(&Watch::LookAgain("silent".to_owned()), Some(&third), at4, now4);
        assert_eq!((fourth.word, fourth.seconds), ("look-again", 0.0));
    }

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
