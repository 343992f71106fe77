//! A takeover or a release on its way: the steps of a shipped plan, each a transition of its own, their undo, and what the
//! journal keeps of them.

use standin::decide::{FenceDecision, FenceRequest, Request};
use standin::failure::Outcome;
use standin::journal::{Entry, Event, past, promoting};
use standin::node::Applied;
use standin::observation::{Connection, Disk, OwnTakeover, Past, Role};
use standin::plan::{Action, Goal, Plan};

use super::judge::{Judge, PlanId};
use super::look::View;
use super::world::{Handler, Mount, Mysqld, World};

/// Every boot of the model; an entry of an earlier one is dropped with the power.
const BOOT: &str = "boot";

/// The steps that a journal can name. One bit each in [`Marks`].
const NAMES: [&str; 11] = [
    "wait-vip-gone",
    "stop-cluster-manager",
    "fence-peer",
    "disconnect-drbd",
    "promote-drbd",
    "mount",
    "audit-engines",
    "start-mysqld",
    "add-vip",
    "verify",
    "reconnect-drbd",
];

/// A [`Past`] in two words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    we_disconnected_drbd: bool,
    begun: u16,
}

impl Marks {
    pub(crate) fn past(self) -> Past {
        let begun = |index: &usize| self.begun & (1 << index) != 0;
        Past {
            we_disconnected_drbd: self.we_disconnected_drbd,
            unfinished_takeover: (0..NAMES.len())
                .filter(begun)
                .map(|index| NAMES[index].to_owned())
                .collect(),
        }
    }

    fn began(self, name: &str) -> bool {
        NAMES.iter().position(|known| *known == name).is_some_and(|index| self.begun & (1 << index) != 0)
    }

    /// What the shipped reading of the journal makes of it when `event` of a run is added.
    fn with(self, goal: Goal, event: Event) -> Self {
        let before = self.past();
        let mut events = vec![begin(Goal::Takeover, Vec::new())];
        if before.we_disconnected_drbd {
            let disconnect = Event::StepStart { step: "disconnect-drbd".to_owned() };
            events.extend([disconnect, begin(Goal::Release, Vec::new()), begin(Goal::Takeover, Vec::new())]);
        }
        events.extend(before.unfinished_takeover.iter().map(|step| Event::StepStart { step: step.clone() }));
        if !before.we_disconnected_drbd {
            events.push(ended("reconnect-drbd"));
        }
        events.extend([begin(goal, Vec::new()), event]);
        let after = past(&entries(events), BOOT);
        let bit = |name: &String| NAMES.iter().position(|known| known == name).map_or(0, |index| 1 << index);
        Self {
            we_disconnected_drbd: after.we_disconnected_drbd,
            begun: after.unfinished_takeover.iter().map(bit).sum(),
        }
    }
}

fn begin(goal: Goal, steps: Vec<standin::plan::Step>) -> Event {
    let plan = Plan { goal, reason: "as decided".to_owned(), warnings: Vec::new(), steps };
    Event::Begin { boot: BOOT.to_owned(), plan, request: Request::default() }
}

fn ended(step: &str) -> Event {
    Event::StepEnd { step: step.to_owned(), seconds: 0.0, applied: Applied::done() }
}

fn entries(events: Vec<Event>) -> Vec<Entry> {
    events.into_iter().map(|event| Entry { at: String::new(), run: 1, event }).collect()
}

/// A plan that is being walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) plan: PlanId,
    /// The step that comes next.
    pub(crate) next: usize,
    /// The steps that a failure takes back, a bit each.
    ours: u16,
    pub(crate) undoing: bool,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Done,
    AlreadySo,
    /// It failed and touched nothing.
    Refused,
    Failed,
}

/// How far a step gets before standin is killed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Killed {
    BeforeItsWork,
    AfterItsWork,
}

