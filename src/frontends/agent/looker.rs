//! A look that may hang, in a thread of its own: asked at each tick, and never waited for.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Little of it is used; what is not touched costs nothing.
const STACK: usize = 512 * 1024;

/// What a look brought, and when.
#[derive(Debug, Clone)]
pub(super) struct Look<T> {
    /// What was seen.
    pub(super) seen: T,
    /// When it began.
    pub(super) began: Instant,
    /// When it ended.
    pub(super) ended: Instant,
}

impl<T> Look<T> {
    pub(super) fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}

struct State<T> {
    pending_since: Option<Instant>,
    latest: Option<Look<T>>,
}

/// Asks one question again and again, one at a time: a look that hangs keeps only this thread.
pub(super) struct Looker<Q, T> {
    asked: Sender<Q>,
    state: Arc<Mutex<State<T>>>,
}

impl<Q: Send + 'static, T: Clone + Send + 'static> Looker<Q, T> {
    /// Starts the thread. `done` is called in it after each look.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(
        name: &str,
        mut look: impl FnMut(Q) -> T + Send + 'static,
        done: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (asked, questions) = mpsc::channel::<Q>();
        let state = Arc::new(Mutex::new(State { pending_since: None, latest: None }));
        let shared = Arc::clone(&state);
        thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
            for question in questions {
                let began = Instant::now();
                let seen = look(question);
                let ended = Instant::now();
                {
                    let mut state = lock(&shared);
                    state.latest = Some(Look { seen, began, ended });
                    state.pending_since = None;
                }
                done();
            }
        })?;
        Ok(Self { asked, state })
    }

    /// Begins a look, unless one is under way.
    pub(super) fn ask(&self, question: Q) {
        let mut state = lock(&self.state);
        if state.pending_since.is_none() && self.asked.send(question).is_ok() {
            state.pending_since = Some(Instant::now());
        }
    }

    /// How long the look that is under way has taken so far.
    pub(super) fn pending(&self) -> Option<Duration> {
        lock(&self.state).pending_since.map(|since| since.elapsed())
    }

    /// What the latest finished look brought.
    pub(super) fn latest(&self) -> Option<Look<T>> {
        lock(&self.state).latest.clone()
    }

    /// The same, once.
    pub(super) fn take(&self) -> Option<Look<T>> {
        lock(&self.state).latest.take()
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_hangs_is_seen_and_not_begun_again() {
        let (release, held) = mpsc::channel::<u32>();
        let (done, ended) = mpsc::channel();
        let looker =
            Looker::start("test", move |()| held.recv().unwrap_or_default(), move || done.send(()).unwrap())
                .unwrap();
        assert!(looker.latest().is_none() && looker.pending().is_none());
        looker.ask(());
        looker.ask(());
        assert!(looker.pending().is_some());
        release.send(7).unwrap();
        ended.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(looker.take().unwrap().seen, 7);
        assert!(looker.take().is_none() && looker.pending().is_none());
        assert!(ended.recv_timeout(Duration::from_millis(50)).is_err(), "the second was not begun");
    }
}
