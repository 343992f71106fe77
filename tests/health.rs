//! Whether a node is fit for its role: what keepalived, load balancers and monitoring act on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use standin::config::Config;
use standin::decide::{FenceAnswer, Health, Now, fitness, serves};
use standin::observation::*;
use standin::plan::Goal;
use support::{config, seen_by};

type Change = fn(&mut Observation);

fn active() -> Observation {
    seen_by(0)
}

fn standby() -> Observation {
    seen_by(1)
}

fn known<T>(fact: &mut Fact<T>) -> &mut T {
    match fact {
        Fact::Known(value) => value,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn after(mut observation: Observation, change: Change) -> Observation {
    change(&mut observation);
    observation
}

fn name(health: &Health) -> &'static str {
    match health {
        Health::Good(_) => "good",
        Health::Degraded(_) => "degraded",
        Health::Bad(_) => "bad",
    }
}

fn judged(observation: &Observation, now: &Now) -> &'static str {
    name(&fitness(observation, &config(), now))
}

fn quiet() -> Now {
    Now::default()
}

#[test]
fn a_standby_is_unfit_for_whatever_would_refuse_a_takeover() {
    let cases: [(Change, &str, &str); 13] = [
        (|_| (), "good", "could take over"),
        (|seen| known(&mut seen.drbd).connection = Connection::Connecting, "degraded", "not connected"),
        (|seen| known(&mut seen.drbd).connection = Connection::Unconfigured, "bad", "not configured"),
        (|seen| known(&mut seen.drbd).connection = Connection::StandAlone, "bad", "StandAlone"),
        (|seen| known(&mut seen.drbd).disk = Disk::Consistent, "bad", "Consistent"),
        (|seen| known(&mut seen.drbd).disk = Disk::Outdated, "bad", "Outdated"),
        (|seen| known(&mut seen.drbd).disk = Disk::Inconsistent, "bad", "Inconsistent"),
        (|seen| known(&mut seen.drbd).disk = Disk::Diskless, "bad", "Diskless"),
        (|seen| known(&mut seen.drbd).replication = Replication::SyncTarget, "bad", "resync"),
        (|seen| known(&mut seen.drbd).io_suspended = true, "bad", "holds back"),
        (
            |seen| {
                known(&mut seen.mount).at_directory = Some(Mounted {
                    source: "/dev/sdb1".to_owned(),
                    is_our_device: false,
                    filesystem: "ext4".to_owned(),
                    read_only: false,
                });
            },
            "bad",
            "/dev/sdb1",
        ),
        (
            |seen| {
                let mut process = known(&mut active().mysqld).processes[0].clone();
                process.on_our_device = false;
                known(&mut seen.mysqld).processes.push(process);
            },
            "bad",
            "which is not on /dev/drbd0",
        ),
        (|seen| seen.drbd = Fact::Unknown("no module".to_owned()), "bad", "no module"),
    ];
    for (change, expected, named) in cases {
        let health = fitness(&after(standby(), change), &config(), &quiet());
        assert_eq!(name(&health), expected, "{health:?}");
        assert!(health.sentence().contains(named), "{named}: {health:?}");
    }
}

#[test]
fn a_disconnect_of_our_own_and_a_fence_command_make_a_standby_fit_again() {
    let alone = after(standby(), |seen| {
        known(&mut seen.drbd).connection = Connection::StandAlone;
        seen.past.we_disconnected_drbd = true;
    });
    assert_eq!(judged(&alone, &quiet()), "degraded");
    let consistent = after(standby(), |seen| known(&mut seen.drbd).disk = Disk::Consistent);
    let fencing = Config { fence: Some(vec!["/bin/fence".to_owned()]), ..config() };
    assert_eq!(name(&fitness(&consistent, &fencing, &quiet())), "good");
}

#[test]
fn an_active_node_is_fit_while_it_serves() {
    let cases: [(Change, &str); 9] = [
        (|_| (), "good"),
        (|seen| known(&mut seen.mysqld).answer = MysqldAnswer::Busy, "good"),
        (|seen| known(&mut seen.drbd).connection = Connection::Connecting, "degraded"),
        (|seen| known(&mut seen.drbd).peer_disk = Disk::Inconsistent, "degraded"),
        (|seen| known(&mut seen.mysqld).answer = MysqldAnswer::Stalled("t".to_owned()), "bad"),
        (|seen| known(&mut seen.mysqld).processes.clear(), "bad"),
        (|seen| known(&mut seen.mount).at_directory.as_mut().unwrap().read_only = true, "bad"),
        (|seen| seen.vip.here = Fact::Known(None), "bad"),
        (|seen| known(&mut seen.drbd).role = Role::Secondary, "bad"),
    ];
    for (row, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(judged(&after(active(), change), &quiet()), expected, "row {row}");
    }
}

#[test]
fn what_runs_makes_a_node_fit_but_does_not_make_it_serve() {
    let half = after(active(), |seen| known(&mut seen.mysqld).processes.clear());
    for goal in [Goal::Takeover, Goal::Release] {
        let now = Now { running: Some(goal), ..Now::default() };
        assert_eq!(judged(&half, &now), "good", "{goal}");
    }
    assert_eq!(name(&serves(&half, &config())), "bad");
    assert_eq!(name(&serves(&standby(), &config())), "bad");
    assert_eq!(name(&serves(&active(), &config())), "good");
    let alone = after(active(), |seen| known(&mut seen.drbd).connection = Connection::Connecting);
    assert_eq!(name(&serves(&alone, &config())), "degraded");
}

/// The peer of a node that serves has died, and the handler is finding out: giving the role away would end the service for
/// nothing. Once the handler has said that the peer serves, it would not.
#[test]
fn io_that_is_held_back_for_a_moment_is_no_reason_to_give_the_role_away() {
    let held: Change = |seen| {
        let drbd = known(&mut seen.drbd);
        drbd.io_suspended = true;
        drbd.connection = Connection::Connecting;
        drbd.peer_role = Role::Unknown;
    };
    let answered = |answer| Now { fence_answer: Some(answer), ..Now::default() };
    assert_eq!(judged(&after(active(), held), &quiet()), "degraded");
    assert_eq!(judged(&after(active(), held), &answered(FenceAnswer::PeerDown)), "degraded");
    assert_eq!(judged(&after(active(), held), &answered(FenceAnswer::PeerPrimary)), "bad");
    assert_eq!(judged(&after(active(), held), &answered(FenceAnswer::NotKnown)), "bad");
    assert_eq!(name(&serves(&after(active(), held), &config())), "bad");
    let no_server: Change = |seen| known(&mut seen.mysqld).processes.clear();
    assert_eq!(judged(&after(after(active(), held), no_server), &quiet()), "bad");
    let no_vip: Change = |seen| seen.vip.here = Fact::Known(None);
    assert_eq!(judged(&after(after(active(), held), no_vip), &quiet()), "bad");
}

#[test]
fn a_standby_that_has_just_tried_in_vain_leaves_the_address_to_others() {
    let now = Now { in_vain: Some("the peer lives".to_owned()), ..Now::default() };
    let health = fitness(&standby(), &config(), &now);
    assert_eq!(name(&health), "bad");
    assert!(health.sentence().contains("the peer lives"), "{health:?}");
    assert_eq!(judged(&active(), &now), "good", "it serves after all");
}
