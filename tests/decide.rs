//! The safety rules, one test each, and all of them over random observations.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use proptest::prelude::*;
use standin::config::{ClusterManager, Config};
use standin::decide::{self, Decision, RefusalKind, Request};
use standin::node::Node;
use standin::node::simulated::{SimulatedNode, World};
use standin::observation::*;
use standin::plan::{Action, Plan};
use std::sync::{Arc, Mutex};
use support::config;

fn standby_with(change: impl FnOnce(&mut World)) -> Observation {
    let mut world = World::new();
    change(&mut world);
    SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config()).observe()
}

fn peer_lost() -> Observation {
    standby_with(|world| world.power_cut(0))
}

fn drbd(observation: &mut Observation) -> &mut Drbd {
    match &mut observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn refused(observation: &Observation, config: &Config) -> RefusalKind {
    refused_asking(observation, config, Request::default())
}

fn refused_asking(observation: &Observation, config: &Config, request: Request) -> RefusalKind {
    match decide::takeover(observation, config, &request) {
        Decision::Refusal(refusal) => {
            assert!(!refusal.reason.is_empty() && !refusal.why.is_empty() && !refusal.next.is_empty());
            refusal.kind
        }
        Decision::Plan(plan) => panic!("planned: {plan}"),
    }
}

fn planned(observation: &Observation, config: &Config, request: Request) -> Plan {
    match decide::takeover(observation, config, &request) {
        Decision::Plan(plan) => plan,
        Decision::Refusal(refusal) => panic!("{refusal}"),
    }
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.action.name()).collect()
}

#[test]
fn a_stale_connected_primary_is_no_obstacle_once_the_peer_is_silent() {
    let observation = peer_lost();
    assert_eq!(drbd(&mut observation.clone()).peer_role, Role::Primary);
    let plan = planned(&observation, &config(), Request::default());
    assert_eq!(
        names(&plan),
        [
            "wait-vip-gone",
            "stop-cluster-manager",
            "disconnect-drbd",
            "promote-drbd",
            "mount",
            "audit-engines",
            "start-mysqld",
            "add-vip",
            "verify",
            "reconnect-drbd"
        ]
    );
}

#[test]
fn a_peer_that_yielded_is_promoted_over_while_connected() {
    let observation = standby_with(|world| {
        world.machines[0].role = Role::Secondary;
        world.machines[0].vip = false;
        world.machines[1].peer_role = Role::Secondary;
    });
    let plan = planned(&observation, &config(), Request::default());
    assert!(!names(&plan).contains(&"disconnect-drbd") && !names(&plan).contains(&"reconnect-drbd"));
}

#[test]
fn promoting_over_a_connected_peer_leaves_drbds_handler_the_time_to_fence_it() {
    let observation = standby_with(|world| {
        world.machines[0].role = Role::Secondary;
        world.machines[0].vip = false;
        world.machines[1].peer_role = Role::Secondary;
    });
    let promotion = |config: &Config, observation: &Observation| {
        let plan = planned(observation, config, Request::default());
        plan.steps.iter().find(|step| step.action.name() == "promote-drbd").unwrap().deadline
    };
    let mut fenced = config();
    fenced.fence = Some(vec!["/sbin/fence".into()]);
    let limits = &fenced.limits;
    assert_eq!(promotion(&config(), &observation), limits.drbd);
    assert_eq!(promotion(&fenced, &observation), limits.drbd + limits.fence_peer);
    assert_eq!(promotion(&fenced, &peer_lost()), limits.drbd, "it is fenced in a step of its own");
}

#[test]
fn a_secondary_behind_a_cut_replication_link_has_not_yielded() {
    let mut observation = standby_with(|world| {
        world.machines[0].role = Role::Secondary;
        world.machines[0].vip = false;
        world.machines[1].peer_role = Role::Secondary;
    });
    for answer in [Fact::Known(None), Fact::Unknown("eth1 has no carrier".into())] {
        observation.peer.addresses[0].answer = answer;
        assert_eq!(refused(&observation, &config()), RefusalKind::PeerUnseen);
    }
}

#[test]
fn a_secondary_that_died_unnoticed_is_disconnected_first() {
    let mut observation = peer_lost();
    drbd(&mut observation).peer_role = Role::Secondary;
    assert!(names(&planned(&observation, &config(), Request::default())).contains(&"disconnect-drbd"));
}

