//! `standin keepalived-notify`: as keepalived's notify script, as the reader of its notify FIFO, and after its end.
//!
//! Each word of keepalived leads to a look, and [`decide::keepalived`] says what that leads to. Looks and what they start are
//! one after the other, whichever process they are in.

mod fifo;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use nix::fcntl::{Flock, FlockArg};

use super::cli::directory;
use super::managed::{self, Managed, Run};
use super::say::say_error;
use crate::config::{ClusterManager, Config};
use crate::decide::{self, Attendance, Scene};
use crate::failure::Outcome;
use crate::foreign::vrrp_notification::{VrrpState, is_notification, state_in_arguments};
use crate::journal;
use crate::node::real::RealNode;
use crate::node::{Attempt, Node, Progress, processes, scope, system_log};
use crate::observation::{Fact, Past};
use crate::plan::{Action, Goal};

pub(super) const NOTES: &str = "\
In keepalived.conf, under global_defs (order is kept, and an ended keepalived is noticed):
  notify_fifo        /run/keepalived.standin
  notify_fifo_script \"/usr/sbin/standin keepalived-notify --fifo\"
or in the vrrp_instance:
  notify \"/usr/sbin/standin keepalived-notify\"
In a drop-in of keepalived's unit:
  ExecStopPost=-/usr/sbin/standin keepalived-notify --ended

What keepalived says may be old: what counts is whether the virtual IP is on this node now. It is: takeover. It is not:
release, and a takeover that runs is interrupted. It is, and no keepalived runs: release, and the address is removed.";

/// Word and sight must have agreed by then: keepalived speaks within 0.3 s after it moved the address.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a process of ours may take until it works on the resource.
const BEGINS: Duration = Duration::from_secs(10);
/// How long a takeover that a release interrupts may take to take back what it did.
const TAKES_BACK: Duration = Duration::from_secs(150);
/// How long another process of ours is waited for that looks or begins.
const TURN: Duration = Duration::from_secs(180);
/// A release that hangs is not waited for longer than this before a takeover is given up.
const WAITS: Duration = Duration::from_secs(15 * 60);
/// Between a release that failed and the next look.
const RELEASE_AGAIN: Duration = Duration::from_secs(15);
/// systemd restarts keepalived only after `ExecStopPost=` has come to its end.
const ENDED: Duration = Duration::from_millis(1500);

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Read keepalived's notify FIFO until it ends
    #[arg(long, value_name = "PATH", conflicts_with_all = ["words", "ended"])]
    fifo: Option<PathBuf>,
    /// keepalived has ended, however: for ExecStopPost= of its unit
    #[arg(long, conflicts_with = "words")]
    ended: bool,
    /// What keepalived appends: INSTANCE|GROUP NAME STATE PRIORITY
    #[arg(value_name = "WORD", trailing_var_arg = true, required_unless_present_any = ["fifo", "ended"])]
    words: Vec<String>,
}

/// keepalived's scripts have no standard error: what goes wrong from here on is in the system's log.
pub(super) fn find_the_log() {
    if let Err(error) = system_log::instead_of_null() {
        log::debug!("neither the journal nor syslog takes what is said: {error}");
    }
}

/// Attends to what keepalived said, or to its FIFO.
pub(super) fn run(selector: Option<&str>, config: Config, arguments: &Arguments) -> Outcome {
    if let Some(wrong) = wrong_call(&config, arguments) {
        say_error(wrong);
        return Outcome::Usage;
    }
    let attendant = Attendant::new(selector, config);
    if let Some(path) = &arguments.fifo {
        return fifo::attend(attendant, path);
    }
    let (word, limit) = if arguments.ended {
        (Some(VrrpState::Stop), Some(ENDED))
    } else {
        (state_in_arguments(&arguments.words), None)
    };
    word.map_or(Outcome::Done, |word| once(attendant, word, limit))
}

/// Why this is no call of the keepalived that has the cluster's address: acting on it could release what serves.
fn wrong_call(config: &Config, arguments: &Arguments) -> Option<String> {
    let why = "why it matters: nothing was done, since a word of keepalived can take the database down";
    if config.cluster_manager != ClusterManager::Keepalived {
        return Some(format!(
            "keepalived calls standin for {}, and the configuration does not say that it manages this cluster\n  {why}\n  what to \
             do next: write cluster_manager: keepalived in {}, on both nodes, or take standin out of keepalived.conf and the \
             drop-in of its unit",
            config.name,
            config.file.display()
        ));
    }
    if !arguments.words.is_empty() && !is_notification(&arguments.words) {
        return Some(format!(
            "`{}` is no notification of keepalived\n  {why}\n  what to do next: keepalived appends INSTANCE or GROUP, a name, a state \
             and a priority; to become active: standin takeover; to give up: standin release",
            arguments.words.join(" ")
        ));
    }
    None
}

