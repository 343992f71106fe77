//! A planned move of a database with a full buffer pool: `standin switchover` against `standin release` and `standin takeover`,
//! typed one after the other, in pairs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::client::Client;
use crate::cluster::{Cluster, ClusterOptions};
use crate::lab::{Lab, LabOptions};
use crate::load::{self, DROP_IN, FULL_POOL, Trickle};
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(300);
const ROWS: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    Plain,
    Switchover,
}

/// One move.
struct Moved {
    /// From the last acknowledged row before to the first one after.
    outage: Duration,
    /// From the command to its end.
    took: Duration,
    /// Pages that were dirty when the command was typed.
    dirty: u64,
    /// How long the shutdown of mysqld took, as the journal says.
    shutdown: f64,
    /// What came of the flush.
    flush: String,
}

/// Runs the pairs and prints each outage, each ratio and their median.
///
/// # Errors
/// A move failed, or a row is lost.
pub fn compare(pairs: u32) -> Result<()> {
    let lab = Lab::start(LabOptions::default())?;
    lab.on_both(|node| node.write_file(DROP_IN, FULL_POOL, 0o644))?;
    let cluster = Cluster::install(&lab, &ClusterOptions::default())?;
    cluster.expect(lab.node1(), "takeover", 0)?;
    load::prepare(lab.node1())?;
    let client = Client::start(&lab)?;
    let trickle = Trickle::start(&lab)?;
    println!(
        "the client's outage, seconds [shutdown of mysqld; the command from its start to its end; dirty pages before it]"
    );
    let mut ratios = Vec::new();
    let mut active = lab.node1();
    for pair in 0..pairs {
        // Whoever goes first in one pair goes second in the next: the machine's speed drifts, and so do the directions.
        let mut order = [Contender::Plain, Contender::Switchover];
        order.rotate_left(pair as usize % 2);
        let mut outages = [f64::NAN; 2];
        let mut line = format!("pair {}", pair + 1);
        for contender in order {
            let moved = go(&lab, &cluster, &client, active, contender)?;
            active = lab.peer(active);
            let name = if contender == Contender::Plain { "release + takeover" } else { "switchover" };
            line += &format!(
                "   {name} {:.2} [{:.2}; {:.1}; {}{}]",
                moved.outage.as_secs_f64(),
                moved.shutdown,
                moved.took.as_secs_f64(),
                moved.dirty,
                moved.flush
            );
            outages[usize::from(contender == Contender::Switchover)] = moved.outage.as_secs_f64();
        }
        let ratio = outages[1] / outages[0];
        println!("{line}   ratio {ratio:.2}");
        ratios.push(ratio);
    }
    trickle.stop()?;
    let report = client.stop()?;
    let lost = report.lost_rows(&lab)?;
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).context("no pair")?;
    println!(
        "median ratio {median:.2} ({:.2} to {:.2}); {} rows acknowledged, {} lost",
        ratios.first().unwrap_or(median),
        ratios.last().unwrap_or(median),
        report.acknowledged.len(),
        lost.len()
    );
    ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
    Ok(())
}

fn go(lab: &Lab, cluster: &Cluster<'_>, client: &Client, from: &Node, contender: Contender) -> Result<Moved> {
    let to = lab.peer(from);
    lab.wait_in_sync()?;
    let dirty = load::dirty_all(from)?;
    client.wait_for_rows(ROWS)?;
    let begun = Instant::now();
    match contender {
        Contender::Plain => {
            cluster.expect(from, "release", 0)?;
            cluster.expect(to, "takeover", 0)?;
        }
        Contender::Switchover => {
            let output = cluster.expect(from, "switchover", 0)?;
            ensure!(output.stdout.contains("flush-dirty-pages"), "{output}");
            ensure!(!output.stdout.contains("warning: "), "{output}");
        }
    }
    let took = begun.elapsed();
    let flush = match contender {
        Contender::Plain => String::new(),
        Contender::Switchover => {
            let ended = ended(cluster, from, "flush-dirty-pages")?;
            format!("; {}", ended["note"].as_str().unwrap_or_default())
        }
    };
    client.wait_for_row_after(Instant::now(), PATIENCE)?;
    let outage = client
        .report()
        .outages
        .into_iter()
        .rfind(|outage| outage.first_failure >= begun)
        .context("the client saw no outage")?;
    // One whose first failure was a slow answer before it is none of this move.
    ensure!(outage.end.is_some(), "the outage has no end yet");
    client.wait_for_rows(ROWS)?;
    let shutdown = ended(cluster, from, "stop-mysqld")?["seconds"].as_f64().context("no seconds")?;
    Ok(Moved { outage: outage.duration(), took, dirty, shutdown, flush })
}

/// The last end of a step in a node's journal.
fn ended(cluster: &Cluster<'_>, node: &Node, step: &str) -> Result<Value> {
    let journal = cluster.journal(node)?;
    let found = journal.into_iter().rfind(|entry| entry["event"] == "step-end" && entry["step"] == step);
    found.with_context(|| format!("the journal has no end of {step}"))
}
