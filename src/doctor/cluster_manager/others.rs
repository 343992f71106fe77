//! Pacemaker's and keepalived's settings, as far as it is certain what they must be.

use std::time::Duration;

use super::super::mysqld::recovery::{REPLAY_RATE, redo_bytes};
use super::super::survey::{ClusterManagerSurvey, MysqldSurvey, PacemakerSurvey, Survey};
use super::super::{Finding, edit};
use super::keepalived_hooks;
use crate::config::Config;
use crate::foreign::cib::{Cib, Primitive};
use crate::foreign::corosync::Section;
use crate::foreign::heartbeat::time;
use crate::foreign::keepalived::{Statement, vrrp_instances};
use crate::observation::Fact;

pub(super) fn pacemaker(survey: &Survey, config: &Config) -> Vec<Finding> {
    let Some(PacemakerSurvey { cib, corosync }) = &survey.cluster_manager.pacemaker else {
        return Vec::new();
    };
    let cib = match cib {
        Fact::Known(cib) => cib,
        Fact::Unknown(cause) => return vec![Finding::unknown("pacemaker-configuration", cause)],
    };
    let mut findings = vec![stonith(cib)];
    findings.push(match corosync {
        Fact::Known(corosync) => quorum(cib, corosync),
        Fact::Unknown(cause) => Finding::unknown("pacemaker-quorum", cause),
    });
    let ours = cib.primitives.iter().find(|primitive| primitive.is_ours());
    if let Some(ours) = ours {
        findings.push(time_limits(ours, &survey.mysqld, config));
        findings.push(rivals(cib, config));
    }
    findings
}

fn is_true(value: &str) -> bool {
    ["true", "yes", "on", "y", "1"].contains(&value.to_ascii_lowercase().as_str())
}

/// On unless it is switched off (Pacemaker Explained, cluster options).
fn stonith(cib: &Cib) -> Finding {
    let check = "pacemaker-stonith";
    let enabled = cib.properties.get("stonith-enabled").is_none_or(|value| is_true(value));
    let devices = cib.primitives.iter().filter(|primitive| primitive.class == "stonith").count();
    let why = "Pacemaker takes a silent peer for stopped without making sure: both nodes may serve";
    match (enabled, devices) {
        (true, 0) => Finding::fail(
            check,
            "stonith is enabled, but there is no device",
            "Pacemaker starts no resource while it could not fence",
        )
        .advice(
            "configure a fence device for each node (stonith_admin --list-installed names the kinds; fencing.crm among standin's samples is one with IPMI)",
        ),
        (true, devices) => Finding::pass(check, format!("enabled, {devices} devices")),
        (false, 0) => Finding::fail(check, "stonith-enabled is off", why)
            .advice("configure a fence device for each node, then: crm_attribute --type crm_config --name stonith-enabled --update true"),
        (false, _) => Finding::fail(check, "stonith-enabled is off, although there are devices", why)
            .remedy("crm_attribute --type crm_config --name stonith-enabled --update true"),
    }
}

/// Of two nodes the survivor has no majority: votequorum(5) knows `two_node` for that.
fn quorum(cib: &Cib, corosync: &Section) -> Finding {
    let check = "pacemaker-quorum";
    let policy = cib.properties.get("no-quorum-policy").map_or("stop", String::as_str);
    if corosync.two_node() {
        return Finding::pass(check, "two_node 1");
    }
    if policy == "ignore" {
        return Finding::pass(check, "no-quorum-policy ignore");
    }
    let finding = Finding::fail(
        check,
        format!("corosync.conf has no two_node, and no-quorum-policy is {policy}"),
        "when its peer dies, the survivor has no quorum: it stops instead of taking over",
    );
    match corosync.all("quorum").last() {
        Some(section) => finding
            .remedy(edit::line_after(&section.place, "    two_node: 1"))
            .remedy("corosync-cfgtool -R")
            .advice("do the same on the peer first"),
        None => finding.advice(
            "write quorum { provider: corosync_votequorum, two_node: 1 } in corosync.conf, on both nodes",
        ),
    }
}

