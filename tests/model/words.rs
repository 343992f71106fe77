//! Transitions in words, so that a trace can be read.

use standin::plan::Action;

use super::agent::{Deed, Then};
use super::faults::Fault;
use super::judge::{Judge, PlanId};
use super::properties;
use super::scenario::{Event, Scenario};
use super::steps::Killed;
use super::world::{Power, World};

fn name(me: usize) -> &'static str {
    ["node1", "node2"][me]
}

/// One transition without what it did.
pub(crate) fn of(event: &Event, judge: &Judge) -> String {
    let because = |plan: &PlanId| judge.plan(*plan).0.reason.clone();
    match event {
        Event::Fault(me, fault) => fault_in_words(name(*me), *fault),
        Event::Killed(me, how) => {
            let when = match how {
                Killed::BeforeItsWork => "before its next step",
                Killed::AfterItsWork => "right after the work of its next step",
            };
            format!("standin is killed on {} {when}", name(*me))
        }
        Event::PowerOn(me) => format!("{} boots", name(*me)),
        Event::Resume(me) => format!("{} goes on after its pause", name(*me)),
        Event::ClientLinkMended(me) => format!("the clients' network reaches {} again", name(*me)),
        Event::ReplicationLinkMended => "the replication link is mended".to_owned(),
        Event::Notices(me) => format!("DRBD on {} notices that its connection is gone", name(*me)),
        Event::Connect => "both DRBDs connect".to_owned(),
        Event::ResyncEnds => "the resync ends".to_owned(),
        Event::HandlerAnswers(me, answer) => {
            format!("fence-peer on {} answers {}: {}", name(*me), answer.exit_code(), answer.meaning())
        }
        Event::Writes(me) => format!("a client's write is acknowledged by {} alone", name(*me)),
        Event::TakeoverIsAsked(me, plan) => {
            format!("standin takeover on {}: {}", name(*me), because(plan))
        }
        Event::Step(me) => format!("the next step on {}", name(*me)),
        Event::Agent(me, deed) => {
            let does = match deed {
                Deed::Remembers(_) => "looks around".to_owned(),
                Deed::TakesOver(plan) => format!("takes over: {}", because(plan)),
                Deed::Mends(plan) => format!("mends its node: {}", because(plan)),
                Deed::GivesUp => "gives up".to_owned(),
                Deed::StepsDown => "steps down and drops the virtual IP".to_owned(),
                Deed::StopsTheManager => "stops the cluster manager".to_owned(),
                Deed::Listens => "lets DRBD listen for the peer again".to_owned(),
                Deed::Resets => "resets its machine".to_owned(),
            };
            format!("the agent of {} {does}", name(*me))
        }
        Event::ManagerAddsTheAddress(me) => {
            format!(
                "the cluster manager of {} hears nothing of the other one and adds the virtual IP",
                name(*me)
            )
        }
    }
}

fn fault_in_words(name: &str, fault: Fault) -> String {
    match fault {
        Fault::PowerCut => format!("POWER CUT of {name}"),
        Fault::ShortPause => format!("{name} is paused for a moment"),
        Fault::LongPause => format!("{name} is paused, for long"),
        Fault::ClientLinkCut => format!("{name} is cut off from the clients' network"),
        Fault::ReplicationLinkCut => "the replication link is cut".to_owned(),
        Fault::MysqldDies => format!("mysqld dies on {name}"),
        Fault::MysqldHangs => format!("mysqld hangs on {name}"),
        Fault::ReadOnly => format!("the data becomes read-only on {name}"),
        Fault::DiskHangs => format!("the disk of {name} hangs"),
        Fault::StandinKilled => format!("standin is killed on {name}"),
        Fault::HandlerKilled => format!("fence-peer is killed on {name} before it answers"),
        Fault::AgentRestarts => format!("the agent of {name} is killed, and a new one begins"),
        Fault::Release => format!("a person types standin release on {name}"),
    }
}

/// What each node says in a state, or that it serves.
pub(crate) fn state(scenario: &Scenario, world: &World) -> String {
    let says = |me: usize| match &world.machines[me] {
        it if it.power == Power::Off => "is off".to_owned(),
        it if it.power == Power::Resetting => "boots".to_owned(),
        it if !it.is_on() => "is paused".to_owned(),
        _ if world.serves(me) => "serves".to_owned(),
        _ => properties::why_not(scenario, world, me).unwrap_or_else(|seen| seen),
    };
    format!("{}: {}; {}: {}", name(0), says(0), name(1), says(1))
}

/// What the step does that comes next on a machine.
fn next_step(world: &World, me: usize, judge: &Judge) -> String {
    let Some(run) = world.machines[me].run else { return "nothing".to_owned() };
    let plan = &judge.plan(run.plan).0;
    match plan.steps.get(run.next) {
        _ if run.undoing => "an undo".to_owned(),
        Some(step) => Action::name(&step.action).to_owned(),
        None => "the end".to_owned(),
    }
}

/// A transition with the step that it takes and what became of it.
pub(crate) fn with_step(before: &World, event: &Event, after: &World, judge: &Judge) -> String {
    let Event::Step(me) = event else { return of(event, judge) };
    let mut text = format!("{}: {}", name(*me), next_step(before, *me, judge));
    match (before.machines[*me].run, after.machines[*me].run) {
        (Some(was), Some(is)) if is.undoing && !was.undoing => {
            text.push_str(" FAILED, what was done is undone")
        }
        (Some(was), None) if was.undoing => text.push_str(", and the takeover is undone"),
        (Some(_), None) if after.machines[*me].memory.then == Then::Resets => text.push_str(": stuck"),
        _ => {}
    }
    text
}
