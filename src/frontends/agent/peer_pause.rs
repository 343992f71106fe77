//! What the peer's agent says: its pause holds back this agent, too, and what its node holds this one can't have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::peer_status::{self, PeerStatus};
use super::snapshot::{Pause, StandingWord};
use crate::config::Config;
use crate::frontends::news::News;
use crate::frontends::peer_agent;

/// Between two questions to the peer's agent.
const EVERY: Duration = Duration::from_secs(1);

/// What the peer's agent says counts for so long.
const FRESH: Duration = Duration::from_secs(3);

/// What the peer's agent said last of a pause of its own node. While it says so, that is so, whatever the clocks of the two nodes show.
/// It counts until its end also while the peer is silent: a pause that ended with the machine that is worked on would be none. But
/// then a person on this node can end it.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerPause {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    latest: Option<Heard>,
    /// When the peer's agent last said that its node holds something of the cluster.
    holds: Option<Instant>,
    /// When a person last ended a pause on this node, as the journal has it.
    resumed: Option<Option<SystemTime>>,
    /// When this agent learnt of that. The journal's time is of a clock that may have been set since.
    resumed_seen: Option<Instant>,
}

/// A pause, as it was heard of.
#[derive(Debug)]
struct Heard {
    pause: Pause,
    at: Instant,
    /// What is left of it then by the peer's own clock; none: until somebody ends it.
    left: Option<Duration>,
}

impl PeerPause {
    /// Asks again and again, in a thread of its own. Agents that can't reach each other each have a pause of their own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn follow(config: &Config) -> std::io::Result<Self> {
        let this = Self::default();
        let Ok(address) = peer_agent::address(config) else { return Ok(this) };
        let (cluster, peer, told) = (config.name.clone(), config.peer.name.clone(), this.clone());
        thread::Builder::new().name("peer".to_owned()).stack_size(256 * 1024).spawn(move || {
            let silence = News::none();
            loop {
                match peer_status::ask(address, &cluster, &peer) {
                    Ok(status) => {
                        if silence.is_over() {
                            log::warn!("the agent of {peer} answers now");
                        }
                        told.heard(&status, Instant::now(), SystemTime::now());
                    }
                    Err(cause) => {
                        if silence.is_news(&cause) {
                            log::warn!(
                                "{cause}; a pause typed on {peer} from now on is not seen here; when {peer} runs, see there: \
                                 systemctl status standin-agent@{cluster}"
                            );
                        }
                    }
                }
                thread::sleep(EVERY);
            }
        })?;
        Ok(this)
    }

    /// Whether the peer's agent has just said that its node holds something of the cluster.
    pub(super) fn holds_something(&self) -> bool {
        self.state().holds.is_some_and(|heard| heard.elapsed() < FRESH)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, status: &PeerStatus, now: Instant, clock: SystemTime) {
        let mut state = self.state();
        let holds = matches!(status.standing, StandingWord::Active | StandingWord::Partial);
        state.holds = (holds && !status.stale).then_some(now);
        // An agent that hangs goes on telling what it saw last: it counts as silent, so that its pause ends, and can be ended here.
        if status.stale && state.latest.is_some() {
            return;
        }
        // What it shows of this node's own pause is an echo: each agent would keep the other one paused for ever.
        let own = status.pause.as_ref().filter(|pause| !pause.by_peer);
        state.latest =
            own.map(|pause| Heard { pause: pause.clone(), at: now, left: left(pause, status, clock) });
    }

    /// The peer's pause, as far as it is in force, as this node shows it. `resumed` is when a person last ended a pause on this
    /// node: a peer that lives says again that it is paused, and must be resumed there.
    pub(super) fn in_force(&self, now: Instant, resumed: Option<SystemTime>) -> Option<Pause> {
        let mut state = self.state();
        // What was typed before this agent began was typed before it has heard of any pause.
        if state.resumed.replace(resumed).is_some_and(|before| before != resumed) && resumed.is_some() {
            state.resumed_seen = Some(now);
        }
        let heard = state.latest.as_ref()?;
        let silent_for = now.saturating_duration_since(heard.at);
        let is_ended_here = state.resumed_seen.is_some_and(|seen| seen >= heard.at);
        let is_over = heard.left.is_some_and(|left| silent_for >= left);
        let counts = silent_for < FRESH || (!is_ended_here && !is_over);
        counts.then(|| Pause { by_peer: true, ..heard.pause.clone() })
    }
}

