//! A healthy cluster whose machine, network and database are strained: the agents must do nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::chaos::watch::Watch;
use crate::chaos::{STONITH, Under, boot_of, disk};
use crate::cluster::Cluster;
use crate::database::{Credentials, options};
use crate::lab::Lab;
use crate::network::VIP;
use crate::node::Node;
use crate::sampler::Sampler;
use crate::scenario::{directory_of, keep_logs_of};
use crate::wait::wait_until;

/// How long each strain lasts, but for the stall.
const STRAIN: Duration = Duration::from_secs(60);
/// How long the disk stands still.
const STALL: Duration = Duration::from_secs(5);
/// Between two strains.
const REST: Duration = Duration::from_secs(20);
/// For the agents to start, and for rows to come again.
const SOON: Duration = Duration::from_secs(60);
/// It ends by itself, for [`STRAIN`]: nobody else would come to end it.
const SPIN: &str = "exec nice -n -20 bash -c 'while [ $SECONDS -lt 60 ]; do :; done'";
/// For those that spin to end, on machines that have had no time for anything else.
const ENDED: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 40;

/// One kind of strain.
#[derive(Clone, Copy, Debug)]
enum Strain {
    SpinInside,
    SpinOutside,
    PacketLoss,
    Connections,
    StallOfActive,
    StallOfStandby,
    None,
}

const ALL: [Strain; 7] = [
    Strain::SpinInside,
    Strain::PacketLoss,
    Strain::Connections,
    Strain::StallOfActive,
    Strain::SpinOutside,
    Strain::StallOfStandby,
    Strain::None,
];

/// What must not change.
#[derive(Debug, PartialEq, Eq)]
struct Doings {
    boots: [String; 2],
    mysqld: String,
    agents: [String; 2],
    runs: [usize; 2],
}

impl Doings {
    fn of(lab: &Lab, cluster: &Cluster<'_>) -> Result<Self> {
        let runs = |node: &Node| -> Result<usize> {
            let entries = cluster.journal(node)?;
            let counts = |entry: &&serde_json::Value| {
                matches!(entry["event"].as_str(), Some("begin" | "gave-up" | "stepped-down"))
            };
            Ok(entries.iter().filter(counts).count())
        };
        let agent = |node: &Node| node.run_ok("systemctl show --property=MainPID --value standin-agent@r0");
        Ok(Self {
            boots: lab.on_both(boot_of)?,
            mysqld: lab.node1().run_ok("pidof mariadbd")?,
            agents: lab.on_both(agent)?,
            runs: [runs(lab.node1())?, runs(lab.node2())?],
        })
    }
}

/// Strains a healthy cluster under load for so long, and prints a line for each strain.
///
/// # Errors
/// An agent took over, released, reset a machine or was restarted itself, or a row was lost.
pub fn run(length: Duration) -> Result<()> {
    let lab = Lab::start(Under::Agent.lab())?;
    lab.on_both(disk::install)?;
    let cluster = Cluster::install(&lab, &Under::Agent.cluster(STONITH))?;
    lab.wait_in_sync()?;
    let manager = Under::Agent.manager();
    let sampler = Sampler::start(&lab)?;
    manager.start(&lab, &cluster)?;
    let watch = Watch::start(&lab, sampler)?;
    watch.client().wait_for_rows(100)?;
    let before = Doings::of(&lab, &cluster)?;

    let begun = Instant::now();
    let mut round = 0;
    let result = (|| -> Result<()> {
        // Each of them at least once, and on until the time is over.
        while round < ALL.len() || begun.elapsed() < length {
            let strain = ALL[round % ALL.len()];
            round += 1;
            let start = Instant::now();
            apply(&lab, strain).with_context(|| format!("{strain:?}"))?;
            watch.client().wait_for_row_after(Instant::now(), SOON)?;
            std::thread::sleep(REST.min(length));
            let outage = watch.outage(start).as_secs_f64();
            let at = begun.elapsed().as_secs_f64();
            let now = Doings::of(&lab, &cluster)?;
            println!("[{at:6.1} s] {strain:?}: at most {outage:.2} s without a row");
            ensure!(now == before, "{strain:?} made the agents act:\nbefore {before:#?}\nnow {now:#?}");
            let holder = watch.sampler().active()?;
            ensure!(holder == Some(1), "{strain:?}: the active node is {holder:?}");
        }
        Ok(())
    })();
    let logs = directory_of("false-alarms");
    std::fs::create_dir_all(&logs)?;
    for node in lab.nodes() {
        keep_logs_of(node, manager.logs(), &logs)?;
    }
    result.with_context(|| format!("the logs are in {}", logs.display()))?;
    let (lost, acknowledged) = watch.lost_rows(&lab, lab.node1())?;
    ensure!(lost.is_empty(), "{} of {acknowledged} rows are lost", lost.len());
    println!(
        "{round} strains in {:.0} s: no takeover, no kill; {acknowledged} rows, none lost",
        begun.elapsed().as_secs_f64()
    );
    watch.stop().map(drop)
}

