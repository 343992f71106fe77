//! Random faults under load: what strikes is a seed's, what must hold is [`watch`]'s, and what may leave the clients without
//! service is in [`rules`]. See docs/chaos.md.

pub mod disk;
mod fault;
mod operator;
mod report;
mod round;
pub mod rules;
pub mod schedule;
pub mod setup;
pub mod watch;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::lab::{Lab, with_lab};
use crate::manager::Manager;
use crate::managers::Agent;
use crate::node::Node;
use crate::sampler::Sampler;
use crate::scenario::directory_of;
use crate::wait::wait_until;

pub use report::{End, Outcome, Summary};
pub use schedule::{Fault, schedule};
pub use setup::{STONITH, Under};
use watch::Watch;

/// What is to strike, and whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// All that is left to chance comes from it.
    pub seed: u64,
    /// How many faults.
    pub faults: usize,
    /// Who is to act on them.
    pub under: Under,
    /// DRBD's fencing policy.
    pub fencing: &'static str,
    /// The kinds of faults that may come.
    pub kinds: Vec<Fault>,
}

impl Options {
    /// Every kind of fault, with DRBD's fencing as the doctor insists on it.
    pub fn new(seed: u64, faults: usize, under: Under) -> Self {
        Self { seed, faults, under, fencing: STONITH, kinds: Fault::ALL.to_vec() }
    }

    /// The command that replays the run up to this fault.
    pub fn replay(&self, faults: usize) -> String {
        let mut line = format!("make chaos SEED={} FAULTS={faults} MANAGER={}", self.seed, self.under);
        if self.kinds != Fault::ALL {
            let names: Vec<String> = self.kinds.iter().map(report::argument).collect();
            line += &format!(" ONLY={}", names.join(","));
        }
        if self.fencing != STONITH {
            line += &format!(" FENCING={}", self.fencing);
        }
        line
    }
}

/// A run while it goes on.
pub(crate) struct Run<'a> {
    lab: &'a Lab,
    cluster: Cluster<'a>,
    manager: Box<dyn Manager>,
    options: &'a Options,
    watch: Watch,
    begun: Instant,
    told: String,
    logs: PathBuf,
    outcomes: Vec<Outcome>,
    /// The boot identifier of each node when it was last seen.
    boots: [String; 2],
    /// How many entries each node's journal had when the round began.
    journals: [usize; 2],
    /// Nodes whose manager is to be started again.
    to_restart: [bool; 2],
    /// When the person who types the commands last tried.
    attended: Option<Instant>,
}

/// Starts a lab, lets the faults strike, and keeps the logs, whatever comes of it.
///
/// # Errors
/// Something that must hold did not, nobody served and no rule justifies that, or the pair could not be made whole again. The
/// error names the line that replays the run.
pub fn run(options: &Options) -> Result<Summary> {
    let mut summary = None;
    with_lab(options.under.lab(), |lab| {
        summary = Some(run_in(lab, options)?);
        Ok(())
    })?;
    summary.context("nothing was run")
}

/// The same in a fresh lab, which [`Under::lab`] describes.
///
/// # Errors
/// As [`run`].
pub fn run_in(lab: &Lab, options: &Options) -> Result<Summary> {
    let logs = directory_of(&format!("chaos-{}-{}", options.under, options.seed));
    let mut run = Run::begin(lab, options, logs)?;
    let result = run.all();
    run.finish(result)
}

impl<'a> Run<'a> {
    fn begin(lab: &'a Lab, options: &'a Options, logs: PathBuf) -> Result<Self> {
        if logs.exists() {
            std::fs::remove_dir_all(&logs)?;
        }
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        lab.on_both(disk::install)?;
        let cluster = Cluster::install(lab, &options.under.cluster(options.fencing))?;
        if options.under != Under::Promotable {
            lab.wait_in_sync()?;
        }
        let manager = options.under.manager();
        let sampler = Sampler::start(lab)?;
        manager.start(lab, &cluster)?;
        if options.under.has_agents() && options.under != Under::Agent {
            lab.on_both(Agent::enable)?;
        }
        let watch = Watch::start(lab, sampler)?;
        let boots = lab.on_both(boot_of)?;
        let begun = Instant::now();
        let run = Self {
            lab,
            cluster,
            manager,
            options,
            watch,
            begun,
            told: String::new(),
            logs,
            outcomes: Vec::new(),
            boots,
            journals: [0; 2],
            to_restart: [false; 2],
            attended: None,
        };
        run.wait_until_whole(options.under.patience())
            .context("the pair has to be whole before anything strikes it")?;
        Ok(run)
    }

    fn all(&mut self) -> Result<()> {
        let Options { seed, faults, .. } = *self.options;
        let rounds = schedule(seed, faults, &self.options.kinds);
        self.say(&format!(
            "seed {seed}: {faults} faults in {} rounds, under: {}, DRBD's fencing: {}",
            rounds.len(),
            self.options.under,
            self.options.fencing
        ));
        for round in &rounds {
            self.play(round)?;
        }
        Ok(())
    }

    /// Says something on the terminal and in the run's report.
    fn say(&mut self, line: &str) {
        let line = format!("[{:7.1} s] {line}", self.begun.elapsed().as_secs_f64());
        println!("{line}");
        self.told += &line;
        self.told.push('\n');
    }

    /// The node that serves: it acknowledges rows of its own client, and those of the virtual address come steadily.
    fn serving(&self) -> Option<&'a Node> {
        if !self.watch.client().look(|report| report.is_steady(round::STEADY)) {
            return None;
        }
        let mut accepting = self.lab.nodes().into_iter().filter(|node| self.watch.accepts(node));
        accepting.next().filter(|_| accepting.next().is_none())
    }

    /// Waits until one node serves, the other one holds nothing and is in sync, and the manager rests.
    fn wait_until_whole(&self, limit: std::time::Duration) -> Result<()> {
        let mut why = String::new();
        let waited = wait_until("the pair to be whole", limit, || {
            let judged = self.is_whole(&mut why);
            if !matches!(judged, Ok(true)) {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            Ok(judged?.then_some(()))
        });
        waited.with_context(|| format!("at last: {why}"))
    }

    fn is_whole(&self, why: &mut String) -> Result<bool> {
        "nobody serves steadily".clone_into(why);
        let Some(serving) = self.serving() else { return Ok(false) };
        "the other node still holds something".clone_into(why);
        if self.watch.sampler().active()? != Some(serving.number()) {
            return Ok(false);
        }
        for node in self.lab.nodes() {
            let drbd = node.drbd()?;
            *why = format!("{} says {drbd}", node.name());
            if !(drbd.contains("cs:Connected") && drbd.contains("ds:UpToDate/UpToDate")) {
                return Ok(false);
            }
        }
        "the manager is not at rest".clone_into(why);
        self.manager.is_settled(self.lab)
    }

    fn check_rows(&self, node: &Node) -> Result<usize> {
        let (lost, acknowledged) = self.watch.lost_rows(self.lab, node)?;
        ensure!(
            lost.is_empty(),
            "{} ACKNOWLEDGED ROWS ARE LOST of {acknowledged}, the first: {:?}",
            lost.len(),
            &lost[..lost.len().min(5)]
        );
        Ok(acknowledged)
    }
}

/// The kernel's boot identifier.
pub(crate) fn boot_of(node: &Node) -> Result<String> {
    Ok(node.run_ok("cat /proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
