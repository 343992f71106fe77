//! The cluster managers' own settings: their files, and one command where Pacemaker runs.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::files;
use crate::config::Config;
use crate::doctor::survey::{AuthKeysFile, ClusterManagerSurvey, HeartbeatSurvey, Manager, PacemakerSurvey};
use crate::foreign::{Place, cib, corosync, heartbeat, keepalived, unit_file};
use crate::node::{address, command, heartbeat as daemons, systemd};
use crate::observation::Fact;

/// Each manager with its daemon and its unit.
const KNOWN: [(&str, &str, &str); 3] = [
    ("heartbeat", "heartbeat", "heartbeat.service"),
    ("pacemaker", "pacemakerd", "pacemaker.service"),
    ("keepalived", "keepalived", "keepalived.service"),
];

/// For `cibadmin`, which waits for a daemon that may hang.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn look(config: &Config) -> ClusterManagerSurvey {
    let managers = managers();
    let pacemaker_runs =
        managers.known().is_some_and(|managers| managers.iter().any(|m| m.name == "pacemaker" && m.runs));
    let (configured, not_configured) = configured(&config.file);
    ClusterManagerSurvey {
        managers,
        agent: agent(config),
        configured,
        not_configured,
        heartbeat: heartbeats(config),
        pacemaker: pacemaker(pacemaker_runs),
        keepalived: parsed("/etc/keepalived/keepalived.conf", |text, file| {
            keepalived::parse(text, file).map_err(|error| error.to_string())
        }),
        keepalived_unit: unit_file::settings(
            files::unit_texts("keepalived.service").iter().map(String::as_str),
        ),
    }
}

fn managers() -> Fact<Vec<Manager>> {
    let enabled = files::enabled_units();
    let manager = |(name, daemon, unit): (&str, &str, &str)| {
        // Elastic's monitor is called heartbeat, too: who knows Heartbeat tells them apart.
        let runs = if name == "heartbeat" {
            match daemons::observe() {
                Fact::Known(state) => !state.pids.is_empty(),
                Fact::Unknown(cause) => return Err(cause),
            }
        } else {
            !daemons::running(&[daemon])?.is_empty()
        };
        Ok(Manager { name: name.to_owned(), runs, enabled: enabled.contains_key(unit) })
    };
    KNOWN.into_iter().map(manager).collect::<Result<Vec<_>, String>>().into()
}

fn agent(config: &Config) -> Fact<Manager> {
    let unit = format!("standin-agent@{}.service", config.name);
    let enabled = files::enabled_units().contains_key(&unit);
    let state = systemd::show(&unit, COMMAND_LIMIT);
    state.map(|state| Manager { runs: !state.is_down(), enabled, name: unit }).into()
}

/// The line that sets it, where it stands on one line; and whether there is none.
fn configured(file: &Path) -> (Option<(Place, String)>, bool) {
    let lines = files::lines(file);
    let line = lines.into_iter().find(|(_, line)| line.starts_with("cluster_manager:"));
    let not_there = line.is_none();
    let has_value = |line: &str| {
        line.split_once(':')
            .is_some_and(|(_, value)| value.split('#').next().is_some_and(|value| !value.trim().is_empty()))
    };
    (line.filter(|(_, line)| has_value(line)), not_there)
}

fn parsed<T>(file: &str, parse: impl FnOnce(&str, &Path) -> Result<T, String>) -> Option<Fact<T>> {
    let file = Path::new(file);
    match files::text(file) {
        Ok(None) => None,
        Ok(Some(text)) => Some(parse(&text, file).into()),
        Err(cause) => Some(Fact::Unknown(cause)),
    }
}