fn apply(lab: &Lab, strain: Strain) -> Result<()> {
    let active = lab.node1();
    match strain {
        Strain::SpinInside => {
            let spinning = [active.spawn(SPIN)?, active.spawn(SPIN)?];
            std::thread::sleep(STRAIN);
            spinning.iter().try_for_each(|one| one.wait(ENDED).map(drop))
        }
        Strain::SpinOutside => {
            let _spinning = Spinning::start(2)?;
            std::thread::sleep(STRAIN);
            Ok(())
        }
        Strain::PacketLoss => {
            let tc = |what: &str| {
                lab.on_both(|node| {
                    node.run_ok(&format!(
                        "modprobe sch_netem; for i in eth0 eth1; do tc qdisc {what} dev $i root netem loss 20% || exit; done"
                    ))
                })
            };
            tc("add")?;
            std::thread::sleep(STRAIN);
            tc("delete").map(drop)
        }
        Strain::Connections => at_max_connections(lab),
        Strain::StallOfActive => stall(active),
        Strain::StallOfStandby => stall(lab.node2()),
        Strain::None => {
            std::thread::sleep(STRAIN);
            Ok(())
        }
    }
}

fn stall(node: &Node) -> Result<()> {
    disk::hang(node)?;
    std::thread::sleep(STALL);
    disk::mend(node)
}

/// Opens connections until the server refuses more, and holds them.
fn at_max_connections(lab: &Lab) -> Result<()> {
    let set = |count: usize| {
        lab.node1().run_ok(&format!("mariadb --execute 'SET GLOBAL max_connections = {count}'"))
    };
    set(CONNECTIONS)?;
    let mut held: Vec<Conn> = Vec::new();
    let full = lab.network().enter(|| {
        wait_until("the server to refuse a connection", SOON, || {
            match Conn::new(options(VIP, Credentials::CLIENT)) {
                Ok(connection) => {
                    held.push(connection);
                    Ok(None)
                }
                Err(mysql::Error::MySqlError(error)) if error.code == 1040 => Ok(Some(())),
                Err(error) => bail!(error),
            }
        })
    });
    if full.is_ok() {
        let end = Instant::now() + STRAIN;
        while Instant::now() < end {
            // A connection that the server gives up for want of use would make room.
            for connection in &mut held {
                let _ = connection.query_drop("DO 1");
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let count = held.len();
    drop(held);
    set(151)?;
    full.with_context(|| format!("with {count} connections open"))
}

/// Processes that leave nothing of the host's processors to others.
struct Spinning(Vec<Child>);

impl Spinning {
    fn start(count: usize) -> Result<Self> {
        let mut spinning = Self(Vec::new());
        for _ in 0..count {
            let child = Command::new("sh").args(["-c", SPIN]).stdin(Stdio::null()).spawn()?;
            spinning.0.push(child);
        }
        Ok(spinning)
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
