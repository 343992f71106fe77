//! Every step of a takeover and a release × every way in which it can go wrong, on two simulated nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standin::config::Config;
use standin::decide::{self, Decision, Request};
use standin::execute::{Ended, Executor};
use standin::failure::Outcome;
use standin::journal::{self, Event};
use standin::node::Node;
use standin::node::simulated::{Fault, SimulatedNode, World};
use standin::plan::{Action, Goal, Plan};
use support::{Kill, Killed, MemoryJournal, Silent, config, impatient};

const FAULTS: [Fault; 4] = [Fault::Fails, Fault::FailsAfterDoing, Fault::Hangs, Fault::HangsAfterDoing];

/// One observe, decide, execute on node 1, as the command line does it. `None`: killed.
fn operate(
    world: &Arc<Mutex<World>>,
    config: &Config,
    goal: Goal,
    journal: &MemoryJournal,
    kill: Option<Kill>,
) -> Option<(Plan, Ended)> {
    let past = journal::past(&journal.entries.lock().unwrap(), &journal::boot_id());
    world.lock().unwrap().machines[1].past = past.clone();
    let node = Arc::new(SimulatedNode::new(Arc::clone(world), 1, config.clone()));
    let request = Request::default();
    let decision = match goal {
        Goal::Takeover => decide::takeover(&node.observe(), config, &request),
        Goal::Release => decide::release(&node.observe(), config, &request),
        other => unreachable!("{other} has tests of its own"),
    };
    let Decision::Plan(plan) = decision else { panic!("refused: {decision:?}") };
    let mut journal = journal.next_run(kill);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        Executor::new(node, &mut journal, Arc::new(Silent), Arc::new(AtomicBool::new(false)))
            .grace(Duration::from_millis(150))
            .run(&plan, request, &past)
    }));
    world.lock().unwrap().machines[1].past = Default::default();
    match ended {
        Ok(ended) => Some((plan, ended)),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

fn peer_lost() -> Arc<Mutex<World>> {
    let mut world = World::new();
    world.power_cut(0);
    Arc::new(Mutex::new(world))
}

fn node_1_active() -> Arc<Mutex<World>> {
    let mut world = World::new();
    world.machines.swap(0, 1);
    Arc::new(Mutex::new(world))
}

fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        if !info.payload().is::<Killed>() {
            eprintln!("{info}");
        }
    }));
}

fn undisturbed(world: &Arc<Mutex<World>>, goal: Goal) -> (World, Plan, Vec<Event>) {
    let journal = MemoryJournal::default();
    let (plan, ended) = operate(world, &config(), goal, &journal, None).unwrap();
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    let world = world.lock().unwrap().clone();
    (world, plan, journal.events())
}

#[test]
fn a_takeover_makes_the_standby_serve_and_a_second_one_changes_nothing() {
    let world = peer_lost();
    undisturbed(&world, Goal::Takeover);
    assert!(world.lock().unwrap().machines[1].serves());
    let changes = world.lock().unwrap().changes.clone();
    let (plan, ended) = operate(&world, &config(), Goal::Takeover, &MemoryJournal::default(), None).unwrap();
    assert_eq!((ended.outcome, plan.steps.len()), (Outcome::Done, 0));
    assert_eq!(world.lock().unwrap().changes, changes);
}

#[test]
fn the_virtual_ip_comes_last_and_goes_first() {
    let world = peer_lost();
    undisturbed(&world, Goal::Takeover);
    let changes = world.lock().unwrap().changes.clone();
    assert_eq!(
        changes,
        [
            "1:stop-cluster-manager",
            "1:disconnect-drbd",
            "1:promote-drbd",
            "1:mount",
            "1:start-mysqld",
            "1:add-vip",
            "1:reconnect-drbd"
        ]
    );
    let world = node_1_active();
    undisturbed(&world, Goal::Release);
    let changes = world.lock().unwrap().changes.clone();
    assert_eq!(changes, ["1:remove-vip", "1:stop-mysqld", "1:unmount", "1:demote-drbd"]);
}

#[test]
fn the_journal_names_the_steps_of_the_plan_in_its_order() {
    for (world, goal) in [(peer_lost(), Goal::Takeover), (node_1_active(), Goal::Release)] {
        let (_, plan, events) = undisturbed(&world, goal);
        let started = events.iter().filter_map(|event| match event {
            Event::StepStart { step } => Some(step.as_str()),
            _ => None,
        });
        assert!(started.eq(plan.steps.iter().map(|step| step.action.name())));
        assert!(matches!(&events[0], Event::Begin { plan: journalled, .. } if *journalled == plan));
    }
}

