//! The four changes: disconnect, promote, demote, connect. Each looks first, runs one command, and looks again.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::refusal::{self, Refusal};
use super::{State, look};
use crate::failure::Failure;
use crate::node::command::{self, CommandError, Finished};
use crate::node::filesystem::{self, Holder};
use crate::node::{Applied, Attempt};
use crate::observation::{Connection, DrbdGeneration, Role};
use crate::plan::shell_words;

/// Between two tries of what DRBD refused only for the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// The least time for a look, even when the deadline is near: it only reads.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Gives up the connection to the peer, without waiting for a dead one. An empty `command` means that there was no
/// connection when it was planned.
///
/// A connection that came up after it was planned (`was_connected` is false) is kept: the peer is back, with all that it has.
///
/// # Errors
/// When the resource is not `StandAlone` at the end, or the peer is back.
pub fn apply_disconnect(
    command: &[String],
    resource: &str,
    device: &Path,
    was_connected: bool,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    if !was_connected
        && look(resource, device, attempt.remaining().max(LOOK_LIMIT))
            .is_ok_and(|state| is_back(state.connection))
    {
        return Err(peer_is_back(resource));
    }
    apply(Change::Disconnect, command, resource, device, attempt)
}

fn is_back(connection: Connection) -> bool {
    matches!(connection, Connection::Connected | Connection::Handshake)
}

fn peer_is_back(resource: &str) -> Failure {
    Failure::refused(
        format!("the DRBD resource {resource} was not connected when this was planned, and now it is"),
        "the peer is back: cutting it off now would part two nodes that have the same data",
        "run it again: it looks afresh, and finds the peer connected",
    )
}

/// Becomes Primary.
///
/// # Errors
/// When the role is not Primary at the end; what DRBD refused is explained.
pub fn apply_promote(
    command: &[String],
    resource: &str,
    device: &Path,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    apply(Change::Promote, command, resource, device, attempt)
}

/// Becomes Secondary. While someone holds the device open (often udev for a moment) it is tried again until the deadline.
///
/// # Errors
/// When the role is not Secondary at the end; whoever holds the device open is named.
pub fn apply_demote(
    command: &[String],
    resource: &str,
    device: &Path,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    apply(Change::Demote, command, resource, device, attempt)
}

/// Listens for the peer again.
///
/// # Errors
/// When the resource is still `StandAlone` at the end.
pub fn apply_connect(
    command: &[String],
    resource: &str,
    device: &Path,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    apply(Change::Connect, command, resource, device, attempt)
}

/// What is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Disconnect,
    Promote,
    Demote,
    Connect,
}

impl Change {
    fn reached(self, state: &State) -> bool {
        match self {
            Change::Disconnect => {
                matches!(state.connection, Connection::StandAlone | Connection::Unconfigured)
            }
            Change::Promote => state.role == Role::Primary,
            Change::Demote => state.role == Role::Secondary || state.connection == Connection::Unconfigured,
            Change::Connect => !matches!(state.connection, Connection::StandAlone | Connection::Unconfigured),
        }
    }

    pub(super) fn goal(self) -> &'static str {
        match self {
            Change::Disconnect => "disconnected",
            Change::Promote => "Primary",
            Change::Demote => "Secondary",
            Change::Connect => "listening for its peer",
        }
    }

    /// Why it matters that this did not work.
    pub(super) fn stake(self) -> &'static str {
        match self {
            Change::Disconnect => {
                "while DRBD still holds the connection, promoting waits for a peer that may be dead, or is refused"
            }
            Change::Promote => "without the Primary role the data can't be mounted here",
            Change::Demote => {
                "as long as this node is Primary the other one can't take over, and forcing it would split the data"
            }
            Change::Connect => "a peer that returns is not resynced, so there is no second copy of the data",
        }
    }
}

/// Runs a command within a time limit.
type Run<'a> = dyn Fn(&[String], Duration) -> Result<Finished, CommandError> + 'a;

/// What a change needs of the machine; tests put their own in.
pub(super) struct Hands<'a> {
    pub(super) look: &'a dyn Fn(Duration) -> Result<State, String>,
    pub(super) run: &'a Run<'a>,
    pub(super) holders: &'a dyn Fn() -> Vec<Holder>,
}

