//! The agents: what they remember from look to look, and what they do with what the shipped guard and watch say.

use standin::decide::{FenceAnswer, Guard, Standing, Watch};
use standin::failure::Outcome;
use standin::observation::{Connection, Disk, Role};
use standin::plan::Goal;

use super::judge::{Judge, Known, PlanId};
use super::look::View;
use super::rules::Rule;
use super::steps;
use super::world::{Handler, Mysqld, Power, World};

/// What an agent remembers between two looks, and what it has begun. A boot forgets it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    /// When the peer was last seen to live, DRBD was connected to it and both disks were UpToDate.
    pub(crate) had_same_data: bool,
    /// This node was paused for long, or heard neither its peer nor a witness, and has not been connected for long since.
    pub(crate) held: bool,
    /// The peer was seen to hold something.
    pub(crate) peer_was_active: bool,
    /// This node was seen to serve, and not to hold nothing since.
    pub(crate) was_active: bool,
    /// This node gave up by itself.
    pub(crate) gave_up: bool,
    /// DRBD was connected at some time since this node became active by a takeover.
    pub(crate) was_connected: bool,
    /// A run ended stuck, and none has ended well since: a person was told what to type.
    pub(crate) stuck: bool,
    pub(crate) then: Then,
}

/// What an agent does next by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    #[default]
    Nothing,
    /// It gives up or steps down: a release runs.
    Releases { then_the_manager: bool },
    /// It has released: the cluster manager is next.
    StopsTheManager,
    /// The release is stuck: the machine is reset, if it may be.
    Resets,
}

impl Memory {
    /// What an agent that has just started knows: what stands in the journal, and what the one before it left in `/run`.
    pub(crate) fn of_a_new_agent(self) -> Self {
        let Self { was_active, gave_up, stuck, held, .. } = self;
        Self { was_active, gave_up, stuck, held, ..Self::default() }
    }

    /// A takeover or release of this node has ended.
    pub(crate) fn run_ended(&mut self, goal: Goal, outcome: Outcome) {
        let done = outcome == Outcome::Done;
        self.stuck = outcome == Outcome::Stuck || self.stuck && !done;
        // A takeover that could not be taken back holds what the peer would need.
        let holds = goal == Goal::Takeover && (done || outcome == Outcome::Stuck);
        if done || holds {
            self.was_active = holds;
            self.was_connected = false;
        }
        if let (Then::Releases { then_the_manager }, Goal::Release) = (self.then, goal) {
            self.then = match (done, then_the_manager) {
                (true, true) => Then::StopsTheManager,
                (true, false) => Then::Nothing,
                (false, _) => Then::Resets,
            };
        }
    }

    /// What a look adds to it. An agent that guards does not ask the network.
    ///
    /// That a connection has lasted is modelled by its being one while no takeover of the peer is about to break it: DRBD notices
    /// sooner that it is gone, and a takeover comes to that sooner.
    fn after_a_look(mut self, world: &World, me: usize, judge: &Judge, view: &View) -> Self {
        let it = &world.machines[me];
        let standing = &*judge.standing(view);
        let has_same_data = it.connection == Connection::Connected
            && it.disk == Disk::UpToDate
            && it.peer_disk == Disk::UpToDate;
        self.held &= !(has_same_data && world.replicates() && world.machines[1 - me].run.is_none());
        match standing {
            Standing::Active => {
                // From here on it is this node's data that counts.
                self.held &= self.was_active;
                (self.was_active, self.peer_was_active) = (true, false);
                self.was_connected |= it.connection == Connection::Connected;
            }
            Standing::Standby => self.was_active = false,
            Standing::Partial { .. } | Standing::Unknown { .. } => {}
        }
        if is_guarded(self, standing) {
            return self;
        }
        if !view.peer_is_silent() {
            self.had_same_data = has_same_data && view.peer_answers[0];
        }
        self.held |= judge.rules.has(Rule::KnowsItWasCutOff) && judge.hears_nobody(view);
        let peer_holds = it.connection == Connection::Connected && it.peer_role == Role::Primary;
        self.peer_was_active |= peer_holds || view.vip_at_peer;
        self
    }
}

fn is_guarded(memory: Memory, standing: &Standing) -> bool {
    match standing {
        Standing::Active => true,
        Standing::Standby => false,
        Standing::Partial { .. } | Standing::Unknown { .. } => memory.was_active,
    }
}

/// The next thing that an agent does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// A look that it remembers something of.
    Remembers(Memory),
    TakesOver(PlanId),
    Mends(PlanId),
    GivesUp,
    StepsDown,
    StopsTheManager,
    /// It lets DRBD listen for the peer again, after a takeover that could not.
    Listens,
    Resets,
}

