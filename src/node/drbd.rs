//! DRBD 8.4 and 9: what state a resource is in, and the four commands that change it.
//!
//! On 8.4 the state comes from `/proc/drbd`, without a process; on 9 from `drbdsetup status --json`. `drbdsetup` is
//! called directly: `drbdadm` parses the whole configuration first, and its `disconnect` waits five seconds for a dead
//! peer. Only connecting again goes through `drbdadm`, because it needs the configured network options.

mod apply;
mod configure;
mod discard;
mod divergence;
mod proc_file;
mod refusal;
mod resync;
mod show;
mod status;
mod words;

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

pub use apply::{apply_connect, apply_demote, apply_disconnect, apply_promote};
pub use configure::{bring_down, bring_up};
pub use discard::discard_my_data;
pub use divergence::divergence;
pub use proc_file::{ProcDrbd, parse_proc_drbd};
pub use resync::{follow_resync, out_of_sync_kib};
pub use show::{Show84, parse_show_84};
pub use status::{Status9, parse_status_json};

use super::command::{self, Finished};
use crate::observation::{Connection, Disk, Drbd, DrbdCommands, DrbdGeneration, Fact, Replication, Role};

/// Block device major number of DRBD (the kernel's `Documentation/admin-guide/devices.txt`).
const DRBD_MAJOR: u64 = 147;

/// The state of a resource, without the commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Kernel module generation.
    pub generation: DrbdGeneration,
    /// Connection to the peer.
    pub connection: Connection,
    /// What is replicated.
    pub replication: Replication,
    /// Our role.
    pub role: Role,
    /// The peer's, as last heard.
    pub peer_role: Role,
    /// Our disk.
    pub disk: Disk,
    /// The peer's, as last heard.
    pub peer_disk: Disk,
    /// Percentage in sync while a resync runs, rounded down.
    pub resync_percent: Option<u8>,
    /// All I/O is held back, or would fail.
    pub io_suspended: bool,
    /// Writes wait for the peer, and none for our disk.
    pub writes_wait_for_peer: bool,
    /// 9: the peer's node id.
    pub peer_node_id: Option<u32>,
}

/// Why DRBD's output could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It ends too early.
    #[error("the output of {0} is cut off")]
    CutOff(&'static str),
    /// A line of another shape.
    #[error("{what} holds a line that is not understood: {line:?}")]
    Malformed {
        /// Whose output.
        what: &'static str,
        /// The line.
        line: String,
    },
    /// A state that this version of standin does not know.
    #[error("DRBD reports a {what} that is not known: {word:?}")]
    UnknownWord {
        /// What kind of word.
        what: &'static str,
        /// The word.
        word: String,
    },
    /// Neither 8.4 nor 9.
    #[error("DRBD {0} is neither 8.4 nor 9")]
    UnsupportedVersion(String),
    /// Not JSON, or not of DRBD's schema.
    #[error("the output of {what} is not understood: {message}")]
    Json {
        /// Whose output.
        what: &'static str,
        /// What the JSON parser said.
        message: String,
    },
    /// The resource is not there.
    #[error("DRBD does not know the resource {0}; it is down, or the name is misspelt")]
    NoSuchResource(String),
    /// More than two nodes.
    #[error("the resource has several peers ({}), and standin serves two-node clusters only", .0.join(", "))]
    SeveralPeers(Vec<String>),
}

/// One look at a resource. On 8.4 it starts one process (for the addresses), on 9 one (for everything).
///
/// `commands.disconnect` is empty when there is no connection to give up: on 8.4 `drbdsetup show` has no addresses
/// while the resource is `StandAlone`, and then nothing needs to be disconnected.
pub fn observe(resource: &str, device: &Path, limit: Duration) -> Fact<Drbd> {
    learn(resource, device, limit).into()
}

/// The state alone, without the commands that change it: no process on 8.4, so that nothing waits for a command that DRBD
/// holds up.
pub fn observe_state(resource: &str, device: &Path, limit: Duration) -> Fact<Drbd> {
    look(resource, device, limit).map(|state| with_commands(state, no_commands(resource))).into()
}

fn learn(resource: &str, device: &Path, limit: Duration) -> Result<Drbd, String> {
    let deadline = Instant::now() + limit;
    let state = look(resource, device, limit)?;
    let commands = match state.generation {
        _ if state.connection == Connection::Unconfigured => no_commands(resource),
        DrbdGeneration::NotLoaded => no_commands(resource),
        DrbdGeneration::Eight => {
            let show = show_84(resource, deadline.saturating_duration_since(Instant::now()))?;
            let minor = minor_of(device)?.ok_or_else(|| format!("{} has just gone", device.display()))?;
            same_resource(resource, device, minor, &show.minors)?;
            commands_84(resource, minor, &show)
        }
        DrbdGeneration::Nine => commands_9(resource, state.peer_node_id),
    };
    Ok(with_commands(state, commands))
}

/// A resource that is down has nothing to be disconnected, promoted or demoted.
fn no_commands(resource: &str) -> DrbdCommands {
    DrbdCommands {
        disconnect: Vec::new(),
        promote: Vec::new(),
        demote: Vec::new(),
        connect: argv(&["drbdadm", "connect", resource]),
    }
}

