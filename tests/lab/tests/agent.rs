//! The agents alone, without a cluster manager: what they notice, how fast they act on it, and that a node that was paused
//! acknowledges nothing more.
//!
//! `STANDIN_LAB_ROUNDS=10` repeats the power cut and the pause that often.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standin_lab::chaos::watch::Watch;
use standin_lab::chaos::{STONITH, Under, disk};
use standin_lab::managers::{Agent, Heartbeat};
use standin_lab::sampler::Sampler;
use standin_lab::{Client, Cluster, ClusterOptions, Lab, Manager, Mysqld, Node, wait_until, with_lab};

const ROWS: usize = 100;
/// For a failure to be noticed and for the other node to serve.
const MOVED: Duration = Duration::from_secs(180);
/// For a node to come back by itself, resync included.
const WHOLE: Duration = Duration::from_secs(180);
/// How long two nodes that both accept writes are watched.
const SPLIT: Duration = Duration::from_secs(15);
/// How long the active node is paused.
const PAUSE: Duration = Duration::from_secs(20);
/// What the agents may need beyond the bare commands of a takeover: the median of the rounds.
const BEYOND_FLOOR: f64 = 2.5;

fn rounds() -> usize {
    std::env::var("STANDIN_LAB_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn configured(fencing: &'static str) -> ClusterOptions {
    ClusterOptions { mysqld: Mysqld::Command, ..Under::Agent.cluster(fencing) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The longest outage that the client saw.
fn longest(client: &Client) -> f64 {
    client.report().outages.iter().map(|outage| outage.duration().as_secs_f64()).fold(0.0, f64::max)
}

/// A power cut under load: from the last acknowledged row to the next one, against the bare commands typed at once.
#[test]
#[ignore = "needs the lab: root and its image"]
fn a_power_cut_costs_little_more_than_the_bare_commands() -> Result<()> {
    with_lab(Under::Agent.lab(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &configured(STONITH))?;
        let (mut floors, mut outages) = (Vec::new(), Vec::new());
        for round in 0..rounds() {
            if round > 0 {
                for node in lab.nodes() {
                    if !node.is_on() {
                        node.boot()?;
                    }
                }
                lab.on_both(Agent::stop)?;
                fresh(lab)?;
            }
            // What DRBD asks when it is promoted is no part of the floor.
            cluster.configure(&configured("dont-care"))?;
            one.serve()?;
            let client = Client::start(lab)?;
            client.wait_for_rows(ROWS)?;
            one.power_cut()?;
            floors.push(lab.floor_takeover(two, &client)?.as_secs_f64());
            drop(client);
            fresh(lab)?;

            cluster.forget()?;
            cluster.configure(&configured(STONITH))?;
            Agent.start(lab, &cluster)?;
            let client = Client::start(lab)?;
            client.wait_for_rows(ROWS * 3)?;
            let cut = Instant::now();
            one.power_cut()?;
            client.wait_for_row_after(cut, MOVED)?;
            client.wait_for_rows(ROWS)?;
            let outage = longest(&client);
            ensure!(client.stop()?.lost_rows(lab)?.is_empty(), "rows are lost");
            // The agent is protected from the kernel's OOM killer; a server with a large buffer pool must not inherit that.
            let adjusted = two.run_ok("cat /proc/$(pidof mariadbd)/oom_score_adj")?;
            ensure!(adjusted.trim() == "0", "mysqld's oom_score_adj is {adjusted}");
            println!(
                "round {}: floor {:.2} s, outage under the agent {outage:.2} s",
                round + 1,
                floors[round]
            );
            println!("{}", cluster.expect(two, "history --last 1", 0)?.stdout);
            outages.push(outage);
        }
        let (floor, outage) = (median(floors), median(outages));
        println!(
            "median of {}: floor {floor:.2} s, outage {outage:.2} s, {:.2} s more",
            rounds(),
            outage - floor
        );
        // A single round on a machine that does other things besides proves less.
        let allowed = if rounds() >= 5 { BEYOND_FLOOR } else { 2.0 * BEYOND_FLOOR };
        ensure!(outage <= floor + allowed, "{outage:.2} s is more than {floor:.2} s + {allowed} s");
        Ok(())
    })
}

/// Both nodes on, fresh disks, nobody active.
fn fresh(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        if !node.is_on() {
            node.boot()?;
        }
    }
    lab.reset_disks()
}

/// The agents, the clients and the sampler, on a disk that can fail.
fn watched<'a>(lab: &'a Lab, fencing: &'static str) -> Result<(Cluster<'a>, Watch)> {
    lab.on_both(disk::install)?;
    let cluster = Cluster::install(lab, &configured(fencing))?;
    lab.wait_in_sync()?;
    let sampler = Sampler::start(lab)?;
    Agent.start(lab, &cluster)?;
    let watch = Watch::start(lab, sampler)?;
    watch.client().wait_for_rows(ROWS)?;
    Ok((cluster, watch))
}