#[test]
fn a_virtual_ip_that_answers_refuses() {
    let mut observation = peer_lost();
    observation.vip.answer = Fact::Known(Some(Answer { icmp: false, arp: Some("02::01".into()) }));
    assert_eq!(refused(&observation, &config()), RefusalKind::VipAnswers);
    observation.vip.answer = Fact::Unknown("no carrier".into());
    assert_eq!(refused(&observation, &config()), RefusalKind::VipUnknown);
    observation.vip.answer = Fact::Known(None);
    observation.vip.here = Fact::Known(Some("eth7".into()));
    assert_eq!(refused(&observation, &config()), RefusalKind::VipMisplaced);
}

#[test]
fn a_second_holder_beside_us_refuses_and_a_third_host_is_not_called_the_peer() {
    let mut observation = standby_with(|world| world.machines.swap(0, 1));
    planned(&observation, &config(), Request::default());
    observation.vip.answer = Fact::Known(Some(Answer { icmp: false, arp: Some("02::99".into()) }));
    let Decision::Refusal(refusal) = decide::takeover(&observation, &config(), &Request::default()) else {
        panic!("planned")
    };
    assert_eq!(refusal.kind, RefusalKind::VipAnswers);
    assert!(refusal.next.contains("a third host"), "{refusal}");
}

#[test]
fn without_a_witness_and_a_fence_command_the_plan_warns() {
    assert!(!planned(&peer_lost(), &config(), Request::default()).warnings.is_empty());
    let mut fenced = config();
    fenced.fence = Some(vec!["/sbin/fence".into()]);
    assert!(planned(&peer_lost(), &fenced, Request::default()).warnings.is_empty());
}

#[test]
fn a_living_primary_refuses_even_when_a_person_says_otherwise() {
    let observation = standby_with(|world| world.machines[0].vip = false);
    assert_eq!(refused(&observation, &config()), RefusalKind::PeerPrimary);
    let told = Request { peer_confirmed_inactive: true, ..Request::default() };
    assert_eq!(refused_asking(&observation, &config(), told), RefusalKind::PeerPrimary);
}

#[test]
fn a_silent_virtual_ip_alone_is_not_a_dead_peer() {
    let observation = standby_with(|world| {
        world.machines[0].vip = false;
        world.drbd_notices(1);
    });
    assert_eq!(refused(&observation, &config()), RefusalKind::PeerUnseen);
    let told = Request { peer_confirmed_inactive: true, ..Request::default() };
    assert!(!planned(&observation, &config(), told).warnings.is_empty());
}

#[test]
fn our_own_dead_link_is_no_evidence() {
    for connection in [Connection::Connected, Connection::Connecting, Connection::Broken] {
        let mut observation = peer_lost();
        drbd(&mut observation).connection = connection;
        for probe in &mut observation.peer.addresses {
            probe.answer = Fact::Unknown("eth1 has no carrier".into());
        }
        assert_eq!(refused(&observation, &config()), RefusalKind::NoEvidence, "{connection:?}");
    }
}

#[test]
fn a_cable_that_died_with_its_peer_counts_once_drbd_saw_the_break_and_a_witness_answers() {
    let mut observation = peer_lost();
    observation.peer.addresses[0].answer = Fact::Unknown("eth1 has no carrier".into());
    assert_eq!(refused(&observation, &config()), RefusalKind::NoEvidence);
    drbd(&mut observation).connection = Connection::Connecting;
    assert_eq!(refused(&observation, &config()), RefusalKind::NoEvidence, "it may be our own port");
    let answer = Fact::Known(Some(Answer { icmp: true, arp: None }));
    observation.witnesses = vec![AddressProbe { address: "10.77.0.254".parse().unwrap(), answer }];
    planned(&observation, &config(), Request::default());
}

#[test]
fn without_a_witness_it_may_be_we_who_are_cut_off() {
    let mut observation = peer_lost();
    let probe = |answer| AddressProbe { address: "10.77.0.254".parse().unwrap(), answer };
    observation.witnesses = vec![probe(Fact::Known(None)), probe(Fact::Unknown("no route".into()))];
    assert_eq!(refused(&observation, &config()), RefusalKind::Isolated);
    observation.witnesses.push(probe(Fact::Known(Some(Answer { icmp: true, arp: None }))));
    planned(&observation, &config(), Request::default());
}

