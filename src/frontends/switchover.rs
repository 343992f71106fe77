//! `standin switchover`: the active role moves to the peer, planned, with a shutdown that was prepared.

mod ask;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::operate::{self, past};
use super::person::Run;
use super::report::{self, TextReporter};
use super::say::{say, say_error, say_text};
use super::{kept, pause, peer_agent};
use crate::config::{ClusterManager, Config};
use crate::decide::{
    self, AgentReadiness, PeerReadiness, Refusal, RefusalKind, Request, Switching, Switchover,
};
use crate::execute::{Ended, Executor, Reporter};
use crate::failure::{FailureKind, Outcome};
use crate::journal;
use crate::node::real::RealNode;
use crate::node::{Node, mysqld, pacemaker, ssh};
use crate::observation::{Connection, Fact, Observation, Past, Role};
use crate::plan::{Action, DirtyPagesLimits, Goal, HandOverBy, Plan, ServerAccess, Step, Undo, shell_words};

/// For one question to the server, or to Pacemaker.
const ASK: Duration = Duration::from_secs(5);
/// For the connection that the peer's takeover waits on.
const LINE: Duration = Duration::from_secs(10);

/// What `standin switchover` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show what would be done and change nothing
    #[arg(long)]
    plan: bool,
    /// Don't write the dirty pages beforehand
    #[arg(long)]
    no_flush: bool,
    /// Write dirty pages for at most this long; clients are served meanwhile
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = super::cli::wait)]
    flush_limit: Duration,
    /// When the peer is not active so long after this node gave up, this node takes over again
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = super::cli::wait)]
    wait: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Observes, decides and executes.
pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let past = past(config)?;
    let node = Arc::new(RealNode::new(config.clone(), past.clone()));
    let unfinished = unfinished(config)?;
    let decide = || {
        let (observation, switching) = look(config, &node, arguments, unfinished.as_ref());
        decide::switchover(&observation, config, &switching)
    };
    if arguments.plan {
        return show(config, decide(), arguments);
    }
    let Some(mut run) = Run::begin(config, arguments.json)? else { return Ok(Outcome::Usage) };
    // Of its own: under a cluster manager the resource's lock is for what that calls.
    let _only_one = match run.lock(&format!("{}.switchover", config.resource), Goal::Switchover) {
        Ok(lock) => lock,
        Err(outcome) => return Ok(outcome),
    };
    let switchover = match decide() {
        Ok(switchover) => switchover,
        Err(refusal) => return Ok(run.refuse(Goal::Switchover, &refusal)),
    };
    let by_manager = moves_by_manager(&switchover);
    let _lock = match by_manager {
        true => None,
        false => match run.lock(&config.resource, Goal::Switchover) {
            Ok(lock) => Some(lock),
            Err(outcome) => return Ok(outcome),
        },
    };
    if let Err(refusal) = open_line(config, &node, &switchover) {
        return Ok(run.refuse(Goal::Switchover, &refusal));
    }
    // A killed one had begun these; what it had begun is taken back with the rest when this one fails.
    let begun = unfinished.map(|unfinished| unfinished.steps).unwrap_or_default();
    let before = Past { unfinished_takeover: begun, ..past };
    Ok(walk(config, &node, &mut run, &switchover, &before, arguments.json))
}

fn show(
    config: &Config,
    decided: Result<Switchover, Refusal>,
    arguments: &Arguments,
) -> anyhow::Result<Outcome> {
    let outcome = if decided.is_ok() { Outcome::Done } else { Outcome::Refused };
    match decided {
        Ok(switchover) if arguments.json => say(serde_json::to_string_pretty(&json!({"plan": switchover}))?),
        Err(refusal) if arguments.json => say(serde_json::to_string_pretty(&json!({"refusal": refusal}))?),
        Ok(switchover) => {
            if let Some(pause) = pause::in_force(config) {
                say(format_args!("{}; what a person types goes on", pause.sentence()));
            }
            say_text(&switchover.give_up);
            say_text(&switchover.hand_over);
        }
        Err(refusal) => say_error(refusal),
    }
    Ok(outcome)
}