/// One node serves, the other one is in sync, and nobody helped.
fn wait_until_whole(lab: &Lab, watch: &Watch, active: &Node, limit: Duration) -> Result<()> {
    let mut last = String::new();
    wait_until("the pair to be whole by itself", limit, || {
        last = lab.on_both(Node::drbd).map(|both| both.join("; "))?;
        let holds = watch.sampler().active()? == Some(active.number());
        Ok((holds
            && last.matches("cs:Connected").count() == 2
            && last.matches("ds:UpToDate/UpToDate").count() == 2)
            .then_some(()))
    })
    .with_context(|| format!("at last: {last}"))
}

/// When the agent of a node said that it gave up, seconds after a fault.
fn gave_up(cluster: &Cluster<'_>, node: &Node) -> Result<Option<String>> {
    let journal = cluster.journal(node)?;
    let entry = journal.iter().rfind(|entry| entry["event"] == "gave-up" || entry["event"] == "stepped-down");
    Ok(entry.map(|entry| format!("{} at {}: {}", entry["event"], entry["at"], entry["reason"])))
}

/// What goes wrong on the active node while its kernel lives on.
#[test]
#[ignore = "needs the lab: root and its image"]
fn an_active_node_that_fails_gives_up_and_the_other_one_takes_over() -> Result<()> {
    with_lab(Under::Agent.lab(), |lab| {
        let (cluster, watch) = watched(lab, STONITH)?;
        let read_only = "mount -o remount,errors=remount-ro /var/lib/mysql && echo lab > /sys/fs/ext4/drbd0/trigger_fs_error";
        for (what, command) in [
            ("mysqld stopped", Some("pkill -STOP -x mariadbd")),
            ("read-only", Some(read_only)),
            ("hung disk", None),
        ] {
            let active = lab.nodes()[usize::from(watch.sampler().active()?.context("nobody is active")?) - 1];
            let other = lab.peer(active);
            lab.on_both(Agent::acknowledge)?;
            let strike = Instant::now();
            println!("{what} on {} at {}", active.name(), active.run_ok("date --utc +%H:%M:%S.%3N")?.trim());
            match command {
                Some(command) => active.run_ok(command).map(drop)?,
                None => disk::hang(active)?,
            }
            wait_until(&format!("{} to serve after: {what}", other.name()), MOVED, || {
                let held =
                    watch.sampler().latest(other.number())?.is_some_and(|look| look.primary && look.vip);
                Ok((held && watch.client().look(|report| report.is_steady(Duration::from_secs(1))))
                    .then_some(()))
            })?;
            println!("  outage {:.2} s", watch.outage(strike).as_secs_f64());
            wait_until_whole(lab, &watch, other, WHOLE)?;
            println!(
                "  whole again {:.1} s after it; {:?}",
                strike.elapsed().as_secs_f64(),
                gave_up(&cluster, active)?
            );
            let (lost, acknowledged) = watch.lost_rows(lab, other)?;
            ensure!(lost.is_empty(), "{what}: {} of {acknowledged} acknowledged rows are lost", lost.len());
            let broken: Vec<String> = watch
                .overlaps(strike)
                .iter()
                .filter(|one| one.is_violation())
                .map(ToString::to_string)
                .collect();
            ensure!(broken.is_empty(), "{what}: {broken:?}");
        }
        watch.stop().map(drop)
    })
}