/// What agent `me` knows beside its look.
pub(crate) fn known(world: &World, me: usize, waited_out: bool) -> Known {
    let it = &world.machines[me];
    let Memory { had_same_data, held, peer_was_active, was_active, gave_up, .. } = it.memory;
    Known {
        in_step: had_same_data && !held,
        peer_was_active,
        was_active,
        gave_up,
        silence_lasts: silence_lasts(world, me) && View::of(world, me, false).peer_is_silent(),
        waited_out,
        fence_answer: match it.handler {
            Handler::Ended(answer) => Some(answer),
            Handler::Idle | Handler::Looks { .. } => None::<FenceAnswer>,
        },
        disk_hangs: it.disk_hangs,
        carrier_lost: world.client_cut[me],
        settles: false,
        peer_holds: false,
    }
}

/// Whether a silence of the peer is longer than the rules of silence ask for. Only that of a short pause is not.
pub(crate) fn silence_lasts(world: &World, me: usize) -> bool {
    world.machines[1 - me].power != Power::Paused { long: false }
}

/// Everything that agent `me` may do now.
pub(crate) fn deeds(world: &World, me: usize, judge: &Judge) -> Vec<Deed> {
    let it = &world.machines[me];
    if !it.is_on() {
        return Vec::new();
    }
    let view = View::of(world, me, false);
    let memory = it.memory.after_a_look(world, me, judge, &view);
    // What is decided stands on what the same look has shown.
    if memory != it.memory {
        return vec![Deed::Remembers(memory)];
    }
    if it.run.is_some() {
        return Vec::new();
    }
    let self_fence = judge.config(me).agent.self_fence;
    match memory.then {
        Then::StopsTheManager => vec![Deed::StopsTheManager],
        Then::Resets if self_fence => vec![Deed::Resets],
        // It tries again now and then.
        Then::Resets if it.frozen || it.disk_hangs || it.mysqld == Mysqld::Hung => Vec::new(),
        _ if is_guarded(memory, &judge.standing(&view)) => guards(world, me, judge, &view),
        _ => watches(world, me, judge, &view),
    }
}

/// Whether the node still settles after its takeover is a matter of time, and whether the peer's agent can be heard one of the
/// configuration: both may be so.
fn guards(world: &World, me: usize, judge: &Judge, view: &View) -> Vec<Deed> {
    let it = &world.machines[me];
    let known = known(world, me, false);
    let mut deeds = Vec::new();
    let peer_holds = view.peer_answers.contains(&true) && world.machines[1 - me].role == Role::Primary;
    for known in [
        known,
        Known { settles: true, ..known },
        Known { peer_holds, ..known },
        Known { settles: true, peer_holds, ..known },
    ] {
        let deed = match &*judge.guard(view, known) {
            Guard::GiveUp(_) => Some(Deed::GivesUp),
            Guard::StepDown(_) => Some(Deed::StepsDown),
            Guard::Mend(_) => judge.takeover_by_agent(view, false).ok().map(Deed::Mends),
            Guard::Well(_) if it.connection == Connection::StandAlone && !it.memory.was_connected => {
                Some(Deed::Listens)
            }
            Guard::NotActive(_) | Guard::Well(_) | Guard::Suspicious(_) | Guard::Stay(_) => None,
        };
        deeds.extend(deed.filter(|deed| !deeds.contains(deed)));
    }
    deeds
}

fn watches(world: &World, me: usize, judge: &Judge, view: &View) -> Vec<Deed> {
    let may_have_waited = judge.config(me).fence.is_some() && !view.vip_at_peer && !view.vip_here;
    let mut deeds = Vec::new();
    for waited_out in [false, true].into_iter().filter(|waited_out| may_have_waited || !waited_out) {
        if let Watch::TakeOver(_) = &*judge.watch(view, known(world, me, waited_out))
            && let Ok(plan) = judge.takeover_by_agent(view, waited_out)
            && !deeds.contains(&Deed::TakesOver(plan))
        {
            deeds.push(Deed::TakesOver(plan));
        }
    }
    deeds
}

/// Agent `me` does it.
pub(crate) fn act(world: &mut World, me: usize, judge: &Judge, deed: &Deed) {
    let view = View::of(world, me, false);
    let it = &mut world.machines[me];
    match deed {
        Deed::Remembers(memory) => it.memory = *memory,
        Deed::TakesOver(plan) | Deed::Mends(plan) => steps::start(world, me, *plan, Goal::Takeover),
        Deed::GivesUp => {
            it.memory.gave_up = true;
            if judge.rules.has(Rule::ReleaseBeforeKill) {
                gives_up(world, me, judge, &view, true);
            } else {
                it.manager = false;
                it.memory.was_active = false;
            }
        }
        Deed::StepsDown => {
            it.vip = false;
            gives_up(world, me, judge, &view, false);
        }
        Deed::StopsTheManager => {
            it.manager = false;
            it.memory.then = Then::Nothing;
        }
        Deed::Listens => it.connection = Connection::Connecting,
        Deed::Resets => {
            it.lose_power();
            it.power = Power::Resetting;
        }
    }
}

fn gives_up(world: &mut World, me: usize, judge: &Judge, view: &View, then_the_manager: bool) {
    let memory = &mut world.machines[me].memory;
    match judge.release(view) {
        Ok(plan) => {
            memory.then = Then::Releases { then_the_manager };
            steps::start(world, me, plan, Goal::Release);
        }
        Err(_) => memory.then = Then::Resets,
    }
}
