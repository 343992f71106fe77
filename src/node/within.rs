//! What may hang on a dead disk, in a thread that is left behind when it does not end in time.
//!
//! A thread that hangs in the kernel can't be ended. Something that is looked at once a second would leave so many of them behind that
//! no program could be started any more: so each place in the code has a bound, and what hangs there does not keep the others from
//! looking.

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many one place in the code may leave behind.
const MOST: usize = 16;

/// A place in the code.
type Place = Location<'static>;

/// How many threads each place has left behind.
static LEFT_BEHIND: Mutex<BTreeMap<Place, usize>> = Mutex::new(BTreeMap::new());

/// Does something in a thread that is left behind after the limit. None then; and at once when too many that were begun at the same
/// place in the code have not ended yet, or when no thread can be started.
#[track_caller]
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let place = *Location::caller();
    if left_behind().get(&place).is_some_and(|left| *left >= MOST) {
        return None;
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let ending = Ending { place, one_side_is_done: Arc::default() };
    let of_thread = ending.clone();
    thread::Builder::new()
        .spawn(move || {
            let _ending = EndOnDrop(of_thread);
            // The receiver is gone when nobody waits any more.
            drop(sender.send(work()));
        })
        .ok()?;
    match receiver.recv_timeout(limit) {
        Ok(result) => Some(result),
        Err(RecvTimeoutError::Timeout) => {
            ending.is_left_behind();
            None
        }
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn left_behind() -> MutexGuard<'static, BTreeMap<Place, usize>> {
    LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's end and its caller's going away, in whichever order they come.
#[derive(Clone)]
struct Ending {
    place: Place,
    one_side_is_done: Arc<AtomicBool>,
}

impl Ending {
    /// Counted first: the thread takes that back when it ends after this, and this does when it has ended before.
    fn is_left_behind(&self) {
        *left_behind().entry(self.place).or_default() += 1;
        self.ends();
    }

    fn ends(&self) {
        if self.one_side_is_done.swap(true, Ordering::AcqRel)
            && let Some(left) = left_behind().get_mut(&self.place)
        {
            *left = left.saturating_sub(1);
        }
    }
}

/// Also when the work panics.
struct EndOnDrop(Ending);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ends();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_hangs_is_left_behind() {
        let (release, held) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(20), move || held.recv().is_ok()), None);
        drop(release);
        assert_eq!(within(LONG, || 7), Some(7));
    }

    #[test]
    fn one_place_leaves_a_few_behind_and_no_more_until_they_end() {
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let begun = Arc::new(Mutex::new(0));
        let hang = |limit| {
            let (held, begun) = (Arc::clone(&held), Arc::clone(&begun));
            within(limit, move || {
                *begun.lock().unwrap() += 1;
                let _ = held.lock().unwrap().recv();
            })
        };
        for _ in 0..2 * MOST {
            assert_eq!(hang(Duration::from_millis(20)), None);
        }
        let at_once = Instant::now();
        assert_eq!(hang(LONG), None);
        assert!(at_once.elapsed() < LONG, "nothing is begun, so that nothing is waited for");
        assert!(*begun.lock().unwrap() <= MOST);
        assert_eq!(within(LONG, || 7), Some(7), "another place is not held up");
        drop(release);
        let until = Instant::now() + LONG;
        while hang(LONG).is_none() {
            assert!(Instant::now() < until, "those that have ended count no longer");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_panics_brings_nothing_and_is_not_left_behind() {
        let fails = || within(LONG, || -> u32 { panic!("as it was told") });
        for _ in 0..2 * MOST {
            assert_eq!(fails(), None);
        }
    }
}
