//! Heartbeat's own settings: `ha.cf`, `haresources`, `authkeys`, its unit.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub(super) mod way;

use std::time::Duration;

use super::super::survey::{HeartbeatSurvey, Survey};
use super::super::{Finding, edit};
use super::agreement::set;
use super::leftover;
use crate::config::Config;
use crate::foreign::heartbeat::{Group, HaCf, HaResources, Resource};
use crate::plan::{HeartbeatStop, MysqldControl};

const HA_CF: &str = "/etc/ha.d/ha.cf";

/// ha.cf takes effect when Heartbeat reads it again.
const RELOAD: &str = "Heartbeat reads it at its next start or reload: systemctl reload heartbeat.service; do the same on the peer";

/// Heartbeat's own defaults (its `config.h` and ha.cf(5)).
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(2);
const DEFAULT_DEADTIME: Duration = Duration::from_secs(30);

pub(super) fn examine(survey: &Survey, config: &Config, how: Option<HeartbeatStop>) -> Vec<Finding> {
    let heartbeat = &survey.cluster_manager.heartbeat;
    let Some(ha_cf) = &heartbeat.ha_cf else {
        return vec![
            Finding::fail("ha-cf", format!("there is no {HA_CF}"), "Heartbeat does not start without it")
                .advice("write it, the same on both nodes: see ha.cf(5)"),
        ];
    };
    let mut findings = vec![failback(ha_cf), times(ha_cf, config), initdead(ha_cf)];
    findings.push(nodes(ha_cf, config));
    findings.push(links(ha_cf, heartbeat));
    findings.push(stonith(ha_cf, config));
    findings.push(log(ha_cf));
    findings.push(authkeys(heartbeat));
    findings.extend(heartbeat.haresources.as_ref().map(|file| resources(file, heartbeat, config)));
    findings.extend(heartbeat.haresources.as_ref().and_then(|file| way::examine(file, survey, config, how)));
    findings.extend(watchdog(survey, config, how));
    findings.extend(unit(heartbeat));
    findings
}

/// Sets a directive: where it stands, or at the end of the file.
fn directive(finding: Finding, ha_cf: &HaCf, name: &str, value: &str) -> Finding {
    let new = format!("{name} {value}");
    let finding = match ha_cf.last(name) {
        Some(old) => finding.remedy(edit::whole_line(&old.place, &new)),
        None => finding.remedy(format!("printf '\\n{new}\\n' >> {HA_CF}")),
    };
    finding.advice(RELOAD)
}

fn failback(ha_cf: &HaCf) -> Finding {
    let check = "ha-auto-failback";
    if matches!(ha_cf.switch("auto_failback"), Some((false, _))) {
        return Finding::pass(check, "auto_failback off");
    }
    let seen = match ha_cf.last("auto_failback") {
        Some(set) => format!("{}: auto_failback {}", set.place, set.argument()),
        None => "auto_failback is not set, and is not off then".to_owned(),
    };
    let why = "a node that comes back after a crash takes the database back at once: a second outage, and a loop when it \
               crashes again";
    directive(Finding::fail(check, seen, why), ha_cf, "auto_failback", "off")
}

fn time(ha_cf: &HaCf, name: &str, default: Duration) -> Duration {
    ha_cf.time(name).map_or(default, |(time, _)| time)
}

/// Three beats have to be missed before a node counts as dead: one late packet is no death. More than twice Heartbeat's own
/// default (ha.cf(5)) is rather a slip in the unit than a choice.
const MISSED_BEATS: u32 = 3;
const TOO_LATE: Duration = Duration::from_secs(60);

fn times(ha_cf: &HaCf, config: &Config) -> Finding {
    let check = "ha-deadtime";
    let keepalive = time(ha_cf, "keepalive", DEFAULT_KEEPALIVE);
    let deadtime = time(ha_cf, "deadtime", DEFAULT_DEADTIME);
    let seen = format!(
        "deadtime {:.1} s, keepalive {:.1} s; then a takeover waits up to {:.0} s for DRBD and the virtual IP",
        deadtime.as_secs_f64(),
        keepalive.as_secs_f64(),
        config.limits.wait_vip_gone.as_secs_f64()
    );
    let fitting = fitting_deadtime(ha_cf).as_secs();
    if deadtime < keepalive * MISSED_BEATS {
        let why = "one delayed packet counts as the peer's death: a takeover beside a living peer";
        return directive(Finding::fail(check, seen, why), ha_cf, "deadtime", &fitting.to_string());
    }
    if deadtime > TOO_LATE {
        let why = "so long nobody takes over, and every client waits";
        return directive(Finding::warn(check, seen, why), ha_cf, "deadtime", &fitting.to_string());
    }
    Finding::pass(check, seen)
}

