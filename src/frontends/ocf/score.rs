//! The promotion score of this node's instance: which node Pacemaker promotes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::cli::directory;
use crate::node::pacemaker;
use crate::observation::{Connection, Disk, Drbd};

/// A current disk whose peer confirms it.
const CONNECTED: i32 = 1000;
/// A current disk without a peer.
const ALONE: i32 = 900;
/// A disk that may be current: a takeover wants the peer fenced first.
const PERHAPS: i32 = 50;
/// More for the active node, so that nothing moves because the other one is as good.
const SERVES: i32 = 100;
/// An active node on a disk that is not current: it serves over the network, and is not demoted for want of a score.
const SERVES_REMOTELY: i32 = 10;

/// The score of a disk; none forbids the promotion. `fence`: a fence command is configured.
pub(super) fn score(drbd: &Drbd, serves: bool, fence: bool) -> Option<i32> {
    let by_disk = match (drbd.connection, drbd.disk) {
        // Nobody but a person resolves a split brain.
        (Connection::StandAlone, _) if !serves => None,
        (Connection::Connected, Disk::UpToDate) => Some(CONNECTED),
        (_, Disk::UpToDate) => Some(ALONE),
        (_, Disk::Consistent) if fence => Some(PERHAPS),
        _ => None,
    };
    match by_disk {
        Some(score) if serves => Some(score + SERVES),
        None if serves => Some(SERVES_REMOTELY),
        score => score,
    }
}

/// Sets it when it is not what was set last. `always`: whatever was set last.
pub(super) fn publish(instance: &str, score: Option<i32>, always: bool, limit: Duration) {
    let file = directory("STANDIN_RUN_DIR", "/run/standin").join(format!("{instance}.score"));
    let keeper = pacemaker::run_of_score_keeper();
    let line = line(score, keeper);
    if !always && keeper.is_some() && written(&file).as_deref() == Some(&line) {
        return;
    }
    match pacemaker::set_promotion_score(instance, score, limit) {
        Ok(()) => remember(file, &line),
        // The next monitor tries again.
        Err(cause) => log::warn!("the promotion score is not set: {cause}"),
    }
}

/// The score and for which run of its keeper it was set.
fn line(score: Option<i32>, keeper: Option<u64>) -> String {
    let score = score.map_or_else(|| "none".to_owned(), |score| score.to_string());
    format!("{score} {}", keeper.unwrap_or(0))
}

fn written(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}

fn remember(file: PathBuf, line: &str) {
    let kept = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, line));
    if let Err(error) = kept {
        // It costs a process at each monitor.
        log::warn!("the promotion score can't be noted in {}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DrbdCommands, DrbdGeneration, Replication, Role};

    fn drbd(connection: Connection, disk: Disk) -> Drbd {
        let commands = DrbdCommands { disconnect: vec![], promote: vec![], demote: vec![], connect: vec![] };
        Drbd {
            generation: DrbdGeneration::Eight,
            connection,
            replication: Replication::Established,
            role: Role::Secondary,
            peer_role: Role::Unknown,
            disk,
            peer_disk: Disk::Unknown,
            resync_percent: None,
            io_suspended: false,
            writes_wait_for_peer: false,
            commands,
        }
    }

    #[test]
    fn each_disk_and_connection_has_its_score() {
        use Connection::{Broken, Connected, Connecting, StandAlone};
        use Disk::{Changing, Consistent, Diskless, Inconsistent, Outdated, UpToDate};
        for (connection, disk, standby, fencing, serving) in [
            (Connected, UpToDate, Some(1000), Some(1000), Some(1100)),
            (Connecting, UpToDate, Some(900), Some(900), Some(1000)),
            (Broken, UpToDate, Some(900), Some(900), Some(1000)),
            (StandAlone, UpToDate, None, None, Some(1000)),
            (Connecting, Consistent, None, Some(50), Some(10)),
            (Connecting, Outdated, None, None, Some(10)),
            (Connected, Inconsistent, None, None, Some(10)),
            (Connected, Diskless, None, None, Some(10)),
            (Connecting, Changing, None, None, Some(10)),
        ] {
            let drbd = drbd(connection, disk);
            let seen = (score(&drbd, false, false), score(&drbd, false, true), score(&drbd, true, false));
            assert_eq!(seen, (standby, fencing, serving), "{connection:?} {disk:?}");
        }
    }

    #[test]
    fn a_new_run_of_the_keeper_is_told_again() {
        assert_eq!(line(Some(1000), Some(7)), line(Some(1000), Some(7)));
        assert_ne!(line(Some(1000), Some(7)), line(Some(1000), Some(8)));
        assert_ne!(line(Some(1000), Some(7)), line(None, Some(7)));
    }
}
