//! DRBD's stream of events, so that a connection that breaks is known at once and not at the next tick.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::node::command::{self, Followed};

/// Between the end of a stream (the module is not loaded, the resource is down) and the next try.
const AGAIN: Duration = Duration::from_secs(10);

/// Reads `drbdsetup events2` in a thread of its own, and begins it anew when it ends.
pub(super) struct DrbdEvents {
    process: Arc<Mutex<Option<Followed>>>,
    over: Arc<AtomicBool>,
}

impl DrbdEvents {
    /// Calls `changed` for every event after those that tell how things are at the beginning.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn follow(resource: &str, changed: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let command = ["drbdsetup", "events2", resource].map(str::to_owned);
        let process = Arc::new(Mutex::new(None));
        let over = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&process), Arc::clone(&over));
        thread::Builder::new().name("drbd-events".to_owned()).stack_size(256 * 1024).spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                read(&command, &shared, &changed);
                changed();
                thread::sleep(AGAIN);
            }
        })?;
        Ok(Self { process, over })
    }
}

impl Drop for DrbdEvents {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(process) = self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
            process.end();
        }
    }
}

fn read(command: &[String], shared: &Mutex<Option<Followed>>, changed: &dyn Fn()) {
    let process = match command::start_followed(command) {
        Ok(process) => process,
        Err(error) => {
            log::debug!("DRBD's events can't be followed: {error}");
            return;
        }
    };
    let Ok(output) = process.stdout.try_clone() else { return };
    *shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(process);
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // The state at the beginning is told as "exists" (drbdsetup(8), events2).
        if !line.starts_with("exists") {
            changed();
        }
    }
}
