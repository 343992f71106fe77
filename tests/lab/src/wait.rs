//! Waiting for a condition, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a condition is looked at; a look into a node costs about as much.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks until the answer is `Some`, and gives up at the deadline with what was waited for and the last error seen.
///
/// An error of `condition` counts as "not yet".
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = condition();
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            let context = format!("waited {deadline:?} for {what}, in vain");
            match seen {
                Err(error) => return Err(error).context(context),
                Ok(_) => bail!(context),
            }
        }
        sleep(PAUSE.min(deadline));
    }
}
