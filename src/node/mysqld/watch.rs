//! One wait for a server: its error log, its process and what is reported of both, for start and stop alike.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::time::{Duration, Instant};

use super::activity::{Movement, Sample, cpu_seconds};
use super::error_log::{self, Event};
use super::follow::Follower;
use crate::forecast;
use crate::node::Attempt;

/// How often the process is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// The same kind of progress is reported this often at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// After this long without a line of its log, the counters are reported.
const SILENCE: Duration = Duration::from_secs(5);

/// How many error lines are kept, the last ones.
const KEPT_ERRORS: usize = 8;

/// What is known of a server while it is waited for.
pub(super) struct Watch<'a> {
    attempt: &'a Attempt,
    follower: Follower,
    movement: Movement,
    next_sample: Instant,
    last_reports: HashMap<Discriminant<Event>, Instant>,
    last_words: Instant,
    stop_reported: bool,
    recovery: Recovery,
    /// Its last errors.
    pub(super) errors: Vec<String>,
    /// Its log said that it serves.
    pub(super) said_ready: bool,
}

/// What a crash recovery amounted to.
#[derive(Debug, Default)]
struct Recovery {
    seen: bool,
    since: Option<Instant>,
    took: Option<Duration>,
    /// Pages of the batches before this one.
    finished_pages: u64,
    /// The most that this batch named: progress counts down.
    batch_pages: u64,
    batch_position: Option<(u64, u64)>,
    records: u64,
    rows_to_roll_back: u64,
    /// Log sequence numbers: where the redo log begins, where it is said to end, how far it was read, where InnoDB went on.
    checkpoint: Option<u64>,
    end_of_log: Option<u64>,
    scanned: Option<u64>,
    started_at: Option<u64>,
}

impl<'a> Watch<'a> {
    /// Follows the log from its current end.
    pub(super) fn new(attempt: &'a Attempt, error_log: Option<&Path>) -> Self {
        let now = Instant::now();
        Self {
            attempt,
            follower: Follower::from_end(error_log),
            movement: Movement::new(attempt.limit(), now),
            next_sample: now,
            last_reports: HashMap::new(),
            last_words: now,
            stop_reported: false,
            recovery: Recovery::default(),
            errors: Vec::new(),
            said_ready: false,
        }
    }

    /// Follows the log of a server that runs already; its earlier lines are taken in, and are no movement.
    pub(super) fn of_running(attempt: &'a Attempt, error_log: Option<&Path>, pid: i32) -> Self {
        let mut watch = Self::new(attempt, error_log);
        let (follower, history) = Follower::since_start_of(error_log, pid);
        watch.follower = follower;
        for event in history.iter().filter_map(|line| error_log::parse_line(line)) {
            watch.take_in(&event, None);
        }
        watch
    }

    /// Reads the new lines of the log, and reports what they say.
    pub(super) fn read_log(&mut self) {
        for line in self.follower.lines() {
            let Some(event) = error_log::parse_line(&line) else { continue };
            let now = Instant::now();
            self.take_in(&event, Some(now));
            self.report(&event, now);
            // An error may be repeated for ever by a server that waits for a lock.
            if !matches!(event, Event::Error(_)) {
                self.last_words = now;
                self.movement.surely_moved(now);
                self.attempt.moved();
            }
        }
    }

