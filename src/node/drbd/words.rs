//! DRBD's state words, as both generations print them, to our types. A word that is not known is an error, never a guess.
//!
//! Source: `drbd_strings.c` of the kernel modules.

use super::ParseError;
use crate::observation::{Connection, Disk, Replication, Role};

/// The connection state; 8.4 prints the replication state in the same place.
pub(super) fn connection(word: &str) -> Result<(Connection, Replication), ParseError> {
    Ok(match word {
        "StandAlone" => (Connection::StandAlone, Replication::Off),
        "Unconnected" | "WFConnection" | "Connecting" => (Connection::Connecting, Replication::Off),
        "Disconnecting" | "Timeout" | "BrokenPipe" | "NetworkFailure" | "ProtocolError" | "TearDown" => {
            (Connection::Broken, Replication::Off)
        }
        "WFReportParams" => (Connection::Handshake, Replication::Off),
        "Connected" => (Connection::Connected, Replication::Established),
        _ => (Connection::Connected, replication(word)?),
    })
}

/// The replication state of one volume.
pub(super) fn replication(word: &str) -> Result<Replication, ParseError> {
    Ok(match word {
        "Off" => Replication::Off,
        "Established" => Replication::Established,
        "StartingSyncS" | "WFBitMapS" | "SyncSource" | "PausedSyncS" => Replication::SyncSource,
        "StartingSyncT" | "WFBitMapT" | "WFSyncUUID" | "SyncTarget" | "PausedSyncT" => {
            Replication::SyncTarget
        }
        "VerifyS" | "VerifyT" => Replication::Verifying,
        "Ahead" | "Behind" => Replication::Other,
        _ => return Err(ParseError::UnknownWord { what: "connection state", word: word.to_owned() }),
    })
}

/// A role.
pub(super) fn role(word: &str) -> Result<Role, ParseError> {
    Ok(match word {
        "Primary" => Role::Primary,
        "Secondary" => Role::Secondary,
        "Unknown" => Role::Unknown,
        _ => return Err(ParseError::UnknownWord { what: "role", word: word.to_owned() }),
    })
}

/// A disk state.
pub(super) fn disk(word: &str) -> Result<Disk, ParseError> {
    Ok(match word {
        "UpToDate" => Disk::UpToDate,
        "Consistent" => Disk::Consistent,
        "Outdated" => Disk::Outdated,
        "Inconsistent" => Disk::Inconsistent,
        "Diskless" => Disk::Diskless,
        "Attaching" | "Detaching" | "Failed" | "Negotiating" => Disk::Changing,
        "DUnknown" => Disk::Unknown,
        _ => return Err(ParseError::UnknownWord { what: "disk state", word: word.to_owned() }),
    })
}
