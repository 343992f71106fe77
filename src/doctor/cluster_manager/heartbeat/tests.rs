//! Heartbeat's files, each check both ways.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::super::survey::AuthKeysFile;
use super::super::super::{Status, edit, sample};
use super::super::agreement::tests::running;
use super::*;
use crate::foreign::heartbeat::{authkeys as parse_authkeys, ha_cf, haresources};

const GOOD: &str = "\
logfacility daemon
keepalive 1
deadtime 10
initdead 60
auto_failback off
ucast eth0 10.77.0.1
ucast eth1 10.77.1.1
node node1 node2
";

fn survey_with(file: &str) -> Survey {
    let mut survey = sample::survey();
    survey.cluster_manager = running("heartbeat");
    let heartbeat = &mut survey.cluster_manager.heartbeat;
    heartbeat.ha_cf = Some(ha_cf(file, Path::new(HA_CF)));
    heartbeat.authkeys =
        Some(AuthKeysFile { keys: parse_authkeys("auth 1\n1 sha1 k\n", Path::new("/a")), mode: 0o600 });
    heartbeat.unit = BTreeMap::from([("Service.KillMode".to_owned(), "process".to_owned())]);
    heartbeat.peer_interfaces = [("10.77.0.1", "eth0"), ("10.77.1.1", "eth1")]
        .map(|(ip, name)| (ip.parse().unwrap(), name.to_owned()))
        .to_vec();
    heartbeat.own_addresses = ["10.77.0.2", "10.77.1.2"].map(|ip| ip.parse().unwrap()).to_vec();
    survey
}

fn judge(survey: &Survey, check: &str) -> Finding {
    let config = sample::config_with("cluster_manager: {heartbeat: kill}");
    let found = examine(survey, &config, Some(HeartbeatStop::Kill));
    found.into_iter().find(|finding| finding.check == check).unwrap()
}

fn of_file(old: &str, new: &str, check: &str) -> Finding {
    judge(&survey_with(&GOOD.replace(old, new)), check)
}

#[test]
fn a_good_configuration_passes() {
    let config = sample::config_with("cluster_manager: {heartbeat: kill}");
    let findings = examine(&survey_with(GOOD), &config, Some(HeartbeatStop::Kill));
    assert!(
        findings.len() >= 9 && findings.iter().all(|found| found.status == Status::Pass),
        "{findings:#?}"
    );
}

#[test]
fn each_directive_is_judged() {
    for (old, new, check, status) in [
        ("auto_failback off", "auto_failback on", "ha-auto-failback", Status::Fail),
        ("auto_failback off\n", "", "ha-auto-failback", Status::Fail),
        ("deadtime 10", "deadtime 2", "ha-deadtime", Status::Fail),
        ("deadtime 10", "deadtime 300", "ha-deadtime", Status::Warn),
        ("initdead 60", "initdead 15", "ha-initdead", Status::Warn),
        ("node node1 node2", "node node1 nodeX", "ha-nodes", Status::Fail),
        ("ucast eth1 10.77.1.1", "ucast eth1 10.77.1.2", "ha-links", Status::Warn),
        ("logfacility daemon", "", "ha-log", Status::Warn),
    ] {
        let found = of_file(old, new, check);
        assert_eq!(found.status, status, "{new} {found:?}");
        assert!(!found.remedy.is_empty(), "{new}");
    }
    let both = judge(
        &survey_with(&GOOD.replace("deadtime 10\ninitdead 60", "deadtime 2\ninitdead 3")),
        "ha-initdead",
    );
    assert!(both.remedy[0].contains("#initdead 20#"), "it fits the deadtime of the other remedy: {both:?}");
}