/// What `deadtime` is, or is to become where it is judged to be wrong.
fn fitting_deadtime(ha_cf: &HaCf) -> Duration {
    let keepalive = time(ha_cf, "keepalive", DEFAULT_KEEPALIVE);
    let deadtime = time(ha_cf, "deadtime", DEFAULT_DEADTIME);
    if (keepalive * MISSED_BEATS..=TOO_LATE).contains(&deadtime) {
        return deadtime;
    }
    Duration::from_secs((keepalive * 10).as_secs().clamp(1, TOO_LATE.as_secs()))
}

/// At least twice `deadtime`, because networks come up slowly (ha.cf(5)).
fn initdead(ha_cf: &HaCf) -> Finding {
    let check = "ha-initdead";
    let deadtime = fitting_deadtime(ha_cf);
    match ha_cf.time("initdead") {
        Some((initdead, _)) if initdead < deadtime * 2 => {
            let seen =
                format!("initdead {:.0} s, deadtime {:.0} s", initdead.as_secs_f64(), deadtime.as_secs_f64());
            let why = "a node that boots declares its peer dead before its own network is up, and takes over beside it";
            let value = (deadtime * 2).as_secs_f64().ceil();
            directive(Finding::warn(check, seen, why), ha_cf, "initdead", &format!("{value:.0}"))
        }
        Some((initdead, _)) => Finding::pass(check, format!("initdead {:.0} s", initdead.as_secs_f64())),
        None => Finding::pass(check, "not set: Heartbeat takes twice the deadtime or more"),
    }
}

fn nodes(ha_cf: &HaCf, config: &Config) -> Finding {
    let check = "ha-nodes";
    let named = ha_cf.nodes();
    let wanted = [config.this_node.name.as_str(), config.peer.name.as_str()];
    let is_there = |name: &str| named.iter().any(|node| node.eq_ignore_ascii_case(name));
    if wanted.iter().all(|name| is_there(name)) && named.len() == 2 {
        return Finding::pass(check, named.join(", "));
    }
    let finding = Finding::fail(
        check,
        format!("ha.cf names {}, the cluster is {} and {}", shown(&named), wanted[0], wanted[1]),
        "Heartbeat does not start on a node that it does not know, and waits for one that is not there",
    );
    if ha_cf.all("node").count() > 1 {
        return finding.advice(format!(
            "correct the lines `node` in {HA_CF}, on both nodes, as `uname -n` prints the names"
        ));
    }
    let mut sorted = wanted;
    sorted.sort_unstable();
    directive(finding, ha_cf, "node", &sorted.join(" "))
}

fn shown(names: &[&str]) -> String {
    if names.is_empty() { "no node".to_owned() } else { names.join(", ") }
}

/// The media by which Heartbeat hears its peer.
fn links(ha_cf: &HaCf, survey: &HeartbeatSurvey) -> Finding {
    let check = "ha-links";
    let mut media: Vec<String> = ha_cf
        .unicasts()
        .iter()
        .filter(|(_, address, _)| !survey.own_addresses.contains(address))
        .map(|(interface, _, _)| (*interface).to_owned())
        .collect();
    media.extend(ha_cf.all("bcast").flat_map(|bcast| bcast.arguments.clone()));
    media.extend(ha_cf.all("mcast").map(|mcast| mcast.argument().to_owned()));
    media.extend(ha_cf.all("serial").flat_map(|serial| serial.arguments.clone()));
    media.sort();
    media.dedup();
    if media.len() >= 2 {
        return Finding::pass(check, media.join(", "));
    }
    let seen = if media.is_empty() {
        "Heartbeat has no link".to_owned()
    } else {
        format!("Heartbeat has one link: {}", media.join(""))
    };
    let why = "when that one is cut, both nodes take the other for dead";
    let finding = Finding::warn(check, seen, why);
    let missing: Vec<String> = survey
        .peer_interfaces
        .iter()
        .filter(|(_, interface)| !media.contains(interface))
        .map(|(address, interface)| format!("ucast {interface} {address}"))
        .collect();
    if missing.is_empty() {
        return finding.advice("give it a second link: another interface with ucast, or a serial cable");
    }
    let commands = missing.iter().map(|line| format!("printf '\\n{line}\\n' >> {HA_CF}"));
    Finding { remedy: commands.collect(), ..finding }
        .advice("on the peer the same with this node's addresses; Heartbeat reads it at its next start")
}

