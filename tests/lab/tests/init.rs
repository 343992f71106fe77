//! The first configuration, written on both nodes, and a takeover by it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use standin_lab::{Client, Cluster, ClusterOptions, Lab, LabOptions, Node, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);
/// Rows before and after the power cut.
const ROWS: usize = 200;

const HA_CF: &str = "\
keepalive 1
deadtime 5
ucast eth0 10.77.0.1
ucast eth0 10.77.0.2
auto_failback off
node node1 node2
";

const HARESOURCES: &str = "\
node1 drbddisk::r0 Filesystem::/dev/drbd0::/var/lib/mysql::ext4::noatime \\
    mariadb IPaddr2::10.77.0.100/24/eth0
";

/// What a configuration says, without what its comments say.
fn content(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim_end());
    lines.filter(|line| !line.is_empty()).collect()
}

fn written(node: &Node) -> Result<String> {
    node.run_ok("cat /etc/standin/r0.yaml")
}

/// The nodes' files describe the same cluster, and `plan` takes them.
fn expect_same(lab: &Lab, cluster: &Cluster<'_>) -> Result<String> {
    let texts = lab.on_both(written)?;
    ensure!(content(&texts[0]) == content(&texts[1]), "{}\nand\n{}", texts[0], texts[1]);
    for node in lab.nodes() {
        let plan = cluster.standin(node, "plan")?;
        ensure!(plan.code != 2, "{plan}");
        let mode = node.run_ok("stat --format %a:%U /etc/standin/r0.yaml")?;
        ensure!(mode.trim() == "644:root", "{mode}");
    }
    let [text, _] = texts;
    Ok(text)
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn the_first_configuration_serves_a_takeover() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        // A node with clients has a router.
        lab.on_both(|node| {
            node.run_ok("rm /etc/standin/r0.yaml && ip route replace default via 10.77.0.254")
        })?;
        what_is_missing_is_named(lab, &cluster)?;
        for node in lab.nodes() {
            let begun = Instant::now();
            let output = cluster.expect(node, "init --vip 10.77.0.100", 0)?;
            println!("{:.2?}: {output}", begun.elapsed());
        }
        let text = expect_same(lab, &cluster)?;
        println!("{text}");
        for part in [
            "witnesses: [10.77.0.254]",
            "error_log: /var/log/mysql/error.log",
            "type: ext4",
            "cluster_manager: none",
        ] {
            ensure!(text.contains(part), "{part:?} is missing");
        }
        never_over_another_one(&cluster, lab.node2())?;
        power_cut(lab, &cluster)?;
        with_heartbeat(lab, &cluster)
    })
}

fn what_is_missing_is_named(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let output = cluster.expect(lab.node1(), "init", 2)?;
    ensure!(output.stderr.contains("--vip: ") && !output.stderr.contains("--unit"), "{output}");
    let output = lab.node1().run("ls /etc/standin/r0.yaml")?;
    ensure!(output.code != 0, "a file was written: {output}");
    Ok(())
}

fn never_over_another_one(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    let before = written(node)?;
    let output = cluster.expect(node, "init --vip 10.77.0.99/24", 2)?;
    ensure!(output.stderr.contains("--force"), "{output}");
    assert_eq!(written(node)?, before);
    cluster.expect(node, "init --vip 10.77.0.99/24 --force", 0)?;
    ensure!(written(node)?.contains("address: 10.77.0.99/24"));
    assert_eq!(node.run_ok("cat /etc/standin/r0.yaml.bak")?, before);
    node.run_ok("mv /etc/standin/r0.yaml.bak /etc/standin/r0.yaml && ls -A /etc/standin")?;
    Ok(())
}

fn power_cut(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let [one, two] = lab.nodes();
    cluster.expect(one, "takeover", 0)?;
    // On the active node, which holds the address and the mount, it comes to the same.
    let text = cluster.expect(one, "init --vip 10.77.0.100 --output -", 0)?.stdout;
    assert_eq!(content(&text), content(&written(one)?));

    let client = Client::start(lab)?;
    client.wait_for_rows(ROWS)?;
    one.power_cut()?;
    let cut = Instant::now();
    let output = cluster.expect(two, "takeover", 0)?;
    let first = client.wait_for_row_after(cut, SOON)?;
    println!("{}{:.2?} from the cut to the first row", output.stdout, first - cut);
    client.wait_for_rows(ROWS)?;
    one.boot()?;
    one.run_ok("ip route replace default via 10.77.0.254")?;
    lab.wait_in_sync()?;
    let report = client.stop()?;
    let lost = report.lost_rows(lab)?;
    println!("{} rows acknowledged, {} lost", report.acknowledged.len(), lost.len());
    ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
    cluster.expect(two, "release", 0)?;
    Ok(())
}

/// With Heartbeat's files nothing has to be said at all.
fn with_heartbeat(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    lab.on_both(|node| {
        node.write_file("/etc/ha.d/ha.cf", HA_CF, 0o644)?;
        node.write_file("/etc/ha.d/authkeys", "auth 1\n1 sha1 of-the-lab\n", 0o600)?;
        node.write_file("/etc/ha.d/haresources", HARESOURCES, 0o644)
    })?;
    for node in lab.nodes() {
        cluster.expect(node, "init --force", 0)?;
    }
    let text = expect_same(lab, cluster)?;
    println!("{text}");
    for part in ["cluster_manager: {heartbeat: kill}", "options: [noatime]", "/etc/ha.d/haresources:1"] {
        ensure!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    cluster.expect(lab.node1(), "takeover", 0)?;
    cluster.expect(lab.node1(), "release", 0)?;
    Ok(())
}
