//! What must hold: three invariants of every state, and one of the states in which nothing moves any more.

use standin::config::AutomaticTakeover;
use standin::decide::{FenceAnswer, Guard, Refusal, RefusalKind, Watch};
use standin::observation::{Connection, Disk, Role};
use standin::plan::Goal;
use stateright::Property;

use super::agent;
use super::look::View;
use super::scenario::{Event, Scenario};
use super::steps;
use super::world::{Branch, Handler, Mount, Power, World};

/// Never are writes acknowledged on both sides that the other side lacks: one side's would have to be thrown away.
pub(crate) const NO_SPLIT: &str = "no write is acknowledged on both sides";
/// Never does a node serve while the other disk holds acknowledged writes that it lacks.
pub(crate) const NOTHING_LOST: &str = "nobody serves without the acknowledged writes";
/// Never do two nodes hold the virtual IP where both can be reached. A node whose I/O DRBD holds back, or whose DRBD has not
/// noticed yet that its connection is gone, may still hold it: it acknowledges nothing.
pub(crate) const ONE_HOLDER: &str = "one holder of the virtual IP";
/// When nothing moves any more there is service, or each node that runs says why it does not take over, and rightly.
pub(crate) const SERVICE_OR_REASON: &str = "service, or a refusal with a reason that is true";
/// When nothing moves any more there is service. It does not hold: searched for to see what a person is needed for.
pub(crate) const SERVICE: &str = "service";

/// That the search comes to see what it is to judge.
pub(crate) const SEEN: &str = "seen";

fn seen() -> Vec<Property<Scenario>> {
    vec![
        Property::sometimes("the peer has taken over and serves", |_, world: &World| world.serves(1)),
        Property::sometimes("a takeover is undone", |_, world: &World| {
            world.machines.iter().any(|it| it.run.is_some_and(|run| run.undoing))
        }),
        Property::sometimes("the active node goes on without its peer", |_, world: &World| {
            world.serves(0) && world.machines[0].peer_disk == Disk::Outdated
        }),
        Property::sometimes("a node that was replaced is told so", |_, world: &World| {
            world.machines.iter().any(|it| it.handler == Handler::Ended(FenceAnswer::PeerPrimary))
        }),
        Property::sometimes("a node that was replaced resets itself", |_, world: &World| {
            world.serves(1) && world.machines[0].power == Power::Resetting
        }),
        Property::sometimes("the old active node is a standby with the same data", |_, world: &World| {
            let old = &world.machines[0];
            world.serves(1) && world.replicates() && old.role == Role::Secondary && old.disk == Disk::UpToDate
        }),
        Property::sometimes("a resync runs", |_, world: &World| world.resyncs()),
        Property::sometimes("a release is stuck", |_, world: &World| {
            world.machines.iter().any(|it| it.memory.stuck)
        }),
        Property::sometimes("a node has given up, and its peer serves", |_, world: &World| {
            world.machines[0].memory.gave_up && world.serves(1)
        }),
        Property::sometimes("both are back where they began", |_, world: &World| {
            world.serves(0) && world.replicates() && world.faults_left == 0
        }),
    ]
}

/// What a scenario is searched for: all of them, or only one.
pub(crate) fn of(scenario: &Scenario) -> Vec<Property<Scenario>> {
    let all = vec![
        Property::always(NO_SPLIT, |_, world| !is_split(world)),
        Property::always(NOTHING_LOST, |_, world| !serves_stale_data(world)),
        Property::always(ONE_HOLDER, |_, world| !has_two_holders(world)),
        Property::always(SERVICE_OR_REASON, has_service_or_reason),
    ];
    if scenario.only == Some(SEEN) {
        return seen();
    }
    if scenario.only == Some(SERVICE) {
        return vec![Property::always(SERVICE, |scenario, world| {
            has_service(world) || !is_settled(scenario, world)
        })];
    }
    all.into_iter().filter(|property| scenario.only.is_none_or(|only| only == property.name)).collect()
}

/// Whether an invariant that is asked for is broken. What follows that is of no interest.
pub(crate) fn is_broken(scenario: &Scenario, world: &World) -> bool {
    let asked = |name| scenario.only.is_none_or(|only| only == name);
    asked(NO_SPLIT) && is_split(world)
        || asked(NOTHING_LOST) && serves_stale_data(world)
        || asked(ONE_HOLDER) && has_two_holders(world)
}

fn is_split(world: &World) -> bool {
    world.machines.iter().all(|it| it.branch == Branch::Written)
}

fn serves_stale_data(world: &World) -> bool {
    (0..2).any(|me| world.serves(me) && world.machines[1 - me].branch == Branch::Written)
}

fn has_two_holders(world: &World) -> bool {
    (0..2).all(|me| {
        let it = &world.machines[me];
        let settled = it.connection != Connection::Connected || world.replicates();
        it.is_on() && it.vip && !world.client_cut[me] && !it.frozen && settled
    })
}

