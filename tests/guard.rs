//! What an active node does: judged from one look and what is known beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use standin::config::{AutomaticTakeover, ClusterManager, Config};
use standin::decide::{
    Check, Decision, FenceAnswer, Guard, Guarding, Request, ailment, disk_hangs, guard, release,
};
use standin::observation::*;
use standin::plan::{Action, Goal};
use support::{config, seen_by};

fn alone() -> Config {
    let mut config = Config { cluster_manager: ClusterManager::None, ..config() };
    config.agent.takeover = AutomaticTakeover::Automatic;
    config
}

fn active() -> Observation {
    seen_by(0)
}

fn often() -> Guarding {
    Guarding { was_active: true, failures: 3, ..Guarding::default() }
}

fn drbd(observation: &mut Observation) -> &mut Drbd {
    match &mut observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn mysqld(observation: &mut Observation) -> &mut Mysqld {
    match &mut observation.mysqld {
        Fact::Known(mysqld) => mysqld,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn mount(observation: &mut Observation) -> &mut Mount {
    match &mut observation.mount {
        Fact::Known(mount) => mount,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn after(change: impl FnOnce(&mut Observation)) -> Observation {
    let mut observation = active();
    change(&mut observation);
    observation
}

fn gives_up(guard: &Guard) -> bool {
    matches!(guard, Guard::GiveUp(_))
}

#[test]
fn a_node_that_serves_goes_on() {
    assert!(matches!(guard(&active(), &alone(), &Guarding::default()), Guard::Well(_)));
    assert_eq!(ailment(&active(), &alone(), &Guarding::default()), None);
}

#[test]
fn every_ailment_counts_only_when_it_was_seen_often_enough() {
    let read_only = |seen: &mut Observation| mount(seen).at_directory.as_mut().unwrap().read_only = true;
    let ailing: Vec<(&str, Observation)> = vec![
        ("read-only", after(read_only)),
        ("nothing is mounted", after(|seen| mount(seen).at_directory = None)),
        ("not the cluster's", after(|seen| mount(seen).at_directory.as_mut().unwrap().is_our_device = false)),
        ("no mysqld", after(|seen| mysqld(seen).processes.clear())),
        ("virtual IP", after(|seen| seen.vip.here = Fact::Known(None))),
        ("is on eth9", after(|seen| seen.vip.here = Fact::Known(Some("eth9".to_owned())))),
        ("Secondary", after(|seen| drbd(seen).role = Role::Secondary)),
        ("is down", after(|seen| drbd(seen).connection = Connection::Unconfigured)),
    ];
    for (words, seen) in &ailing {
        let wrong = ailment(seen, &alone(), &often()).unwrap_or_else(|| panic!("{words}"));
        assert!(wrong.contains(words), "{wrong}");
        let few = Guarding { failures: 2, ..often() };
        assert!(matches!(guard(seen, &alone(), &few), Guard::Suspicious(_)), "{words}");
        let decided = guard(seen, &alone(), &often());
        assert!(matches!(decided, Guard::GiveUp(_) | Guard::Stay(_)), "{words}: {decided:?}");
    }
    assert!(gives_up(&guard(&ailing[0].1, &alone(), &often())));
    assert!(gives_up(&guard(&ailing[3].1, &alone(), &often())));
}

#[test]
fn checks_that_fail_or_do_not_come_back_count() {
    let with = |change: &dyn Fn(&mut Guarding)| {
        let mut guarding = often();
        change(&mut guarding);
        guard(&active(), &alone(), &guarding)
    };
    let limit = alone().agent.write_limit;
    assert!(gives_up(&with(&|guarding| guarding.write = Check::Failed("EIO".to_owned()))));
    assert!(gives_up(&with(&|guarding| guarding.write = Check::Pending(limit))));
    assert!(!gives_up(&with(&|guarding| guarding.write = Check::Pending(limit / 2))));
    assert!(!gives_up(&with(&|guarding| guarding.write = Check::Warned("full".to_owned()))));
    assert!(gives_up(&with(&|guarding| guarding.query = Check::Pending(Duration::from_secs(5)))));
    assert!(gives_up(&with(&|guarding| guarding.carrier = Check::Failed("no carrier".to_owned()))));
}

#[test]
fn a_write_that_waits_for_the_peer_alone_is_no_reason_to_give_up() {
    let seconds = Duration::from_secs;
    let limit = alone().agent.write_limit;
    let with =
        |pending, waited_for_peer| Guarding { write: Check::Pending(pending), waited_for_peer, ..often() };
    let decided = |guarding: &Guarding| guard(&active(), &alone(), guarding);
    let slow_peer = with(limit * 3, Some(seconds(1)));
    assert!(matches!(decided(&slow_peer), Guard::Stay(why) if why.contains("DRBD waits for")));
    assert!(!disk_hangs(&active(), &alone(), &slow_peer));
    // It was so when the write began, and not any more; or long ago; or never.
    for ours in [with(limit, Some(limit)), with(limit * 3, Some(limit)), with(limit, None)] {
        assert!(gives_up(&decided(&ours)), "{ours:?}");
        assert!(disk_hangs(&active(), &alone(), &ours), "{ours:?}");
    }
    // What else is wrong with this node is no fault of the peer's.
    let gone = after(|seen| mysqld(seen).processes.clear());
    assert!(gives_up(&guard(&gone, &alone(), &slow_peer)));
    let frozen = after(|seen| drbd(seen).io_suspended = true);
    assert!(!disk_hangs(&frozen, &alone(), &with(limit, None)), "DRBD holds it");
    let failed = Guarding { write: Check::Failed("EIO".to_owned()), ..often() };
    assert!(!disk_hangs(&active(), &alone(), &failed), "a disk that fails lets go of what waits for it");
}

#[test]
fn a_server_that_is_given_up_and_stands_still_is_killed() {
    let stop = |request: &Request| {
        let Decision::Plan(plan) = release(&active(), &alone(), request) else { panic!("refused") };
        let stops = plan.steps.into_iter().find_map(|step| match step.action {
            Action::StopMysqld { kill_at_deadline, .. } => Some((kill_at_deadline, step.deadline)),
            _ => None,
        });
        stops.unwrap()
    };
    let after = Duration::from_secs(10);
    assert_eq!(stop(&Request::default()), (false, alone().limits.stop_mysqld));
    assert_eq!(stop(&Request { kill_mysqld_after: Some(after), ..Request::default() }), (true, after));
}

#[test]
fn where_nobody_would_step_in_nothing_is_given_up_or_started() {
    let mut config = alone();
    config.agent.takeover = AutomaticTakeover::Never;
    let gone = after(|seen| mysqld(seen).processes.clear());
    assert!(matches!(guard(&gone, &config, &often()), Guard::Stay(why) if why.contains("not automatic")));
    config.cluster_manager = ClusterManager::Heartbeat(None);
    assert!(gives_up(&guard(&gone, &config, &often())), "Heartbeat decides");
}

#[test]
fn a_full_server_serves_and_one_that_starts_has_its_time() {
    let full = after(|seen| mysqld(seen).answer = MysqldAnswer::Busy);
    assert!(matches!(guard(&full, &alone(), &often()), Guard::Well(_)));
    let starting = after(|seen| mysqld(seen).answer = MysqldAnswer::Silent);
    let since = |starting_for| Guarding { starting_for, ..often() };
    assert!(!gives_up(&guard(&starting, &alone(), &since(Duration::from_secs(100)))));
    assert!(gives_up(&guard(&starting, &alone(), &since(Duration::from_secs(120)))));
    let stalled = after(|seen| mysqld(seen).answer = MysqldAnswer::Stalled("no greeting".to_owned()));
    let since = |stalled_for| Guarding { stalled_for, ..often() };
    assert!(!gives_up(&guard(&stalled, &alone(), &since(Duration::from_secs(4)))));
    assert!(gives_up(&guard(&stalled, &alone(), &since(Duration::from_secs(5)))));
}

#[test]
fn a_node_whose_peer_could_not_step_in_goes_on() {
    let ailing = |change: &dyn Fn(&mut Drbd)| {
        after(|seen| {
            mount(seen).at_directory.as_mut().unwrap().read_only = true;
            change(drbd(seen));
        })
    };
    let cut = ailing(&|drbd| drbd.connection = Connection::Connecting);
    let behind = ailing(&|drbd| drbd.peer_disk = Disk::Inconsistent);
    for seen in [cut, behind] {
        let decided = guard(&seen, &alone(), &often());
        assert!(matches!(&decided, Guard::Stay(why) if why.contains("could not step in")), "{decided:?}");
    }
}

#[test]
fn a_dead_server_without_a_peer_is_started_again_here() {
    let seen = after(|seen| {
        mysqld(seen).processes.clear();
        mysqld(seen).answer = MysqldAnswer::Silent;
        drbd(seen).connection = Connection::Connecting;
    });
    assert!(matches!(guard(&seen, &alone(), &often()), Guard::Mend(_)));
    let broken = Guarding { write: Check::Failed("EROFS".to_owned()), ..often() };
    assert!(matches!(guard(&seen, &alone(), &broken), Guard::Stay(_)), "it would not start");
    let under_heartbeat = guard(&seen, &config(), &often());
    assert!(matches!(under_heartbeat, Guard::Stay(_)), "{under_heartbeat:?}");
}

#[test]
fn who_took_over_a_moment_ago_does_not_give_back() {
    let seen = after(|seen| mount(seen).at_directory.as_mut().unwrap().read_only = true);
    let since = |seconds| Guarding { since_takeover: Some(Duration::from_secs(seconds)), ..often() };
    assert!(matches!(guard(&seen, &alone(), &since(30)), Guard::Stay(why) if why.contains("flap")));
    assert!(gives_up(&guard(&seen, &alone(), &since(600))));
}

#[test]
fn a_pause_and_pacemaker_keep_the_agent_from_acting() {
    let seen = after(|seen| mount(seen).at_directory.as_mut().unwrap().read_only = true);
    let paused = Guarding { paused: Some("paused until noon".to_owned()), ..often() };
    assert!(matches!(guard(&seen, &alone(), &paused), Guard::Stay(_)));
    let pacemaker = Config { cluster_manager: ClusterManager::Pacemaker, ..config() };
    assert!(matches!(guard(&seen, &pacemaker, &often()), Guard::Stay(_)));
}

#[test]
fn frozen_io_is_waited_out_until_the_handler_says_that_the_peer_is_active() {
    let frozen = after(|seen| {
        drbd(seen).io_suspended = true;
        drbd(seen).connection = Connection::Connecting;
        mysqld(seen).answer = MysqldAnswer::Stalled("no greeting".to_owned());
    });
    let asked = |fence_answer| Guarding {
        fence_answer,
        write: Check::Pending(Duration::from_secs(60)),
        stalled_for: Duration::from_secs(60),
        ..often()
    };
    assert!(matches!(guard(&frozen, &alone(), &asked(None)), Guard::Suspicious(_)));
    let told = guard(&frozen, &alone(), &asked(Some(FenceAnswer::PeerPrimary)));
    assert!(matches!(told, Guard::StepDown(_)), "{told:?}");
    let by_its_agent = guard(&frozen, &alone(), &Guarding { peer_holds: true, ..asked(None) });
    assert!(matches!(by_its_agent, Guard::StepDown(_)), "{by_its_agent:?}");
    let writes = guard(&active(), &alone(), &Guarding { peer_holds: true, ..often() });
    assert!(matches!(writes, Guard::Well(_)), "only a node that can't write steps down: {writes:?}");
}

#[test]
fn what_a_person_holds_by_hand_is_left_alone() {
    let by_hand = after(|seen| {
        mysqld(seen).processes.clear();
        seen.vip.here = Fact::Known(None);
    });
    let never_active = Guarding { was_active: false, ..often() };
    assert!(matches!(guard(&by_hand, &alone(), &never_active), Guard::NotActive(_)));
    assert!(matches!(guard(&seen_by(1), &alone(), &never_active), Guard::NotActive(_)));
}

#[test]
fn nothing_is_done_beside_a_run() {
    let seen = after(|seen| seen.vip.here = Fact::Known(None));
    let running = Guarding { running: Some(Goal::Release), ..often() };
    assert!(matches!(guard(&seen, &alone(), &running), Guard::Well(_)));
}
