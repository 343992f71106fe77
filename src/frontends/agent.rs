//! `standin agent`: guards the active node, and watches from the standby.
//!
//! One loop: observe, decide, execute. The role follows from what is seen. Nothing that can hang runs in the loop's thread: each
//! look and each task has a thread of its own, and one that does not come back is itself something that is seen.

mod allocator;
mod alone;
mod drbd_events;
pub mod http;
mod look;
mod looker;
mod memory;
mod metrics;
pub mod notify;
mod panics;
mod peer_pause;
pub mod peer_status;
mod recent;
pub mod snapshot;
mod tell;
mod turn;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use self::drbd_events::DrbdEvents;
use self::look::{Question, Seen};
use self::looker::{Look, Looker};
use self::memory::Memory;
use self::tell::{Decided, Rest, Teller};
use self::turn::{TURN, Turn};
use self::work::{Backoff, Task, Work};
use super::contact;
use super::news::News;
use super::say::say_error;
use crate::config::Config;
use crate::decide::{self, Check, Guard, Guarding, Standing, Watch, Watching};
use crate::failure::Outcome;
use crate::forecast::Forecast;
use crate::journal::Chronicle;
use crate::node::processes;
use crate::node::real::RealNode;
use crate::observation::{Connection, Drbd, Fact, Observation, Past};

/// Between two writes through the mount.
const WRITE_EVERY: Duration = Duration::from_secs(3);
/// Between two forecasts of crash recovery.
const FORECAST_EVERY: Duration = Duration::from_secs(10);
/// After a takeover in vain, until the next; twice as long each time, at most [`AGAIN_AT_MOST`].
const TAKEOVER_AGAIN: Duration = Duration::from_secs(10);
/// So that the journal of a node that can't serve does not fill its disk.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// After a release that did not come to its end, until the next.
const RELEASE_AGAIN: Duration = Duration::from_secs(15);
/// Between two attempts to listen for the peer again, and how many there are.
const RECONNECT_AGAIN: (Duration, u32) = (Duration::from_secs(20), 3);
/// Events of DRBD come in swarms: one look is enough for those within this time.
const SWARM: Duration = Duration::from_millis(100);
/// A look that takes longer is told.
const LOOK_HANGS: Duration = Duration::from_secs(10);

/// Why the loop woke up.
enum Wake {
    /// A look at the node has ended.
    Looked,
    /// DRBD has told a change.
    Drbd,
    /// A task is over.
    Worked,
}

/// Runs until it is told to end; the database is not touched by that.
///
/// # Errors
/// When it could not begin.
pub(super) fn run(selector: Option<&str>, config: Config) -> anyhow::Result<Outcome> {
    if !nix::unistd::geteuid().is_root() {
        say_error(
            "standin does not run as root\n  why it matters: DRBD, mounts and addresses can't be changed\n  what to do next: run it as root, or start standin-agent@NAME.service",
        );
        return Ok(Outcome::Usage);
    }
    panics::end_this_process();
    allocator::share_one_arena();
    let Some(_alone) = alone::alone(&config)? else { return Ok(Outcome::Refused) };
    // The log may be on the disk that hangs: the loop must not wait for it.
    let limit = TimeVal::milliseconds(100);
    // What is no socket has no such limit.
    let _ = setsockopt(&std::io::stderr(), sockopt::SendTimeout, &limit);
    std::env::set_current_dir("/").context("the root directory")?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).context("a signal handler")?;
    }
    processes::remember();
    let mut agent = Agent::new(selector, config)?;
    agent.run(&ended);
    Ok(Outcome::Done)
}

struct Agent {
    config: Arc<Config>,
    selector: Option<String>,
    node: Arc<RealNode>,
    at_node: Looker<Question, Seen>,
    at_disk: Looker<(), Check>,
    at_server: Option<Looker<(), Check>>,
    at_recovery: Looker<(), Fact<Forecast>>,
    forecast: Option<Instant>,
    _events: DrbdEvents,
    wake: Sender<Wake>,
    woken: Receiver<Wake>,
    memory: Memory,
    begins: bool,
    work: Option<Work>,
    takeover: Backoff,
    release: Backoff,
    reconnect: Backoff,
    reconnects: u32,
    wrote: Option<Instant>,
    question: Question,
    last: Option<Look<Seen>>,
    held_at: Option<Instant>,
    word_lost: News,
    teller: Teller,
}

