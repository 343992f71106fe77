//! The doctor on two real kernels: a good cluster passes on both nodes, each sabotage is found, and its remedy, typed as
//! printed, makes it pass again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::{Cluster, ClusterOptions, LabOptions, Node, wait_until, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);

/// One thing that goes wrong on the standby.
struct Sabotage {
    /// What is done to it.
    command: &'static str,
    /// The check that must find it.
    check: &'static str,
    /// How bad it is.
    status: &'static str,
}

const fn sabotage(check: &'static str, status: &'static str, command: &'static str) -> Sabotage {
    Sabotage { command, check, status }
}

fn findings(cluster: &Cluster<'_>, node: &Node) -> Result<Vec<Value>> {
    let output = cluster.standin(node, "doctor --json")?;
    let report: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output}"))?;
    let areas = report["areas"].as_array().context("no areas")?;
    Ok(areas.iter().flat_map(|area| area["findings"].as_array().cloned().unwrap_or_default()).collect())
}

/// Those that did not pass, as `check: status: what was seen`.
fn complaints(findings: &[Value]) -> Vec<String> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let complaint = |finding| {
        format!("{}: {}: {}", text(finding, "check"), text(finding, "status"), text(finding, "seen"))
    };
    findings.iter().filter(|finding| finding["status"] != "pass").map(complaint).collect()
}

fn expect_healthy(cluster: &Cluster<'_>, node: &Node) -> Result<usize> {
    let mut last = Vec::new();
    let passed = wait_until(&format!("{} to be healthy", node.name()), SOON, || {
        let findings = findings(cluster, node)?;
        last = complaints(&findings);
        Ok(last.is_empty().then_some(findings.len()))
    });
    passed.map_err(|error| error.context(format!("{}: {last:#?}", node.name())))
}