fn walk(
    config: &Config,
    node: &Arc<RealNode>,
    run: &mut Run,
    switchover: &Switchover,
    before: &Past,
    as_json: bool,
) -> Outcome {
    let begun = Instant::now();
    let request = Request::default();
    run.reporter.heading(config, &switchover.give_up);
    if let Some(paused) = pause::in_force(config) {
        run.reporter.warn(&format!("{}; that holds back only what they do by themselves", paused.sentence()));
    }
    let ended =
        Executor::new(node.clone(), run.journal.as_mut(), run.reporter.clone(), run.interrupted.clone()).run(
            &switchover.give_up,
            request,
            before,
        );
    if ended.outcome != Outcome::Done {
        finish(config, &switchover.give_up, &ended, begun, as_json);
        return ended.outcome;
    }
    let gave_up = Instant::now();
    let ended =
        Executor::new(node.clone(), run.journal.as_mut(), run.reporter.clone(), run.interrupted.clone()).run(
            &switchover.hand_over,
            request,
            &Past::default(),
        );
    if ended.outcome == Outcome::Done || peer_is_active(node.as_ref()) {
        return arrived(config, begun, gave_up, as_json);
    }
    if moves_by_manager(switchover) {
        finish(config, &switchover.hand_over, &ended, begun, as_json);
        restore(node, run, switchover);
        if let Some(words) = may_be_left_behind(switchover, &ended, run.interrupted.load(Ordering::Relaxed)) {
            say_error(format_args!(
                "whether the constraint of the move was taken out is not known; one that is left would keep the resource where it \
                 is for ever: {}",
                shell_words(words)
            ));
        }
        say_error(format_args!("the cluster manager places the service as it sees fit; see: standin status"));
        return ended.outcome;
    }
    if let Some((step, failure)) = &ended.failed {
        say_error(format_args!("\n{step}: {failure}"));
    }
    let outcome = take_back(config, node, run);
    if outcome == Outcome::Done {
        return arrived(config, begun, gave_up, as_json);
    }
    if as_json {
        say(
            json!({"outcome": outcome, "seconds": begun.elapsed().as_secs_f64(), "taken_back": outcome == Outcome::Failed,
            "failed": ended.failed.as_ref().map(|(step, failure)| json!({"step": step, "failure": failure}))}),
        );
    }
    outcome
}

/// The peer is active: this node holds nothing any more.
fn arrived(config: &Config, begun: Instant, gave_up: Instant, as_json: bool) -> Outcome {
    let (this, peer) = (&config.this_node.name, &config.peer.name);
    kept::forget(&config.name);
    let done = Ended { outcome: Outcome::Done, failed: None, stuck: Vec::new(), commands: Vec::new() };
    if as_json {
        say(report::as_json(&done, begun.elapsed()));
    } else {
        say(format_args!(
            "{peer} is active after {:.3} s, {:.3} s after {this} had given everything up",
            begun.elapsed().as_secs_f64(),
            gave_up.elapsed().as_secs_f64()
        ));
    }
    Outcome::Done
}

/// The peer has not become active: this node does so again, by the rules of any takeover. Whoever interrupted the wait wants
/// that, too. Done: the peer is active after all.
fn take_back(config: &Config, node: &Arc<RealNode>, run: &mut Run) -> Outcome {
    let (this, peer) = (&config.this_node.name, &config.peer.name);
    say_error(format_args!("\n{peer} has not become active: {this} takes over again"));
    let plan = match may_take_back(config, node.as_ref(), &run.reporter) {
        TakeBack::Plan(plan) => plan,
        TakeBack::PeerIsActive => {
            say_error(format_args!("{peer} is active after all, and is left alone"));
            return Outcome::Done;
        }
        TakeBack::Refused(refusal) => {
            run.note_refusal(Goal::Takeover, &refusal);
            say_error(&refusal);
            say_error(format_args!(
                "\n{this} has given everything up and may not take over; see standin status on both nodes, and type on the one \
                 that may serve: standin takeover"
            ));
            // Nobody may serve now: that is not what "refused, nothing was touched" says.
            return Outcome::Stuck;
        }
    };
    run.reporter.heading(config, &plan);
    // As a person's: what counts as the agent's own takeover makes it hold back.
    let request = Request::default();
    let interrupted = Arc::new(AtomicBool::new(false));
    let ended = Executor::new(node.clone(), run.journal.as_mut(), run.reporter.clone(), interrupted).run(
        &plan,
        request,
        &Past::default(),
    );
    if ended.outcome != Outcome::Done {
        report::print_end(config, Goal::Takeover, request, &plan, &ended, Duration::ZERO);
        return Outcome::Stuck;
    }
    operate::announce_in_background(Goal::Takeover, &ended, config, node.as_ref(), run.reporter.as_ref());
    say_error(format_args!("{this} is active again; the switchover failed and was undone"));
    Outcome::Failed
}

