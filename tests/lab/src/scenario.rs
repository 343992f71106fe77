//! The life of a cluster under its manager, in parts: mysqld killed, the manager killed, planned moves, a power cut and
//! the return of the node. A client writes all the while, and the sampler looks on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::image::directory;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::network::VIP;
use crate::node::Node;
use crate::sampler::{Record, Sampler};
use crate::wait::wait_until;

/// Between two rows: the manager's own heartbeats need the processors, too.
const PAUSE: Duration = Duration::from_millis(20);
/// Rows before each part, so that there is something to lose.
const ROWS: usize = 50;
/// For a manager to bring its resources up, or to mend something that has its own time limits.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long rows must have come without a break.
const STEADY: Duration = Duration::from_secs(3);

/// One thing that was done to the cluster, and what came of it.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was done.
    pub name: String,
    /// The longest outage that the client saw, from the last row before to the first one after.
    pub outage: Option<Duration>,
    /// From what was done until all had come to rest.
    pub took: Duration,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Story {
    /// The parts, in their order.
    pub parts: Vec<Part>,
    /// Rows that were acknowledged.
    pub acknowledged: usize,
    /// Where the logs are.
    pub logs: PathBuf,
}

impl Story {
    /// The outage of a part; none: the part is missing, or the client saw none.
    pub fn outage(&self, name: &str) -> Option<Duration> {
        self.parts.iter().find(|part| part.name == name)?.outage
    }
}

