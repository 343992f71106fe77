//! What the peer's agent says: its pause holds back this agent, too, and what its node holds this one can't have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::peer_status;
use super::snapshot::{Pause, StandingWord};
use crate::config::Config;
use crate::frontends::peer_agent;

/// Between two questions to the peer's agent.
const EVERY: Duration = Duration::from_secs(1);

/// What the peer's agent says counts for so long.
const FRESH: Duration = Duration::from_secs(3);

/// What the peer's agent said last of a pause of its own node. It counts until its end also while the peer is silent: a pause
/// that ended with the machine that is worked on would be none. But then a person on this node can end it.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerPause {
    /// With the time at which it was heard of.
    latest: Arc<Mutex<Option<(Pause, SystemTime)>>>,
    /// When the peer's agent last said that its node holds something of the cluster.
    holds: Arc<Mutex<Option<Instant>>>,
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
            loop {
                if let Ok(status) = peer_status::ask(address, &cluster, &peer) {
                    let holds = matches!(status.standing, StandingWord::Active | StandingWord::Partial);
                    *told.holds.lock().unwrap_or_else(PoisonError::into_inner) =
                        (holds && !status.stale).then(Instant::now);
                    told.heard(status.pause, SystemTime::now());
                }
                thread::sleep(EVERY);
            }
        })?;
        Ok(this)
    }

    /// Whether the peer's agent has just said that its node holds something of the cluster.
    pub(super) fn holds_something(&self) -> bool {
        let holds = *self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.is_some_and(|heard| heard.elapsed() < FRESH)
    }

    fn latest(&self) -> MutexGuard<'_, Option<(Pause, SystemTime)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it shows of this node's own pause is an echo: each agent would keep the other one paused for ever.
    fn heard(&self, pause: Option<Pause>, now: SystemTime) {
        *self.latest() = pause.filter(|pause| !pause.by_peer).map(|pause| (pause, now));
    }

    /// The peer's pause, as far as it is in force, as this node shows it. `resumed` is when a person last ended a pause on this
    /// node: a peer that lives says again that it is paused, and must be resumed there.
    pub(super) fn in_force(&self, now: SystemTime, resumed: Option<SystemTime>) -> Option<Pause> {
        let (pause, heard) = self.latest().clone()?;
        if resumed.is_some_and(|resumed| resumed > heard) {
            return None;
        }
        let until = pause.until.as_ref().and_then(|until| humantime::parse_rfc3339(until).ok());
        until.is_none_or(|until| until > now).then_some(Pause { by_peer: true, ..pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn pause(until: Option<&str>, by_peer: bool) -> Option<Pause> {
        Some(Pause { until: until.map(str::to_owned), reason: None, by_peer })
    }

    #[test]
    fn it_ends_by_itself_also_when_the_peer_is_silent() {
        let peer = PeerPause::default();
        assert_eq!(peer.in_force(at(0), None), None);
        peer.heard(pause(Some("1970-01-01T00:01:00Z"), false), at(1));
        assert!(peer.in_force(at(59), None).is_some_and(|pause| pause.by_peer));
        assert_eq!(peer.in_force(at(60), None), None);
        peer.heard(pause(None, false), at(2));
        assert!(peer.in_force(at(1_000_000), None).is_some(), "until somebody resumes it");
        peer.heard(None, at(3));
        assert_eq!(peer.in_force(at(4), None), None);
    }

    #[test]
    fn that_of_a_silent_peer_can_be_ended_here() {
        let peer = PeerPause::default();
        peer.heard(pause(None, false), at(10));
        assert!(peer.in_force(at(11), Some(at(9))).is_some(), "an earlier one was ended");
        assert_eq!(peer.in_force(at(21), Some(at(20))), None);
        peer.heard(pause(None, false), at(22));
        assert!(peer.in_force(at(23), Some(at(20))).is_some(), "it lives, and is still paused");
    }

    #[test]
    fn an_echo_of_this_nodes_own_pause_is_none() {
        let peer = PeerPause::default();
        peer.heard(pause(None, true), at(1));
        assert_eq!(peer.in_force(at(2), None), None);
    }
}
