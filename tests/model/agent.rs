//! The agents: what they remember, and what they do with what the shipped guard and watch say.

use standin::decide::{Guard, Watch};
use standin::failure::Outcome;
use standin::observation::{Connection, Disk, Role};
use standin::plan::Goal;

use super::judge::{Judge, Known, PlanId};
use super::look::View;
use super::steps;
use super::world::{Handler, Power, World};

/// What an agent remembers between two looks, and what it has begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    /// When the peer was last seen to live, DRBD was connected to it and both disks were UpToDate.
    pub(crate) in_step: bool,
    /// The peer was seen to hold something.
    pub(crate) peer_was_active: bool,
    /// This node was seen to serve since it booted.
    pub(crate) was_active: bool,
    /// This node gave up by itself.
    pub(crate) gave_up: bool,
    /// A run ended stuck, and none has ended well since: a person was told what to type.
    pub(crate) stuck: bool,
    pub(crate) then: Then,
}

/// What an agent does next by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    #[default]
    Nothing,
    /// It gives up: a release runs or is to be run again.
    Releases,
    /// It has released: the cluster manager is next.
    StopsTheManager,
    /// What it gives up is stuck, or DRBD holds it: the machine is reset, if it may be.
    Resets,
}

impl Memory {
    /// A takeover or release of this node has ended.
    pub(crate) fn run_ended(&mut self, goal: Goal, outcome: Outcome) {
        let done = outcome == Outcome::Done;
        self.stuck = outcome == Outcome::Stuck || self.stuck && !done;
        if self.then == Then::Releases && goal == Goal::Release {
            self.then = if done { Then::StopsTheManager } else { Then::Resets };
        }
        if done {
            self.was_active = goal == Goal::Takeover;
        }
    }

    /// What a look adds to it.
    fn after_a_look(mut self, world: &World, me: usize, view: &View) -> Self {
        let it = &world.machines[me];
        if view.peer_answers.contains(&true) {
            self.in_step = it.connection == Connection::Connected
                && it.disk == Disk::UpToDate
                && it.peer_disk == Disk::UpToDate;
        }
        let peer_holds = it.connection == Connection::Connected && it.peer_role == Role::Primary;
        self.peer_was_active |= peer_holds || view.vip_at_peer;
        self.was_active |= it.can_commit() && it.vip;
        self
    }
}

/// How the guard's giving up is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivingUp {
    /// Release in order, then stop the cluster manager.
    ReleaseFirst,
    /// A mutation: kill the cluster manager and leave the rest.
    KillTheManagerAndLeaveTheRest,
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
    Resets,
}

/// What agent `me` knows beside its look.
pub(crate) fn known(world: &World, me: usize, waited_out: bool) -> Known {
    let it = &world.machines[me];
    let Memory { in_step, peer_was_active, was_active, gave_up, .. } = it.memory;
    Known {
        in_step: in_step && !it.doubts,
        peer_was_active,
        was_active,
        gave_up,
        silence_lasts: silence_lasts(world, me),
        waited_out,
        fence_answer: match it.handler {
            Handler::Ended(answer) => Some(answer),
            Handler::Idle | Handler::Looks => None,
        },
        disk_hangs: it.disk_hangs,
    }
}

/// Whether a silence of the peer is longer than the rules of silence ask for. Only a short pause is not.
pub(crate) fn silence_lasts(world: &World, me: usize) -> bool {
    world.machines[1 - me].power != Power::Paused { long: false }
}

/// Everything that agent `me` may do now.
pub(crate) fn deeds(world: &World, me: usize, judge: &Judge) -> Vec<Deed> {
    let it = &world.machines[me];
    let mut deeds = Vec::new();
    if !it.is_on() {
        return deeds;
    }
    let view = View::of(world, me, false);
    let memory = it.memory.after_a_look(world, me, &view);
    // What is decided stands on what the same look has shown.
    if memory != it.memory {
        return vec![Deed::Remembers(memory)];
    }
    match it.memory.then {
        _ if it.run.is_some() => return deeds,
        Then::Nothing | Then::Releases => {}
        Then::StopsTheManager => {
            deeds.push(Deed::StopsTheManager);
            return deeds;
        }
        Then::Resets => {
            if judge.config(me).agent.self_fence {
                deeds.push(Deed::Resets);
            }
            return deeds;
        }
    }
    match judge.guard(&view, known(world, me, false)) {
        Guard::GiveUp(_) => deeds.push(Deed::GivesUp),
        Guard::StepDown(_) => deeds.push(Deed::StepsDown),
        Guard::Mend(_) => deeds.extend(judge.takeover(&view, false).ok().map(Deed::Mends)),
        _ => {}
    }
    let fences = judge.config(me).fence.is_some();
    let may_have_waited = fences && !view.vip_at_peer;
    for waited_out in [false, true].into_iter().filter(|waited_out| may_have_waited || !waited_out) {
        if let Watch::TakeOver(_) = judge.watch(&view, known(world, me, waited_out))
            && let Ok(plan) = judge.takeover(&view, waited_out)
        {
            deeds.push(Deed::TakesOver(plan));
        }
    }
    deeds
}

/// Agent `me` does it.
pub(crate) fn act(world: &mut World, me: usize, judge: &Judge, giving_up: GivingUp, deed: &Deed) {
    let release = judge.release(&View::of(world, me, false));
    let it = &mut world.machines[me];
    match deed {
        Deed::Remembers(memory) => it.memory = *memory,
        Deed::TakesOver(plan) | Deed::Mends(plan) => steps::start(world, me, *plan, Goal::Takeover),
        Deed::GivesUp => {
            it.memory.gave_up = true;
            match (giving_up, release) {
                (GivingUp::KillTheManagerAndLeaveTheRest, _) => {
                    it.manager = false;
                    it.memory.was_active = false;
                }
                (GivingUp::ReleaseFirst, Ok(plan)) => {
                    it.memory.then = Then::Releases;
                    steps::start(world, me, plan, Goal::Release);
                }
                (GivingUp::ReleaseFirst, Err(_)) => it.memory.then = Then::Resets,
            }
        }
        Deed::StepsDown => {
            it.vip = false;
            it.memory.then = Then::Resets;
        }
        Deed::StopsTheManager => {
            it.manager = false;
            it.memory.then = Then::Nothing;
        }
        Deed::Resets => world.machines[me].lose_power(),
    }
}
