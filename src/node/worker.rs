//! One child process of our own binary for what may hang in the kernel for ever: mount, unmount, reading the data
//! directory. A thread that hangs there would keep standin itself from exiting; a process is left behind.
//!
//! It is started at the first request of a run and then reused. Each request and each answer is one line of JSON. It
//! ends at the end of its standard input: the kernel closes that pipe when standin dies, however it dies. (The signal of
//! `PR_SET_PDEATHSIG` would come at the end of the *thread* that started it, and steps run in threads of their own.)
//! Only an announcement outlives standin: the worker acknowledges it, closes its standard streams and ends by itself.

use std::io::{self, BufRead, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::poll::{PollFd, PollFlags, poll};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::{self, Piped, poll_timeout};
use super::survey::paths::{self, Question};
use super::write_check;
use crate::audit::offline::{self, Settings};
use crate::failure::Failure;

/// The hidden first argument that makes our binary the worker.
pub const ARGUMENT: &str = "internal-worker";

/// No answer is longer, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// What the worker can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// mount(2). The answer is the error number, or null.
    Mount {
        /// Block device.
        device: PathBuf,
        /// Mount point.
        directory: PathBuf,
        /// File system type.
        filesystem: String,
        /// `MS_*` flags.
        flags: u64,
        /// Options of the file system itself.
        data: String,
    },
    /// umount2(2), not lazy. The answer is the error number, or null.
    Unmount {
        /// Mount point.
        directory: PathBuf,
    },
    /// The offline scan of a data directory. The answer is its totals; progress comes before it.
    Audit {
        /// Which directory, and how.
        #[serde(flatten)]
        settings: Settings,
    },
    /// A write through a mount and back. The answer is null, or a warning.
    WriteThrough {
        /// The mounted directory.
        directory: PathBuf,
    },
    /// A look at paths. The answer is what was seen.
    Look {
        /// What to look at.
        question: Question,
    },
    /// Gratuitous ARP, repeated after standin has ended. The answer, null, comes before the first is sent; no further
    /// request is taken.
    Announce {
        /// The interface that carries the address.
        interface: String,
        /// The address.
        vip: Ipv4Addr,
        /// How often.
        count: u32,
        /// Time between two.
        interval: Duration,
    },
}

impl Request {
    fn name(&self) -> &'static str {
        match self {
            Request::Mount { .. } => "mount",
            Request::Unmount { .. } => "unmount",
            Request::Audit { .. } => "audit",
            Request::WriteThrough { .. } => "write and read back",
            Request::Look { .. } => "look",
            Request::Announce { .. } => "announce",
        }
    }
}

type Answer = Result<Value, Failure>;

/// A line from the worker: an answer, or how far it is.
#[derive(Debug, Deserialize)]
enum Line {
    Ok(Value),
    Err(Failure),
    Progress(usize, usize),
}

/// Told of how far the worker is: what is done, and of how much.
pub type Progress<'a> = &'a dyn Fn(usize, usize);

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(50);

/// The worker that waits for a request. A call takes it out and puts it back, so that an abandoned call keeps nobody
/// waiting.
static IDLE: Mutex<Option<Worker>> = Mutex::new(None);

/// Asks the worker, and starts it when none waits.
///
/// # Errors
/// The worker's own failure; or a timeout when it does not answer by the deadline: then it is killed, and left behind
/// when it is stuck in the kernel.
pub fn call<T: DeserializeOwned>(request: &Request, deadline: Instant) -> Result<T, Failure> {
    call_with(&IDLE, &start, request, deadline)
}

/// The same for what may take long but never stands still: progress puts the deadline off, to `limit` after it.
///
/// # Errors
/// As [`call`].
pub fn call_following<T: DeserializeOwned>(
    request: &Request,
    limit: Duration,
    progress: Progress<'_>,
) -> Result<T, Failure> {
    exchange(&IDLE, &start, request, Instant::now() + limit, &|done, total| {
        progress(done, total);
        Some(Instant::now() + limit)
    })
}

