//! Which server processes have a directory as their data directory.
//!
//! mysqld changes into its data directory early in its start and stays there. Its `/proc/PID/cwd` is compared in two
//! ways: by its text, and by device and inode. The second sees through symbolic links and bind mounts, and tells a
//! server that sits *under* a mount point (started before the file system was mounted over it) from one that sits on
//! the mounted file system, which the text can't.
//!
//! Looking up a path on a dead disk can hang for good, so everything that does so runs in a thread that is left behind
//! after a limit, and of which no more than a few are. `stat` through `/proc/PID/cwd` looks nothing up: the kernel jumps to the inode that the process holds.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::activity;
use crate::node::filesystem;
use crate::node::processes::{self, Process};
pub(super) use crate::node::within::within;
use crate::plan::MysqldControl;

/// For a look at a path; only a disk that does not answer needs longer.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Device and inode number.
type Identity = (u64, u64);

/// A data directory as it is reachable now.
pub(super) struct Datadir {
    path: PathBuf,
    arguments: Option<Vec<String>>,
    resolved: PathBuf,
    identity: Option<Identity>,
}

/// A server whose data directory it is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// The process.
    pub(super) process: Process,
    /// False when it has the same path as its directory, but a directory on something else than what is there now.
    pub(super) same_directory: bool,
    device: Option<u64>,
    start_time: u64,
}

impl Datadir {
    /// The control's command line is how a server is known in the moments before it has changed its directory: one that
    /// an earlier run started just before it was killed.
    pub(super) fn look(path: &Path, control: &MysqldControl) -> Self {
        let arguments = match control {
            MysqldControl::Command(command) => Some(command.iter().skip(1).cloned().collect()),
            MysqldControl::Unit(_) => None,
        };
        let owned = path.to_path_buf();
        let seen = within(LOOK_LIMIT, move || {
            let resolved = fs::canonicalize(&owned).ok();
            (resolved, identity(&owned))
        });
        let (resolved, identity) = seen.unwrap_or_default();
        let resolved = resolved.unwrap_or_else(|| path.to_path_buf());
        Self { path: path.to_path_buf(), arguments, resolved, identity }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every server that has this directory as its own, the oldest first.
    pub(super) fn servers(&self) -> Result<Vec<Server>, String> {
        let own_root = identity(Path::new("/"));
        let mut servers: Vec<Server> = processes::mysqld_processes()?
            .into_iter()
            .filter_map(|process| self.server(process, own_root))
            .collect();
        servers.sort_by_key(|server| server.start_time);
        Ok(servers)
    }

    fn server(&self, process: Process, own_root: Option<Identity>) -> Option<Server> {
        let cwd = process.cwd.as_deref()?;
        let pid = process.pid;
        let theirs = within(LOOK_LIMIT, move || identity(Path::new(&format!("/proc/{pid}/cwd")))).flatten();
        let same_identity = theirs.is_some() && theirs == self.identity;
        let same_text = [&self.path, &self.resolved].into_iter().any(|path| path == without_deleted(cwd));
        let just_started = cwd == Path::new("/") && self.has_our_arguments(pid);
        if !same_identity && !just_started {
            // A container has paths of its own: the same text means nothing there.
            let root = identity(Path::new(&format!("/proc/{pid}/root")));
            if !same_text || (root.is_some() && root != own_root) {
                return None;
            }
        }
        let start_time = activity::sample(pid)?.start_time;
        // When either side could not be looked at, the text decides.
        let unknown = theirs.is_none() || self.identity.is_none() || just_started;
        let device = theirs.map(|(device, _)| device).or_else(|| device_by_mountinfo(pid, cwd));
        Some(Server { process, same_directory: same_identity || unknown, device, start_time })
    }

    fn has_our_arguments(&self, pid: i32) -> bool {
        let Some(ours) = self.arguments.as_ref().filter(|arguments| !arguments.is_empty()) else {
            return false;
        };
        let theirs = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // Every argument ends with a NUL byte.
        let theirs = theirs.strip_suffix(&[0]).unwrap_or(&theirs);
        theirs.split(|byte| *byte == 0).skip(1).eq(ours.iter().map(String::as_bytes))
    }
}

impl Server {
    pub(super) fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Whether its working directory is on the block device with this number.
    pub(super) fn is_on(&self, device: u64) -> bool {
        self.device == Some(device)
    }

    /// What its process does now; none when it has ended, even if nobody has reaped it or another has its number.
    pub(super) fn sample(&self) -> Option<activity::Sample> {
        activity::sample(self.pid())
            .filter(|sample| sample.start_time == self.start_time && !sample.has_ended())
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        if self.sample().is_none() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid()), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(format!("{signal} to process {} failed: {}", self.pid(), errno.desc())),
        }
    }

    /// The scripts above it that would start it again.
    pub(super) fn respawners(&self) -> Vec<i32> {
        let scripts = processes::named(processes::is_mysqld_safe).unwrap_or_default();
        let mut found = BTreeSet::new();
        let mut above = self.process.parent;
        while let Some(script) = above.and_then(|pid| scripts.iter().find(|script| script.pid == pid)) {
            if !found.insert(script.pid) {
                break;
            }
            above = script.parent;
        }
        found.into_iter().collect()
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn without_deleted(cwd: &Path) -> &Path {
    cwd.to_str().and_then(|text| text.strip_suffix(" (deleted)")).map_or(cwd, Path::new)
}

fn device_by_mountinfo(pid: i32, directory: &Path) -> Option<u64> {
    let table = filesystem::read_table(&pid.to_string()).ok()?;
    let (major, minor) = filesystem::mount_of(&table, without_deleted(directory))?.device;
    Some(nix::sys::stat::makedev(major, minor))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_and_stat_agree() {
        let directory = tempfile::tempdir().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let (device, _) = identity(directory.path()).unwrap();
        assert_eq!(device_by_mountinfo(pid, directory.path()), Some(device));
    }

    #[test]
    fn deleted_directories_keep_their_name() {
        assert_eq!(without_deleted(Path::new("/srv/db (deleted)")), Path::new("/srv/db"));
        assert_eq!(without_deleted(Path::new("/srv/db")), Path::new("/srv/db"));
    }
}
