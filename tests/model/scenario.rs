//! The model itself: every scenario is a configuration, the faults that may happen, and who may act.

use std::time::Duration;

use standin::decide::{FenceAnswer, FenceDecision, FenceRequest};
use standin::plan::Goal;
use stateright::{Model, Property};

use super::agent::{self, Deed};
use super::faults::Fault;
use super::judge::{Judge, PlanId};
use super::look::View;
use super::properties;
use super::rules::{Rule, Rules};
use super::steps::{self, Killed};
use super::world::{Branch, Handler, Power, World};

/// One transition; the number is that of the machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Fault(usize, Fault),
    Killed(usize, Killed),
    PowerOn(usize),
    Resume(usize),
    ClientLinkMended(usize),
    ReplicationLinkMended,
    Notices(usize),
    Connect,
    ResyncEnds,
    /// DRBD's handler looks once; `waited`: the peer has had its time to connect again.
    HandlerAnswers(usize, FenceAnswer),
    Writes(usize),
    /// A person or a cluster manager calls `standin takeover`.
    TakeoverIsAsked(usize, PlanId),
    /// The next step of the run, or the next undo.
    Step(usize),
    Agent(usize, Deed),
    /// A cluster manager that hears nothing of the other one adds the virtual IP by its own script.
    ManagerAddsTheAddress(usize),
}

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) judge: Judge,
    pub(crate) faults: Vec<Fault>,
    pub(crate) budget: u8,
    /// An agent runs on each node.
    pub(crate) agents: bool,
    /// People or cluster managers ask for a takeover, at any moment.
    pub(crate) hands: bool,
    /// The cluster manager moves the virtual IP with a script of its own, before it calls standin.
    pub(crate) manager_has_an_address_script: bool,
    /// A machine takes longer to boot than a takeover takes from its decision to the loss of DRBD's connection.
    pub(crate) boots_are_slow: bool,
    /// Only this property is searched for.
    pub(crate) only: Option<&'static str>,
}

impl Scenario {
    /// Agents and hands, and all faults.
    pub(crate) fn new(settings: &str, drbd_fences: bool, budget: u8, rules: Rules) -> Self {
        Self {
            judge: Judge::new(settings, drbd_fences, rules),
            faults: Fault::ALL.to_vec(),
            budget,
            agents: true,
            hands: true,
            manager_has_an_address_script: false,
            boots_are_slow: true,
            only: None,
        }
    }

    /// With some faults alone.
    pub(crate) fn with(mut self, faults: &[Fault]) -> Self {
        self.faults = faults.to_vec();
        self
    }

    /// Without some faults.
    pub(crate) fn without(mut self, faults: &[Fault]) -> Self {
        self.faults.retain(|fault| !faults.contains(fault));
        self
    }

    fn has_manager(&self) -> bool {
        self.manager_has_an_address_script
    }

    fn faults(&self, world: &World, me: usize, events: &mut Vec<Event>) {
        for fault in self.faults.iter().copied().filter(|fault| fault.may_happen(world, me)) {
            if fault == Fault::StandinKilled {
                events
                    .extend([Killed::BeforeItsWork, Killed::AfterItsWork].map(|how| Event::Killed(me, how)));
            } else {
                events.push(Event::Fault(me, fault));
            }
        }
    }

    /// What DRBD's handler may answer now. That it looks again changes nothing.
    fn handler(&self, world: &World, me: usize) -> Vec<Event> {
        let view = View::of(world, me, true);
        let mut answers = Vec::new();
        let lasts = agent::silence_lasts(world, me) || !self.rules().has(Rule::HandlerWaits);
        let silent_for = if lasts { 2 * self.judge.config(me).agent.silence } else { Duration::ZERO };
        for reconnect_waited in [false, true] {
            let request = FenceRequest {
                own: None,
                reconnect_waited,
                io_was_suspended: true,
                silent_for,
                was_cut_off: world.machines[me].handler == Handler::Looks { was_cut_off: true },
                was_held: world.machines[me].memory.held,
            };
            let answer = match self.judge.fence_peer(&view, request) {
                FenceDecision::Answer(answer, _) => answer,
                // The command makes sure of it.
                FenceDecision::Fence { .. } => FenceAnswer::PeerFenced,
                FenceDecision::LookAgain(_) | FenceDecision::Listen(_) => continue,
            };
            let event = Event::HandlerAnswers(me, answer);
            if !answers.contains(&event) {
                answers.push(event);
            }
        }
        answers
    }