/// Starts to walk a plan.
pub(crate) fn start(world: &mut World, me: usize, plan: PlanId, goal: Goal) {
    let it = &mut world.machines[me];
    it.marks = it.marks.with(goal, begin(goal, Vec::new()));
    it.run = Some(Run { plan, next: 0, ours: 0, undoing: false });
}

/// Whether the next step waits for DRBD: a promotion is agreed with the peer, for as long as DRBD believes to be connected.
pub(crate) fn waits(world: &World, me: usize, judge: &Judge) -> bool {
    let it = &world.machines[me];
    let Some(run) = it.run.filter(|run| !run.undoing) else { return false };
    let promotes = |step: &standin::plan::Step| matches!(step.action, Action::PromoteDrbd { .. });
    judge.plan(run.plan).0.steps.get(run.next).is_some_and(promotes)
        && it.role == Role::Secondary
        && world.has_stale_connection(me)
}

/// The next step, or the next undo.
pub(crate) fn advance(world: &mut World, me: usize, judge: &Judge) {
    let Some(run) = world.machines[me].run.filter(|_| !waits(world, me, judge)) else { return };
    let (plan, request) = &*judge.plan(run.plan);
    if run.undoing {
        return take_back(world, me, plan, run);
    }
    let Some(step) = plan.steps.get(run.next) else {
        return finish(world, me, plan.goal, Outcome::Done);
    };
    let name = step.action.name();
    let began_before = world.machines[me].marks.began(name);
    let came = apply(world, me, &step.action, judge, plan, request);
    note_start(world, me, plan.goal, name);
    let mut run = Run { next: run.next + 1, ..run };
    let bit = 1 << (run.next - 1);
    match came {
        Came::Done | Came::AlreadySo => {
            if came == Came::Done || began_before {
                run.ours |= bit;
            }
            let it = &mut world.machines[me];
            it.marks = it.marks.with(plan.goal, ended(name));
            it.run = Some(run);
            if run.next == plan.steps.len() {
                finish(world, me, plan.goal, Outcome::Done);
            }
        }
        // The takeover serves already.
        _ if name == "reconnect-drbd" && plan.goal == Goal::Takeover => {
            finish(world, me, plan.goal, Outcome::Done);
        }
        _ if plan.goal == Goal::Release => finish(world, me, plan.goal, Outcome::Stuck),
        _ => {
            if came == Came::Failed || began_before {
                run.ours |= bit;
            }
            for (index, step) in plan.steps.iter().enumerate().skip(run.next) {
                if world.machines[me].marks.began(step.action.name()) {
                    run.ours |= 1 << index;
                }
            }
            run.undoing = true;
            world.machines[me].run = Some(run);
        }
    }
}

/// standin is killed, in the middle of a step or before it.
pub(crate) fn kill(world: &mut World, me: usize, judge: &Judge, how: Killed) {
    let Some(run) = world.machines[me].run else { return };
    let (plan, request) = &*judge.plan(run.plan);
    let works = how == Killed::AfterItsWork && !run.undoing && !waits(world, me, judge);
    if let Some(step) = plan.steps.get(run.next).filter(|_| works) {
        apply(world, me, &step.action, judge, plan, request);
        note_start(world, me, plan.goal, step.action.name());
    }
    world.machines[me].run = None;
}

fn note_start(world: &mut World, me: usize, goal: Goal, name: &str) {
    let it = &mut world.machines[me];
    it.marks = it.marks.with(goal, Event::StepStart { step: name.to_owned() });
}

fn finish(world: &mut World, me: usize, goal: Goal, outcome: Outcome) {
    let it = &mut world.machines[me];
    it.marks = it.marks.with(goal, Event::End { outcome, seconds: 0.0 });
    it.run = None;
    it.memory.run_ended(goal, outcome);
}