/// A takeover's own limits, of which the last starts again whenever crash recovery moves: Pacemaker's must hold them, and the
/// longest recovery that the redo log allows.
fn time_limits(ours: &Primitive, mysqld: &MysqldSurvey, config: &Config) -> Finding {
    let check = "pacemaker-timeouts";
    let limits = &config.limits;
    let redo = redo_bytes(mysqld).map_or(0, |(_, each, files)| each.saturating_mul(files));
    let recovery = Duration::from_secs(redo / REPLAY_RATE);
    let needed = [
        (
            "start",
            limits.wait_vip_gone
                + limits.drbd * 2
                + limits.mount
                + limits.audit_engines
                + limits.start_mysqld.max(recovery),
        ),
        ("stop", limits.vip + limits.stop_mysqld + limits.unmount + limits.drbd),
    ];
    let mut short = Vec::new();
    for (operation, needed) in needed {
        // A promotable clone takes over in its promote and gives up in its demote.
        let other = if operation == "start" { "promote" } else { "demote" };
        let name = if ours.timeouts.contains_key(other) { other } else { operation };
        let given = ours.timeouts.get(name).and_then(|text| time(text));
        if given.is_none_or(|given| given < needed) {
            let given =
                given.map_or_else(|| "none".to_owned(), |given| format!("{:.0} s", given.as_secs_f64()));
            short.push(format!("{name} {given}, needs {:.0} s", needed.as_secs_f64()));
        }
    }
    if short.is_empty() {
        return Finding::pass(check, format!("those of {} are long enough", ours.id));
    }
    let mut seen = short.join("; ");
    if recovery > limits.start_mysqld {
        seen +=
            &format!(" (crash recovery of {} MiB of redo log may take {} s)", redo >> 20, recovery.as_secs());
    }
    Finding::warn(
        check,
        seen,
        "crash recovery that is not over when the timeout is near goes on while Pacemaker takes the start for done; any other \
         step is broken off and undone; a stop that is not over in time counts as failed, and the node is fenced",
    )
    .advice(format!("raise the timeouts of {}'s operations", ours.id))
}

fn rivals(cib: &Cib, config: &Config) -> Finding {
    let check = "pacemaker-resources";
    let vip = config.vip.address.addr().to_string();
    let device = config.mount.device.display().to_string();
    let has = |primitive: &Primitive, name: &str, value: &str| {
        primitive.parameters.get(name).is_some_and(|own| own == value)
    };
    let server =
        |agent: &str| ["mysql", "mariadb", "mysqld", "galera"].contains(&agent.trim_end_matches(".service"));
    let found: Vec<&str> = cib
        .primitives
        .iter()
        .filter(|primitive| !primitive.is_ours())
        .filter(|p| {
            has(p, "ip", &vip)
                || has(p, "device", &device)
                || has(p, "drbd_resource", &config.resource)
                || server(&p.agent)
        })
        .map(|primitive| primitive.id.as_str())
        .collect();
    if found.is_empty() {
        return Finding::pass(check, "nothing else manages what standin does");
    }
    Finding::fail(
        check,
        format!("beside standin's there are {}", found.join(", ")),
        "two agents do the same: each stops what the other has started",
    )
    .advice("remove them from Pacemaker's configuration, or standin's")
}

pub(super) fn keepalived(survey: &ClusterManagerSurvey, config: &Config) -> Vec<Finding> {
    let check = "keepalived-vip";
    let file = match &survey.keepalived {
        Some(Fact::Known(file)) => file,
        Some(Fact::Unknown(cause)) => return vec![Finding::unknown(check, cause)],
        None => {
            let why = "keepalived is configured to carry the virtual IP, and has no configuration here";
            return vec![Finding::fail(check, "there is no /etc/keepalived/keepalived.conf", why).advice(
                "begin with the sample: /usr/share/doc/standin/examples/keepalived/keepalived.conf",
            )];
        }
    };
    let vip = config.vip.address.addr();
    let instances = vrrp_instances(file);
    let Some(instance) =
        instances.iter().find(|instance| instance.addresses.iter().any(|held| held.address == vip))
    else {
        let why = "keepalived is configured to carry the virtual IP, and does not know it";
        return vec![
            Finding::fail(check, format!("no vrrp_instance has {vip}"), why)
                .advice("put it under virtual_ipaddress, on both nodes"),
        ];
    };
    let block = file
        .iter()
        .find(|statement| statement.word(0) == "vrrp_instance" && statement.place == instance.place);
    let mut findings = vec![
        Finding::pass(check, format!("vrrp_instance {} has it", instance.name)),
        preemption(block, instance.state.as_deref(), instance.nopreempt),
        keepalived_hooks::tracked(file, instance),
        keepalived_hooks::notified(file, instance),
    ];
    findings.extend(keepalived_hooks::unit(&survey.keepalived_unit));
    findings
}

