//! Connecting as the side of a split brain whose data is given up.

use std::path::Path;
use std::time::Duration;

use super::{argv, look};
use crate::failure::Failure;
use crate::node::command;
use crate::node::{Applied, Attempt};
use crate::observation::{Connection, Role};
use crate::plan::shell_words;

/// The least time for a look.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// The least time for connecting again what was disconnected for this.
const RECONNECT_LIMIT: Duration = Duration::from_millis(1500);

/// Disconnects, makes sure that the resource is Secondary, and connects with `--discard-my-data`.
///
/// # Errors
/// Refused when the resource is Primary by now; failed when a command fails, or its state can't be learnt. Then the resource is
/// connected as it was before, or the error says that it is not.
pub fn discard_my_data(resource: &str, device: &Path, attempt: &Attempt) -> Result<Applied, Failure> {
    let why = "the data of this side is not given up, and the two copies stay apart";
    let state = || {
        look(resource, device, attempt.remaining().max(LOOK_LIMIT)).map_err(|cause| {
            Failure::failed(
                format!("the state of DRBD resource {resource} can't be learnt: {cause}"),
                why,
                format!("see: cat /proc/drbd; drbdadm status {resource}"),
            )
        })
    };
    let run = |words: &[&str], limit: Duration| {
        let command = argv(words);
        let next = format!("type it by hand and see what DRBD says: {}; dmesg | tail", shell_words(&command));
        match command::run(&command, limit) {
            Ok(finished) if finished.succeeded() => Ok(()),
            Ok(finished) => Err(Failure::failed(finished.describe(), why, next)),
            Err(error) if error.is_timeout() => Err(Failure::timed_out(error.to_string(), why, next)),
            Err(error) => Err(Failure::failed(error.to_string(), why, next)),
        }
    };
    let before = state()?;
    if before.role == Role::Primary {
        return Err(Failure::refused(
            format!("DRBD resource {resource} is Primary here"),
            "its data may be in use at this moment",
            "standin release, then again",
        ));
    }
    connect_anew(
        resource,
        before.connection == Connection::StandAlone,
        |words| run(words, attempt.remaining()),
        || {
            run(&["drbdadm", "connect", resource], attempt.remaining().max(RECONNECT_LIMIT)).is_ok()
                || state().is_ok_and(|now| now.connection != Connection::StandAlone)
        },
    )?;
    Ok(Applied::done())
}

/// `reconnect` is for what was connected before; whether it is not StandAlone then.
fn connect_anew(
    resource: &str,
    was_alone: bool,
    run: impl Fn(&[&str]) -> Result<(), Failure>,
    reconnect: impl FnOnce() -> bool,
) -> Result<(), Failure> {
    if !was_alone {
        run(&["drbdadm", "disconnect", resource])?;
    }
    // Whoever promoted it since then is found out here: a device in use can't be demoted.
    let anew = run(&["drbdadm", "secondary", resource])
        .and_then(|()| run(&["drbdadm", "connect", "--discard-my-data", resource]));
    anew.map_err(|failure| {
        // What was StandAlone before is so for a reason.
        if was_alone || reconnect() {
            return failure;
        }
        let next = format!("{}; {resource} is StandAlone now: drbdadm connect {resource}", failure.next);
        Failure { next, ..failure }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What is run, and what the error says to do next, when one command fails; `alone`: connecting again fails too.
    fn fails(command: &str, was_alone: bool, alone: bool) -> (Vec<String>, String) {
        let ran = RefCell::new(Vec::new());
        let run = |words: &[&str]| {
            ran.borrow_mut().push(words[1..].join(" "));
            match words[1] == command {
                true => Err(Failure::failed("it fails", "it matters", "see dmesg")),
                false => Ok(()),
            }
        };
        let reconnect = || {
            ran.borrow_mut().push("again".to_owned());
            !alone
        };
        let next = connect_anew("r0", was_alone, run, reconnect).unwrap_err().next;
        (ran.into_inner(), next)
    }

    #[test]
    fn what_was_disconnected_in_vain_is_connected_again() {
        let (ran, next) = fails("secondary", false, false);
        assert_eq!(ran, ["disconnect r0", "secondary r0", "again"]);
        assert_eq!(next, "see dmesg");
        let (ran, next) = fails("connect", false, true);
        assert_eq!(ran, ["disconnect r0", "secondary r0", "connect --discard-my-data r0", "again"]);
        assert_eq!(next, "see dmesg; r0 is StandAlone now: drbdadm connect r0");
    }

    #[test]
    fn what_was_not_disconnected_is_left_as_it_was() {
        assert_eq!(
            fails("disconnect", false, true),
            (vec!["disconnect r0".to_owned()], "see dmesg".to_owned())
        );
        let (ran, next) = fails("connect", true, true);
        assert_eq!(ran, ["secondary r0", "connect --discard-my-data r0"]);
        assert_eq!(next, "see dmesg");
    }
}
