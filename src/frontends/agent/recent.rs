//! What happened a short while ago, by the wall clock, as the journal has it.

use std::time::{Duration, SystemTime};

/// Whether less than a window has passed since then. A time to come, after the clock was set back, counts as now.
pub(super) fn is_recent(at: SystemTime, window: Duration, clock: SystemTime) -> bool {
    clock.duration_since(at).unwrap_or_default() < window
}

/// Why something happened, if that is less than a window ago.
pub(super) fn recent(
    event: Option<&(SystemTime, String)>,
    window: Duration,
    clock: SystemTime,
) -> Option<String> {
    event.filter(|(at, _)| is_recent(*at, window, clock)).map(|(_, why)| why.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_for_a_while_and_one_to_come_as_now() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let event = (at(100), "it hung".to_owned());
        let told = |clock| recent(Some(&event), Duration::from_secs(10), at(clock));
        assert_eq!(told(109).as_deref(), Some("it hung"));
        assert_eq!(told(110), None);
        assert_eq!(told(50).as_deref(), Some("it hung"));
        assert_eq!(recent(None, Duration::from_secs(10), at(1)), None);
        assert_eq!(recent(Some(&event), Duration::ZERO, at(50)), None, "there is no window");
    }
}
