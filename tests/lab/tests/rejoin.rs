//! A node that comes back: after a power cut with DRBD down, and after a real split brain.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use standin_lab::{Client, Cluster, ClusterOptions, LabOptions, Network, Node, wait_until, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);
const ROWS: usize = 100;
/// DRBD notices a cut cable after ping-int and ping-timeout.
const NOTICED: Duration = Duration::from_secs(60);

fn drbd_says(node: &Node, what: &str) -> Result<()> {
    wait_until(&format!("{what} on {}", node.name()), NOTICED, || {
        Ok(node.drbd()?.contains(what).then_some(()))
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_node_comes_back_after_a_power_cut() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        cluster.expect(one, "takeover", 0)?;
        let client = Client::start(lab)?;
        client.wait_for_rows(ROWS)?;
        ensure!(cluster.expect(one, "rejoin", 3)?.stderr.contains("standin release"), "it serves");
        one.power_cut()?;
        cluster.expect(two, "takeover", 0)?;
        // Enough for a resync that takes a while.
        two.run_ok("dd if=/dev/urandom of=/var/lib/mysql/ballast bs=1M count=100 conv=fsync 2> /dev/null")?;
        client.wait_for_rows(ROWS)?;

        one.boot_with(&["lab.drbd=no"])?;
        let planned = cluster.expect(one, "rejoin --plan", 0)?.stdout;
        ensure!(planned.contains("drbdadm up r0"), "{planned}");
        let output = cluster.expect(one, "rejoin", 0)?;
        println!("{output}");
        ensure!(
            output.stdout.contains("MiB resynced in") && output.stdout.contains("node1 is a standby"),
            "{output}"
        );
        ensure!(
            one.drbd()?.contains("cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate"),
            "{}",
            one.drbd()?
        );
        let again = cluster.expect(one, "rejoin", 0)?.stdout;
        ensure!(again.contains("already"), "{again}");
        client.wait_for_rows(ROWS)?;
        let lost = client.stop()?.lost_rows(lab)?;
        ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
        Ok(())
    })
}

/// Makes node2 write apart from node1, which serves all the while, and lets them meet.
fn split(one: &Node, two: &Node) -> Result<()> {
    for node in [one, two] {
        node.unplug(Network::Replication)?;
    }
    drbd_says(two, "cs:WFConnection")?;
    drbd_says(one, "cs:WFConnection")?;
    two.run_ok(
        "set -e; drbdsetup primary 0; mount /dev/drbd0 /var/lib/mysql; dd if=/dev/urandom of=/var/lib/mysql/apart bs=1M \
         count=8 conv=fsync 2> /dev/null; umount /var/lib/mysql; drbdsetup secondary 0",
    )?;
    for node in [one, two] {
        node.plug(Network::Replication)?;
    }
    // Whoever finds it out gives up; the other one may go on listening.
    wait_until("DRBD to find the split brain", NOTICED, || {
        let alone = |node: &Node| Ok::<_, anyhow::Error>(node.drbd()?.contains("cs:StandAlone"));
        Ok((alone(one)? || alone(two)?).then_some(()))
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_split_brain_is_diagnosed_and_repaired_with_the_printed_commands() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        cluster.expect(one, "takeover", 0)?;
        let client = Client::start(lab)?;
        client.wait_for_rows(ROWS)?;
        split(one, two)?;
        client.wait_for_rows(ROWS)?;

        // Never by itself; on either node the same diagnosis.
        for node in [two, one] {
            let before = cluster.states()?;
            let told = cluster.expect(node, "rejoin", 3)?.stderr;
            println!("on {}:\n{told}", node.name());
            for part in ["split brain of r0", "node1 has changed alone: ", "node2 has changed alone: ", "KiB"]
            {
                ensure!(told.contains(part), "{part:?} is missing:\n{told}");
            }
            ensure!(!told.contains("not known"), "an amount is missing:\n{told}");
            ensure!(before == cluster.states()?, "a diagnosis changed something");
        }
        // Not on the side that serves.
        let refused = cluster.expect(one, "rejoin --discard-my-data", 3)?.stderr;
        ensure!(refused.contains("is no standby") && refused.contains("standin release"), "{refused}");
        client.wait_for_rows(ROWS)?;

        // As printed: to keep the data of node1.
        let told = cluster.expect(two, "rejoin --plan", 3)?.stderr;
        let choice = told.split("to keep the data of node1").nth(1).unwrap_or_default();
        let commands: Vec<(&str, &str)> = choice
            .lines()
            .filter_map(|line| line.trim().strip_prefix("on ")?.split_once(":  "))
            .map(|(node, command)| (node, command.split('#').next().unwrap_or_default().trim()))
            .take(3)
            .collect();
        println!("{commands:?}");
        ensure!(commands.len() == 3, "{choice}");
        let begun = Instant::now();
        let mut following = None;
        for (node, command) in commands {
            let node = if node == "node1" { one } else { two };
            if command.contains("--discard-my-data") {
                // It follows until the end, and the other side has still to connect.
                following = Some(node.spawn(command)?);
                drbd_says(node, "cs:WFConnection")?;
            } else if command.contains("drbdadm connect") && !node.drbd()?.contains("cs:StandAlone") {
                println!("{} is not StandAlone", node.name());
            } else {
                node.run_ok(command)?;
            }
        }
        let (code, output) = following.expect("a command with --discard-my-data").wait(NOTICED)?;
        println!("{output}\nafter {:.1} s", begun.elapsed().as_secs_f64());
        ensure!(code == 0 && output.contains("node2 is a standby"), "{output}");
        lab.wait_in_sync()?;
        ensure!(two.drbd()?.contains("ro:Secondary/Primary"), "{}", two.drbd()?);
        client.wait_for_row_after(Instant::now(), SOON)?;

        // node1's data it is: nothing of what node2 wrote apart is there, and no row is lost.
        cluster.expect(one, "switchover", 0)?;
        two.run_ok("test ! -e /var/lib/mysql/apart")?;
        client.wait_for_row_after(Instant::now(), SOON)?;
        let lost = client.stop()?.lost_rows(lab)?;
        ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
        Ok(())
    })
}