/// `nopreempt` needs the state BACKUP on both nodes (keepalived.conf(5)).
fn preemption(block: Option<&Statement>, state: Option<&str>, nopreempt: bool) -> Finding {
    let check = "keepalived-preempt";
    let is_backup = state.is_none_or(|state| state == "BACKUP");
    if is_backup && nopreempt {
        return Finding::pass(check, "state BACKUP, nopreempt");
    }
    let seen = format!(
        "state {}, {}",
        state.unwrap_or("not set"),
        if nopreempt { "nopreempt" } else { "no nopreempt" }
    );
    let mut finding = Finding::fail(
        check,
        seen,
        "a node that comes back takes the virtual IP from the one that has the database",
    )
    .advice("do the same on the peer; then: systemctl reload keepalived.service");
    let line = block.and_then(|block| block.inner().iter().rfind(|line| line.word(0) == "state"));
    if let Some(line) = line.filter(|_| !is_backup) {
        finding = finding.remedy(edit::replace(&line.place, line.word(1), "BACKUP"));
    }
    if let Some(block) = block.filter(|_| !nopreempt) {
        let first = block.inner().first().map_or(&block.place, |first| &first.place);
        finding = finding.remedy(edit::line_after(first, "    nopreempt"));
    }
    finding
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::super::{Status, edit, sample};
    use super::super::agreement::tests::running;
    use super::*;
    use crate::foreign::{cib, corosync, keepalived as parser};

    fn judged(properties: &str, resources: &str, corosync: &str) -> Vec<Finding> {
        let text = format!(
            "<cib><configuration><crm_config>{properties}</crm_config><resources>{resources}</resources></configuration></cib>"
        );
        judged_with_redo(&text, corosync, "100M")
    }

    fn judged_with_redo(cib: &str, corosync: &str, redo: &str) -> Vec<Finding> {
        let mut survey = sample::survey();
        sample::set(&mut survey.mysqld, "innodb_log_file_size", redo);
        survey.cluster_manager = running("pacemaker");
        survey.cluster_manager.pacemaker = Some(PacemakerSurvey {
            cib: Fact::Known(cib::parse(cib).unwrap()),
            corosync: Fact::Known(corosync::parse(corosync, Path::new("/file")).unwrap()),
        });
        pacemaker(&survey, &sample::config_with("cluster_manager: pacemaker"))
    }

    const DEVICE: &str = r#"<primitive id="f" class="stonith" type="fence_x"/>"#;
    const TWO: &str = "quorum {\n    provider: corosync_votequorum\n    two_node: 1\n}\n";

    fn status(findings: &[Finding], check: &str) -> Option<Status> {
        sample::status(findings, check)
    }

    #[test]
    fn stonith_is_on_and_has_a_device() {
        let off = r#"<nvpair name="stonith-enabled" value="false"/>"#;
        assert_eq!(status(&judged("", DEVICE, TWO), "pacemaker-stonith"), Some(Status::Pass));
        assert_eq!(status(&judged("", "", TWO), "pacemaker-stonith"), Some(Status::Fail));
        assert_eq!(status(&judged(off, DEVICE, TWO), "pacemaker-stonith"), Some(Status::Fail));
    }

    #[test]
    fn two_nodes_need_two_node() {
        assert_eq!(status(&judged("", DEVICE, TWO), "pacemaker-quorum"), Some(Status::Pass));
        let without = TWO.replace("    two_node: 1\n", "");
        let findings = judged("", DEVICE, &without);
        let found = findings.iter().find(|finding| finding.check == "pacemaker-quorum").unwrap();
        assert_eq!(found.status, Status::Fail);
        let text = edit::tests::after(&without, &found.remedy[0]);
        assert!(corosync::parse(&text, Path::new("/file")).unwrap().two_node(), "{text}");
        let ignore = r#"<nvpair name="no-quorum-policy" value="ignore"/>"#;
        assert_eq!(status(&judged(ignore, DEVICE, &without), "pacemaker-quorum"), Some(Status::Pass));
    }

    #[test]
    fn standins_operations_are_long_enough_and_alone() {
        let ours = |start: &str, stop: &str| {
            format!(
                r#"<primitive id="db" class="ocf" provider="standin" type="innodb"><operations><op name="start" timeout="{start}"/>
                <op name="stop" timeout="{stop}"/></operations></primitive>"#
            )
        };
        let good = judged("", &ours("900s", "900s"), TWO);
        assert_eq!(status(&good, "pacemaker-timeouts"), Some(Status::Pass));
        assert_eq!(status(&good, "pacemaker-resources"), Some(Status::Pass));
        assert_eq!(status(&judged("", &ours("60s", "900s"), TWO), "pacemaker-timeouts"), Some(Status::Warn));
        let vip = r#"<primitive id="v" class="ocf" type="IPaddr2"><instance_attributes><nvpair name="ip" value="10.77.0.100"/>
            </instance_attributes></primitive>"#;
        assert_eq!(
            status(&judged("", &format!("{}{vip}", ours("900s", "900s")), TWO), "pacemaker-resources"),
            Some(Status::Fail)
        );
        assert_eq!(status(&judged("", vip, TWO), "pacemaker-resources"), None, "a classic stack");
    }

    #[test]
    fn the_longest_crash_recovery_fits_into_the_start() {
        let cib = r#"<cib><primitive id="db" class="ocf" provider="standin" type="innodb"><operations>
            <op name="start" timeout="300s"/><op name="stop" timeout="360s"/></operations></primitive></cib>"#;
        // 120 s of limits.start_mysqld are 1200 MiB at 10 MiB/s.
        for (redo, wanted) in [("1200M", Status::Pass), ("1300M", Status::Warn), ("8G", Status::Warn)] {
            let findings = judged_with_redo(cib, TWO, redo);
            assert_eq!(status(&findings, "pacemaker-timeouts"), Some(wanted), "{redo}");
        }
        let findings = judged_with_redo(cib, TWO, "8G");
        let found = findings.iter().find(|finding| finding.check == "pacemaker-timeouts").unwrap();
        assert!(found.seen.contains("start 300 s, needs 999 s"), "{found:?}");
        let promotable = cib.replace("\"start\"", "\"promote\"");
        assert_eq!(
            status(&judged_with_redo(&promotable, TWO, "8G"), "pacemaker-timeouts"),
            Some(Status::Warn)
        );
    }

    const KEEPALIVED: &str = "\
global_defs {
    notify_fifo /run/k
    notify_fifo_script \"/usr/sbin/standin keepalived-notify --fifo\"
}
vrrp_script chk {
    script \"/usr/sbin/standin check\"
}
vrrp_instance db {
    state BACKUP
    nopreempt
    virtual_ipaddress {
        10.77.0.100/24
    }
    track_script {
        chk
    }
}
";

    fn of_keepalived(text: &str) -> Vec<Finding> {
        let mut survey = running("keepalived");
        survey.keepalived = Some(Fact::Known(parser::parse(text, Path::new("/file")).unwrap()));
        keepalived(&survey, &sample::config_with("cluster_manager: keepalived"))
    }

    #[test]
    fn keepalived_carries_the_virtual_ip_and_leaves_it_where_it_is() {
        let good = of_keepalived(KEEPALIVED);
        assert!(good.len() == 4 && good.iter().all(|finding| finding.status == Status::Pass), "{good:#?}");
        assert_eq!(
            status(&of_keepalived(&KEEPALIVED.replace(".100/", ".101/")), "keepalived-vip"),
            Some(Status::Fail)
        );
        assert_eq!(
            status(&of_keepalived(&KEEPALIVED.replace("        chk\n", "")), "keepalived-script"),
            Some(Status::Warn)
        );
        let bad = KEEPALIVED.replace("BACKUP", "MASTER").replace("    nopreempt\n", "");
        let findings = of_keepalived(&bad);
        let found = findings.iter().find(|finding| finding.check == "keepalived-preempt").unwrap();
        assert_eq!(found.status, Status::Fail);
        let text = found.remedy.iter().fold(bad, |text, command| edit::tests::after(&text, command));
        assert_eq!(text, KEEPALIVED);
    }
}