/// What a node may do whose peer was not seen to become active.
#[derive(Debug)]
enum TakeBack {
    Plan(Plan),
    PeerIsActive,
    Refused(Refusal),
}

fn may_take_back(config: &Config, node: &dyn Node, reporter: &TextReporter) -> TakeBack {
    // The peer was told to become active, and may do so at any moment: to fence it then would take down what serves.
    let request = Request { from_agent: true, ..Request::default() };
    let decided = operate::decide_patiently(
        config,
        Goal::Takeover,
        request,
        config.limits.wait_vip_gone,
        node,
        reporter,
        &AtomicBool::new(false),
    );
    match decided {
        Ok((plan, _)) => TakeBack::Plan(plan),
        Err(_) if peer_is_active(node) => TakeBack::PeerIsActive,
        Err((refusal, _)) => TakeBack::Refused(refusal),
    }
}

/// Under a cluster manager that did not move it the server still runs here, with the limits of dirty pages at zero.
fn restore(node: &Arc<RealNode>, run: &mut Run, switchover: &Switchover) {
    let undos = switchover.give_up.steps.iter().filter_map(|step| step.undo.clone());
    let steps = undos.map(|Undo { action, deadline }| Step { action, deadline, undo: None }).collect();
    let reason = "the cluster manager did not move the service".to_owned();
    let plan = Plan { goal: Goal::Switchover, reason, warnings: Vec::new(), steps };
    let interrupted = Arc::new(AtomicBool::new(false));
    let ended = Executor::new(node.clone(), run.journal.as_mut(), run.reporter.clone(), interrupted).run(
        &plan,
        Request::default(),
        &Past::default(),
    );
    if let Some((step, failure)) = &ended.failed {
        let commands: Vec<String> = plan.steps.iter().flat_map(|step| step.action.commands()).collect();
        run.reporter.warn(&format!(
            "{step}: {}; if mysqld still runs here: {}",
            failure.seen,
            commands.join("; ")
        ));
    }
}

fn finish(config: &Config, plan: &Plan, ended: &Ended, begun: Instant, as_json: bool) {
    if as_json {
        say(report::as_json(ended, begun.elapsed()));
    } else {
        report::print_end(config, Goal::Switchover, Request::default(), plan, ended, begun.elapsed());
    }
}

fn peer_is_active(node: &dyn Node) -> bool {
    let seen = node.observe();
    let primary = seen
        .drbd
        .known()
        .is_some_and(|drbd| drbd.connection == Connection::Connected && drbd.peer_role == Role::Primary);
    primary && matches!(seen.vip.answer, Fact::Known(Some(_)))
}

fn moves_by_manager(switchover: &Switchover) -> bool {
    hands_over_by(switchover).is_some_and(|by| matches!(by, HandOverBy::Manager { .. }))
}

fn hands_over_by(switchover: &Switchover) -> Option<&HandOverBy> {
    switchover.hand_over.steps.iter().find_map(|step| match &step.action {
        Action::HandOver { by, .. } => Some(by),
        _ => None,
    })
}

/// What cleans up after the cluster manager's move, when the step ended before it could say what became of that.
fn may_be_left_behind<'a>(
    switchover: &'a Switchover,
    ended: &Ended,
    interrupted: bool,
) -> Option<&'a [String]> {
    let HandOverBy::Manager { afterwards, .. } = hands_over_by(switchover)? else { return None };
    let (_, failure) = ended.failed.as_ref()?;
    let untold = interrupted || failure.kind == FailureKind::TimedOut;
    (untold && !afterwards.is_empty()).then_some(afterwards)
}

/// Opened before anything is given up: the clients wait for whatever comes after that.
fn open_line(config: &Config, node: &RealNode, switchover: &Switchover) -> Result<(), Refusal> {
    let Some(HandOverBy::Ssh { address, remote }) = hands_over_by(switchover) else { return Ok(()) };
    match ssh::Line::open(*address, remote, LINE) {
        Ok(line) => {
            node.hold_line(line);
            Ok(())
        }
        Err(cause) => Err(Refusal {
            kind: RefusalKind::PeerNotReady,
            reason: format!("{} answered over ssh, and now does not: {cause}", config.peer.name),
            why: "nobody would make it take over once this node has given everything up".to_owned(),
            next: format!("see why: ssh -o BatchMode=yes {address} true; then try again"),
        }),
    }
}

