//! A model of two nodes, their DRBD, two networks and the shipped decisions, searched exhaustively: docs/model.md.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test may panic")]

mod model {
    pub(crate) mod agent;
    pub(crate) mod judge;
    pub(crate) mod look;
    pub(crate) mod properties;
    pub(crate) mod rules;
    pub(crate) mod scenario;
    pub(crate) mod steps;
    pub(crate) mod words;
    pub(crate) mod world;
}

use std::time::Instant;

use model::properties;
use model::scenario::{Fault, Scenario};
use stateright::{Checker, HasDiscoveries, Model};

const WITNESS: &str = "witnesses: [10.77.0.254]\n";

/// Searches every state; the first broken property with its trace.
fn search(name: &str, scenario: Scenario) -> Option<(&'static str, String)> {
    let begun = Instant::now();
    let checker = scenario.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name}: {} states, {} transitions, depth {}, {} different questions to the decisions, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().judge.questions(),
        begun.elapsed().as_secs_f64()
    );
    let (property, path) = checker.discoveries().into_iter().min_by_key(|(_, path)| path.clone().into_states().len())?;
    let steps = path.into_vec();
    let judge = &checker.model().judge;
    let mut trace = String::new();
    for pair in steps.windows(2) {
        if let (before, Some(event)) = &pair[0] {
            let after = &pair[1].0;
            trace.push_str(&format!("  {}\n", model::words::with_step(before, event, after, judge)));
        }
    }
    let last = &steps.last().unwrap().0;
    if property == properties::SERVICE_OR_REASON || property == properties::SERVICE {
        for me in 0..2 {
            if last.machines[me].is_on() {
                trace.push_str(&format!("  node{}: {:?}\n", me + 1, properties::why_not(checker.model(), last, me)));
            }
        }
    }
    trace.push_str(&format!("{last:#?}"));
    println!("broken: {property}\n{trace}");
    Some((property, trace))
}

/// The settled states without service, by what each node says.
fn ends_without_service(scenario: Scenario) -> std::collections::BTreeMap<String, usize> {
    let (recorder, states) = stateright::StateRecorder::new_with_accessor();
    let checker = scenario.checker().visitor(recorder).spawn_bfs().join();
    let scenario = checker.model();
    let mut ends = std::collections::BTreeMap::new();
    for world in states() {
        if properties::is_settled(scenario, &world) && !properties::has_service(&world) {
            let says = |me: usize| match world.machines[me].is_on() {
                true => properties::why_not(scenario, &world, me).unwrap_or_else(|wrong| format!("WRONG: {wrong}")),
                false => "off".to_owned(),
            };
            *ends.entry(format!("node1: {}\n    node2: {}", says(0), says(1))).or_default() += 1;
        }
    }
    ends
}

#[test]
fn try_it() {
    let fault = |name: &str| Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name).unwrap();
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let without: Vec<Fault> = env("WITHOUT").split(',').filter(|name| !name.is_empty()).map(fault).collect();
    let settings = format!("{}{}", WITNESS, env("SETTINGS").replace(';', "\n"));
    let rules = model::rules::Rules::all();
    let mut scenario = Scenario::new(&settings, env("DRBD") != "dont-care", env("BUDGET").parse().unwrap_or(1), rules).without(&without);
    scenario.hands = env("HANDS") != "no";
    scenario.agents = env("AGENTS") != "no";
    if env("ENDS") == "yes" {
        for (end, states) in ends_without_service(scenario) {
            println!("== {states} states\n == {end}");
        }
        return;
    }
    if env("ONLY") == "service" {
        scenario.only = Some(properties::SERVICE);
    }
    search("try", scenario);
}
