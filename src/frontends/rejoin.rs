//! `standin rejoin`: a node that returns becomes a standby again, and whoever waits sees how far it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::operate::past;
use super::person::Run;
use super::report::{self};
use super::say::{say, say_error, say_text};
use crate::config::Config;
use crate::decide::{self, Decision, Divergence, RefusalKind, Rejoining, Request};
use crate::execute::{Ended, Executor};
use crate::failure::Outcome;
use crate::node::real::RealNode;
use crate::node::{Node, drbd, ssh};
use crate::observation::{Connection, Fact, Observation};
use crate::plan::{Action, Goal, Plan};

/// For the look at how the copies came apart.
const LOOK: Duration = Duration::from_secs(10);
/// For the same question to the peer, whose answer takes as long as a look and an ssh connection.
const ASK_PEER: Duration = Duration::from_secs(15);

/// What `standin rejoin` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show what would be done and change nothing
    #[arg(long)]
    plan: bool,
    /// After a split brain: give up for good what only this node has, and take the peer's data. Type it on the node whose
    /// commits may be lost, after `standin release` there
    #[arg(long)]
    discard_my_data: bool,
    /// Wait so long for a peer that does not connect, and for a resync that does not move; one that moves is followed to its
    /// end
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = super::cli::wait)]
    wait: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print what this node knows of how the copies came apart; for the peer
    #[arg(long, hide = true)]
    facts: bool,
}

/// Observes, decides and executes.
pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let device = &config.mount.device;
    if arguments.facts {
        say(serde_json::to_string(&drbd::divergence(&config.resource, device, LOOK))?);
        return Ok(Outcome::Done);
    }
    let begun = Instant::now();
    let past = past(config)?;
    let node = Arc::new(RealNode::new(config.clone(), past.clone()));
    let decide = || {
        let observation = node.observe();
        let rejoining = look(config, &observation, arguments);
        decide::rejoin(&observation, config, &rejoining)
    };
    if arguments.plan {
        return show(&decide(), arguments.json);
    }
    let Some(mut run) = Run::begin(config, arguments.json)? else { return Ok(Outcome::Usage) };
    // Nobody takes over or releases while the connection is made; while a resync is followed they may.
    let lock = match run.lock(&config.resource, Goal::Rejoin) {
        Ok(lock) => lock,
        Err(outcome) => return Ok(outcome),
    };
    let plan = match decide() {
        Decision::Plan(plan) => plan,
        Decision::Refusal(refusal) => return Ok(run.refuse(Goal::Rejoin, &refusal)),
    };
    run.reporter.heading(config, &plan);
    let (change, follow): (Vec<_>, Vec<_>) =
        plan.steps.iter().cloned().partition(|step| !matches!(step.action, Action::FollowResync { .. }));
    let half = |steps, warnings| Plan { steps, warnings, ..plan.clone() };
    let mut walk =
        |plan: &Plan| {
            Executor::new(node.clone(), run.journal.as_mut(), run.reporter.clone(), run.interrupted.clone())
                .run(plan, Request::default(), &past)
        };
    let changes = half(change, plan.warnings.clone());
    let mut ended = walk(&changes);
    drop(lock);
    if ended.outcome == Outcome::Done && !follow.is_empty() {
        ended = walk(&half(follow, Vec::new()));
    }
    tell(config, &plan, &ended, begun.elapsed(), arguments.json);
    // It met its peer and gave the connection up: what that means is known only now.
    if ended.outcome == Outcome::Refused
        && let Decision::Refusal(refusal) = decide()
        && refusal.kind == RefusalKind::SplitBrain
    {
        return Ok(run.refuse(Goal::Rejoin, &refusal));
    }
    Ok(ended.outcome)
}

fn show(decision: &Decision, as_json: bool) -> anyhow::Result<Outcome> {
    let outcome = match decision {
        Decision::Plan(_) => Outcome::Done,
        Decision::Refusal(_) => Outcome::Refused,
    };
    match decision {
        _ if as_json => say(serde_json::to_string_pretty(decision)?),
        Decision::Plan(plan) => {
            say_text(plan);
        }
        Decision::Refusal(refusal) => say_error(refusal),
    }
    Ok(outcome)
}

/// What is known beside the observation. While the nodes are connected there is nothing to compare.
fn look(config: &Config, observation: &Observation, arguments: &Arguments) -> Rejoining {
    let connection = observation.drbd.known().map(|drbd| drbd.connection);
    let not_asked = || "not asked while the nodes are connected".to_owned();
    let (here, peer) = if connection == Some(Connection::Connected) {
        let here = Divergence {
            kernel_found_split_brain: Fact::Unknown(not_asked()),
            generations: Fact::Unknown(not_asked()),
            out_of_sync_kib: Fact::Unknown(not_asked()),
            role: Fact::Unknown(not_asked()),
        };
        (here, Fact::Unknown(not_asked()))
    } else {
        std::thread::scope(|scope| {
            let peer = scope.spawn(|| ask_peer(config));
            let here = drbd::divergence(&config.resource, &config.mount.device, LOOK);
            let ended = || Err("the question to the peer ended without a result".to_owned());
            (here, peer.join().unwrap_or_else(|_| ended()).into())
        })
    };
    Rejoining { discard_my_data: arguments.discard_my_data, here, peer, patience: arguments.wait }
}

fn ask_peer(config: &Config) -> Result<Divergence, String> {
    let (address, finished) = ssh::ask(config, &["rejoin", "--facts"], ASK_PEER)?;
    if !finished.succeeded() {
        return Err(finished.describe());
    }
    serde_json::from_str(&finished.stdout).map_err(|error| {
        format!("{address} answers what this version of standin does not understand ({error})")
    })
}

fn tell(config: &Config, plan: &Plan, ended: &Ended, took: Duration, as_json: bool) {
    if as_json {
        let mut value = report::as_json(ended, took);
        value["reason"] = json!(plan.reason);
        say(value);
        return;
    }
    let node = &config.this_node.name;
    match ended.outcome {
        Outcome::Done => say(format_args!(
            "{node} is a standby: connected, both copies equal, after {:.3} s",
            took.as_secs_f64()
        )),
        _ => {
            if let Some((step, failure)) = &ended.failed {
                say_error(format_args!("\n{step}: {failure}"));
            }
            say_error(format_args!("\n{node} has not rejoined after {:.3} s", took.as_secs_f64()));
        }
    }
}
