//! What every cluster manager's front-end does: run a takeover or a release in a process of its own, tell what it says, and
//! be back within the time that the manager gives.
//!
//! The process of its own outlives its caller: a manager that loses patience kills its agent, and crash recovery would be
//! broken off and begin anew at the next try.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::lock::{self, Holder};
use super::say::say_error;
use crate::config::Config;
use crate::failure::Outcome;
use crate::journal;
use crate::node::command::{self, Followed};
use crate::plan::Goal;

/// The hidden argument of `takeover` and `release` that says who calls.
pub(super) const FROM_CLUSTER_MANAGER: &str = "from-cluster-manager";
/// The hidden argument of `takeover` and `release` that leaves out everything but DRBD.
pub(super) const DRBD_ONLY: &str = "drbd-only";

/// The hidden argument of `takeover` and `release` that says that the agent calls.
pub(super) const FROM_AGENT: &str = "from-agent";
/// The hidden argument of `takeover`: the agent has waited for as long as a takeover would.
pub(super) const WAITED_OUT: &str = "waited-out";
/// The hidden argument of `takeover`: how long the agent has seen the peer silent.
pub(super) const SILENT_FOR: &str = "silent-for";
/// The hidden argument of `release`: how long a server may stand still while it shuts down.
pub(super) const KILL_MYSQLD_AFTER: &str = "kill-mysqld-after";

/// How long a server that the agent gives up may stand still while it shuts down.
const SHUTDOWN_OF_A_FAILED_SERVER: Duration = Duration::from_secs(10);
/// Between two looks whether the process has ended, or the lock is free.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// After the end of the process: what it printed last is in the pipe, unless a process that it left behind holds that open.
const LAST_LINES: Duration = Duration::from_millis(200);
/// The most that is kept of the manager's time for an answer, and for taking back what was begun.
const MARGIN: Duration = Duration::from_secs(10);
/// How long another run may stay in one step, mysqld's start aside, before it counts as hanging: the longest limits of the
/// defaults are a third of this.
const HANGS: Duration = Duration::from_secs(15 * 60);
/// For an interrupted release of the agent to say where it was.
const AFTER_THE_END: Duration = Duration::from_secs(1);
/// How long an interrupted run may take to take back what it did when nobody set a limit.
const UNDO: Duration = Duration::from_secs(120);

/// A takeover or a release of this cluster that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    /// The process.
    pub(super) holder: Holder,
    /// What it is for, if that is known yet.
    pub(super) goal: Option<Goal>,
    /// The step it is in; none while it waits for the peer to yield.
    pub(super) step: Option<String>,
}

/// How a run ended for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// It ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// In one sentence why it did not do what was asked; none when it did.
        reason: Option<String>,
    },
    /// The caller's time is over; mysqld is starting, and the takeover goes on without its caller.
    GoesOn {
        /// How far it is.
        progress: String,
    },
}

/// The cluster whose resource is managed, and how a process of ours finds its configuration.
pub(super) struct Managed<'a> {
    /// The checked configuration.
    pub(super) config: &'a Config,
    /// What `--config` says: a name or a path; none for the only one there is.
    pub(super) selector: Option<&'a str>,
}

/// The takeover or release that runs now, if one does. What can't be learnt counts as none.
pub(super) fn running(config: &Config) -> Option<Running> {
    let holder = lock::holder(&config.resource).ok().flatten()?;
    let entries = journal::read(&journal::path(&config.name)).unwrap_or_default();
    let under_way = journal::under_way(&entries, &journal::boot_id());
    // A run that waits has not begun: then the last one in the journal is an earlier one, and over.
    let (goal, step) = under_way.map_or((None, None), |(goal, step)| (Some(goal), step));
    Some(Running { holder, goal: holder.goal.or(goal), step })
}