impl Agent {
    fn new(selector: Option<&str>, config: Config) -> anyhow::Result<Self> {
        let (wake, woken) = mpsc::channel();
        let config = Arc::new(config);
        let node = Arc::new(RealNode::new(Config::clone(&config), Past::default()));
        let looked = wake.clone();
        let drbd = wake.clone();
        // The loop is there for as long as these threads are.
        let at_node = look::at_node(&config, &node, move || drop(looked.send(Wake::Looked)));
        let events = DrbdEvents::follow(&config.resource, move || drop(drbd.send(Wake::Drbd)));
        let cannot = "a thread could not be started";
        Ok(Self {
            teller: Teller::start(&config),
            at_node: at_node.context(cannot)?,
            at_disk: look::at_disk(&config).context(cannot)?,
            at_server: look::at_server(&config).context(cannot)?,
            at_recovery: look::at_recovery(&config).context(cannot)?,
            forecast: None,
            _events: events.context(cannot)?,
            selector: selector.map(str::to_owned),
            config,
            node,
            wake,
            woken,
            memory: Memory::default(),
            begins: true,
            work: None,
            takeover: Backoff::default(),
            release: Backoff::default(),
            reconnect: Backoff::default(),
            reconnects: 0,
            wrote: None,
            question: Question::Everything,
            last: None,
            held_at: None,
            word_lost: News::none(),
        })
    }

