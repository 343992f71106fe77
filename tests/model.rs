//! A model of two nodes, their DRBD, two networks and the shipped decisions, searched exhaustively. What it contains, what
//! it leaves out and what it shows: docs/model.md.
#![allow(clippy::panic, reason = "a test may panic")]

mod model {
    pub(crate) mod agent;
    pub(crate) mod faults;
    pub(crate) mod judge;
    pub(crate) mod look;
    pub(crate) mod properties;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod search;
    pub(crate) mod steps;
    pub(crate) mod words;
    pub(crate) mod world;
}

use model::faults::Fault;
use model::properties::{NO_SPLIT, NOTHING_LOST, ONE_HOLDER};
use model::rules::{Rule, Rules};
use model::scenario::Scenario;
use model::search::{ends_without_service, finds, holds, unseen};

const AUTOMATIC: &str = "
witnesses: [10.77.0.254]
agent: {takeover: automatic, self_fence: true}
";
const WITH_FENCE: &str = "
witnesses: [10.77.0.254]
fence: [/usr/local/sbin/power-off, '{peer}']
agent: {takeover: automatic, self_fence: true}
";
const BY_HAND: &str = "
witnesses: [10.77.0.254]
agent: {takeover: never}
";
const HEARTBEAT: &str = "
witnesses: [10.77.0.254]
cluster_manager: {heartbeat: kill}
agent: {takeover: with-cluster-manager, self_fence: true}
";
const PAUSES: [Fault; 2] = [Fault::ShortPause, Fault::LongPause];

