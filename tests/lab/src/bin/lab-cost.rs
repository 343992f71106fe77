//! What a command costs: the processor time of all that it starts, call by call.
//!
//! The calls run in a control group of their own, so that what a grandchild uses counts even when nobody waits for it. A node's
//! kernel counts in hundredths of a second: the mean of many calls is worth more than any one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Runs a command a number of times, and prints for each call: exit code, microseconds of processor time, microseconds passed.
#[derive(Parser)]
struct Arguments {
    /// How many calls
    #[arg(long, default_value_t = 10)]
    times: u32,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Removed when the program ends: it must have moved out of it before.
struct Group {
    directory: PathBuf,
}

impl Group {
    fn enter() -> Result<Self> {
        let directory = Path::new("/sys/fs/cgroup").join(format!("lab-cost-{}", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        fs::write(directory.join("cgroup.procs"), "0")?;
        Ok(Self { directory })
    }

    fn microseconds(&self) -> Result<u64> {
        let text = fs::read_to_string(self.directory.join("cpu.stat"))?;
        let value = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        value.and_then(|value| value.parse().ok()).context("cpu.stat has no usage_usec")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write("/sys/fs/cgroup/cgroup.procs", "0");
        let _ = fs::remove_dir(&self.directory);
    }
}

fn main() -> Result<()> {
    let Arguments { times, command } = Arguments::parse();
    let (program, rest) = command.split_first().context("a command is needed")?;
    let group = Group::enter()?;
    for _ in 0..times {
        let (before, start) = (group.microseconds()?, Instant::now());
        let status = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("{program} does not run"))?;
        let passed = start.elapsed().as_micros();
        let code = status.code();
        ensure!(code.is_some(), "{program} ended with {status}");
        println!("{} {} {passed}", code.unwrap_or_default(), group.microseconds()? - before);
    }
    Ok(())
}
