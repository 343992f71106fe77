//! Shuts a server down and waits until its process is gone.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::datadir::{Datadir, Server};
use super::watch::Watch;
use crate::failure::Failure;
use crate::node::{Applied, Attempt, systemd};
use crate::plan::MysqldControl;

const POLL: Duration = Duration::from_millis(10);

/// For one call of systemctl.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(10);

/// How long a process may be stopped by a signal before it is killed, where killing is permitted.
const STOPPED_GRACE: Duration = Duration::from_secs(2);

/// Kept of the limit for a kill and for seeing that it worked: a fourth, but no more than this.
const KILL_RESERVE: Duration = Duration::from_secs(5);

/// Shuts down every server on `datadir` and waits until their processes are gone.
///
/// - A server of the unit is stopped by systemd, any other by SIGTERM, which both mysqld and mysqld_safe take for an
///   orderly shutdown. With a unit and no server, a start that is under way is cancelled.
/// - The deadline starts again whenever the shutdown moves, by the rules of `activity.rs`.
/// - SIGKILL only with `kill_at_deadline`: shortly before the deadline, or after 2 s when the process is stopped by a
///   signal and so can't act on SIGTERM. mysqld_safe goes first, because it would start a killed server again. InnoDB
///   loses nothing that was committed.
/// - When the attempt is cancelled, nothing is killed: the server goes on shutting down.
/// - A server that has the same path but sits on another file system is not touched, and named in a warning.
///
/// # Errors
/// `TimedOut` when a server is still there at the deadline, `Failed` when it can't be signalled.
pub fn stop(
    control: &MysqldControl,
    datadir: &Path,
    error_log: Option<&Path>,
    kill_at_deadline: bool,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let mut stop = Stop {
        control,
        datadir: Datadir::look(datadir, control),
        kill_at_deadline,
        attempt,
        watch: Watch::new(attempt, error_log),
        asked: Vec::new(),
        killed: false,
        stopped_since: None,
    };
    stop.run()
}

struct Stop<'a> {
    control: &'a MysqldControl,
    datadir: Datadir,
    kill_at_deadline: bool,
    attempt: &'a Attempt,
    watch: Watch<'a>,
    /// Servers that were told to shut down.
    asked: Vec<i32>,
    killed: bool,
    stopped_since: Option<Instant>,
}

