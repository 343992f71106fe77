//! Whether the loop, or the machine under it, was held up.

use std::time::{Duration, SystemTime};

use crate::frontends::contact;

/// A turn of the loop takes no longer, unless the machine or this process is held up.
pub(super) const TURN: Duration = Duration::from_millis(500);
/// By how much it must be longer.
const HELD_UP: Duration = Duration::from_secs(1);

/// The clocks at the last turn of the loop: that which counts the time asleep, and that of the wall, which alone shows a pause of a
/// virtual machine whose other clocks were paused with it.
pub(super) struct Turn {
    boot: Duration,
    wall: SystemTime,
}

impl Turn {
    pub(super) fn now() -> Self {
        Self { boot: contact::now(), wall: SystemTime::now() }
    }

    /// Whether much more time has passed than a turn takes. Begins the next one.
    pub(super) fn was_held_up(&mut self) -> bool {
        let last = std::mem::replace(self, Self::now());
        let most = TURN + HELD_UP;
        self.boot.saturating_sub(last.boot) > most
            || self
                .wall
                .duration_since(last.wall)
                .map_or_else(|back| back.duration() > HELD_UP, |passed| passed > most)
    }
}
