//! The parts of an observation in the form that is told: flat, without command lines, process ids and hardware addresses.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::observation::{
    AddressProbe, Answer, Connection, Disk, Drbd, DrbdGeneration, Fact, Mount, Mysqld, MysqldAnswer,
    Replication, Role, Vip,
};

/// Something seen; or, as `{"unknown": CAUSE}`, why it was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Seen<T> {
    /// Seen.
    Known(T),
    /// Not seen.
    Unknown {
        /// The cause, in one sentence.
        unknown: String,
    },
}

impl<T> Seen<T> {
    /// What is told of a fact.
    pub fn of<F>(fact: &Fact<F>, tell: impl FnOnce(&F) -> T) -> Self {
        match fact {
            Fact::Known(value) => Seen::Known(tell(value)),
            Fact::Unknown(cause) => Seen::Unknown { unknown: cause.clone() },
        }
    }

    /// The value when it was seen.
    pub fn known(&self) -> Option<&T> {
        match self {
            Seen::Known(value) => Some(value),
            Seen::Unknown { .. } => None,
        }
    }
}

/// The DRBD resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrbdSeen {
    /// Kernel module generation.
    pub generation: DrbdGeneration,
    /// Our role.
    pub role: Role,
    /// The peer's, as last heard.
    pub peer_role: Role,
    /// Connection to the peer.
    pub connection: Connection,
    /// What is replicated.
    pub replication: Replication,
    /// Our disk.
    pub disk: Disk,
    /// The peer's, as last heard.
    pub peer_disk: Disk,
    /// Percentage in sync while a resync runs.
    pub resync_percent: Option<u8>,
    /// All I/O is held back.
    pub io_suspended: bool,
}

impl DrbdSeen {
    pub(super) fn of(drbd: &Drbd) -> Self {
        Self {
            generation: drbd.generation,
            role: drbd.role,
            peer_role: drbd.peer_role,
            connection: drbd.connection,
            replication: drbd.replication,
            disk: drbd.disk,
            peer_disk: drbd.peer_disk,
            resync_percent: drbd.resync_percent,
            io_suspended: drbd.io_suspended,
        }
    }
}

/// The data file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountSeen {
    /// The configured device is what is mounted at the data directory.
    pub mounted: bool,
    /// It is mounted there read-only.
    pub read_only: bool,
    /// The source of what is mounted there, whatever it is.
    pub source: Option<String>,
}

impl MountSeen {
    pub(super) fn of(mount: &Mount) -> Self {
        let ours = mount.at_directory.as_ref().filter(|mounted| mounted.is_our_device);
        Self {
            mounted: ours.is_some(),
            read_only: ours.is_some_and(|mounted| mounted.read_only),
            source: mount.at_directory.as_ref().map(|mounted| mounted.source.clone()),
        }
    }
}

/// The database server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MysqldSeen {
    /// How many processes have the data directory as theirs.
    pub processes: usize,
    /// What its socket answered; nothing is asked when there is no process.
    pub answer: MysqldAnswer,
}

impl MysqldSeen {
    pub(super) fn of(mysqld: &Mysqld) -> Self {
        Self { processes: mysqld.processes.len(), answer: mysqld.answer.clone() }
    }

    /// Whether it runs and answers; one that is full answers, too.
    pub fn is_up(&self) -> bool {
        self.processes > 0 && matches!(self.answer, MysqldAnswer::Ready | MysqldAnswer::Busy)
    }
}

/// The virtual IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VipSeen {
    /// The interface of this node that carries it, if any.
    pub interface: Seen<Option<String>>,
    /// Whether somebody else answers for it.
    pub answered_elsewhere: Seen<bool>,
}

impl VipSeen {
    pub(super) fn of(vip: &Vip) -> Self {
        Self {
            interface: Seen::of(&vip.here, Clone::clone),
            answered_elsewhere: Seen::of(&vip.answer, Option::is_some),
        }
    }
}

/// An address that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressSeen {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it answered, to ICMP or ARP.
    pub answers: Seen<bool>,
}

impl AddressSeen {
    pub(super) fn of(probe: &AddressProbe) -> Self {
        Self { address: probe.address, answers: Seen::of(&probe.answer, Option::<Answer>::is_some) }
    }
}
