//! What a node holds, and whether it is fit for its role: judged from one look.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::path::PathBuf;

use standin::decide::{Health, Part, Standing, health, standing};
use standin::observation::*;
use support::{config, seen_by};

/// The node that serves.
fn active() -> Observation {
    seen_by(0)
}

fn standby() -> Observation {
    seen_by(1)
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

fn mounted(observation: &mut Observation) -> &mut Option<Mounted> {
    match &mut observation.mount {
        Fact::Known(mount) => &mut mount.at_directory,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn after(mut observation: Observation, change: impl FnOnce(&mut Observation)) -> Observation {
    change(&mut observation);
    observation
}

#[test]
fn a_node_that_serves_is_active_and_one_that_holds_nothing_is_standby() {
    assert_eq!(standing(&active(), &config()), Standing::Active);
    assert_eq!(standing(&standby(), &config()), Standing::Standby);
}

#[test]
fn a_full_server_still_serves() {
    let full = after(active(), |seen| mysqld(seen).answer = MysqldAnswer::Busy);
    assert_eq!(standing(&full, &config()), Standing::Active);
}

#[test]
fn each_missing_part_of_an_active_node_leaves_the_others_held_and_is_named() {
    use Part::{Drbd as Device, Mount, Mysqld as Server, Vip as Address};
    type Change = fn(&mut Observation);
    let cases: [(Change, &[Part], &str); 8] = [
        (|seen| drbd(seen).role = Role::Secondary, &[Mount, Server, Address], "is Secondary"),
        (|seen| drbd(seen).io_suspended = true, &[Device, Mount, Server, Address], "holds back all I/O"),
        (|seen| *mounted(seen) = None, &[Device, Server, Address], "nothing is mounted"),
        (
            |seen| mounted(seen).as_mut().unwrap().read_only = true,
            &[Device, Mount, Server, Address],
            "is mounted read-only",
        ),
        (|seen| mysqld(seen).processes.clear(), &[Device, Mount, Address], "no mysqld runs"),
        (
            |seen| mysqld(seen).answer = MysqldAnswer::Silent,
            &[Device, Mount, Server, Address],
            "nothing answers on its socket",
        ),
        (|seen| seen.vip.here = Fact::Known(None), &[Device, Mount, Server], "is not here"),
        (
            |seen| seen.vip.here = Fact::Known(Some("lo".to_owned())),
            &[Device, Mount, Server, Address],
            "is on lo and not on eth0",
        ),
    ];
    for (change, expected, named) in cases {
        match standing(&after(active(), change), &config()) {
            Standing::Partial { holds, reason } => {
                assert_eq!(holds, expected, "{reason}");
                assert!(reason.contains(named), "{reason}");
            }
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[test]
fn each_held_part_of_a_standby_makes_it_partial() {
    type Change = fn(&mut Observation);
    let cases: [(Change, Part); 5] = [
        (|seen| drbd(seen).role = Role::Primary, Part::Drbd),
        (|seen| *mounted(seen) = mounted(&mut active()).clone(), Part::Mount),
        (
            |seen| match &mut seen.mount {
                Fact::Known(mount) => mount.device_elsewhere.push(PathBuf::from("/mnt")),
                Fact::Unknown(cause) => panic!("{cause}"),
            },
            Part::Mount,
        ),
        (|seen| *mysqld(seen) = mysqld(&mut active()).clone(), Part::Mysqld),
        (|seen| seen.vip.here = active().vip.here, Part::Vip),
    ];
    for (change, part) in cases {
        match standing(&after(standby(), change), &config()) {
            Standing::Partial { holds, .. } => assert_eq!(holds, [part]),
            other => panic!("{part}: {other:?}"),
        }
    }
}

#[test]
fn what_belongs_to_others_is_not_held() {
    let others = after(standby(), |seen| {
        *mounted(seen) = mounted(&mut active()).clone();
        mounted(seen).as_mut().unwrap().is_our_device = false;
        *mysqld(seen) = mysqld(&mut active()).clone();
        mysqld(seen).processes.iter_mut().for_each(|process| process.on_our_device = false);
    });
    assert_eq!(standing(&others, &config()), Standing::Standby);
}

#[test]
fn a_node_without_drbd_holds_nothing_of_it() {
    let bare = after(standby(), |seen| {
        drbd(seen).generation = DrbdGeneration::NotLoaded;
        drbd(seen).role = Role::Unknown;
        drbd(seen).connection = Connection::Unconfigured;
    });
    assert_eq!(standing(&bare, &config()), Standing::Standby);
}

#[test]
fn what_cannot_be_seen_is_never_taken_for_nothing() {
    type Change = fn(&mut Observation);
    let unseen: [Change; 4] = [
        |seen| seen.drbd = Fact::Unknown("test".to_owned()),
        |seen| seen.mount = Fact::Unknown("test".to_owned()),
        |seen| seen.mysqld = Fact::Unknown("test".to_owned()),
        |seen| seen.vip.here = Fact::Unknown("test".to_owned()),
    ];
    for change in unseen {
        let of_standby = standing(&after(standby(), change), &config());
        assert!(
            matches!(&of_standby, Standing::Unknown { reason } if reason.contains("test")),
            "{of_standby:?}"
        );
        let of_active = standing(&after(active(), change), &config());
        assert!(matches!(&of_active, Standing::Partial { .. }), "{of_active:?}");
    }
}

#[test]
fn health_follows_the_role() {
    let good = |seen: &Observation| matches!(health(seen, &config()), Health::Good(_));
    assert!(good(&active()) && good(&standby()));
    let alone = after(active(), |seen| drbd(seen).connection = Connection::Connecting);
    assert!(matches!(health(&alone, &config()), Health::Degraded(_)));
    let alone = after(standby(), |seen| drbd(seen).connection = Connection::Connecting);
    assert!(matches!(health(&alone, &config()), Health::Degraded(_)));
    for disk in [Disk::Consistent, Disk::Outdated, Disk::Inconsistent, Disk::Diskless] {
        let old = after(standby(), |seen| drbd(seen).disk = disk);
        assert!(matches!(health(&old, &config()), Health::Bad(_)), "{disk:?}");
    }
    let split = after(standby(), |seen| drbd(seen).connection = Connection::StandAlone);
    assert!(matches!(health(&split, &config()), Health::Bad(_)));
    let half = after(active(), |seen| mysqld(seen).processes.clear());
    assert!(matches!(health(&half, &config()), Health::Bad(_)));
}
