//! standin's takeover against the floor: the same power cut under the same load, in rounds, in one run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::Client;
use crate::cluster::{Cluster, ClusterOptions, Mysqld};
use crate::lab::{Lab, LabOptions};

const ROWS: usize = 300;
const BACK: Duration = Duration::from_secs(120);

/// What takes over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    /// The bare commands of `floor.sh`, which start mariadbd themselves.
    Floor,
    /// standin, with mariadbd as a plain command line, as in the floor.
    Command,
    /// standin, with the distribution's systemd unit and all that it runs before the server.
    Unit,
}

/// Runs the rounds and prints each ratio to the floor and their medians.
pub fn compare(rounds: u32) -> Result<()> {
    let lab = Lab::start(LabOptions::default())?;
    let cluster = Cluster::install(&lab, &ClusterOptions::default())?;
    let (mut command_ratios, mut unit_ratios) = (Vec::new(), Vec::new());
    println!(
        "        seconds from the start to the first acknowledged row       processes that standin started"
    );
    println!("round   floor  standin, command (ratio)  standin, unit (ratio)     command  unit    rows lost");
    for round in 0..rounds {
        // Whoever goes first in one round goes later in the next: the machine's speed drifts.
        let mut order = [Contender::Floor, Contender::Command, Contender::Unit];
        order.rotate_left(round as usize % 3);
        let (mut floor, mut command, mut unit) = (f64::NAN, (f64::NAN, 0), (f64::NAN, 0));
        for contender in order {
            match contender {
                Contender::Floor => floor = takeover(&lab, &cluster, contender)?.0,
                Contender::Command => command = takeover(&lab, &cluster, contender)?,
                Contender::Unit => unit = takeover(&lab, &cluster, contender)?,
            }
        }
        let (command_ratio, unit_ratio) = (command.0 / floor, unit.0 / floor);
        println!(
            "{:5}  {floor:6.2}  {:16.2} ({command_ratio:5.2})  {:13.2} ({unit_ratio:5.2})  {:10}  {:4}    {:9}",
            round + 1,
            command.0,
            unit.0,
            command.1,
            unit.1,
            0
        );
        command_ratios.push(command_ratio);
        unit_ratios.push(unit_ratio);
    }
    println!("median ratio to the floor: command {}, unit {}", spread(command_ratios), spread(unit_ratios));
    Ok(())
}

/// One power cut under load and one takeover: seconds to the first acknowledged row, and processes started.
fn takeover(lab: &Lab, cluster: &Cluster<'_>, contender: Contender) -> Result<(f64, u32)> {
    let mysqld = if contender == Contender::Unit { Mysqld::Unit } else { Mysqld::Command };
    if !lab.node1().is_on() {
        lab.node1().boot()?;
    }
    lab.reset_disks()?;
    cluster.configure(&ClusterOptions { mysqld, ..ClusterOptions::default() })?;
    lab.node1().serve()?;
    let client = Client::start(lab)?;
    client.wait_for_rows(ROWS)?;
    lab.node1().power_cut()?;
    let result = if contender == Contender::Floor {
        (lab.floor_takeover(lab.node2(), &client)?.as_secs_f64(), 0)
    } else {
        let begun = Instant::now();
        let output = lab.node2().run_ok("RUST_LOG=standin=debug standin takeover 2>&1")?;
        let first = client.wait_for_row_after(begun, BACK)?;
        let processes = output
            .lines()
            .find_map(|line| line.split_once(" processes started"))
            .and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok())
            .context("standin did not say how many processes it started")?;
        ((first - begun).as_secs_f64(), processes)
    };
    client.wait_for_rows(50)?;
    let lost = client.stop()?.lost_rows(lab)?;
    ensure!(lost.is_empty(), "{} acknowledged rows are lost", lost.len());
    cluster.forget()?;
    Ok(result)
}

fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    match (ratios.get(ratios.len() / 2), ratios.first(), ratios.last()) {
        (Some(median), Some(least), Some(most)) => format!("{median:.2} ({least:.2} to {most:.2})"),
        _ => "not measured".to_owned(),
    }
}
