//! The only place that spawns a process: own process group, a deadline that really ends it, its output in the error.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duct::{Expression, Handle};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::plan::shell_words;

/// How much of each output stream is kept, in bytes: the last ones.
pub const OUTPUT_LIMIT: usize = 64 * 1024;

/// Between SIGTERM and SIGKILL at the deadline.
const TERM_GRACE: Duration = Duration::from_millis(200);

/// How long a killed process may take to go; one that is stuck in the kernel is left behind after that.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// How often an exit is looked for while the pipes stay open; their closing is noticed at once.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Where system programs live; put before the caller's own `PATH`, which may be empty under an init system.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

static STARTED: AtomicU64 = AtomicU64::new(0);

/// How many processes this process has started so far.
pub fn processes_started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// A command that ended by itself, whatever its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The command line.
    pub command: Vec<String>,
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal number, when a signal ended it.
    pub signal: Option<i32>,
    /// The last [`OUTPUT_LIMIT`] bytes of its standard output.
    pub stdout: String,
    /// The last [`OUTPUT_LIMIT`] bytes of its standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// Whether it exited with code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The command, how it ended and what it printed, in one or more lines for people.
    pub fn describe(&self) -> String {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was ended by {}", signal_name(signal)),
            (None, None) => "ended".to_owned(),
        };
        format!("`{}` {end}{}", shell_words(&self.command), said(&self.stdout, &self.stderr))
    }
}

/// A command that did not end by itself, or could not be started.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such program.
    #[error("`{}` could not be started: no such program; the package that holds it is not installed, or it is not in PATH", shell_words(.command))]
    NotFound {
        /// The command line.
        command: Vec<String>,
    },
    /// The program may not be executed by this user.
    #[error("`{}` could not be started: permission denied", shell_words(.command))]
    PermissionDenied {
        /// The command line.
        command: Vec<String>,
    },
    /// The deadline passed; it and its process group were killed.
    #[error("`{}` did not end within {:.1} s and was killed{}", shell_words(.command), .limit.as_secs_f64(), said(.stdout, .stderr))]
    TimedOut {
        /// The command line.
        command: Vec<String>,
        /// The time it was given.
        limit: Duration,
        /// Standard output so far.
        stdout: String,
        /// Standard error so far.
        stderr: String,
    },
    /// Anything else the system refused.
    #[error("`{}` could not be run: {source}", shell_words(.command))]
    Io {
        /// The command line.
        command: Vec<String>,
        /// The system's error.
        source: io::Error,
    },
}

impl CommandError {
    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, CommandError::TimedOut { .. })
    }

    fn from_io(command: &[String], source: io::Error) -> Self {
        let command = command.to_vec();
        match source.kind() {
            io::ErrorKind::NotFound => CommandError::NotFound { command },
            io::ErrorKind::PermissionDenied => CommandError::PermissionDenied { command },
            _ => CommandError::Io { command, source },
        }
    }
}

