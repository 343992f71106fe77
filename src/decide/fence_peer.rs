//! What DRBD's fence-peer handler answers when the connection to the peer is lost.
//!
//! DRBD asks in two moments: when an active node loses its peer (with `resource-and-stonith` all I/O is frozen until the
//! answer), and when a node that is not connected is to be promoted. It asks once, and does not ask again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{PeerStanding, peer_standing};
use crate::config::Config;
use crate::observation::{Connection, Disk, Drbd, Fact, Observation, OwnTakeover, Role};

/// What a fence-peer handler can say, by its exit code.
///
/// Source of the numbers: `conn_try_outdate_peer` in `drivers/block/drbd/drbd_nl.c` of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceAnswer {
    /// 4: the peer's disk is marked Outdated.
    PeerOutdated,
    /// 5: the evidence says that the peer is dead. Counts only while the local disk is UpToDate.
    PeerDown,
    /// 6: the peer is active: the local disk becomes Outdated, or I/O stays frozen while it is in use.
    PeerPrimary,
    /// 7: a fence command or a person confirmed that the peer is off. Counts for a Consistent local disk, too.
    PeerFenced,
    /// 1, which DRBD calls broken: nothing changes, I/O stays frozen, and a promotion is refused.
    NotKnown,
}

impl FenceAnswer {
    /// The exit code of the handler.
    pub fn exit_code(self) -> u8 {
        match self {
            FenceAnswer::NotKnown => 1,
            FenceAnswer::PeerOutdated => 4,
            FenceAnswer::PeerDown => 5,
            FenceAnswer::PeerPrimary => 6,
            FenceAnswer::PeerFenced => 7,
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            FenceAnswer::NotKnown => "not known, nothing changes",
            FenceAnswer::PeerOutdated => "the peer is outdated, I/O may go on",
            FenceAnswer::PeerDown => "the peer is down, I/O may go on",
            FenceAnswer::PeerPrimary => "the peer is active, this node must not write",
            FenceAnswer::PeerFenced => "the peer is fenced, I/O may go on",
        }
    }

    /// Whether DRBD lets this node write without its peer.
    pub fn lets_write(self) -> bool {
        matches!(self, FenceAnswer::PeerOutdated | FenceAnswer::PeerDown | FenceAnswer::PeerFenced)
    }
}

/// What the handler is to do, with the reason in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FenceDecision {
    /// Answer so.
    Answer(FenceAnswer, String),
    /// Run the fence command; its confirmation is [`FenceAnswer::PeerFenced`].
    Fence {
        /// The command line.
        command: Vec<String>,
        /// Why the peer is to be fenced.
        reason: String,
    },
    /// Nothing is proven yet: look again while I/O is frozen, and answer [`FenceAnswer::NotKnown`] at the end.
    LookAgain(String),
    /// The peer is silent, and only not for long enough: look again at once, whoever asks.
    Listen(String),
}

/// What a handler knows besides its latest look.
#[derive(Debug, Clone, Copy, Default)]
pub struct FenceRequest<'a> {
    /// The takeover of this node that promotes at this moment, if one does.
    pub own: Option<&'a OwnTakeover>,
    /// A peer that lives had its time to connect again.
    pub reconnect_waited: bool,
    /// An earlier look of the same handler saw I/O suspended.
    pub io_was_suspended: bool,
    /// How long nothing of the peer has answered, over the looks of the same handler.
    pub silent_for: Duration,
    /// An earlier look of the same handler heard neither the peer nor a witness: the peer may have taken over since.
    pub was_cut_off: bool,
    /// This node was paused, or has not run for a while, since it was last known to be in contact with the peer: that may have taken
    /// over meanwhile, and have died since.
    pub was_held: bool,
}

/// Decides what to tell DRBD.
pub fn fence_peer(observation: &Observation, config: &Config, request: FenceRequest<'_>) -> FenceDecision {
    let FenceRequest { own, reconnect_waited, io_was_suspended, .. } = request;
    let drbd = match &observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => {
            let reason = format!("the state of DRBD could not be read: {cause}");
            // A takeover that promotes has its own limit.
            return match own {
                Some(_) => FenceDecision::Answer(FenceAnswer::NotKnown, reason),
                None => FenceDecision::LookAgain(reason),
            };
        }
    };
    if matches!(drbd.connection, Connection::Connected | Connection::Handshake | Connection::Unconfigured) {
        let reason = format!("DRBD is {:?}: there is nothing to answer", drbd.connection);
        return FenceDecision::Answer(FenceAnswer::NotKnown, reason);
    }
    let active = drbd.role == Role::Primary;
    if active && io_was_suspended && !drbd.io_suspended {
        let reason = "I/O was resumed by another hand, so that there is nothing left to answer".to_owned();
        return FenceDecision::Answer(FenceAnswer::NotKnown, reason);
    }
    let was_judged = own.is_some_and(|own| !active && own.peer_judged);
    let decision = match own {
        Some(own) if was_judged => own_takeover(drbd, own),
        // It relied on a peer that was connected, and weighed no evidence: it fails, and decides anew.
        Some(own) if !active => FenceDecision::Answer(
            FenceAnswer::NotKnown,
            format!("this node takes over ({}), and the connection that it relied on is gone", own.reason),
        ),
        _ => by_evidence(observation, drbd, config, active && reconnect_waited),
    };
    let decision = match decision {
        FenceDecision::Answer(FenceAnswer::PeerDown, reason) if !was_judged => {
            lasting_silence(reason, active, config, request)
        }
        decision => decision,
    };
    match decision {
        // A promotion is refused at once; whoever wants it tries again.
        FenceDecision::LookAgain(reason) if !active => FenceDecision::Answer(FenceAnswer::NotKnown, reason),
        decision => decision,
    }
}

