//! A switchover: when it is refused, what it does, and that every fault and every kill on its way ends with one node that
//! serves, or with the word that a person is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standin::config::{ClusterManager, Config};
use standin::decide::{self, AgentReadiness, PeerReadiness, RefusalKind, Switching, Switchover};
use standin::execute::{Ended, Executor};
use standin::failure::Outcome;
use standin::journal;
use standin::node::Node;
use standin::node::simulated::{Fault, Machine, SimulatedNode, World};
use standin::observation::*;
use standin::plan::{Action, DirtyPagesLimits, HandOverBy, Plan};
use support::{Kill, Killed, MemoryJournal, Silent, impatient};

const FAULTS: [Fault; 4] = [Fault::Fails, Fault::FailsAfterDoing, Fault::Hangs, Fault::HangsAfterDoing];

fn config() -> Config {
    let mut config = support::config();
    config.cluster_manager = ClusterManager::None;
    config.mysqld.credentials = Some("/etc/standin/orders.cnf".into());
    config
}

fn switching() -> Switching {
    Switching {
        peer: PeerReadiness::Ready { address: Ipv4Addr::new(10, 77, 1, 1) },
        peer_agent: AgentReadiness::TakesNothingOver,
        takeover_there: ["standin", "--config", "/etc/standin/orders.yaml", "takeover"]
            .map(str::to_owned)
            .to_vec(),
        paused: None,
        dirty_pages: Some(Fact::Known(DirtyPagesLimits {
            max: "90".to_owned(),
            low_water_mark: "10".to_owned(),
        })),
        flush: Duration::from_millis(30),
        hand_over: Duration::from_millis(30),
        pacemaker_move: Fact::Unknown("there is none".to_owned()),
        unfinished: false,
    }
}

/// Node 1, from which everything is decided here, serves.
fn serving() -> World {
    World { machines: [Machine::standby(), Machine::active()].map(no_manager), ..World::new() }
}

fn no_manager(machine: Machine) -> Machine {
    Machine { heartbeat: false, ..machine }
}

fn seen(change: impl FnOnce(&mut World)) -> Observation {
    let mut world = serving();
    change(&mut world);
    SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config()).observe()
}

fn drbd(observation: &mut Observation) -> &mut Drbd {
    match &mut observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn planned(observation: &Observation, config: &Config, switching: &Switching) -> Switchover {
    decide::switchover(observation, config, switching).unwrap_or_else(|refusal| panic!("{refusal}"))
}

fn refused(observation: &Observation, switching: &Switching) -> (RefusalKind, String) {
    let refusal = decide::switchover(observation, &config(), switching).unwrap_err();
    assert!(!refusal.why.is_empty() && !refusal.next.is_empty());
    (refusal.kind, refusal.reason)
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.action.name()).collect()
}