/// What is left of a pause by the clock of the node that says so: the clocks of two nodes may differ by more than a pause lasts.
fn left(pause: &Pause, status: &PeerStatus, clock: SystemTime) -> Option<Duration> {
    let time = |text: &str| humantime::parse_rfc3339(text).ok();
    let until = time(pause.until.as_deref()?)?;
    let age = Duration::try_from_secs_f64(status.age_seconds).unwrap_or_default();
    let theirs = time(&status.at).and_then(|at| at.checked_add(age)).unwrap_or(clock);
    Some(until.duration_since(theirs).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the peer's agent says at a second of its own clock.
    fn status(second: u64, pause: Option<Pause>) -> PeerStatus {
        PeerStatus {
            version: String::new(),
            cluster: "orders".to_owned(),
            node: "node1".to_owned(),
            at: humantime::format_rfc3339_millis(clock(second)).to_string(),
            standing: StandingWord::Active,
            stale: false,
            age_seconds: 0.0,
            pause,
            gave_up: None,
            settling: None,
        }
    }

    fn clock(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn pause(until: Option<u64>) -> Option<Pause> {
        let until = until.map(|second| humantime::format_rfc3339_seconds(clock(second)).to_string());
        Some(Pause { until, reason: None, by_peer: false })
    }

    /// A peer's pause, and the moments at which it is heard of and asked for, in seconds.
    struct Scene {
        peer: PeerPause,
        begun: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let scene = Self { peer: PeerPause::default(), begun: Instant::now() };
            assert!(!scene.holds_back(0, None), "nothing was heard yet");
            scene
        }

        fn at(&self, second: u64) -> Instant {
            self.begun + Duration::from_secs(second)
        }

        fn hears(&self, second: u64, status: &PeerStatus) {
            self.peer.heard(status, self.at(second), clock(second));
        }

        fn holds_back(&self, second: u64, resumed: Option<u64>) -> bool {
            let pause = self.peer.in_force(self.at(second), resumed.map(clock));
            assert!(pause.as_ref().is_none_or(|pause| pause.by_peer));
            pause.is_some()
        }
    }

    #[test]
    fn it_ends_by_itself_also_when_the_peer_is_silent() {
        let scene = Scene::new();
        scene.hears(1, &status(1, pause(Some(60))));
        assert!(scene.holds_back(59, None));
        assert!(!scene.holds_back(60, None));
        scene.hears(61, &status(61, pause(None)));
        assert!(scene.holds_back(1_000_000, None), "until somebody resumes it");
        scene.hears(62, &status(62, None));
        assert!(!scene.holds_back(63, None));
    }

    #[test]
    fn nodes_whose_clocks_differ_agree_on_its_end() {
        let scene = Scene::new();
        // This node's clock is an hour ahead of the peer's, then an hour behind it.
        for theirs in [0, 7200] {
            scene.peer.heard(&status(theirs, pause(Some(theirs + 1800))), scene.at(10), clock(3600));
            assert!(scene.holds_back(10, None), "the peer says so now");
            assert!(scene.holds_back(10 + 1799, None), "it may boot meanwhile");
            assert!(!scene.holds_back(10 + 1800, None));
        }
        let of_another_version = PeerStatus { at: String::new(), ..status(0, pause(Some(3630))) };
        scene.peer.heard(&of_another_version, scene.at(10), clock(3600));
        assert!(scene.holds_back(39, None) && !scene.holds_back(40, None), "this node's clock has to do");
    }

    #[test]
    fn what_a_living_peer_says_counts_whatever_the_clock_shows() {
        let scene = Scene::new();
        // It has ended by the peer's clock, as it was a moment ago.
        scene.hears(10, &status(61, pause(Some(60))));
        assert!(scene.holds_back(12, None));
        assert!(!scene.holds_back(13, None));
    }

    #[test]
    fn that_of_a_silent_peer_can_be_ended_here() {
        let scene = Scene::new();
        // The clock was set back by an hour after it was typed.
        let (earlier, later) = (Some(5000), Some(5001));
        assert!(!scene.holds_back(1, earlier));
        scene.hears(10, &status(10, pause(None)));
        assert!(scene.holds_back(11, earlier) && scene.holds_back(100, earlier), "an earlier one was ended");
        assert!(!scene.holds_back(101, later));
        scene.hears(102, &status(102, pause(None)));
        assert!(scene.holds_back(103, later), "it lives, and is still paused");
        assert!(scene.holds_back(200, later), "also when it is silent then: nobody has ended this one");
    }

    #[test]
    fn a_resume_typed_while_the_peer_lives_waits_for_the_peer() {
        let scene = Scene::new();
        scene.hears(10, &status(10, pause(None)));
        assert!(scene.holds_back(11, Some(11)), "it must be typed there");
        assert!(!scene.holds_back(14, Some(11)), "it was the last that was heard of the peer");
    }

    #[test]
    fn an_agent_that_hangs_counts_as_silent() {
        let scene = Scene::new();
        let hangs = |until| PeerStatus { stale: true, ..status(10, pause(until)) };
        scene.hears(10, &status(10, pause(Some(60))));
        scene.hears(59, &hangs(Some(60)));
        assert!(scene.holds_back(59, None) && !scene.holds_back(60, None), "it goes on saying so");
        scene.hears(70, &status(70, pause(None)));
        scene.hears(80, &hangs(None));
        assert!(scene.holds_back(80, None) && !scene.holds_back(81, Some(81)), "it is ended here");
        scene.hears(82, &hangs(None));
        assert!(!scene.holds_back(82, Some(81)), "for good");
        let scene = Scene::new();
        scene.hears(10, &hangs(Some(60)));
        assert!(scene.holds_back(59, None), "this agent began later, and has heard nothing else");
    }

    #[test]
    fn an_echo_of_this_nodes_own_pause_is_none() {
        let scene = Scene::new();
        let echo = Pause { until: None, reason: None, by_peer: true };
        scene.hears(1, &status(1, Some(echo)));
        assert!(!scene.holds_back(2, None));
    }
}
