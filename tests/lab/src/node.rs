//! One node: its power, its commands, its files.

use std::io::empty;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::instance::{Instance, Machine};
use crate::lab::Settings;
use crate::network::{Network, NetworkNamespace};
use crate::remote::{Output, Remote};
use crate::wait::wait_until;

/// How long a command may take when nothing else is said.
const COMMAND: Duration = Duration::from_secs(60);
/// A boot takes 5 s on an idle machine with two cores.
const BOOT: Duration = Duration::from_secs(120);

/// One of the two machines.
#[derive(Debug)]
pub struct Node {
    number: u8,
    remote: Remote,
    pub(crate) network: Arc<NetworkNamespace>,
    pub(crate) settings: Arc<Settings>,
    instance: Mutex<Option<Instance>>,
}

impl Node {
    pub(crate) fn new(number: u8, network: Arc<NetworkNamespace>, settings: Arc<Settings>) -> Self {
        Self {
            number,
            remote: Remote::new(network.clone(), number),
            network,
            settings,
            instance: Mutex::default(),
        }
    }

    fn instance(&self) -> MutexGuard<'_, Option<Instance>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// 1 or 2.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// `node1` or `node2`.
    pub fn name(&self) -> String {
        format!("node{}", self.number)
    }

    /// Switches the node on and waits until it runs commands; DRBD is up then.
    pub fn boot(&self) -> Result<()> {
        self.boot_with(&[])
    }

    /// The same, with more words on the kernel's command line than the lab's own.
    pub fn boot_with(&self, words: &[&str]) -> Result<()> {
        self.switch_on(words)?;
        self.wait_until_up()
    }

    pub(crate) fn switch_on(&self, words: &[&str]) -> Result<()> {
        let mut instance = self.instance();
        if let Some(running) = instance.as_mut()
            && running.is_running()
        {
            bail!("{} is on already", self.name());
        }
        let words: Vec<&str> =
            self.settings.words.iter().map(String::as_str).chain(words.iter().copied()).collect();
        *instance = Some(Instance::start(&Machine {
            run: &self.settings.run,
            root: &self.settings.image.root(),
            supervisor: self.settings.supervisor,
            node: self.number,
            memory_megabytes: self.settings.memory_megabytes,
            words: &words,
        })?);
        Ok(())
    }

    /// Waits until a node that boots runs commands.
    pub fn wait_until_up(&self) -> Result<()> {
        let mut died = false;
        let up = wait_until(&format!("{} to boot", self.name()), BOOT, || {
            died = !self.is_on();
            Ok((died || self.remote.answers(Duration::from_millis(200))).then_some(()))
        });
        if died || up.is_err() {
            let path = self.settings.run.join(format!("node{}.console", self.number));
            let console = std::fs::read(&path).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            let lines: Vec<&str> = console.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            let how = if died { "its kernel has ended" } else { "it does not answer" };
            bail!("{} did not boot: {how}. The end of its console:\n{last}", self.name());
        }
        Ok(())
    }

    /// Whether the node has power (it may hang).
    pub fn is_on(&self) -> bool {
        self.instance().as_mut().is_some_and(Instance::is_running)
    }

    /// Takes the power away, as if the cable was pulled: what was not on the disk is lost.
    pub fn power_cut(&self) -> Result<()> {
        let instance = self.instance().take();
        if let Some(mut instance) = instance {
            instance.kill().with_context(|| format!("cutting the power of {}", self.name()))?;
        }
        self.remote.hang_up();
        Ok(())
    }

    /// Shuts the node down in order.
    pub fn power_off(&self) -> Result<()> {
        self.run_ok("systemctl poweroff --no-block")?;
        if let Some(mut instance) = self.instance().take() {
            instance.wait(COMMAND)?;
            instance.kill()?;
        }
        self.remote.hang_up();
        Ok(())
    }

    /// Stops the node's clock and everything else in it, as a stun of a virtual machine does.
    pub fn hang(&self) -> Result<()> {
        self.freeze(true)
    }

    /// Lets a node that hangs go on.
    pub fn resume(&self) -> Result<()> {
        self.freeze(false)
    }

    fn freeze(&self, frozen: bool) -> Result<()> {
        match self.instance().as_ref() {
            Some(instance) => instance.freeze(frozen),
            None => bail!("{} is off", self.name()),
        }
    }

    /// Pulls one cable of this node.
    pub fn unplug(&self, network: Network) -> Result<()> {
        self.network.unplug(network, self.number)
    }

    /// Puts the cable back.
    pub fn plug(&self, network: Network) -> Result<()> {
        self.network.plug(network, self.number)
    }