fn by(switchover: &Switchover) -> &HandOverBy {
    match &switchover.hand_over.steps[0].action {
        Action::HandOver { by, .. } => by,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_pages_are_written_before_the_address_goes_and_all_but_the_demotion_can_be_taken_back() {
    let switchover = planned(&seen(|_| ()), &config(), &switching());
    assert_eq!(
        names(&switchover.give_up),
        ["flush-dirty-pages", "remove-vip", "stop-mysqld", "unmount", "demote-drbd"]
    );
    assert_eq!(names(&switchover.hand_over), ["hand-over"]);
    let undos: Vec<&str> = switchover
        .give_up
        .steps
        .iter()
        .map(|step| step.undo.as_ref().map_or("", |undo| undo.action.name()))
        .collect();
    assert_eq!(undos, ["restore-dirty-pages", "add-vip", "start-mysqld", "mount", ""]);
    let shown = switchover.give_up.to_string();
    assert!(
        shown.contains("innodb_max_dirty_pages_pct=0") && shown.contains("innodb_max_dirty_pages_pct=90"),
        "{shown}"
    );
    assert!(
        switchover
            .hand_over
            .to_string()
            .contains("ssh 10.77.1.1 standin --config /etc/standin/orders.yaml takeover")
    );
}

#[test]
fn a_peer_that_could_not_take_over_at_once_is_a_refusal() {
    use RefusalKind::{NotActive, PeerNotReady};
    let with = |change: &dyn Fn(&mut Drbd)| {
        let mut observation = seen(|_| ());
        change(drbd(&mut observation));
        refused(&observation, &switching()).0
    };
    assert_eq!(with(&|drbd| drbd.peer_disk = Disk::Inconsistent), PeerNotReady);
    assert_eq!(with(&|drbd| drbd.disk = Disk::Inconsistent), PeerNotReady);
    assert_eq!(with(&|drbd| drbd.connection = Connection::Connecting), PeerNotReady);
    assert_eq!(with(&|drbd| drbd.replication = Replication::Other), PeerNotReady);
    assert_eq!(with(&|drbd| drbd.io_suspended = true), NotActive);
    // Connected by DRBD's word, and silent: a link that was cut a moment ago.
    let mut silent = seen(|_| ());
    silent.peer.addresses[0].answer = Fact::Known(None);
    assert_eq!(refused(&silent, &switching()).0, PeerNotReady);
    let says_no = Switching { peer: PeerReadiness::NotReady("its disk is full".to_owned()), ..switching() };
    let (kind, reason) = refused(&seen(|_| ()), &says_no);
    assert!(kind == PeerNotReady && reason.contains("its disk is full"), "{reason}");

    assert_eq!(refused(&seen(|world| world.machines.swap(0, 1)), &switching()).0, NotActive);
    assert_eq!(refused(&seen(|world| world.machines[1].mysqld = false), &switching()).0, NotActive);
}

#[test]
fn a_peer_that_does_not_hear_this_node_is_refused_unless_this_node_is_cut_off() {
    let deaf =
        Switching { peer: PeerReadiness::Deaf { address: Ipv4Addr::new(10, 77, 1, 1) }, ..switching() };
    let witness = |answer| {
        let mut observation = seen(|_| ());
        let address = Ipv4Addr::new(10, 77, 0, 254);
        observation.witnesses = vec![AddressProbe { address, answer: Fact::Known(answer) }];
        observation
    };
    let answers = Some(Answer { icmp: true, arp: None });
    for observation in [seen(|_| ()), witness(answers)] {
        let (kind, reason) = refused(&observation, &deaf);
        assert!(
            kind == RefusalKind::PeerNotReady && reason.contains("does not hear the virtual IP"),
            "{reason}"
        );
    }
    let switchover = planned(&witness(None), &config(), &deaf);
    assert!(matches!(by(&switchover), HandOverBy::Ssh { .. }));
    assert!(switchover.give_up.warnings[0].contains("node2 that is cut off"), "{}", switchover.give_up);
}

#[test]
fn without_an_account_or_its_privilege_it_goes_on_without_the_flush() {
    let unknown = Switching { dirty_pages: Some(Fact::Unknown("it is full".to_owned())), ..switching() };
    let unwanted = Switching { dirty_pages: None, ..switching() };
    let mut without = config();
    without.mysqld.credentials = None;
    for (config, switching, warned) in [
        (&config(), unknown, Some("it is full")),
        (&config(), unwanted, None),
        (&without, switching(), Some("credentials")),
    ] {
        let plan = planned(&seen(|_| ()), config, &switching).give_up;
        assert_eq!(names(&plan)[0], "remove-vip");
        assert_eq!(
            plan.warnings.iter().any(|line| line.contains(warned.unwrap_or("dirty"))),
            warned.is_some()
        );
    }
}

#[test]
fn who_makes_the_peer_take_over() {
    let agent = Switching {
        peer: PeerReadiness::NotAsked("no key".to_owned()),
        peer_agent: AgentReadiness::TakesOver,
        ..switching()
    };
    assert_eq!(by(&planned(&seen(|_| ()), &config(), &agent)), &HandOverBy::Agent);
    // A paused agent does not.
    let paused = Switching { paused: Some("paused".to_owned()), ..agent.clone() };
    let switchover = planned(&seen(|_| ()), &config(), &paused);
    assert!(matches!(by(&switchover), HandOverBy::Person { .. }));
    assert!(switchover.give_up.warnings[0].contains("somebody must type there"));
    // Nor does one that gave its node up a moment ago; what ends that is said.
    for (readiness, told) in [
        (AgentReadiness::HoldsBack("on node1: standin acknowledge".to_owned()), "standin acknowledge"),
        (AgentReadiness::NotAsked("nobody listens".to_owned()), "nobody listens"),
        (AgentReadiness::TakesNothingOver, "no agent there takes over by itself"),
    ] {
        let switching = Switching { peer_agent: readiness, ..agent.clone() };
        let switchover = planned(&seen(|_| ()), &config(), &switching);
        assert!(matches!(by(&switchover), HandOverBy::Person { .. }), "{told}");
        let warning = &switchover.give_up.warnings[0];
        assert!(warning.contains(told) && warning.contains("somebody must type there"), "{warning}");
    }

    let managed = |manager| {
        let config = Config { cluster_manager: manager, ..config() };
        let observation = seen(|world| world.machines[1].heartbeat = true);
        let commands = (
            vec!["crm_resource".to_owned(), "--move".to_owned()],
            vec!["crm_resource".to_owned(), "--clear".to_owned()],
        );
        let switching = Switching { pacemaker_move: Fact::Known(commands), ..switching() };
        planned(&observation, &config, &switching)
    };
    for (manager, word) in [
        (ClusterManager::Heartbeat(None), "hb_standby"),
        (ClusterManager::Keepalived, "keepalived.service"),
        (ClusterManager::Pacemaker, "--clear"),
    ] {
        let switchover = managed(manager);
        // The manager gives up by its own means: here it is only prepared.
        assert_eq!(names(&switchover.give_up), ["flush-dirty-pages"]);
        // What takes a constraint out has its time however long the move took.
        let more = if manager == ClusterManager::Pacemaker { HandOverBy::CLEAN_UP } else { Duration::ZERO };
        assert_eq!(switchover.hand_over.steps[0].deadline, switching().hand_over + more);
        assert!(switchover.hand_over.to_string().contains(word), "{}", switchover.hand_over);
    }
}

/// Observe, decide and the first half, as the command line does it. `None`: killed.
fn give_up(world: &Arc<Mutex<World>>, journal: &MemoryJournal, kill: Option<Kill>) -> Option<Ended> {
    let unfinished = journal::unfinished_switchover(&journal.entries.lock().unwrap(), &journal::boot_id());
    let config = impatient(config());
    let node = Arc::new(SimulatedNode::new(Arc::clone(world), 1, config.clone()));
    let switching = Switching { unfinished: unfinished.is_some(), ..switching() };
    let switchover = planned(&node.observe(), &config, &switching);
    let begun = unfinished.map(|unfinished| unfinished.steps).unwrap_or_default();
    let past = Past { unfinished_takeover: begun, ..Past::default() };
    let mut journal = journal.next_run(kill);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        Executor::new(node, &mut journal, Arc::new(Silent), Arc::new(AtomicBool::new(false)))
            .grace(Duration::from_millis(150))
            .run(&switchover.give_up, decide::Request::default(), &past)
    }));
    match ended {
        Ok(ended) => Some(ended),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

fn holds_nothing(machine: &Machine) -> bool {
    machine.role == Role::Secondary && !machine.mounted && !machine.mysqld && !machine.vip
}

#[test]
fn a_fault_in_any_step_ends_with_service_here_or_with_a_person() {
    for step in ["flush-dirty-pages", "remove-vip", "stop-mysqld", "unmount", "demote-drbd"] {
        for fault in FAULTS {
            let world = Arc::new(Mutex::new(serving()));
            world.lock().unwrap().faults[1].insert(step, fault);
            let ended = give_up(&world, &MemoryJournal::default(), None).unwrap();
            let machine = world.lock().unwrap().machines[1].clone();
            match ended.outcome {
                Outcome::Failed => assert!(machine.serves(), "{step} {fault:?}: {machine:?}"),
                // A demotion that has happened is not taken back blindly: the peer may be Primary by now.
                Outcome::Stuck => {
                    assert!(step == "demote-drbd" && machine.role == Role::Secondary, "{step} {fault:?}");
                    assert!(!ended.commands.is_empty());
                }
                other => panic!("{step} {fault:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_rerun_after_a_kill_at_any_point_gives_everything_up() {
    let whole = MemoryJournal::default();
    give_up(&Arc::new(Mutex::new(serving())), &whole, None).unwrap();
    let entries = whole.events().len();
    assert!(entries > 10, "{entries}");
    for kill in (0..entries).flat_map(|entry| [Kill::Before(entry), Kill::After(entry)]) {
        let world = Arc::new(Mutex::new(serving()));
        let journal = MemoryJournal::default();
        assert!(give_up(&world, &journal, Some(kill)).is_none(), "{kill:?}");
        if holds_nothing(&world.lock().unwrap().machines[1]) && kill == Kill::After(entries - 1) {
            // It had ended: there is nothing to go on with.
            continue;
        }
        let ended = give_up(&world, &journal, None).unwrap();
        assert_eq!(ended.outcome, Outcome::Done, "{kill:?}: {ended:?}");
        assert!(holds_nothing(&world.lock().unwrap().machines[1]), "{kill:?}");
    }
}

#[test]
fn a_rerun_that_fails_takes_back_what_the_killed_one_did() {
    let world = Arc::new(Mutex::new(serving()));
    let journal = MemoryJournal::default();
    // Killed as soon as mysqld was stopped.
    let whole = MemoryJournal::default();
    give_up(&Arc::new(Mutex::new(serving())), &whole, None).unwrap();
    let stopped = whole
        .events()
        .iter()
        .position(|event| matches!(event, journal::Event::StepEnd { step, .. } if step == "stop-mysqld"));
    assert!(give_up(&world, &journal, Some(Kill::After(stopped.unwrap()))).is_none());
    assert!(!world.lock().unwrap().machines[1].serves());
    world.lock().unwrap().faults[1].insert("unmount", Fault::Fails);
    let ended = give_up(&world, &journal, None).unwrap();
    assert_eq!(ended.outcome, Outcome::Failed, "{ended:?}");
    assert!(world.lock().unwrap().machines[1].serves());
}