    fn manager_hears_nothing(&self, world: &World, me: usize) -> bool {
        let (it, other) = (&world.machines[me], &world.machines[1 - me]);
        let hears =
            other.is_on() && other.manager && (world.clients_network_joins() || !world.replication_cut);
        self.manager_has_an_address_script
            && it.is_on()
            && it.manager
            && !it.vip
            && !hears
            && agent::silence_lasts(world, me)
    }

    /// What happens by itself and is no fault: the kernel, DRBD, mended things, standin.
    pub(crate) fn own_motion(&self, world: &World, events: &mut Vec<Event>) {
        for me in 0..2 {
            let it = &world.machines[me];
            match it.power {
                Power::Off if self.boots_are_slow && self.weighs_the_first_steps(world, 1 - me) => {}
                Power::Off => events.push(Event::PowerOn(me)),
                Power::Paused { .. } => events.push(Event::Resume(me)),
                Power::Resetting | Power::On => {}
            }
            if world.client_cut[me] {
                events.push(Event::ClientLinkMended(me));
            }
        }
        if world.replication_cut {
            events.push(Event::ReplicationLinkMended);
        }
        self.without_repair(world, events);
    }

    /// Whether a takeover is between its decision and the loss of DRBD's connection. A machine takes longer to boot: none of
    /// these steps waits for anything.
    fn weighs_the_first_steps(&self, world: &World, me: usize) -> bool {
        let it = &world.machines[me];
        it.is_on()
            && it.run.is_some_and(|run| {
                let plan = &self.judge.plan(run.plan).0;
                let disconnect = plan.steps.iter().position(|step| step.action.name() == "disconnect-drbd");
                !run.undoing && disconnect.is_some_and(|disconnect| run.next <= disconnect)
            })
    }

    /// The same, but nothing is mended.
    pub(crate) fn without_repair(&self, world: &World, events: &mut Vec<Event>) {
        for me in 0..2 {
            let it = &world.machines[me];
            if it.power == Power::Resetting && !self.weighs_the_first_steps(world, 1 - me) {
                events.push(Event::PowerOn(me));
            }
            if !it.is_on() {
                continue;
            }
            if world.has_stale_connection(me) {
                events.push(Event::Notices(me));
            }
            if matches!(it.handler, Handler::Looks { .. }) {
                events.extend(self.handler(world, me));
            }
            if it.run.is_some() && !steps::waits(world, me, &self.judge) {
                events.push(Event::Step(me));
            }
            if self.agents {
                let deeds = agent::deeds(world, me, &self.judge);
                events.extend(deeds.into_iter().map(|deed| Event::Agent(me, deed)));
            }
            if self.manager_hears_nothing(world, me) {
                events.push(Event::ManagerAddsTheAddress(me));
            }
        }
        if world.can_connect() {
            events.push(Event::Connect);
        }
        if world.resyncs() {
            events.push(Event::ResyncEnds);
        }
    }

