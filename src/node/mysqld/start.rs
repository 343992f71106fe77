//! Starts a server, or follows one that starts already, until it shakes hands.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::datadir::{Datadir, Server, within};
use super::handshake;
use super::watch::Watch;
use crate::failure::Failure;
use crate::node::command::{self, Detached, DetachedOptions};
use crate::node::{Applied, Attempt, systemd};
use crate::observation::MysqldAnswer;
use crate::plan::{MysqldControl, shell_words};

/// Between two looks at the log and the socket: the most that readiness is noticed late.
const POLL: Duration = Duration::from_millis(10);

/// How long one connection waits for its greeting before the other signs are looked at again. A queued connection is
/// greeted as soon as the server accepts, so that a short one would only be repeated.
const GREETING_LIMIT: Duration = Duration::from_millis(250);

/// How often a unit's process is looked for until it is there.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// Once systemctl has ended without a server to be seen, systemd is asked this often at most.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// A server that logged that it is ready listens already.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// For the first look at a data directory, whose file system was mounted just before.
const DISK_LIMIT: Duration = Duration::from_secs(5);

/// For one call of systemctl.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(10);

/// Starts the server on `datadir` and waits until it answers on `socket`.
///
/// - A server that runs there and answers is [`Change::AlreadySo`](crate::node::Change::AlreadySo); one that runs and
///   does not answer yet is followed, never joined by a second one. When it ends without having answered, as one that
///   was shutting down does, it is started anew.
/// - The deadline starts again whenever the server moves, by the rules of `activity.rs`.
/// - The socket must be served by a process on `datadir`, by what the kernel says of the listening end.
///
/// # Errors
/// `Refused` when a server has the directory's path but sits on another file system, or when the directory is missing,
/// empty or read-only; `Failed` as soon as the server ends,
/// with the errors of its log; `TimedOut` when it stopped moving. What was started then still runs:
/// [`stop`](super::stop) is the undo.
pub fn start(
    control: &MysqldControl,
    datadir: &Path,
    socket: &Path,
    error_log: Option<&Path>,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let datadir = Datadir::look(datadir, control);
    let running = servers(&datadir)?;
    if let Some(foreign) = running.iter().find(|server| !server.same_directory) {
        return Err(Failure::refused(
            format!(
                "{} (process {}) has {} as its data directory, but on another file system than the one mounted there \
                 now",
                foreign.process.name,
                foreign.pid(),
                datadir.path().display()
            ),
            "it serves other data under the same name, and a second server would clash with it",
            format!(
                "find out who started it (ps -fp {0}), stop it (kill -TERM {0}) and try again",
                foreign.pid()
            ),
        ));
    }
    let mut start = Start {
        control,
        datadir,
        socket,
        error_log,
        attempt,
        watch: Watch::new(attempt, error_log),
        server: None,
        child: None,
        begun: None,
        next_search: Instant::now(),
        next_question: Instant::now(),
        last_answer: MysqldAnswer::Silent,
    };
    if let Some(server) = running.into_iter().next() {
        if start.is_served()? {
            return Ok(Applied::already_so().note(format!("process {}", server.pid())));
        }
        attempt.report(&format!("mysqld runs already (process {}) and does not answer yet", server.pid()));
        start.watch = Watch::of_running(attempt, error_log, server.pid());
        start.server = Some(server);
    } else {
        start.begin()?;
    }
    start.wait()
}

struct Start<'a> {
    control: &'a MysqldControl,
    datadir: Datadir,
    socket: &'a Path,
    error_log: Option<&'a Path>,
    attempt: &'a Attempt,
    watch: Watch<'a>,
    server: Option<Server>,
    child: Option<Detached>,
    /// When we started it; none while one is followed that ran before.
    begun: Option<Instant>,
    next_search: Instant,
    next_question: Instant,
    last_answer: MysqldAnswer,
}

