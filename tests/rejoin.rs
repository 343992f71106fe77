//! A rejoin: never on a node that serves, never over data that a person has not given up, and the diagnosis of a split brain.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use standin::decide::{self, Decision, Diverged, Divergence, Refusal, RefusalKind, Rejoining, diverged};
use standin::observation::*;
use standin::plan::Plan;
use support::{config, seen_by};

const MINE: u64 = 0xB21C_C1C6_1D4F_EAB2;
const THEIRS: u64 = 0x5A62_33A3_1353_F9AA;
const COMMON: u64 = 0x9D0E_9FE1_44EC_73B0;

fn side(generations: &[u64]) -> Divergence {
    Divergence {
        kernel_found_split_brain: Fact::Known(false),
        generations: Fact::Known(generations.to_vec()),
        out_of_sync_kib: Fact::Known(512),
        role: Fact::Known(Role::Secondary),
    }
}

fn rejoining() -> Rejoining {
    Rejoining {
        discard_my_data: false,
        here: side(&[COMMON]),
        peer: Fact::Known(side(&[THEIRS, COMMON])),
        patience: Duration::from_secs(120),
    }
}

fn split() -> Rejoining {
    Rejoining { here: side(&[MINE, COMMON]), ..rejoining() }
}

/// A standby with that connection.
fn standby(connection: Connection) -> Observation {
    let mut observation = seen_by(1);
    let Fact::Known(drbd) = &mut observation.drbd else { panic!("{observation:?}") };
    drbd.connection = connection;
    if connection != Connection::Connected {
        drbd.peer_role = Role::Unknown;
        drbd.peer_disk = Disk::Unknown;
        drbd.replication = Replication::Off;
    }
    observation
}

fn planned(observation: &Observation, rejoining: &Rejoining) -> Plan {
    match decide::rejoin(observation, &config(), rejoining) {
        Decision::Plan(plan) => plan,
        Decision::Refusal(refusal) => panic!("{refusal}"),
    }
}

fn refused(observation: &Observation, rejoining: &Rejoining) -> Refusal {
    match decide::rejoin(observation, &config(), rejoining) {
        Decision::Refusal(refusal) => refusal,
        Decision::Plan(plan) => panic!("planned: {plan}"),
    }
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.action.name()).collect()
}

#[test]
fn each_state_of_the_connection_has_its_way_back() {
    use Connection::{Connected, Connecting, StandAlone, Unconfigured};
    let of = |connection| names(&planned(&standby(connection), &rejoining()));
    assert!(of(Connected).is_empty(), "already so");
    assert_eq!(of(Unconfigured), ["bring-up-drbd", "follow-resync"]);
    assert_eq!(of(Connecting), ["follow-resync"]);
    assert_eq!(of(StandAlone), ["reconnect-drbd", "follow-resync"], "one side is based on the other");
    let mut target = standby(Connected);
    let Fact::Known(drbd) = &mut target.drbd else { panic!() };
    drbd.disk = Disk::Inconsistent;
    drbd.replication = Replication::SyncTarget;
    assert_eq!(names(&planned(&target, &rejoining())), ["follow-resync"]);
}

#[test]
fn stand_alone_is_connected_only_when_nothing_can_be_lost() {
    let not_asked = Rejoining { peer: Fact::Unknown("no route".to_owned()), ..split() };
    let mut observation = standby(Connection::StandAlone);
    let refusal = refused(&observation, &not_asked);
    assert_eq!(refusal.kind, RefusalKind::StandAlone);
    assert!(refusal.reason.contains("no route"), "{refusal}");
    // Disconnected by a takeover of ours.
    observation.past.we_disconnected_drbd = true;
    assert_eq!(names(&planned(&observation, &not_asked)), ["reconnect-drbd", "follow-resync"]);
    // Not even then over a split brain.
    assert_eq!(refused(&observation, &split()).kind, RefusalKind::SplitBrain);
}