    /// What people and cluster managers may ask for.
    pub(crate) fn asked(&self, world: &World, me: usize) -> Vec<PlanId> {
        let it = &world.machines[me];
        if !it.is_on() || it.run.is_some() || world.serves(me) {
            return Vec::new();
        }
        // A cluster manager calls standin where it has put the address just before.
        if self.manager_has_an_address_script && (!it.vip || it.memory.was_active) {
            return Vec::new();
        }
        let view = View::of(world, me, false);
        let fences = self.judge.config(me).fence.is_some();
        let mut plans = Vec::new();
        for waited_out in [false, true].into_iter().filter(|waited_out| fences || !waited_out) {
            if let Ok(plan) = self.judge.takeover(&view, waited_out)
                && (agent::silence_lasts(world, me) || !self.judge.stands_on_silence(plan, &view))
                && !plans.contains(&plan)
                && !self.judge.plan(plan).0.steps.is_empty()
            {
                plans.push(plan);
            }
        }
        plans
    }

    /// A handler remembers that it heard nobody.
    fn handlers_look(&self, world: &mut World) {
        for me in 0..2 {
            let looks = matches!(world.machines[me].handler, Handler::Looks { .. });
            if looks
                && world.machines[me].is_on()
                && self.rules().has(Rule::KnowsItWasCutOff)
                && self.judge.hears_nobody(&View::of(world, me, true))
            {
                world.machines[me].handler = Handler::Looks { was_cut_off: true };
            }
        }
    }

    fn rules(&self) -> &Rules {
        &self.judge.rules
    }

    /// The world after an event.
    pub(crate) fn after(&self, world: &World, event: &Event) -> World {
        let mut next = world.clone();
        match event {
            Event::Fault(me, fault) => {
                next.faults_left -= 1;
                fault.happens(&mut next, *me, &self.judge);
            }
            Event::Killed(me, how) => {
                next.faults_left -= 1;
                steps::kill(&mut next, *me, &self.judge, *how);
            }
            // A cluster manager that was lost is started again by a person.
            Event::PowerOn(me) => next.machines[*me].boot(self.judge.drbd_fences),
            Event::Resume(me) => {
                let it = &mut next.machines[*me];
                it.memory.held |=
                    self.rules().has(Rule::KnowsItWasHeld) && it.power == Power::Paused { long: true };
                it.power = Power::On;
            }
            Event::ClientLinkMended(me) => next.client_cut[*me] = false,
            Event::ReplicationLinkMended => next.replication_cut = false,
            Event::Notices(me) => next.notice_broken_connection(*me, self.judge.drbd_fences),
            Event::Connect => next.shake_hands(),
            Event::ResyncEnds => next.end_resync(),
            Event::HandlerAnswers(me, answer) => {
                if *answer == FenceAnswer::PeerFenced {
                    next.machines[1 - me].lose_power();
                }
                steps::take_answer(&mut next, *me, *answer);
            }
            Event::Writes(me) => next.machines[*me].branch = Branch::Written,
            Event::TakeoverIsAsked(me, plan) => steps::start(&mut next, *me, *plan, Goal::Takeover),
            Event::Step(me) => steps::advance(&mut next, *me, &self.judge),
            Event::Agent(me, deed) => agent::act(&mut next, *me, &self.judge, deed),
            Event::ManagerAddsTheAddress(me) => next.machines[*me].vip = true,
        }
        next.hear();
        self.handlers_look(&mut next);
        next
    }
}

impl Model for Scenario {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::healthy(self.has_manager(), self.budget);
        for me in 0..2 {
            let memory = &mut world.machines[me].memory;
            memory.had_same_data = true;
            (memory.was_active, memory.peer_was_active, memory.was_connected) = (me == 0, me == 1, me == 0);
        }
        vec![world]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if properties::is_broken(self, world) {
            return;
        }
        self.own_motion(world, events);
        for me in 0..2 {
            if world.faults_left > 0 {
                self.faults(world, me, events);
            }
            if self.hands {
                events.extend(self.asked(world, me).into_iter().map(|plan| Event::TakeoverIsAsked(me, plan)));
            }
            if world.can_write_alone(me) {
                events.push(Event::Writes(me));
            }
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        Some(self.after(world, &event))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }

    fn format_action(&self, event: &Event) -> String {
        super::words::of(event, &self.judge)
    }
}
