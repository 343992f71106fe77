//! A takeover or a release from the first look to the exit code.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use super::kept;
use super::lock;
use super::report::{self, TextReporter};
use super::say::{say, say_error, say_text};
use crate::config::Config;
use crate::decide::{self, Decision, Refusal, Request};
use crate::execute::{Ended, Executor, Reporter};
use crate::failure::Outcome;
use crate::journal::{self, Event, Journal, Sink};
use crate::node::real::RealNode;
use crate::node::within::within;
use crate::node::{Node, scope};
use crate::observation::{Connection, Observation, Past};
use crate::plan::{Goal, Plan};

/// For the journal to be on the disk after the end of a run.
const SYNC: Duration = Duration::from_secs(1);
/// Time between two looks while waiting for the virtual IP to drop or the peer to yield.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long a peer that answered while it was waited for must be silent before that counts as its death. Whoever looks again
/// and again at a living peer meets the moment, sooner or later, in which its machine is stunned or has no time for a second.
const SILENCE_OF_THE_DEAD: Duration = Duration::from_secs(5);
/// How long a peer must be silent before that outweighs DRBD, which still says that it is connected: one look takes a third of
/// this, and DRBD's word is as old as its last ping (10 s by default).
const SILENCE_AGAINST_DRBD: Duration = Duration::from_secs(1);

/// Shows what would be done now.
pub(super) fn show_plan(
    config: &Config,
    goal: Goal,
    request: Request,
    as_json: bool,
) -> anyhow::Result<Outcome> {
    let node = RealNode::new(config.clone(), past(config)?);
    let decision = decide(goal, &node.observe(), config, &request);
    let paused = super::pause::in_force(config);
    if as_json {
        let mut value = serde_json::to_value(&decision)?;
        match (&paused, value.as_object_mut()) {
            (Some(paused), Some(object)) => {
                object.insert("pause".to_owned(), serde_json::to_value(paused)?);
                say(serde_json::to_string_pretty(&value)?);
            }
            _ => say(serde_json::to_string_pretty(&decision)?),
        }
    } else {
        if let Some(paused) = &paused {
            say(format_args!("{}; what a person types goes on", paused.sentence()));
        }
        match &decision {
            Decision::Plan(plan) => {
                say_text(plan);
            }
            Decision::Refusal(refusal) => {
                say_error(refusal);
                if refusal.kind.may_pass() && goal == Goal::Takeover {
                    say_error(format_args!(
                        "standin takeover would first wait up to {} for this to pass",
                        humantime::format_duration(config.limits.wait_vip_gone)
                    ));
                }
            }
        }
    }
    Ok(match decision {
        Decision::Plan(_) => Outcome::Done,
        Decision::Refusal(_) => Outcome::Refused,
    })
}

/// Observes, decides and executes.
pub(super) fn operate(
    config: Config,
    goal: Goal,
    request: Request,
    wait: Duration,
    as_json: bool,
) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    if !nix::unistd::geteuid().is_root() {
        say_error(
            "standin does not run as root\n  why it matters: DRBD, mounts and addresses can't be changed\n  what to do next: run it as root, or with sudo",
        );
        return Ok(Outcome::Usage);
    }
    let journal_path = std::path::absolute(journal::path(&config.name))?;
    let _lock = match lock::take(&config.resource, goal) {
        Ok(lock) => lock,
        Err(failure) => {
            let outcome = match failure.kind {
                crate::failure::FailureKind::Refused => Outcome::Refused,
                _ => Outcome::Failed,
            };
            if as_json {
                say(json!({"outcome": outcome, "failure": failure}));
            } else if outcome == Outcome::Refused {
                say_error(format_args!("refused: {failure}"));
            } else {
                say_error(&failure);
            }
            return Ok(outcome);
        }
    };
    let leaving = request.from_cluster_manager.then(|| thread::spawn(scope::leave_callers_unit));
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("a signal handler")?;
    }
    // A connection that drops in the middle of a takeover is no reason to undo it: the history shows how it ended.
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, ignored).context("a signal handler")?;
    let past = past(&config)?;
    let reporter = Arc::new(TextReporter::new(as_json));
    let mut journal = open_journal(&journal_path, &reporter);
    // Whoever calls from inside the data directory must not keep it busy through us.
    std::env::set_current_dir("/").context("the root directory")?;
    let node = Arc::new(RealNode::new(config.clone(), past.clone()));

    let decided = decide_patiently(&config, goal, request, wait, node.as_ref(), &reporter, &interrupted);
    let (plan, request) = match decided {
        Ok(decided) => decided,
        Err((refusal, request)) => {
            let event = Event::Refused { goal, request, reason: refusal.reason.clone() };
            if let Err(error) = journal.append(&event) {
                reporter.warn(&format!("the journal can't be written: {error}"));
            }
            if as_json {
                say(json!({"outcome": Outcome::Refused, "refusal": refusal}));
            } else {
                say_error(refusal);
            }
            if goal == Goal::Takeover && !past.unfinished_takeover.is_empty() {
                say_error(format_args!(
                    "an earlier takeover was broken off in {}; to take back what it did: standin release",
                    past.unfinished_takeover.last().map_or("its first step", String::as_str)
                ));
            }
            return Ok(Outcome::Refused);
        }
    };
    reporter.heading(&config, &plan);
    if let Some(paused) = super::pause::in_force(&config) {
        reporter.warn(&format!("{}; that holds back only what they do by themselves", paused.sentence()));
    }
    if let Some(Ok(Err(cause))) = leaving.map(thread::JoinHandle::join) {
        reporter.warn(&format!(
            "this run stays in the unit of the cluster manager that called it, and may end with that: {cause}"
        ));
    }
    if goal == Goal::Takeover
        && let Err(error) = kept::keep(&config)
    {
        reporter.warn(&format!(
            "the configuration is not kept in /run ({error}): a release then needs the file as it is read now"
        ));
    }
    let ended = Executor::new(node.clone(), journal.as_mut(), reporter.clone(), interrupted)
        .run(&plan, request, &past);
    // A power cut right after it must not bring back what it has settled; a disk that hangs must not keep it from ending.
    let written = journal_path.clone();
    within(SYNC, move || std::fs::File::open(written).and_then(|journal| journal.sync_data()));
    if goal == Goal::Release && ended.outcome == Outcome::Done {
        kept::forget(&config.name);
    }
    if as_json {
        say(report::as_json(&ended, begun.elapsed()));
    } else {
        report::print_end(&config, goal, request, &plan, &ended, begun.elapsed());
    }
    log::debug!("{} processes started", crate::node::command::processes_started());
    if !request.drbd_only {
        announce_in_background(goal, &ended, &config, node.as_ref(), reporter.as_ref());
    }
    Ok(ended.outcome)
}