fn take_back(world: &mut World, me: usize, plan: &Plan, mut run: Run) {
    while run.ours != 0 {
        let index = run.ours.ilog2() as usize;
        run.ours &= !(1 << index);
        let Some(undo) = &plan.steps[index].undo else { continue };
        let came = undo_action(world, me, &undo.action);
        if came == Came::Failed {
            finish(world, me, plan.goal, Outcome::Stuck);
            return;
        }
        let it = &mut world.machines[me];
        let (of, step) = (plan.steps[index].action.name().to_owned(), undo.action.name().to_owned());
        let event = Event::UndoEnd { of, step, seconds: 0.0, applied: Applied::done() };
        it.marks = it.marks.with(plan.goal, event);
        it.run = Some(run);
        return;
    }
    finish(world, me, plan.goal, Outcome::Failed);
}

/// What an action that needs no decision does to the world.
fn undo_action(world: &mut World, me: usize, action: &Action) -> Came {
    let it = &mut world.machines[me];
    let stuck = it.frozen || it.disk_hangs;
    match action {
        Action::RemoveVip { .. } => change(&mut it.vip, false),
        Action::StopMysqld { kill_at_deadline, .. } => match it.mysqld {
            Mysqld::No => Came::AlreadySo,
            _ if stuck => Came::Failed,
            Mysqld::Hung if !kill_at_deadline => Came::Failed,
            _ => change(&mut it.mysqld, Mysqld::No),
        },
        Action::Unmount { .. } => match it.mount {
            Mount::No => Came::AlreadySo,
            _ if it.mysqld != Mysqld::No || it.disk_hangs => Came::Failed,
            Mount::Writable if it.frozen => Came::Failed,
            _ => change(&mut it.mount, Mount::No),
        },
        Action::DemoteDrbd { .. } if it.mount != Mount::No => Came::Failed,
        Action::DemoteDrbd { .. } => change(&mut it.role, Role::Secondary),
        Action::ReconnectDrbd { .. } if it.connection == Connection::StandAlone => {
            change(&mut it.connection, Connection::Connecting)
        }
        _ => Came::AlreadySo,
    }
}

fn apply(
    world: &mut World,
    me: usize,
    action: &Action,
    judge: &Judge,
    plan: &Plan,
    request: &Request,
) -> Came {
    let view = View::of(world, me, true);
    match action {
        Action::WaitVipGone { .. } if view.vip_at_peer => Came::Refused,
        Action::WaitVipGone { .. } | Action::AuditEngines { .. } => Came::AlreadySo,
        Action::FencePeer { .. } => {
            world.machines[1 - me].lose_power();
            Came::Done
        }
        // The peer is back.
        Action::DisconnectDrbd { was_connected: false, .. }
            if world.machines[me].connection == Connection::Connected =>
        {
            Came::Refused
        }
        Action::DisconnectDrbd { .. } => disconnect(world, me, judge.drbd_fences),
        Action::PromoteDrbd { command, .. } => {
            let forced = command.iter().any(|word| word == "--force");
            promote(world, me, judge, forced, || own_takeover(plan, request))
        }
        Action::AddVip { .. } if view.vip_at_peer => Came::Refused,
        _ => {
            let it = &mut world.machines[me];
            let stuck = it.frozen || it.disk_hangs;
            match action {
                Action::StopClusterManager { .. } => change(&mut it.manager, false),
                Action::Mount { .. } if it.mount != Mount::No => Came::AlreadySo,
                Action::Mount { .. } if it.role != Role::Primary || stuck => Came::Failed,
                Action::Mount { .. } => change(&mut it.mount, Mount::Writable),
                Action::StartMysqld { .. } if it.mount != Mount::Writable || stuck => Came::Refused,
                Action::StartMysqld { .. } if it.mysqld == Mysqld::Hung => Came::Failed,
                Action::StartMysqld { .. } => change(&mut it.mysqld, Mysqld::Serves),
                Action::AddVip { .. } => change(&mut it.vip, true),
                Action::Verify { .. } if it.can_commit() && it.vip => Came::Done,
                Action::Verify { .. } => Came::Refused,
                _ => undo_action(world, me, action),
            }
        }
    }
}