#[test]
fn a_takeover_that_fails_anywhere_is_undone() {
    let plan = undisturbed(&peer_lost(), Goal::Takeover).1;
    for step in plan.steps.iter().map(|step| step.action.name()) {
        for fault in FAULTS {
            let world = peer_lost();
            let before = world.lock().unwrap().machines[1].clone();
            world.lock().unwrap().faults[1].insert(step, fault);
            let (_, ended) =
                operate(&world, &impatient(config()), Goal::Takeover, &MemoryJournal::default(), None)
                    .unwrap();
            let after = world.lock().unwrap().machines[1].clone();
            if step == "reconnect-drbd" {
                assert_eq!(ended.outcome, Outcome::Done, "{step} {fault:?}");
                assert!(after.serves(), "{step} {fault:?}");
                continue;
            }
            assert_eq!(ended.outcome, Outcome::Failed, "{step} {fault:?}: {ended:?}");
            assert_eq!(ended.failed.as_ref().map(|(name, _)| *name), Some(step));
            // Heartbeat stays out of the way, and a dead peer is known to be dead.
            let undone = standin::node::simulated::Machine {
                heartbeat: after.heartbeat,
                connection: after.connection,
                peer_role: after.peer_role,
                ..before
            };
            assert_eq!(after, undone, "{step} {fault:?}");
            assert_ne!(after.connection, standin::observation::Connection::StandAlone, "{step} {fault:?}");
        }
    }
}