    /// Runs a command line of `/bin/sh` as root, for at most a minute. An exit code other than 0 is no error here.
    pub fn run(&self, command: &str) -> Result<Output> {
        self.run_with_deadline(command, COMMAND)
    }

    /// The same with a deadline: at its end the command and all that it started in its process group are killed.
    pub fn run_with_deadline(&self, command: &str, deadline: Duration) -> Result<Output> {
        self.remote.execute(command, empty(), deadline)
    }

    /// Runs a command that is meant to succeed, and returns what it printed.
    pub fn run_ok(&self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        ensure!(output.success(), "on {}: {output}", self.name());
        Ok(output.stdout)
    }

    /// Starts a command that runs on by itself in a session of its own.
    pub fn spawn(&self, command: &str) -> Result<Running<'_>> {
        let start = "set -e; d=$(mktemp -d /run/lab.XXXXXX); cat > $d/command; \
            setsid sh -c \"echo \\$\\$ > $d/pid; sh $d/command > $d/output 2>&1; echo \\$? > $d/code\" \
            < /dev/null > /dev/null 2>&1 & echo $d";
        let output = self.remote.execute(start, command.as_bytes(), COMMAND)?;
        ensure!(output.success(), "on {}: cannot start `{command}`: {output}", self.name());
        Ok(Running { node: self, command: command.to_owned(), directory: output.stdout.trim().to_owned() })
    }

    /// Writes a file, in one step; it survives a power cut.
    pub fn write_file(&self, remote: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.send_file(remote, content.as_ref(), mode)
    }

    /// Copies a file into the node; it survives a power cut.
    pub fn copy_in(&self, local: impl AsRef<Path>, remote: &str, mode: u32) -> Result<()> {
        let local = local.as_ref();
        let file = std::fs::File::open(local).with_context(|| format!("cannot read {}", local.display()))?;
        self.send_file(remote, file, mode)
    }

    fn send_file(&self, remote: &str, content: impl std::io::Read + Send, mode: u32) -> Result<()> {
        let command = format!(
            "set -e; umask 077; mkdir -p $(dirname '{remote}'); cat > '{remote}.part'; \
             chmod {mode:o} '{remote}.part'; sync '{remote}.part'; mv '{remote}.part' '{remote}'; \
             sync $(dirname '{remote}')"
        );
        let output = self.remote.execute(&command, content, COMMAND)?;
        ensure!(output.success(), "on {}: cannot write {remote}: {output}", self.name());
        Ok(())
    }

    /// The content of a file.
    pub fn read_file(&self, remote: &str) -> Result<Vec<u8>> {
        let output = self.run(&format!("cat '{remote}'"))?;
        ensure!(output.success(), "on {}: {output}", self.name());
        Ok(output.bytes)
    }

    /// Copies a file out of the node.
    pub fn copy_out(&self, remote: &str, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        std::fs::write(local, self.read_file(remote)?)
            .with_context(|| format!("cannot write {}", local.display()))
    }

    /// Shows a directory of this machine inside the node, read-only, under `/mnt/host`.
    pub fn mount_host(&self, directory: impl AsRef<Path>) -> Result<()> {
        let directory = directory.as_ref().canonicalize()?;
        self.run_ok(&format!("mount -t hostfs -o ro,{} none /mnt/host", directory.display()))?;
        Ok(())
    }
}

/// A command that runs on by itself in a node.
#[derive(Debug)]
pub struct Running<'a> {
    node: &'a Node,
    command: String,
    directory: String,
}

impl Running<'_> {
    /// What it has written so far, standard output and standard error together.
    pub fn output(&self) -> Result<String> {
        self.node.run_ok(&format!("cat {}/output", self.directory))
    }

    /// Its exit code, when it has ended.
    pub fn code(&self) -> Result<Option<i32>> {
        let text = self.node.run_ok(&format!("cat {}/code 2> /dev/null || true", self.directory))?;
        Ok(text.trim().parse().ok())
    }

    /// Waits for its end, and returns the exit code and all that it wrote.
    pub fn wait(&self, deadline: Duration) -> Result<(i32, String)> {
        let what = format!("`{}` on {} to end", self.command, self.node.name());
        let code = wait_until(&what, deadline, || self.code())?;
        Ok((code, self.output()?))
    }

    /// Sends a signal, named without SIG, to all of its session that stayed in one process group.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.node.run_ok(&format!("/bin/kill -{signal} -- -$(cat {}/pid)", self.directory))?;
        Ok(())
    }
}
