//! What DRBD means when it refuses a change, in words for an operator.
//!
//! Sources: `drbd_state_sw_errors` of the kernel modules for the numbers, `drbdsetup.c` of drbd-utils for the exit codes.

use super::apply::Change;
use crate::failure::Failure;
use crate::node::command::Finished;
use crate::node::filesystem::{Holder, name_holders};

/// Why DRBD refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// -1: the peer is Primary.
    TwoPrimaries,
    /// -2: neither disk in reach is UpToDate.
    NoUpToDateData,
    /// -7: fencing is on and the peer is not known to be outdated.
    PeerNotOutdated,
    /// -10: the peer said no.
    RefusedByPeer,
    /// -11: no disk.
    Diskless,
    /// -12: someone has the device open.
    HeldOpen,
    /// -18, -19: another change is under way.
    InTransition,
    /// -23: the peer did not answer in time (9).
    PeerTimeout,
    /// -25: no quorum (9).
    NoQuorum,
    /// Any other.
    Other,
}

impl Refusal {
    /// By the number in the message, else by the exit codes that stand for one number.
    pub(super) fn of(finished: &Finished) -> Self {
        let number = ["State change failed: (", "Failure: ("]
            .iter()
            .flat_map(|marker| [&finished.stderr, &finished.stdout].map(|text| (text, marker)))
            .find_map(|(text, marker)| {
                let (_, rest) = text.split_once(marker)?;
                rest.split_once(')')?.0.parse::<i32>().ok()
            });
        match (number, finished.code) {
            (Some(-1), _) => Refusal::TwoPrimaries,
            (Some(-2), _) | (None, Some(17)) => Refusal::NoUpToDateData,
            (Some(-7), _) => Refusal::PeerNotOutdated,
            (Some(-10), _) => Refusal::RefusedByPeer,
            (Some(-11), _) => Refusal::Diskless,
            (Some(-12), _) => Refusal::HeldOpen,
            (Some(-18 | -19), _) => Refusal::InTransition,
            (Some(-23), _) => Refusal::PeerTimeout,
            (Some(-25), _) => Refusal::NoQuorum,
            _ => Refusal::Other,
        }
    }

    /// Whether it may pass by itself within a moment.
    pub(super) fn is_momentary(self) -> bool {
        matches!(self, Refusal::HeldOpen | Refusal::InTransition)
    }

    /// For a progress line.
    pub(super) fn short(self, holders: &[Holder]) -> String {
        match self {
            Refusal::HeldOpen => format!("the device is held open by {}", name_holders(holders)),
            _ => "DRBD is between two states".to_owned(),
        }
    }
}

/// The refusal of a change as an error that a person can act on.
pub(super) fn explain(
    refusal: Refusal,
    change: Change,
    finished: &Finished,
    resource: &str,
    holders: &[Holder],
) -> Failure {
    let seen = finished.describe();
    let stake = change.stake();
    match refusal {
        Refusal::TwoPrimaries => Failure::refused(
            seen,
            "the peer is Primary: two Primaries that both take writes would split the data",
            "release the peer first (`standin release` there), or make sure that it is dead and fence it",
        ),
        Refusal::NoUpToDateData => Failure::refused(
            seen,
            "the data here is not known to be current: serving it could lose commits that the peer has",
            format!(
                "bring the peer or its disk back so that DRBD can resync, and look at `drbdadm status {resource}`; only \
                 when the peer's data is lost for good may a person run `drbdadm primary --force {resource}`, which \
                 gives up every write that only the peer has"
            ),
        ),
        Refusal::PeerNotOutdated => Failure::refused(
            seen,
            "DRBD's fencing is on and no fence-peer handler confirmed that the peer is outdated or off: the peer may \
             still take writes",
            "see the handler's reason: dmesg | grep -i fence-peer ('standin: …' is its answer; 'exit code 255' or 'helper broken': \
             the kernel could not start it, see drbd-usermode-helper and drbd-handlers of `standin doctor`); then fence the peer \
             or power it off, and try again",
        ),
        Refusal::RefusedByPeer => Failure::refused(
            seen,
            "the peer is alive and did not agree to the change",
            format!(
                "see the peer's kernel log for its reason, release it there, then try again (`drbdadm status {resource}`)"
            ),
        ),
        Refusal::Diskless => Failure::refused(
            seen,
            "this node has no disk attached, so it has no data of its own to serve",
            format!(
                "see the kernel log for a disk error; `drbdadm attach {resource}` attaches the disk again"
            ),
        ),
        Refusal::HeldOpen => {
            let next = if holders.is_empty() {
                "no process of this machine shows the device open: look for a device-mapper or multipath table on it \
                 (`dmsetup deps`, `multipath -ll`), a swap area, or a loop device"
                    .to_owned()
            } else {
                "end what holds it (or its unit), then try again".to_owned()
            };
            Failure::failed(format!("{seen}\nheld open by: {}", name_holders(holders)), stake, next)
        }
        Refusal::InTransition => Failure::timed_out(
            seen,
            stake,
            format!("wait until `drbdadm status {resource}` has settled, then try again"),
        ),
        Refusal::PeerTimeout => Failure::timed_out(
            seen,
            stake,
            "the peer did not answer DRBD in time: see whether it is alive, disconnect when it is not, then try again",
        ),
        Refusal::NoQuorum => Failure::refused(
            seen,
            "DRBD has no quorum here: the majority may be serving elsewhere",
            "bring the peer or the tie-breaker back; two-node clusters with quorum need a diskless tie-breaker",
        ),
        Refusal::Other => Failure::failed(
            seen,
            stake,
            format!("look at the kernel log (`dmesg | grep drbd`) and at `drbdadm status {resource}`"),
        ),
    }
}