#[test]
fn a_split_brain_shows_both_amounts_and_both_choices() {
    for connection in [Connection::StandAlone, Connection::Connecting] {
        let refusal = refused(&standby(connection), &split());
        assert_eq!(refusal.kind, RefusalKind::SplitBrain);
        let text = refusal.to_string();
        for part in [
            "node2 has changed alone: 512 KiB",
            "node1 has changed alone: 512 KiB",
            "on node2:  standin rejoin --discard-my-data",
            "on node1:  standin rejoin --discard-my-data",
            "on node1:  drbdadm connect r0",
            "on node1:  standin takeover",
        ] {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
    }
    // The side that serves may ask for the diagnosis, too.
    let mut active = seen_by(0);
    let Fact::Known(drbd) = &mut active.drbd else { panic!() };
    drbd.connection = Connection::StandAlone;
    assert_eq!(refused(&active, &split()).kind, RefusalKind::SplitBrain);
}

#[test]
fn data_is_given_up_only_when_it_was_typed_and_nothing_uses_it() {
    let discard = Rejoining { discard_my_data: true, ..split() };
    let plan = planned(&standby(Connection::StandAlone), &discard);
    assert_eq!(names(&plan), ["discard-my-data", "follow-resync"]);
    assert!(plan.warnings[0].contains("512 KiB that only node2 has changed are given up"), "{plan}");
    assert!(plan.to_string().contains("drbdadm connect --discard-my-data r0"), "{plan}");

    let in_use: [fn(&mut Observation); 5] = [
        |seen| seen.mount = seen_by(0).mount,
        |seen| seen.mysqld = seen_by(0).mysqld,
        |seen| seen.vip = seen_by(0).vip,
        |seen| seen.mysqld = Fact::Unknown("no /proc".to_owned()),
        |seen| {
            if let Fact::Known(drbd) = &mut seen.drbd {
                drbd.role = Role::Primary;
            }
        },
    ];
    for change in in_use {
        let mut observation = standby(Connection::StandAlone);
        change(&mut observation);
        let refusal = refused(&observation, &discard);
        assert_eq!(refusal.kind, RefusalKind::NotReleased);
        assert!(refusal.next.contains("standin release"), "{refusal}");
    }
}

#[test]
fn what_shows_a_split_brain() {
    let known = |generations: &[u64]| Fact::Known(side(generations));
    assert_eq!(diverged(&side(&[COMMON]), &known(&[THEIRS, COMMON])), Diverged::No, "the peer went on");
    assert_eq!(diverged(&side(&[MINE, COMMON]), &known(&[COMMON | 1])), Diverged::No, "this side went on");
    assert_eq!(diverged(&side(&[MINE]), &known(&[MINE | 1])), Diverged::No, "only its role differs");
    assert_eq!(diverged(&side(&[4]), &known(&[THEIRS])), Diverged::No, "a new disk");
    assert!(matches!(diverged(&side(&[MINE, COMMON]), &known(&[THEIRS, COMMON])), Diverged::Yes(_)));
    let unknown = Fact::Unknown("off".to_owned());
    assert_eq!(diverged(&side(&[MINE, COMMON]), &unknown), Diverged::NotKnown);
    let logged = Divergence { kernel_found_split_brain: Fact::Known(true), ..side(&[MINE]) };
    assert!(matches!(diverged(&logged, &unknown), Diverged::Yes(_)));
    assert!(matches!(diverged(&side(&[MINE]), &Fact::Known(logged)), Diverged::Yes(_)));
}

proptest! {
    /// Whatever is seen and known: without the word of a person no data is given up, and never while something uses it.
    #[test]
    fn no_data_is_given_up_by_itself(
        connection in proptest::sample::select(vec![
            Connection::Unconfigured, Connection::StandAlone, Connection::Connecting, Connection::Broken,
            Connection::Handshake, Connection::Connected,
        ]),
        disk in proptest::sample::select(vec![Disk::UpToDate, Disk::Outdated, Disk::Inconsistent, Disk::Diskless]),
        held in 0_u8..16,
        discard_my_data: bool,
        apart: bool,
        asked: bool,
    ) {
        let mut observation = standby(connection);
        let active = seen_by(0);
        if let Fact::Known(drbd) = &mut observation.drbd {
            drbd.disk = disk;
            if held & 1 != 0 {
                drbd.role = Role::Primary;
            }
        }
        if held & 2 != 0 {
            observation.mount = active.mount;
        }
        if held & 4 != 0 {
            observation.mysqld = active.mysqld;
        }
        if held & 8 != 0 {
            observation.vip = active.vip;
        }
        let mut rejoining = Rejoining { discard_my_data, ..if apart { split() } else { rejoining() } };
        if !asked {
            rejoining.peer = Fact::Unknown("off".to_owned());
        }
        if let Decision::Plan(plan) = decide::rejoin(&observation, &config(), &rejoining) {
            prop_assert_eq!(held, 0);
            let discards = names(&plan).contains(&"discard-my-data");
            prop_assert!(!discards || discard_my_data);
            let connects = discards || names(&plan).contains(&"reconnect-drbd");
            prop_assert!(!(connects && apart && asked) || discard_my_data);
        }
    }
}
