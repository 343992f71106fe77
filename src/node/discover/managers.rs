//! Cluster managers: what runs, what is enabled at boot, and their configurations.

use std::fs;
use std::path::Path;

use super::read;
use crate::config::ClusterManager;
use crate::foreign::{cib, corosync, heartbeat, keepalived};
use crate::init::Managers;
use crate::node::heartbeat::running;
use crate::plan::HeartbeatStop;

/// Program, unit and manager.
const KNOWN: [(&str, &str, ClusterManager); 3] = [
    ("heartbeat", "heartbeat.service", ClusterManager::Heartbeat(Some(HeartbeatStop::Kill))),
    ("pacemakerd", "pacemaker.service", ClusterManager::Pacemaker),
    ("keepalived", "keepalived.service", ClusterManager::Keepalived),
];

pub(super) fn look(problems: &mut Vec<String>) -> Managers {
    let mut parsed = |file: &str| read(file, problems).map(|text| (text, Path::new(file).to_owned()));
    let ha_cf = parsed("/etc/ha.d/ha.cf").map(|(text, file)| heartbeat::ha_cf(&text, &file));
    let haresources =
        parsed("/etc/ha.d/haresources").map(|(text, file)| heartbeat::haresources(&text, &file));
    let corosync = parsed("/etc/corosync/corosync.conf").map(|(text, file)| corosync::parse(&text, &file));
    let keepalived =
        parsed("/etc/keepalived/keepalived.conf").map(|(text, file)| keepalived::parse(&text, &file));
    // Pacemaker's own copy: asking its daemon may hang.
    let cib = parsed("/var/lib/pacemaker/cib/cib.xml").map(|(text, _)| cib::parse(&text));
    let mut understood = |error: Option<String>| problems.extend(error);
    understood(corosync.as_ref().and_then(|result| result.as_ref().err()).map(ToString::to_string));
    understood(keepalived.as_ref().and_then(|result| result.as_ref().err()).map(ToString::to_string));
    understood(cib.as_ref().and_then(|result| result.as_ref().err()).cloned());
    Managers {
        cib: cib.and_then(Result::ok),
        active: KNOWN
            .iter()
            .filter_map(|(program, unit, manager)| Some((*manager, active(program, unit)?)))
            .collect(),
        ha_cf,
        haresources,
        corosync: corosync.and_then(Result::ok),
        keepalived: keepalived
            .and_then(Result::ok)
            .map(|file| keepalived::vrrp_instances(&file))
            .unwrap_or_default(),
    }
}

/// In words, that a manager runs or will at boot.
fn active(program: &str, unit: &str) -> Option<String> {
    if running(&[program]).is_ok_and(|found| !found.is_empty()) {
        return Some(format!("{program} runs here"));
    }
    is_enabled(Path::new("/etc/systemd/system"), unit).then(|| format!("{unit} is enabled at boot"))
}

/// Whether a target wants or requires a unit, as `systemctl enable` writes it.
fn is_enabled(directory: &Path, unit: &str) -> bool {
    let targets = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    targets
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "wants" || extension == "requires")
        })
        .any(|path| path.join(unit).symlink_metadata().is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_enabled_by_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let wants = directory.path().join("multi-user.target.wants");
        fs::create_dir(&wants).unwrap();
        assert!(!is_enabled(directory.path(), "heartbeat.service"));
        std::os::unix::fs::symlink("/nowhere", wants.join("heartbeat.service")).unwrap();
        assert!(is_enabled(directory.path(), "heartbeat.service"));
        assert!(!is_enabled(directory.path(), "keepalived.service"));
    }
}
