//! Heartbeat: whether it runs, and the two ways to take it out of the way.
//!
//! It is told by its executable, `…/heartbeat/heartbeat` (`/usr/libexec`, `/usr/lib` or `/usr/lib64` before it): the master
//! process and its readers and writers all run it, while the resource scripts that they start do not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send_signal};
use nix::unistd::Pid;

use super::command;
use super::{Applied, Attempt};
use crate::failure::{Failure, FailureKind};
use crate::observation::{ClusterManagerState, Fact};
use crate::plan::shell_words;

/// How often the process table is read while waiting for processes to go. Reading it takes about 1 ms.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A process of whom only this much matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its parent's process id.
    pub parent: i32,
    /// Where `/proc/PID/exe` leads, without the mark of a file that an upgrade has replaced.
    pub executable: PathBuf,
}

/// Every process whose executable has one of these base names; zombies have none any more.
///
/// # Errors
/// `/proc` could not be read, or a process that may be one of them may not be looked at by this user.
pub fn running(names: &[&str]) -> Result<Vec<Process>, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("cannot read /proc: {error}"))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot read /proc: {error}"))?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let directory = entry.path();
        match fs::read_link(directory.join("exe")) {
            Ok(executable) => {
                let executable = undeleted(executable);
                if has_name(&executable, names)
                    && let Some((_, parent)) = name_and_parent(&directory)
                {
                    found.push(Process { pid, parent, executable });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // Everybody may read the kernel's name for it, but that alone does not tell a script from a program.
                if let Some((name, _)) = name_and_parent(&directory)
                    && names.contains(&name.as_str())
                {
                    return Err(format!(
                        "process {pid} is called {name}, but only root may see what it runs"
                    ));
                }
            }
            // It has ended, or is a kernel thread.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// `/proc/PID/exe` marks a file that is no longer in its directory (proc(5)).
fn undeleted(executable: PathBuf) -> PathBuf {
    match executable.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => PathBuf::from(path),
        None => executable,
    }
}

fn has_name(executable: &Path, names: &[&str]) -> bool {
    executable.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(&name))
}

/// From `/proc/PID/stat`: the name stands in parentheses and may hold any character, so the last one ends it (proc(5)).
fn name_and_parent(directory: &Path) -> Option<(String, i32)> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    Some((name.to_owned(), rest.split_whitespace().nth(1)?.parse().ok()?))
}

/// Those that are Heartbeat's own, its masters first: they would replace or mourn a child that goes before them.
fn heartbeats(processes: impl IntoIterator<Item = Process>) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found: Vec<Process> = processes
        .into_iter()
        .filter(|process| process.pid != own && is_heartbeat(&process.executable))
        .collect();
    let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
    found.sort_by_key(|process| (pids.contains(&process.parent), process.pid));
    found
}

/// Elastic's uptime monitor has the same name; its packages put it in `…/heartbeat/bin` or `…/components`.
fn is_heartbeat(executable: &Path) -> bool {
    let directory = executable.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    has_name(executable, &["heartbeat"]) && !matches!(directory, Some("bin" | "components"))
}

fn look() -> Result<Vec<Process>, String> {
    running(&["heartbeat"]).map(heartbeats)
}

/// Whether Heartbeat runs on this node.
pub fn observe() -> Fact<ClusterManagerState> {
    look().map(|found| ClusterManagerState { pids: found.iter().map(|process| process.pid).collect() }).into()
}

