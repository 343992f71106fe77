//! What one look at this node saw. Immutable; what could not be learnt is [`Fact::Unknown`], never guessed.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something learnt, or why it could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact<T> {
    /// Learnt.
    Known(T),
    /// Not learnt, with the cause in one sentence.
    Unknown(String),
}

impl<T> Fact<T> {
    /// The value when it was learnt.
    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Unknown(_) => None,
        }
    }
}

impl<T> From<Result<T, String>> for Fact<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(value) => Fact::Known(value),
            Err(cause) => Fact::Unknown(cause),
        }
    }
}

/// Everything one look at this node saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The DRBD resource.
    pub drbd: Fact<Drbd>,
    /// The data file system.
    pub mount: Fact<Mount>,
    /// The database server.
    pub mysqld: Fact<Mysqld>,
    /// The virtual IP.
    pub vip: Vip,
    /// The other node, as far as the network shows it.
    pub peer: Peer,
    /// Hosts that tell us whether it is we who are cut off; empty when none is configured.
    pub witnesses: Vec<AddressProbe>,
    /// Whether the configured cluster manager runs here.
    pub cluster_manager: Fact<ClusterManagerState>,
    /// What the journal says of earlier runs.
    pub past: Past,
}

/// Which generation of DRBD the kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrbdGeneration {
    /// 8.4 (two nodes, `/proc/drbd` holds the full state).
    #[serde(rename = "8.4")]
    Eight,
    /// 9 (`drbdsetup status --json`).
    #[serde(rename = "9")]
    Nine,
    /// The module is not loaded, so that no resource can be configured.
    #[serde(rename = "not-loaded")]
    NotLoaded,
}

/// One DRBD resource seen from this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drbd {
    /// Kernel module generation.
    pub generation: DrbdGeneration,
    /// State of the connection to the peer.
    pub connection: Connection,
    /// What is being replicated while connected.
    pub replication: Replication,
    /// Our role.
    pub role: Role,
    /// The peer's role, as DRBD last heard it: stale for up to `ping-int` + `ping-timeout` after a power cut.
    pub peer_role: Role,
    /// Our disk.
    pub disk: Disk,
    /// The peer's disk, as DRBD last heard it.
    pub peer_disk: Disk,
    /// Percentage in sync while a resync runs.
    pub resync_percent: Option<u8>,
    /// True while DRBD holds back all I/O (a fence handler or an administrator suspended it).
    pub io_suspended: bool,
    /// Writes wait for the peer's answer, and none for the local disk, at the moment of the look: normal for a moment under load.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writes_wait_for_peer: bool,
    /// The exact commands that act on this resource on this generation.
    pub commands: DrbdCommands,
}

/// Command lines that act on the resource; the generation and the addresses decide their form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrbdCommands {
    /// Forced disconnect that does not wait for a dead peer.
    pub disconnect: Vec<String>,
    /// Promote to Primary, without force.
    pub promote: Vec<String>,
    /// Demote to Secondary.
    pub demote: Vec<String>,
    /// Listen for the peer again, with the configured network options.
    pub connect: Vec<String>,
}

/// Connection to the peer. 8.4's single word is split into this and [`Replication`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// The resource is not configured in the kernel (`down`).
    Unconfigured,
    /// Not trying to connect: an administrator, or a detected split brain.
    StandAlone,
    /// Trying to reach the peer (8.4: WFConnection, Unconnected; 9: Connecting, Unconnected).
    Connecting,
    /// The connection has just broken (Timeout, BrokenPipe, NetworkFailure, ProtocolError, TearDown, Disconnecting).
    Broken,
    /// Shaking hands (8.4: WFReportParams); roles are not known yet.
    Handshake,
    /// Connected.
    Connected,
}

