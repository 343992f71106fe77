//! Starts a command and sends a signal at the moment when a file says something: the journal that a step has ended, an
//! error log that crash recovery has begun.
//!
//! The file is followed by inotify. Started with a realtime priority (`chrt --fifo --reset-on-fork 50 kill-at …`), this
//! runs as soon as the line is written: the writer does not get back from its system call before the signal.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// The command ended before there was a reason for the signal.
const TOO_LATE: u8 = 90;

/// Starts a command, and sends a signal when a new line of a file contains a text.
///
/// Ends with 0 when the command was killed, with the command's own exit code when somebody else was to get the signal,
/// and with 90 when the command ended first.
#[derive(Parser)]
struct Arguments {
    /// The file to follow, from its present end; without it the signal comes as soon as the command runs
    #[arg(long, requires = "text")]
    file: Option<PathBuf>,
    /// What a new line must contain
    #[arg(long, requires = "file")]
    text: Option<String>,
    /// How long to wait after that line, in milliseconds
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// The signal
    #[arg(long, default_value = "SIGKILL")]
    signal: Signal,
    /// Who gets it, by the name of the process; the command itself when nobody is named
    #[arg(long)]
    victim: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut follower = match arguments.file.as_deref().zip(arguments.text.clone()) {
        Some((file, text)) => Some(Follower::new(file, text)?),
        None => None,
    };
    let (program, rest) = arguments.command.split_first().context("a command is needed")?;
    let mut child =
        Command::new(program).args(rest).spawn().with_context(|| format!("{program} does not run"))?;
    let own = Pid::from_raw(i32::try_from(child.id())?);
    let mut last_line = None;
    if let Some(follower) = &mut follower {
        last_line = follower.wait(&child)?;
        if last_line.is_none() {
            eprintln!("kill-at: the command ended before the file said so");
            return Ok(ExitCode::from(TOO_LATE));
        }
        thread::sleep(Duration::from_millis(arguments.after));
    }
    // A child that has ended and was not waited for still has its number: no other process can be hit.
    let victims = arguments.victim.as_deref().map_or_else(|| Ok(vec![own]), named)?;
    ensure!(!victims.is_empty(), "no process is called {}", arguments.victim.unwrap_or_default());
    for victim in &victims {
        kill(*victim, arguments.signal).with_context(|| format!("{} to {victim}", arguments.signal))?;
    }
    eprintln!("kill-at: {} after {}", arguments.signal, last_line.as_deref().unwrap_or("its start"));
    let status = child.wait()?;
    if arguments.victim.is_none() {
        let killed = status.signal() == Some(arguments.signal as i32);
        return Ok(ExitCode::from(if killed { 0 } else { TOO_LATE }));
    }
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(128)).unwrap_or(u8::MAX)))
}

/// Every process of this name.
fn named(name: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim_end() == name {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

struct Follower {
    path: PathBuf,
    text: String,
    offset: u64,
    partial: Vec<u8>,
    inotify: Inotify,
}

impl Follower {
    fn new(path: &Path, text: String) -> Result<Self> {
        let directory = path.parent().context("the file needs a directory")?;
        fs::create_dir_all(directory)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(directory, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE)?;
        let offset = fs::metadata(path).map_or(0, |metadata| metadata.len());
        Ok(Self { path: path.to_owned(), text, offset, partial: Vec::new(), inotify })
    }

    /// The line that contains the text; none when the command ends without it.
    ///
    /// Only this thread has the realtime priority, so it is the one that follows the file.
    fn wait(&mut self, child: &Child) -> Result<Option<String>> {
        let own = Pid::from_raw(i32::try_from(child.id())?);
        let (ended, end) = io::pipe()?;
        thread::spawn(move || {
            // Leaves it a zombie: it keeps its number until the end.
            let _ = waitid(Id::Pid(own), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            drop(end);
        });
        loop {
            let mut sources = [
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            ];
            poll(&mut sources, PollTimeout::NONE)?;
            let [written, ended] = sources.map(|source| source.any().unwrap_or(true));
            if written {
                self.inotify.read_events()?;
            }
            if let Some(line) = self.new_lines()?.into_iter().find(|line| line.contains(&self.text)) {
                return Ok(Some(line));
            }
            if ended {
                return Ok(None);
            }
        }
    }

    fn new_lines(&mut self) -> Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += u64::try_from(file.read_to_end(&mut self.partial)?)?;
        let complete = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.partial.split_off(complete);
        let lines = std::mem::replace(&mut self.partial, rest);
        Ok(String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect())
    }
}