/// How many faults may follow on each other where people act, too: `STANDIN_MODEL_FAULTS_BY_HAND`, or 1, because 2 take minutes.
fn faults_by_hand() -> u8 {
    std::env::var("STANDIN_MODEL_FAULTS_BY_HAND").ok().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// DRBD has standin's fence-peer handler, and the agents act alone.
fn agents(settings: &str, faults: u8) -> Scenario {
    Scenario { hands: false, ..Scenario::new(settings, true, faults, Rules::all()) }
}

/// The same, and people or cluster managers ask for a takeover at any moment.
fn agents_and_hands(settings: &str, faults: u8) -> Scenario {
    Scenario::new(settings, true, faults, Rules::all())
}

/// DRBD goes on by itself when it loses its peer (`fencing dont-care`).
fn without_drbds_fencing(settings: &str, faults: u8) -> Scenario {
    Scenario { hands: false, ..Scenario::new(settings, false, faults, Rules::all()) }
}

/// The agents alone, and one rule is not followed.
fn without_rule(rule: Rule, settings: &str, faults: u8) -> Scenario {
    Scenario { hands: false, ..Scenario::new(settings, true, faults, Rules::all().without(rule)) }
}

#[test]
fn the_search_comes_to_see_what_it_judges() {
    let unseen = unseen(agents(AUTOMATIC, 1));
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn one_fault_of_any_kind_breaks_nothing() {
    holds("one fault, agents and hands", agents_and_hands(AUTOMATIC, 1));
    holds("one fault, by hand", agents_and_hands(BY_HAND, 1));
    holds("one fault, agents with a fence command", agents(WITH_FENCE, 1));
}

#[test]
fn without_drbds_fencing_one_fault_breaks_nothing_unless_it_is_a_long_pause() {
    let scenario = || without_drbds_fencing(AUTOMATIC, 1);
    holds("one fault, no DRBD fencing, no long pause", scenario().without(&[Fault::LongPause]));
    finds("one fault, no DRBD fencing", scenario(), NO_SPLIT);
}

#[test]
fn two_faults_of_any_kinds_break_nothing() {
    holds("two faults, agents", agents(AUTOMATIC, 2));
}

#[test]
fn two_faults_of_any_kinds_break_nothing_with_a_fence_command() {
    holds("two faults, agents with a fence command", agents(WITH_FENCE, 2));
}

#[test]
fn while_nobody_is_paused_it_does_not_matter_who_asks() {
    let faults = faults_by_hand();
    let name = |who| format!("faults in a row: {faults}, {who}, nobody is paused");
    holds(&name("agents and hands"), agents_and_hands(AUTOMATIC, faults).without(&PAUSES));
    holds(&name("by hand"), agents_and_hands(BY_HAND, faults).without(&PAUSES));
}

#[test]
fn killing_the_cluster_manager_and_leaving_the_rest_makes_two_holders() {
    let faults =
        [Fault::MysqldDies, Fault::MysqldHangs, Fault::ReadOnly, Fault::DiskHangs, Fault::StandinKilled];
    let scenario = |rules| {
        let scenario = Scenario::new(HEARTBEAT, true, 2, rules).with(&faults);
        Scenario { manager_has_an_address_script: true, ..scenario }
    };
    holds("release before kill", scenario(Rules::all()));
    let naive = Rules::all().without(Rule::ReleaseBeforeKill);
    let trace = finds("kill, and leave the rest", scenario(naive), ONE_HOLDER);
    assert!(trace.contains("the cluster manager of node2 hears nothing"), "{trace}");
}

#[test]
fn taking_a_silent_virtual_ip_for_a_dead_peer_splits_the_cluster() {
    for drbd_fences in [false, true] {
        let rules = Rules::all().without(Rule::Evidence);
        let scenario = Scenario::new(AUTOMATIC, drbd_fences, 1, rules).with(&[Fault::ClientLinkCut]);
        let scenario = Scenario { agents: false, ..scenario };
        if drbd_fences {
            holds("a silent virtual IP is enough, DRBD fences", scenario);
        } else {
            let trace = finds("a silent virtual IP is enough", scenario, NO_SPLIT);
            assert!(trace.contains("acknowledged by node1 alone"), "{trace}");
        }
    }
}

#[test]
fn every_rule_is_there_for_something() {
    let boots = without_rule(Rule::InStep, WITH_FENCE, 2).with(&[Fault::PowerCut]);
    finds("out of step", boots, NOTHING_LOST);
    let stun = without_rule(Rule::HandlerWaits, AUTOMATIC, 2).with(&[Fault::PowerCut, Fault::ShortPause]);
    finds("the handler takes one silent look for a death", stun, NOTHING_LOST);
    let held = without_rule(Rule::KnowsItWasHeld, AUTOMATIC, 2).with(&[Fault::PowerCut, Fault::LongPause]);
    finds("a node does not know that it was paused", held, NOTHING_LOST);
    let links = [Fault::PowerCut, Fault::ClientLinkCut, Fault::ReplicationLinkCut];
    let cut_off = without_rule(Rule::KnowsItWasCutOff, AUTOMATIC, 3).with(&links);
    finds("a node does not know that it was cut off", cut_off, NOTHING_LOST);
}

#[test]
fn what_is_not_promised_is_found() {
    let cut = without_drbds_fencing(AUTOMATIC, 2).with(&[Fault::ReplicationLinkCut, Fault::PowerCut]);
    finds("no DRBD fencing: the link is cut, then the power", cut, NOTHING_LOST);
    let hands = Scenario { agents: false, ..agents_and_hands(WITH_FENCE, 2) };
    finds("by hand, a Consistent disk after a fence", hands.with(&[Fault::PowerCut]), NOTHING_LOST);
    let hands = agents_and_hands(AUTOMATIC, 2).with(&[Fault::PowerCut, Fault::LongPause]);
    finds("by hand, after a pause of the standby", hands, NOTHING_LOST);
    let boot = agents(AUTOMATIC, 2).with(&[Fault::PowerCut]);
    let boot = Scenario { boots_are_slow: false, ..boot };
    finds("a machine boots within the first steps of a takeover", boot, NOTHING_LOST);
    let links = [Fault::ClientLinkCut, Fault::ReplicationLinkCut];
    finds("each node is cut off in turn", agents(AUTOMATIC, 3).with(&links), ONE_HOLDER);
}

#[test]
fn where_nobody_serves_after_one_fault_each_node_says_why() {
    for (name, settings) in [("no fence command", AUTOMATIC), ("with a fence command", WITH_FENCE)] {
        for (end, states) in ends_without_service(agents(settings, 1)) {
            println!("{name}, {states} states: {end}");
            let reasons = ["DRBD holds back all I/O", "not in step"];
            assert!(reasons.iter().any(|reason| end.contains(reason)), "{end}");
        }
    }
}