/// Replication while connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replication {
    /// Not connected.
    Off,
    /// Every write goes to both.
    Established,
    /// A resync from here to the peer runs or is about to.
    SyncSource,
    /// A resync from the peer to here runs or is about to: our disk is inconsistent.
    SyncTarget,
    /// An online verify runs.
    Verifying,
    /// Any other state (Ahead, Behind, and states between): not a moment to act on.
    Other,
}

/// DRBD role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May be written.
    Primary,
    /// May not be opened for writing.
    Secondary,
    /// Not known (not connected, or not configured).
    Unknown,
}

/// DRBD disk state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// Current.
    UpToDate,
    /// Consistent, but whether it is current is not known without the peer.
    Consistent,
    /// Consistent and known to be older than the peer's.
    Outdated,
    /// A half-finished resync.
    Inconsistent,
    /// No disk attached, or it failed.
    Diskless,
    /// Between states (Attaching, Failed, Negotiating, Detaching).
    Changing,
    /// DUnknown: not connected to the peer.
    Unknown,
}

/// Mount state of the data directory's file system and of the DRBD device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted at the configured directory, the topmost when several are stacked.
    pub at_directory: Option<Mounted>,
    /// Other directories where the configured device is mounted.
    pub device_elsewhere: Vec<PathBuf>,
}

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// The source as mountinfo shows it.
    pub source: String,
    /// Whether it is the configured device (compared by device number, not by name).
    pub is_our_device: bool,
    /// File system type.
    pub filesystem: String,
    /// Whether the mount or its file system is read-only.
    pub read_only: bool,
}

/// The database server on the configured data directory, found by that directory and not by a pid file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mysqld {
    /// Processes that have the data directory as theirs.
    pub processes: Vec<MysqldProcess>,
    /// Whether it answers on its socket.
    pub answer: MysqldAnswer,
}

/// A mysqld or mariadbd process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqldProcess {
    /// Process id.
    pub pid: i32,
    /// Executable name.
    pub name: String,
    /// Its working directory, which is its data directory.
    pub directory: PathBuf,
    /// Whether its working directory lies on the configured device (false: it runs on something else).
    pub on_our_device: bool,
}

/// What the socket answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MysqldAnswer {
    /// A protocol handshake: it serves.
    Ready,
    /// Alive but full or blocking us (errors 1040, 1129, 1203).
    Busy,
    /// Nothing listens on the socket.
    Silent,
    /// It accepts but does not shake hands within the limit, or something else went wrong.
    Stalled(String),
}

/// The virtual IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The local interface that carries it, if any.
    pub here: Fact<Option<String>>,
    /// Who answers for it elsewhere. Not probed, and known to be nobody, while it is here.
    pub answer: Fact<Option<Answer>>,
}

/// An answer from the network for one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// It answered an ICMP echo.
    pub icmp: bool,
    /// The hardware address that answered ARP.
    pub arp: Option<String>,
}

/// The other node as the network shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Every configured address of the peer, the replication address first.
    pub addresses: Vec<AddressProbe>,
}

/// One address that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressProbe {
    /// The address.
    pub address: Ipv4Addr,
    /// Unknown when our own side could not ask (no route, no carrier, not permitted).
    pub answer: Fact<Option<Answer>>,
}

/// The cluster manager on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterManagerState {
    /// Process ids of its daemons; empty when it does not run (or none is configured).
    pub pids: Vec<i32>,
}

/// What the journal of this node says of earlier runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Past {
    /// Our own takeover disconnected DRBD and has not reconnected it since.
    pub we_disconnected_drbd: bool,
    /// Names of the steps that an unfinished takeover had started (it was killed before it ended).
    pub unfinished_takeover: Vec<String>,
}

/// A takeover of this node that promotes at this moment, as the journal shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnTakeover {
    /// On which ground it stands.
    pub reason: String,
    /// It judged that a peer which is not connected is out of the way, and did not rely on one that yielded while connected.
    pub peer_judged: bool,
    /// The fence command or a person confirmed that the peer is out of the way.
    pub confirmed: bool,
}