fn said(stdout: &str, stderr: &str) -> String {
    let text = [stderr.trim(), stdout.trim()].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>();
    if text.is_empty() { " (it printed nothing)".to_owned() } else { format!(": {}", text.join("\n")) }
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// Runs a command to its end in a process group of its own, with standard input closed.
///
/// At the deadline the whole group gets SIGTERM and, 0.2 s later, SIGKILL. Whoever else keeps the output pipes open (a
/// daemon that the command left behind) is not waited for.
///
/// # Errors
/// When it could not be started or did not end within `limit`. A non-zero exit code is not an error here.
pub fn run(command: &[String], limit: Duration) -> Result<Finished, CommandError> {
    let start = Instant::now();
    let deadline = start + limit;
    let failed = |source| CommandError::from_io(command, source);
    let (stdout, stdout_writer) = io::pipe().map_err(failed)?;
    let (stderr, stderr_writer) = io::pipe().map_err(failed)?;
    let handle = start_process(
        expression(command)?.stdin_null().stdout_file(stdout_writer).stderr_file(stderr_writer).before_spawn(
            |c| {
                c.process_group(0);
                Ok(())
            },
        ),
    )
    .map_err(failed)?;
    let mut stdout = Tail::new(stdout).map_err(failed)?;
    let mut stderr = Tail::new(stderr).map_err(failed)?;
    let status = follow(&handle, &mut stdout, &mut stderr, deadline).map_err(failed)?;
    if let Some(status) = status {
        return Ok(Finished {
            command: command.to_vec(),
            code: status.code(),
            signal: status.signal(),
            stdout: stdout.text(),
            stderr: stderr.text(),
            took: start.elapsed(),
        });
    }
    end_group(&handle, &mut stdout, &mut stderr).map_err(failed)?;
    Err(CommandError::TimedOut {
        command: command.to_vec(),
        limit,
        stdout: stdout.text(),
        stderr: stderr.text(),
    })
}

/// Drains the pipes until the process ends; `None` when the deadline passed first.
fn follow(
    handle: &Handle,
    stdout: &mut Tail,
    stderr: &mut Tail,
    deadline: Instant,
) -> io::Result<Option<ExitStatus>> {
    loop {
        // The exit is looked for before draining: what the process printed is then surely in the pipe.
        let status = handle.try_wait()?.map(|output| output.status);
        stdout.drain()?;
        stderr.drain()?;
        if status.is_some() {
            return Ok(status);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        if stdout.ended && stderr.ended {
            return Ok(handle.wait_deadline(deadline)?.map(|output| output.status));
        }
        let fds = [&*stdout, &*stderr];
        let mut fds: Vec<PollFd<'_>> = fds
            .iter()
            .filter(|tail| !tail.ended)
            .map(|tail| PollFd::new(tail.pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, poll_timeout(left.min(LOOK_INTERVAL))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Ends a whole process group: politely, then for certain.
fn end_group(handle: &Handle, stdout: &mut Tail, stderr: &mut Tail) -> io::Result<()> {
    let group = handle.pids().first().and_then(|pid| i32::try_from(*pid).ok()).map(Pid::from_raw);
    let Some(group) = group else { return Ok(()) };
    // ESRCH only says that they were faster.
    let _ = killpg(group, Signal::SIGTERM);
    follow(handle, stdout, stderr, Instant::now() + TERM_GRACE)?;
    let _ = killpg(group, Signal::SIGKILL);
    follow(handle, stdout, stderr, Instant::now() + KILL_GRACE)?;
    Ok(())
}

/// A poll timeout in whole milliseconds, rounded up so that a deadline is not polled for busily.
pub(crate) fn poll_timeout(time: Duration) -> PollTimeout {
    let milliseconds = time.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(milliseconds).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}

/// The last bytes that came out of a pipe.
struct Tail {
    pipe: PipeReader,
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Tail {
    fn new(pipe: PipeReader) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe, bytes: VecDeque::new(), ended: false })
    }

    /// Takes what is there now.
    fn drain(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        // Bounded, so that an endless writer can't keep us from the deadline.
        for _ in 0..64 {
            if self.ended {
                break;
            }
            match self.pipe.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.bytes.extend(&chunk[..n]);
                    let excess = self.bytes.len().saturating_sub(OUTPUT_LIMIT);
                    self.bytes.drain(..excess);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.iter().copied().collect::<Vec<_>>()).into_owned()
    }
}

fn expression(command: &[String]) -> Result<Expression, CommandError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(CommandError::NotFound { command: Vec::new() });
    };
    let mut path = OsString::from(SYSTEM_PATH);
    if let Some(own) = std::env::var_os("PATH").filter(|own| !own.is_empty()) {
        path.push(":");
        path.push(own);
    }
    Ok(duct::cmd(program, arguments).env("PATH", path).env("LC_ALL", "C").unchecked())
}

fn start_process(expression: Expression) -> io::Result<Handle> {
    STARTED.fetch_add(1, Ordering::Relaxed);
    expression.start()
}

/// What a detached process gets.
#[derive(Debug, Default)]
pub struct DetachedOptions {
    /// Where its standard output and error are appended; `/dev/null` when none is given.
    pub output: Option<PathBuf>,
    /// Environment variables on top of ours.
    pub environment: Vec<(String, String)>,
}

/// A process that outlives us.
#[derive(Debug, Clone)]
pub struct Detached {
    pid: i32,
    handle: Arc<Handle>,
}

impl Detached {
    /// Its process id, which is also its session's.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended, once it did.
    pub fn exited(&self) -> Option<String> {
        match self.handle.try_wait() {
            Ok(None) => None,
            Ok(Some(output)) => Some(output.status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Starts a process in a session of its own that survives our end. While we live it never becomes a zombie.
///
/// # Errors
/// When it could not be started.
pub fn start_detached(command: &[String], options: &DetachedOptions) -> Result<Detached, CommandError> {
    let failed = |source| CommandError::from_io(command, source);
    let file = options.output.as_deref().unwrap_or(Path::new("/dev/null"));
    let output = File::options().append(true).create(true).open(file).map_err(|error| CommandError::Io {
        command: command.to_vec(),
        source: io::Error::new(error.kind(), format!("its output file {}: {error}", file.display())),
    })?;
    let mut expression = without_the_callers_environment(expression(command)?)
        .stdin_null()
        .stderr_file(output.try_clone().map_err(failed)?)
        .stdout_file(output)
        .dir("/")
        .before_spawn(|c| {
            own_session(c);
            Ok(())
        });
    for (name, value) in &options.environment {
        expression = expression.env(name, value);
    }
    let handle = Arc::new(start_process(expression).map_err(failed)?);
    let pid = handle.pids().first().and_then(|pid| i32::try_from(*pid).ok()).unwrap_or_default();
    give_back_to_the_oom_killer(pid);
    let reaper = Arc::clone(&handle);
    // Where no thread can be started any more, whoever asks whether it has exited reaps it.
    let _ = std::thread::Builder::new().spawn(move || {
        let _ = reaper.wait();
    });
    Ok(Detached { pid, handle })
}

/// What protects a small agent (`OOMScoreAdjust=`) must not protect a server with a large buffer pool, which inherits it.
fn give_back_to_the_oom_killer(pid: i32) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
    if own.is_some_and(|own| is_protected(&own)) {
        // One that has ended by now needs nothing.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
    }
}

fn is_protected(oom_score_adj: &str) -> bool {
    oom_score_adj.trim().parse::<i32>().is_ok_and(|adjusted| adjusted < 0)
}

/// A process that outlives us if it must, and whose output is read as long as we live.
#[derive(Debug)]
pub struct Followed {
    /// Its standard output.
    pub stdout: PipeReader,
    /// Its standard error.
    pub stderr: PipeReader,
    handle: Handle,
}

impl Followed {
    /// Kills it, and does not wait for it.
    pub fn end(&self) {
        // One that has ended is no error.
        let _ = self.handle.kill();
    }

    /// How it ended, once it did.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub fn exited(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.handle.try_wait()?.map(|output| output.status))
    }
}

/// Starts a process in a session of its own that survives our end, without what a cluster manager or systemd put into our
/// environment.
///
/// # Errors
/// When it could not be started.
pub fn start_followed(command: &[String]) -> Result<Followed, CommandError> {
    let failed = |source| CommandError::from_io(command, source);
    let (stdout, stdout_writer) = io::pipe().map_err(failed)?;
    let (stderr, stderr_writer) = io::pipe().map_err(failed)?;
    let handle = start_process(
        without_the_callers_environment(expression(command)?)
            .stdin_null()
            .stdout_file(stdout_writer)
            .stderr_file(stderr_writer)
            .dir("/")
            .before_spawn(|c| {
                own_session(c);
                Ok(())
            }),
    )
    .map_err(failed)?;
    Ok(Followed { stdout, stderr, handle })
}

/// What systemd and the cluster managers tell the process that they start, and nobody that lives longer: a server that finds
/// `NOTIFY_SOCKET` speaks to systemd in its caller's name.
fn without_the_callers_environment(expression: Expression) -> Expression {
    const OF_SYSTEMD: [&str; 9] = [
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "SYSTEMD_EXEC_PID",
    ];
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names
        .filter(|name| {
            OF_SYSTEMD.contains(&name.as_str())
                || ["OCF_", "HA_", "PCMK_"].iter().any(|prefix| name.starts_with(prefix))
        })
        .fold(expression, |expression, name| expression.env_remove(name))
}

/// A process that is talked to over its standard input and output.
#[derive(Debug)]
pub struct Piped {
    /// Its standard input; dropping it is end of file.
    pub stdin: PipeWriter,
    /// Its standard output.
    pub stdout: PipeReader,
    /// The process; dropping this neither kills it nor waits for it.
    pub handle: Handle,
}

impl Piped {
    /// Kills it, and does not wait for it: it may be stuck in the kernel.
    pub fn abandon(self) {
        let _ = self.handle.kill();
        // A killed process is reaped at once, unless the kernel holds it; then it is left behind.
        let _ = self.handle.wait_timeout(Duration::from_millis(20));
    }
}

/// Starts a process in a session of its own, with its standard input and output piped to us and no standard error. `name`
/// is what it sees as its own name and what process lists show.
///
/// # Errors
/// When it could not be started.
pub fn start_piped_as(name: &'static str, command: &[String]) -> Result<Piped, CommandError> {
    let failed = |source| CommandError::from_io(command, source);
    let (stdin_reader, stdin) = io::pipe().map_err(failed)?;
    let (stdout, stdout_writer) = io::pipe().map_err(failed)?;
    let handle = start_process(
        expression(command)?
            .stdin_file(OwnedFd::from(stdin_reader))
            .stdout_file(OwnedFd::from(stdout_writer))
            .stderr_null()
            .dir("/")
            .before_spawn(move |c| {
                c.arg0(name);
                own_session(c);
                Ok(())
            }),
    )
    .map_err(failed)?;
    Ok(Piped { stdin, stdout, handle })
}

/// Takes a process out of our session, so that neither Ctrl-C nor the end of a terminal reaches it, and lets it inherit
/// nothing but its standard streams, not even what an init system or a cluster manager left open in us.
fn own_session(command: &mut Command) {
    let prepare = || {
        nix::unistd::setsid()?;
        // SAFETY: close_range(2) takes three integers and touches no memory; with CLOSE_RANGE_CLOEXEC it only marks
        // descriptors, so that the pipe on which an exec error is reported stays usable until exec. A kernel older
        // than 5.11 answers EINVAL or ENOSYS: then only what was opened without close-on-exec is inherited.
        #[allow(unsafe_code)]
        unsafe {
            nix::libc::syscall(nix::libc::SYS_close_range, 3_u32, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and makes only async-signal-safe system calls; it neither
    // allocates nor takes locks.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
}

#[cfg(test)]
mod tests;
