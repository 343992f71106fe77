//! `standin switchover`: the active role moves to the peer, planned, with a shutdown that was prepared.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::operate::{self, past};
use super::person::Run;
use super::report;
use super::say::{say, say_error, say_text};
use super::{kept, pause, peer_agent};
use crate::config::{ClusterManager, Config};
use crate::decide::{self, Decision, PeerReadiness, Refusal, RefusalKind, Request, Switching, Switchover};
use crate::execute::{Ended, Executor, Reporter};
use crate::failure::Outcome;
use crate::journal;
use crate::node::real::RealNode;
use crate::node::{Node, mysqld, pacemaker, ssh};
use crate::observation::{Connection, Fact, Observation, Past, Role};
use crate::plan::{Action, DirtyPagesLimits, Goal, HandOverBy, Plan, ServerAccess, Step, Undo};

/// For the peer's plan, over ssh.
const ASK_PEER: Duration = Duration::from_secs(15);
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
    let (this, peer) = (&config.this_node.name, &config.peer.name);
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
        return Outcome::Done;
    }
    if moves_by_manager(switchover) {
        finish(config, &switchover.hand_over, &ended, begun, as_json);
        restore(node, run, switchover);
        say_error(format_args!("the cluster manager places the service as it sees fit; see: standin status"));
        return ended.outcome;
    }
    if let Some((step, failure)) = &ended.failed {
        say_error(format_args!("\n{step}: {failure}"));
    }
    let outcome = take_back(config, node, run);
    if as_json {
        say(
            json!({"outcome": outcome, "seconds": begun.elapsed().as_secs_f64(), "taken_back": outcome == Outcome::Failed,
            "failed": ended.failed.as_ref().map(|(step, failure)| json!({"step": step, "failure": failure}))}),
        );
    }
    outcome
}

/// The peer has not become active: this node does so again, by the rules of any takeover. Whoever interrupted the wait wants
/// that, too.
fn take_back(config: &Config, node: &Arc<RealNode>, run: &mut Run) -> Outcome {
    let (this, peer) = (&config.this_node.name, &config.peer.name);
    say_error(format_args!("\n{peer} has not become active: {this} takes over again"));
    let interrupted = Arc::new(AtomicBool::new(false));
    let wait = config.limits.wait_vip_gone;
    let decided = operate::decide_patiently(
        config,
        Goal::Takeover,
        Request::default(),
        wait,
        node.as_ref(),
        &run.reporter,
        &interrupted,
    );
    let (plan, request) = match decided {
        Ok(decided) => decided,
        Err((refusal, _)) => {
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

fn peer_is_active(node: &RealNode) -> bool {
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
        let peer = scope.spawn(|| ask_peer(config));
        let agent = scope.spawn(|| peer_agent::takes_over_by_itself(config));
        let dirty = scope.spawn(|| (!arguments.no_flush).then(|| dirty_pages(config, unfinished)));
        let moves = scope.spawn(|| match config.cluster_manager {
            ClusterManager::Pacemaker => pacemaker::move_commands(config, &config.peer.name, ASK).into(),
            _ => Fact::Unknown("Pacemaker is not configured".to_owned()),
        });
        let observation = node.observe();
        let switching = Switching {
            peer: peer.join().unwrap_or_else(|_| PeerReadiness::NotAsked(ended("the peer"))),
            peer_agent_takes_over: agent.join().unwrap_or_else(|_| Fact::Unknown(ended("its agent"))),
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

/// What the peer would do, by its own plan. While this node is active that is a refusal which passes as soon as this node has
/// given up; any other one is a reason not to begin. Under a cluster manager it would only say who owns the resource.
fn ask_peer(config: &Config) -> PeerReadiness {
    let (address, finished) = match ssh::ask(config, &["plan", "--json"], ASK_PEER) {
        Ok(asked) => asked,
        Err(cause) => return PeerReadiness::NotAsked(cause),
    };
    let answer: Result<Decision, String> = match finished.code {
        Some(0 | 3) => understand(&finished.stdout),
        _ => return PeerReadiness::NotReady(finished.describe()),
    };
    match answer {
        Ok(decision) => judge(decision, address),
        Err(cause) => PeerReadiness::NotAsked(format!("{address}: {cause}")),
    }
}

fn understand(text: &str) -> Result<Decision, String> {
    let wrong = |error: serde_json::Error| {
        format!("what it says is not understood ({error}); is the same version there?")
    };
    let mut value: Value = serde_json::from_str(text).map_err(wrong)?;
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| key == "plan" || key == "refusal");
    }
    serde_json::from_value(value).map_err(wrong)
}

fn judge(decision: Decision, address: std::net::Ipv4Addr) -> PeerReadiness {
    match decision {
        Decision::Plan(_) => PeerReadiness::Ready { address },
        Decision::Refusal(refusal) if refusal.kind.may_pass() => PeerReadiness::Ready { address },
        // Pacemaker is told, not standin.
        Decision::Refusal(refusal) if refusal.kind == RefusalKind::PacemakerOwns => {
            PeerReadiness::Ready { address }
        }
        Decision::Refusal(refusal) => PeerReadiness::NotReady(refusal.reason),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(kind: RefusalKind) -> String {
        let text = || "x".to_owned();
        let refusal = Refusal { kind, reason: "because".to_owned(), why: text(), next: text() };
        serde_json::to_string(&Decision::Refusal(refusal)).unwrap()
    }

    #[test]
    fn a_refusal_that_passes_when_this_node_gives_up_is_readiness() {
        let address = std::net::Ipv4Addr::new(10, 77, 1, 2);
        let of = |text: &str| judge(understand(text).unwrap(), address);
        assert_eq!(of(&refusal(RefusalKind::VipAnswers)), PeerReadiness::Ready { address });
        assert_eq!(of(&refusal(RefusalKind::PeerPrimary)), PeerReadiness::Ready { address });
        let not_current = of(&refusal(RefusalKind::DiskNotCurrent));
        assert_eq!(not_current, PeerReadiness::NotReady("because".to_owned()));
    }

    #[test]
    fn a_pause_beside_the_decision_is_no_matter_and_garbage_is_none() {
        let text = refusal(RefusalKind::VipAnswers).replacen('{', "{\"pause\":{\"until\":null},", 1);
        assert!(understand(&text).is_ok());
        assert!(understand("Permission denied").is_err() && understand("{}").is_err());
    }
}
