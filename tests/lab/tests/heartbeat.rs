//! A takeover with a real Heartbeat 3.0.6 in its way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use standin_lab::{Cluster, ClusterOptions, Lab, LabOptions, Node, State, wait_until, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(60);

const HA_CF: &str = "\
logfile /var/log/ha-log
keepalive 1
warntime 3
deadtime 5
initdead 5
udpport 694
ucast eth0 10.77.0.1
ucast eth0 10.77.0.2
auto_failback off
crm no
node node1 node2
";

fn start_heartbeat(lab: &Lab) -> Result<()> {
    lab.on_both(|node| {
        node.write_file("/etc/ha.d/ha.cf", HA_CF, 0o644)?;
        node.write_file("/etc/ha.d/authkeys", "auth 1\n1 sha1 of-the-lab\n", 0o600)?;
        node.write_file("/etc/ha.d/haresources", "", 0o644)?;
        node.run_ok("systemctl start heartbeat.service")
    })?;
    for (node, peer) in [(lab.node1(), "node2"), (lab.node2(), "node1")] {
        wait_until(&format!("Heartbeat on {} to see {peer}", node.name()), SOON, || {
            let peer_status = node.run_ok(&format!("cl_status nodestatus {peer}"))?;
            // Until then it is in a transition, in which it puts off an orderly stop.
            let log = node.run_ok("cat /var/log/ha-log")?;
            let settled = log.contains("Initial resource acquisition complete");
            Ok((peer_status.trim() == "active" && settled).then_some(()))
        })?;
    }
    Ok(())
}

/// Its processes by their id, without what comes and goes by itself: Heartbeat's scripts among them.
fn processes(node: &Node) -> Result<BTreeMap<String, String>> {
    let text = node.run_ok("ps --ppid 2 -p 2 --deselect -o pid=,ppid=,comm=")?;
    let mut parents = BTreeMap::new();
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        if let (Some(pid), Some(parent), Some(name)) = (words.next(), words.next(), words.next()) {
            parents.insert(pid.clone(), parent);
            names.insert(pid, name);
        }
    }
    let is_heartbeat = |pid: &String| names.get(pid).is_some_and(|name| name == "heartbeat");
    let above = |pid: &String| std::iter::successors(parents.get(pid), |pid| parents.get(*pid));
    let is_script = |pid: &String| !is_heartbeat(pid) && above(pid).any(is_heartbeat);
    let volatile = ["ps", "sh", "lab-agent", "systemd-udevd", "(udev-worker)"];
    let lasting = names.iter().filter(|(pid, name)| !volatile.contains(&name.as_str()) && !is_script(pid));
    Ok(lasting.map(|(pid, name)| (pid.clone(), name.clone())).collect())
}

fn step_end(cluster: &Cluster<'_>, node: &Node) -> Result<Value> {
    let journal = cluster.journal(node)?;
    let found = journal
        .into_iter()
        .rfind(|entry| entry["event"] == "step-end" && entry["step"] == "stop-cluster-manager");
    Ok(found.unwrap_or(Value::Null))
}

/// The peer has no power, and Heartbeat here knows it or does not: it is out of the way before anything is changed.
fn takeover(lab: &Lab, cluster: &Cluster<'_>) -> Result<String> {
    let [one, two] = lab.nodes();
    cluster.expect(one, "takeover", 0)?;
    start_heartbeat(lab)?;
    one.power_cut()?;
    let before = processes(two)?;
    let plan = cluster.expect(two, "plan", 0)?.stdout;
    ensure!(plan.find("stop-cluster-manager") < plan.find("disconnect-drbd"), "{plan}");
    let output = cluster.expect(two, "takeover", 0)?;
    println!("{plan}{}", output.stdout);

    ensure!(State::of(two)?.part("heartbeat").is_empty(), "Heartbeat still runs");
    let after = processes(two)?;
    let gone: Vec<_> =
        before.iter().filter(|(pid, _)| !after.contains_key(*pid)).map(|(_, name)| &**name).collect();
    ensure!(gone.len() > 3 && gone.iter().all(|name| *name == "heartbeat"), "gone: {gone:?}");
    assert_eq!(step_end(cluster, two)?["change"], "done");

    // Again, with no Heartbeat there.
    cluster.expect(two, "release", 0)?;
    cluster.expect(two, "takeover", 0)?;
    assert_eq!(step_end(cluster, two)?["change"], "already-so");
    cluster.expect(two, "release", 0)?;
    two.run_ok("cat /var/log/ha-log")
}

fn with_heartbeat(how: &'static str, test: impl FnOnce(&Lab, &Cluster<'_>) -> Result<()>) -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let more = vec![how];
        let cluster = Cluster::install(lab, &ClusterOptions { more, ..ClusterOptions::default() })?;
        test(lab, &cluster)
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn killed() -> Result<()> {
    with_heartbeat("cluster_manager: {heartbeat: kill}", |lab, cluster| {
        let log = takeover(lab, cluster)?;
        // An orderly end is logged; after a SIGKILL of all there is nobody left to do so.
        ensure!(!log.contains("Heartbeat shutdown complete"), "{log}");
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn stopped() -> Result<()> {
    with_heartbeat("cluster_manager: {heartbeat: stop}", |lab, cluster| {
        let log = takeover(lab, cluster)?;
        ensure!(log.contains("shutdown complete"), "{log}");
        let unit = lab.node2().run_ok("systemctl show --property=ActiveState,Result heartbeat.service")?;
        assert_eq!(unit, "Result=success\nActiveState=inactive\n");
        Ok(())
    })
}

/// A refused takeover leaves Heartbeat alone; so does a release, which says that it may start the resource again.
#[test]
#[ignore = "needs the lab: root and its image"]
fn left_alone() -> Result<()> {
    with_heartbeat("cluster_manager: {heartbeat: kill}", |lab, cluster| {
        let [one, two] = lab.nodes();
        cluster.expect(one, "takeover", 0)?;
        start_heartbeat(lab)?;
        let text = cluster.expect_refusal(two, "--wait 1s", &["10.77.0.100 is still answered by"])?;
        println!("{text}");
        let before = State::of(one)?;
        let release = cluster.expect(one, "release", 0)?;
        ensure!(release.stdout.contains("warning: Heartbeat runs"), "{release}");
        assert_eq!(before.part("heartbeat"), State::of(one)?.part("heartbeat"));
        Ok(())
    })
}
