//! standin's takeover against the floor: the same power cut under the same load, in pairs, in one run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::Client;
use crate::cluster::{Cluster, ClusterOptions, Mysqld};
use crate::lab::{Lab, LabOptions};

const ROWS: usize = 300;
const BACK: Duration = Duration::from_secs(120);

/// Runs the pairs and prints each ratio and their median.
pub fn compare(pairs: u32, command: bool) -> Result<()> {
    let mysqld = if command { Mysqld::Command } else { Mysqld::Unit };
    let lab = Lab::start(LabOptions::default())?;
    let cluster = Cluster::install(&lab, &ClusterOptions { mysqld, ..ClusterOptions::default() })?;
    let mut ratios = Vec::new();
    println!("pair   floor s  standin s   ratio   processes   lost");
    for pair in 1..=pairs {
        let mut seconds = [0.0; 2];
        let mut processes = None;
        // Whoever goes first in one pair goes second in the next: the machine's speed drifts.
        for which in if pair % 2 == 1 { [0, 1] } else { [1, 0] } {
            if !lab.node1().is_on() {
                lab.node1().boot()?;
            }
            lab.reset_disks()?;
            lab.node1().serve()?;
            let client = Client::start(&lab)?;
            client.wait_for_rows(ROWS)?;
            lab.node1().power_cut()?;
            let took = if which == 0 {
                lab.floor_takeover(lab.node2(), &client)?
            } else {
                let begun = Instant::now();
                let output = lab.node2().run_ok("RUST_LOG=standin=debug standin takeover 2>&1")?;
                processes = output
                    .lines()
                    .find_map(|line| line.split_once(" processes started"))
                    .and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u32>().ok());
                client.wait_for_row_after(begun, BACK)? - begun
            };
            seconds[which] = took.as_secs_f64();
            client.wait_for_rows(50)?;
            let lost = client.stop()?.lost_rows(&lab)?;
            ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
            cluster.forget()?;
        }
        let [floor, standin] = seconds;
        let processes = processes.context("standin did not say how many processes it started")?;
        println!("{pair:4}  {floor:8.2}  {standin:9.2}  {:6.2}  {processes:10}      0", standin / floor);
        ratios.push(standin / floor);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
    println!("median ratio {median:.2} (at least {:.2}, at most {:.2})", ratios[0], ratios[ratios.len() - 1]);
    Ok(())
}
