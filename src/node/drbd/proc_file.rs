//! `/proc/drbd`: the generation of the module and, on 8.4, the full state without starting a process.
//!
//! Source of the format: `drbd_seq_show` in `drivers/block/drbd/drbd_proc.c` of the kernel.

use std::collections::BTreeMap;

use super::{ParseError, State, words};
use crate::observation::{Connection, Disk, DrbdGeneration, Replication, Role};

/// What `/proc/drbd` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcDrbd {
    /// Generation of the loaded module.
    pub generation: DrbdGeneration,
    /// Its full version, such as `8.4.11`.
    pub version: String,
    /// 8.4: the state of each minor. 9 does not show it here.
    pub minors: BTreeMap<u32, State>,
}

/// Parses the text of `/proc/drbd`.
///
/// # Errors
/// When it is cut off, or holds a word that this version does not know.
pub fn parse_proc_drbd(text: &str) -> Result<ProcDrbd, ParseError> {
    if !text.ends_with('\n') {
        return Err(ParseError::CutOff("/proc/drbd"));
    }
    let mut lines = text.lines().peekable();
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version: "))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or_else(|| ParseError::Malformed { what: "/proc/drbd", line: first_line(text) })?
        .to_owned();
    let generation = match version.split('.').collect::<Vec<_>>()[..] {
        ["8", "4", _] => DrbdGeneration::Eight,
        ["9", _, ..] => DrbdGeneration::Nine,
        _ => return Err(ParseError::UnsupportedVersion(version)),
    };
    let mut minors = BTreeMap::new();
    while let Some(line) = lines.next() {
        let Some((minor, rest)) = device_line(line) else { continue };
        let malformed = || ParseError::Malformed { what: "/proc/drbd", line: line.to_owned() };
        let mut state = if rest == "cs:Unconfigured" {
            State::unconfigured(generation)
        } else {
            let mut state = device_state(rest, generation).ok_or_else(malformed)??;
            // The statistics always follow; without them the text was cut off.
            let statistics = lines
                .next()
                .filter(|next| next.trim_start().starts_with("ns:") && count(next, "oos:").is_some())
                .ok_or(ParseError::CutOff("/proc/drbd"))?;
            // Requests that our disk has not completed, and those that the peer has not answered.
            let (local, peer) = (count(statistics, "lo:"), count(statistics, "pe:"));
            state.writes_wait_for_peer = local == Some(0) && peer.is_some_and(|peer| peer > 0);
            state
        };
        while let Some(detail) = lines.peek().filter(|next| device_line(next).is_none()) {
            if let Some(percent) = synced_percent(detail) {
                state.resync_percent = Some(percent);
            }
            lines.next();
        }
        if minors.insert(minor, state).is_some() {
            return Err(malformed());
        }
    }
    Ok(ProcDrbd { generation, version, minors })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// `" 0: cs:Connected …"` → the minor and the rest.
fn device_line(line: &str) -> Option<(u32, &str)> {
    let (minor, rest) = line.trim_start().split_once(": ")?;
    let rest = rest.trim_end();
    rest.starts_with("cs:").then_some(())?;
    Some((minor.parse().ok()?, rest))
}

/// `cs:… ro:…/… ds:…/… C r-----`; `None` when the shape is wrong.
fn device_state(text: &str, generation: DrbdGeneration) -> Option<Result<State, ParseError>> {
    let mut fields = text.split_whitespace();
    let connection = fields.next()?.strip_prefix("cs:")?;
    let (role, peer_role) = fields.next()?.strip_prefix("ro:")?.split_once('/')?;
    let (disk, peer_disk) = fields.next()?.strip_prefix("ds:")?.split_once('/')?;
    // The protocol is a blank while there is no network configuration (StandAlone).
    let mut flags = fields.next()?;
    if matches!(flags, "A" | "B" | "C") {
        flags = fields.next()?;
    }
    // I/O suspended; sync paused by: after, peer, user; congestion; activity log suspended.
    let io_suspended = match flags.as_bytes() {
        [b'r', rest @ ..] if rest.len() >= 5 => false,
        [b's', rest @ ..] if rest.len() >= 5 => true,
        _ => return None,
    };
    if fields.next().is_some() {
        return None;
    }
    let parsed = || {
        let (connection, replication) = words::connection(connection)?;
        Ok(State {
            generation,
            connection,
            replication,
            role: words::role(role)?,
            peer_role: words::role(peer_role)?,
            disk: words::disk(disk)?,
            peer_disk: words::disk(peer_disk)?,
            resync_percent: None,
            io_suspended,
            writes_wait_for_peer: false,
            peer_node_id: None,
        })
    };
    Some(parsed())
}

fn count(statistics: &str, name: &str) -> Option<u64> {
    statistics
        .split_whitespace()
        .find_map(|field| field.strip_prefix(name))
        .and_then(|number| number.parse().ok())
}

/// `[=>....] sync'ed: 12.3% (…)` → 12, rounded down so that 100 means all of it.
fn synced_percent(line: &str) -> Option<u8> {
    let (_, rest) = line.split_once("sync'ed:")?;
    let (number, _) = rest.trim_start().split_once('%')?;
    let (whole, _) = number.split_once('.')?;
    whole.parse().ok().filter(|percent| *percent <= 100)
}

impl State {
    /// A resource or minor that the kernel does not know (`drbdadm down`).
    pub(super) fn unconfigured(generation: DrbdGeneration) -> Self {
        Self {
            generation,
            connection: Connection::Unconfigured,
            replication: Replication::Off,
            role: Role::Unknown,
            peer_role: Role::Unknown,
            disk: Disk::Diskless,
            peer_disk: Disk::Unknown,
            resync_percent: None,
            io_suspended: false,
            writes_wait_for_peer: false,
            peer_node_id: None,
        }
    }
}
