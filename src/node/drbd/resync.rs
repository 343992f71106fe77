//! How far a resync is, and following it until both copies are equal.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{State, drbdsetup, look, minor_of};
use crate::failure::Failure;
use crate::node::{Applied, Attempt};
use crate::observation::{Connection, Disk, Replication};

/// Between two looks; on DRBD 9 each costs two processes.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(2);
/// The speed is that of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(10);
/// The least time for a look.
const LOOK_LIMIT: Duration = Duration::from_millis(500);
/// A connection that is refused at the handshake comes and goes; StandAlone for so long is its end.
const LASTS: Duration = Duration::from_secs(1);

/// What this node's bitmap counts as different from the peer's copy, in KiB. While the peer is not connected it is what this
/// node has changed alone; while a resync runs, what is left of it.
///
/// # Errors
/// In one sentence why it could not be learnt.
pub fn out_of_sync_kib(resource: &str, device: &Path, limit: Duration) -> Result<u64, String> {
    let text = fs::read_to_string("/proc/drbd").map_err(|error| format!("/proc/drbd: {error}"))?;
    if text.starts_with("version: 8.4") {
        let minor = minor_of(device)?.ok_or_else(|| format!("{} does not exist", device.display()))?;
        return of_proc_file(&text, minor).ok_or_else(|| format!("DRBD resource {resource} is down"));
    }
    let finished = drbdsetup(&["status", resource, "--json", "--statistics"], limit)?;
    of_status_json(&finished.stdout, resource)
}

