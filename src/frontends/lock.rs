//! One takeover or release per DRBD resource at a time. The kernel drops the lock with its holder, and knows who holds it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cli::directory;
use crate::failure::Failure;
use crate::plan::Goal;

/// Held until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Who works on a DRBD resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    /// Its process id, as the kernel has it.
    pub(super) pid: i32,
    /// What it is for; none when it has just taken the lock, or is of another version.
    pub(super) goal: Option<Goal>,
}

/// Takes the lock of a DRBD resource without waiting: two configurations of one resource exclude each other too.
///
/// # Errors
/// Refused when another standin holds it (with its process id), failed when the file can't be made.
pub(super) fn take(resource: &str, goal: Goal) -> Result<Lock, Failure> {
    take_in(&directory("STANDIN_RUN_DIR", "/run/standin"), resource, goal)
}

/// Whether a standin works on a DRBD resource now; the lock itself is not touched, so that nobody finds it taken by us.
///
/// # Errors
/// As the file system gives them; a missing file is no holder.
pub(super) fn is_held(resource: &str) -> io::Result<bool> {
    holder(resource).map(|holder| holder.is_some())
}

/// Which standin works on a DRBD resource now, without touching the lock.
///
/// # Errors
/// As the file system gives them; a missing file is no holder.
pub(super) fn holder(resource: &str) -> io::Result<Option<Holder>> {
    holder_in(&directory("STANDIN_RUN_DIR", "/run/standin"), resource)
}

/// Asks the holder to stop and to take back what it did. Another process never gets the signal, even when the holder ends
/// meanwhile and its process id is used again.
///
/// # Errors
/// As the kernel gives them; a holder that is gone is no error.
pub(super) fn interrupt(resource: &str, holder_seen: Holder) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(holder_seen.pid) else { return Ok(()) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Opened first and looked at again: from here on the descriptor means the process that holds the lock.
    if holder(resource)?.map(|holder| holder.pid) != Some(holder_seen.pid) {
        return Ok(());
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The same in a directory.
///
/// # Errors
/// As the file system gives them; a missing file is no holder.
pub(super) fn holder_in(directory: &Path, resource: &str) -> io::Result<Option<Holder>> {
    let path = directory.join(format!("{resource}.lock"));
    let file = match std::fs::metadata(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (major, minor) = (nix::sys::stat::major(file.dev()), nix::sys::stat::minor(file.dev()));
    let this = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let locks = std::fs::read_to_string("/proc/locks")?;
    // As in "7: FLOCK  ADVISORY  WRITE 4711 00:19:1234 0 EOF" (proc_locks(5)); who waits has an arrow after the colon.
    let pid = locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, "WRITE", pid, file, ..] if file == this => pid.parse().ok(),
        _ => None,
    });
    Ok(pid.map(|pid| {
        // Whoever may not read the file still learns that the lock is held.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Holder { pid, goal: goal_of(&text, pid) }
    }))
}

/// The goal that a holder wrote down, unless an earlier holder wrote it.
fn goal_of(text: &str, pid: i32) -> Option<Goal> {
    let (writer, goal) = text.trim().split_once(' ')?;
    let goals = [Goal::Takeover, Goal::Release, Goal::Switchover, Goal::Rejoin];
    let goal = goals.into_iter().find(|known| known.to_string() == goal)?;
    (writer.parse() == Ok(pid)).then_some(goal)
}

fn take_in(directory: &Path, resource: &str, goal: Goal) -> Result<Lock, Failure> {
    let path = directory.join(format!("{resource}.lock"));
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::failed(
            format!("the lock {} can't be taken: {error}", path.display()),
            "two runs at once would act against each other",
            "make it writable for root (findmnt --target /run), or name another directory in STANDIN_RUN_DIR",
        )
    };
    std::fs::create_dir_all(directory).map_err(|error| cannot(&error))?;
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        // Whoever may open it, if only for reading, could lock it and so keep a takeover from starting.
        .mode(0o600)
        .open(&path)
        .map_err(|error| cannot(&error))?;
    let mut holder = String::new();
    // Only to name the holder in an error.
    let _ = file.read_to_string(&mut holder);
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            // For whoever finds the lock taken; the lock itself does not need it.
            let _ = file.set_len(0);
            let _ = file.rewind();
            let _ = write!(file, "{} {goal}", std::process::id());
            Ok(Lock { _file: file })
        }
        Err((_, Errno::EWOULDBLOCK)) => Err(Failure::refused(
            format!("another standin works on resource {resource} (pid {})", pid_in(&holder)),
            "two runs at once would act against each other",
            format!("wait until it ends, or see what it does: ps -f {}", pid_in(&holder)),
        )),
        Err((_, error)) => Err(cannot(&error)),
    }
}

fn pid_in(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn one_holder_per_cluster_and_clusters_side_by_side() {
        let directory = tempfile::tempdir().unwrap();
        let orders = take_in(directory.path(), "orders", Goal::Takeover).unwrap();
        let refused = take_in(directory.path(), "orders", Goal::Takeover).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.seen.contains(&std::process::id().to_string()), "{refused}");
        let _other = take_in(directory.path(), "invoices", Goal::Takeover).unwrap();
        drop(orders);
        take_in(directory.path(), "orders", Goal::Takeover).unwrap();
    }

    #[test]
    fn whether_it_is_held_is_seen_without_taking_it() {
        let directory = tempfile::tempdir().unwrap();
        assert!(holder_in(directory.path(), "orders").unwrap().is_none(), "there is no file yet");
        let lock = take_in(directory.path(), "orders", Goal::Takeover).unwrap();
        assert!(holder_in(directory.path(), "orders").unwrap().is_some());
        assert!(holder_in(directory.path(), "invoices").unwrap().is_none());
        drop(lock);
        assert!(holder_in(directory.path(), "orders").unwrap().is_none(), "the file is left behind");
    }

    #[test]
    fn a_directory_that_cannot_be_written_fails_with_its_path() {
        let failure = take_in(Path::new("/proc/no-such-directory"), "orders", Goal::Takeover).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Failed);
        assert!(failure.seen.contains("/proc/no-such-directory/orders.lock"), "{failure}");
    }

    #[test]
    fn the_holder_and_its_goal_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let lock = take_in(directory.path(), "orders", Goal::Release).unwrap();
        let holder = holder_in(directory.path(), "orders").unwrap();
        assert_eq!(holder, Some(Holder { pid: me, goal: Some(Goal::Release) }));
        drop(lock);
        assert_eq!(goal_of("4711 takeover", 4711), Some(Goal::Takeover));
        assert_eq!(goal_of("4711 takeover", 4712), None, "an earlier holder wrote it");
        assert_eq!(goal_of("4711", 4711), None);
    }
}
