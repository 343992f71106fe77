//! What the agent leaves for DRBD's handler, and for the agent after it: whether this node was held up (a paused virtual machine, a stun)
//! since it was last in contact with its peer. A node that was held can't know what its peer did meanwhile.
//!
//! In `/run`, which a boot empties. Times are of `CLOCK_BOOTTIME`, which nobody sets.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::cli::directory;
use super::lock;
use crate::config::Config;

/// An agent that lives leaves a new word at least this often, in addition to its interval.
const LATE: Duration = Duration::from_millis(1500);

/// The agent's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contact {
    /// When it was left, since the boot.
    pub(super) at: Duration,
    /// This node was held up, and has not been in contact with its peer for long enough since.
    pub(super) held: bool,
}

fn path(config: &Config) -> PathBuf {
    directory("STANDIN_RUN_DIR", "/run/standin").join(format!("{}.contact", config.name))
}

/// The name of the lock that an agent holds as long as it lives.
pub(super) fn agents_lock(config: &Config) -> String {
    format!("{}.agent", config.resource)
}

/// Time since the boot, with the time that the machine slept.
pub(super) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Leaves the agent's word.
///
/// # Errors
/// As the file system gives them.
pub(super) fn leave(config: &Config, held: bool) -> io::Result<()> {
    let path = path(config);
    // In one step: the handler may read it now.
    let part = path.with_extension("contact.part");
    fs::write(&part, serde_json::to_vec(&Contact { at: now(), held })?)?;
    fs::rename(&part, &path)
}

/// What an agent before this one left: whether this node was held up, or what it did in the meantime is not known. None when there
/// was none since the boot.
pub(super) fn left(config: &Config) -> Option<bool> {
    let word: Contact = serde_json::from_slice(&fs::read(path(config)).ok()?).ok()?;
    Some(word.held || is_late(word, now(), config.agent.interval))
}

/// Whether this node was held up since it was last in contact with its peer, as far as its agent can tell. Without an agent it
/// can't be told, and counts as not held.
pub(super) fn was_held(config: &Config) -> bool {
    let word = fs::read(path(config)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let agent_lives = lock::is_held(&agents_lock(config)).unwrap_or(false);
    judge(word, agent_lives, now(), config.agent.interval)
}

/// An agent that lives and is late was held up itself: the handler runs before it does.
fn judge(word: Option<Contact>, agent_lives: bool, now: Duration, interval: Duration) -> bool {
    word.is_some_and(|word| word.held || (agent_lives && is_late(word, now, interval)))
}

fn is_late(word: Contact, now: Duration, interval: Duration) -> bool {
    now.saturating_sub(word.at) > interval + LATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_was_held_is_known_by_its_agents_word_or_by_its_lateness() {
        let second = Duration::from_secs(1);
        let word = |at, held| Some(Contact { at: second * at, held });
        assert!(!judge(None, true, second * 100, second), "no agent has ever said anything");
        assert!(!judge(word(99, false), true, second * 100, second));
        assert!(judge(word(99, true), true, second * 100, second));
        assert!(judge(word(80, false), true, second * 100, second), "it runs, and has not come to it yet");
        assert!(!judge(word(80, false), false, second * 100, second), "it was stopped by a person");
        assert!(judge(word(80, true), false, second * 100, second), "what it said last");
    }
}
