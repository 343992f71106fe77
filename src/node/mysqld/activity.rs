//! Whether a server that says nothing still works, by what the kernel counts of its process.
//!
//! InnoDB can be silent for long: MariaDB reports recovery every 15 s at most, and a shutdown may write dirty pages for
//! minutes without a line. So a wait is extended by any of these:
//!
//! 1. a line in the error log that belongs to a start, a recovery or a shutdown;
//! 2. 16 KiB (one page) or more of input and output since it last moved, however long that took: a slow disk counts;
//! 3. at least 5 % of one CPU in the last second, as when it parses redo records that are in memory already. A process
//!    that only spins looks the same, so this alone extends the wait to ten times the limit and no further.
//!
//! None of them can come from a process that is stopped (state T), that waits for a disk that doesn't answer (D) or for a
//! lock: such a one is noticed when the limit has passed since it last moved. A mysqld that retries a file lock uses far
//! less than 5 % and reads less than a page.

use std::fs;
use std::time::{Duration, Instant};

/// InnoDB's default page size, in bytes.
const IO_STEP: u64 = 16 * 1024;

/// The kernel's USER_HZ: clock ticks per second in `/proc`, 100 on every architecture that runs mysqld.
const TICKS_PER_SECOND: u64 = 100;

/// 5 % of one CPU.
const CPU_TICKS_PER_SECOND: u64 = 5;

/// The time over which the CPU share is taken.
const CPU_WINDOW: Duration = Duration::from_secs(1);

/// How many limits of nothing but CPU time are believed.
const CPU_ONLY_LIMITS: u32 = 10;

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// The kernel's letter: R, S, D, T, Z, …
    pub(super) state: char,
    /// Clock ticks after boot at which it started; with the process id it names one process for good.
    pub(super) start_time: u64,
    /// User and system time so far, in clock ticks.
    pub(super) cpu_ticks: u64,
    /// Bytes read and written so far, by system calls and by the disk; 0 when the kernel doesn't tell.
    pub(super) io_bytes: u64,
}

impl Sample {
    /// Zombie or dead: it holds nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// A signal or a debugger stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// The state in words, with what it means for a person.
    pub(super) fn describe(&self) -> String {
        match self.state {
            'T' | 't' => "is stopped by a signal or a debugger (state T)".into(),
            'D' => "waits for a disk that does not answer (state D)".into(),
            'R' => "uses the CPU without getting anywhere (state R)".into(),
            state => format!("is idle (state {state})"),
        }
    }
}

/// A look at a process; none when there is none.
pub(super) fn sample(pid: i32) -> Option<Sample> {
    let (state, start_time, cpu_ticks) = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let io_bytes = fs::read_to_string(format!("/proc/{pid}/io")).map_or(0, |text| parse_io(&text));
    Some(Sample { state, start_time, cpu_ticks, io_bytes })
}

/// State, start time and CPU time; proc(5) counts the fields from 1, and the name in the second may hold anything.
fn parse_stat(text: &str) -> Option<(char, u64, u64)> {
    let after_name = text.get(text.rfind(')')? + 1..)?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let state = fields.first()?.chars().next()?;
    Some((state, field(22)?, field(14)?.saturating_add(field(15)?)))
}

fn parse_io(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| matches!(*key, "rchar" | "wchar" | "read_bytes" | "write_bytes"))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

/// Judges one process's samples in the order of time.
#[derive(Debug)]
pub(super) struct Movement {
    limit: Duration,
    io_mark: Option<u64>,
    cpu_mark: Option<(Instant, u64)>,
    last_sure: Instant,
}

impl Movement {
    /// `limit` is the time that the step was given.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, io_mark: None, cpu_mark: None, last_sure: now }
    }

    /// Something else than the counters showed that it moves.
    pub(super) fn surely_moved(&mut self, now: Instant) {
        self.last_sure = now;
    }

    /// Whether the process moved since the last look; the first look only sets the marks.
    pub(super) fn look(&mut self, now: Instant, sample: &Sample) -> bool {
        let io_mark = *self.io_mark.get_or_insert(sample.io_bytes);
        let (since, ticks) = *self.cpu_mark.get_or_insert((now, sample.cpu_ticks));
        if sample.io_bytes.saturating_sub(io_mark) >= IO_STEP {
            self.io_mark = Some(sample.io_bytes);
            self.last_sure = now;
            return true;
        }
        let elapsed = now.saturating_duration_since(since);
        if elapsed < CPU_WINDOW {
            return false;
        }
        self.cpu_mark = Some((now, sample.cpu_ticks));
        let used = sample.cpu_ticks.saturating_sub(ticks);
        let busy = u128::from(used) * 1000 >= u128::from(CPU_TICKS_PER_SECOND) * elapsed.as_millis();
        busy && now.saturating_duration_since(self.last_sure) < self.limit * CPU_ONLY_LIMITS
    }
}

/// CPU time in seconds.
pub(super) fn cpu_seconds(ticks: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let seconds = ticks as f64 / TICKS_PER_SECOND as f64;
    seconds
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "4295 (maria) (db) S 4241 4241 30472 0 -1 4194560 26942 0 0 0 2 6 0 0 20 0 11 0 81083 8797187325952 28906 1844";
    const IO: &str = "rchar: 38832579\nwchar: 14136\nsyscr: 1\nsyscw: 1\nread_bytes: 55046144\nwrite_bytes: 53248\n\
                      cancelled_write_bytes: 4096\n";

    fn sample(cpu_ticks: u64, io_bytes: u64) -> Sample {
        Sample { state: 'S', start_time: 1, cpu_ticks, io_bytes }
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse_stat(STAT), Some(('S', 81083, 8)));
        assert_eq!(parse_io(IO), 38_832_579 + 14_136 + 55_046_144 + 53_248);
        let me = super::sample(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(!me.has_ended() && !me.is_stopped() && me.start_time > 0);
    }

    #[test]
    fn a_page_of_input_moves_however_slowly_it_comes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut movement = Movement::new(Duration::from_secs(5), start);
        assert!(!movement.look(at(0), &sample(0, 100)));
        assert!(!movement.look(at(30), &sample(0, 8292)));
        assert!(movement.look(at(60), &sample(0, 100 + IO_STEP)));
        assert!(!movement.look(at(90), &sample(0, 100 + IO_STEP)));
    }

    #[test]
    fn cpu_time_moves_but_not_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut movement = Movement::new(Duration::from_secs(2), start);
        movement.look(at(0), &sample(0, 0));
        assert!((1..20).all(|second| movement.look(at(second), &sample(second * 50, 0))));
        assert!(!(20..100).any(|second| movement.look(at(second), &sample(second * 50, 0))));
        movement.surely_moved(at(100));
        assert!(movement.look(at(101), &sample(101 * 50, 0)));
    }

    #[test]
    fn an_idle_or_stopped_process_never_moves() {
        let start = Instant::now();
        let mut movement = Movement::new(Duration::from_secs(2), start);
        for second in 0..1000 {
            // 0.1 % of a CPU, as an idle server's background threads use.
            let moved = movement.look(start + Duration::from_secs(second), &sample(second / 10, 500));
            assert!(!moved);
        }
    }

    proptest! {
        #[test]
        fn garbage_is_survived(text in "[0-9a-zA-Z():. \n]{0,200}") {
            let _ = parse_stat(&text);
            let _ = parse_io(&text);
        }
    }
}
