//! What the fence-peer handler answers, rule by rule, and all of it over random observations.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use standin::config::Config;
use standin::decide::{FenceAnswer, FenceDecision, FenceRequest};
use standin::node::Node;
use standin::node::simulated::{SimulatedNode, World};
use standin::observation::*;
use support::config;

const PEER_MAC: &str = "02::01";

fn answers(mac: &str) -> Fact<Option<Answer>> {
    Fact::Known(Some(Answer { icmp: true, arp: Some(mac.into()) }))
}

fn silent() -> Fact<Option<Answer>> {
    Fact::Known(None)
}

/// A node that has lost its peer: Primary with the virtual IP, the peer silent, a witness there.
fn active() -> Observation {
    let mut world = World::new();
    world.power_cut(0);
    let mut observation = SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config()).observe();
    {
        let drbd = drbd(&mut observation);
        drbd.connection = Connection::Broken;
        drbd.replication = Replication::Off;
        drbd.role = Role::Primary;
        drbd.peer_role = Role::Unknown;
        drbd.disk = Disk::UpToDate;
        drbd.peer_disk = Disk::Unknown;
        drbd.io_suspended = true;
    }
    observation.vip = Vip { here: Fact::Known(Some("eth0".into())), answer: silent() };
    observation.peer.addresses.iter_mut().for_each(|probe| probe.answer = silent());
    observation.witnesses = vec![witness(answers("02::fe"))];
    observation
}

/// The same as a standby that is to be promoted.
fn standby() -> Observation {
    let mut observation = active();
    observation.vip.here = Fact::Known(None);
    drbd(&mut observation).role = Role::Secondary;
    drbd(&mut observation).connection = Connection::StandAlone;
    drbd(&mut observation).io_suspended = false;
    observation
}

fn witness(answer: Fact<Option<Answer>>) -> AddressProbe {
    AddressProbe { address: "10.77.0.254".parse().unwrap(), answer }
}

