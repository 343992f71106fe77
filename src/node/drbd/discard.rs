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

/// Disconnects, makes sure that the resource is Secondary, and connects with `--discard-my-data`.
///
/// # Errors
/// Refused when the resource is Primary by now; failed when a command fails or it is still StandAlone.
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
    let run = |words: &[&str]| {
        let command = argv(words);
        let next = format!("type it by hand and see what DRBD says: {}; dmesg | tail", shell_words(&command));
        match command::run(&command, attempt.remaining()) {
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
    if before.connection != Connection::StandAlone {
        run(&["drbdadm", "disconnect", resource])?;
    }
    // Whoever promoted it since then is found out here: a device in use can't be demoted.
    run(&["drbdadm", "secondary", resource])?;
    run(&["drbdadm", "connect", "--discard-my-data", resource])?;
    Ok(Applied::done())
}