#[test]
fn only_an_up_to_date_disk_promotes() {
    for disk in [Disk::Outdated, Disk::Inconsistent, Disk::Diskless, Disk::Changing, Disk::Unknown] {
        let mut observation = peer_lost();
        drbd(&mut observation).disk = disk;
        let mut fenced = config();
        fenced.fence = Some(vec!["/bin/true".into()]);
        let told = Request { peer_confirmed_inactive: true, ..Request::default() };
        assert_eq!(refused_asking(&observation, &fenced, told), RefusalKind::DiskNotCurrent, "{disk:?}");
    }
}

#[test]
fn a_consistent_disk_promotes_only_with_a_confirmed_fence() {
    let mut observation = peer_lost();
    drbd(&mut observation).disk = Disk::Consistent;
    drbd(&mut observation).connection = Connection::Connecting;
    assert_eq!(refused(&observation, &config()), RefusalKind::DiskNotCurrent);
    let mut fenced = config();
    fenced.fence = Some(vec!["/sbin/fence".into(), "{peer}".into()]);
    let plan = planned(&observation, &fenced, Request::default());
    let fence = plan.steps.iter().position(|step| step.action.name() == "fence-peer").unwrap();
    let promote = plan.steps.iter().position(|step| step.action.name() == "promote-drbd").unwrap();
    assert!(fence < promote);
    assert!(matches!(&plan.steps[fence].action, Action::FencePeer { command } if command[1] == "node1"));
    assert!(plan.steps[promote].action.commands()[0].ends_with("--force"));
}

#[test]
fn a_consistent_disk_never_has_a_living_peer_fenced() {
    let mut fenced = config();
    fenced.fence = Some(vec!["/sbin/fence".into()]);
    let mut observation = standby_with(|world| world.drbd_notices(1));
    let waited = Request { waited_out: true, ..Request::default() };
    planned(&observation, &fenced, waited);
    drbd(&mut observation).disk = Disk::Consistent;
    assert_eq!(refused_asking(&observation, &fenced, waited), RefusalKind::DiskNotCurrent);
}

#[test]
fn an_isolated_node_fences_nobody() {
    let mut fenced = config();
    fenced.fence = Some(vec!["/sbin/fence".into()]);
    let mut observation = standby_with(|world| world.machines[0].vip = false);
    let waited = Request { waited_out: true, ..Request::default() };
    planned(&observation, &fenced, waited);
    let witness = AddressProbe { address: "10.77.0.254".parse().unwrap(), answer: Fact::Known(None) };
    observation.witnesses = vec![witness];
    assert_eq!(refused_asking(&observation, &fenced, waited), RefusalKind::Isolated);
}

#[test]
fn a_resync_target_refuses() {
    let mut observation = peer_lost();
    drbd(&mut observation).replication = Replication::SyncTarget;
    assert_eq!(refused(&observation, &config()), RefusalKind::Unsettled);
}

#[test]
fn stand_alone_refuses_unless_we_made_it() {
    let mut observation = peer_lost();
    drbd(&mut observation).connection = Connection::StandAlone;
    assert_eq!(refused(&observation, &config()), RefusalKind::StandAlone);
    observation.past.we_disconnected_drbd = true;
    planned(&observation, &config(), Request::default());
}

#[test]
fn unreadable_or_unconfigured_drbd_refuses() {
    let mut observation = peer_lost();
    drbd(&mut observation).connection = Connection::Unconfigured;
    assert_eq!(refused(&observation, &config()), RefusalKind::DrbdNotConfigured);
    observation.drbd = Fact::Unknown("no module".into());
    assert_eq!(refused(&observation, &config()), RefusalKind::DrbdUnknown);
}

#[test]
fn suspended_io_and_two_primaries_refuse() {
    let mut observation = peer_lost();
    drbd(&mut observation).io_suspended = true;
    assert_eq!(refused(&observation, &config()), RefusalKind::IoSuspended);
    let mut observation = peer_lost();
    drbd(&mut observation).role = Role::Primary;
    assert_eq!(refused(&observation, &config()), RefusalKind::TwoPrimaries);
}