fn apply(
    change: Change,
    command: &[String],
    resource: &str,
    device: &Path,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let hands = Hands {
        look: &|limit| look(resource, device, limit),
        run: &command::run,
        holders: &|| filesystem::holders_of_device(device),
    };
    apply_with(&hands, change, command, resource, attempt)
}

pub(super) fn apply_with(
    hands: &Hands<'_>,
    change: Change,
    command: &[String],
    resource: &str,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let look = || (hands.look)(attempt.remaining().max(LOOK_LIMIT));
    let state = look().map_err(|cause| unknown(change, resource, &cause))?;
    if change.reached(&state) {
        return Ok(Applied::already_so());
    }
    if state.connection == Connection::Unconfigured {
        return Err(Failure::failed(
            format!("the DRBD resource {resource} is not configured in the kernel (it is down)"),
            change.stake(),
            format!(
                "bring it up with `drbdadm up {resource}`, look at `drbdadm status {resource}`, then try again"
            ),
        ));
    }
    if command.is_empty() {
        return Err(Failure::failed(
            format!(
                "the DRBD resource {resource} was StandAlone when this was planned, and now it is {:?}",
                state.connection
            ),
            change.stake(),
            "run the same command again: it looks afresh and plans with the connection that is there now",
        ));
    }
    loop {
        let ended = (hands.run)(command, attempt.remaining());
        if ended.as_ref().is_ok_and(Finished::succeeded) {
            return verify(change, command, resource, attempt, &look);
        }
        // Whatever the command says, only the state counts: it may have been so by the time it ran.
        if look().is_ok_and(|state| change.reached(&state)) {
            return Ok(Applied::done());
        }
        let finished = match ended {
            Ok(finished) => finished,
            Err(error) => return Err(not_run(change, resource, &error)),
        };
        let refusal = Refusal::of(&finished);
        let holders = if refusal == Refusal::HeldOpen { (hands.holders)() } else { Vec::new() };
        if !refusal.is_momentary() || attempt.remaining() <= RETRY_INTERVAL {
            return Err(refusal::explain(refusal, change, &finished, resource, &holders));
        }
        attempt.report(&format!("{resource} is not yet {}: {}", change.goal(), refusal.short(&holders)));
        thread::sleep(RETRY_INTERVAL);
    }
}

/// A forced disconnect returns a moment before the connection is torn down.
fn verify(
    change: Change,
    command: &[String],
    resource: &str,
    attempt: &Attempt,
    look: &dyn Fn() -> Result<State, String>,
) -> Result<Applied, Failure> {
    loop {
        let state = look().map_err(|cause| unknown(change, resource, &cause))?;
        if change.reached(&state) {
            return Ok(Applied::done());
        }
        if attempt.remaining().is_zero() {
            return Err(Failure::timed_out(
                format!(
                    "`{}` reported success, but {resource} is not {}: connection {:?}, role {:?}, disk {:?}",
                    shell_words(command),
                    change.goal(),
                    state.connection,
                    state.role,
                    state.disk
                ),
                change.stake(),
                format!("look at `drbdadm status {resource}` and at the kernel log (`dmesg | grep drbd`)"),
            ));
        }
        // A look costs nothing on 8.4, and a process on 9.
        let pause = if state.generation == DrbdGeneration::Eight { 10 } else { 100 };
        thread::sleep(Duration::from_millis(pause).min(attempt.remaining()));
    }
}

fn unknown(change: Change, resource: &str, cause: &str) -> Failure {
    Failure::failed(
        format!("the state of the DRBD resource {resource} can't be learnt: {cause}"),
        change.stake(),
        format!("look at `cat /proc/drbd` and `drbdadm status {resource}`"),
    )
}

fn not_run(change: Change, resource: &str, error: &CommandError) -> Failure {
    let next = match error {
        CommandError::NotFound { .. } => "install drbd-utils on this node".to_owned(),
        CommandError::PermissionDenied { .. } => "run standin as root".to_owned(),
        CommandError::TimedOut { .. } => format!(
            "look at the kernel log (`dmesg | grep drbd`) and at `drbdadm status {resource}`: a fence-peer handler or a \
             dead disk can hold DRBD up; raise the time limit `drbd` when it only needs longer"
        ),
        CommandError::Io { .. } => "see what the system says above, then try again".to_owned(),
    };
    if error.is_timeout() {
        Failure::timed_out(error.to_string(), change.stake(), next)
    } else {
        Failure::failed(error.to_string(), change.stake(), next)
    }
}
