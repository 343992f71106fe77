//! How long crash recovery would take if the machine lost power now. Pure.
//!
//! InnoDB reads the redo log since its last checkpoint, reads each page that the log names and applies the log to it. So the
//! time is taken to be a fixed part, a part per byte of redo log and a part per page: [`model::Model`]. Before any recovery
//! was measured on a node, its figures are those of a plain disk; each measured recovery moves them towards the node's own.

mod model;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observation::Fact;
use model::{Model, Work};

/// How many recoveries count, the latest ones: older ones may be those of another disk.
const REMEMBERED: usize = 20;

/// Redo log that crash recovery replays in a second, at worst, in bytes. Measured on two slow nodes: 206 MiB took 12 to
/// 19 s, which is 11 to 17 MiB/s. Hardware is faster; a disk under load is not.
pub const SLOWEST_REPLAY: u64 = 10 * 1024 * 1024;

/// Longer than this nothing is forecast, in seconds: ten days.
const LONGEST: f64 = 864_000.0;

/// One crash recovery that was measured, as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Redo log from the checkpoint to its end, in bytes.
    pub redo_bytes: u64,
    /// Pages that the redo log was applied to, summed over its batches; none when the server did not tell (MySQL).
    pub pages: Option<u64>,
    /// From the first word of the recovery to InnoDB's being started, in milliseconds: not the whole start of the server.
    pub milliseconds: u64,
}

/// What a crash recovery would have to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Redo log since the last checkpoint, in bytes.
    pub redo_bytes: u64,
    /// Pages that were modified and are not written yet; none when the server was not asked.
    pub dirty_pages: Option<u64>,
    /// The buffer pool's size in bytes, when the server was asked.
    pub buffer_pool_bytes: Option<u64>,
    /// When the redo log's files are all that is known: why the server did not tell. Their size is an upper bound.
    pub only_files_because: Option<String>,
}

/// What a forecast is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What a recovery would have to do, or why that can't be learnt.
    pub backlog: Fact<Backlog>,
    /// The recoveries measured, the latest last.
    pub history: Vec<Recovery>,
}

/// How long crash recovery would take now, and on which basis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The time, in seconds.
    pub seconds: f64,
    /// It is the most that is to be expected, not the likely time.
    pub is_upper_bound: bool,
    /// How many measured recoveries it rests on; none makes it a first estimate.
    pub measured: usize,
    /// What a recovery would have to do.
    pub backlog: Backlog,
}

/// The forecast for what was seen.
pub fn judge(seen: &Seen) -> Fact<Forecast> {
    match &seen.backlog {
        Fact::Known(backlog) => Fact::Known(forecast(backlog, &seen.history)),
        Fact::Unknown(cause) => Fact::Unknown(cause.clone()),
    }
}

/// How long crash recovery of this backlog would take, by the recoveries in `history`, the latest last.
pub fn forecast(backlog: &Backlog, history: &[Recovery]) -> Forecast {
    let latest = &history[history.len().saturating_sub(REMEMBERED)..];
    let model = Model::learnt(latest);
    let pages = match backlog.dirty_pages {
        Some(dirty) => model::pages_to_read(dirty, backlog.redo_bytes, backlog.buffer_pool_bytes),
        None => model::likely_pages(backlog.redo_bytes, latest),
    };
    let is_upper_bound = backlog.only_files_because.is_some();
    let mut seconds = model.seconds(&Work::new(backlog.redo_bytes, pages));
    if is_upper_bound && latest.is_empty() {
        #[allow(clippy::cast_precision_loss)]
        let slowest = backlog.redo_bytes as f64 / SLOWEST_REPLAY as f64;
        seconds = seconds.max(slowest);
    }
    Forecast {
        seconds: seconds.clamp(0.0, LONGEST),
        is_upper_bound,
        measured: latest.len(),
        backlog: backlog.clone(),
    }
}

impl Forecast {
    /// What to say when recovery would take longer than the budget. An upper bound is no evidence of that.
    pub fn warning(&self, budget: Duration) -> Option<String> {
        if self.is_upper_bound || self.seconds <= budget.as_secs_f64() {
            return None;
        }
        Some(format!(
            "crash recovery would take {}, more than agent.recovery_budget ({}): a smaller redo log (innodb_log_file_size, \
             innodb_redo_log_capacity) or earlier flushing (innodb_max_dirty_pages_pct, innodb_io_capacity) shortens it",
            self.time(),
            humantime::format_duration(budget)
        ))
    }

    /// The time in words: "about 4.2 s".
    fn time(&self) -> String {
        let bound = if self.is_upper_bound { "at most about" } else { "about" };
        if self.seconds < 9.95 {
            format!("{bound} {:.1} s", self.seconds)
        } else {
            format!("{bound} {:.0} s", self.seconds)
        }
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Backlog { redo_bytes, dirty_pages, only_files_because, .. } = &self.backlog;
        #[allow(clippy::cast_precision_loss)]
        let mib = *redo_bytes as f64 / f64::from(1 << 20);
        write!(out, "{} if the power failed now: ", self.time())?;
        match only_files_because {
            None => write!(out, "{mib:.1} MiB of redo log")?,
            Some(_) => write!(out, "the redo log's files hold {mib:.0} MiB")?,
        }
        if let Some(pages) = dirty_pages {
            write!(out, " and {pages} dirty pages")?;
        }
        match self.measured {
            0 => write!(out, " (first estimate: no recovery was measured on this node yet")?,
            1 => write!(out, " (by one recovery measured on this node")?,
            count => write!(out, " (by {count} recoveries measured on this node")?,
        }
        match only_files_because {
            None => write!(out, ")"),
            Some(cause) => write!(out, "; an upper bound, because {cause})"),
        }
    }
}

#[cfg(test)]
mod tests;
