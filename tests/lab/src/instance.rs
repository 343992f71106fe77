//! One User-Mode-Linux kernel: host processes in a session of the kernel's own.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_until;

const END: Duration = Duration::from_secs(20);

/// What a kernel is started with.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) run: &'a Path,
    pub(crate) root: &'a Path,
    pub(crate) supervisor: u32,
    pub(crate) node: u8,
    pub(crate) memory_megabytes: u32,
    pub(crate) words: &'a [&'a str],
}

#[derive(Debug)]
pub(crate) struct Instance {
    /// The leader of the session; the kernel is its child, in the lab's namespaces.
    child: Child,
    /// Leads a session too, in which all of the node's processes are.
    kernel: i32,
}

struct Process {
    pid: i32,
    parent: u32,
    session: u32,
    state: char,
}

impl Instance {
    pub(crate) fn start(machine: &Machine<'_>) -> Result<Self> {
        let Machine { run, root, supervisor, node, memory_megabytes, words } = *machine;
        let console =
            File::options().create(true).append(true).open(run.join(format!("node{node}.console")))?;
        let mut command = Command::new("setsid");
        command
            .arg("nsenter")
            .arg(format!("--net=/proc/{supervisor}/ns/net"))
            .arg(format!("--mount=/proc/{supervisor}/ns/mnt"))
            .arg(format!("--pid=/proc/{supervisor}/ns/pid_for_children"))
            .arg(format!("--wd={}", run.display()))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel.sh"))
            // The paths are relative where a socket's name must be short.
            .args([format!("umid=node{node}"), "uml_dir=uml/".to_owned(), format!("mem={memory_megabytes}M")])
            .arg(format!("ubda=node{node}.root,{}", root.display()))
            .arg(format!("ubdb=node{node}.disk"))
            .args(["root=/dev/ubda", "rw", "con0=null,fd:1", "con=null"]);
        for (number, network) in ["clients", "replication", "service"].iter().enumerate() {
            let hardware = format!("52:54:00:77:{number:02x}:{node:02x}");
            command.arg(format!("vec{number}:transport=tap,ifname={network}{node},depth=128,mac={hardware}"));
        }
        let mut child = command
            .args(["net.ifnames=0", "selinux=0", "apparmor=0", "audit=0"])
            .arg(format!("systemd.hostname=node{node}"))
            .arg(format!("systemd.machine_id={node:032x}"))
            .args(words)
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("setsid does not run")?;
        let leader = child.id();
        let kernel = wait_until("a kernel to start", END, || {
            let kernel =
                processes()?.into_iter().find(|process| process.parent == leader).map(|kernel| kernel.pid);
            ensure!(kernel.is_some() || matches!(child.try_wait(), Ok(None)), "linux.uml has ended at once");
            Ok(kernel)
        })?;
        Ok(Self { child, kernel })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn members(&self) -> Result<Vec<Process>> {
        let sessions = [self.child.id(), self.kernel.cast_unsigned()];
        Ok(processes()?.into_iter().filter(|process| sessions.contains(&process.session)).collect())
    }

    /// Kills every process of the instance at once, and returns when they are gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        wait_until("the killed instance to be gone", END, || {
            let members = self.members()?;
            // The kernel first: nothing of the node runs on without it.
            let leader = self.child.id();
            let (kernel, rest): (Vec<_>, Vec<_>) = members.iter().partition(|member| member.parent == leader);
            for member in kernel.into_iter().chain(rest) {
                let _ = kill(Pid::from_raw(member.pid), Signal::SIGKILL);
            }
            let _ = self.child.try_wait();
            Ok(members.is_empty().then_some(()))
        })?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the node to switch itself off.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Result<()> {
        wait_until("the node to switch itself off", deadline, || Ok(self.child.try_wait()?))?;
        Ok(())
    }

    /// Stops or continues the kernel alone: with its traced children stopped too it would not come back.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        kill(Pid::from_raw(self.kernel), signal).context("the node's kernel does not run")?;
        if !frozen {
            // nsenter has stopped itself together with its child.
            kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        }
        wait_until("the node's kernel to stop or go on", END, || {
            let kernel = self.members()?.into_iter().find(|member| member.pid == self.kernel);
            let kernel = kernel.ok_or_else(|| anyhow!("the node's kernel has ended"))?;
            Ok(((kernel.state == 'T') == frozen).then_some(()))
        })
    }
}

/// Every process of this machine that is not a zombie.
fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the two calls.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // After the name, which may hold anything: state, parent, group, session.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if let [state, parent, _, session, ..] = fields[..]
            && state != "Z"
        {
            let state = state.chars().next().unwrap_or('?');
            found.push(Process { pid, parent: parent.parse()?, session: session.parse()?, state });
        }
    }
    Ok(found)
}