/// Attends to one word, until what it led to is over or the limit has passed.
fn once(mut attendant: Attendant, word: VrrpState, limit: Option<Duration>) -> Outcome {
    let begun = Instant::now();
    attendant.hear(word);
    while attendant.attend() == Next::Again {
        if begun.elapsed() >= limit.unwrap_or(WAITS) {
            say_error("keepalived-notify gives up: what it waits for does not end");
            return Outcome::Failed;
        }
        thread::sleep(LOOK_AGAIN);
    }
    match limit {
        None => {
            while attendant.works() {
                thread::sleep(LOOK_AGAIN);
            }
        }
        Some(limit) => attendant.wait_until_apart(begun + limit),
    }
    attendant.last_outcome
}

/// Whether a word needs another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Settled,
    Again,
}

/// A takeover or a release in a process of its own, and the thread that follows it.
struct Work {
    goal: Goal,
    follower: JoinHandle<Run>,
}

/// Attends to what keepalived says.
struct Attendant {
    selector: Option<String>,
    config: Config,
    word: VrrpState,
    heard: Instant,
    /// For this word a takeover was waited for.
    waited_for_takeover: bool,
    told: Option<String>,
    works: Vec<Work>,
    last_outcome: Outcome,
    /// When the last release ended without having released everything.
    release_failed: Option<Instant>,
}

impl Attendant {
    fn new(selector: Option<&str>, config: Config) -> Self {
        Self {
            selector: selector.map(str::to_owned),
            config,
            word: VrrpState::NotSaid,
            heard: Instant::now(),
            waited_for_takeover: false,
            told: None,
            works: Vec::new(),
            last_outcome: Outcome::Done,
            release_failed: None,
        }
    }

    fn hear(&mut self, word: VrrpState) {
        self.word = word;
        self.heard = Instant::now();
        self.waited_for_takeover = false;
        self.told = None;
    }

    /// One look, and what it leads to, as far as its beginning.
    fn attend(&mut self) -> Next {
        let _turn = self.turn();
        self.works();
        let scene = self.look();
        let attendance = decide::keepalived(self.word, &scene);
        self.tell(&attendance);
        match attendance {
            Attendance::Leave(_) => return Next::Settled,
            Attendance::LookAgain(_) => {
                self.waited_for_takeover |= scene.running == Some(Goal::Takeover);
                return Next::Again;
            }
            Attendance::TakeOver(_) => self.start(Goal::Takeover, BEGINS),
            Attendance::Release(_) => self.start(Goal::Release, TAKES_BACK),
            Attendance::ReleaseWithVip(_) => {
                self.remove_vip();
                self.start(Goal::Release, TAKES_BACK);
            }
        }
        Next::Settled
    }

