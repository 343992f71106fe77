//! Finding processes. The only file that reads the process table, and the only one that uses sysinfo.
//!
//! A server is found by its executable and its working directory, never by a pid file: the server writes that only
//! after crash recovery, and a killed one leaves it behind.

use std::path::PathBuf;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

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
    let mut system = System::new().map_err(|error| format!("the process table can't be read: {error:?}"))?;
    let links = ProcessRefreshKind::nothing()
        .with_exe(UpdateKind::Always)
        .with_cwd(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, links);
    let mut found: Vec<Process> = system
        .processes()
        .values()
        .filter_map(|process| {
            let comm = process.name().to_string_lossy().into_owned();
            let exe =
                process.exe().and_then(|exe| exe.file_name()).map(|name| name.to_string_lossy().into_owned());
            let name = match exe {
                Some(exe) if wanted(&exe) => exe,
                _ if wanted(&comm) => comm,
                _ => return None,
            };
            Some(Process {
                pid: i32::try_from(process.pid().as_u32()).ok()?,
                parent: process.parent().and_then(|pid| i32::try_from(pid.as_u32()).ok()),
                name,
                cwd: process.cwd().map(PathBuf::from),
            })
        })
        .collect();
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
    fn the_safe_script_is_not_the_server() {
        assert!(is_mysqld("mysqld") && is_mysqld("mariadbd"));
        assert!(!is_mysqld("mysqld_safe") && !is_mysqld("mariadbd-safe") && !is_mysqld("mysqldump"));
        assert!(is_mysqld_safe("mysqld_safe") && is_mysqld_safe("mariadbd-safe"));
    }
}
