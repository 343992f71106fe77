//! Searches a scenario, and tells what it found in words.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, StateRecorder};

use super::properties;
use super::scenario::{Event, Scenario};
use super::words;
use super::world::World;

/// Searches every state, or until a property is broken.
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
    let found = checker.discoveries().into_iter().map(|(property, path)| (property, path.into_vec()));
    let (property, path) = found.min_by_key(|(_, path)| path.len())?;
    let trace = told(checker.model(), &path);
    println!("  broken: {property}\n{trace}");
    Some((property, trace))
}

/// Nothing is broken in any state.
pub(crate) fn holds(name: &str, scenario: Scenario) {
    let found = search(name, scenario);
    assert!(found.is_none(), "{name}: {}", found.map(|(_, trace)| trace).unwrap_or_default());
}

/// A property is broken, and this is how.
pub(crate) fn finds(name: &str, scenario: Scenario, broken: &'static str) -> String {
    let found = search(name, Scenario { only: Some(broken), ..scenario });
    let (_, trace) = found.unwrap_or_else(|| panic!("{name}: nothing was found"));
    trace
}

fn told(scenario: &Scenario, path: &[(World, Option<Event>)]) -> String {
    let mut trace = String::new();
    for pair in path.windows(2) {
        if let [(before, Some(event)), (after, _)] = pair {
            let line = words::with_step(before, event, after, &scenario.judge);
            let _ = writeln!(trace, "    {line}");
        }
    }
    if let Some((last, _)) = path.last() {
        let _ = writeln!(trace, "    end: {}", words::state(scenario, last));
    }
    trace
}

/// Every state in which nothing moves any more and nobody serves: what the nodes say, and in how many states.
pub(crate) fn ends_without_service(scenario: Scenario) -> BTreeMap<String, usize> {
    let (recorder, states) = StateRecorder::new_with_accessor();
    let checker = scenario.checker().visitor(recorder).spawn_bfs().join();
    let scenario = checker.model();
    let mut ends = BTreeMap::new();
    for world in states() {
        if properties::is_settled(scenario, &world) && !properties::has_service(&world) {
            *ends.entry(words::state(scenario, &world)).or_default() += 1;
        }
    }
    ends
}

/// What the search comes to see, of that which it is to see for its results to mean anything.
pub(crate) fn unseen(scenario: Scenario) -> Vec<&'static str> {
    let checker = Scenario { only: Some(properties::SEEN), ..scenario }.checker().spawn_bfs().join();
    let seen = checker.discoveries();
    checker.model().properties().iter().map(|it| it.name).filter(|name| !seen.contains_key(name)).collect()
}
