//! The resource agent `ocf:standin:innodb` for Pacemaker, as a primitive and as a promotable clone.
//!
//! | file | holds |
//! | --- | --- |
//! | `call` | the action and its environment |
//! | `table`, `parameters` | the parameters, and the configuration that they make |
//! | `answer` | pure: what was seen → exit code and reason |
//! | `act` | looks, acts, looks again |
//! | `score` | the promotion score |
//! | `metadata` | what the agent says of itself |

mod act;
mod answer;
mod call;
mod metadata;
mod parameters;
mod score;
mod table;

use std::path::Path;
use std::time::Duration;

use super::say::{deliver, say_error};
use crate::failure::Outcome;
use crate::node::within::within;
use answer::{Answer, Code, Form};
use call::{Action, Call};

/// The agent's name: the file that Pacemaker calls is a link to our binary.
const NAME: &str = "innodb";
/// For an action whose caller does not say how long it may take.
const DEFAULT_LIMIT: Duration = Duration::from_secs(20);
/// For a start, stop, promote or demote whose caller does not say: they have limits of their own.
const NO_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The most that is kept of the caller's time for the answer itself.
const MARGIN: Duration = Duration::from_secs(1);

const USAGE: &str = "\
usage: innodb ACTION      (or: standin ocf ACTION)

Pacemaker's resource agent ocf:standin:innodb. ACTION is start, stop, monitor, promote, demote, notify, validate-all or
meta-data; parameters are in the environment (OCF_RESKEY_*), and meta-data describes them. Exit codes are those of the OCF
resource agent API 1.1.
";

/// The exit code when we were called by the agent's name.
pub fn run_by_name() -> Option<u8> {
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    if Path::new(&name).file_name()? != NAME {
        return None;
    }
    // What follows the action is ignored, as the API wants it.
    let action = arguments.next().map(|action| action.to_string_lossy().into_owned());
    Some(run(action.as_deref()))
}

/// The exit code of one action.
pub(super) fn run(action: Option<&str>) -> u8 {
    let Some(action) = action.and_then(Action::parse) else {
        say_error(USAGE.trim_end());
        return Code::Unimplemented.number();
    };
    let call = Call::of_environment();
    let prefix = call.reason_prefix.clone();
    let answer = match action {
        Action::MetaData => return deliver(metadata::metadata(), Outcome::Done).exit_code(),
        Action::Usage => return deliver(USAGE, Outcome::Done).exit_code(),
        Action::Notify => Answer::plain(Code::Success),
        Action::Promote | Action::Demote if call.form == Form::Primitive => {
            Answer::plain(Code::Unimplemented)
        }
        _ => in_time(action, call),
    };
    if let Some(reason) = &answer.reason {
        say_error(format_args!("{prefix}{}", one_line(reason)));
    }
    answer.code.number()
}

fn in_time(action: Action, call: Call) -> Answer {
    let limit = limit(action, call.timeout);
    within(limit, move || act::act(action, &call)).unwrap_or_else(|| {
        Answer::new(
            Code::Generic,
            format!(
                "it did not come to an end within {:.1} s: see the kernel log for a disk that does not answer",
                limit.as_secs_f64()
            ),
        )
    })
}

/// The time that an action has, without what the answer needs.
fn limit(action: Action, given: Option<Duration>) -> Duration {
    match (given, action) {
        (Some(given), _) => given - MARGIN.min(given / 20),
        (None, Action::Start | Action::Stop | Action::Promote | Action::Demote) => NO_LIMIT,
        (None, _) => DEFAULT_LIMIT,
    }
}

/// Pacemaker keeps the last line of a reason.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_before_the_caller_s_time_is_over() {
        let seconds = Duration::from_secs;
        for given in [seconds(1), seconds(20), seconds(300)] {
            assert!(limit(Action::Monitor, Some(given)) < given);
            assert!(limit(Action::Start, Some(given)) > given / 2);
        }
        assert_eq!(limit(Action::Monitor, None), DEFAULT_LIMIT);
        assert_eq!(limit(Action::Stop, None), NO_LIMIT);
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(one_line("seen\n  why it matters: x\n\n"), "seen; why it matters: x");
    }
}