/// The `oos` of a minor: "ns:0 nr:0 … oos:306688".
pub(crate) fn of_proc_file(text: &str, minor: u32) -> Option<u64> {
    let mut lines = text.lines();
    let begins = format!("{minor}: cs:");
    lines.by_ref().find(|line| line.trim_start().starts_with(&begins))?;
    let counters = lines.next()?;
    counters.split_whitespace().find_map(|field| field.strip_prefix("oos:")?.parse().ok())
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    connections: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    peer_devices: Vec<PeerDevice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PeerDevice {
    out_of_sync: u64,
}

fn of_status_json(text: &str, resource: &str) -> Result<u64, String> {
    let resources: Vec<Resource> = serde_json::from_str(text)
        .map_err(|error| format!("the output of drbdsetup status is not understood: {error}"))?;
    let found = resources.into_iter().find(|one| one.name == resource);
    let found = found.ok_or_else(|| format!("DRBD resource {resource} is down"))?;
    if found.connections.is_empty() {
        return Err(format!("DRBD resource {resource} has no peer configured"));
    }
    Ok(found.connections.iter().flat_map(|peer| &peer.peer_devices).map(|device| device.out_of_sync).sum())
}

/// Waits until both copies are equal. The limit starts again whenever the resync, or the way to the connection, moves.
///
/// # Errors
/// `Refused` when DRBD gives the connection up (a split brain, mostly); `TimedOut` when nothing moves any more; `Failed` when
/// this node's disk is gone.
pub fn follow_resync(
    resource: &str,
    device: &Path,
    peer: &str,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let begun = Instant::now();
    let mut speed = Speed::default();
    let mut last: Option<(Connection, Replication, Disk, Disk, Option<u64>)> = None;
    let mut told: Option<Instant> = None;
    let mut alone_since: Option<Instant> = None;
    let mut most = 0;
    loop {
        let limit = attempt.remaining().max(LOOK_LIMIT);
        let state = look(resource, device, limit).map_err(|cause| unknown(resource, &cause))?;
        let connected = state.connection == Connection::Connected;
        if connected && state.disk == Disk::UpToDate && state.peer_disk == Disk::UpToDate {
            let took = begun.elapsed().as_secs_f64();
            let applied = if last.is_none() { Applied::already_so() } else { Applied::done() };
            return Ok(if most == 0 {
                applied
            } else {
                applied.note(format!("{} resynced in {took:.1} s", amount(most)))
            });
        }
        if state.connection == Connection::StandAlone {
            let since = *alone_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= LASTS {
                return Err(given_up(resource));
            }
        } else {
            alone_since = None;
        }
        if state.disk == Disk::Diskless && state.connection != Connection::Unconfigured {
            return Err(Failure::failed(
                format!("DRBD resource {resource} has lost its disk here"),
                "this node has no copy of the data any more",
                "see dmesg; replace the disk if it failed, then: drbdadm attach RESOURCE"
                    .replace("RESOURCE", resource),
            ));
        }
        let resyncs = matches!(state.replication, Replication::SyncSource | Replication::SyncTarget);
        let left = if resyncs { out_of_sync_kib(resource, device, limit).ok() } else { None };
        most = most.max(left.unwrap_or(0));
        if let Some(left) = left {
            speed.saw(left, Instant::now());
        }
        let seen = (state.connection, state.replication, state.disk, state.peer_disk, left);
        if last != Some(seen) {
            attempt.moved();
            last = Some(seen);
        }
        if attempt.is_cancelled() || attempt.remaining().is_zero() {
            return Err(stalled(resource, peer, &state, left, attempt.limit()));
        }
        if told.is_none_or(|told| told.elapsed() >= REPORT) {
            told = Some(Instant::now());
            attempt.report(&progress(&state, peer, left, &speed));
        }
        thread::sleep(LOOK_AGAIN.min(attempt.remaining()));
    }
}

fn progress(state: &State, peer: &str, left: Option<u64>, speed: &Speed) -> String {
    let Some(left) = left else {
        return match state.connection {
            Connection::Connected => {
                format!("connected to {peer} ({:?}, {:?})", state.replication, state.disk)
            }
            other => format!("waits for {peer} ({other:?})"),
        };
    };
    let percent = state.resync_percent.map(|percent| format!("{percent} %, ")).unwrap_or_default();
    let eta = speed.eta(left).map_or_else(String::new, |(kib_per_second, eta)| {
        let eta = humantime::format_duration(Duration::from_secs(eta.as_secs_f64().ceil() as u64));
        format!(" at {}/s, about {eta} more", amount(kib_per_second))
    });
    let way = if state.replication == Replication::SyncSource { "to" } else { "from" };
    format!("resync {way} {peer}: {percent}{} left{eta}", amount(left))
}

/// In the unit that people read.
fn amount(kib: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    match kib as f64 {
        kib if kib >= 1024.0 * 1024.0 => format!("{:.1} GiB", kib / 1024.0 / 1024.0),
        kib if kib >= 1024.0 => format!("{:.1} MiB", kib / 1024.0),
        kib => format!("{kib:.0} KiB"),
    }
}

/// How fast what is left becomes less.
#[derive(Debug, Default)]
struct Speed {
    seen: VecDeque<(Instant, u64)>,
}

impl Speed {
    fn saw(&mut self, left: u64, now: Instant) {
        // A new resync begins with more than the last one had left.
        if self.seen.back().is_some_and(|(_, before)| *before < left) {
            self.seen.clear();
        }
        self.seen.push_back((now, left));
        while self.seen.len() > 2 && now.saturating_duration_since(self.seen[1].0) >= WINDOW {
            self.seen.pop_front();
        }
    }

    /// KiB a second, and the time that the rest takes at that speed.
    fn eta(&self, left: u64) -> Option<(u64, Duration)> {
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        let took = last.0.saturating_duration_since(first.0).as_secs_f64();
        let done = first.1.saturating_sub(last.1);
        if done == 0 || took < 0.5 {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let speed = done as f64 / took;
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        Some((speed as u64, Duration::try_from_secs_f64(left as f64 / speed).ok()?))
    }
}

fn given_up(resource: &str) -> Failure {
    Failure::refused(
        format!(
            "DRBD resource {resource} went StandAlone: it met its peer and gave the connection up, or somebody did"
        ),
        "as a rule that is a split brain, and only one side's commits can be kept",
        "standin rejoin, typed again, says what happened and shows both choices",
    )
}

fn stalled(resource: &str, peer: &str, state: &State, left: Option<u64>, limit: Duration) -> Failure {
    let left = left.map(|left| format!(", {} left", amount(left))).unwrap_or_default();
    let limit = humantime::format_duration(limit);
    let next = if state.connection == Connection::Connected {
        format!(
            "see the disks and the link: dmesg | tail; drbdadm status {resource}; the resync goes on by itself"
        )
    } else {
        format!(
            "see that {peer} is up and listens: on {peer}: drbdadm status {resource}; drbdadm connect {resource}"
        )
    };
    Failure::timed_out(
        format!(
            "nothing has moved for {limit}: {:?}, {:?}, {:?} here and {:?} on {peer}{left}",
            state.connection, state.replication, state.disk, state.peer_disk
        ),
        "until both copies are equal this node can't take over",
        next,
    )
}

fn unknown(resource: &str, cause: &str) -> Failure {
    Failure::failed(
        format!("the state of DRBD resource {resource} can't be learnt: {cause}"),
        "whether the copies are equal is not known",
        format!("see: cat /proc/drbd; drbdadm status {resource}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_sync_is_read_of_both_generations() {
        let proc_file = include_str!("../../../tests/captured/drbd-8.4/synctarget/proc-drbd");
        assert_eq!(of_proc_file(proc_file, 0), Some(307_200));
        assert_eq!(of_proc_file(proc_file, 1), None);
        let split = include_str!("../../../tests/captured/drbd-8.4/split-brain/proc-drbd");
        assert_eq!(of_proc_file(split, 0), Some(4));
        let json = include_str!("../../../tests/captured/drbd-9/sync-target.json");
        assert_eq!(of_status_json(&json.replace("\"out-of-sync\": 0", "\"out-of-sync\": 52"), "r0"), Ok(52));
        assert!(of_status_json(json, "r1").unwrap_err().contains("is down"));
        assert!(of_status_json("", "r0").is_err());
    }

    #[test]
    fn the_time_that_is_left_follows_the_speed_of_the_last_seconds() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut speed = Speed::default();
        speed.saw(100_000, at(0));
        assert_eq!(speed.eta(100_000), None);
        speed.saw(90_000, at(1));
        assert_eq!(speed.eta(90_000), Some((10_000, Duration::from_secs(9))));
        // It becomes slower: after a while only the new speed counts.
        for second in 2..=20 {
            speed.saw(90_000 - (second - 1) * 1000, at(second));
        }
        assert_eq!(speed.eta(71_000).unwrap().0, 1000);
        speed.saw(500_000, at(21));
        assert_eq!(speed.eta(500_000), None, "another resync");
    }

    #[test]
    fn amounts_are_for_people() {
        assert_eq!([4, 2048, 3 * 1024 * 1024].map(amount), ["4 KiB", "2.0 MiB", "3.0 GiB"]);
    }
}