/// Lets gratuitous ARP go on in the background.
///
/// # Errors
/// When the worker did not take the request.
pub fn announce(
    interface: &str,
    vip: Ipv4Addr,
    count: u32,
    interval: Duration,
    deadline: Instant,
) -> Result<(), Failure> {
    call(&Request::Announce { interface: interface.to_owned(), vip, count, interval }, deadline)
}

/// A started worker and what it said so far.
#[derive(Debug)]
struct Worker {
    process: Piped,
}

fn start() -> Result<Worker, Failure> {
    command::start_piped_as("standin", &own_command())
        .map(|process| Worker { process })
        .map_err(|error| broken(&error.to_string()))
}

#[cfg(not(test))]
fn own_command() -> Vec<String> {
    // Still right after the binary was replaced by a new version.
    vec!["/proc/self/exe".to_owned(), ARGUMENT.to_owned()]
}

#[cfg(test)]
use tests::own_command;

fn call_with<T: DeserializeOwned>(
    idle: &Mutex<Option<Worker>>,
    start: &dyn Fn() -> Result<Worker, Failure>,
    request: &Request,
    deadline: Instant,
) -> Result<T, Failure> {
    exchange(idle, start, request, deadline, &|_, _| None)
}

/// One request and its answer. `progress` may name a new deadline.
fn exchange<T: DeserializeOwned>(
    idle: &Mutex<Option<Worker>>,
    start: &dyn Fn() -> Result<Worker, Failure>,
    request: &Request,
    deadline: Instant,
    progress: &dyn Fn(usize, usize) -> Option<Instant>,
) -> Result<T, Failure> {
    // A step that was abandoned and wakes up late must not act any more: what it did would never be taken back.
    if deadline <= Instant::now() {
        return Err(Failure::timed_out(
            format!("no time was left for `{}`", request.name()),
            "what was done too late would not be taken back",
            "see the kernel log for a disk that does not answer, or raise the step's time limit",
        ));
    }
    let mut line = serde_json::to_string(request).map_err(|error| broken(&error.to_string()))?;
    line.push('\n');
    let waiting = idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    // A waiting worker that someone killed can't be written to; then a new one is started.
    let mut worker = match waiting.map(|worker| worker.asked(&line)) {
        Some(Ok(worker)) => worker,
        _ => start()?.asked(&line).map_err(|error| broken(&error.to_string()))?,
    };
    let answer = match worker.answer(deadline, progress) {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            worker.process.abandon();
            return Err(Failure::timed_out(
                format!("`{}` did not come back in time", request.name()),
                "it runs in a process of its own, which was killed and is left behind if the kernel does not let it go",
                "see the kernel log for a disk that does not answer",
            ));
        }
        Err(error) => {
            worker.process.abandon();
            return Err(broken(&error.to_string()));
        }
    };
    if !matches!(request, Request::Announce { .. }) {
        *idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(worker);
    }
    serde_json::from_value(answer?).map_err(|error| broken(&error.to_string()))
}

fn broken(cause: &str) -> Failure {
    Failure::failed(
        format!("standin's worker process does not work: {cause}"),
        "what may hang in the kernel is done only there",
        "see whether the machine is out of memory or processes (`dmesg | tail`, `ulimit -u`), then try again",
    )
}

impl Worker {
    /// Writes a request. It fits into the pipe, which is empty: the worker has read the last one before it answered.
    fn asked(mut self, line: &str) -> io::Result<Self> {
        self.process.stdin.write_all(line.as_bytes())?;
        Ok(self)
    }

    /// The answer; `None` at the deadline.
    fn answer(
        &mut self,
        mut deadline: Instant,
        progress: &dyn Fn(usize, usize) -> Option<Instant>,
    ) -> io::Result<Option<Answer>> {
        let mut said = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.process.stdout.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, poll_timeout(left)) {
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            match self.process.stdout.read(&mut chunk)? {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without an answer")),
                n => said.extend_from_slice(&chunk[..n]),
            }
            if said.len() > ANSWER_LIMIT {
                return Err(io::Error::other("its answer is too long"));
            }
            if said.last() != Some(&b'\n') {
                continue;
            }
            for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line)? {
                    Line::Ok(value) => return Ok(Some(Ok(value))),
                    Line::Err(failure) => return Ok(Some(Err(failure))),
                    Line::Progress(done, total) => deadline = progress(done, total).unwrap_or(deadline),
                }
            }
            said.clear();
        }
    }
}

