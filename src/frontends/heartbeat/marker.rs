//! Whether Heartbeat's last action was a stop that failed. It is kept beside the locks, which end with the boot, and not in the
//! journal: a full disk is one of the things that make a stop fail.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::cli::directory;

fn file(resource: &str) -> PathBuf {
    file_in(&directory("STANDIN_RUN_DIR", "/run/standin"), resource)
}

fn file_in(directory: &Path, resource: &str) -> PathBuf {
    directory.join(format!("{resource}.stop-failed"))
}

/// Remembers that a stop failed.
///
/// # Errors
/// As the file system gives them.
pub(super) fn set(resource: &str) -> io::Result<()> {
    set_at(&file(resource))
}

fn set_at(file: &Path) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, "")
}

/// Forgets it: a stop succeeded, or a start was asked for.
///
/// # Errors
/// As the file system gives them; that there was nothing to forget is none.
pub(super) fn clear(resource: &str) -> io::Result<()> {
    clear_at(&file(resource))
}

fn clear_at(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a stop failed and nothing succeeded since. What can't be read counts as no.
pub(super) fn is_set(resource: &str) -> bool {
    file(resource).exists()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_set_until_it_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory.path().join("run"), "r0");
        clear_at(&file).unwrap();
        set_at(&file).unwrap();
        set_at(&file).unwrap();
        assert!(file.exists());
        clear_at(&file).unwrap();
        assert!(!file.exists());
        assert!(set_at(Path::new("/proc/no-such-directory/r0")).is_err());
    }
}