fn change<T: PartialEq>(what: &mut T, to: T) -> Came {
    let came = if *what == to { Came::AlreadySo } else { Came::Done };
    *what = to;
    came
}

fn disconnect(world: &mut World, me: usize, drbd_fences: bool) -> Came {
    match world.machines[me].connection {
        Connection::StandAlone => return Came::AlreadySo,
        Connection::Connected => world.notice_broken_connection(me, drbd_fences),
        _ => {}
    }
    world.machines[me].connection = Connection::StandAlone;
    Came::Done
}

/// The takeover that promotes now, as the handler reads it in the journal.
fn own_takeover(plan: &Plan, request: &Request) -> Option<OwnTakeover> {
    let mut events = vec![Event::Begin { boot: BOOT.to_owned(), plan: plan.clone(), request: *request }];
    for name in plan.steps.iter().map(|step| step.action.name()) {
        events.push(Event::StepStart { step: name.to_owned() });
        if name == "promote-drbd" {
            break;
        }
        events.push(ended(name));
    }
    promoting(&entries(events), BOOT)
}

/// `drbdadm primary`: cluster-wide while connected; alone, DRBD with fencing asks its handler first.
fn promote(
    world: &mut World,
    me: usize,
    judge: &Judge,
    forced: bool,
    own: impl Fn() -> Option<OwnTakeover>,
) -> Came {
    let it = &world.machines[me];
    if it.role == Role::Primary {
        return Came::AlreadySo;
    }
    if it.connection == Connection::Connected {
        if world.machines[1 - me].role == Role::Primary || it.disk != Disk::UpToDate {
            return Came::Refused;
        }
        world.machines[me].role = Role::Primary;
        return Came::Done;
    }
    if !matches!(it.disk, Disk::UpToDate | Disk::Consistent) {
        return Came::Refused;
    }
    if judge.drbd_fences && !matches!(it.peer_disk, Disk::Outdated | Disk::Inconsistent) {
        let view = View::of(world, me, true);
        let own = own();
        let request = FenceRequest { own: own.as_ref(), ..FenceRequest::default() };
        let answer = match judge.fence_peer(&view, request) {
            FenceDecision::Answer(answer, _) => answer,
            FenceDecision::Fence { .. } => {
                world.machines[1 - me].lose_power();
                standin::decide::FenceAnswer::PeerFenced
            }
            FenceDecision::LookAgain(_) | FenceDecision::Listen(_) => standin::decide::FenceAnswer::NotKnown,
        };
        if !take_answer(world, me, answer) {
            return Came::Refused;
        }
    }
    let it = &mut world.machines[me];
    if it.disk == Disk::Consistent && !forced {
        return Came::Refused;
    }
    it.disk = Disk::UpToDate;
    it.role = Role::Primary;
    it.go_on_alone();
    Came::Done
}

/// What DRBD does with the answer of its handler (`conn_try_outdate_peer`). True when this node may write.
pub(crate) fn take_answer(world: &mut World, me: usize, answer: standin::decide::FenceAnswer) -> bool {
    use standin::decide::FenceAnswer::{NotKnown, PeerDown, PeerFenced, PeerOutdated, PeerPrimary};
    let it = &mut world.machines[me];
    match answer {
        PeerDown if it.disk != Disk::UpToDate => {}
        PeerOutdated | PeerDown | PeerFenced => {
            it.peer_disk = Disk::Outdated;
            if answer == PeerFenced && it.disk == Disk::Consistent {
                it.disk = Disk::UpToDate;
            }
            if it.frozen {
                it.go_on_alone();
            }
            it.handler = Handler::Idle;
            return true;
        }
        // "Peer is primary, outdating myself": refused while the disk is in use.
        PeerPrimary if it.role == Role::Secondary => it.disk = Disk::Outdated,
        PeerPrimary | NotKnown => {}
    }
    if matches!(it.handler, Handler::Looks { .. }) {
        it.handler = Handler::Ended(answer);
    }
    false
}