#[test]
fn an_occupied_mount_point_refuses() {
    let mounted = |is_our_device, read_only| {
        let at = Mounted { source: "/dev/sda1".into(), is_our_device, filesystem: "ext4".into(), read_only };
        let mut observation = peer_lost();
        observation.mount = Fact::Known(Mount { at_directory: Some(at), device_elsewhere: Vec::new() });
        observation
    };
    assert_eq!(refused(&mounted(false, false), &config()), RefusalKind::MountOccupied);
    assert_eq!(refused(&mounted(true, true), &config()), RefusalKind::ReadOnly);
    let mut observation = peer_lost();
    observation.mount = Fact::Known(Mount { at_directory: None, device_elsewhere: vec!["/mnt".into()] });
    assert_eq!(refused(&observation, &config()), RefusalKind::MountedElsewhere);
    observation.mount = Fact::Unknown("torn".into());
    assert_eq!(refused(&observation, &config()), RefusalKind::MountUnknown);
}

#[test]
fn another_mysqld_refuses() {
    let mut observation = peer_lost();
    let process = MysqldProcess {
        pid: 42,
        name: "mysqld".into(),
        directory: "/var/lib/mysql".into(),
        on_our_device: false,
    };
    observation.mysqld = Fact::Known(Mysqld { processes: vec![process], answer: MysqldAnswer::Ready });
    assert_eq!(refused(&observation, &config()), RefusalKind::AnotherMysqld);
    observation.mysqld = Fact::Unknown("no /proc".into());
    assert_eq!(refused(&observation, &config()), RefusalKind::MysqldUnknown);
}

#[test]
fn pacemaker_refuses_everyone_but_its_own_agent() {
    let mut config = config();
    config.cluster_manager = ClusterManager::Pacemaker;
    let observation = peer_lost();
    assert_eq!(refused(&observation, &config), RefusalKind::PacemakerOwns);
    let agent = Request { from_cluster_manager: true, ..Request::default() };
    assert!(!names(&planned(&observation, &config, agent)).contains(&"stop-cluster-manager"));
}

#[test]
fn a_peer_that_does_not_yield_in_time_is_fenced_before_anything_else() {
    let mut config = config();
    config.fence = Some(vec!["/sbin/fence".into()]);
    let observation = standby_with(|_| {});
    assert_eq!(refused(&observation, &config), RefusalKind::VipAnswers);
    let waited = Request { waited_out: true, ..Request::default() };
    let plan = planned(&observation, &config, waited);
    assert_eq!(names(&plan)[..4], ["stop-cluster-manager", "fence-peer", "wait-vip-gone", "disconnect-drbd"]);
}

#[test]
fn what_was_so_before_has_no_undo_unless_a_broken_takeover_made_it() {
    let mut observation = standby_with(|world| {
        world.machines.swap(0, 1);
        world.machines[1].vip = false;
    });
    let undone = |observation: &Observation| -> Vec<&'static str> {
        let plan = planned(observation, &config(), Request::default());
        plan.steps.iter().filter(|step| step.undo.is_some()).map(|step| step.action.name()).collect()
    };
    assert_eq!(undone(&observation), ["add-vip"]);
    observation.past.unfinished_takeover = vec!["promote-drbd".into(), "mount".into()];
    assert_eq!(undone(&observation), ["promote-drbd", "mount", "add-vip"]);
    assert_eq!(undone(&peer_lost()), ["disconnect-drbd", "promote-drbd", "mount", "start-mysqld", "add-vip"]);
}

#[test]
fn a_release_connects_again_what_a_broken_takeover_disconnected() {
    let steps = |observation: &Observation| -> Vec<&'static str> {
        match decide::release(observation, &config(), &Request::default()) {
            Decision::Plan(plan) => names(&plan),
            Decision::Refusal(refusal) => panic!("{refusal}"),
        }
    };
    let mut observation = peer_lost();
    assert!(steps(&observation).is_empty());
    drbd(&mut observation).connection = Connection::StandAlone;
    assert!(steps(&observation).is_empty(), "a split brain is left to a person");
    observation.past.we_disconnected_drbd = true;
    assert_eq!(
        steps(&observation),
        ["remove-vip", "stop-mysqld", "unmount", "demote-drbd", "reconnect-drbd"]
    );
}

fn fact<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Fact<T>> {
    prop_oneof![9 => value.prop_map(Fact::Known), 1 => Just(Fact::Unknown("not learnt".to_owned()))]
}

fn answer() -> impl Strategy<Value = Fact<Option<Answer>>> {
    fact(prop_oneof![
        2 => Just(None),
        1 => any::<bool>().prop_map(|icmp| Some(Answer { icmp, arp: (!icmp).then(|| "02::01".to_owned()) }))
    ])
}