/// How many moves there and back a run has: as the environment variable `STANDIN_LAB_MOVES` says, or one.
pub fn moves() -> usize {
    std::env::var("STANDIN_LAB_MOVES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Where the logs of a run of this name are kept, the latest run's alone.
pub fn directory_of(name: &str) -> PathBuf {
    directory().with_file_name("lab-runs").join(name)
}

/// Plays all parts, with so many moves there and back. The logs are kept in either case.
///
/// # Errors
/// A part did not come to its end, an acknowledged row is lost, or the sampler saw what must never be.
pub fn run(lab: &Lab, cluster: &Cluster<'_>, manager: &dyn Manager, moves: usize) -> Result<Story> {
    let mut play = Play::begin(lab, cluster, manager)?;
    let result = play.all(moves);
    play.finish(result)
}

/// A run that goes on: the client writes, the sampler looks. For tests that play parts of their own.
pub struct Play<'a> {
    lab: &'a Lab,
    cluster: &'a Cluster<'a>,
    manager: &'a dyn Manager,
    sampler: Sampler,
    client: Option<Client>,
    begun: Instant,
    parts: Vec<Part>,
    told: String,
    logs: PathBuf,
}

impl<'a> Play<'a> {
    /// Starts the sampler, and forgets the logs of the last run. The manager is not started yet.
    pub fn begin(lab: &'a Lab, cluster: &'a Cluster<'a>, manager: &'a dyn Manager) -> Result<Self> {
        Self::begin_in(directory_of(manager.name()), lab, cluster, manager)
    }

    /// The same, with the logs in another directory, which is made anew.
    pub fn begin_in(
        logs: PathBuf,
        lab: &'a Lab,
        cluster: &'a Cluster<'a>,
        manager: &'a dyn Manager,
    ) -> Result<Self> {
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let sampler = Sampler::start(lab)?;
        let (parts, told, begun) = (Vec::new(), String::new(), Instant::now());
        Ok(Self { lab, cluster, manager, sampler, client: None, begun, parts, told, logs })
    }

    fn all(&mut self, moves: usize) -> Result<()> {
        self.start()?;
        self.kill_mysqld()?;
        self.kill_manager()?;
        for _ in 0..moves {
            self.planned_move("planned move there")?;
            self.planned_move("planned move back")?;
        }
        self.power_cut()?;
        self.power_back()
    }

    /// Says something on the terminal and in the run's report.
    pub fn say(&mut self, line: &str) {
        let line = format!("[{:6.1} s] {}: {line}", self.begun.elapsed().as_secs_f64(), self.manager.name());
        println!("{line}");
        self.told += &line;
        self.told.push('\n');
    }

    /// Starts the manager, waits until node1 serves, and starts the client. A manager that chose node2 is asked for a move.
    pub fn start(&mut self) -> Result<()> {
        let start = Instant::now();
        self.manager.start(self.lab, self.cluster)?;
        let one = self.lab.node1();
        wait_until("a node to be Primary and have the virtual address", PATIENCE, || self.sampler.active())
            .with_context(|| self.looks())?;
        if self.sampler.active()? != Some(one.number()) {
            self.say("the manager has chosen node2");
            wait_until("the manager to rest", PATIENCE, || {
                Ok(self.manager.is_settled(self.lab)?.then_some(()))
            })?;
            self.manager.move_to(self.lab, one)?;
        }
        self.active_is(one)?;
        self.client = Some(Client::start_paced(self.lab, PAUSE)?);
        let settled = self.settle();
        self.end_part("start of the manager", start, settled)
    }

    /// Ends the client early, and fails when an acknowledged row is lost.
    pub fn stop_client(&mut self) -> Result<()> {
        let Some(client) = self.client.take() else { return Ok(()) };
        let lost = client.stop()?.lost_rows(self.lab)?;
        ensure!(lost.is_empty(), "{} ACKNOWLEDGED ROWS ARE LOST", lost.len());
        Ok(())
    }

    /// The sampler.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The client; an error before [`Play::start`].
    pub fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("the client has not been started")
    }

    /// The node that serves.
    pub fn active(&self) -> Result<&'a Node> {
        let number = self.sampler.active()?.context("no node serves, or both hold something")?;
        Ok(if number == 1 { self.lab.node1() } else { self.lab.node2() })
    }

    fn active_is(&self, node: &Node) -> Result<()> {
        wait_until(&format!("{} to be Primary and have the virtual address", node.name()), PATIENCE, || {
            Ok((self.sampler.active()? == Some(node.number())).then_some(()))
        })
        .with_context(|| self.looks())
    }

    fn looks(&self) -> String {
        let look = |node| match self.sampler.latest(node) {
            Ok(Some(look)) => format!("node{node}: Primary {}, virtual address {}", look.primary, look.vip),
            Ok(None) => format!("node{node}: not seen"),
            Err(error) => format!("node{node}: {error:#}"),
        };
        format!("the latest looks: {}; {}", look(1), look(2))
    }

    /// Waits until a log of the node that does not serve has a line with this text.
    pub fn wait_for_line_on_the_standby(&self, file: &str, text: &str) -> Result<()> {
        let standby = self.lab.peer(self.active()?);
        wait_until(&format!("{text:?} in {file} on {}", standby.name()), PATIENCE, || {
            Ok(standby.run(&format!("grep -q '{text}' {file}"))?.success().then_some(()))
        })
    }

    /// Waits until one node serves, the other one is on and in sync, rows come steadily, and the manager rests.
    pub fn settle(&self) -> Result<()> {
        let mut why = String::new();
        let mut is_settled = || -> Result<bool> {
            why = self.looks();
            if self.sampler.active()?.is_none() {
                return Ok(false);
            }
            why = "rows do not come steadily".to_owned();
            if !self.client()?.look(|report| report.is_steady(STEADY)) {
                return Ok(false);
            }
            for node in self.lab.nodes() {
                let drbd = node.drbd()?;
                why = format!("{} says {drbd}", node.name());
                if !(drbd.contains("cs:Connected") && drbd.contains("ds:UpToDate/UpToDate")) {
                    return Ok(false);
                }
            }
            why = "the manager is not at rest".to_owned();
            self.manager.is_settled(self.lab)
        };
        let waited = wait_until("one node to serve and the other one to be in sync", PATIENCE, || {
            let settled = is_settled()?;
            if !settled {
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(settled.then_some(()))
        });
        waited.with_context(|| format!("at last: {why}"))
    }

    fn end_part(&mut self, name: &str, start: Instant, result: Result<()>) -> Result<()> {
        let took = start.elapsed();
        let report = self.client.as_ref().map(Client::report).unwrap_or_default();
        let here = report.outages.iter().filter(|outage| outage.end.is_none_or(|end| end >= start));
        let outage = here.map(|outage| outage.duration()).max();
        let seen = outage.map_or_else(
            || "the client saw no outage".to_owned(),
            |outage| format!("the client was without its database for {:.2} s", outage.as_secs_f64()),
        );
        let failed = if result.is_err() { "FAILED: " } else { "" };
        self.say(&format!("{failed}{name}: {seen}; at rest after {:.1} s", took.as_secs_f64()));
        self.parts.push(Part { name: name.to_owned(), outage, took });
        result.with_context(|| format!("{}: {name}", self.manager.name()))
    }

    /// kill -9 of mysqld on the active node; whoever is active then, rows must come again.
    pub fn kill_mysqld(&mut self) -> Result<()> {
        let node = self.active()?;
        self.client()?.wait_for_rows(ROWS)?;
        self.say(&format!("kill -9 of mysqld on {}", node.name()));
        let start = Instant::now();
        let result = (|| {
            node.run_ok("killall -KILL -w mariadbd")?;
            self.client()?.wait_for_row_after(Instant::now(), PATIENCE)?;
            self.settle()
        })();
        self.end_part("kill -9 of mysqld", start, result)
    }

    /// kill -9 of the manager on the active node, the time that its peer needs to act on it, and its restart.
    pub fn kill_manager(&mut self) -> Result<()> {
        let node = self.active()?;
        self.client()?.wait_for_rows(ROWS)?;
        self.say(&format!("kill -9 of the manager on {}", node.name()));
        let start = Instant::now();
        let result = (|| {
            self.manager.kill_manager(node)?;
            let end = Instant::now() + self.manager.reaction();
            wait_until("rows to come steadily after the death of the manager", PATIENCE, || {
                let steady = self.client()?.look(|report| report.is_steady(STEADY));
                Ok((Instant::now() >= end && steady).then_some(()))
            })
            .with_context(|| self.looks())
        })();
        self.end_part("kill -9 of the manager", start, result)?;
        self.say(&format!("restart of the manager on {}", node.name()));
        let start = Instant::now();
        let result = self.manager.restart(node).and_then(|()| self.settle());
        self.end_part("restart of the manager", start, result)
    }

    /// A move that the manager is asked for, to the other node.
    pub fn planned_move(&mut self, name: &str) -> Result<()> {
        let to = self.lab.peer(self.active()?);
        self.client()?.wait_for_rows(ROWS)?;
        let start = Instant::now();
        let result = (|| {
            self.manager.move_to(self.lab, to)?;
            self.active_is(to)?;
            self.client()?.wait_for_row_after(Instant::now(), PATIENCE)?;
            self.settle()
        })();
        self.end_part(name, start, result)
    }

    /// A power cut of the active node and the manager's takeover. Returns the outage.
    pub fn power_cut(&mut self) -> Result<Duration> {
        let node = self.active()?;
        let survivor = self.lab.peer(node);
        self.client()?.wait_for_rows(ROWS)?;
        self.say(&format!("POWER CUT of {}", node.name()));
        let start = Instant::now();
        let result = (|| {
            node.power_cut()?;
            let cut = Instant::now();
            self.manager.intervene(self.cluster, survivor)?;
            self.client()?.wait_for_row_after(cut, PATIENCE)?;
            wait_until("rows to come steadily after the power cut", PATIENCE, || {
                Ok(self.client()?.look(|report| report.is_steady(STEADY)).then_some(()))
            })
        })();
        self.end_part("power cut", start, result)?;
        let outage = self.parts.last().and_then(|part| part.outage);
        outage.context("the client saw no outage: was there a power cut?")
    }

    /// The return of the node that has no power.
    pub fn power_back(&mut self) -> Result<()> {
        let node = self.lab.nodes().into_iter().find(|node| !node.is_on()).context("both nodes are on")?;
        self.say(&format!("{} gets its power back", node.name()));
        let start = Instant::now();
        let result = (|| {
            node.boot()?;
            self.sampler.wait_for(node)?;
            self.manager.restart(node)?;
            self.settle()
        })();
        self.end_part("return of the node", start, result)
    }

    /// Keeps the logs and judges the run, whose parts had this result.
    pub fn finish(mut self, result: Result<()>) -> Result<Story> {
        let client = self.client.take();
        let report =
            client.map(|client| client.stop().and_then(|report| Ok((report.lost_rows(self.lab)?, report))));
        let stopped = self.sampler.stop();
        let record = self.sampler.record();
        let quality = stopped.and_then(|_| record.quality());
        let violations = record.violations();
        match &report {
            Some(Ok((lost, report))) => self.say(&format!(
                "{} rows acknowledged, {} lost ({} were never acknowledged: their fate is open)",
                report.acknowledged.len(),
                lost.len(),
                report.unknown.len()
            )),
            Some(Err(error)) => self.say(&format!("whether rows are lost is not known: {error:#}")),
            None => {}
        }
        for line in quality.as_ref().map(Vec::as_slice).unwrap_or_default() {
            self.say(line);
        }
        for violation in &violations {
            self.say(&format!("VIOLATION: {violation}"));
        }
        if let Err(error) = &result {
            self.say(&format!("FAILED: {error:#}"));
        }
        let lost = report.as_ref().map_or(0, |report| report.as_ref().map_or(0, |(lost, _)| lost.len()));
        self.keep_logs(&record, lost, violations.iter().map(ToString::to_string).collect())?;

        let logs = self.logs.clone();
        let at = format!("the run's logs are in {}", logs.display());
        result.context(at.clone())?;
        quality.context(at.clone())?;
        let acknowledged = match report {
            Some(report) => report.context(at.clone())?.1.acknowledged.len(),
            None => 0,
        };
        ensure!(acknowledged == 0 || !record.answers.is_empty(), "nobody answered for {VIP} to ARP; {at}");
        ensure!(lost == 0, "{lost} ACKNOWLEDGED ROWS ARE LOST; {at}");
        if let Some(first) = violations.first() {
            bail!("{first} ({} violations); {at}", violations.len());
        }
        Ok(Story { parts: std::mem::take(&mut self.parts), acknowledged, logs })
    }

    fn keep_logs(&self, record: &Record, lost: usize, violations: Vec<String>) -> Result<()> {
        record.write(&self.logs)?;
        fs::write(self.logs.join("report.txt"), &self.told)?;
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        let parts: Vec<Value> = self
            .parts
            .iter()
            .map(|part| json!({ "part": part.name, "outage": part.outage.map(seconds), "took": seconds(part.took) }))
            .collect();
        let report = json!({
            "manager": self.manager.name(), "parts": parts, "lost_rows": lost, "violations": violations,
        });
        fs::write(self.logs.join("report.json"), format!("{report:#}\n"))?;
        for node in self.lab.nodes() {
            keep_logs_of(node, self.manager.logs(), &self.logs)?;
        }
        Ok(())
    }
}

/// A node without power, or one that hangs, has nothing to say.
pub(crate) fn keep_logs_of(node: &Node, files: &[&str], directory: &Path) -> Result<()> {
    let name_of = |file: &str| file.trim_start_matches('/').replace('/', "-");
    let mut commands: Vec<(String, String)> =
        files.iter().map(|file| (name_of(file), format!("cat '{file}'"))).collect();
    for (name, command) in [
        ("journal", "journalctl --no-pager --output=short-precise"),
        ("history", "standin history --last 100"),
        ("history.json", "standin history --json --last 100"),
        ("mariadb", "cat /var/log/mysql/error.log"),
        ("state", "cat /proc/drbd /proc/mounts; ip address; ps -ef"),
    ] {
        commands.push((name.to_owned(), command.to_owned()));
    }
    for (name, command) in commands {
        if let Ok(output) = node.run_with_deadline(&command, Duration::from_secs(20))
            && !output.bytes.is_empty()
        {
            fs::write(directory.join(format!("{}.{name}", node.name())), output.bytes)?;
        }
    }
    Ok(())
}
