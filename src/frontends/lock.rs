//! One takeover or release per cluster at a time. The kernel drops the lock with its holder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::cli::directory;
use crate::failure::Failure;

/// Held until it is dropped or its process ends.
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Takes the lock of a cluster without waiting.
///
/// # Errors
/// Refused when another standin holds it (with its process id), failed when the file can't be made.
pub(super) fn take(cluster: &str) -> Result<Lock, Failure> {
    let directory = directory("STANDIN_RUN_DIR", "/run/standin");
    let path = directory.join(format!("{cluster}.lock"));
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::failed(
            format!("the lock {} can't be taken: {error}", path.display()),
            "two runs at once would act against each other",
            "run standin as root, and see whether the directory can be written",
        )
    };
    std::fs::create_dir_all(&directory).map_err(|error| cannot(&error))?;
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
            format!("another standin works on {cluster} (pid {})", holder.trim()),
            "two runs at once would act against each other",
            format!("wait until it ends, or see what it does: ps -f {}", holder.trim()),
        )),
        Err((_, error)) => Err(cannot(&error)),
    }
}