/// A journal that can't be written does not keep a node from giving up or taking over what it must.
pub(super) fn open_journal(path: &Path, reporter: &TextReporter) -> Box<dyn Sink> {
    match Journal::open(path) {
        Ok(journal) => Box::new(journal),
        Err(error) => {
            reporter.warn(&format!(
                "the journal {} can't be written ({error}): going on without it; a rerun after a kill may then refuse",
                path.display()
            ));
            Box::new(journal::Nowhere)
        }
    }
}

pub(super) fn announce_in_background(
    goal: Goal,
    ended: &Ended,
    config: &Config,
    node: &RealNode,
    reporter: &TextReporter,
) {
    let owns_vip = config.cluster_manager != crate::config::ClusterManager::Keepalived;
    if goal == Goal::Takeover
        && ended.outcome == Outcome::Done
        && owns_vip
        && let Err(failure) = node.announce_vip_in_background()
    {
        reporter.warn(&format!(
            "gratuitous ARP is not repeated ({}); a client that missed the first one keeps the old address for minutes",
            failure.seen
        ));
    }
}

pub(super) fn decide_patiently(
    config: &Config,
    goal: Goal,
    request: Request,
    wait: Duration,
    node: &dyn Node,
    reporter: &TextReporter,
    interrupted: &AtomicBool,
) -> Result<(Plan, Request), (Refusal, Request)> {
    let until = Instant::now() + wait;
    let mut told = None;
    let since = request.silent_for.and_then(|silent_for| Instant::now().checked_sub(silent_for));
    let mut silence = Silence { answered: None, since };
    loop {
        // Whoever interrupts the wait wants no fence either.
        let waited_out = Instant::now() >= until;
        let over = waited_out || interrupted.load(Ordering::Relaxed);
        // The agent has waited itself, and knows what for.
        let waited_out = if request.from_agent { request.waited_out } else { waited_out };
        let request = Request { waited_out, ..request };
        let begun = Instant::now();
        let seen = node.observe();
        silence.heard(decide::answers(&seen), begun, Instant::now());
        match decide(goal, &seen, config, &request) {
            Decision::Plan(plan)
                if stands_on_silence(&plan, &seen, &request)
                    && !silence.is_proof(drbd_is_connected(&seen), Instant::now())
                    && !interrupted.load(Ordering::Relaxed) =>
            {
                // A look is as long as a pause.
                continue;
            }
            Decision::Plan(plan) => return Ok((plan, request)),
            Decision::Refusal(refusal) if over || !refusal.kind.may_pass() => {
                return Err((refusal, request));
            }
            Decision::Refusal(refusal) => {
                if told != Some(refusal.kind) {
                    reporter.waiting(&refusal, until.saturating_duration_since(Instant::now()));
                    told = Some(refusal.kind);
                }
            }
        }
        thread::sleep(LOOK_AGAIN.min(until.saturating_duration_since(Instant::now())));
    }
}

/// Whether a plan calls the peer dead because nothing of it answers, and neither a person nor a fence command makes sure of it.
fn stands_on_silence(plan: &Plan, seen: &Observation, request: &Request) -> bool {
    let has = |name| plan.steps.iter().any(|step| step.action.name() == name);
    has("disconnect-drbd") && !has("fence-peer") && !request.peer_confirmed_inactive && !decide::answers(seen)
}