impl Managed<'_> {
    /// Makes this node active, or waits for the takeover that does so already.
    ///
    /// With a limit it is back before that is over: a takeover that starts mysqld then goes on, any other is interrupted and
    /// takes back what it did.
    pub(super) fn take_over(&self, limit: Option<Duration>) -> Run {
        let time = Time::new(limit);
        if let Some(early) = self.wait_for(&time, |_| false) {
            return early;
        }
        let mut arguments = vec!["takeover".to_owned()];
        if let Some(limit) = limit {
            let wait = self.config.limits.wait_vip_gone.min(limit / 2);
            arguments.extend(["--wait".to_owned(), humantime::format_duration(wait).to_string()]);
        }
        self.run(&arguments, &time)
    }

    /// Makes this node active for its agent, which has weighed the evidence over time: nothing is waited for any more.
    pub(super) fn take_over_for_agent(&self, silent_for: Duration, waited_out: bool) -> Run {
        let mut arguments = vec!["takeover".to_owned(), "--wait".to_owned(), "0s".to_owned()];
        if waited_out {
            arguments.push(format!("--{WAITED_OUT}"));
        }
        let silent_for = Duration::from_millis(u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX));
        arguments.extend([format!("--{SILENT_FOR}"), humantime::format_duration(silent_for).to_string()]);
        self.run_for(FROM_AGENT, &arguments, &Time::new(None))
    }

    /// Gives everything up for the agent, within a limit. What fails is not waited for as long as what works: the service is gone.
    pub(super) fn release_for_agent(&self, limit: Duration) -> Run {
        let time = Time::whole(limit);
        if let Some(early) = self.wait_for(&time, |running| running.goal == Some(Goal::Takeover)) {
            return early;
        }
        let kill = humantime::format_duration(SHUTDOWN_OF_A_FAILED_SERVER).to_string();
        self.run_for(FROM_AGENT, &["release".to_owned(), format!("--{KILL_MYSQLD_AFTER}"), kill], &time)
    }

    /// Gives everything up. A takeover that runs is interrupted first; it takes back what it did.
    pub(super) fn release(&self, limit: Option<Duration>) -> Run {
        let time = Time::new(Some(limit.unwrap_or(UNDO)));
        let undoes = |running: &Running| matches!(running.goal, Some(Goal::Takeover | Goal::Switchover));
        if let Some(early) = self.wait_for(&time, undoes) {
            return early;
        }
        self.run(&["release".to_owned()], &Time::new(limit))
    }

    /// Makes DRBD alone Primary, by the rules of a takeover, or Secondary again.
    pub(super) fn only_drbd(&self, goal: Goal) -> Run {
        let time = Time::new(None);
        match self.wait_for(&time, |running| goal == Goal::Release && running.goal == Some(Goal::Takeover)) {
            Some(early) => early,
            None => self.run(&[goal.to_string(), format!("--{DRBD_ONLY}")], &time),
        }
    }

    /// Waits for a run of another process to end, after interrupting it if it is to be.
    fn wait_for(&self, time: &Time, interrupt: impl Fn(&Running) -> bool) -> Option<Run> {
        let mut told = None;
        let mut moved = (None, Instant::now());
        while let Some(running) = running(self.config) {
            let pid = running.holder.pid;
            if moved.0 != Some((pid, running.step.clone())) {
                moved = (Some((pid, running.step.clone())), Instant::now());
            }
            let hangs = running.step.as_deref() != Some("start-mysqld") && moved.1.elapsed() >= HANGS;
            let to_be_interrupted = interrupt(&running);
            // A run that has just taken the lock says only a moment later what it is for.
            if told != Some((pid, to_be_interrupted)) {
                let what = running.goal.map_or_else(|| "run".to_owned(), |goal| goal.to_string());
                if to_be_interrupted {
                    say_error(format_args!("interrupts the {what} that runs (process {pid})"));
                    if let Err(error) = lock::interrupt(&self.config.resource, running.holder) {
                        say_error(format_args!("process {pid} can't be interrupted: {error}"));
                    }
                } else {
                    say_error(format_args!("waits for the {what} that runs (process {pid})"));
                }
                told = Some((pid, to_be_interrupted));
            }
            if time.is_over() || hangs {
                return Some(match running.step.as_deref() {
                    Some("start-mysqld") if !to_be_interrupted => {
                        Run::GoesOn { progress: format!("mysqld is starting (process {pid} follows it)") }
                    }
                    step => Run::Ended {
                        outcome: Outcome::Failed,
                        reason: Some(format!(
                            "another standin (process {pid}) has not ended in time; it is in {}; see what it waits for (ps -fp \
                             {pid}; dmesg), end it (kill {pid}) and try again",
                            step.unwrap_or("its wait for the peer")
                        )),
                    },
                });
            }
            thread::sleep(LOOK_AGAIN);
        }
        None
    }

    fn run(&self, arguments: &[String], time: &Time) -> Run {
        self.run_for(FROM_CLUSTER_MANAGER, arguments, time)
    }

    fn run_for(&self, caller: &str, arguments: &[String], time: &Time) -> Run {
        let failed = |reason: String| Run::Ended { outcome: Outcome::Failed, reason: Some(reason) };
        let program = match std::env::current_exe() {
            Ok(program) => program,
            Err(error) => return failed(format!("standin's own program is not found: {error}")),
        };
        let mut command = vec![program.to_string_lossy().into_owned()];
        if let Some(selector) = self.selector {
            command.extend(["--config".to_owned(), selector.to_owned()]);
        }
        command.extend_from_slice(arguments);
        command.push(format!("--{caller}"));
        let whose = if caller == FROM_AGENT {
            "the agent's limit (agent.release_limit)"
        } else {
            "the cluster manager's time limit"
        };
        match command::start_followed(&command) {
            Ok(process) => self.follow(process, time, whose),
            Err(error) => failed(error.to_string()),
        }
    }

    /// Tells what the process says until it ends, or until the time is over.
    fn follow(&self, mut process: Followed, time: &Time, whose: &str) -> Run {
        let lines = read_lines(&mut process);
        let mut reason = None;
        let mut progress = String::new();
        let mut interrupted = false;
        let mut ended = None;
        loop {
            match lines.recv_timeout(LOOK_AGAIN) {
                Ok(line) => {
                    tell(&line, &mut reason, &mut progress);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_AGAIN),
            }
            match process.exited() {
                Ok(Some(status)) => ended = Some(outcome(status.code())),
                Ok(None) => {}
                Err(error) => {
                    reason.get_or_insert(format!("how standin ended can't be learnt: {error}"));
                    ended = Some(Outcome::Failed);
                }
            }
            if let Some(outcome) = ended {
                while let Ok(line) = lines.recv_timeout(LAST_LINES) {
                    tell(&line, &mut reason, &mut progress);
                }
                let reason = reason.filter(|_| outcome != Outcome::Done);
                return Run::Ended { outcome, reason };
            }
            if !time.is_over() {
                continue;
            }
            let running = running(self.config);
            if !interrupted
                && running.as_ref().is_some_and(|running| running.step.as_deref() == Some("start-mysqld"))
            {
                return Run::GoesOn { progress };
            }
            if let (false, Some(running)) = (interrupted, &running) {
                let undoes =
                    if running.goal == Some(Goal::Takeover) { ", and takes back what it did" } else { "" };
                say_error(format_args!("{whose} is near: the run is interrupted{undoes}"));
                if let Err(error) = lock::interrupt(&self.config.resource, running.holder) {
                    log::warn!("process {} can't be interrupted: {error}", running.holder.pid);
                }
                interrupted = true;
                reason.get_or_insert(format!(
                    "{whose} was near, and the run was in {}",
                    running.step.as_deref().unwrap_or("its wait for the peer to yield")
                ));
            }
            if time.is_over_for_good() {
                let reason = reason.or_else(|| Some(format!("it has not ended within {whose}")));
                return Run::Ended { outcome: Outcome::Failed, reason };
            }
        }
    }
}