#[test]
fn an_undo_that_fails_is_stuck_and_names_the_commands() {
    let plan = undisturbed(&peer_lost(), Goal::Takeover).1;
    let mut cases = 0;
    for (index, failing) in plan.steps.iter().enumerate() {
        if matches!(failing.action, Action::ReconnectDrbd { .. }) {
            continue;
        }
        for step in &plan.steps[..=index] {
            let Some(undo) = &step.undo else { continue };
            for fault in [Fault::Fails, Fault::Hangs] {
                let world = peer_lost();
                {
                    let mut world = world.lock().unwrap();
                    world.faults[1].insert(failing.action.name(), Fault::FailsAfterDoing);
                    world.faults[1].insert(undo.action.name(), fault);
                }
                let (plan, ended) =
                    operate(&world, &impatient(config()), Goal::Takeover, &MemoryJournal::default(), None)
                        .unwrap();
                let case = format!("{} fails, {} {fault:?}", failing.action.name(), undo.action.name());
                assert_eq!(ended.outcome, Outcome::Stuck, "{case}");
                let left = plan
                    .steps
                    .iter()
                    .take_while(|other| other.action.name() != step.action.name())
                    .chain([step]);
                let expected: Vec<String> = left.filter_map(|step| step.undo.as_ref()).rev_commands();
                assert_eq!(ended.commands, expected, "{case}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 20, "{cases}");
}

trait ReverseCommands {
    fn rev_commands(self) -> Vec<String>;
}

impl<'a, I: Iterator<Item = &'a standin::plan::Undo>> ReverseCommands for I {
    fn rev_commands(self) -> Vec<String> {
        let mut undos: Vec<_> = self.collect();
        undos.reverse();
        undos.into_iter().flat_map(|undo| undo.action.commands()).collect()
    }
}

#[test]
fn a_release_that_fails_is_stuck_and_names_what_is_left() {
    let plan = undisturbed(&node_1_active(), Goal::Release).1;
    for (index, step) in plan.steps.iter().enumerate() {
        for fault in FAULTS {
            let world = node_1_active();
            world.lock().unwrap().faults[1].insert(step.action.name(), fault);
            let journal = MemoryJournal::default();
            let (_, ended) = operate(&world, &impatient(config()), Goal::Release, &journal, None).unwrap();
            assert_eq!(ended.outcome, Outcome::Stuck);
            let left: Vec<String> =
                plan.steps[index..].iter().flat_map(|step| step.action.commands()).collect();
            assert_eq!(ended.commands, left);
            world.lock().unwrap().faults[1].clear();
            let again = operate(&world, &config(), Goal::Release, &journal, None).unwrap();
            assert_eq!(again.1.outcome, Outcome::Done, "a rerun once the cause is gone ends it");
        }
    }
}

#[test]
fn a_kill_at_any_journal_entry_and_a_rerun_end_in_the_same_state() {
    silence_panics();
    for (start, goal) in [(peer_lost as fn() -> _, Goal::Takeover), (node_1_active, Goal::Release)] {
        let (expected, _, events) = undisturbed(&start(), goal);
        for entry in 0..events.len() {
            for kill in [Kill::Before(entry), Kill::After(entry)] {
                let world = start();
                let journal = MemoryJournal::default();
                assert!(operate(&world, &config(), goal, &journal, Some(kill)).is_none(), "{kill:?}");
                let (_, ended) = operate(&world, &config(), goal, &journal, None).unwrap();
                assert_eq!(ended.outcome, Outcome::Done, "{goal} {kill:?}");
                assert_eq!(world.lock().unwrap().machines, expected.machines, "{goal} {kill:?}");
                assert_eq!(world.lock().unwrap().changes, expected.changes, "{goal} {kill:?}");
            }
        }
    }
}

#[test]
fn a_rerun_that_fails_takes_back_what_the_killed_run_had_done() {
    silence_panics();
    let events = undisturbed(&peer_lost(), Goal::Takeover).2;
    let after_mount = events
        .iter()
        .position(|event| matches!(event, Event::StepEnd { step, .. } if step == "mount"))
        .unwrap();
    let world = peer_lost();
    let journal = MemoryJournal::default();
    assert!(operate(&world, &config(), Goal::Takeover, &journal, Some(Kill::After(after_mount))).is_none());
    assert!(world.lock().unwrap().machines[1].mounted);
    world.lock().unwrap().faults[1].insert("start-mysqld", Fault::Fails);
    let (_, ended) = operate(&world, &config(), Goal::Takeover, &journal, None).unwrap();
    assert_eq!(ended.outcome, Outcome::Failed);
    let world = world.lock().unwrap();
    assert!(!world.machines[1].mounted);
    assert_eq!(world.machines[1].role, standin::observation::Role::Secondary);
}

#[test]
fn mostly_myisam_is_refused_and_undone() {
    let world = peer_lost();
    world.lock().unwrap().machines[1].mostly_myisam = true;
    let (_, ended) = operate(&world, &config(), Goal::Takeover, &MemoryJournal::default(), None).unwrap();
    assert_eq!(ended.outcome, Outcome::Refused);
    let world = world.lock().unwrap();
    assert!(!world.machines[1].mounted);
    assert_eq!(world.machines[1].role, standin::observation::Role::Secondary);
}

#[test]
fn an_interrupt_in_the_middle_undoes_the_takeover() {
    let world = peer_lost();
    world.lock().unwrap().faults[1].insert("start-mysqld", Fault::Hangs);
    let config = config();
    let node = Arc::new(SimulatedNode::new(Arc::clone(&world), 1, config.clone()));
    let Decision::Plan(plan) = decide::takeover(&node.observe(), &config, &Request::default()) else {
        panic!("refused")
    };
    let interrupted = Arc::new(AtomicBool::new(true));
    let mut journal = MemoryJournal::default();
    let ended = Executor::new(node, &mut journal, Arc::new(Silent), interrupted)
        .grace(Duration::from_millis(30))
        .run(&plan, Request::default(), &Default::default());
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(world.lock().unwrap().changes.is_empty());
}

#[test]
fn a_rerun_that_fails_early_takes_back_what_the_killed_run_had_reached() {
    silence_panics();
    let (_, plan, events) = undisturbed(&peer_lost(), Goal::Takeover);
    let after_vip = events
        .iter()
        .position(|event| matches!(event, Event::StepEnd { step, .. } if step == "add-vip"))
        .unwrap();
    for step in plan.steps.iter().map(|step| step.action.name()).take_while(|name| *name != "reconnect-drbd")
    {
        let world = peer_lost();
        let journal = MemoryJournal::default();
        assert!(operate(&world, &config(), Goal::Takeover, &journal, Some(Kill::After(after_vip))).is_none());
        assert!(world.lock().unwrap().machines[1].serves());
        world.lock().unwrap().faults[1].insert(step, Fault::Fails);
        let (_, ended) = operate(&world, &config(), Goal::Takeover, &journal, None).unwrap();
        assert_eq!(ended.outcome, Outcome::Failed, "{step}");
        let world = world.lock().unwrap();
        let machine = &world.machines[1];
        assert!(!machine.vip && !machine.mysqld && !machine.mounted, "{step}: {machine:?}");
        assert_eq!(machine.role, standin::observation::Role::Secondary, "{step}");
    }
}

#[test]
fn an_interrupt_before_a_step_takes_back_nothing_that_was_so_before() {
    let world = node_1_active();
    world.lock().unwrap().machines[1].vip = false;
    let before = world.lock().unwrap().machines.clone();
    let config = config();
    let node = Arc::new(SimulatedNode::new(Arc::clone(&world), 1, config.clone()));
    let Decision::Plan(plan) = decide::takeover(&node.observe(), &config, &Request::default()) else {
        panic!("refused")
    };
    for step in ["promote-drbd", "mount", "start-mysqld", "add-vip"] {
        let from = plan.steps.iter().position(|other| other.action.name() == step).unwrap();
        let rest = Plan { steps: plan.steps[from..].to_vec(), ..plan.clone() };
        let interrupted = Arc::new(AtomicBool::new(true));
        let mut journal = MemoryJournal::default();
        let ended = Executor::new(node.clone(), &mut journal, Arc::new(Silent), interrupted).run(
            &rest,
            Request::default(),
            &Default::default(),
        );
        assert_eq!(ended.outcome, Outcome::Failed);
        assert_eq!(world.lock().unwrap().machines, before, "{step}");
    }
}