fn unfinished(config: &Config) -> anyhow::Result<Option<journal::Unfinished>> {
    let entries = journal::read(&journal::path(&config.name))?;
    Ok(journal::unfinished_switchover(&entries, &journal::boot_id()))
}

/// Everything that can be asked beforehand, all at the same time.
fn look(
    config: &Config,
    node: &RealNode,
    arguments: &Arguments,
    unfinished: Option<&journal::Unfinished>,
) -> (Observation, Switching) {
    let ended = |what: &str| format!("the question to {what} ended without a result");
    thread::scope(|scope| {
        let peer = scope.spawn(|| ask::peer(config, unfinished.is_some()));
        let agent = scope.spawn(|| peer_agent::readiness(config));
        let dirty = scope.spawn(|| (!arguments.no_flush).then(|| dirty_pages(config, unfinished)));
        let moves = scope.spawn(|| match config.cluster_manager {
            ClusterManager::Pacemaker => pacemaker::move_commands(config, &config.peer.name, ASK).into(),
            _ => Fact::Unknown("Pacemaker is not configured".to_owned()),
        });
        let observation = node.observe();
        let switching = Switching {
            peer: peer.join().unwrap_or_else(|_| PeerReadiness::NotAsked(ended("the peer"))),
            peer_agent: agent.join().unwrap_or_else(|_| AgentReadiness::NotAsked(ended("its agent"))),
            takeover_there: ssh::standin(config, &["takeover"]),
            paused: pause::in_force(config).map(|active| active.sentence()),
            dirty_pages: dirty.join().unwrap_or_else(|_| Some(Fact::Unknown(ended("mysqld")))),
            flush: arguments.flush_limit,
            hand_over: arguments.wait,
            pacemaker_move: moves.join().unwrap_or_else(|_| Fact::Unknown(ended("Pacemaker"))),
            unfinished: unfinished.is_some(),
        };
        (observation, switching)
    })
}

fn dirty_pages(config: &Config, unfinished: Option<&journal::Unfinished>) -> Fact<DirtyPagesLimits> {
    let Some(credentials) = &config.mysqld.credentials else {
        return Fact::Unknown("no mysqld.credentials are configured".to_owned());
    };
    // A killed one may have left them at zero.
    if let Some(was) = unfinished.and_then(|unfinished| unfinished.dirty_pages.clone()) {
        return Fact::Known(was);
    }
    let server = ServerAccess {
        socket: config.mysqld.socket.clone(),
        vip: config.vip.address.addr(),
        port: config.mysqld.port,
        credentials: credentials.clone(),
    };
    mysqld::dirty_pages::limits(&server, ASK).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::{Host, parse};
    use crate::node::simulated::{Machine, SimulatedNode, World};

    /// What node 2, which has given everything up and can fence, may do when the peer is so.
    fn taken_back(peer: Machine) -> TakeBack {
        let text = include_str!("../../docs/examples/heartbeat.yaml");
        let mut config = parse(text, "orders.yaml".as_ref(), &Host::fixed("node2")).unwrap();
        config.witnesses.clear();
        config.limits.wait_vip_gone = Duration::from_millis(50);
        config.fence = Some(vec!["/usr/local/sbin/power-off".to_owned(), "{peer}".to_owned()]);
        let here = Machine { peer_role: peer.role, ..Machine::standby() };
        let world = World { machines: [peer, here], ..World::new() };
        let node = SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config.clone());
        may_take_back(&config, &node, &TextReporter::new(true))
    }

    #[test]
    fn a_peer_that_has_become_active_or_is_about_to_is_never_fenced() {
        let serves = taken_back(Machine::active());
        assert!(matches!(serves, TakeBack::PeerIsActive), "{serves:?}");
        let starts = taken_back(Machine { mysqld: false, vip: false, ..Machine::active() });
        let TakeBack::Refused(refusal) = starts else { panic!("{starts:?}") };
        assert_eq!(refusal.kind, RefusalKind::PeerPrimary);
        let holds_nothing = taken_back(Machine { peer_role: Role::Secondary, ..Machine::standby() });
        let TakeBack::Plan(plan) = holds_nothing else { panic!("{holds_nothing:?}") };
        assert!(plan.steps.iter().all(|step| step.action.name() != "fence-peer"), "{plan}");
    }
}