    fn run(&mut self, ended: &AtomicBool) {
        let name = &self.config.this_node.name;
        say_error(format_args!(
            "standin agent of {} on {name}: looks every {:?}; agent.takeover is {}",
            self.config.name, self.config.agent.interval, self.config.agent.takeover
        ));
        let mut next = Instant::now();
        let mut turn = Turn::now();
        self.teller.begins();
        while !ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                self.at_node.ask(self.question);
                self.leave_word();
                next = now + self.config.agent.interval;
            }
            // Short enough to notice that it is told to end.
            let wait = next.saturating_duration_since(Instant::now()).min(TURN);
            let woken = self.woken.recv_timeout(wait);
            // The loop spends its time in that wait, so that a pause falls into it: nothing that was seen before is acted on.
            if turn.was_held_up() {
                self.held_at = Some(Instant::now());
                self.memory.held_up();
                self.leave_word();
                say_error("this machine was held up, or its clock was set: silence is counted anew");
            }
            match woken {
                Ok(Wake::Drbd) => next = next.min(Instant::now() + SWARM),
                Ok(Wake::Looked) => {
                    if let Some(look) = self.at_node.take()
                        && self.attend(&look)
                    {
                        next = Instant::now();
                    }
                }
                Ok(Wake::Worked) => next = Instant::now(),
                Err(_) => {}
            }
            self.teller.alive();
            if let Some(hangs) = self.at_node.pending().filter(|pending| *pending >= LOOK_HANGS) {
                self.teller.say(&format!("a look at this node has not come back for {} s", hangs.as_secs()));
                self.guard_without_a_look();
            }
        }
        self.teller.ends();
    }

    /// Decides on what was seen, and begins what is decided; whether to look again without a pause.
    fn attend(&mut self, look: &Look<Seen>) -> bool {
        self.finish();
        if self.held_at.is_some_and(|held_at| look.began < held_at) {
            return true;
        }
        let seen = &look.seen;
        match seen.question {
            Question::Everything => {
                self.memory.saw_everything(&seen.observation, &self.config, look.began, look.ended);
            }
            Question::ThisNode => self.memory.saw_this_node(&seen.observation, &self.config, look.ended),
        }
        self.memory.was_active |= seen.chronicle.is_active;
        if std::mem::take(&mut self.begins) {
            self.memory.begin(contact::left(&self.config), &seen.observation, &self.config);
        }
        self.last = Some(look.clone());
        self.leave_word();
        if self.guards(&seen.observation) {
            self.question = Question::ThisNode;
            self.guard(look);
            false
        } else if std::mem::replace(&mut self.question, Question::Everything) == Question::ThisNode {
            // It has just become a standby, and the network was not asked yet.
            true
        } else {
            self.watch(look)
        }
    }

    fn leave_word(&mut self) {
        // Before the first look it is not known whether this node was held up, and what an agent before this one left still counts.
        if self.begins {
            return;
        }
        let Err(error) = contact::leave(&self.config, self.memory.is_held()) else {
            self.word_lost.is_over();
            return;
        };
        // It is tried at each look, between which other lines are told.
        if self.word_lost.is_news(&error.to_string()) {
            say_error(format_args!(
                "what DRBD's handler is to know can't be left in /run: {error}\n  why it matters: it takes this node for one that was \
                 held up, and keeps its I/O frozen when the peer dies\n  what to do next: make room: df /run"
            ));
        }
    }

    fn guards(&self, observation: &Observation) -> bool {
        match decide::standing(observation, &self.config) {
            Standing::Active => true,
            Standing::Standby => false,
            Standing::Partial { .. } | Standing::Unknown { .. } => self.memory.was_active,
        }
    }

    fn guard(&mut self, look: &Look<Seen>) {
        let seen = &look.seen;
        let now = Instant::now();
        self.check_the_rest(now);
        let mut guarding = self.guarding(seen, now);
        self.memory.paused(guarding.paused.is_some());
        if guarding.running.is_none() {
            let wrong = decide::ailment(&seen.observation, &self.config, &guarding).is_some();
            self.memory.judged(wrong, &self.config);
        } else {
            self.memory.begins_anew();
        }
        guarding.failures = self.memory.failures();
        let decided = decide::guard(&seen.observation, &self.config, &guarding);
        self.teller.tell(&self.config, look, &Decided::Guard(&decided, &guarding, self.rest()));
        if self.work.is_some() || self.release.holds(now).is_some() {
            return;
        }
        match decided {
            Guard::GiveUp(reason) => {
                let disk_hangs = decide::disk_hangs(&seen.observation, &self.config, &guarding);
                self.begin(Task::GiveUp { reason, disk_hangs });
            }
            Guard::StepDown(reason) => {
                self.begin(Task::StepDown { reason });
            }
            Guard::Mend(_) if self.takeover.holds(now).is_none() => {
                self.begin(Task::TakeOver { silent_for: Duration::ZERO, waited_out: false });
            }
            Guard::Well(_) => self.listen_again(&seen.observation, now),
            Guard::Mend(_) | Guard::NotActive(_) | Guard::Suspicious(_) | Guard::Stay(_) => {}
        }
    }

    fn guarding(&self, seen: &Seen, now: Instant) -> Guarding {
        Guarding {
            write: of(&self.at_disk),
            query: self.at_server.as_ref().map_or(Check::NotMade, of),
            carrier: seen.carrier.clone(),
            fence_answer: seen.chronicle.fence_answer,
            peer_holds: seen.peer_holds,
            since_takeover: age(seen.chronicle.took_over),
            running: seen.running.or_else(|| self.work_goal()),
            paused: seen.paused.as_ref().map(|(_, sentence)| sentence.clone()),
            ..self.memory.guarding(now)
        }
    }

    /// One disk may hold the data and what a look reads (the journal): when both hang, the last look that came back has to do.
    fn guard_without_a_look(&mut self) {
        self.finish();
        let now = Instant::now();
        let Some(last) = self.last.clone() else { return };
        let observation = &last.seen.observation;
        // A pause makes every look and write take long.
        if self.held_at.is_some_and(|held_at| now.saturating_duration_since(held_at) < LOOK_HANGS) {
            return;
        }
        if self.work.is_some() || self.release.holds(now).is_some() || !self.guards(observation) {
            return;
        }
        let guarding = Guarding { failures: self.config.agent.failures, ..self.guarding(&last.seen, now) };
        if let Guard::GiveUp(reason) = decide::guard(observation, &self.config, &guarding)
            && decide::disk_hangs(observation, &self.config, &guarding)
        {
            self.teller.say(&format!("guard: give-up: {reason}"));
            self.begin(Task::GiveUp { reason, disk_hangs: true });
        }
    }

    fn watch(&mut self, look: &Look<Seen>) -> bool {
        let seen = &look.seen;
        let now = Instant::now();
        self.memory.begins_anew();
        // What was checked while this node was active says nothing of the next time that it is.
        self.at_disk.take();
        self.at_server.as_ref().map(Looker::take);
        self.wrote = None;
        let watching = Watching {
            silent_for: self.memory.silent_for(),
            vip_silent_for: self.memory.vip_silent_for(),
            peer_was_active: self.memory.peer_was_active,
            in_step: self.memory.in_step(),
            paused: seen.paused.as_ref().map(|(_, sentence)| sentence.clone()),
            gave_up: self.gave_up(&seen.chronicle),
            in_vain: self.takeover.holds(now).map(str::to_owned),
            running: seen.running.or_else(|| self.work_goal()),
        };
        let decided = decide::watch(&seen.observation, &self.config, &watching);
        self.teller.tell(&self.config, look, &Decided::Watch(&decided));
        match decided {
            Watch::TakeOver(_) if self.work.is_none() => {
                let waited_out = watching.vip_silent_for >= self.config.limits.wait_vip_gone;
                self.begin(Task::TakeOver { silent_for: watching.silent_for, waited_out });
                false
            }
            // Only a silence of the peer is short enough to be followed without a pause.
            Watch::LookAgain(_) => {
                !watching.silent_for.is_zero() && watching.silent_for < self.config.agent.silence * 2
            }
            _ => false,
        }
    }

    /// A resource that this node's takeover left, and that DRBD has given up since, because the peer was not ready: it must be
    /// listened on again for the peer to come back.
    fn listen_again(&mut self, observation: &Observation, now: Instant) {
        let (pause, tries) = RECONNECT_AGAIN;
        let alone = |drbd: &Drbd| drbd.connection == Connection::StandAlone;
        let is_alone = observation.drbd.known().is_some_and(alone);
        if !is_alone || self.memory.was_connected {
            self.reconnects = 0;
        }
        if is_alone
            && self.memory.stepped_up
            && !self.memory.was_connected
            && self.reconnects < tries
            && self.reconnect.holds(now).is_none()
        {
            self.reconnects += 1;
            self.reconnect.failed("", now, pause);
            self.begin(Task::Reconnect);
        }
    }

    fn check_the_rest(&mut self, now: Instant) {
        // What failed once is asked for again at the next look, so that one failure does not count as several.
        let failed = self.at_disk.latest().is_some_and(|look| matches!(look.seen, Check::Failed(_)));
        if failed || self.wrote.is_none_or(|wrote| now.saturating_duration_since(wrote) >= WRITE_EVERY) {
            self.at_disk.ask(());
            self.wrote = Some(now);
        }
        if let Some(at_server) = &self.at_server {
            at_server.ask(());
        }
        if self.forecast.is_none_or(|made| now.saturating_duration_since(made) >= FORECAST_EVERY) {
            self.at_recovery.ask(());
            self.forecast = Some(now);
        }
    }

    fn rest(&self) -> Rest {
        let took = |looker: &Looker<(), Check>| looker.latest().map(|look| look.took());
        Rest {
            write_took: took(&self.at_disk),
            query_took: self.at_server.as_ref().and_then(took),
            recovery: self.at_recovery.latest().map(|look| look.seen),
        }
    }

    fn gave_up(&self, chronicle: &Chronicle) -> Option<String> {
        recent::recent(chronicle.gave_up.as_ref(), self.config.agent.settle, SystemTime::now())
    }

    fn work_goal(&self) -> Option<crate::plan::Goal> {
        match &self.work.as_ref()?.task {
            Task::TakeOver { .. } => Some(crate::plan::Goal::Takeover),
            Task::GiveUp { .. } | Task::StepDown { .. } => Some(crate::plan::Goal::Release),
            Task::Reconnect => None,
        }
    }

    fn begin(&mut self, task: Task) {
        let worked = self.wake.clone();
        let done = move || drop(worked.send(Wake::Worked));
        match Work::begin(task, &self.config, self.selector.as_deref(), &self.node, done) {
            Ok(work) => self.work = Some(work),
            Err(error) => self.teller.say(&format!("no thread could be started: {error}")),
        }
    }

    /// Takes in the end of a task.
    fn finish(&mut self) {
        let Some(work) = self.work.take_if(|work| work.is_over()) else { return };
        let (task, end) = work.end();
        let now = Instant::now();
        match &task {
            Task::TakeOver { .. } if !end.done => {
                self.takeover.failed_again(&end.sentence, now, TAKEOVER_AGAIN, AGAIN_AT_MOST);
            }
            Task::TakeOver { .. } => self.takeover = Backoff::default(),
            Task::GiveUp { .. } | Task::StepDown { .. } if !end.done => {
                self.release.failed(&end.sentence, now, RELEASE_AGAIN);
            }
            _ => {}
        }
        self.memory.begins_anew();
        let name = match task {
            Task::TakeOver { .. } => "takeover",
            Task::GiveUp { .. } => "giving up",
            Task::StepDown { .. } => "stepping down",
            Task::Reconnect => "reconnecting",
        };
        self.teller.say(&format!("{name}: {}", end.sentence));
    }
}

fn of(looker: &Looker<(), Check>) -> Check {
    match (looker.pending(), looker.latest()) {
        (Some(pending), _) if pending >= Duration::from_secs(1) => Check::Pending(pending),
        (_, Some(look)) => look.seen,
        (_, None) => Check::NotMade,
    }
}

/// A time to come, after the clock was set back, counts as now.
fn age(at: Option<SystemTime>) -> Option<Duration> {
    at.map(|at| SystemTime::now().duration_since(at).unwrap_or_default())
}