    /// Whether it is time for another look at the process.
    pub(super) fn sample_is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next_sample;
        if due {
            self.next_sample = now + SAMPLE_INTERVAL;
        }
        due
    }

    /// Extends the deadline when the process moved.
    pub(super) fn look(&mut self, pid: i32, sample: &Sample) {
        let now = Instant::now();
        if sample.is_stopped() != self.stop_reported {
            self.stop_reported = sample.is_stopped();
            self.attempt.report(&if sample.is_stopped() {
                format!("mysqld (process {pid}) {}", sample.describe())
            } else {
                format!("mysqld (process {pid}) continues")
            });
        }
        if !self.movement.look(now, sample) {
            return;
        }
        self.attempt.moved();
        if now.saturating_duration_since(self.last_words) >= SILENCE {
            self.last_words = now;
            self.attempt.report(&format!(
                "mysqld (process {pid}) works without a word: {} MiB read and written, {:.1} s of CPU time so far",
                sample.io_bytes / (1024 * 1024),
                cpu_seconds(sample.cpu_ticks),
            ));
        }
    }

    /// The crash recovery that was seen, in one line: "crash recovery: 123 pages, 1.8 s".
    pub(super) fn recovery_note(&self) -> Option<String> {
        let recovery = &self.recovery;
        if !recovery.seen {
            return None;
        }
        let mut parts = Vec::new();
        let pages = recovery.finished_pages + recovery.batch_pages;
        if pages > 0 {
            parts.push(format!("{pages} pages"));
        }
        if recovery.records > 0 {
            parts.push(format!("{} redo records", recovery.records));
        }
        if recovery.rows_to_roll_back > 0 {
            parts.push(format!("{} rows to roll back", recovery.rows_to_roll_back));
        }
        let took = recovery.took.or_else(|| recovery.since.map(|since| since.elapsed()));
        if let Some(took) = took {
            parts.push(format!("{:.1} s", took.as_secs_f64()));
        }
        Some(if parts.is_empty() {
            "crash recovery".into()
        } else {
            format!("crash recovery: {}", parts.join(", "))
        })
    }

    /// The crash recovery in figures, when the log told both ends of the redo log and it was followed from begin to end.
    pub(super) fn recovery(&self) -> Option<forecast::Recovery> {
        let recovery = &self.recovery;
        let end = recovery.end_of_log.or(recovery.scanned).or(recovery.started_at)?;
        let pages = recovery.finished_pages + recovery.batch_pages;
        Some(forecast::Recovery {
            redo_bytes: end.checked_sub(recovery.checkpoint?)?,
            pages: (pages > 0).then_some(pages),
            milliseconds: u64::try_from(recovery.took?.as_millis()).ok()?,
        })
    }

    /// The errors of the log as an indented list, or that there are none.
    pub(super) fn error_lines(&self) -> String {
        if self.errors.is_empty() {
            return "; its error log has no new error".into();
        }
        format!("; its error log says:\n    {}", self.errors.join("\n    "))
    }

    /// `when` is none for lines of the past.
    fn take_in(&mut self, event: &Event, when: Option<Instant>) {
        match event {
            Event::Starting(_) => {
                self.errors.clear();
                self.said_ready = false;
            }
            Event::Error(text) => {
                if self.errors.len() == KEPT_ERRORS {
                    self.errors.remove(0);
                }
                self.errors.push(text.clone());
            }
            Event::Ready => {
                self.said_ready = true;
                self.recovery.ended(when);
            }
            Event::StorageStarted(lsn) => {
                self.recovery.started_at = *lsn;
                self.recovery.ended(when);
            }
            _ => self.recovery.take_in(event, when),
        }
    }

    fn report(&mut self, event: &Event, now: Instant) {
        // Every start says these.
        if matches!(event, Event::Checkpoint(_) | Event::StorageStarted(_)) {
            return;
        }
        let kind = discriminant(event);
        let repeated = self.last_reports.get(&kind).is_some_and(|at| now - *at < REPORT_INTERVAL);
        if !repeated || matches!(event, Event::Error(_) | Event::ShutdownStep(_)) {
            self.last_reports.insert(kind, now);
            let progress = self.recovery.progress(event);
            self.attempt.report(&progress.unwrap_or_else(|| event.to_string()));
        }
    }
}