impl Stop<'_> {
    fn run(&mut self) -> Result<Applied, Failure> {
        let (servers, foreign) = self.servers()?;
        let warning = foreign.map(|server| {
            format!(
                "{} (process {}) has {} as its data directory, but on another file system; it was left alone",
                server.process.name,
                server.pid(),
                self.datadir.path().display()
            )
        });
        let finish = |applied: Applied| match &warning {
            Some(warning) => applied.warning(warning),
            None => applied,
        };
        if servers.is_empty() {
            return self.cancel_start().map(finish);
        }
        let mut servers = servers;
        loop {
            for server in &servers {
                if !self.asked.contains(&server.pid()) {
                    self.ask(server)?;
                    self.asked.push(server.pid());
                }
            }
            self.wait(&servers)?;
            // Whoever started it anew in the meantime (mysqld_safe, a unit with Restart=) is stopped as well.
            servers = self.servers()?.0;
            if servers.is_empty() {
                let applied = finish(Applied::done());
                return Ok(if self.killed { applied.note("killed") } else { applied });
            }
            if self.attempt.remaining().is_zero() {
                return Err(self.still_there(&servers, "was started again by somebody"));
            }
        }
    }

    /// Ours, and one under the same path on another file system.
    fn servers(&self) -> Result<(Vec<Server>, Option<Server>), Failure> {
        let servers = self.datadir.servers().map_err(|error| {
            Failure::failed(
                error,
                "whether a server runs on the data directory can't be told",
                "check that /proc is mounted and that standin runs as root",
            )
        })?;
        let (ours, foreign): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| server.same_directory);
        Ok((ours, foreign.into_iter().next()))
    }

    /// No server runs; a unit could still be about to start one.
    fn cancel_start(&self) -> Result<Applied, Failure> {
        let MysqldControl::Unit(unit) = self.control else { return Ok(Applied::already_so()) };
        let limit = self.attempt.remaining().min(SYSTEMCTL_LIMIT);
        let failed = |error: String| {
            Failure::failed(
                error,
                "no server runs now, but its unit could be about to start one",
                format!("systemctl stop {unit}; systemctl status {unit}"),
            )
        };
        if systemd::show(unit, limit).map_err(failed)?.is_down() {
            return Ok(Applied::already_so());
        }
        systemd::stop_no_block(unit, limit).map_err(failed)?;
        loop {
            let state = systemd::show(unit, limit).map_err(failed)?;
            let servers = self.servers()?.0;
            if state.is_down() && servers.is_empty() {
                return Ok(Applied::done().note(format!("the unit {unit} was {state} without a server")));
            }
            if self.attempt.remaining().is_zero() {
                return Err(Failure::timed_out(
                    format!("the unit {unit} is {state} after it was told to stop"),
                    "it could start a server again",
                    format!("systemctl kill -s KILL {unit}; systemctl status {unit}"),
                ));
            }
            // Each question is a process.
            thread::sleep(Duration::from_millis(250).min(self.attempt.remaining()));
        }
    }

    fn ask(&self, server: &Server) -> Result<(), Failure> {
        let pid = server.pid();
        if let MysqldControl::Unit(unit) = self.control
            && systemd::owns(unit, pid)
        {
            match systemd::stop_no_block(unit, self.attempt.remaining().min(SYSTEMCTL_LIMIT)) {
                Ok(()) => return Ok(()),
                // The server itself can still be asked.
                Err(error) => {
                    self.attempt.report(&format!("{error}; sending SIGTERM to process {pid} instead"))
                }
            }
        }
        server.signal(Signal::SIGTERM).map_err(|error| {
            Failure::failed(
                error,
                "the server still has the data open",
                format!("run standin as root, or: kill -TERM {pid}"),
            )
        })
    }

    fn wait(&mut self, servers: &[Server]) -> Result<(), Failure> {
        let reserve = (self.attempt.limit() / 4).min(KILL_RESERVE);
        loop {
            self.watch.read_log();
            let mut alive = false;
            let due = self.watch.sample_is_due();
            for server in servers {
                let Some(sample) = server.sample() else { continue };
                alive = true;
                if due {
                    self.watch.look(server.pid(), &sample);
                }
                if sample.is_stopped() {
                    let since = *self.stopped_since.get_or_insert_with(Instant::now);
                    if self.kill_at_deadline && !self.killed && since.elapsed() >= STOPPED_GRACE.min(reserve)
                    {
                        self.kill(servers, "it is stopped by a signal and can't shut down")?;
                    }
                } else {
                    self.stopped_since = None;
                }
            }
            if !alive {
                self.watch.read_log();
                return Ok(());
            }
            let left = self.attempt.remaining();
            // Whoever interrupts a shutdown wants to wait no longer, and has not asked for a kill.
            let interrupted = self.attempt.is_cancelled();
            if self.kill_at_deadline && !self.killed && !interrupted && left <= reserve {
                self.kill(servers, "it does not shut down in time")?;
            }
            if left.is_zero() {
                return Err(self.still_there(servers, "is still there"));
            }
            thread::sleep(POLL);
        }
    }

    fn kill(&mut self, servers: &[Server], cause: &str) -> Result<(), Failure> {
        self.killed = true;
        for server in servers {
            let pid = server.pid();
            for script in server.respawners() {
                self.attempt.report(&format!(
                    "SIGKILL to mysqld_safe (process {script}), which would start it again"
                ));
                // One that has ended by itself is as good.
                let _ = kill(Pid::from_raw(script), Signal::SIGKILL);
            }
            self.attempt.report(&format!("SIGKILL to mysqld (process {pid}): {cause}"));
            server.signal(Signal::SIGKILL).map_err(|error| {
                Failure::failed(error, "the server still has the data open", format!("kill -KILL {pid}"))
            })?;
        }
        Ok(())
    }

    fn still_there(&self, servers: &[Server], what: &str) -> Failure {
        let states: Vec<String> = servers
            .iter()
            .filter_map(|server| Some((server.pid(), server.sample()?)))
            .map(|(pid, sample)| format!("process {pid} {}", sample.describe()))
            .collect();
        let pids = servers.iter().map(|server| server.pid().to_string()).collect::<Vec<_>>().join(" ");
        let how = if self.killed { " although it was killed" } else { "" };
        let waited = if self.attempt.is_cancelled() {
            "the wait for it was interrupted".to_owned()
        } else {
            format!("it has not moved for {:.1} s", self.attempt.limit().as_secs_f64())
        };
        let next = match (self.killed, self.control) {
            (true, _) => {
                "a killed process that stays waits for its disk: see dmesg, and drbdadm status".to_owned()
            }
            (false, MysqldControl::Unit(unit)) => {
                format!("wait for it, or: systemctl kill -s KILL {unit} (InnoDB recovers at the next start)")
            }
            (false, MysqldControl::Command(_)) => {
                format!("wait for it, or: kill -KILL {pids} (InnoDB recovers at the next start)")
            }
        };
        Failure::timed_out(
            format!(
                "mysqld on {} {what}{how}; {waited} ({}){}",
                self.datadir.path().display(),
                states.join(", "),
                self.watch.error_lines()
            ),
            "while it runs the file system can't be unmounted and the data can't move",
            next,
        )
    }
}
