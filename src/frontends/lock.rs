//! One takeover or release per DRBD resource at a time. The kernel drops the lock with its holder.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::cli::directory;
use crate::failure::Failure;

/// Held until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Takes the lock of a DRBD resource without waiting: two configurations of one resource exclude each other too.
///
/// # Errors
/// Refused when another standin holds it (with its process id), failed when the file can't be made.
pub(super) fn take(resource: &str) -> Result<Lock, Failure> {
    take_in(&directory("STANDIN_RUN_DIR", "/run/standin"), resource)
}

/// Whether a standin works on a DRBD resource now; the lock itself is not touched, so that nobody finds it taken by us.
///
/// # Errors
/// As the file system gives them; a missing file is no holder.
pub(super) fn is_held(resource: &str) -> io::Result<bool> {
    is_held_in(&directory("STANDIN_RUN_DIR", "/run/standin"), resource)
}

fn is_held_in(directory: &Path, resource: &str) -> io::Result<bool> {
    let file = match std::fs::metadata(directory.join(format!("{resource}.lock"))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let (major, minor) = (nix::sys::stat::major(file.dev()), nix::sys::stat::minor(file.dev()));
    let this = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let locks = std::fs::read_to_string("/proc/locks")?;
    // As in "7: FLOCK  ADVISORY  WRITE 4711 00:19:1234 0 EOF" (proc_locks(5)); who waits has an arrow after the colon.
    Ok(locks.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields[..], [_, "FLOCK", _, "WRITE", _, file, ..] if file == this)
    }))
}

fn take_in(directory: &Path, resource: &str) -> Result<Lock, Failure> {
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
            // The process id is a courtesy to whoever finds the lock taken; the lock itself does not need it.
            let _ = file.set_len(0);
            let _ = file.rewind();
            let _ = write!(file, "{}", std::process::id());
            Ok(Lock { _file: file })
        }
        Err((_, Errno::EWOULDBLOCK)) => Err(Failure::refused(
            format!("another standin works on resource {resource} (pid {})", holder.trim()),
            "two runs at once would act against each other",
            format!("wait until it ends, or see what it does: ps -f {}", holder.trim()),
        )),
        Err((_, error)) => Err(cannot(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn one_holder_per_cluster_and_clusters_side_by_side() {
        let directory = tempfile::tempdir().unwrap();
        let orders = take_in(directory.path(), "orders").unwrap();
        let refused = take_in(directory.path(), "orders").unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.seen.contains(&std::process::id().to_string()), "{refused}");
        let _other = take_in(directory.path(), "invoices").unwrap();
        drop(orders);
        take_in(directory.path(), "orders").unwrap();
    }

    #[test]
    fn whether_it_is_held_is_seen_without_taking_it() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_held_in(directory.path(), "orders").unwrap(), "there is no file yet");
        let lock = take_in(directory.path(), "orders").unwrap();
        assert!(is_held_in(directory.path(), "orders").unwrap());
        assert!(!is_held_in(directory.path(), "invoices").unwrap());
        drop(lock);
        assert!(!is_held_in(directory.path(), "orders").unwrap(), "the file is left behind");
    }

    #[test]
    fn a_directory_that_cannot_be_written_fails_with_its_path() {
        let failure = take_in(Path::new("/proc/no-such-directory"), "orders").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Failed);
        assert!(failure.seen.contains("/proc/no-such-directory/orders.lock"), "{failure}");
    }
}