fn drbd(observation: &mut Observation) -> &mut Drbd {
    match &mut observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

fn with_fence() -> Config {
    Config { fence: Some(vec!["/sbin/fence".into(), "{peer}".into()]), ..config() }
}

fn own(peer_judged: bool, confirmed: bool) -> OwnTakeover {
    OwnTakeover { reason: "node1 is dead".into(), peer_judged, confirmed }
}

/// A peer that has been silent for so long is dead.
const LONG_ENOUGH: Duration = Duration::from_millis(1500);

fn fence_peer(
    observation: &Observation,
    config: &Config,
    own: Option<&OwnTakeover>,
    reconnect_waited: bool,
) -> FenceDecision {
    let request = FenceRequest { own, reconnect_waited, silent_for: LONG_ENOUGH, ..FenceRequest::default() };
    standin::decide::fence_peer(observation, config, request)
}

/// The answer; `None` for another look, and a panic for a fence.
fn answer(observation: &Observation) -> Option<FenceAnswer> {
    match fence_peer(observation, &config(), None, true) {
        FenceDecision::Answer(answer, reason) => {
            assert!(!reason.is_empty());
            Some(answer)
        }
        FenceDecision::LookAgain(reason) | FenceDecision::Listen(reason) => {
            assert!(!reason.is_empty());
            None
        }
        FenceDecision::Fence { command, .. } => panic!("{command:?}"),
    }
}

fn fences(observation: &Observation, waited: bool) -> bool {
    matches!(fence_peer(observation, &with_fence(), None, waited), FenceDecision::Fence { command, .. } if command[1] == "node1")
}

#[test]
fn the_exit_codes_are_those_of_the_kernel_and_never_an_outcome_of_ours() {
    use FenceAnswer::*;
    let codes = [NotKnown, PeerOutdated, PeerDown, PeerPrimary, PeerFenced].map(FenceAnswer::exit_code);
    assert_eq!(codes, [1, 4, 5, 6, 7]);
    let write: Vec<u8> = [NotKnown, PeerOutdated, PeerDown, PeerPrimary, PeerFenced]
        .into_iter()
        .filter(|answer| answer.lets_write())
        .map(FenceAnswer::exit_code)
        .collect();
    assert_eq!(write, [4, 5, 7]);
}

#[test]
fn an_active_node_goes_on_when_its_standby_is_dead() {
    assert_eq!(answer(&active()), Some(FenceAnswer::PeerDown));
    let mut cable = active();
    cable.peer.addresses[0].answer = Fact::Unknown("eth1 has no carrier".into());
    assert_eq!(answer(&cable), Some(FenceAnswer::PeerDown), "a witness answers");
    cable.witnesses.clear();
    assert_eq!(answer(&cable), None, "it may be our own port");
}

#[test]
fn a_dead_standby_is_fenced_at_once_when_there_is_a_fence_command() {
    assert!(fences(&active(), false));
    assert!(fences(&standby(), false));
}

#[test]
fn an_active_node_that_is_cut_off_neither_goes_on_nor_fences() {
    let mut observation = active();
    observation.witnesses = vec![witness(silent())];
    assert_eq!(answer(&observation), None);
    assert!(!fences(&observation, true));
    observation.witnesses.clear();
    let FenceDecision::Answer(FenceAnswer::PeerDown, reason) =
        fence_peer(&observation, &config(), None, false)
    else {
        panic!("a pair without a witness is not kept from serving")
    };
    assert!(reason.contains("no witness is configured"), "{reason}");
}

#[test]
fn a_standby_that_lives_behind_a_cut_link_keeps_io_frozen_unless_it_is_fenced() {
    let mut observation = active();
    observation.peer.addresses[1].answer = answers(PEER_MAC);
    assert_eq!(answer(&observation), None);
    assert!(!fences(&observation, false), "it may connect again by itself");
    assert!(fences(&observation, true));
}

#[test]
fn a_paused_node_that_resumes_learns_that_its_peer_has_taken_over() {
    let mut observation = active();
    observation.peer.addresses.iter_mut().for_each(|probe| probe.answer = answers(PEER_MAC));
    assert_eq!(answer(&observation), None, "the takeover may be on its way");
    observation.vip.answer = answers(PEER_MAC);
    assert_eq!(answer(&observation), Some(FenceAnswer::PeerPrimary));
    assert!(!fences(&observation, true), "the loser must not shoot the winner");
    observation.vip.here = Fact::Known(None);
    assert_eq!(answer(&observation), Some(FenceAnswer::PeerPrimary), "whether or not it is still here");
}

#[test]
fn a_third_holder_of_the_virtual_ip_is_not_called_the_peer() {
    for (mac, unknown) in [("02::99", false), (PEER_MAC, true)] {
        let mut observation = active();
        observation.peer.addresses[1].answer = answers(PEER_MAC);
        observation.vip.answer = if unknown { Fact::Unknown("no carrier".into()) } else { answers(mac) };
        assert_eq!(answer(&observation), None);
        assert!(!fences(&observation, true));
    }
}

#[test]
fn one_silent_look_is_no_death() {
    for (seen, most) in [(active(), 1400), (standby(), 1400)] {
        let request = FenceRequest { silent_for: Duration::from_millis(most), ..FenceRequest::default() };
        let decision = standin::decide::fence_peer(&seen, &config(), request);
        assert!(matches!(decision, FenceDecision::Listen(_)), "{decision:?}");
    }
}

#[test]
fn a_node_that_was_held_up_or_cut_off_does_not_take_silence_for_death() {
    let long = FenceRequest { silent_for: LONG_ENOUGH, ..FenceRequest::default() };
    let held = FenceRequest { was_held: true, ..long };
    let cut_off = FenceRequest { was_cut_off: true, ..long };
    for request in [held, cut_off] {
        let decision = standin::decide::fence_peer(&active(), &config(), request);
        assert!(matches!(decision, FenceDecision::LookAgain(_)), "{decision:?}");
        let fenced = standin::decide::fence_peer(&active(), &with_fence(), request);
        assert!(matches!(fenced, FenceDecision::Fence { .. }), "the fence command knows: {fenced:?}");
    }
}

#[test]
fn our_own_takeover_has_weighed_the_evidence() {
    let mut observation = standby();
    observation.vip =
        Vip { here: Fact::Unknown("not looked at".into()), answer: Fact::Unknown("not looked at".into()) };
    observation.peer.addresses.clear();
    let ask = |observation: &Observation, own: &OwnTakeover| match fence_peer(
        observation,
        &config(),
        Some(own),
        false,
    ) {
        FenceDecision::Answer(answer, _) => answer,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&observation, &own(true, false)), FenceAnswer::PeerDown);
    assert_eq!(ask(&observation, &own(true, true)), FenceAnswer::PeerFenced);
    assert_eq!(
        ask(&observation, &own(false, true)),
        FenceAnswer::NotKnown,
        "it relied on a connection that is gone"
    );
    drbd(&mut observation).disk = Disk::Consistent;
    assert_eq!(ask(&observation, &own(true, false)), FenceAnswer::NotKnown);
    assert_eq!(ask(&observation, &own(true, true)), FenceAnswer::PeerFenced);
}

