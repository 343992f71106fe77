//! A systemd scope of its own for a run that a cluster manager started: when the manager's unit is stopped, systemd ends
//! every process in it, unless the unit says `KillMode=process`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::command;

/// For the one call; systemd answers within milliseconds unless it hangs.
const LIMIT: Duration = Duration::from_secs(2);

/// Moves this process out of the service unit that it runs in, into a scope of its own. Without systemd, and outside a
/// service unit (a terminal's session), there is nothing to do.
///
/// Source: `StartTransientUnit` and the property `PIDs`, org.freedesktop.systemd1(5).
///
/// # Errors
/// Why it could not be done, in one sentence.
pub fn leave_callers_unit() -> Result<(), String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    let groups = fs::read_to_string("/proc/self/cgroup")
        .map_err(|error| format!("/proc/self/cgroup can't be read: {error}"))?;
    if !in_service(&groups) {
        return Ok(());
    }
    let pid = std::process::id();
    let unit = format!("standin-{pid}.scope");
    let description = "standin, started by a cluster manager";
    let pid = pid.to_string();
    let call = [
        "busctl",
        "call",
        "--quiet",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        &unit,
        "fail",
        "3",
        "PIDs",
        "au",
        "1",
        &pid,
        "Description",
        "s",
        description,
        "CollectMode",
        "s",
        "inactive-or-failed",
        "0",
    ]
    .map(str::to_owned);
    match command::run(&call, LIMIT) {
        Ok(finished) if finished.succeeded() => Ok(()),
        Ok(finished) => Err(finished.describe()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether another process is in the same unit as this one, and ends with it. One that is gone is not.
pub fn shares_our_unit(pid: i32) -> bool {
    let groups = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup"));
    match (groups("self"), groups(&pid.to_string())) {
        (Ok(own), Ok(other)) => in_service(&own) && own == other,
        _ => false,
    }
}

/// Whether systemd's hierarchy has us in a service: `0::/system.slice/pacemaker.service`, or `1:name=systemd:/…` where the
/// old hierarchies are used (cgroups(7)).
fn in_service(groups: &str) -> bool {
    let path = |prefix: &str| groups.lines().find_map(|line| line.strip_prefix(prefix));
    let systemd = groups.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| path));
    systemd.or_else(|| path("0::")).is_some_and(|path| path.split('/').any(|part| part.ends_with(".service")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_from_a_session() {
        assert!(in_service("0::/system.slice/pacemaker.service\n"));
        assert!(in_service("0::/system.slice/keepalived.service/sub\n"));
        assert!(in_service("3:cpu:/\n1:name=systemd:/system.slice/heartbeat.service\n0::/\n"));
        assert!(!in_service("0::/user.slice/user-0.slice/session-3.scope\n"));
        assert!(!in_service("0::/system.slice/standin-4711.scope\n"));
        assert!(!in_service("0::/\n"));
        assert!(!in_service(""));
    }
}