    /// Whoever looks and begins something is alone with it: another look sees either nothing or what was begun.
    fn turn(&self) -> Option<Flock<File>> {
        let directory = directory("STANDIN_RUN_DIR", "/run/standin");
        let path = directory.join(format!("{}.notify.lock", self.config.resource));
        let until = Instant::now() + TURN;
        loop {
            let opened = std::fs::create_dir_all(&directory)
                .and_then(|()| OpenOptions::new().create(true).append(true).mode(0o600).open(&path));
            let taken = opened.map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock));
            match taken {
                Ok(Ok(lock)) => return Some(lock),
                Ok(Err(_)) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
                Ok(Err(_)) => {
                    say_error("another keepalived-notify has not come to an end: going on beside it");
                    return None;
                }
                Err(error) => {
                    say_error(format_args!(
                        "{} can't be opened: {error}; going on without it",
                        path.display()
                    ));
                    return None;
                }
            }
        }
    }

    fn look(&self) -> Scene {
        let observation = RealNode::new(self.config.clone(), Past::default()).observe_local();
        let vip_here = match &observation.vip.here {
            Fact::Known(here) => Fact::Known(here.is_some()),
            Fact::Unknown(cause) => Fact::Unknown(cause.clone()),
        };
        let running = self.running();
        let in_vain = self.waited_for_takeover && running.is_none() && {
            let entries = journal::read(&journal::path(&self.config.name)).unwrap_or_default();
            let last = journal::runs(&entries).pop();
            last.is_some_and(|run| run.goal == Goal::Takeover && run.outcome != Some(Outcome::Done))
        };
        Scene {
            keepalived_runs: vip_here != Fact::Known(true) || keepalived_runs(),
            vip_here,
            standing: decide::standing(&observation, &self.config),
            running,
            settled: self.heard.elapsed() >= SETTLE,
            in_vain,
        }
    }

    /// What runs, or is about to: a release of ours that still waits for a takeover to take back what it did counts first.
    fn running(&self) -> Option<Goal> {
        let ours = |goal| self.works.iter().any(|work| work.goal == goal);
        if ours(Goal::Release) {
            return Some(Goal::Release);
        }
        if ours(Goal::Takeover) {
            return Some(Goal::Takeover);
        }
        // One that does not say what it is for has taken the lock this moment.
        managed::running(&self.config).map(|running| running.goal.unwrap_or(Goal::Takeover))
    }

    /// Starts what outlives this process if it must, and waits until others can see that it runs.
    fn start(&mut self, goal: Goal, limit: Duration) {
        self.wait_for_an_interruptible_takeover(goal);
        let (config, selector) = (self.config.clone(), self.selector.clone());
        let follower = thread::spawn(move || {
            let managed = Managed { config: &config, selector: selector.as_deref() };
            match goal {
                Goal::Takeover => managed.take_over(None),
                Goal::Release | Goal::Switchover | Goal::Rejoin => managed.release(None),
            }
        });
        let until = Instant::now() + limit;
        while !follower.is_finished() && Instant::now() < until {
            if managed::running(&self.config).is_some_and(|running| running.goal == Some(goal)) {
                break;
            }
            thread::sleep(LOOK_AGAIN / 4);
        }
        self.works.push(Work { goal, follower });
    }

    /// A takeover that was started a moment ago can be interrupted only once it works.
    fn wait_for_an_interruptible_takeover(&self, goal: Goal) {
        let until = Instant::now() + BEGINS;
        let begins = |work: &Work| {
            work.goal == Goal::Takeover && goal == Goal::Release && !work.follower.is_finished()
        };
        while self.works.iter().any(begins)
            && managed::running(&self.config).is_none()
            && Instant::now() < until
        {
            thread::sleep(LOOK_AGAIN / 4);
        }
    }

    /// Until what was begun has left keepalived's unit, and so outlives it.
    fn wait_until_apart(&mut self, until: Instant) {
        let is_inside = |config: &Config| {
            managed::running(config).is_some_and(|running| scope::shares_our_unit(running.holder.pid))
        };
        while self.works() && is_inside(&self.config) && Instant::now() < until {
            thread::sleep(LOOK_AGAIN / 4);
        }
    }

    fn remove_vip(&self) {
        let vip = &self.config.vip;
        let action = Action::RemoveVip { vip: vip.address, interface: vip.interface.clone() };
        let attempt = Attempt::new(self.config.limits.vip, Box::new(Quiet));
        match RealNode::new(self.config.clone(), Past::default()).apply(&action, &attempt) {
            Ok(_) => say_error(format_args!("removed the virtual IP {}", vip.address)),
            Err(failure) => say_error(failure),
        }
    }

    /// Whether anything of ours still runs; what has ended is told.
    fn works(&mut self) -> bool {
        let (ended, left) = self.works.drain(..).partition(|work| work.follower.is_finished());
        self.works = left;
        let ended: Vec<Work> = ended;
        for Work { goal, follower } in ended {
            self.last_outcome = match follower.join() {
                Ok(Run::Ended { outcome, reason }) => {
                    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                    say_error(format_args!("the {goal} {}{reason}", how(outcome)));
                    outcome
                }
                Ok(Run::GoesOn { progress }) => {
                    say_error(format_args!("the {goal} goes on: {progress}"));
                    Outcome::Done
                }
                Err(_) => Outcome::Failed,
            };
            let failed = goal == Goal::Release && self.last_outcome != Outcome::Done;
            self.release_failed = failed.then(Instant::now);
        }
        !self.works.is_empty()
    }

    /// Whether a release that failed is to be looked at again: what kept it from its end may have gone, and keepalived has
    /// nothing more to say.
    fn release_is_due(&mut self) -> bool {
        let due = self.release_failed.is_some_and(|failed| failed.elapsed() >= RELEASE_AGAIN);
        if due {
            self.release_failed = None;
            self.told = None;
        }
        due
    }

    fn tell(&mut self, attendance: &Attendance) {
        let (what, reason) = match attendance {
            Attendance::Leave(reason) => ("nothing to do", reason),
            Attendance::LookAgain(reason) => ("waits", reason),
            Attendance::TakeOver(reason) => ("takes over", reason),
            Attendance::Release(reason) | Attendance::ReleaseWithVip(reason) => ("releases", reason),
        };
        let word = match self.word {
            VrrpState::NotSaid => "after keepalived".to_owned(),
            VrrpState::Stop => "keepalived stops".to_owned(),
            word => format!("keepalived says {word}"),
        };
        let line = format!("{word}: {what}: {reason}");
        if self.told.as_ref() != Some(&line) {
            say_error(&line);
            self.told = Some(line);
        }
    }
}

fn how(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "is done",
        Outcome::Failed => "failed",
        Outcome::Usage => "could not begin",
        Outcome::Refused => "was refused",
        Outcome::Stuck => "is stuck",
    }
}

/// A process table that can't be read proves nothing.
fn keepalived_runs() -> bool {
    processes::named(|name| name == "keepalived").map_or(true, |found| !found.is_empty())
}

struct Quiet;

impl Progress for Quiet {
    fn report(&self, _: &str) {}
}
