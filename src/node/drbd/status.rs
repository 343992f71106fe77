//! `drbdsetup status RESOURCE --json --statistics` of DRBD 9.
//!
//! Source of the schema: `resource_status_json`, `device_status_json`, `connection_status_json` and
//! `peer_device_status_json` in `user/v9/drbdsetup.c` of drbd-utils. The members that newer versions added have defaults.

use serde::Deserialize;

use super::{ParseError, State, words};
use crate::observation::{Connection, Disk, DrbdGeneration, Replication, Role};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Resource {
    name: String,
    role: String,
    suspended: YesNo,
    #[serde(default)]
    suspended_quorum: YesNo,
    #[serde(default)]
    force_io_failures: YesNo,
    devices: Vec<Device>,
    connections: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Device {
    minor: u32,
    disk_state: String,
    quorum: Option<bool>,
    #[serde(default)]
    lower_pending: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Peer {
    peer_node_id: u32,
    name: String,
    connection_state: String,
    peer_role: String,
    // Alone among its siblings this one is spelt with an underscore.
    #[serde(rename = "peer_devices")]
    peer_devices: Vec<PeerDevice>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PeerDevice {
    replication_state: String,
    peer_disk_state: String,
    percent_in_sync: Option<f64>,
    #[serde(default)]
    pending: u64,
}

/// `true`, or the word that some versions print instead (`no`, `user`, `fencing`…).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum YesNo {
    Flag(bool),
    Word(String),
}

impl Default for YesNo {
    fn default() -> Self {
        YesNo::Flag(false)
    }
}

impl YesNo {
    fn is_yes(&self) -> bool {
        match self {
            YesNo::Flag(flag) => *flag,
            YesNo::Word(word) => word != "no",
        }
    }
}

/// What `drbdsetup status --json` tells of one resource on 9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status9 {
    /// The state; with several volumes the worst of each kind.
    pub state: State,
    /// The minors of its volumes.
    pub minors: Vec<u32>,
}

/// Parses the output of `drbdsetup status RESOURCE --json`.
///
/// # Errors
/// When `resource` is not in it, has more than one peer, or the text is cut off or holds a word that is not known.
pub fn parse_status_json(text: &str, resource: &str) -> Result<Status9, ParseError> {
    let resources: Vec<Resource> = serde_json::from_str(text)
        .map_err(|error| ParseError::Json { what: "drbdsetup status --json", message: error.to_string() })?;
    let found = resources
        .into_iter()
        .find(|candidate| candidate.name == resource)
        .ok_or_else(|| ParseError::NoSuchResource(resource.to_owned()))?;
    if found.connections.len() > 1 {
        return Err(ParseError::SeveralPeers(found.connections.into_iter().map(|peer| peer.name).collect()));
    }
    let mut disk = None;
    for device in &found.devices {
        disk = worst(disk, words::disk(&device.disk_state)?);
    }
    let mut state = State {
        generation: DrbdGeneration::Nine,
        connection: Connection::StandAlone,
        replication: Replication::Off,
        role: words::role(&found.role)?,
        peer_role: Role::Unknown,
        disk: disk.unwrap_or(Disk::Diskless),
        peer_disk: Disk::Unknown,
        resync_percent: None,
        // Without quorum writes are frozen or fail, as configured: either way this side can't serve.
        io_suspended: found.suspended.is_yes()
            || found.suspended_quorum.is_yes()
            || found.force_io_failures.is_yes()
            || found.devices.iter().any(|device| device.quorum == Some(false)),
        writes_wait_for_peer: false,
        peer_node_id: None,
    };
    if let Some(peer) = found.connections.first() {
        add_peer(&mut state, peer)?;
        let disks_are_idle = found.devices.iter().all(|device| device.lower_pending == Some(0));
        state.writes_wait_for_peer =
            disks_are_idle && peer.peer_devices.iter().any(|device| device.pending > 0);
    }
    Ok(Status9 { state, minors: found.devices.iter().map(|device| device.minor).collect() })
}

fn add_peer(state: &mut State, peer: &Peer) -> Result<(), ParseError> {
    state.peer_node_id = Some(peer.peer_node_id);
    state.peer_role = words::role(&peer.peer_role)?;
    state.connection = match words::connection(&peer.connection_state)? {
        // Between the transport's connecting and the exchange of states the roles are not known.
        (Connection::Connected, Replication::Established) if state.peer_role == Role::Unknown => {
            Connection::Handshake
        }
        (Connection::Connected, Replication::Established) => Connection::Connected,
        (Connection::Connected, _) => {
            let word = peer.connection_state.clone();
            return Err(ParseError::UnknownWord { what: "connection state", word });
        }
        (connection, _) => connection,
    };
    let mut disk = None;
    let mut replications = Vec::new();
    for device in &peer.peer_devices {
        disk = worst(disk, words::disk(&device.peer_disk_state)?);
        let replication = words::replication(&device.replication_state)?;
        if matches!(replication, Replication::SyncSource | Replication::SyncTarget) {
            let percent = device.percent_in_sync.map(|percent| percent.clamp(0.0, 100.0) as u8);
            state.resync_percent = state.resync_percent.into_iter().chain(percent).min();
        }
        replications.push(replication);
    }
    state.peer_disk = disk.unwrap_or(Disk::Unknown);
    state.replication = whole_resource(&replications);
    Ok(())
}

/// One word for all volumes: the one that stands most in the way.
fn whole_resource(volumes: &[Replication]) -> Replication {
    let order = [
        Replication::SyncTarget,
        Replication::Other,
        Replication::SyncSource,
        Replication::Verifying,
        Replication::Off,
        Replication::Established,
    ];
    let Some(first) = order.into_iter().find(|candidate| volumes.contains(candidate)) else {
        return Replication::Off;
    };
    let mixed = first == Replication::Off && volumes.contains(&Replication::Established);
    if mixed { Replication::Other } else { first }
}

fn worst(so_far: Option<Disk>, next: Disk) -> Option<Disk> {
    let rank = |disk: Disk| match disk {
        Disk::UpToDate => 0,
        Disk::Consistent => 1,
        Disk::Outdated => 2,
        Disk::Inconsistent => 3,
        Disk::Diskless => 4,
        Disk::Changing => 5,
        Disk::Unknown => 6,
    };
    Some(match so_far {
        Some(disk) if rank(disk) >= rank(next) => disk,
        _ => next,
    })
}