fn stonith(ha_cf: &HaCf, config: &Config) -> Finding {
    let check = "ha-stonith";
    let devices = ha_cf.all("stonith").chain(ha_cf.all("stonith_host")).count();
    if devices > 0 {
        return Finding::pass(check, format!("{devices} devices"));
    }
    if config.fence.is_some() || !config.witnesses.is_empty() {
        return Finding::pass(check, "none, but standin has a fence command or witnesses");
    }
    Finding::warn(
        check,
        "no stonith device, no fence command and no witness",
        "Heartbeat takes over on silence alone, also beside a peer that lives",
    )
    .advice("configure a stonith device, or witnesses for standin (see the check witnesses)")
}

fn log(ha_cf: &HaCf) -> Finding {
    let check = "ha-log";
    let set = ["logfile", "logfacility", "use_logd"].into_iter().find_map(|name| ha_cf.last(name));
    match set {
        Some(set) => Finding::pass(check, format!("{} {}", set.name, set.argument())),
        None => {
            let why = "after a failover nobody can tell why Heartbeat decided as it did";
            directive(
                Finding::warn(check, "Heartbeat logs to nowhere that is set", why),
                ha_cf,
                "logfacility",
                "daemon",
            )
        }
    }
}

fn authkeys(survey: &HeartbeatSurvey) -> Finding {
    let check = "ha-authkeys";
    let file = "/etc/ha.d/authkeys";
    let Some(authkeys) = &survey.authkeys else {
        return Finding::fail(check, format!("there is no {file}"), "Heartbeat does not start without it")
            .advice("write it with a long random key, mode 0600, the same on both nodes: see authkeys(5)");
    };
    if authkeys.mode & 0o077 != 0 {
        let why = "Heartbeat refuses to start, and others can read the key that makes a message count as the peer's";
        return Finding::fail(check, format!("{file} has mode {:04o}", authkeys.mode), why)
            .remedy(format!("chmod 600 {file}"));
    }
    match authkeys.keys.signing_method() {
        Some(method) if method.name == "crc" => Finding::warn(
            check,
            format!("{}: crc", method.place),
            "it signs nothing: any machine on the network can speak as the peer",
        )
        .advice("take sha1 with a long random key, the same on both nodes, and restart Heartbeat on both"),
        Some(method) if !method.has_key => Finding::fail(
            check,
            format!("{}: {} has no key", method.place, method.name),
            "Heartbeat does not start: \"Auth method requires a key\"",
        )
        .advice("write a long random key behind it, the same on both nodes, and restart Heartbeat on both"),
        Some(method) => Finding::pass(check, format!("mode {:04o}, {}", authkeys.mode, method.name)),
        None => {
            Finding::fail(check, format!("{file} has no key for its `auth` line"), "Heartbeat does not start")
                .advice("see authkeys(5)")
        }
    }
}

/// Our own resource, `standin::CLUSTER`.
pub(super) fn is_ours(resource: &Resource, config: &Config) -> bool {
    resource.script == "standin" && resource.arguments.first().is_none_or(|name| *name == config.name)
}

/// What does for this cluster what standin does.
pub(super) fn is_rival(resource: &Resource, config: &Config) -> bool {
    let of_vip = resource.address().is_some_and(|held| held.address == config.vip.address.addr());
    let names = |text: &str| resource.arguments.iter().any(|argument| argument == text);
    let unit = match &config.mysqld.control {
        MysqldControl::Unit(unit) => unit.trim_end_matches(".service"),
        MysqldControl::Command(_) => "",
    };
    let server =
        ["mysql", "mysqld", "mariadb"].contains(&resource.script.as_str()) || resource.script == unit;
    of_vip
        || server
        || (resource.script.starts_with("drbd") && (names(&config.resource) || resource.arguments.is_empty()))
        || (resource.script == "Filesystem" && names(&config.mount.device.display().to_string()))
}