impl Start<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        usable(self.datadir.path(), self.attempt.remaining().min(DISK_LIMIT))?;
        self.watch = Watch::new(self.attempt, self.error_log);
        match self.control {
            MysqldControl::Unit(unit) => {
                self.child = Some(systemd::start(unit).map_err(|error| {
                    Failure::failed(
                        error,
                        "without systemd the unit can't be started",
                        format!("try it by hand: systemctl start {unit}; systemctl status {unit}"),
                    )
                })?);
            }
            MysqldControl::Command(command) => {
                // What it prints before it opens its log is an error in its options. A log that doesn't exist is not
                // created here: it would belong to root, and the server could not write to it.
                let output = self.error_log.filter(|log| log.is_file()).map(Path::to_path_buf);
                let options = DetachedOptions { output, ..DetachedOptions::default() };
                self.child = Some(command::start_detached(command, &options).map_err(|error| {
                    Failure::failed(
                        error.to_string(),
                        "the server can't be started without its program",
                        format!("try it by hand: {}", shell_words(command)),
                    )
                })?);
            }
        }
        self.begun = Some(Instant::now());
        self.next_question = Instant::now() + ASK_INTERVAL;
        Ok(())
    }

    fn wait(&mut self) -> Result<Applied, Failure> {
        let mut ready_since = None;
        loop {
            self.watch.read_log();
            if self.is_served()? {
                self.watch.read_log();
                let applied = if self.begun.is_some() { Applied::done() } else { Applied::already_so() };
                let applied = match self.watch.recovery_note() {
                    Some(note) => applied.note(note),
                    None => applied,
                };
                // Of a server that ran before, the begin was not seen.
                let recovery = self.begun.and_then(|_| self.watch.recovery());
                let applied = Applied { recovery, ..applied };
                return Ok(match self.error_log.filter(|log| !log.is_file()) {
                    Some(log) => applied.warning(format!(
                        "the error log {} is not there: correct mysqld.error_log, or a crash recovery can't be followed",
                        log.display()
                    )),
                    None => applied,
                });
            }
            if self.watch.said_ready && self.last_answer == MysqldAnswer::Silent {
                let since = ready_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= READY_LIMIT {
                    return Err(self.wrong_socket());
                }
            }
            self.look_at_process()?;
            if self.attempt.remaining().is_zero() {
                return Err(self.stuck());
            }
            thread::sleep(POLL);
        }
    }

    /// Whether the socket answers, and a server on our directory is who answers.
    fn is_served(&mut self) -> Result<bool, Failure> {
        let (answer, listener) = handshake::ask(self.socket, GREETING_LIMIT.min(self.attempt.remaining()));
        let alive = matches!(answer, MysqldAnswer::Ready | MysqldAnswer::Busy);
        self.last_answer = answer;
        if !alive {
            return Ok(false);
        }
        let ours = servers(&self.datadir)?;
        match listener {
            Some(pid) if ours.iter().any(|server| server.pid() == pid) => Ok(true),
            // systemd listens for a socket-activated server; a process of another pid namespace has no number here.
            None | Some(1) => Ok(!ours.is_empty()),
            Some(pid) => Err(Failure::failed(
                format!(
                    "process {pid} answers on {}, and it does not run on {}",
                    self.socket.display(),
                    self.datadir.path().display()
                ),
                "another server would be taken for this one",
                format!(
                    "check socket and datadir in the configuration; see: ps -fp {pid}; ls -l /proc/{pid}/cwd"
                ),
            )),
        }
    }

    fn look_at_process(&mut self) -> Result<(), Failure> {
        match &self.server {
            Some(server) => {
                if !self.watch.sample_is_due() {
                    return Ok(());
                }
                match server.sample() {
                    Some(sample) => self.watch.look(server.pid(), &sample),
                    None => return self.server_ended(),
                }
            }
            None => {
                if Instant::now() >= self.next_search {
                    self.next_search = Instant::now() + SEARCH_INTERVAL;
                    self.server = servers(&self.datadir)?.into_iter().find(|server| server.same_directory);
                }
                if self.server.is_none() {
                    self.ended_unseen()?;
                }
            }
        }
        Ok(())
    }

    /// The server that was followed is gone.
    fn server_ended(&mut self) -> Result<(), Failure> {
        let pid = self.server.take().map_or(0, |server| server.pid());
        if self.begun.is_none() {
            self.attempt
                .report(&format!("mysqld (process {pid}) ended without having answered; starting it anew"));
            return self.begin();
        }
        match self.control {
            // A process of ExecStartPre may have come and gone; a unit that failed or starts anew has lost its server.
            MysqldControl::Unit(unit) => {
                let state = systemd::show(unit, self.attempt.remaining().min(SYSTEMCTL_LIMIT));
                match state {
                    Ok(state) if state.sub == "start-pre" => Ok(()),
                    Ok(state) => {
                        Err(self.failed(&format!("(process {pid}) ended; its unit {unit} is {state}")))
                    }
                    Err(error) => Err(self.failed(&format!("(process {pid}) ended; {error}"))),
                }
            }
            MysqldControl::Command(_) => {
                let end =
                    self.child.as_ref().and_then(Detached::exited).unwrap_or_else(|| "unknown end".into());
                Err(self.failed(&format!("(process {pid}) ended: {end}")))
            }
        }
    }

    /// No server process is there: has it failed before it was seen?
    fn ended_unseen(&mut self) -> Result<(), Failure> {
        match self.control {
            MysqldControl::Command(_) => match self.child.as_ref().and_then(Detached::exited) {
                // One that goes into the background ends its first process; the server is seen by then.
                Some(end) if servers(&self.datadir)?.is_empty() => {
                    Err(self.failed(&format!("ended at once: {end}")))
                }
                _ => Ok(()),
            },
            // systemctl ends when the unit is up or has failed; before that there is nothing to ask.
            MysqldControl::Unit(unit) => {
                let Some(end) = self.child.as_ref().and_then(Detached::exited) else { return Ok(()) };
                if Instant::now() < self.next_question {
                    return Ok(());
                }
                self.next_question = Instant::now() + ASK_INTERVAL;
                let Ok(state) = systemd::show(unit, self.attempt.remaining().min(SYSTEMCTL_LIMIT)) else {
                    return Ok(());
                };
                if state.is_down() || state.is_restarting() {
                    let what = format!("did not start: its unit {unit} is {state} (systemctl start: {end})");
                    return Err(self.failed(&what));
                }
                self.attempt.report(&format!("unit {unit} is {state}; no server process yet"));
                Ok(())
            }
        }
    }

    fn failed(&mut self, what: &str) -> Failure {
        self.watch.read_log();
        Failure::failed(
            format!("mysqld {what}{}", self.watch.error_lines()),
            "without the server there is nobody to serve the data",
            self.advice(),
        )
    }

    fn wrong_socket(&self) -> Failure {
        Failure::failed(
            format!(
                "mysqld's error log says that it is ready, and nothing answers on {}",
                self.socket.display()
            ),
            "whether it serves can't be told without its socket",
            "correct mysqld.socket in the configuration; the server's own: mariadbd --print-defaults, or ss -xlp | grep mysql",
        )
    }

    fn stuck(&mut self) -> Failure {
        let waited = if self.attempt.is_cancelled() {
            "; the wait for it was interrupted".to_owned()
        } else {
            format!(" and has not moved for {:.1} s", self.attempt.limit().as_secs_f64())
        };
        let process = match self.server.as_ref().map(|server| (server.pid(), server.sample())) {
            Some((pid, Some(sample))) => format!("mysqld (process {pid}) {}", sample.describe()),
            Some((pid, None)) => format!("mysqld (process {pid}) has ended"),
            None => "no mysqld process appeared".into(),
        };
        let socket = match &self.last_answer {
            MysqldAnswer::Stalled(cause) => format!("its socket does not serve ({cause})"),
            _ => format!("nothing answers on {}", self.socket.display()),
        };
        let said = if self.watch.said_ready {
            "; its error log says that it is ready, so the configured socket may be the wrong one"
        } else {
            ""
        };
        Failure::timed_out(
            format!("{process}{waited}; {socket}{said}{}", self.watch.error_lines()),
            "a server that does not move will not begin to serve by itself",
            self.advice(),
        )
    }

    fn advice(&self) -> String {
        let errors = self.watch.errors.join("\n").to_lowercase();
        let log = match (self.error_log, self.control) {
            (Some(log), MysqldControl::Unit(unit)) => {
                format!("systemctl status {unit}; tail -n 50 {}", log.display())
            }
            (Some(log), MysqldControl::Command(_)) => format!("tail -n 50 {}", log.display()),
            (None, MysqldControl::Unit(unit)) => format!("journalctl -n 50 -u {unit}"),
            (None, MysqldControl::Command(_)) => {
                "set error_log in the configuration, and read that log".into()
            }
        };
        let datadir = self.datadir.path().display();
        let hint = if errors.contains("unable to lock") || errors.contains("can't lock") {
            format!("another server has the files open: fuser -v {datadir}/ibdata1; ")
        } else if ["permission denied", "errno: 13", "must be writable"]
            .iter()
            .any(|text| errors.contains(text))
        {
            format!("user and group ids may differ between the nodes: ls -ln {datadir}; ")
        } else if errors.contains("corrupt") || errors.contains("checksum") {
            "the data may be damaged: restore it, or read about innodb_force_recovery before anything else; "
                .into()
        } else {
            String::new()
        };
        format!("{hint}{log}")
    }
}