fn with_commands(state: State, commands: DrbdCommands) -> Drbd {
    Drbd {
        generation: state.generation,
        connection: state.connection,
        replication: state.replication,
        role: state.role,
        peer_role: state.peer_role,
        disk: state.disk,
        peer_disk: state.peer_disk,
        resync_percent: state.resync_percent,
        io_suspended: state.io_suspended,
        writes_wait_for_peer: state.writes_wait_for_peer,
        commands,
    }
}

/// The state as cheaply as it can be had: on 8.4 without a process.
fn look(resource: &str, device: &Path, limit: Duration) -> Result<State, String> {
    let text = match fs::read_to_string("/proc/drbd") {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(State::unconfigured(DrbdGeneration::NotLoaded));
        }
        Err(error) => return Err(format!("/proc/drbd can't be read: {error}")),
    };
    let proc_drbd = parse_proc_drbd(&text).map_err(|error| error.to_string())?;
    let minor = minor_of(device)?;
    match proc_drbd.generation {
        DrbdGeneration::Eight => {
            let state = minor.and_then(|minor| proc_drbd.minors.get(&minor).cloned());
            Ok(state.unwrap_or_else(|| State::unconfigured(DrbdGeneration::Eight)))
        }
        generation @ DrbdGeneration::NotLoaded => Ok(State::unconfigured(generation)),
        DrbdGeneration::Nine => {
            let finished = drbdsetup(&["status", resource, "--json", "--statistics"], limit)?;
            status_9(&finished, resource, device, minor)
        }
    }
}

/// Judges a finished `drbdsetup status`: it prints an empty list and exits 10 when the resource is down.
fn status_9(finished: &Finished, resource: &str, device: &Path, minor: Option<u32>) -> Result<State, String> {
    match parse_status_json(&finished.stdout, resource) {
        Ok(_) if !finished.succeeded() => Err(finished.describe()),
        Ok(status) => {
            let minor = minor.ok_or_else(|| {
                format!("the resource {resource} is up, but {} does not exist", device.display())
            })?;
            same_resource(resource, device, minor, &status.minors)?;
            Ok(status.state)
        }
        Err(ParseError::NoSuchResource(_)) if matches!(finished.code, Some(0 | 10)) => {
            Ok(State::unconfigured(DrbdGeneration::Nine))
        }
        Err(_) if !finished.succeeded() => Err(finished.describe()),
        Err(error) => Err(error.to_string()),
    }
}

fn show_84(resource: &str, limit: Duration) -> Result<Show84, String> {
    let finished = drbdsetup(&["show", resource], limit)?;
    if !finished.succeeded() {
        return Err(finished.describe());
    }
    parse_show_84(&finished.stdout, resource).map_err(|error| error.to_string())
}

fn drbdsetup(arguments: &[&str], limit: Duration) -> Result<Finished, String> {
    let mut command = argv(&["drbdsetup"]);
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    command::run(&command, limit).map_err(|error| error.to_string())
}

fn same_resource(resource: &str, device: &Path, minor: u32, minors: &[u32]) -> Result<(), String> {
    if minors.contains(&minor) {
        return Ok(());
    }
    let minors: Vec<String> = minors.iter().map(u32::to_string).collect();
    Err(format!(
        "{} is DRBD minor {minor}, but the resource {resource} consists of minor {}: the configured device and resource \
         do not belong together",
        device.display(),
        if minors.is_empty() { "none".to_owned() } else { minors.join(", ") }
    ))
}

/// The minor number of a DRBD device or a symlink to one; `None` when it does not exist (the resource is down).
fn minor_of(device: &Path) -> Result<Option<u32>, String> {
    let metadata = match fs::metadata(device) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} can't be looked at: {error}", device.display())),
    };
    let number = metadata.rdev();
    if !metadata.file_type().is_block_device() || nix::sys::stat::major(number) != DRBD_MAJOR {
        return Err(format!("{} is not a DRBD device (block device, major {DRBD_MAJOR})", device.display()));
    }
    let minor = nix::sys::stat::minor(number);
    u32::try_from(minor).map(Some).map_err(|_| format!("{} has minor {minor}", device.display()))
}

fn commands_84(resource: &str, minor: u32, show: &Show84) -> DrbdCommands {
    let minor = minor.to_string();
    DrbdCommands {
        disconnect: match (&show.local, &show.peer) {
            (Some(local), Some(peer)) => argv(&["drbdsetup", "disconnect", local, peer, "--force"]),
            _ => Vec::new(),
        },
        promote: argv(&["drbdsetup", "primary", &minor]),
        demote: argv(&["drbdsetup", "secondary", &minor]),
        connect: argv(&["drbdadm", "connect", resource]),
    }
}

fn commands_9(resource: &str, peer_node_id: Option<u32>) -> DrbdCommands {
    DrbdCommands {
        disconnect: peer_node_id.map_or_else(Vec::new, |id| {
            argv(&["drbdsetup", "disconnect", resource, &id.to_string(), "--force"])
        }),
        promote: argv(&["drbdsetup", "primary", resource]),
        demote: argv(&["drbdsetup", "secondary", resource]),
        connect: argv(&["drbdadm", "connect", resource]),
    }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests;
