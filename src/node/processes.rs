//! Finding processes. The only file that reads the process table, and the only one that uses sysinfo.
//!
//! A server is found by its executable and its working directory, never by a pid file: the server writes that only
//! after crash recovery, and a killed one leaves it behind.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// The parent's process id, if it has one.
    pub parent: Option<i32>,
    /// The base name of the executable; the kernel's name for the process when the executable can't be read.
    pub name: String,
    /// The text of `/proc/PID/cwd`, with its ` (deleted)` when the directory is gone; none when it can't be read
    /// (another user's process, or one that is ending).
    pub cwd: Option<PathBuf>,
}

/// Every mysqld or mariadbd that runs, without the mysqld_safe above it.
///
/// # Errors
/// The process table can't be read; the text says why.
pub fn mysqld_processes() -> Result<Vec<Process>, String> {
    named(is_mysqld)
}

/// Every process for which `wanted` holds, asked with the base name of its executable and again with the kernel's
/// name for it (a script has its interpreter as executable).
///
/// # Errors
/// The process table can't be read; the text says why.
pub fn named(wanted: impl Fn(&str) -> bool) -> Result<Vec<Process>, String> {
    match REMEMBERED.get() {
        Some(remembered) => {
            let mut names = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            look(&mut names, &wanted, Instant::now())
        }
        None => look(&mut HashMap::new(), &wanted, Instant::now()),
    }
}

/// From now on a process that has had the same names for a while is not asked for them at each look, but every ten seconds: for a
/// program that looks once a second for as long as the machine runs. A server that an old process turns into is noticed as late;
/// one that a new process turns into, as servers are started, at once.
pub fn remember() {
    REMEMBERED.get_or_init(Mutex::default);
}

/// The names of each process, where they are remembered.
static REMEMBERED: OnceLock<Mutex<HashMap<Pid, Names>>> = OnceLock::new();

/// How long a process may have other names than those that are remembered.
const REMEMBER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Names {
    executable: Option<String>,
    comm: String,
    first: Instant,
    latest: Instant,
}

impl Names {
    fn first_wanted(&self, wanted: impl Fn(&str) -> bool) -> Option<&str> {
        self.executable
            .as_deref()
            .filter(|name| wanted(name))
            .or(Some(self.comm.as_str()).filter(|name| wanted(name)))
    }

    /// A young process may still become what it was started for.
    fn are_still_good(&self, now: Instant) -> bool {
        let age = |since: Instant| now.saturating_duration_since(since);
        age(self.latest) < REMEMBER && self.latest.saturating_duration_since(self.first) >= REMEMBER
    }
}

/// Looks at every process whose names are not known, and at those that are wanted.
fn look(
    names: &mut HashMap<Pid, Names>,
    wanted: &impl Fn(&str) -> bool,
    now: Instant,
) -> Result<Vec<Process>, String> {
    let cannot = |error: &dyn std::fmt::Debug| format!("the process table can't be read: {error:?}");
    let mut system = System::new().map_err(|error| cannot(&error))?;
    let here: HashSet<Pid> = fs::read_dir("/proc")
        .map_err(|error| cannot(&error))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let known = |pid: &Pid| {
        names.get(pid).is_some_and(|names| names.are_still_good(now) && names.first_wanted(wanted).is_none())
    };
    let to_look_at: Vec<Pid> = here.iter().filter(|pid| !known(pid)).copied().collect();
    let links = ProcessRefreshKind::nothing()
        .with_exe(UpdateKind::Always)
        .with_cwd(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&to_look_at), true, links);
    names.retain(|pid, _| here.contains(pid));
    let mut found = Vec::new();
    for (pid, process) in system.processes() {
        let executable =
            process.exe().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let comm = process.name().to_string_lossy().into_owned();
        let same = names.get(pid).filter(|before| before.executable == executable && before.comm == comm);
        let seen = Names { executable, comm, first: same.map_or(now, |before| before.first), latest: now };
        if let Some(name) = seen.first_wanted(wanted)
            && let Ok(pid) = i32::try_from(pid.as_u32())
        {
            found.push(Process {
                pid,
                parent: process.parent().and_then(|pid| i32::try_from(pid.as_u32()).ok()),
                name: name.to_owned(),
                cwd: process.cwd().map(PathBuf::from),
            });
        }
        names.insert(*pid, seen);
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// Whether an executable of this name is the server itself.
fn is_mysqld(name: &str) -> bool {
    matches!(name, "mysqld" | "mariadbd" | "mysqld-debug" | "mysqld.bin" | "mysqld-max")
}

/// Whether this is the script that starts a killed server again.
pub fn is_mysqld_safe(name: &str) -> bool {
    matches!(name, "mysqld_safe" | "mariadbd-safe")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself_with_its_working_directory() {
        let me = std::env::current_exe().unwrap();
        let name = me.file_name().unwrap().to_str().unwrap();
        let found = named(|candidate| candidate == name).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = found.iter().find(|process| process.pid == pid).unwrap();
        assert_eq!(process.cwd, Some(std::env::current_dir().unwrap()));
    }

    #[test]
    fn names_are_remembered_once_they_have_lasted_and_not_for_long() {
        let own = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let pid = Pid::from_u32(std::process::id());
        let begun = Instant::now();
        let nobody = Names { executable: None, comm: "gone".to_owned(), first: begun, latest: begun };
        let mut names = HashMap::from([(Pid::from_u32(u32::MAX), nobody)]);
        let mut looks_for = |wanted: &str, second| {
            let now = begun + Duration::from_secs(second);
            let found = look(&mut names, &|name: &str| name == wanted, now).unwrap();
            assert!(!names.contains_key(&Pid::from_u32(u32::MAX)), "it is gone");
            let is_found = found.iter().any(|process| process.pid == i32::try_from(pid.as_u32()).unwrap());
            (is_found, (names[&pid].latest - begun).as_secs())
        };
        assert_eq!(looks_for("mariadbd", 0), (false, 0));
        assert_eq!(looks_for("mariadbd", 1), (false, 1), "it is young");
        assert_eq!(looks_for("mariadbd", 10), (false, 10), "it has lasted");
        assert_eq!(looks_for("mariadbd", 15), (false, 10), "it is remembered");
        assert_eq!(looks_for(&own, 16), (true, 16), "what is wanted is always looked at");
        assert_eq!(looks_for("mariadbd", 20), (false, 16));
        assert_eq!(looks_for("mariadbd", 26), (false, 26), "not for ever");
    }

    #[test]
    fn the_safe_script_is_not_the_server() {
        assert!(is_mysqld("mysqld") && is_mysqld("mariadbd"));
        assert!(!is_mysqld("mysqld_safe") && !is_mysqld("mariadbd-safe") && !is_mysqld("mysqldump"));
        assert!(is_mysqld_safe("mysqld_safe") && is_mysqld_safe("mariadbd-safe"));
    }
}