/// The worker's side: answers requests until the end of standard input.
///
/// # Errors
/// When its standard streams fail.
pub fn serve() -> io::Result<()> {
    // Whatever directory standin was called in must not be kept busy.
    nix::unistd::chdir("/")?;
    let announcement = serve_on(io::stdin().lock(), &mut io::stdout(), &handle)?;
    if let Some((interface, vip, count, interval)) = announcement {
        release_standard_streams()?;
        announce_in_background(&interface, vip, count, interval);
    }
    Ok(())
}

type Announcement = (String, Ipv4Addr, u32, Duration);

/// Answers until the end of input or an announcement, which is acknowledged and returned.
fn serve_on(
    input: impl BufRead,
    output: &mut impl Write,
    handle: &dyn Fn(Request) -> Answer,
) -> io::Result<Option<Announcement>> {
    for line in input.lines() {
        let mut announcement = None;
        let answer: Answer = match serde_json::from_str(&line?) {
            Ok(Request::Announce { interface, vip, count, interval }) => {
                announcement = Some((interface, vip, count, interval));
                Ok(Value::Null)
            }
            Ok(request) => handle(request),
            Err(error) => Err(broken(&format!("a request was not understood: {error}"))),
        };
        serde_json::to_writer(&mut *output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
        if announcement.is_some() {
            return Ok(announcement);
        }
    }
    Ok(None)
}

fn handle(request: Request) -> Answer {
    match request {
        Request::Mount { device, directory, filesystem, flags, data } => {
            let flags = MsFlags::from_bits_retain(flags as nix::libc::c_ulong);
            let called = nix::mount::mount(
                Some(&device),
                &directory,
                Some(filesystem.as_str()),
                flags,
                Some(data.as_str()).filter(|data| !data.is_empty()),
            );
            Ok(error_number(called))
        }
        Request::Unmount { directory } => {
            Ok(error_number(nix::mount::umount2(&directory, MntFlags::UMOUNT_NOFOLLOW)))
        }
        Request::Audit { settings } => audit(&settings),
        Request::WriteThrough { directory } => write_through(&directory),
        Request::Look { question } => {
            serde_json::to_value(paths::look(&question)).map_err(|error| broken(&error.to_string()))
        }
        Request::Announce { .. } => Ok(Value::Null),
    }
}

fn error_number(called: nix::Result<()>) -> Value {
    called.err().map_or(Value::Null, |errno| Value::from(errno as i32))
}

fn write_through(directory: &Path) -> Answer {
    match write_check::write_through(directory) {
        Ok(warning) => Ok(warning.map_or(Value::Null, Value::from)),
        Err(seen) => Err(Failure::failed(
            seen,
            "the database can't write either",
            "see the kernel log for the disk and for DRBD: dmesg | tail",
        )),
    }
}

fn audit(settings: &Settings) -> Answer {
    let told = Mutex::new(Instant::now());
    let totals = offline::scan_with(settings, &|done, total| {
        let mut told = told.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if told.elapsed() >= PROGRESS {
            *told = Instant::now();
            // Whoever does not listen any more ends this process by closing its input.
            let _ = writeln!(io::stdout(), "{}", serde_json::json!({"Progress": [done, total]}));
        }
    })?;
    serde_json::to_value(&totals).map_err(|error| broken(&error.to_string()))
}

fn announce_in_background(interface: &str, vip: Ipv4Addr, count: u32, interval: Duration) {
    // Nobody is left to be told: standin has ended, and the first announcement's failure was reported.
    let _ = super::address::announce(vip, interface, count, interval);
}

/// So that a caller who reads standin's output to its end does not wait for the announcement too.
fn release_standard_streams() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

#[cfg(test)]
mod tests;