/// The sabotage is found with its status; then its remedy is typed, and the check passes.
fn suffer(cluster: &Cluster<'_>, node: &Node, check: &str, status: &str, command: &str) -> Result<()> {
    node.run_ok(command)?;
    let found = findings(cluster, node)?;
    let finding = found
        .iter()
        .find(|finding| finding["check"] == check)
        .with_context(|| format!("no such check; the complaints are {:#?}", complaints(&found)))?;
    ensure!(finding["status"] == status, "{status} is expected: {finding:#}");
    let remedy: Vec<&str> =
        finding["remedy"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(!remedy.is_empty(), "no remedy: {finding:#}");
    println!("{check}: {}\n  {}", finding["seen"].as_str().unwrap_or_default(), remedy.join("\n  "));
    for command in &remedy {
        let output = node.run_with_deadline(command, SOON)?;
        ensure!(output.success(), "the remedy fails: {output}");
    }
    let mut last = Vec::new();
    let passes = wait_until("the check to pass", SOON, || {
        let found = findings(cluster, node)?;
        last = complaints(&found);
        Ok(found.iter().all(|other| other["check"] != check || other["status"] == "pass").then_some(()))
    });
    passes.map_err(|error| error.context(format!("after the remedy: {last:#?}")))
}

/// Puts a file of the standby back as it was, so that what a remedy leaves behind does not help the next one.
const SAVE: &str = "rm -rf /root/saved && mkdir /root/saved && cp -a /etc /root/saved/";
const RESTORE: &str = "\
for each in drbd.d standin mysql ha.d modprobe.d network sysctl.d systemd; do
    rm -rf /etc/$each
    [ ! -e /root/saved/etc/$each ] || cp -a /root/saved/etc/$each /etc/
done
cp -a /root/saved/etc/fstab /root/saved/etc/passwd /etc/
systemctl daemon-reload
drbdadm adjust r0";

/// Settings of DRBD that are edited in its file, and taken over by the kernel.
const DRBD: &[Sabotage] = &[
    sabotage("drbd-protocol", "fail", "sed -i 's/protocol C/protocol A/' /etc/drbd.d/r0.res"),
    sabotage(
        "drbd-two-primaries",
        "fail",
        "sed -i 's/protocol C;/protocol C; allow-two-primaries;/' /etc/drbd.d/r0.res && drbdadm adjust r0",
    ),
    sabotage(
        "drbd-split-brain",
        "fail",
        "sed -i 's/protocol C;/protocol C; after-sb-1pri discard-secondary;/' /etc/drbd.d/r0.res && drbdadm adjust r0",
    ),
    sabotage(
        "drbd-dead-peer",
        "fail",
        "sed -i 's/protocol C;/protocol C; ping-int 60;/' /etc/drbd.d/r0.res && drbdadm adjust r0",
    ),
    sabotage(
        "drbd-fencing",
        "fail",
        "sed -i 's/resource-and-stonith/dont-care/' /etc/drbd.d/r0.res && drbdadm adjust r0",
    ),
    sabotage(
        "drbd-fence-handler",
        "fail",
        "sed -i '/handlers/,/}/d' /etc/drbd.d/r0.res && drbdadm adjust r0",
    ),
    sabotage(
        "drbd-promoted-at-boot",
        "fail",
        "sed -i 's/^resource r0 {/resource r0 { startup { become-primary-on node1; }/' /etc/drbd.d/r0.res",
    ),
    sabotage("drbd-disk", "fail", "drbdadm detach r0"),
    sabotage("drbd-connection", "fail", "drbdadm disconnect r0"),
    sabotage("drbd-at-boot", "fail", "systemctl disable lab-drbd.service"),
    sabotage(
        "drbd-addresses",
        "fail",
        "sed -i 's/replication_address: 10.77.1.1/replication_address: 10.77.1.9/' /etc/standin/r0.yaml",
    ),
];

/// What a boot or a start of the server would do wrong.
const STORAGE_AND_UNIT: &[Sabotage] = &[
    sabotage("fstab", "fail", "echo '/dev/drbd0 /var/lib/mysql ext4 defaults 0 0' >> /etc/fstab"),
    sabotage("mount-point", "warn", "touch /var/lib/mysql/ibdata1"),
    sabotage("unit-not-at-boot", "fail", "systemctl --quiet enable mariadb.service"),
    sabotage("unit-loaded", "fail", "systemctl --quiet mask mariadb.service"),
    sabotage(
        "unit-start-time",
        "fail",
        "mkdir -p /etc/systemd/system/mariadb.service.d \
         && printf '[Service]\\nTimeoutStartSec=20\\n' > /etc/systemd/system/mariadb.service.d/slow.conf \
         && systemctl daemon-reload",
    ),
    sabotage(
        "unit-restart",
        "warn",
        "mkdir -p /etc/systemd/system/mariadb.service.d \
         && printf '[Service]\\nRestart=always\\n' > /etc/systemd/system/mariadb.service.d/again.conf \
         && systemctl daemon-reload",
    ),
];

/// Lines of an option file that lose commits, or keep the server from starting on this node.
const OPTION_FILE: &[(&str, &str, &str)] = &[
    ("mysqld-flush-log-at-commit", "fail", "innodb-flush-log-at-trx-commit=2"),
    ("mysqld-sync-binlog", "fail", "log-bin"),
    ("mysqld-doublewrite", "fail", "skip-innodb-doublewrite"),
    ("mysqld-redo-log", "fail", "innodb_log_group_home_dir=/srv/redo"),
    ("mysqld-force-recovery", "fail", "innodb_force_recovery=3"),
    ("mysqld-bind-address", "fail", "bind-address=127.0.0.1"),
    ("mysqld-socket", "fail", "socket=/tmp/other.sock"),
    ("mysqld-redo-size", "warn", "innodb_log_file_size=8G"),
];

/// The network, and what both nodes must have in common.
const NETWORK_AND_PEER: &[Sabotage] = &[
    sabotage(
        "vip-static",
        "fail",
        "mkdir -p /etc/network && printf 'iface eth0:0 inet static\\n  address 10.77.0.100/24\\n' > /etc/network/interfaces",
    ),
    sabotage("arp-answers", "fail", "sysctl -qw net.ipv4.conf.eth1.arp_ignore=8"),
    sabotage("witnesses", "warn", "sed -i '/witnesses/d' /etc/standin/r0.yaml"),
    sabotage("peer-account", "fail", "usermod -u 777 mysql"),
    sabotage("peer-clock", "warn", "date -s '+1 hour'"),
];

#[test]
#[ignore = "needs the lab: root and its image"]
fn every_sabotage_is_found_and_its_remedy_holds() -> Result<()> {
    let cmdline = vec!["drbd.usermode_helper=/sbin/drbdadm".to_owned()];
    with_lab(LabOptions { cmdline, ..LabOptions::default() }, |lab| {
        let fencing = Some("resource-and-stonith");
        let cluster = Cluster::install(lab, &ClusterOptions { fencing, ..ClusterOptions::default() })?;
        let [one, two] = lab.nodes();
        cluster.expect(one, "takeover", 0)?;
        println!("active: {} checks passed", expect_healthy(&cluster, one)?);
        println!("standby: {} checks passed", expect_healthy(&cluster, two)?);

        two.run_ok(SAVE)?;
        let mut failures = Vec::new();
        let option_file = OPTION_FILE.iter().map(|(check, status, line)| {
            let command = format!("echo {line} >> /etc/mysql/mariadb.conf.d/99-lab.cnf");
            (*check, *status, command)
        });
        let all = [DRBD, STORAGE_AND_UNIT, NETWORK_AND_PEER].into_iter().flatten();
        let all = all.map(|each| (each.check, each.status, each.command.to_owned())).chain(option_file);
        let mut found = 0;
        for (check, status, command) in all {
            match suffer(&cluster, two, check, status, &command) {
                Ok(()) => found += 1,
                Err(error) => failures.push(format!("{check}: {command}: {error:#}")),
            }
            two.run_ok(RESTORE).with_context(|| format!("after {check}"))?;
        }
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        println!("{found} sabotages found, and mended as printed");
        expect_healthy(&cluster, two)?;
        Ok(())
    })
}