/// Ends every Heartbeat process by SIGKILL, the masters first, and waits until all are gone. No stop script runs: what its
/// resources had started stays, and so does the resource script that may have called us.
///
/// # Errors
/// Refused when Heartbeat holds a watchdog device: its timer would reset this machine. Failed when a process could not be
/// looked at or killed; timed out when one does not go.
pub fn kill(attempt: &Attempt) -> Result<Applied, Failure> {
    let found = look().map_err(|cause| unknown(&cause))?;
    if found.is_empty() {
        return Ok(Applied::already_so());
    }
    if let Some((process, device)) =
        found.iter().find_map(|process| watchdog(process.pid).map(|device| (process, device)))
    {
        return Err(Failure::refused(
            format!("heartbeat (process {}) holds {device}", process.pid),
            "killed, it does not switch the watchdog off: the timer would reset this machine in the middle of its work",
            "configure an orderly stop instead of kill, or stop it by hand: systemctl stop heartbeat.service",
        ));
    }
    let count = found.len();
    let mut current = found;
    // Again for those that were forked meanwhile.
    while !current.is_empty() {
        for process in &current {
            match send_signal(Pid::from_raw(process.pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(not_killed(process.pid, error)),
            }
        }
        if attempt.remaining().is_zero() {
            return Err(still_running(&current, "SIGKILL", attempt));
        }
        std::thread::sleep(LOOK_INTERVAL.min(attempt.remaining()));
        current = look().map_err(|cause| unknown(&cause))?;
    }
    Ok(Applied::done().note(format!("killed {count} heartbeat processes; no stop script ran")))
}

/// Stops Heartbeat in order, by its systemd unit when that runs it and by `heartbeat -k` otherwise, and waits until all its
/// processes are gone. It gives up its resources on the way.
///
/// # Errors
/// Failed when the command failed; timed out when the command or the processes did not end.
pub fn stop(attempt: &Attempt) -> Result<Applied, Failure> {
    let found = look().map_err(|cause| unknown(&cause))?;
    let Some(master) = found.first() else { return Ok(Applied::already_so()) };
    let command =
        stop_command(master, fs::read_to_string(format!("/proc/{}/cgroup", master.pid)).ok().as_deref());
    let finished = command::run(&command, attempt.remaining()).map_err(|error| Failure {
        kind: if error.is_timeout() { FailureKind::TimedOut } else { FailureKind::Failed },
        ..not_stopped(&error.to_string())
    })?;
    if !finished.succeeded() {
        return Err(not_stopped(&finished.describe()));
    }
    loop {
        let left = look().map_err(|cause| unknown(&cause))?;
        if left.is_empty() {
            return Ok(Applied::done().note(format!("stopped by `{}`", shell_words(&command))));
        }
        if attempt.remaining().is_zero() {
            return Err(still_running(&left, &format!("`{}`", shell_words(&command)), attempt));
        }
        std::thread::sleep(LOOK_INTERVAL.min(attempt.remaining()));
    }
}

/// The control group's path names the unit that started a process (cgroups(7)).
fn stop_command(master: &Process, cgroup: Option<&str>) -> Vec<String> {
    let by_systemd =
        cgroup.is_some_and(|text| text.split(['/', '\n']).any(|part| part == "heartbeat.service"));
    if by_systemd {
        ["systemctl", "stop", "heartbeat.service"].map(str::to_owned).to_vec()
    } else {
        vec![master.executable.to_string_lossy().into_owned(), "-k".to_owned()]
    }
}

/// The watchdog device that one of Heartbeat's processes has open: killed, it would leave the timer running.
pub fn held_watchdog() -> Option<String> {
    look().ok()?.iter().find_map(|process| watchdog(process.pid))
}

/// The watchdog device that a process has open.
fn watchdog(pid: i32) -> Option<String> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok())
        .find(|path| path.starts_with("/dev/watchdog"))
}

fn pids(processes: &[Process]) -> String {
    processes.iter().map(|process| process.pid.to_string()).collect::<Vec<_>>().join(" ")
}

const WHY: &str = "as long as it runs it acts on the same resources as standin does";

fn unknown(cause: &str) -> Failure {
    Failure::failed(format!("cannot tell whether heartbeat runs: {cause}"), WHY, "run as root and try again")
}

fn not_killed(pid: i32, error: Errno) -> Failure {
    Failure::failed(
        format!("cannot kill heartbeat (process {pid}): {error}"),
        WHY,
        "run as root and try again; by hand: kill -KILL $(pidof heartbeat)",
    )
}

fn not_stopped(seen: &str) -> Failure {
    Failure::failed(
        format!("heartbeat was not stopped: {seen}"),
        WHY,
        "see its log and `systemctl status heartbeat.service`; by hand, without its stop scripts: \
         kill -KILL $(pidof heartbeat)",
    )
}

fn still_running(processes: &[Process], after: &str, attempt: &Attempt) -> Failure {
    Failure::timed_out(
        format!("heartbeat still runs (process {}) {:?} after {after}", pids(processes), attempt.limit()),
        WHY,
        format!("see what holds it: ps -o pid,stat,wchan,args -p {}", pids(processes).replace(' ', ",")),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, executable: &str) -> Process {
        Process { pid, parent, executable: executable.into() }
    }

    #[test]
    fn masters_come_first_and_others_not_at_all() {
        let daemon = "/usr/libexec/heartbeat/heartbeat";
        let found = heartbeats([
            process(30, 40, daemon),
            process(31, 40, daemon),
            process(40, 1, daemon),
            process(41, 40, "/usr/libexec/heartbeat/ipfail"),
            process(42, 41, "/usr/bin/dash"),
            process(50, 1, "/usr/share/heartbeat/bin/heartbeat"),
            process(51, 1, "/opt/Elastic/Agent/data/elastic-agent-8/components/heartbeat"),
            process(i32::try_from(std::process::id()).unwrap(), 42, daemon),
        ]);
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [40, 30, 31]);
    }

    #[test]
    fn an_upgraded_executable_keeps_its_name() {
        assert_eq!(
            undeleted("/usr/lib/heartbeat/heartbeat (deleted)".into()),
            Path::new("/usr/lib/heartbeat/heartbeat")
        );
    }

    #[test]
    fn the_unit_is_stopped_only_when_it_runs_the_daemon() {
        let master = process(9, 1, "/usr/lib/heartbeat/heartbeat");
        let unit = "0::/system.slice/heartbeat.service\n";
        assert_eq!(stop_command(&master, Some(unit)), ["systemctl", "stop", "heartbeat.service"]);
        for other in [Some("0::/user.slice/session-1.scope\n"), Some("0::/x-heartbeat.service\n"), None] {
            assert_eq!(stop_command(&master, other), ["/usr/lib/heartbeat/heartbeat", "-k"]);
        }
    }

    #[test]
    fn this_process_is_found_by_its_executable() {
        let executable = std::env::current_exe().unwrap();
        let name = executable.file_name().unwrap().to_str().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let found = running(&[name]).unwrap();
        let this = found.iter().find(|process| process.pid == own).unwrap();
        assert_eq!(this.parent, nix::unistd::getppid().as_raw());
        assert_eq!(this.executable, executable);
    }
}
