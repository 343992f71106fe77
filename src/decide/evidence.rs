//! What the peer is, by agreeing evidence: the network's answers and what DRBD shows.

use crate::observation::{AddressProbe, Connection, Drbd, Fact, Observation, Role};

/// Where the peer stands, as far as the evidence goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerStanding {
    /// Connected, answering and Secondary: it gave everything up, and promoting while connected is safest.
    Yielded,
    /// Dead, and on which evidence.
    Dead(String),
    /// Alive and Primary.
    Primary(String),
    /// Alive, but DRBD is not connected: it may be Primary.
    Unseen(String),
    /// Neither alive nor dead can be shown.
    NoEvidence(String),
}

/// Weighs what the network and DRBD show of the peer.
///
/// "The virtual IP does not answer" is no part of this: it is asked for in addition.
pub fn peer_standing(observation: &Observation, drbd: &Drbd) -> PeerStanding {
    let addresses = &observation.peer.addresses;
    let alive = addresses.iter().find(|probe| matches!(probe.answer, Fact::Known(Some(_))));
    let all_silent = !addresses.is_empty() && addresses.iter().all(is_silent);
    let any_silent = addresses.iter().any(is_silent);
    let witness = observation.witnesses.iter().find(|probe| matches!(probe.answer, Fact::Known(Some(_))));
    let replication_silent = addresses.first().is_some_and(is_silent);
    let replication_answers =
        addresses.first().is_some_and(|probe| matches!(probe.answer, Fact::Known(Some(_))));

    match (drbd.connection, alive) {
        (Connection::Connected | Connection::Handshake, Some(probe)) => match drbd.peer_role {
            // What DRBD last heard is stale when its own link was cut while the clients' network still works.
            Role::Secondary if drbd.connection == Connection::Connected && !replication_answers => {
                PeerStanding::Unseen(format!(
                    "the peer answers at {} but not at its replication address, so that DRBD's \"Connected\" may be stale ({})",
                    probe.address,
                    list(addresses)
                ))
            }
            Role::Secondary if drbd.connection == Connection::Connected => PeerStanding::Yielded,
            Role::Primary => {
                PeerStanding::Primary(format!("the peer is Primary and answers at {}", probe.address))
            }
            _ => PeerStanding::Unseen(format!(
                "the peer answers at {} and DRBD does not show its role yet",
                probe.address
            )),
        },
        // DRBD needs ping-int + ping-timeout to notice a power cut; a living kernel answers ARP at once.
        (Connection::Connected | Connection::Handshake, None) if replication_silent => {
            PeerStanding::Dead(format!(
                "no address of the peer answers ({}), so that DRBD's \"{:?}\" is stale",
                list(addresses),
                drbd.connection
            ))
        }
        (Connection::Connected | Connection::Handshake, None) => PeerStanding::NoEvidence(format!(
            "DRBD is connected, and whether the peer's replication address answers could not be learnt ({})",
            list(addresses)
        )),
        (_, Some(probe)) => PeerStanding::Unseen(format!(
            "the peer answers at {} but DRBD is not connected to it",
            probe.address
        )),
        (_, None) if all_silent => PeerStanding::Dead(format!(
            "DRBD is not connected and no address of the peer answers ({})",
            list(addresses)
        )),
        // A direct cable loses its carrier together with the peer, but so does a port of our own that fails: a witness
        // tells which.
        (_, None) => match witness {
            Some(witness) if any_silent => PeerStanding::Dead(format!(
                "DRBD is not connected, the peer does not answer ({}), and witness {} shows that this node is not cut off",
                list(addresses),
                witness.address
            )),
            _ => PeerStanding::NoEvidence(format!(
                "DRBD is not connected and not every address of the peer could be asked ({})",
                list(addresses)
            )),
        },
    }
}

/// Whether anything of the peer answered in this look, or somebody else has the virtual IP.
pub fn answers(observation: &Observation) -> bool {
    let answered = |answer: &Fact<Option<_>>| matches!(answer, Fact::Known(Some(_)));
    observation.peer.addresses.iter().any(|probe| answered(&probe.answer))
        || answered(&observation.vip.answer)
}

/// Whether neither the peer nor any of the witnesses answered in this look: it may be this node that is cut off.
pub fn hears_nobody(observation: &Observation) -> bool {
    !answers(observation) && super::fence_peer::isolated(observation).is_some()
}

fn is_silent(probe: &AddressProbe) -> bool {
    matches!(probe.answer, Fact::Known(None))
}

fn list(addresses: &[AddressProbe]) -> String {
    addresses
        .iter()
        .map(|probe| match &probe.answer {
            Fact::Known(None) => format!("{} silent", probe.address),
            Fact::Known(Some(_)) => format!("{} answers", probe.address),
            Fact::Unknown(cause) => format!("{} not learnt: {cause}", probe.address),
        })
        .collect::<Vec<_>>()
        .join(", ")
}