#[test]
fn a_directive_is_set_where_it_stands_or_at_the_end() {
    let found = of_file("auto_failback off", "auto_failback on # no", "ha-auto-failback");
    let text = edit::tests::after(
        &GOOD.replace("failback off", "failback on # no"),
        &found.remedy[0].replace(HA_CF, "/file"),
    );
    assert_eq!(text, GOOD);
    let found = of_file("auto_failback off\n", "", "ha-auto-failback");
    assert_eq!(found.remedy, ["printf '\\nauto_failback off\\n' >> /etc/ha.d/ha.cf"]);
    let found = of_file("ucast eth1 10.77.1.1\n", "", "ha-links");
    assert_eq!(found.remedy, ["printf '\\nucast eth1 10.77.1.1\\n' >> /etc/ha.d/ha.cf"]);
}

#[test]
fn the_keys_are_private_and_sign() {
    let mut survey = survey_with(GOOD);
    let keys = |text: &str| parse_authkeys(text, Path::new("/a"));
    survey.cluster_manager.heartbeat.authkeys =
        Some(AuthKeysFile { keys: keys("auth 1\n1 sha1 k\n"), mode: 0o644 });
    assert_eq!(judge(&survey, "ha-authkeys").remedy, ["chmod 600 /etc/ha.d/authkeys"]);
    survey.cluster_manager.heartbeat.authkeys =
        Some(AuthKeysFile { keys: keys("auth 1\n1 crc\n"), mode: 0o600 });
    assert_eq!(judge(&survey, "ha-authkeys").status, Status::Warn);
    survey.cluster_manager.heartbeat.authkeys =
        Some(AuthKeysFile { keys: keys("auth 1\n1 sha1 \n"), mode: 0o600 });
    assert_eq!(judge(&survey, "ha-authkeys").status, Status::Fail, "Heartbeat wants a key");
    survey.cluster_manager.heartbeat.authkeys = None;
    assert_eq!(judge(&survey, "ha-authkeys").status, Status::Fail);
}

#[test]
fn standin_is_first_in_its_group_and_has_no_rival() {
    let judged = |text: &str| {
        let mut survey = survey_with(GOOD);
        survey.cluster_manager.heartbeat.haresources = Some(haresources(text, Path::new("/file")));
        judge(&survey, "ha-resources")
    };
    assert_eq!(judged("node1 standin::r0 MailTo::root\n").status, Status::Pass);
    assert_eq!(
        judged("node1 drbddisk::r0 IPaddr2::10.77.0.100/24/eth0 mysql\n").status,
        Status::Pass,
        "standin by hand"
    );
    assert_eq!(
        judged("node1 standin::r0\nnode2 IPaddr2::10.77.0.200/24\n").status,
        Status::Pass,
        "another cluster"
    );
    assert_eq!(judged("node3 standin::r0\n").status, Status::Fail, "no such node");
    let text = "# x\nnode1 MailTo::root IPaddr2::10.77.0.100/24/eth0 standin::r0\n";
    let found = judged(text);
    assert_eq!(found.status, Status::Fail);
    let after = edit::tests::after(text, &found.remedy[0]);
    assert_eq!(after, "# x\nnode1 standin::r0 MailTo::root\n");
    assert_eq!(judged(&after).status, Status::Pass);
    assert_eq!(judged("node1 standin::r0\nnode1 10.77.0.100\n").status, Status::Fail);
}

#[test]
fn a_watchdog_forbids_the_kill_and_the_unit_must_let_a_takeover_live() {
    let mut survey = survey_with(GOOD);
    survey.cluster_manager.heartbeat.watchdog = Some("/dev/watchdog".to_owned());
    let found = judge(&survey, "ha-watchdog");
    assert_eq!((found.status, found.remedy.len()), (Status::Fail, 1));
    let config = sample::config_with("cluster_manager: {heartbeat: stop}");
    let found = examine(&survey, &config, Some(HeartbeatStop::Stop));
    assert_eq!(sample::status(&found, "ha-watchdog"), Some(Status::Pass));
    survey.cluster_manager.heartbeat.unit =
        BTreeMap::from([("Service.Type".to_owned(), "simple".to_owned())]);
    assert_eq!(judge(&survey, "ha-unit").status, Status::Warn);
}