/// A single look may meet a moment in which the peer's machine has no time; and what a peer did while this node was held up, or cut
/// off, its silence does not tell.
fn lasting_silence(
    reason: String,
    active: bool,
    config: &Config,
    request: FenceRequest<'_>,
) -> FenceDecision {
    let peer = &config.peer.name;
    if active && request.was_held {
        return FenceDecision::LookAgain(format!(
            "{reason}; but this node was held up (a pause, a stun) and has not been in contact with {peer} since: {peer} may have \
             taken over and have died after that"
        ));
    }
    if active && request.was_cut_off {
        return FenceDecision::LookAgain(format!(
            "{reason}; but this node was cut off a moment ago: {peer} may have taken over and have died after that"
        ));
    }
    if request.silent_for < config.agent.silence {
        return FenceDecision::Listen(format!(
            "{reason}, for {:.1} s of {:.1} s",
            request.silent_for.as_secs_f64(),
            config.agent.silence.as_secs_f64()
        ));
    }
    FenceDecision::Answer(FenceAnswer::PeerDown, reason)
}

/// The takeover weighed the evidence a moment ago, before it disconnected: it need not be gathered again.
fn own_takeover(drbd: &Drbd, own: &OwnTakeover) -> FenceDecision {
    let reason = format!("this node takes over: {}", own.reason);
    if own.confirmed { FenceDecision::Answer(FenceAnswer::PeerFenced, reason) } else { down(drbd, reason) }
}

fn by_evidence(
    observation: &Observation,
    drbd: &Drbd,
    config: &Config,
    may_fence_the_living: bool,
) -> FenceDecision {
    let peer = &config.peer.name;
    match vip_elsewhere(observation, config) {
        Elsewhere::Nowhere => {}
        Elsewhere::AtPeer(reason) => return FenceDecision::Answer(FenceAnswer::PeerPrimary, reason),
        Elsewhere::NotKnown(reason) => return FenceDecision::LookAgain(reason),
    }
    if drbd.peer_disk == Disk::Outdated {
        let reason = format!("DRBD knows the disk of {peer} as Outdated");
        return FenceDecision::Answer(FenceAnswer::PeerOutdated, reason);
    }
    let (seen, dead) = match peer_standing(observation, drbd) {
        PeerStanding::Dead(evidence) => (format!("{peer} is dead: {evidence}"), true),
        PeerStanding::Unseen(seen) | PeerStanding::NoEvidence(seen) | PeerStanding::Primary(seen) => {
            (seen, false)
        }
        PeerStanding::Yielded => (format!("{peer} is Secondary and connected"), false),
    };
    if let Some(reason) = isolated(observation) {
        return FenceDecision::LookAgain(reason);
    }
    match &config.fence {
        Some(command) if dead || may_fence_the_living => FenceDecision::Fence {
            command: command.iter().map(|word| word.replace("{peer}", peer)).collect(),
            reason: seen,
        },
        None if dead && observation.witnesses.is_empty() => down(
            drbd,
            format!(
                "{seen}; no witness is configured, so that it can't be told from this node being cut off"
            ),
        ),
        None if dead => down(drbd, seen),
        _ => FenceDecision::LookAgain(format!(
            "{seen}: it may take over later without what would be written here now"
        )),
    }
}

/// Evidence alone never makes a Consistent disk current: DRBD takes 5 only from an UpToDate one, and so do we.
fn down(drbd: &Drbd, reason: String) -> FenceDecision {
    if drbd.disk == Disk::UpToDate {
        FenceDecision::Answer(FenceAnswer::PeerDown, reason)
    } else {
        let reason = format!("{reason}; but the local disk is {:?}, and nobody confirmed a fence", drbd.disk);
        FenceDecision::Answer(FenceAnswer::NotKnown, reason)
    }
}

/// Who else answers for the virtual IP, whether or not it is here, too.
enum Elsewhere {
    Nowhere,
    AtPeer(String),
    NotKnown(String),
}

fn vip_elsewhere(observation: &Observation, config: &Config) -> Elsewhere {
    let vip = config.vip.address.addr();
    let peer = &config.peer.name;
    let answer = match (&observation.vip.here, &observation.vip.answer) {
        (Fact::Unknown(cause), _) | (_, Fact::Unknown(cause)) => {
            return Elsewhere::NotKnown(format!(
                "who holds the virtual IP {vip} could not be learnt: {cause}"
            ));
        }
        (Fact::Known(_), Fact::Known(None)) => return Elsewhere::Nowhere,
        (Fact::Known(_), Fact::Known(Some(answer))) => answer,
    };
    let holder = answer.arp.as_deref().unwrap_or("a host that answers ping but not ARP");
    let of_peer = observation
        .peer
        .addresses
        .iter()
        .filter_map(|probe| probe.answer.known()?.as_ref())
        .any(|of_peer| of_peer.arp.is_some() && of_peer.arp == answer.arp);
    if of_peer {
        Elsewhere::AtPeer(format!("{peer} is active: it holds the virtual IP {vip} ({holder})"))
    } else {
        Elsewhere::NotKnown(format!(
            "the virtual IP {vip} is answered by {holder}, which is not known as an address of {peer}"
        ))
    }
}

/// A node that is cut off sees what a survivor sees, and must neither go on nor fence.
pub(super) fn isolated(observation: &Observation) -> Option<String> {
    let witnesses = &observation.witnesses;
    let one_answers = witnesses.iter().any(|probe| matches!(probe.answer, Fact::Known(Some(_))));
    if witnesses.is_empty() || one_answers {
        return None;
    }
    let names = witnesses.iter().map(|probe| probe.address.to_string()).collect::<Vec<_>>().join(", ");
    Some(format!("no witness answers ({names}): it may be this node that is cut off"))
}