impl Recovery {
    fn take_in(&mut self, event: &Event, when: Option<Instant>) {
        match event {
            // Every start of MariaDB 10.11 tells the end of the log, and every one of MySQL the checkpoint.
            Event::EndOfLog(lsn) => {
                self.end_of_log = Some(*lsn);
                return;
            }
            Event::Checkpoint(lsn) => self.checkpoint = Some(*lsn),
            _ => {}
        }
        if !event.is_recovery() {
            return;
        }
        match event {
            Event::RecoveryStarted(lsn) => self.checkpoint = lsn.or(self.checkpoint),
            Event::Scanned(lsn) => self.scanned = Some(*lsn),
            Event::Pages { pages, position } => {
                let is_same_batch = *position == self.batch_position && *pages <= self.batch_pages;
                if !is_same_batch {
                    self.finished_pages += self.batch_pages;
                    self.batch_pages = *pages;
                    self.batch_position = *position;
                }
            }
            Event::Records(records) => self.records += records.unwrap_or_default(),
            Event::ToRollBack { rows, .. } => self.rows_to_roll_back = self.rows_to_roll_back.max(*rows),
            _ => {}
        }
        self.seen = true;
        if self.since.is_none() {
            self.since = when;
        }
    }

    /// InnoDB is up, or the server says that it serves; the first of them counts.
    fn ended(&mut self, when: Option<Instant>) {
        let took = self.since.zip(when).map(|(since, now)| now - since);
        self.took = self.took.or(took);
    }

    /// How many pages of a batch are done, once some are.
    fn progress(&self, event: &Event) -> Option<String> {
        let Event::Pages { pages, position } = event else { return None };
        let done = self.batch_pages.checked_sub(*pages).filter(|done| *done > 0)?;
        let position = position.map(|(at, end)| format!(" at LSN {at} of {end}")).unwrap_or_default();
        Some(format!("crash recovery: {done} of {} pages recovered{position}", self.batch_pages))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::node::Progress;

    struct Lines(Arc<Mutex<Vec<String>>>);

    impl Progress for Lines {
        fn report(&self, line: &str) {
            self.0.lock().unwrap().push(line.into());
        }
    }

    #[test]
    fn sums_the_batches_and_keeps_the_last_errors() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("error.log");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let attempt = Attempt::new(Duration::from_secs(5), Box::new(Lines(Arc::clone(&lines))));
        let mut watch = Watch::new(&attempt, Some(&log));
        assert_eq!(watch.recovery_note(), None);
        fs::write(
            &log,
            "0 [Note] InnoDB: Starting crash recovery from checkpoint LSN=5\n\
             0 [Note] InnoDB: To recover: LSN 10/30; 800 pages\n\
             0 [Note] InnoDB: To recover: LSN 20/30; 900 pages\n\
             0 [Note] InnoDB: To recover: 377 pages\n\
             0 [Note] InnoDB: To recover: 100 pages\n\
             0 [ERROR] one\n",
        )
        .unwrap();
        watch.read_log();
        assert!(watch.recovery_note().unwrap().starts_with("crash recovery: 2077 pages, "));
        assert!(watch.error_lines().contains("one"));
        let lines = lines.lock().unwrap();
        assert!(lines[0].contains("checkpoint LSN 5"), "{lines:?}");
    }

    fn recovery_in(log_text: &str) -> Option<forecast::Recovery> {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("error.log");
        let attempt = Attempt::new(Duration::from_secs(5), Box::new(Lines(Arc::default())));
        let mut watch = Watch::new(&attempt, Some(&log));
        fs::write(&log, log_text).unwrap();
        watch.read_log();
        watch.recovery()
    }

