//! The main job for real: a power cut under load, the takeover, the return of the node, and the planned way back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::client::{Client, Report};
use crate::cluster::{Cluster, ClusterOptions};
use crate::image::Filesystem;
use crate::lab::{Lab, LabOptions};
use crate::node::Node;
use crate::wait::wait_until;

/// Rows before each event, so that there is something to lose.
const ROWS: usize = 300;
/// Between two rows while a node boots: both kernels and the client share the machine's processors.
const GENTLE: Duration = Duration::from_millis(20);
const BACK: Duration = Duration::from_secs(60);

/// Runs the demonstration and fails when an acknowledged row is lost.
pub fn demo(filesystem: Filesystem) -> Result<()> {
    let clock = Clock(Instant::now());
    clock.say("booting node1 and node2: two kernels, real DRBD, real MariaDB");
    let lab = Lab::start(LabOptions { filesystem, ..LabOptions::default() })?;
    let cluster = Cluster::install(&lab, &ClusterOptions::default())?;
    lab.wait_in_sync()?;
    clock.say("both are up and in sync; node1 takes the virtual IP: standin takeover");
    print_run(&cluster.expect(lab.node1(), "takeover", 0)?.stdout);

    let client = Client::start(&lab)?;
    client.wait_for_rows(ROWS)?;
    clock.say(&format!("a client writes one row per commit; {} are acknowledged", client.acknowledged()));
    print_run(&cluster.expect(lab.node2(), "status", 0)?.stdout);

    clock.say("POWER CUT of node1");
    lab.node1().power_cut()?;
    clock.say("on node2: standin takeover");
    let begun = Instant::now();
    print_run(&cluster.expect(lab.node2(), "takeover", 0)?.stdout);
    let first = client.wait_for_row_after(begun, BACK)?;
    client.wait_for_rows(ROWS)?;
    let outage =
        client.report().latest_outage().context("the client saw no outage: was there a power cut?")?;
    clock.say(&format!(
        "the client was without its database for {:.2} s; from the command to the first row {:.2} s",
        outage.duration().as_secs_f64(),
        first.saturating_duration_since(begun).as_secs_f64()
    ));
    no_row_lost(&clock, &client.stop()?, &lab)?;

    clock.say("node1 gets its power back");
    let client = Client::start_paced(&lab, GENTLE)?;
    lab.node1().boot()?;
    clock.say("node1 has booted; DRBD resyncs it");
    lab.wait_in_sync()?;
    clock.say("it resynced by itself, as Secondary:");
    print_run(&cluster.expect(lab.node1(), "status", 0)?.stdout);

    client.wait_for_rows(ROWS)?;
    clock.say("planned way back: standin release on node2, standin takeover on node1");
    let left = Instant::now();
    print_run(&cluster.expect(lab.node2(), "release", 0)?.stdout);
    print_run(&cluster.expect(lab.node1(), "takeover", 0)?.stdout);
    client.wait_for_row_after(left, BACK)?;
    client.wait_for_rows(ROWS)?;
    let report = client.stop()?;
    let outage = report.latest_outage().context("the client saw no outage: was there a release?")?;
    clock.say(&format!("the client was without its database for {:.2} s", outage.duration().as_secs_f64()));
    no_row_lost(&clock, &report, &lab)?;
    expect_secondary(lab.node2())?;
    timeline(&cluster, lab.node2())?;
    clock.say("done: zero rows lost");
    Ok(())
}

struct Clock(Instant);

impl Clock {
    fn say(&self, line: &str) {
        println!("[{:6.1} s] {line}", self.0.elapsed().as_secs_f64());
    }
}

fn print_run(text: &str) {
    for line in text.lines() {
        println!("            {line}");
    }
}

fn no_row_lost(clock: &Clock, report: &Report, lab: &Lab) -> Result<()> {
    let lost = report.lost_rows(lab)?;
    clock.say(&format!(
        "{} rows acknowledged, {} lost ({} were never acknowledged: their fate is open)",
        report.acknowledged.len(),
        lost.len(),
        report.unknown.len()
    ));
    if !lost.is_empty() {
        bail!("{} ACKNOWLEDGED ROWS ARE LOST, the first has number {:?}", lost.len(), lost.first());
    }
    Ok(())
}

fn expect_secondary(node: &Node) -> Result<()> {
    wait_until("the released node to be Secondary", BACK, || {
        Ok(node.drbd()?.contains("ro:Secondary/Primary").then_some(()))
    })
}

/// A time per step of the takeover after the power cut, as `standin history` knows it.
fn timeline(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    let runs: Value = serde_json::from_str(&cluster.expect(node, "history --json", 0)?.stdout)?;
    let takeover = runs
        .as_array()
        .into_iter()
        .flatten()
        .find(|run| run["goal"] == "takeover" && run["outcome"] == "done")
        .context("node2's history has no takeover")?;
    println!("\n  the takeover after the power cut, step by step (standin history on {}):", node.name());
    let mut at = 0.0;
    for step in takeover["steps"].as_array().into_iter().flatten() {
        let seconds = step["seconds"].as_f64().unwrap_or_default();
        let bar = "#".repeat((seconds * 20.0).round() as usize);
        let name = step["step"].as_str().unwrap_or_default();
        println!("    {at:6.2} s  {name:22} {seconds:7.3} s  {bar}");
        at += seconds;
    }
    println!();
    Ok(())
}
