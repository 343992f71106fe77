//! The lab on the command line.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use standin_lab::chaos::{self, Fault, Options, STONITH, Under};
use standin_lab::{Client, Filesystem, Lab, LabOptions, find_run, image, runs};

/// Two nodes with real kernels, real DRBD and real MariaDB on this machine
#[derive(Parser)]
#[command(name = "lab")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the image and the golden disks, when they are missing
    Build,
    /// Start a lab, and end it on Control-C (or leave it up, with KEEP_LAB=1)
    Up {
        /// The file system of the replicated disk
        #[arg(long, default_value = "ext4")]
        filesystem: Kind,
        /// Make node1 the active one
        #[arg(long)]
        serve: bool,
    },
    /// Show the main job: a power cut under load, the takeover, the return of the node, and the planned way back
    Demo {
        /// The file system of the replicated disk
        #[arg(long, default_value = "ext4")]
        filesystem: Kind,
    },
    /// Compare standin's takeover with the floor script, in rounds, each after a power cut under load
    Compare {
        /// How many rounds
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Compare the outage after a power cut: the stock stacks, and standin in their place, in rounds
    CompareManagers {
        /// How many rounds
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Only the contenders with this in their names
        #[arg(long)]
        only: Option<String>,
    },
    /// Compare the cost of a monitor action: standin's against those of the four stock agents
    CompareMonitors {
        /// How many calls of each stock agent
        #[arg(long, default_value_t = 10)]
        calls: u32,
    },
    /// Compare a planned move under a write load with a full buffer pool: switchover against release and takeover, in pairs
    CompareSwitchover {
        /// How many pairs
        #[arg(long, default_value_t = 5)]
        pairs: u32,
    },
    /// Let random faults strike under load, and see that nothing is lost and nothing is held twice
    Chaos {
        /// All that is left to chance comes from it
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many faults
        #[arg(long, default_value_t = 20)]
        faults: usize,
        /// Who is to act on them
        #[arg(long, default_value = "agent")]
        manager: Under,
        /// Only these kinds of faults
        #[arg(long, value_delimiter = ',')]
        only: Vec<Fault>,
        /// DRBD's fencing; dont-care is there to see that the run fails
        #[arg(long, default_value = STONITH, value_parser = [STONITH, "dont-care"])]
        fencing: String,
    },
    /// Strain a healthy cluster under the agents: processors, network, connections, disk; they must do nothing
    FalseAlarms {
        /// For how long
        #[arg(long, default_value_t = 20)]
        minutes: u64,
    },
    /// List the labs that are up
    List,
    /// Log in to a node of a lab, or run a command there
    Ssh {
        /// As `list` shows it
        run: String,
        /// node1 or node2
        node: String,
        /// The command; none: a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// End a lab
    Stop {
        /// As `list` shows it
        run: String,
    },
    /// Measure the floor: power cut under load, then the bare commands of a takeover
    Floor {
        /// How often
        #[arg(long, default_value_t = 1)]
        times: u32,
        /// The file system of the replicated disk
        #[arg(long, default_value = "ext4")]
        filesystem: Kind,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Ext4,
    Xfs,
}

impl From<Kind> for Filesystem {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Ext4 => Filesystem::Ext4,
            Kind::Xfs => Filesystem::Xfs,
        }
    }
}

fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Build => {
            let built = image()?;
            println!("{}", built.root().display());
            Ok(())
        }
        Verb::Up { filesystem, serve } => up(filesystem.into(), serve),
        Verb::Demo { filesystem } => standin_lab::demo::demo(filesystem.into()),
        Verb::Compare { rounds } => standin_lab::compare::compare(rounds),
        Verb::CompareManagers { rounds, only } => {
            standin_lab::compare_managers::compare(rounds, only.as_deref())
        }
        Verb::CompareMonitors { calls } => standin_lab::compare_monitors::compare(calls),
        Verb::CompareSwitchover { pairs } => standin_lab::compare_switchover::compare(pairs),
        Verb::Chaos { seed, faults, manager, only, fencing } => {
            let mut options = Options::new(seed, faults, manager);
            if !only.is_empty() {
                options.kinds = only;
            }
            if fencing != STONITH {
                options.fencing = "dont-care";
            }
            chaos::run(&options).map(drop)
        }
        Verb::FalseAlarms { minutes } => standin_lab::false_alarms::run(Duration::from_secs(minutes * 60)),
        Verb::List => {
            for run in runs()? {
                println!("{}  {}  owner {}  {}", run.id, run.filesystem, run.owner, run.directory.display());
            }
            Ok(())
        }
        Verb::Ssh { run, node, command } => ssh(&run, &node, &command),
        Verb::Stop { run } => find_run(&run)?.stop(),
        Verb::Floor { times, filesystem } => floor(times, filesystem.into()),
    }
}

fn up(filesystem: Filesystem, serve: bool) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let lab = Lab::start(LabOptions { filesystem, ..LabOptions::default() })?;
    if serve {
        lab.node1().serve()?;
    }
    if LabOptions::default().keep {
        return Ok(());
    }
    eprintln!("{}\n  or press Control-C", lab.how_to_use());
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn ssh(run: &str, node: &str, command: &[String]) -> Result<()> {
    let run = find_run(run)?;
    let number = match node.trim_start_matches("node") {
        "1" => 1,
        "2" => 2,
        _ => bail!("there is no {node}; the nodes are node1 and node2"),
    };
    let error = Command::new("nsenter")
        .arg(format!("--net=/proc/{}/ns/net", run.supervisor))
        .arg("ssh")
        .arg("-i")
        .arg(&run.key)
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ])
        .args(["-o", "ConnectTimeout=5"])
        .arg(format!("root@{}", Ipv4Addr::new(10, 77, 100 + number, 1)))
        .args(command)
        .exec();
    Err(error).context("nsenter does not run")
}

fn floor(times: u32, filesystem: Filesystem) -> Result<()> {
    let start = Instant::now();
    let lab = Lab::start(LabOptions { filesystem, ..LabOptions::default() })?;
    println!("lab up after {:.1} s", start.elapsed().as_secs_f64());
    for time in 1..=times {
        if time > 1 {
            let reset = Instant::now();
            lab.reset_disks()?;
            lab.node1().boot()?;
            lab.wait_in_sync()?;
            println!("reset and boot: {:.1} s", reset.elapsed().as_secs_f64());
        }
        lab.node1().serve()?;
        let client = Client::start(&lab)?;
        client.wait_for_rows(300)?;
        lab.node1().power_cut()?;
        let took = lab.floor_takeover(lab.node2(), &client)?;
        client.wait_for_rows(50)?;
        let report = client.stop()?;
        let outage = report.latest_outage().context("the client saw no outage")?;
        let lost = report.lost_rows(&lab)?;
        println!(
            "floor {time}: {:.2} s from the first command to the first acknowledged row; the client's outage: {:.2} s; \
             {} rows acknowledged, {} unknown, {} lost",
            took.as_secs_f64(),
            outage.duration().as_secs_f64(),
            report.acknowledged.len(),
            report.unknown.len(),
            lost.len()
        );
        ensure!(lost.is_empty(), "{} acknowledged rows are gone, {:?} the first", lost.len(), lost.first());
    }
    Ok(())
}
