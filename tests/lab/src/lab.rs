//! A lab: its start, its end, and what concerns both nodes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::disks;
use crate::image::{Filesystem, Image, directory, image};
use crate::network::{Network, NetworkNamespace};
use crate::node::Node;
use crate::registry;
use crate::supervisor::Supervisor;

/// How a lab is to be.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The file system of the replicated disk.
    pub filesystem: Filesystem,
    /// More words for the kernels' command lines, such as `lab.drbd=no` or `drbd.usermode_helper=/sbin/drbdadm`.
    pub cmdline: Vec<String>,
    /// The memory of each node.
    pub memory_megabytes: u32,
    /// Whether the nodes are booted.
    pub boot: bool,
    /// Whether the lab stays up at its end; at first: whether the environment variable `KEEP_LAB` is `1`.
    pub keep: bool,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            filesystem: Filesystem::default(),
            cmdline: Vec::new(),
            memory_megabytes: 1200,
            boot: true,
            keep: std::env::var_os("KEEP_LAB").is_some_and(|value| value == "1"),
        }
    }
}

/// What both nodes know of their lab.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) run: PathBuf,
    pub(crate) image: Image,
    pub(crate) supervisor: u32,
    pub(crate) words: Vec<String>,
    pub(crate) memory_megabytes: u32,
    pub(crate) filesystem: Filesystem,
}

/// Two nodes and the networks between them. They end with this value, or with the process that holds it.
#[derive(Debug)]
pub struct Lab {
    nodes: [Node; 2],
    network: Arc<NetworkNamespace>,
    settings: Arc<Settings>,
    supervisor: Supervisor,
    keep: bool,
}

/// Starts a lab and runs a test in it. When the test fails, the logs of the nodes are kept.
pub fn with_lab(options: LabOptions, test: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let lab = Lab::start(options)?;
    test(&lab).map_err(|error| lab.with_logs(error))
}

impl Lab {
    /// Starts a lab with fresh disks, after having built what is missing for it; both nodes are in sync then.
    pub fn start(options: LabOptions) -> Result<Self> {
        let image = image()?;
        let entry = registry::enter()?;
        let run = entry.directory.clone();
        let supervisor = Supervisor::start(&run)?;
        entry.complete(supervisor.pid(), options.filesystem, &image.key())?;
        let network = Arc::new(NetworkNamespace::of_process(supervisor.pid())?);
        let settings = Arc::new(Settings {
            run,
            image,
            supervisor: supervisor.pid(),
            words: options.cmdline,
            memory_megabytes: options.memory_megabytes,
            filesystem: options.filesystem,
        });
        let node = |number| Node::new(number, network.clone(), settings.clone());
        let lab = Self { nodes: [node(1), node(2)], network, settings, supervisor, keep: options.keep };
        for node in &lab.nodes {
            disks::copy_golden(node)?;
        }
        if options.boot {
            lab.boot().map_err(|error| lab.with_logs(error))?;
        }
        Ok(lab)
    }

    fn with_logs(&self, error: anyhow::Error) -> anyhow::Error {
        match self.save_logs() {
            Ok(logs) => error.context(format!("failed; the logs of the nodes are in {}", logs.display())),
            Err(second) => error.context(format!("failed, and so did keeping the nodes' logs: {second:#}")),
        }
    }

    /// Boots both nodes at once, and waits until they are in sync (if they bring DRBD up at boot).
    pub fn boot(&self) -> Result<()> {
        for node in &self.nodes {
            node.switch_on(&[])?;
        }
        self.nodes.iter().try_for_each(Node::wait_until_up)?;
        if !self.settings.words.iter().any(|word| word == "lab.drbd=no") {
            self.wait_in_sync()?;
        }
        Ok(())
    }

    /// What `lab ssh` calls this lab.
    pub fn id(&self) -> String {
        self.settings.run.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The file system of the replicated disk.
    pub fn filesystem(&self) -> Filesystem {
        self.settings.filesystem
    }

    /// The first node.
    pub fn node1(&self) -> &Node {
        let [node, _] = &self.nodes;
        node
    }

    /// The second node.
    pub fn node2(&self) -> &Node {
        let [_, node] = &self.nodes;
        node
    }

    /// Both nodes.
    pub fn nodes(&self) -> [&Node; 2] {
        [self.node1(), self.node2()]
    }

    /// The other one of two.
    pub fn peer(&self, node: &Node) -> &Node {
        if node.number() == 1 { self.node2() } else { self.node1() }
    }

    pub(crate) fn network(&self) -> &Arc<NetworkNamespace> {
        &self.network
    }

    /// Runs the same on both nodes at once.
    pub fn on_both<T: Send>(&self, work: impl Fn(&Node) -> Result<T> + Sync) -> Result<[T; 2]> {
        thread::scope(|scope| {
            let second = scope.spawn(|| work(self.node2()));
            let first = work(self.node1());
            let second = second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok([first?, second?])
        })
    }

    /// Keeps the nodes from reaching each other over a network. The host still reaches both; see [`Node::unplug`].
    pub fn partition(&self, network: Network) -> Result<()> {
        self.nodes.iter().try_for_each(|node| self.network.isolate(network, node.number(), true))
    }

    /// Undoes [`Lab::partition`] and [`Node::unplug`].
    pub fn heal(&self, network: Network) -> Result<()> {
        self.nodes.iter().try_for_each(|node| self.network.plug(network, node.number()))
    }

    /// Copies the consoles, the journals and MariaDB's logs of this run to `target/lab/logs`, and returns where.
    pub fn save_logs(&self) -> Result<PathBuf> {
        let to = directory().join("logs").join(self.id());
        fs::create_dir_all(&to)?;
        for name in ["node1.console", "node2.console", "supervisor.log"] {
            let from = self.settings.run.join(name);
            if from.exists() {
                fs::copy(from, to.join(name))?;
            }
        }
        for node in &self.nodes {
            for (name, command) in [
                ("journal", "journalctl --boot --no-pager"),
                ("mariadb", "cat /var/log/mysql/error.log"),
                ("state", "cat /proc/drbd /proc/mounts; ip address; ps -ef"),
                // Tells only while the resource is down, which is when it matters.
                (
                    "metadata",
                    "drbdadm dump-md r0 2>&1 | head -n 200; dd if=/dev/ubdb bs=4096 skip=$((262144 - 20)) | od -A d -t x4",
                ),
            ] {
                // A node without power, or one that hangs, has nothing to say.
                if let Ok(output) = node.run_with_deadline(command, Duration::from_secs(5)) {
                    fs::write(to.join(format!("{}.{name}", node.name())), output.bytes)?;
                }
            }
        }
        Ok(to)
    }

    /// How to get in and how to end it, for a person.
    pub fn how_to_use(&self) -> String {
        let id = self.id();
        let lab = "cargo run --quiet --package standin-lab --bin lab --";
        format!(
            "the lab {id} is up\n  log in:  {lab} ssh {id} node1\n  end it:  {lab} stop {id}\n  files:   {}",
            self.settings.run.display()
        )
    }

    fn end(&mut self) -> Result<()> {
        if thread::panicking() {
            let logs = self.save_logs()?;
            eprintln!("lab {}: the logs of the nodes are in {}", self.id(), logs.display());
        }
        if self.keep {
            self.supervisor.keep()?;
            eprintln!("{}", self.how_to_use());
            return Ok(());
        }
        self.nodes.iter().try_for_each(Node::power_cut)?;
        self.supervisor.end()?;
        fs::remove_dir_all(&self.settings.run).context("removing the run directory")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("lab {}: could not be ended in order: {error:#}", self.id());
        }
    }
}