#[test]
fn an_active_node_never_takes_a_takeover_of_its_own_for_evidence() {
    let mut observation = active();
    observation.peer.addresses[1].answer = answers(PEER_MAC);
    let decision = fence_peer(&observation, &config(), Some(&own(true, true)), true);
    assert!(matches!(decision, FenceDecision::LookAgain(_)), "{decision:?}");
}

#[test]
fn a_promotion_by_another_hand_stands_on_the_same_evidence() {
    assert_eq!(answer(&standby()), Some(FenceAnswer::PeerDown));
    let mut alive = standby();
    alive.peer.addresses[1].answer = answers(PEER_MAC);
    assert_eq!(answer(&alive), Some(FenceAnswer::NotKnown), "refused at once and not after minutes");
    assert!(!fences(&alive, true), "only a takeover fences what lives");
    alive.vip.answer = answers(PEER_MAC);
    assert_eq!(answer(&alive), Some(FenceAnswer::PeerPrimary));
}

#[test]
fn evidence_alone_never_makes_a_disk_current() {
    for disk in [Disk::Consistent, Disk::Outdated, Disk::Inconsistent, Disk::Diskless] {
        for mut observation in [active(), standby()] {
            drbd(&mut observation).disk = disk;
            assert_eq!(answer(&observation), Some(FenceAnswer::NotKnown), "{disk:?}");
        }
    }
}

#[test]
fn a_connection_that_is_back_needs_no_answer() {
    for connection in [Connection::Connected, Connection::Handshake, Connection::Unconfigured] {
        let mut observation = active();
        drbd(&mut observation).connection = connection;
        assert_eq!(answer(&observation), Some(FenceAnswer::NotKnown), "{connection:?}");
        assert!(!fences(&observation, true));
    }
    let mut observation = active();
    observation.drbd = Fact::Unknown("/proc/drbd can't be read".into());
    assert_eq!(answer(&observation), None);
    let decision = fence_peer(&observation, &config(), Some(&own(true, true)), false);
    assert!(matches!(decision, FenceDecision::Answer(FenceAnswer::NotKnown, _)), "{decision:?}");
}