/// Whether nothing moves any more, except that a person mends something or asks for something.
pub(crate) fn is_settled(scenario: &Scenario, world: &World) -> bool {
    let mut events = Vec::new();
    scenario.without_repair(world, &mut events);
    let paused = |power| matches!(power, Power::Paused { .. });
    events.is_empty() && !world.machines.iter().any(|it| paused(it.power))
}

/// Whether a node has all that service needs. That the clients' network reaches it is not asked.
pub(crate) fn has_service(world: &World) -> bool {
    (0..2).any(|me| holds_all(world, me))
}

fn holds_all(world: &World, me: usize) -> bool {
    world.machines[me].can_commit() && world.machines[me].vip
}

fn has_service_or_reason(scenario: &Scenario, world: &World) -> bool {
    if has_service(world) || is_broken(scenario, world) || !is_settled(scenario, world) {
        return true;
    }
    (0..2).filter(|me| world.machines[*me].is_on()).all(|me| why_not(scenario, world, me).is_ok())
}

/// Why a machine does not serve in a settled state: the sentence, or what is wrong with it.
pub(crate) fn why_not(scenario: &Scenario, world: &World, me: usize) -> Result<String, String> {
    let view = View::of(world, me, false);
    match &*scenario.judge.guard(&view, agent::known(world, me, true)) {
        Guard::Stay(text) => return Ok(text.clone()),
        Guard::Mend(_) => {
            if let Err(refusal) = scenario.judge.takeover_by_agent(&view, false) {
                return says_why(&refusal, world, me);
            }
        }
        _ => {}
    }
    if world.machines[me].memory.stuck {
        return Ok("standin is stuck, and has said what to type".to_owned());
    }
    if let Err(refusal) = scenario.judge.takeover(&view, true) {
        return says_why(&refusal, world, me);
    }
    if scenario.hands {
        return leads_to_service(scenario, world, me);
    }
    match &*scenario.judge.watch(&view, agent::known(world, me, true)) {
        Watch::Refuse(refusal) => says_why(refusal, world, me),
        Watch::Well(text) if world.machines[me].memory.gave_up || by_a_person(scenario, me) => {
            Ok(text.clone())
        }
        watch => match scenario.judge.takeover_by_agent(&view, false) {
            Err(refusal) => says_why(&refusal, world, me),
            Ok(_) => Err(format!("the agent does nothing: {watch:?}")),
        },
    }
}

fn by_a_person(scenario: &Scenario, me: usize) -> bool {
    scenario.judge.config(me).agent.takeover != AutomaticTakeover::Automatic
}

fn says_why(refusal: &Refusal, world: &World, me: usize) -> Result<String, String> {
    let told = [&refusal.reason, &refusal.why, &refusal.next].iter().all(|text| !text.is_empty());
    if told && is_true(refusal.kind, world, me) {
        Ok(refusal.reason.clone())
    } else {
        Err(format!("{:?} is not so: {}", refusal.kind, refusal.reason))
    }
}

/// Whether what a refusal says is so in the world and not only in what the machine sees.
fn is_true(kind: RefusalKind, world: &World, me: usize) -> bool {
    let (it, peer) = (&world.machines[me], &world.machines[1 - me]);
    match kind {
        RefusalKind::PeerPrimary => peer.is_on() && peer.role == Role::Primary,
        RefusalKind::PeerUnseen => peer.is_on(),
        RefusalKind::VipAnswers => peer.is_on() && peer.vip,
        RefusalKind::Isolated => world.client_cut[me],
        RefusalKind::IoSuspended => it.frozen,
        RefusalKind::DiskNotCurrent => it.disk != Disk::UpToDate,
        RefusalKind::StandAlone => it.connection == Connection::StandAlone,
        RefusalKind::ReadOnly => it.mount == Mount::ReadOnly,
        RefusalKind::OutOfStep => it.connection != Connection::Connected,
        _ => false,
    }
}

/// Walks the plan that the machine is offered, undisturbed.
fn leads_to_service(scenario: &Scenario, world: &World, me: usize) -> Result<String, String> {
    let view = View::of(world, me, false);
    let plan = scenario.judge.takeover(&view, true).map_err(|refusal| refusal.reason.clone())?;
    let mut world = world.clone();
    steps::start(&mut world, me, plan, Goal::Takeover);
    for _ in 0..60 {
        if world.machines[me].run.is_none() {
            break;
        }
        if !steps::waits(&world, me, &scenario.judge) {
            steps::advance(&mut world, me, &scenario.judge);
        } else {
            let mut events = Vec::new();
            scenario.without_repair(&world, &mut events);
            events.retain(|event| !matches!(event, Event::Agent(..) | Event::Step(_)));
            match events.first() {
                Some(event) => world = scenario.after(&world, event),
                None => return Err("the plan waits for ever".to_owned()),
            }
        }
    }
    if holds_all(&world, me) {
        Ok(format!("standin takeover would do: {}", scenario.judge.plan(plan).0.reason))
    } else {
        Err(format!("the plan does not lead to service ({})", scenario.judge.plan(plan).0.reason))
    }
}