fn any_observation() -> impl Strategy<Value = Observation> {
    use Connection::*;
    let connection =
        prop::sample::select(vec![Unconfigured, StandAlone, Connecting, Broken, Handshake, Connected]);
    let role = || prop::sample::select(vec![Role::Primary, Role::Secondary, Role::Unknown]);
    let disk = prop_oneof![
        3 => Just(Disk::UpToDate),
        1 => prop::sample::select(vec![Disk::Consistent, Disk::Outdated, Disk::Inconsistent, Disk::Diskless])
    ];
    let replication = prop_oneof![
        4 => Just(Replication::Established),
        1 => prop::sample::select(vec![Replication::SyncTarget, Replication::SyncSource, Replication::Off])
    ];
    let states = (connection, role(), role(), disk, replication, prop::bool::weighted(0.1));
    let network = (answer(), answer(), answer(), prop::option::of(answer()));
    (states, network, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
        |(
            (connection, role, peer_role, disk, replication, suspended),
            (vip, first, second, witness),
            ours,
            here,
            broken,
        )| {
            let mut observation = peer_lost();
            {
                let drbd = drbd(&mut observation);
                drbd.connection = connection;
                drbd.role = role;
                drbd.peer_role = peer_role;
                drbd.disk = disk;
                drbd.replication = replication;
                drbd.io_suspended = suspended;
            }
            if here {
                observation.vip.here = Fact::Known(Some("eth0".into()));
                observation.vip.answer = Fact::Known(None);
            } else {
                observation.vip.answer = vip;
            }
            observation.peer.addresses[0].answer = first;
            observation.peer.addresses[1].answer = second;
            observation.witnesses = witness
                .into_iter()
                .map(|answer| AddressProbe { address: "10.77.0.254".parse().unwrap(), answer })
                .collect();
            observation.past.we_disconnected_drbd = ours;
            if broken {
                observation.past.unfinished_takeover = vec!["disconnect-drbd".into(), "promote-drbd".into()];
            }
            observation
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_plan_breaks_a_safety_rule(
        observation in any_observation(),
        fence in any::<bool>(),
        peer_confirmed_inactive in any::<bool>(),
        waited_out in any::<bool>(),
    ) {
        let mut config = config();
        config.fence = fence.then(|| vec!["/sbin/fence".to_owned()]);
        let request = Request { peer_confirmed_inactive, waited_out, ..Request::default() };
        let Decision::Plan(plan) = decide::takeover(&observation, &config, &request) else { return Ok(()) };
        let names = names(&plan);
        if names.is_empty() {
            return Ok(());
        }
        let drbd = observation.drbd.known().unwrap();
        let position = |name: &str| names.iter().position(|other| *other == name);
        let fenced = position("fence-peer").is_some();
        let alive = observation.peer.addresses.iter().any(|probe| matches!(probe.answer, Fact::Known(Some(_))));
        let connected = matches!(drbd.connection, Connection::Connected | Connection::Handshake);

        prop_assert!(matches!(drbd.disk, Disk::UpToDate | Disk::Consistent));
        prop_assert!(drbd.disk != Disk::Consistent || config.fence.is_some() || peer_confirmed_inactive);
        prop_assert!(!drbd.io_suspended);
        prop_assert!(drbd.connection != Connection::StandAlone || observation.past.we_disconnected_drbd);
        let vip_gone = observation.vip.answer == Fact::Known(None);
        prop_assert!(vip_gone || (fenced && waited_out), "someone holds the virtual IP");
        prop_assert!(!(alive && connected && drbd.peer_role == Role::Primary) || fenced, "the peer is alive and Primary");
        if alive && !connected && drbd.role != Role::Primary {
            prop_assert!(fenced || peer_confirmed_inactive, "the peer is alive and unseen");
        }
        for pair in [
            ["wait-vip-gone", "promote-drbd"], ["promote-drbd", "mount"], ["mount", "audit-engines"],
            ["audit-engines", "start-mysqld"], ["start-mysqld", "add-vip"], ["add-vip", "verify"],
        ] {
            prop_assert!(position(pair[0]) < position(pair[1]), "{pair:?}");
        }
        if let Some(fence) = position("fence-peer") {
            prop_assert!(Some(fence) < position("promote-drbd"));
        }
        prop_assert_eq!(position("disconnect-drbd").is_some(), position("reconnect-drbd").is_some());
    }
}
