//! The time of a crash recovery as a sum, and how its figures are learnt. Pure.

use super::Recovery;

/// The figures before any history, measured with MariaDB 10.11 on a plain virtual disk with nothing cached: the fixed part in
/// seconds, seconds per MiB of redo log, seconds per thousand pages.
const FIRST: [f64; 3] = [0.15, 0.006, 0.06];

/// No figure is learnt that is this many times larger or smaller than the first one.
const FARTHEST: f64 = 50.0;

/// Pages per MiB of redo log where nothing told their number.
const FIRST_PAGES_PER_MIB: f64 = 60.0;

/// Below this, in seconds, the error of a measured time is that of the measuring: it counts as much as at this time.
const RESOLUTION: f64 = 0.25;

/// More than it takes to come to rest.
const ROUNDS: usize = 2000;

/// How strongly a figure is held to the first one, scaled to this node, in units of a recovery's weight.
const HOLD: f64 = 0.03;

const MIB: f64 = 1_048_576.0;

/// What a recovery has to do, as the model counts it: one, MiB of redo log, thousands of pages.
pub(super) struct Work([f64; 3]);

impl Work {
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn new(redo_bytes: u64, pages: f64) -> Self {
        Self([1.0, redo_bytes as f64 / MIB, pages / 1000.0])
    }

    fn times(&self, figures: &[f64; 3]) -> f64 {
        self.0.iter().zip(figures).map(|(amount, figure)| amount * figure).sum()
    }
}

/// Seconds per unit of work; none is negative, so that more work never takes less time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Model([f64; 3]);

impl Model {
    /// How long it takes, in seconds.
    pub(super) fn seconds(&self, work: &Work) -> f64 {
        work.times(&self.0)
    }

    /// Learns from recoveries.
    ///
    /// Least squares of the relative errors, each figure held to the first one times a common factor, which is the median of
    /// how much slower this node was: with one recovery there is no telling redo log from pages, only slow from fast. As the
    /// errors are relative, one recovery that took ten times as long beside a busy disk counts no more than any other.
    pub(super) fn learnt(history: &[Recovery]) -> Self {
        let measured: Vec<(Work, f64)> = history.iter().map(|recovery| measured(recovery, history)).collect();
        let mut ratios: Vec<f64> = measured
            .iter()
            .map(|(work, seconds)| (seconds + RESOLUTION) / (work.times(&FIRST) + RESOLUTION))
            .collect();
        let scale = median(&mut ratios).unwrap_or(1.0).clamp(1.0 / FARTHEST, FARTHEST);
        let held_to = FIRST.map(|figure| figure * scale);
        let mut figures = held_to;
        descend(&mut figures, &held_to, &measured);
        Self(figures)
    }
}

/// Minimizes the squares one figure at a time, within bounds; the sum is convex, so that this ends at its minimum.
fn descend(figures: &mut [f64; 3], held_to: &[f64; 3], measured: &[(Work, f64)]) {
    for _ in 0..ROUNDS {
        for index in 0..figures.len() {
            let mut curvature = HOLD / held_to[index].powi(2);
            let mut pull = HOLD / held_to[index];
            for (work, seconds) in measured {
                let unit = seconds.max(RESOLUTION);
                let amount = work.0[index] / unit;
                let others = work.times(figures) - work.0[index] * figures[index];
                curvature += amount * amount;
                pull += amount * (seconds - others) / unit;
            }
            figures[index] = (pull / curvature).clamp(FIRST[index] / FARTHEST, FIRST[index] * FARTHEST);
        }
    }
}

fn measured(recovery: &Recovery, history: &[Recovery]) -> (Work, f64) {
    #[allow(clippy::cast_precision_loss)]
    let (pages, seconds) = (recovery.pages.map(|pages| pages as f64), recovery.milliseconds as f64 / 1000.0);
    let pages = pages.unwrap_or_else(|| likely_pages(recovery.redo_bytes, history));
    (Work::new(recovery.redo_bytes, pages), seconds)
}

/// How many pages a recovery reads when these are dirty.
///
/// Those that were written since the checkpoint to make room for others are read again, and so is each page in each batch: as
/// much redo log as the buffer pool has room for. Both are the more, the larger the redo log is against the buffer pool.
#[allow(clippy::cast_precision_loss)]
pub(super) fn pages_to_read(dirty: u64, redo_bytes: u64, buffer_pool_bytes: Option<u64>) -> f64 {
    let batches = buffer_pool_bytes.map_or(0.0, |bytes| redo_bytes as f64 / bytes.max(1) as f64);
    dirty as f64 * (1.0 + batches)
}

/// How many pages that much redo log is likely to name: by the recoveries whose pages are known, or as usual.
#[allow(clippy::cast_precision_loss)]
pub(super) fn likely_pages(redo_bytes: u64, history: &[Recovery]) -> f64 {
    let (mut mib, mut pages) = (0.0, 0.0);
    for recovery in history {
        if let Some(known) = recovery.pages {
            mib += recovery.redo_bytes as f64 / MIB;
            pages += known as f64;
        }
    }
    let per_mib = if mib > 0.0 { pages / mib } else { FIRST_PAGES_PER_MIB };
    redo_bytes as f64 / MIB * per_mib
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