/// Whether a server may be started on it. Some units initialize an empty data directory before they start the server,
/// which on an unmounted one would make a second, empty database.
fn usable(datadir: &Path, limit: Duration) -> Result<(), Failure> {
    let shown = datadir.display();
    let refused = |seen: String, next: String| {
        Failure::refused(
            seen,
            "the server would fail, or begin an empty database in the place of the data",
            next,
        )
    };
    let owned = datadir.to_path_buf();
    let looked = within(limit, move || {
        let has_files =
            fs::read_dir(&owned)?.filter_map(Result::ok).any(|entry| entry.file_name() != "lost+found");
        let read_only = statvfs(&owned).is_ok_and(|state| state.flags().contains(FsFlags::ST_RDONLY));
        std::io::Result::Ok((has_files, read_only))
    });
    match looked {
        Some(Ok((true, false))) => Ok(()),
        Some(Ok((false, _))) => Err(refused(
            format!("the data directory {shown} is empty"),
            format!("check that the data file system is mounted: findmnt --target {shown}"),
        )),
        Some(Ok((true, true))) => Err(refused(
            format!("the data directory {shown} is on a read-only file system"),
            format!("see dmesg for why, and: findmnt --target {shown}"),
        )),
        Some(Err(error)) => Err(refused(
            format!("the data directory {shown} can't be read: {error}"),
            format!("check that the data file system is mounted: findmnt --target {shown}"),
        )),
        None => Err(Failure::timed_out(
            format!("the data directory {shown} can't be looked at: its disk did not answer for {limit:.1?}"),
            "a server would hang on that disk as well",
            "see dmesg and drbdadm status",
        )),
    }
}

fn servers(datadir: &Datadir) -> Result<Vec<Server>, Failure> {
    datadir.servers().map_err(|error| {
        Failure::failed(
            error,
            "whether a server runs on the data directory can't be told",
            "check that /proc is mounted and that standin runs as root",
        )
    })
}