/// Without our resource in it, Heartbeat's own scripts run the cluster and standin takes over by hand.
fn resources(file: &HaResources, survey: &HeartbeatSurvey, config: &Config) -> Finding {
    let check = "ha-resources";
    let groups = |resource: fn(&Resource, &Config) -> bool| {
        file.groups
            .iter()
            .filter(move |group| group.resources.iter().any(|held| resource(held, config)))
            .collect::<Vec<&Group>>()
    };
    let ours = groups(is_ours);
    let Some(group) = ours.first() else {
        return Finding::pass(check, "standin is in no group: it takes over when a person says so");
    };
    if let Some(finding) = leftover::impossible(check, group, survey, config) {
        return finding;
    }
    let rivals: Vec<&str> = file
        .groups
        .iter()
        .flat_map(|group| &group.resources)
        .filter(|resource| is_rival(resource, config))
        .map(|resource| resource.text.as_str())
        .collect();
    let first = group.resources.first().is_some_and(|resource| is_ours(resource, config));
    if first && rivals.is_empty() && ours.len() == 1 {
        return Finding::pass(check, format!("{}: standin is first in its group", group.place));
    }
    let finding = if rivals.is_empty() {
        Finding::fail(
            check,
            format!("{}: standin is not first in its group", group.place),
            "what stands before it is started before the virtual IP is known to be free",
        )
    } else {
        Finding::fail(
            check,
            format!("{}: beside standin stand {}", group.place, rivals.join(", ")),
            "two scripts do the same: each stops what the other has started",
        )
    };
    let others =
        group.resources.iter().filter(|resource| !is_ours(resource, config) && !is_rival(resource, config));
    let words: Vec<&str> = std::iter::once(group.node.as_str())
        .chain(
            group
                .resources
                .iter()
                .find(|resource| is_ours(resource, config))
                .map(|resource| resource.text.as_str()),
        )
        .chain(others.map(|resource| resource.text.as_str()))
        .collect();
    let elsewhere = groups(is_rival).iter().any(|rival| rival.place != group.place);
    if elsewhere || ours.len() > 1 {
        return finding.advice(format!("leave one line for this cluster: {}", words.join(" ")));
    }
    finding
        .remedy(edit::whole_line(&group.place, &words.join(" ")))
        .advice("with Heartbeat stopped, and the same on the peer: what is started by a line that is gone is stopped by nobody")
}

fn watchdog(survey: &Survey, config: &Config, how: Option<HeartbeatStop>) -> Option<Finding> {
    let check = "ha-watchdog";
    let heartbeat = &survey.cluster_manager.heartbeat;
    let configured = heartbeat.ha_cf.as_ref().and_then(|file| file.last("watchdog"));
    let seen = match (&heartbeat.watchdog, configured) {
        (Some(device), _) => format!("Heartbeat holds {device}"),
        (None, Some(set)) => format!("{}: watchdog {}", set.place, set.argument()),
        (None, None) => return Some(Finding::pass(check, "Heartbeat holds no watchdog")),
    };
    if how != Some(HeartbeatStop::Kill) {
        return Some(Finding::pass(check, format!("{seen}, and is stopped in order")));
    }
    let why = "a takeover refuses to kill it: the timer would reset this machine in the middle of its work";
    Some(set(Finding::fail(check, seen, why), &survey.cluster_manager, config, "{heartbeat: stop}"))
}

/// What Heartbeat's scripts start must outlive Heartbeat. A takeover does, in a scope of its own; the other scripts of the group
/// and what they start do not.
fn unit(survey: &HeartbeatSurvey) -> Option<Finding> {
    let check = "ha-unit";
    if survey.unit.is_empty() {
        return None;
    }
    let mode =
        survey.unit.get("Service.KillMode").and_then(|modes| modes.lines().last()).unwrap_or("control-group");
    if ["process", "none"].contains(&mode) {
        return Some(Finding::pass(check, format!("KillMode={mode}")));
    }
    let directory = "/etc/systemd/system/heartbeat.service.d";
    let why = "with Heartbeat systemd ends what its scripts have started; a takeover goes on in a scope of its own, and nobody \
               hears how it ended";
    Some(
        Finding::warn(check, format!("heartbeat.service has KillMode={mode}"), why)
            .remedy(format!("mkdir -p {directory}"))
            .remedy(format!("printf '[Service]\\nKillMode=process\\n' > {directory}/zz-standin.conf"))
            .remedy("systemctl daemon-reload"),
    )
}
