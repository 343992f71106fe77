//! What Heartbeat is told, for every state that it can ask in, and what drbddisk does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};

use standin::decide::{self, Decision, Doings, HeartbeatStatus, RefusalKind, Request, heartbeat_status};
use standin::node::Node;
use standin::node::simulated::{SimulatedNode, World};
use standin::observation::*;
use support::config;

const QUIET: Doings = Doings { under_way: false, stop_failed: false };
const UNDER_WAY: Doings = Doings { under_way: true, stop_failed: false };
const STOP_FAILED: Doings = Doings { under_way: false, stop_failed: true };
const BOTH: Doings = Doings { under_way: true, stop_failed: true };

fn seen_by(node: usize) -> Observation {
    SimulatedNode::new(Arc::new(Mutex::new(World::new())), node, config()).observe()
}

type Change = fn(&mut Observation);

fn drbd(seen: &mut Observation) -> &mut Drbd {
    match &mut seen.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn mysqld(seen: &mut Observation) -> &mut Mysqld {
    match &mut seen.mysqld {
        Fact::Known(mysqld) => mysqld,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn no_vip(seen: &mut Observation) {
    seen.vip.here = Fact::Known(None);
}

fn no_mysqld(seen: &mut Observation) {
    *mysqld(seen) = Mysqld { processes: Vec::new(), answer: MysqldAnswer::Silent };
}

fn no_mount(seen: &mut Observation) {
    seen.mount = Fact::Known(Mount { at_directory: None, device_elsewhere: Vec::new() });
}

fn unseen(seen: &mut Observation) {
    seen.drbd = Fact::Unknown("no answer".to_owned());
    seen.mount = Fact::Unknown("no answer".to_owned());
    seen.mysqld = Fact::Unknown("no answer".to_owned());
}

/// On the node that serves: what changed there, and whether it is "running" in quiet, while a run is under way, after a stop
/// that failed, and with both.
const OF_THE_ACTIVE: [(&str, Change, [bool; 4]); 14] = [
    ("serves", |_| (), [true, false, true, true]),
    ("mysqld full", |seen| mysqld(seen).answer = MysqldAnswer::Busy, [true, false, true, true]),
    ("mysqld killed", no_mysqld, [false, false, true, true]),
    (
        "mysqld hangs",
        |seen| mysqld(seen).answer = MysqldAnswer::Stalled("hangs".to_owned()),
        [true, false, true, true],
    ),
    ("I/O held back", |seen| drbd(seen).io_suspended = true, [true, false, true, true]),
    (
        "I/O held back, and the guard took the address",
        |seen| {
            drbd(seen).io_suspended = true;
            no_vip(seen);
        },
        [false, false, true, true],
    ),
    ("address gone", no_vip, [false, false, true, true]),
    (
        "address on another interface",
        |seen| seen.vip.here = Fact::Known(Some("eth9".to_owned())),
        [true, false, true, true],
    ),
    (
        "crash recovery",
        |seen| {
            mysqld(seen).answer = MysqldAnswer::Silent;
            no_vip(seen);
        },
        [false, false, true, true],
    ),
    (
        "killed after the mount",
        |seen| {
            no_mysqld(seen);
            no_vip(seen);
        },
        [false, false, true, true],
    ),
    (
        "killed after the promotion",
        |seen| {
            no_mysqld(seen);
            no_vip(seen);
            no_mount(seen);
        },
        [false, false, true, true],
    ),
    (
        "only the address is left",
        |seen| {
            no_mysqld(seen);
            no_mount(seen);
            drbd(seen).role = Role::Secondary;
        },
        [false, false, true, true],
    ),
    ("the looks hang beside the address", unseen, [true, false, true, true]),
    (
        "the looks hang, no address",
        |seen| {
            unseen(seen);
            no_vip(seen);
        },
        [false, false, true, true],
    ),
];

/// The same on the node that holds nothing.
const OF_THE_STANDBY: [(&str, Change, [bool; 4]); 5] = [
    ("holds nothing", |_| (), [false; 4]),
    (
        "DRBD is down",
        |seen| {
            drbd(seen).connection = Connection::Unconfigured;
            drbd(seen).role = Role::Unknown;
        },
        [false; 4],
    ),
    (
        "no module",
        |seen| {
            drbd(seen).generation = DrbdGeneration::NotLoaded;
            drbd(seen).role = Role::Unknown;
        },
        [false; 4],
    ),
    (
        "its role can't be learnt",
        |seen| seen.drbd = Fact::Unknown("no answer".to_owned()),
        [false, false, true, true],
    ),
    (
        "somebody else's file system and server",
        |seen| {
            let mounted = Mounted {
                source: "/dev/sdb1".to_owned(),
                is_our_device: false,
                filesystem: "ext4".to_owned(),
                read_only: false,
            };
            seen.mount = Fact::Known(Mount { at_directory: Some(mounted), device_elsewhere: Vec::new() });
            let directory = config().mount.directory;
            mysqld(seen).processes =
                vec![MysqldProcess { pid: 4711, name: "mysqld".to_owned(), directory, on_our_device: false }];
        },
        [false; 4],
    ),
];

#[test]
fn what_heartbeat_is_told() {
    for (node, table) in [(0, &OF_THE_ACTIVE[..]), (1, &OF_THE_STANDBY[..])] {
        for (state, change, expected) in table {
            let mut seen = seen_by(node);
            change(&mut seen);
            for (doings, expected) in [QUIET, UNDER_WAY, STOP_FAILED, BOTH].into_iter().zip(expected) {
                let HeartbeatStatus { running, reason, .. } = heartbeat_status(&seen, &config(), doings);
                assert_eq!(running, *expected, "{state}, {doings:?}: {reason}");
                assert!(!reason.is_empty() && !reason.contains('\n'), "{state}: {reason:?}");
            }
        }
    }
}

#[test]
fn what_could_not_be_seen_is_not_certain() {
    let certain = |node: usize, change: Change| {
        let mut seen = seen_by(node);
        change(&mut seen);
        heartbeat_status(&seen, &config(), QUIET).certain
    };
    assert!(certain(0, |_| ()) && certain(1, |_| ()) && certain(0, no_mysqld));
    assert!(certain(1, |seen| {
        drbd(seen).connection = Connection::Unconfigured;
        drbd(seen).role = Role::Unknown;
    }));
    let changes: [Change; 5] = [
        |seen| seen.drbd = Fact::Unknown(String::new()),
        |seen| seen.mount = Fact::Unknown(String::new()),
        |seen| seen.mysqld = Fact::Unknown(String::new()),
        |seen| seen.vip.here = Fact::Unknown(String::new()),
        |seen| drbd(seen).role = Role::Unknown,
    ];
    assert!(changes.into_iter().all(|change| !certain(0, change)));
}

const DRBD_ONLY: Request = Request {
    accept_myisam: false,
    peer_confirmed_inactive: false,
    waited_out: false,
    from_cluster_manager: true,
    drbd_only: true,
    from_agent: false,
    silent_for: None,
    kill_mysqld_after: None,
};

fn steps(decision: Decision) -> Vec<&'static str> {
    match decision {
        Decision::Plan(plan) => plan.steps.iter().map(|step| step.action.name()).collect(),
        Decision::Refusal(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn drbddisk_does_drbd_alone_by_the_rules_of_a_takeover() {
    let mut world = World::new();
    world.power_cut(0);
    let seen = SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config()).observe();
    assert_eq!(
        steps(decide::takeover(&seen, &config(), &DRBD_ONLY)),
        ["wait-vip-gone", "disconnect-drbd", "promote-drbd", "reconnect-drbd"]
    );
    let fenced = standin::config::Config { fence: Some(vec!["off".to_owned()]), ..config() };
    assert!(steps(decide::takeover(&seen, &fenced, &DRBD_ONLY)).contains(&"fence-peer"));
    assert_eq!(steps(decide::release(&seen_by(0), &config(), &DRBD_ONLY)), ["demote-drbd"]);
    match decide::takeover(&seen_by(1), &config(), &DRBD_ONLY) {
        Decision::Refusal(refusal) => assert_eq!(refusal.kind, RefusalKind::VipAnswers),
        Decision::Plan(plan) => panic!("beside a living Primary: {plan}"),
    }
}

#[test]
fn a_journal_of_before_drbddisk_is_still_read() {
    let request = r#"{"accept_myisam":false,"peer_confirmed_inactive":false,"waited_out":false,"from_cluster_manager":false}"#;
    let request: Request = serde_json::from_str(request).unwrap();
    assert!(!request.drbd_only);
}
