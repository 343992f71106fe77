//! Should the standby step up?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::standing::{Standing, standing};
use super::{Decision, Refusal, RefusalKind, Request, answers, refuse, takeover};
use crate::config::{AutomaticTakeover, Config};
use crate::observation::{Fact, Observation};
use crate::plan::{Goal, Plan};

/// How long both nodes are seen to hold nothing before the first of them, by name, steps up: a peer that boots, or that releases and
/// takes over again, is given that time.
const UNCLAIMED: Duration = Duration::from_secs(3);
/// The same for the second: the two must not step up at once.
const UNCLAIMED_BY_THE_FIRST: Duration = Duration::from_secs(15);

/// What is known of a node beside its latest look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watching {
    /// How long nothing of the peer, and nobody for the virtual IP, has answered; zero when something did in the latest look.
    pub silent_for: Duration,
    /// How long nobody has answered for the virtual IP.
    pub vip_silent_for: Duration,
    /// The peer was seen to hold something since this agent began: its giving up is a reason to step up at once.
    pub peer_was_active: bool,
    /// When the peer was last seen to live, DRBD was connected to it and both disks were UpToDate. Otherwise it may have taken
    /// commits alone that are not here: after a boot without it, or while the replication link was cut.
    pub in_step: bool,
    /// Why the agent is to do nothing by itself.
    pub paused: Option<String>,
    /// Why this node gave up by itself, when that is less than `agent.settle` ago and nobody has acknowledged it.
    pub gave_up: Option<String>,
    /// Why its latest takeover was in vain, when it is too early for another.
    pub in_vain: Option<String>,
    /// A takeover or release that runs.
    pub running: Option<Goal>,
}

/// What a standby is to do, with the reason in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// It holds something: it is not to be watched from.
    NotStandby(String),
    /// Nothing is to be done.
    Well(String),
    /// Something is going on that may pass or become a reason: look again without a pause.
    LookAgain(String),
    /// It steps up.
    TakeOver(String),
    /// A takeover would be due, and must not be.
    Refuse(Refusal),
}

impl Watch {
    /// The sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Watch::NotStandby(text) | Watch::Well(text) | Watch::LookAgain(text) | Watch::TakeOver(text) => {
                text
            }
            Watch::Refuse(refusal) => &refusal.reason,
        }
    }
}

/// Decides what a standby does. On which evidence it steps up is what [`takeover`] decides; how long that must hold is decided
/// here.
pub fn watch(observation: &Observation, config: &Config, watching: &Watching) -> Watch {
    let name = &config.this_node.name;
    if let Some(goal) = watching.running {
        return Watch::Well(format!("a {goal} runs on {name}"));
    }
    let broken_off = !observation.past.unfinished_takeover.is_empty();
    match standing(observation, config) {
        Standing::Active => return Watch::NotStandby(format!("{name} is active")),
        Standing::Partial { reason, .. } if !broken_off => {
            return Watch::NotStandby(format!("{name} is half-way between standby and active: {reason}"));
        }
        Standing::Standby | Standing::Partial { .. } | Standing::Unknown { .. } => {}
    }
    // A peer whose address is gone for as long as a takeover would wait for it may be fenced.
    let waited_out = watching.vip_silent_for >= config.limits.wait_vip_gone;
    let request = Request { waited_out, from_agent: true, ..Request::default() };
    let plan = match takeover(observation, config, &request) {
        Decision::Plan(plan) => plan,
        Decision::Refusal(refusal) => return refused(refusal, observation, config),
    };
    if let Some(hold) = held_back(config, watching) {
        return Watch::Well(format!("{}; {hold}", plan.reason));
    }
    if needs_the_peers_death(&plan) && !watching.in_step && !broken_off {
        return Watch::Refuse(out_of_step(&plan, config));
    }
    match waits(&plan, observation, config, watching, broken_off) {
        Some(text) => Watch::LookAgain(format!("{}; {text}", plan.reason)),
        None => Watch::TakeOver(plan.reason),
    }
}

/// Why this node does not step up although it could.
fn held_back(config: &Config, watching: &Watching) -> Option<String> {
    let by_configuration = match config.agent.takeover {
        AutomaticTakeover::Never => Some("agent.takeover is never: a person decides (standin takeover)"),
        AutomaticTakeover::WithClusterManager => Some("agent.takeover is with-cluster-manager: that decides"),
        AutomaticTakeover::Automatic => None,
    };
    by_configuration
        .map(str::to_owned)
        .or_else(|| watching.paused.clone())
        .or_else(|| {
            let why = watching.gave_up.as_ref()?;
            Some(format!("this node gave up by itself ({why}): standin acknowledge lets it step up again"))
        })
        .or_else(|| Some(format!("its latest takeover was in vain: {}", watching.in_vain.as_ref()?)))
}

fn has(plan: &Plan, name: &str) -> bool {
    plan.steps.iter().any(|step| step.action.name() == name)
}

fn needs_the_peers_death(plan: &Plan) -> bool {
    has(plan, "disconnect-drbd")
}

fn out_of_step(plan: &Plan, config: &Config) -> Refusal {
    let (peer, resource) = (&config.peer.name, &config.resource);
    refuse(
        RefusalKind::OutOfStep,
        format!("{}; but this node was not in step with {peer} when that was last seen to live", plan.reason),
        format!("{peer} may have committed alone what is not here, and a takeover would lose it"),
        format!(
            "start {peer} and let DRBD connect (drbdadm status {resource}); when it was certainly not active alone, or its data is              lost for good: standin takeover"
        ),
    )
}

/// What is still waited for.
fn waits(
    plan: &Plan,
    observation: &Observation,
    config: &Config,
    watching: &Watching,
    broken_off: bool,
) -> Option<String> {
    if broken_off {
        return None;
    }
    // The plan fences a peer that lives, and has let the virtual IP go for as long as a takeover waits for it.
    if has(plan, "fence-peer") && answers(observation) {
        return None;
    }
    if needs_the_peers_death(plan) {
        // Also with a fence command: it would power off a peer that had no time for one look.
        let (silent, needed) = (watching.silent_for, config.agent.silence);
        return (silent < needed)
            .then(|| format!("silent for {:.1} s of {:.1} s", silent.as_secs_f64(), needed.as_secs_f64()));
    }
    // The peer is connected and holds nothing.
    if watching.peer_was_active {
        return None;
    }
    let first = config.this_node.name < config.peer.name;
    let needed = if first { UNCLAIMED } else { UNCLAIMED_BY_THE_FIRST };
    (watching.vip_silent_for < needed).then(|| {
        format!(
            "nobody is active, and this node steps up {} after that was first seen",
            humantime::format_duration(needed)
        )
    })
}

fn refused(refusal: Refusal, observation: &Observation, config: &Config) -> Watch {
    let peer = &config.peer.name;
    match refusal.kind {
        // As it should be.
        RefusalKind::VipAnswers => {
            let connected = observation.drbd.known().map(|drbd| format!(", DRBD {:?}", drbd.connection));
            Watch::Well(format!("{peer} is active{}", connected.unwrap_or_default()))
        }
        RefusalKind::VipUnknown if matches!(observation.vip.answer, Fact::Unknown(_)) => {
            Watch::LookAgain(refusal.reason)
        }
        kind if kind.may_pass() => Watch::LookAgain(refusal.reason),
        _ => Watch::Refuse(refusal),
    }
}
