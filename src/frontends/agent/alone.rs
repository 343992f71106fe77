//! One agent per resource: a lock that the kernel drops with its holder.
//!
//! A thread that waits for a dead disk keeps the files of its process open, and with them the lock, however often that is killed.
//! Nothing of such an agent ever runs again but what the kernel is at: its lock is left behind with it, under no name any more, and
//! the next agent makes a new one. Whoever asks for the holder goes by the file that has the name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::config::Config;
use crate::frontends::cli::directory;
use crate::frontends::say::say_error;
use crate::frontends::{contact, lock};

/// Agents that begin at once may come between each other's steps.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// SIGKILL in the masks of signals in `/proc/PID/status`.
const KILLED: u64 = 1 << (nix::libc::SIGKILL - 1);

/// What became of taking the lock.
#[derive(Debug)]
enum Taken {
    /// It is ours until it is dropped.
    Lock(Flock<File>),
    /// Another agent has it, with its process id when the kernel tells.
    HeldBy(Option<i32>),
}

/// The lock of this resource's agent; none, after saying so, when another agent has it.
///
/// # Errors
/// As the file system gives them.
pub(super) fn alone(config: &Config) -> anyhow::Result<Option<Flock<File>>> {
    let directory = directory("STANDIN_RUN_DIR", "/run/standin");
    let name = contact::agents_lock(config);
    let taken = take(&directory, &name, &has_ended).with_context(|| {
        format!(
            "the agent's lock {} can't be taken; two agents would act twice; make it writable for root (findmnt --target /run), \
             or name another directory in STANDIN_RUN_DIR",
            directory.join(format!("{name}.lock")).display()
        )
    })?;
    let holder = match taken {
        Taken::Lock(lock) => return Ok(Some(lock)),
        Taken::HeldBy(holder) => holder,
    };
    let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let look = holder.map(|pid| format!("ps -fp {pid}; ")).unwrap_or_default();
    say_error(format_args!(
        "refused: another agent runs for resource {}{who}\n  why it matters: two agents would act twice\n  what to do next: see \
         which: {look}systemctl status 'standin-agent@*'",
        config.resource
    ));
    Ok(None)
}

fn take(directory: &Path, name: &str, has_ended: &dyn Fn(i32) -> bool) -> io::Result<Taken> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("{name}.lock"));
    for attempt in 0..TRIES {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        match locked(&path)? {
            Some(lock) if has_the_name(&lock, &path) => return Ok(Taken::Lock(lock)),
            // Another agent has put a new one in its place.
            Some(_) => continue,
            None => {}
        }
        match lock::holder_in(directory, name)? {
            Some(holder) if has_ended(holder.pid) => leave_behind(directory, name, has_ended)?,
            Some(holder) => return Ok(Taken::HeldBy(Some(holder.pid))),
            // It has just let go.
            None => {}
        }
    }
    Ok(Taken::HeldBy(None))
}

fn locked(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

fn has_the_name(lock: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let ours = lock.metadata().map(identity).ok();
    ours.is_some() && ours == fs::metadata(path).map(identity).ok()
}

/// Takes the name away from a lock whose holder has ended. One agent at a time: another one may have made a new lock since this one
/// looked, and that must keep its name.
fn leave_behind(directory: &Path, name: &str, has_ended: &dyn Fn(i32) -> bool) -> io::Result<()> {
    let Ok(_one_at_a_time) = Flock::lock(File::open(directory)?, FlockArg::LockExclusiveNonblock) else {
        return Ok(());
    };
    let Some(holder) = lock::holder_in(directory, name)?.filter(|holder| has_ended(holder.pid)) else {
        return Ok(());
    };
    say_error(format_args!(
        "the agent before this one (process {}) has ended, and its lock has not: a thread of it hangs in the kernel (dmesg); going on \
         with a new lock",
        holder.pid
    ));
    fs::remove_file(directory.join(format!("{name}.lock")))
}

/// Whether a process runs none of its own code any more.
fn has_ended(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => is_of_the_ended(&status),
        // What it had started, and what could not be read from its disk, may have its files open still.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Its first thread is gone; or it was killed, and a signal of its watchdog has it wait for all its threads first.
fn is_of_the_ended(status: &str) -> bool {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let is_killed = |name: &str| {
        let mask = field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.is_some_and(|mask| mask & KILLED != 0)
    };
    field("State").is_some_and(|state| state.starts_with(['Z', 'X']))
        || field("CoreDumping") == Some("1")
        || is_killed("SigPnd")
        || is_killed("ShdPnd")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "r0.agent";

    fn pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_second_agent_is_refused_and_hears_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let first = take(directory.path(), NAME, &has_ended).unwrap();
        assert!(matches!(first, Taken::Lock(_)), "{first:?}");
        let second = take(directory.path(), NAME, &has_ended).unwrap();
        assert!(matches!(second, Taken::HeldBy(Some(holder)) if holder == pid()), "{second:?}");
        drop(first);
        assert!(matches!(take(directory.path(), NAME, &has_ended).unwrap(), Taken::Lock(_)));
    }

    #[test]
    fn the_lock_of_an_agent_that_has_ended_keeps_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let Taken::Lock(hangs) = take(directory.path(), NAME, &|_| false).unwrap() else {
            panic!("nobody has it")
        };
        let next = take(directory.path(), NAME, &|_| true).unwrap();
        assert!(matches!(next, Taken::Lock(_)), "{next:?}");
        let holder = || lock::holder_in(directory.path(), NAME).unwrap();
        assert!(holder().is_some(), "the new lock is the one that is seen");
        assert!(matches!(take(directory.path(), NAME, &|_| false).unwrap(), Taken::HeldBy(Some(_))));
        drop(next);
        assert!(holder().is_none(), "that of the one that hangs is not looked at");
        drop(hangs);
    }

    #[test]
    fn a_lock_that_has_lost_its_name_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = locked(&path).unwrap().unwrap();
        assert!(has_the_name(&lock, &path));
        fs::remove_file(&path).unwrap();
        assert!(!has_the_name(&lock, &path));
        fs::write(&path, "").unwrap();
        assert!(!has_the_name(&lock, &path), "it is another file's");
    }

    #[test]
    fn a_process_that_only_the_kernel_holds_has_ended() {
        let status = |state: &str, dumps: u8, pending: &str, shared: &str| {
            format!(
                "Name:\tstandin\nState:\t{state}\nPid:\t7\nCoreDumping:\t{dumps}\nSigPnd:\t{pending}\nShdPnd:\t{shared}\n"
            )
        };
        let none = "0000000000000000";
        let killed = "0000000000000100";
        assert!(is_of_the_ended(&status("Z (zombie)", 0, none, none)));
        assert!(is_of_the_ended(&status("D (disk sleep)", 1, none, none)), "it waits for its threads");
        assert!(is_of_the_ended(&status("D (disk sleep)", 0, killed, none)));
        assert!(is_of_the_ended(&status("D (disk sleep)", 0, none, killed)));
        assert!(!is_of_the_ended(&status("D (disk sleep)", 0, none, "0000000000004000")), "SIGTERM");
        assert!(!is_of_the_ended(&status("S (sleeping)", 0, none, none)));
        assert!(!is_of_the_ended(""));
        assert!(!has_ended(pid()));
        assert!(has_ended(i32::MAX), "there is no such process");
    }
}
