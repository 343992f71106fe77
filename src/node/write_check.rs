//! A write through a mount, to the disk and back. For the worker process: a dead disk does not let go of who writes to it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// mysqld and mariadbd take no file that begins with a dot for a table or a database.
const NAME: &str = ".standin-write-check";
/// A block of the file system, in bytes.
const SIZE: usize = 4096;

/// Writes a file into a directory, makes sure that it is on the disk, reads it from there and removes it. A full file system
/// is told apart: it is no fault of this node, and another node has the same data.
///
/// # Errors
/// What failed, in one sentence.
pub(super) fn write_through(directory: &Path) -> Result<Option<String>, String> {
    let path = directory.join(NAME);
    match try_write(&path) {
        Ok(true) => Ok(None),
        Ok(false) => Err(format!("what was written to {} is not what was read back", path.display())),
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            // A file of no length may have been made.
            let _ = fs::remove_file(&path);
            Ok(Some(format!("{} has no room left: {error}", directory.display())))
        }
        Err(error) => Err(format!("a write to {} failed: {error}", path.display())),
    }
}

fn try_write(path: &Path) -> io::Result<bool> {
    // Left behind by a check that was broken off. Never followed: the directory belongs to the database's user.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let block = now.to_ne_bytes().repeat(SIZE / size_of_val(&now));
    file.write_all(&block)?;
    file.sync_all()?;
    // Otherwise the answer would come from memory.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    file.rewind()?;
    let mut read = Vec::with_capacity(SIZE);
    file.read_to_end(&mut read)?;
    fs::remove_file(path)?;
    Ok(read == block)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_and_what_was_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "left behind").unwrap();
        assert_eq!(write_through(directory.path()), Ok(None));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_of_the_database_s_user_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, directory.path().join(NAME)).unwrap();
        assert_eq!(write_through(directory.path()), Ok(None));
        assert_eq!(fs::read_to_string(target).unwrap(), "precious");
    }

    #[test]
    fn what_can_not_be_written_is_an_error() {
        let failed = write_through(Path::new("/proc")).unwrap_err();
        assert!(failed.contains("/proc/.standin-write-check"), "{failed}");
    }
}
