//! Bringing a whole resource up and down, where a cluster manager does so and not the boot.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{State, argv, look};
use crate::failure::Failure;
use crate::node::command::{self, CommandError, Finished};
use crate::observation::{Connection, Disk, DrbdGeneration};

/// Between two looks: on DRBD 9 each costs a process.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a peer may take to answer a resource that has come up. Until then it is not known whose data is newer.
const MEET_PEER: Duration = Duration::from_secs(5);
/// The least time for a look.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Brings a resource up, and waits until its disk is attached and, for a few seconds, until the peer was met.
///
/// # Errors
/// When it is not configured, or its disk is not attached, at the end.
pub fn bring_up(resource: &str, device: &Path, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let why = "without it this node has no current copy of the data and can't take over";
    if state(resource, device, deadline, why)?.generation == DrbdGeneration::NotLoaded {
        run(&["modprobe", "drbd"], deadline, why)?;
    }
    if state(resource, device, deadline, why)?.connection == Connection::Unconfigured {
        run(&["drbdadm", "up", resource], deadline, why)?;
    }
    let meet_peer = deadline.min(Instant::now() + MEET_PEER);
    loop {
        let state = state(resource, device, deadline, why)?;
        let attached = state.connection != Connection::Unconfigured && state.disk != Disk::Changing;
        let has_met = state.connection == Connection::Connected;
        if attached && (has_met || Instant::now() >= meet_peer) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::timed_out(
                format!("`drbdadm up {resource}` reported success, but its disk is {:?}", state.disk),
                why,
                format!("look at `drbdadm status {resource}` and at the kernel log (`dmesg | grep drbd`)"),
            ));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Takes a resource down.
///
/// # Errors
/// When it is still configured in the kernel at the end.
pub fn bring_down(resource: &str, device: &Path, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let why = "as long as DRBD is up here, this node is not stopped";
    if state(resource, device, deadline, why)?.connection == Connection::Unconfigured {
        return Ok(());
    }
    run(&["drbdadm", "down", resource], deadline, why)?;
    loop {
        let state = state(resource, device, deadline, why)?;
        if state.connection == Connection::Unconfigured {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::timed_out(
                format!("`drbdadm down {resource}` reported success, but it is {:?}", state.connection),
                why,
                format!("look at `drbdadm status {resource}` and at the kernel log (`dmesg | grep drbd`)"),
            ));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn state(resource: &str, device: &Path, deadline: Instant, why: &str) -> Result<State, Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).max(LOOK_LIMIT);
    look(resource, device, left).map_err(|cause| {
        Failure::failed(
            format!("the state of DRBD resource {resource} is not known: {cause}"),
            why,
            format!("look at `drbdadm status {resource}`"),
        )
    })
}

fn run(words: &[&str], deadline: Instant, why: &str) -> Result<(), Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    match command::run(&argv(words), left) {
        Ok(finished) if finished.succeeded() => Ok(()),
        ended => Err(failed(ended, why)),
    }
}

fn failed(ended: Result<Finished, CommandError>, why: &str) -> Failure {
    let next = "type it by hand and see what DRBD says: dmesg | grep drbd";
    match ended {
        Ok(finished) => Failure::failed(finished.describe(), why, next),
        Err(error) if error.is_timeout() => Failure::timed_out(error.to_string(), why, next),
        Err(error @ CommandError::NotFound { .. }) => {
            Failure::failed(error.to_string(), why, "install drbd-utils on this node")
        }
        Err(error) => Failure::failed(error.to_string(), why, next),
    }
}
