//! The outage that a client sees after a power cut: the stock stacks against standin in their place, in rounds.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterOptions, Mysqld};
use crate::lab::{Lab, LabOptions};
use crate::manager::Manager;
use crate::managers::{Heartbeat, Pacemaker, StockPacemaker, stock_heartbeat};
use crate::scenario::{Play, directory_of};

/// A stack, and what it is compared with.
struct Contender {
    name: &'static str,
    /// The stack that it takes the place of, and at most what part of that one's outage it is to have.
    against: Option<(&'static str, f64)>,
    /// standin's configuration.
    cluster_manager: &'static str,
    /// How standin starts mysqld. The scripts of Heartbeat use the unit, too; Pacemaker's agent does not.
    mysqld: Mysqld,
    /// For the kernels.
    cmdline: &'static [&'static str],
    manager: Box<dyn Manager>,
}

fn contenders() -> Vec<Contender> {
    let (heartbeat, pacemaker) = ("stock Heartbeat", "stock Pacemaker");
    let contender = |name, against, cluster_manager, manager: Box<dyn Manager>| Contender {
        name,
        against,
        cluster_manager,
        mysqld: Mysqld::Unit,
        cmdline: &[],
        manager,
    };
    let (keep, owned) = ("cluster_manager: {heartbeat: keep}", "cluster_manager: pacemaker");
    vec![
        contender(heartbeat, None, keep, Box::new(stock_heartbeat())),
        contender("standin under Heartbeat", Some((heartbeat, 0.5)), keep, Box::new(Heartbeat::standin())),
        Contender {
            mysqld: Mysqld::Command,
            ..contender(
                "the same, mysqld as a command",
                Some((heartbeat, 0.5)),
                keep,
                Box::new(Heartbeat::standin()),
            )
        },
        contender(pacemaker, None, owned, Box::new(StockPacemaker)),
        contender("standin, primitive", Some((pacemaker, 0.6)), owned, Box::new(Pacemaker::primitive())),
        Contender {
            cmdline: &["lab.drbd=no"],
            ..contender(
                "standin, promotable",
                Some((pacemaker, 0.6)),
                owned,
                Box::new(Pacemaker::promotable()),
            )
        },
    ]
}

/// One power cut.
struct Cut {
    contender: usize,
    round: u32,
    /// None: it failed, and the reason was printed.
    outage: Option<Duration>,
    /// What the survivor's journal says of the takeover, when standin made it.
    takeover: Option<f64>,
}

/// Runs the rounds and prints each outage, the ratios of each pair and their medians. `only` picks contenders by a part of
/// their names.
///
/// # Errors
/// A contender did not take over, or lost a row.
pub fn compare(rounds: u32, only: Option<&str>) -> Result<()> {
    let contenders: Vec<Contender> =
        contenders().into_iter().filter(|one| only.is_none_or(|part| one.name.contains(part))).collect();
    ensure!(!contenders.is_empty(), "no contender has {:?} in its name", only.unwrap_or_default());
    let mut cuts = Vec::new();
    for round in 0..rounds {
        // Whoever goes first in one round goes later in the next: the machine's speed drifts.
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        order.rotate_left(round as usize % contenders.len());
        for contender in order {
            let Contender { name, .. } = contenders[contender];
            println!("\nround {}: {name}", round + 1);
            let (outage, takeover) = match cut(&contenders[contender], round) {
                Ok((outage, takeover)) => (Some(outage), takeover),
                Err(error) => {
                    println!("round {}: {name} FAILED: {error:#}", round + 1);
                    (None, None)
                }
            };
            cuts.push(Cut { contender, round, outage, takeover });
        }
    }
    report(&contenders, &cuts, rounds)
}

/// In a lab of its own: the same fresh disks, nothing left of who went before.
fn cut(contender: &Contender, round: u32) -> Result<(Duration, Option<f64>)> {
    let cmdline = contender.cmdline.iter().map(ToString::to_string).collect();
    let lab = Lab::start(LabOptions { cmdline, ..LabOptions::default() })?;
    let options = ClusterOptions {
        mysqld: contender.mysqld,
        more: vec![contender.cluster_manager],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::install(&lab, &options)?;
    let manager = &*contender.manager;
    let directory = contender.name.replace([' ', ','], "-");
    let logs = directory_of("compare-managers").join(format!("{directory}-{}", round + 1));
    let mut play = Play::begin_in(logs, &lab, &cluster, manager)?;
    let mut measured = None;
    let result = play.start().and_then(|()| {
        let survivor = lab.peer(play.active()?);
        let outage = play.power_cut()?;
        let history = survivor.run("standin history --json --last 1")?;
        let runs: Value = serde_json::from_str(&history.stdout).unwrap_or_default();
        let takeover = if runs[0]["goal"] == "takeover" { runs[0]["seconds"].as_f64() } else { None };
        measured = Some((outage, takeover));
        Ok(())
    });
    play.finish(result)?;
    measured.context("nothing was measured")
}

fn report(contenders: &[Contender], cuts: &[Cut], rounds: u32) -> Result<()> {
    let seconds = |contender: usize, round: u32| {
        let cut = cuts.iter().find(|cut| cut.contender == contender && cut.round == round)?;
        Some((cut.outage?.as_secs_f64(), cut.takeover))
    };
    println!(
        "\nthe client's outage after a power cut, seconds (ratio to the stock stack of the same round):\n"
    );
    let mut table = Vec::new();
    for (number, contender) in contenders.iter().enumerate() {
        let mut line = format!("{:28}", contender.name);
        let mut ratios = Vec::new();
        let stock =
            contender.against.and_then(|(name, _)| contenders.iter().position(|other| other.name == name));
        for round in 0..rounds {
            let Some((outage, takeover)) = seconds(number, round) else {
                line += "  failed";
                continue;
            };
            line += &format!("  {outage:6.2}");
            if let Some(takeover) = takeover {
                line += &format!(" [takeover {takeover:.2}]");
            }
            if let Some((base, _)) = stock.and_then(|stock| seconds(stock, round)) {
                line += &format!(" ({:.2})", outage / base);
                ratios.push(outage / base);
            }
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied();
        if let (Some(median), Some((name, goal))) = (median, contender.against) {
            let verdict = if median <= goal { "met" } else { "MISSED" };
            line += &format!("  median ratio {median:.2} to {name}, goal {goal}: {verdict}");
        }
        println!("{line}");
        let outages: Vec<_> =
            (0..rounds).map(|round| seconds(number, round).map(|(outage, _)| outage)).collect();
        let takeovers: Vec<_> =
            (0..rounds).map(|round| seconds(number, round).and_then(|(_, takeover)| takeover)).collect();
        table.push(json!({
            "contender": contender.name, "outages": outages, "takeovers": takeovers,
            "against": contender.against.map(|(name, _)| name), "goal": contender.against.map(|(_, goal)| goal),
            "median_ratio": median,
        }));
    }
    let path = directory_of("compare-managers.json");
    fs::write(&path, format!("{:#}\n", Value::from(table)))?;
    println!("\nwritten to {}", path.display());
    let failed = cuts.iter().filter(|cut| cut.outage.is_none()).count();
    ensure!(failed == 0, "{failed} of {} takeovers failed", cuts.len());
    Ok(())
}