    #[test]
    fn a_recovery_is_told_in_figures() {
        let mariadb = "0 [Note] InnoDB: Starting crash recovery from checkpoint LSN=1000\n\
                       0 [Note] InnoDB: End of log at LSN=9000\n\
                       0 [Note] InnoDB: To recover: 377 pages\n";
        assert_eq!(recovery_in(mariadb), None, "it is not over");
        let started = "0 [Note] InnoDB: 10.11.19 started; log sequence number 9012; transaction id 38\n";
        let seen = recovery_in(&format!("{mariadb}{started}")).unwrap();
        assert_eq!((seen.redo_bytes, seen.pages), (8000, Some(377)));
        assert!(seen.milliseconds < 5000);
        let ready = "0 [Note] mariadbd: ready for connections.\n";
        assert_eq!(recovery_in(&format!("{mariadb}{ready}")).unwrap().pages, Some(377));

        // MariaDB 10.5 and 10.6 don't tell the end of the log.
        let older = "0 [Note] InnoDB: Starting crash recovery from checkpoint LSN=1000,1000\n\
                     0 [Note] InnoDB: Starting final batch to recover 12 pages from redo log.\n";
        assert_eq!(recovery_in(&format!("{older}{started}")).unwrap().redo_bytes, 8012);

        let mysql = "0 [Note] [MY-012552] [InnoDB] Starting crash recovery.\n\
             1 [Note] [MY-013086] [InnoDB] Starting to parse redo log at lsn = 990, whereas checkpoint_lsn = 1000 and start_lsn = 512\n\
             1 [Note] [MY-012550] [InnoDB] Doing recovery: scanned up to log sequence number 4000\n\
             1 [Note] [MY-012550] [InnoDB] Doing recovery: scanned up to log sequence number 6000\n\
             1 [Note] [MY-012532] [InnoDB] Applying a batch of 14 redo log records ...\n\
             1 [System] [MY-013577] [InnoDB] InnoDB initialization has ended.\n";
        let seen = recovery_in(mysql).unwrap();
        assert_eq!((seen.redo_bytes, seen.pages), (5000, None));
    }

    #[test]
    fn a_clean_start_tells_no_recovery() {
        let mariadb = "0 [Note] InnoDB: End of log at LSN=44404\n\
                       0 [Note] InnoDB: 10.11.19 started; log sequence number 44404; transaction id 38\n";
        assert_eq!(recovery_in(mariadb), None);
        let mysql = "1 [Note] [MY-013086] [InnoDB] Starting to parse redo log at lsn = 990, whereas checkpoint_lsn = 1000\n\
                     1 [System] [MY-013577] [InnoDB] InnoDB initialization has ended.\n";
        assert_eq!(recovery_in(mysql), None);
    }

    #[test]
    fn pages_are_counted_up_and_lines_are_sparse() {
        let mut recovery = Recovery::default();
        let mut progress = |pages, position| {
            let event = Event::Pages { pages, position };
            recovery.take_in(&event, None);
            recovery.progress(&event)
        };
        assert_eq!(progress(800, Some((10, 30))), None);
        let line = "crash recovery: 300 of 800 pages recovered at LSN 10 of 30";
        assert_eq!(progress(500, Some((10, 30))).as_deref(), Some(line));
        assert_eq!(progress(900, None), None);
        assert_eq!(progress(0, None).as_deref(), Some("crash recovery: 900 of 900 pages recovered"));

        let lines = Arc::new(Mutex::new(Vec::new()));
        let attempt = Attempt::new(Duration::from_secs(5), Box::new(Lines(Arc::clone(&lines))));
        let mut watch = Watch::new(&attempt, None);
        let now = Instant::now();
        for step in 0..40 {
            watch.report(&Event::Percent(step), now + Duration::from_millis(100) * u32::from(step));
            watch.report(&Event::Scanned(5), now + Duration::from_millis(100) * u32::from(step));
        }
        assert_eq!(lines.lock().unwrap().len(), 8);
    }

    #[test]
    fn a_clean_start_is_no_recovery_and_errors_do_not_move() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("error.log");
        let attempt = Attempt::new(Duration::from_secs(5), Box::new(Lines(Arc::default())));
        let mut watch = Watch::new(&attempt, Some(&log));
        let before = attempt.deadline();
        fs::write(&log, "0 [ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11\n").unwrap();
        watch.read_log();
        assert_eq!(attempt.deadline(), before);
        let more = "0 [Note] InnoDB: End of log at LSN=44404\n0 [Note] x: ready for connections.\n";
        fs::File::options().append(true).open(&log).unwrap().write_all(more.as_bytes()).unwrap();
        watch.read_log();
        assert!(attempt.deadline() > before && watch.said_ready);
        assert_eq!(watch.recovery_note(), None);
    }
}
