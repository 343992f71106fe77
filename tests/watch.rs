//! What a standby does: judged from one look and what is known beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use standin::config::{AutomaticTakeover, ClusterManager, Config};
use standin::decide::{RefusalKind, Watch, Watching, watch};
use standin::node::Node;
use standin::node::simulated::{SimulatedNode, World};
use standin::observation::*;
use standin::plan::Goal;
use support::{config, seen_by};

fn automatic() -> Config {
    let mut config = Config { cluster_manager: ClusterManager::None, ..config() };
    config.agent.takeover = AutomaticTakeover::Automatic;
    config
}

fn peer_is_dead() -> Observation {
    let mut world = World::new();
    world.power_cut(0);
    SimulatedNode::new(Arc::new(Mutex::new(world)), 1, automatic()).observe()
}

fn peer_yielded() -> Observation {
    let mut seen = seen_by(1);
    seen.vip.answer = Fact::Known(None);
    match &mut seen.drbd {
        Fact::Known(drbd) => drbd.peer_role = Role::Secondary,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
    seen
}

/// The peer has been silent for long enough.
fn long_silent() -> Watching {
    let silent_for = Duration::from_millis(1500);
    Watching { silent_for, vip_silent_for: silent_for, in_step: true, ..Watching::default() }
}

#[test]
fn a_peer_that_serves_is_left_alone() {
    assert!(matches!(watch(&seen_by(1), &automatic(), &long_silent()), Watch::Well(_)));
    assert!(matches!(watch(&seen_by(0), &automatic(), &long_silent()), Watch::NotStandby(_)));
}

#[test]
fn a_dead_peer_is_replaced_once_its_silence_has_lasted() {
    let short = Watching { silent_for: Duration::from_millis(1400), ..long_silent() };
    assert!(matches!(watch(&peer_is_dead(), &automatic(), &short), Watch::LookAgain(_)));
    let long = watch(&peer_is_dead(), &automatic(), &long_silent());
    assert!(matches!(&long, Watch::TakeOver(why) if why.contains("dead")), "{long:?}");
}

#[test]
fn a_fence_command_does_not_make_one_silent_look_a_death() {
    let mut config = automatic();
    config.fence = Some(vec!["/usr/local/sbin/power-off".to_owned()]);
    let short = Watching { silent_for: Duration::from_millis(300), ..long_silent() };
    assert!(matches!(watch(&peer_is_dead(), &config, &short), Watch::LookAgain(_)));
    assert!(matches!(watch(&peer_is_dead(), &config, &long_silent()), Watch::TakeOver(_)));
}

#[test]
fn a_peer_that_lives_and_has_let_the_address_go_for_long_is_fenced() {
    let mut config = automatic();
    config.fence = Some(vec!["/usr/local/sbin/power-off".to_owned()]);
    let mut seen = seen_by(1);
    seen.vip.answer = Fact::Known(None);
    let after = |vip_silent_for| Watching { vip_silent_for, in_step: true, ..Watching::default() };
    let early = watch(&seen, &config, &after(config.limits.wait_vip_gone / 2));
    assert!(matches!(early, Watch::LookAgain(_)), "{early:?}");
    let late = watch(&seen, &config, &after(config.limits.wait_vip_gone));
    assert!(matches!(late, Watch::TakeOver(_)), "{late:?}");
}

#[test]
fn only_automatic_takes_over_by_itself() {
    for takeover in [AutomaticTakeover::Never, AutomaticTakeover::WithClusterManager] {
        let mut config = automatic();
        config.agent.takeover = takeover;
        assert!(matches!(watch(&peer_is_dead(), &config, &long_silent()), Watch::Well(_)));
    }
}

#[test]
fn what_holds_it_back_is_said() {
    let because = |change: &dyn Fn(&mut Watching)| {
        let mut watching = long_silent();
        change(&mut watching);
        watch(&peer_is_dead(), &automatic(), &watching)
    };
    let text = || Some("because".to_owned());
    for held in [
        because(&|watching| watching.paused = text()),
        because(&|watching| watching.gave_up = text()),
        because(&|watching| watching.in_vain = text()),
    ] {
        assert!(matches!(&held, Watch::Well(why) if why.contains("because")), "{held:?}");
    }
    assert!(matches!(because(&|watching| watching.running = Some(Goal::Takeover)), Watch::Well(_)));
}

#[test]
fn a_node_that_may_lack_the_peers_last_commits_does_not_step_up_by_itself() {
    let out_of_step = Watching { in_step: false, ..long_silent() };
    let refused = watch(&peer_is_dead(), &automatic(), &out_of_step);
    assert!(
        matches!(&refused, Watch::Refuse(refusal) if refusal.kind == RefusalKind::OutOfStep),
        "{refused:?}"
    );
    // A connected Secondary has the same data.
    let yielded = Watching { peer_was_active: true, ..out_of_step };
    assert!(matches!(watch(&peer_yielded(), &automatic(), &yielded), Watch::TakeOver(_)));
}

#[test]
fn a_peer_that_gave_up_is_followed_at_once_and_two_idle_nodes_do_not_step_up_together() {
    let now = Watching { in_step: true, ..Watching::default() };
    let followed = Watching { peer_was_active: true, ..now.clone() };
    assert!(matches!(watch(&peer_yielded(), &automatic(), &followed), Watch::TakeOver(_)));
    let after = |seconds| Watching { vip_silent_for: Duration::from_secs(seconds), ..now.clone() };
    // This node is the second by name.
    assert!(matches!(watch(&peer_yielded(), &automatic(), &after(14)), Watch::LookAgain(_)));
    assert!(matches!(watch(&peer_yielded(), &automatic(), &after(15)), Watch::TakeOver(_)));
    let mut first = automatic();
    std::mem::swap(&mut first.this_node.name, &mut first.peer.name);
    assert!(matches!(watch(&peer_yielded(), &first, &after(3)), Watch::TakeOver(_)));
}

#[test]
fn a_takeover_that_was_broken_off_is_finished() {
    let mut seen = seen_by(0);
    seen.vip.here = Fact::Known(None);
    assert!(matches!(watch(&seen, &automatic(), &Watching::default()), Watch::NotStandby(_)));
    seen.past.unfinished_takeover = vec!["promote-drbd".to_owned()];
    let broken = watch(&seen, &automatic(), &Watching::default());
    assert!(matches!(broken, Watch::TakeOver(_)), "{broken:?}");
}