/// The time that a manager gives, without what is kept for the answer.
struct Time {
    soft: Option<Instant>,
    hard: Option<Instant>,
}

impl Time {
    fn new(limit: Option<Duration>) -> Self {
        let now = Instant::now();
        let margin = |limit: Duration| MARGIN.min(limit / 4);
        Self {
            soft: limit.map(|limit| now + limit - margin(limit)),
            hard: limit.map(|limit| now + limit - margin(limit) / 4),
        }
    }

    /// All of it for the run itself: no manager waits for an answer.
    fn whole(limit: Duration) -> Self {
        let end = Instant::now() + limit;
        Self { soft: Some(end), hard: Some(end + AFTER_THE_END) }
    }

    fn is_over(&self) -> bool {
        self.soft.is_some_and(|end| Instant::now() >= end)
    }

    fn is_over_for_good(&self) -> bool {
        self.hard.is_some_and(|end| Instant::now() >= end)
    }
}

/// A line of the process, and whether it is one of standard error.
struct Line {
    text: String,
    of_error: bool,
}

fn read_lines(process: &mut Followed) -> Receiver<Line> {
    let (sender, receiver) = mpsc::channel();
    let pipes: [(Option<Box<dyn Read + Send>>, bool); 2] = [
        (process.stdout.try_clone().ok().map(|pipe| Box::new(pipe) as _), false),
        (process.stderr.try_clone().ok().map(|pipe| Box::new(pipe) as _), true),
    ];
    for (pipe, of_error) in pipes {
        let sender = sender.clone();
        let Some(pipe) = pipe else { continue };
        // Where no thread can be started any more, what the process says is lost, and its exit code is not.
        let _ = thread::Builder::new().spawn(move || {
            for text in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(Line { text, of_error }).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// Says a line again. The first one of standard error is the reason of whatever does not come to a good end.
fn tell(line: &Line, reason: &mut Option<String>, progress: &mut String) {
    say_error(&line.text);
    let text = line.text.trim();
    if text.is_empty() {
        return;
    }
    if line.of_error {
        reason.get_or_insert_with(|| text.trim_start_matches("refused: ").to_owned());
    } else {
        text.trim_start_matches("... ").clone_into(progress);
    }
}

fn outcome(code: Option<i32>) -> Outcome {
    match code {
        Some(0) => Outcome::Done,
        Some(2) => Outcome::Usage,
        Some(3) => Outcome::Refused,
        Some(4) => Outcome::Stuck,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Host, parse};

    fn follow(script: &str, limit: Option<Duration>) -> Run {
        let text = include_str!("../../docs/examples/command-line.yaml");
        let mut config = parse(text, "orders.yaml".as_ref(), &Host::fixed("db1.example.com")).unwrap();
        // No run of this machine's own is looked at.
        config.resource = "no-such-resource".to_owned();
        let managed = Managed { config: &config, selector: None };
        let process = command::start_followed(&["sh", "-c", script].map(str::to_owned)).unwrap();
        managed.follow(process, &Time::new(limit), "the time limit")
    }

    #[test]
    fn the_first_line_of_an_error_is_the_reason_and_the_exit_code_the_outcome() {
        let run = follow("echo waiting; echo >&2; echo refused: it answers >&2; echo more >&2; exit 3", None);
        assert_eq!(run, Run::Ended { outcome: Outcome::Refused, reason: Some("it answers".to_owned()) });
        for (code, outcome) in
            [(1, Outcome::Failed), (2, Outcome::Usage), (4, Outcome::Stuck), (99, Outcome::Failed)]
        {
            assert_eq!(follow(&format!("exit {code}"), None), Run::Ended { outcome, reason: None });
        }
    }

    #[test]
    fn warnings_of_a_good_end_are_no_reason() {
        let run = follow("echo a warning >&2", None);
        assert_eq!(run, Run::Ended { outcome: Outcome::Done, reason: None });
    }

    #[test]
    fn what_is_left_behind_with_the_pipes_open_is_not_waited_for() {
        let begun = Instant::now();
        let run = follow("sleep 20 & exit 0", None);
        assert_eq!(run, Run::Ended { outcome: Outcome::Done, reason: None });
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_run_that_does_not_end_in_time_has_failed() {
        let run = follow("sleep 20", Some(Duration::from_millis(400)));
        assert!(
            matches!(&run, Run::Ended { outcome: Outcome::Failed, reason: Some(reason) } if reason.contains("time limit")),
            "{run:?}"
        );
    }

    #[test]
    fn the_caller_has_its_answer_before_its_time_is_over() {
        let time = Time::new(Some(Duration::from_secs(60)));
        let left = |end: Option<Instant>| end.unwrap().saturating_duration_since(Instant::now());
        assert!(left(time.soft) <= Duration::from_secs(50));
        assert!(left(time.hard) < Duration::from_secs(60) && time.hard > time.soft);
        let none = Time::new(None);
        assert!(!none.is_over() && !none.is_over_for_good());
    }
}
