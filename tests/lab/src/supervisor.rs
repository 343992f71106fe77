//! The namespaces of one lab, and the process that they live and die with.
//!
//! `supervisor.sh` is the first process of a new process namespace, and reads from a pipe whose other end only the lab's
//! owner holds. However the owner ends, the pipe ends, the script ends, and the kernel kills what runs in there.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::wait::wait_until;

/// Bridges and taps are there within a tenth of this on an idle machine.
const READY: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Supervisor {
    pub(crate) fn start(run: &Path) -> Result<Self> {
        let log = run.join("supervisor.log");
        let mut child = Command::new("unshare")
            .args(["--fork", "--pid", "--net", "--mount", "--propagation", "private", "--kill-child", "bash"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("supervisor.sh"))
            .arg(run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            // Control-C on a terminal is for the owner, who then ends the lab in order.
            .process_group(0)
            .spawn()
            .context("unshare does not run")?;
        let lifeline = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| anyhow!("the supervisor has no standard output"))?;
        let supervisor = Self { child, lifeline };

        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(line);
        });
        match receiver.recv_timeout(READY) {
            Ok(line) if line.trim() == "ready" => Ok(supervisor),
            _ => {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!(
                    "the lab's namespaces could not be made (root, and /dev/net/tun, are needed): {}",
                    said.trim()
                )
            }
        }
    }

    /// A process whose network and mount namespaces are the lab's, and whose children's process namespace is.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Leaves the lab up when its owner ends.
    pub(crate) fn keep(&mut self) -> Result<()> {
        if let Some(mut pipe) = self.lifeline.take() {
            pipe.write_all(b"keep\n").context("the lab's supervisor is gone")?;
        }
        Ok(())
    }

    /// Ends everything in the namespaces, and returns when all of it is gone.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.lifeline = None;
        let ended = wait_until("the lab's supervisor to end", END, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}
