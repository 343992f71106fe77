//! Free space where a takeover or the server needs it.

use crate::doctor::Finding;
use crate::doctor::survey::paths::Room;
use crate::doctor::survey::{NamedRoom, RoomCheck, Survey};
use crate::observation::Fact;

/// Below this share of free bytes or inodes an administrator still has time: a tenth, as monitoring commonly warns.
const WARN_PERCENT: u64 = 10;

/// Below this share the next large transaction or a day's log may fill the rest.
const FAIL_PERCENT: u64 = 2;

/// Bytes that the journal, the lock or a log can't do without: a takeover writes some kilobytes, a crash recovery's log
/// some hundred.
const LEAST: u64 = 4 * 1024 * 1024;

pub(super) fn examine(survey: &Survey) -> Vec<Finding> {
    survey.storage.rooms.iter().map(room).collect()
}

fn room(named: &NamedRoom) -> Finding {
    let (check, why) = match named.check {
        RoomCheck::Data => {
            ("space-data", "a full file system stops every commit, and crash recovery may not end on it")
        }
        RoomCheck::Log => (
            "space-log",
            "the server can't say why it does not start, and nobody sees how far crash recovery is",
        ),
        RoomCheck::State => {
            ("space-state", "a takeover writes down what it does, and does not begin when it can't")
        }
        RoomCheck::Run => ("space-run", "a takeover takes its lock there, the server makes its socket there"),
    };
    let room = match &named.room {
        Fact::Known(room) => room,
        Fact::Unknown(cause) => return Finding::unknown(check, cause),
    };
    let shown = named.path.display();
    let seen = format!("{} MiB ({} %) free at {shown}", room.bytes_free >> 20, room.bytes_percent());
    let seen = if room.inodes_percent() < WARN_PERCENT {
        format!("{seen}, {} % of the inodes", room.inodes_percent())
    } else {
        seen
    };
    let advice = format!(
        "see what fills it: du -xh --max-depth=2 {shown} | sort -h | tail; free some, or let it grow"
    );
    if room.read_only {
        return Finding::fail(check, format!("{shown} is on a read-only file system"), why).advice(format!(
            "see why (dmesg), then: mount -o remount,rw $(findmnt -no TARGET --target {shown})"
        ));
    }
    let (warn, fail) =
        if named.check == RoomCheck::Data { full(room) } else { (short(room), room.bytes_free < LEAST) };
    let none_left = room.inodes > 0 && room.inodes_free == 0;
    if fail || none_left {
        Finding::fail(check, seen, why).advice(advice)
    } else if warn {
        Finding::warn(check, seen, why).advice(advice)
    } else {
        Finding::pass(check, seen)
    }
}

/// What grows with the data is judged by its share.
fn full(room: &Room) -> (bool, bool) {
    let percent = room.bytes_percent().min(room.inodes_percent());
    (percent < WARN_PERCENT, percent < FAIL_PERCENT)
}

/// What needs little is judged by its share only when little is left.
fn short(room: &Room) -> bool {
    room.inodes_percent() < FAIL_PERCENT
        || room.bytes_percent() < WARN_PERCENT && room.bytes_free < 64 * LEAST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Status, sample};

    fn status(check: RoomCheck, room: Room) -> Status {
        super::room(&NamedRoom { check, path: "/x".into(), room: Fact::Known(room) }).status
    }

    fn with(bytes_free: u64) -> Room {
        Room { bytes: 100 << 30, bytes_free, inodes: 0, inodes_free: 0, read_only: false }
    }

    #[test]
    fn data_is_judged_by_its_share() {
        for (free, wanted) in [(11 << 30, Status::Pass), (9 << 30, Status::Warn), (1 << 30, Status::Fail)] {
            assert_eq!(status(RoomCheck::Data, with(free)), wanted, "{free}");
        }
        let inodes = Room { inodes: 1000, inodes_free: 10, ..with(50 << 30) };
        assert_eq!(status(RoomCheck::Data, inodes), Status::Fail);
    }

    #[test]
    fn logs_and_journals_need_little() {
        for (free, wanted) in [(1 << 30, Status::Pass), (100 << 20, Status::Warn), (1 << 20, Status::Fail)] {
            assert_eq!(status(RoomCheck::State, with(free)), wanted, "{free}");
        }
        assert_eq!(
            status(RoomCheck::Log, Room { inodes: 10, inodes_free: 0, ..with(1 << 34) }),
            Status::Fail
        );
        assert_eq!(status(RoomCheck::Log, Room { read_only: true, ..with(1 << 34) }), Status::Fail);
    }

    #[test]
    fn a_healthy_node_passes() {
        let findings = examine(&sample::survey());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        let unknown =
            NamedRoom { check: RoomCheck::Run, path: "/run".into(), room: Fact::Unknown("no".to_owned()) };
        assert_eq!(super::room(&unknown).status, Status::Warn);
    }
}