fn drbd_is_connected(seen: &Observation) -> bool {
    seen.drbd.known().is_some_and(|drbd| drbd.connection == Connection::Connected)
}

/// How long the peer has been silent, over several looks.
#[derive(Debug, Default)]
struct Silence {
    answered: Option<Instant>,
    since: Option<Instant>,
}

impl Silence {
    fn heard(&mut self, answered: bool, begun: Instant, ended: Instant) {
        if answered {
            *self = Self { answered: Some(ended), since: None };
        } else {
            self.since.get_or_insert(begun);
        }
    }

    /// Whether it has lasted long enough to count as the peer's death.
    fn is_proof(&self, drbd_is_connected: bool, now: Instant) -> bool {
        let for_as_long_as = |since: Instant, least| now.saturating_duration_since(since) >= least;
        self.answered.is_none_or(|answered| for_as_long_as(answered, SILENCE_OF_THE_DEAD))
            && (!drbd_is_connected
                || self.since.is_some_and(|since| for_as_long_as(since, SILENCE_AGAINST_DRBD)))
    }
}

fn decide(goal: Goal, observation: &Observation, config: &Config, request: &Request) -> Decision {
    match goal {
        Goal::Takeover => decide::takeover(observation, config, request),
        // A switchover begins as a release, and a rejoin has front-end and decision of its own.
        Goal::Release | Goal::Switchover | Goal::Rejoin => decide::release(observation, config, request),
    }
}

/// What the journal says of earlier runs of this boot.
pub(super) fn past(config: &Config) -> anyhow::Result<Past> {
    let path = journal::path(&config.name);
    let entries = journal::read(&path)
        .with_context(|| format!("the journal {} can't be read (see: ls -ld {0}; id)", path.display()))?;
    Ok(journal::past(&entries, &journal::boot_id()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::config::{Host, parse};
    use crate::node::simulated::{SimulatedNode, World};
    use crate::node::{Applied, Attempt};
    use crate::plan::Action;

    /// A peer that serves, and whose machine has no time for one look.
    struct Stunned {
        serving: SimulatedNode,
        silent: SimulatedNode,
        looks: AtomicUsize,
        silent_at: usize,
    }

    impl Node for Stunned {
        fn observe(&self) -> Observation {
            let look = self.looks.fetch_add(1, Ordering::Relaxed);
            if look == self.silent_at { self.silent.observe() } else { self.serving.observe() }
        }

        fn apply(&self, _: &Action, _: &Attempt) -> Result<Applied, crate::failure::Failure> {
            unreachable!()
        }
    }

    fn decided(silent_at: usize) -> (Result<Plan, Refusal>, usize) {
        let text = include_str!("../../docs/examples/heartbeat.yaml");
        let config = parse(text, "orders.yaml".as_ref(), &Host::fixed("node2")).unwrap();
        let config = Config { witnesses: Vec::new(), ..config };
        let node = |dead: bool| {
            let mut world = World::new();
            if dead {
                world.power_cut(0);
            }
            SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config.clone())
        };
        let node =
            Stunned { serving: node(false), silent: node(true), looks: AtomicUsize::new(0), silent_at };
        let (reporter, interrupted) = (TextReporter::new(true), AtomicBool::new(false));
        let wait = Duration::from_secs(1);
        let request = Request::default();
        let decided =
            decide_patiently(&config, Goal::Takeover, request, wait, &node, &reporter, &interrupted);
        let looks = node.looks.load(Ordering::Relaxed);
        (decided.map(|(plan, _)| plan).map_err(|(refusal, _)| refusal), looks)
    }

    #[test]
    fn a_moment_of_silence_while_the_peer_is_waited_for_is_not_its_death() {
        let (decided, looks) = decided(2);
        assert_eq!(decided.unwrap_err().kind, crate::decide::RefusalKind::VipAnswers);
        assert!(looks > 3, "it was silent in the third of {looks} looks");
    }

    #[test]
    fn nor_is_one_at_the_very_first_look_while_drbd_is_connected() {
        let (decided, _) = decided(0);
        assert_eq!(decided.unwrap_err().kind, crate::decide::RefusalKind::VipAnswers);
    }

    #[test]
    fn silence_counts_when_it_lasts() {
        let now = Instant::now();
        let mut silence = Silence::default();
        silence.heard(false, now, now);
        assert!(silence.is_proof(false, now), "DRBD has seen the connection break, too");
        assert!(!silence.is_proof(true, now + SILENCE_AGAINST_DRBD / 2));
        assert!(silence.is_proof(true, now + SILENCE_AGAINST_DRBD));

        silence.heard(true, now, now);
        silence.heard(false, now, now);
        assert!(!silence.is_proof(false, now + SILENCE_OF_THE_DEAD / 2), "it answered before");
        assert!(silence.is_proof(true, now + SILENCE_OF_THE_DEAD));
    }
}