#[test]
fn io_that_a_person_resumed_needs_no_answer_and_no_fence() {
    let mut observation = active();
    observation.peer.addresses[1].answer = answers(PEER_MAC);
    let request = FenceRequest { reconnect_waited: true, io_was_suspended: true, ..FenceRequest::default() };
    let ask = |observation: &Observation| standin::decide::fence_peer(observation, &with_fence(), request);
    assert!(matches!(ask(&observation), FenceDecision::Fence { .. }));
    drbd(&mut observation).io_suspended = false;
    let decision = ask(&observation);
    assert!(matches!(decision, FenceDecision::Answer(FenceAnswer::NotKnown, _)), "{decision:?}");
}

#[test]
fn a_peer_that_drbd_itself_outdated_is_said_to_be_so() {
    let mut observation = active();
    observation.peer.addresses[1].answer = answers(PEER_MAC);
    drbd(&mut observation).peer_disk = Disk::Outdated;
    assert_eq!(answer(&observation), Some(FenceAnswer::PeerOutdated));
}

fn any_answer() -> impl Strategy<Value = Fact<Option<Answer>>> {
    prop_oneof![
        3 => Just(silent()),
        2 => prop::sample::select(vec![PEER_MAC, "02::99"]).prop_map(answers),
        1 => Just(Fact::Known(Some(Answer { icmp: true, arp: None }))),
        1 => Just(Fact::Unknown("not learnt".to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_answer_lets_two_nodes_write(
        connection in prop::sample::select(vec![
            Connection::StandAlone, Connection::Connecting, Connection::Broken, Connection::Handshake, Connection::Connected,
        ]),
        role in prop::sample::select(vec![Role::Primary, Role::Secondary]),
        disk in prop::sample::select(vec![Disk::UpToDate, Disk::Consistent, Disk::Outdated]),
        here in any::<bool>(),
        vip in any_answer(),
        first in any_answer(),
        second in any_answer(),
        third in prop::option::of(any_answer()),
        fence in any::<bool>(),
        waited in any::<bool>(),
        own in prop::option::of((any::<bool>(), any::<bool>()).prop_map(|(judged, confirmed)| own(judged, confirmed))),
    ) {
        let mut observation = active();
        {
            let drbd = drbd(&mut observation);
            drbd.connection = connection;
            drbd.role = role;
            drbd.disk = disk;
        }
        observation.vip = Vip { here: Fact::Known(here.then(|| "eth0".to_owned())), answer: vip };
        observation.peer.addresses[0].answer = first;
        observation.peer.addresses[1].answer = second;
        observation.witnesses = third.into_iter().map(witness).collect();
        let config = if fence { with_fence() } else { config() };

        let decision = fence_peer(&observation, &config, own.as_ref(), waited);
        let alive = observation.peer.addresses.iter().any(|probe| matches!(probe.answer, Fact::Known(Some(_))));
        let judged = own.as_ref().is_some_and(|own| own.peer_judged) && role == Role::Secondary;
        let isolated = !observation.witnesses.is_empty()
            && !observation.witnesses.iter().any(|probe| matches!(probe.answer, Fact::Known(Some(_))));
        match decision {
            FenceDecision::Answer(answer, reason) => {
                prop_assert!(!reason.is_empty());
                if answer.lets_write() {
                    prop_assert!(!matches!(connection, Connection::Connected | Connection::Handshake));
                    prop_assert!(judged || (!alive && !isolated && observation.vip.answer == silent()));
                    prop_assert!(judged || !fence, "a fence command was not asked");
                    prop_assert!(disk == Disk::UpToDate || answer == FenceAnswer::PeerFenced);
                }
                if answer == FenceAnswer::PeerFenced {
                    prop_assert!(judged && own.unwrap().confirmed);
                }
            }
            FenceDecision::Fence { .. } => {
                prop_assert!(fence && !isolated && observation.vip.answer == silent());
                prop_assert!(!alive || (waited && role == Role::Primary));
            }
            FenceDecision::Listen(_) => prop_assert!(false, "it was silent for long enough"),
            FenceDecision::LookAgain(_) => prop_assert!(role == Role::Primary, "a promotion waits for nothing"),
        }
    }
}