/// Pauses the active node at some moment until after the takeover, and lets it go on. Returns the rows that are lost.
fn pause_and_resume(lab: &Lab, watch: &Watch, limit: Duration) -> Result<Vec<i64>> {
    let active = lab.nodes()[usize::from(watch.sampler().active()?.context("nobody is active")?) - 1];
    let other = lab.peer(active);
    watch.client().wait_for_rows(ROWS)?;
    let start = Instant::now();
    active.hang()?;
    watch.client().wait_for_row_after(start + Duration::from_secs(1), MOVED)?;
    let outage = watch.outage(start);
    std::thread::sleep(PAUSE.saturating_sub(start.elapsed()));
    active.resume()?;
    let resumed = Instant::now();
    let whole = wait_until_whole(lab, watch, other, limit);
    let took = resumed.elapsed();
    // What the resumed node acknowledged is lost with it, or both accepted writes.
    let overlaps = watch.overlaps(start);
    for overlap in &overlaps {
        println!("  {overlap}");
    }
    let serving = if watch.accepts(other) { other } else { active };
    let (lost, acknowledged) = watch.lost_rows(lab, serving)?;
    println!(
        "{} paused: outage {:.2} s, whole {:.1} s after it went on: {:?}; {} of {acknowledged} rows lost",
        active.name(),
        outage.as_secs_f64(),
        took.as_secs_f64(),
        whole.as_ref().map_err(|error| format!("{error:#}")),
        lost.len()
    );
    if lost.is_empty() && !overlaps.iter().any(standin_lab::chaos::watch::Overlap::is_violation) {
        whole?;
    }
    Ok(lost)
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_paused_active_node_that_goes_on_steps_down_by_itself() -> Result<()> {
    with_lab(Under::Agent.lab(), |lab| {
        let (_, watch) = watched(lab, STONITH)?;
        for _ in 0..rounds() {
            let start = Instant::now();
            let lost = pause_and_resume(lab, &watch, WHOLE)?;
            ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
            for overlap in watch.overlaps(start) {
                ensure!(!overlap.is_violation(), "both accepted writes: {overlap}");
            }
            lab.on_both(Agent::acknowledge)?;
        }
        watch.stop().map(drop)
    })
}

/// The test above can fail: without DRBD's fencing the same loses rows.
#[test]
#[ignore = "needs the lab: root and its image"]
fn without_fencing_a_paused_active_node_goes_on_committing() -> Result<()> {
    with_lab(Under::Agent.lab(), |lab| {
        let (_, watch) = watched(lab, "dont-care")?;
        let lost = pause_and_resume(lab, &watch, SPLIT)?;
        println!("{} acknowledged rows are lost", lost.len());
        ensure!(!lost.is_empty(), "nothing was lost");
        Ok(())
    })
}

/// Heartbeat looks after no resource: what fails is seen by the agent alone, which stops Heartbeat so that its peer follows.
#[test]
#[ignore = "needs the lab: root and its image"]
fn under_heartbeat_an_active_node_that_fails_hands_over_to_its_peer() -> Result<()> {
    with_lab(Under::Heartbeat.lab(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &Under::Heartbeat.cluster(STONITH))?;
        lab.wait_in_sync()?;
        let sampler = Sampler::start(lab)?;
        let manager = Heartbeat::standin();
        manager.start(lab, &cluster)?;
        wait_until("node1 to serve", MOVED, || Ok((sampler.active()? == Some(1)).then_some(())))?;
        lab.on_both(Agent::enable)?;
        let watch = Watch::start(lab, sampler)?;
        watch.client().wait_for_rows(ROWS)?;
        let strike = Instant::now();
        one.run_ok("pkill -STOP -x mariadbd")?;
        wait_until("node2 to serve", MOVED, || {
            let held = watch.sampler().active()? == Some(2);
            Ok((held && watch.client().look(|report| report.is_steady(Duration::from_secs(1)))).then_some(()))
        })?;
        println!("  outage {:.2} s; {:?}", watch.outage(strike).as_secs_f64(), gave_up(&cluster, one)?);
        ensure!(!one.run("pidof heartbeat")?.success(), "Heartbeat still runs on node1");
        let (lost, acknowledged) = watch.lost_rows(lab, two)?;
        ensure!(lost.is_empty(), "{} of {acknowledged} acknowledged rows are lost", lost.len());
        let broken: Vec<String> =
            watch.overlaps(strike).iter().filter(|one| one.is_violation()).map(ToString::to_string).collect();
        ensure!(broken.is_empty(), "{broken:?}");
        watch.stop().map(drop)
    })
}