fn heartbeats(config: &Config) -> HeartbeatSurvey {
    let text = |file: &str| {
        files::text(Path::new(file)).ok().flatten().map(|text| (text, Path::new(file).to_owned()))
    };
    let authkeys = text("/etc/ha.d/authkeys").and_then(|(text, file)| {
        let mode = fs::metadata(&file).ok()?.permissions().mode() & 0o777;
        Some(AuthKeysFile { keys: heartbeat::authkeys(&text, &file), mode })
    });
    let unit = files::unit_texts("heartbeat.service");
    let peers = [config.peer.address, config.peer.replication_address];
    let haresources = text("/etc/ha.d/haresources").map(|(text, file)| heartbeat::haresources(&text, &file));
    HeartbeatSurvey {
        missing_scripts: haresources.as_ref().map(missing_scripts).unwrap_or_default(),
        ha_cf: text("/etc/ha.d/ha.cf").map(|(text, file)| without_secrets(heartbeat::ha_cf(&text, &file))),
        haresources,
        authkeys,
        watchdog: daemons::held_watchdog(),
        unit: unit_file::settings(unit.iter().map(String::as_str)),
        peer_interfaces: peers.into_iter().filter_map(|peer| Some((peer, way(peer)?))).collect(),
        own_addresses: vec![config.this_node.address, config.this_node.replication_address],
    }
}

/// Where Heartbeat's ResourceManager looks for a resource's script.
const SCRIPTS: [&str; 3] = ["/etc/ha.d/resource.d", "/etc/init.d", "/etc/rc.d/init.d"];

fn missing_scripts(file: &heartbeat::HaResources) -> Vec<String> {
    let names = file.groups.iter().flat_map(|group| &group.resources).map(|resource| &resource.script);
    let is_there = |name: &String| SCRIPTS.iter().any(|directory| Path::new(directory).join(name).is_file());
    names.filter(|name| !is_there(name)).cloned().collect()
}

fn way(peer: Ipv4Addr) -> Option<String> {
    address::route_interface(peer).ok().filter(|route| !route.local).map(|route| route.interface)
}

fn without_secrets(mut file: heartbeat::HaCf) -> heartbeat::HaCf {
    for directive in file.directives.iter_mut().filter(|directive| directive.name.starts_with("stonith")) {
        directive.arguments.truncate(2);
    }
    file
}

fn pacemaker(runs: bool) -> Option<PacemakerSurvey> {
    let stored = || files::text(Path::new("/var/lib/pacemaker/cib/cib.xml"));
    let text = if runs { cibadmin() } else { stored().transpose()? };
    let no_corosync = || Fact::Unknown("there is no /etc/corosync/corosync.conf".to_owned());
    Some(PacemakerSurvey {
        cib: text.and_then(|text| cib::parse(&text)).into(),
        corosync: parsed("/etc/corosync/corosync.conf", |text, file| {
            corosync::parse(text, file).map_err(|error| error.to_string())
        })
        .unwrap_or_else(no_corosync),
    })
}

fn cibadmin() -> Result<String, String> {
    let words = ["cibadmin", "--query", "--local"].map(str::to_owned);
    let finished = command::run(&words, COMMAND_LIMIT).map_err(|error| error.to_string())?;
    if finished.succeeded() { Ok(finished.stdout) } else { Err(finished.describe()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_configuration_is_found_where_it_has_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.yaml");
        let found = |text: &str| {
            fs::write(&file, text).unwrap();
            let (line, not_there) = configured(&file);
            (line.map(|(place, _)| place.line), not_there)
        };
        assert_eq!(found("a: 1\ncluster_manager: {heartbeat: kill}\n"), (Some(2), false));
        assert_eq!(found("cluster_manager: # yes\n  heartbeat: kill\n"), (None, false));
        assert_eq!(found("# cluster_manager: none\n"), (None, true));
    }

    #[test]
    fn parameters_of_stonith_devices_are_left_out() {
        let file = heartbeat::ha_cf("stonith_host * apc 10.0.0.1 user secret\n", Path::new("/h"));
        assert!(!format!("{:?}", without_secrets(file)).contains("secret"));
    }
}
