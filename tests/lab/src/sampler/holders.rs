//! Who held what when, and whether two did at the same time.

/// A time in nanoseconds of the realtime clock.
pub type Nanoseconds = u64;

/// The clocks of the nodes and the host agree better than this; so an overlap that is shorter proves nothing.
pub(super) const CLOCK_ERROR: Nanoseconds = 5_000_000;
/// Silence of a hardware address that is longer than this ends what it held: three probes without an answer.
pub(super) const SILENCE: Nanoseconds = 350_000_000;

/// From the end of the first look that saw it to the begin of the last one: it was held for at least this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it was held for sure.
    pub from: Nanoseconds,
    /// When it was still held.
    pub to: Nanoseconds,
}

impl Interval {
    /// The time that both have in common, when it is longer than the clocks' error.
    fn common(self, other: Self) -> Option<Self> {
        let both = Self { from: self.from.max(other.from), to: self.to.min(other.to) };
        // A single look within a longer interval has no length, and is proof all the same.
        let inside = |inner: Self, outer: Self| {
            inner.from > outer.from + CLOCK_ERROR && inner.to + CLOCK_ERROR < outer.to
        };
        let long = both.to > both.from + CLOCK_ERROR;
        (long || inside(self, other) || inside(other, self)).then_some(both)
    }
}

/// A look: its begin, its end, whether the thing was held, and a number that changes with each start of who looks.
pub(super) type Look = (Nanoseconds, Nanoseconds, bool, u64);

/// The intervals in which one holder had the thing, from looks in the order of their times. Between two looks that both
/// saw it, it was held, however far apart they are: a node that stands still keeps its addresses.
pub(super) fn held(looks: impl IntoIterator<Item = Look>) -> Vec<Interval> {
    let mut found: Vec<Interval> = Vec::new();
    let mut open = None;
    for (begin, end, holds, start) in looks {
        if !holds {
            open = None;
        } else if open == Some(start)
            && let Some(last) = found.last_mut()
        {
            last.to = begin.max(last.from);
        } else {
            found.push(Interval { from: end, to: end });
            open = Some(start);
        }
    }
    found
}

/// The intervals in which one hardware address answered.
pub(super) fn answered(times: impl IntoIterator<Item = Nanoseconds>) -> Vec<Interval> {
    let mut found: Vec<Interval> = Vec::new();
    for at in times {
        match found.last_mut() {
            Some(last) if at <= last.to + SILENCE => last.to = at.max(last.to),
            _ => found.push(Interval { from: at, to: at }),
        }
    }
    found
}

/// The times at which both of two holders had the thing.
pub(super) fn together(one: &[Interval], other: &[Interval]) -> Vec<Interval> {
    one.iter().flat_map(|left| other.iter().filter_map(|right| left.common(*right))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanoseconds = 1_000_000;

    fn looks(times: &[u64], holds: bool, start: u64) -> Vec<Look> {
        times.iter().map(|at| (at * MS, at * MS + 1, holds, start)).collect()
    }

    fn interval(from: u64, to: u64) -> Interval {
        Interval { from: from * MS, to: to * MS }
    }

    #[test]
    fn a_hand_over_is_no_overlap() {
        let one = held([looks(&[0, 100, 200], true, 1), looks(&[300, 400], false, 1)].concat());
        let other = held([looks(&[50, 150], false, 2), looks(&[250, 350], true, 2)].concat());
        assert_eq!(together(&one, &other), []);
    }

    #[test]
    fn a_common_look_is_an_overlap() {
        let one = held(looks(&[0, 100, 200], true, 1));
        let other = held([looks(&[50], false, 2), looks(&[150, 250], true, 2)].concat());
        let found = together(&one, &other);
        assert_eq!(found.len(), 1);
        assert!(found[0].from >= 150 * MS && found[0].to <= 200 * MS, "{found:?}");
        assert_eq!(together(&other, &one), found, "whoever is named first");
    }

    #[test]
    fn a_single_look_within_an_interval_is_an_overlap() {
        let one = held(looks(&[0, 100, 200], true, 1));
        let other = held(looks(&[120], true, 2));
        assert_eq!(together(&one, &other).len(), 1);
        // The clocks do not agree that well.
        assert_eq!(together(&one, &held(looks(&[198], true, 2))), []);
    }

    #[test]
    fn what_was_not_looked_at_between_two_boots_was_not_held() {
        let one = held([looks(&[0, 100], true, 1), looks(&[5000, 5100], true, 3)].concat());
        assert_eq!(one.len(), 2);
        assert_eq!(together(&one, &held(looks(&[200, 4900], true, 2))), []);
    }

    #[test]
    fn a_node_that_stands_still_keeps_what_it_has() {
        let one = held(looks(&[0, 100, 9000], true, 1));
        assert_eq!(together(&one, &held(looks(&[3000, 4000], true, 2))).len(), 1);
    }

    #[test]
    fn two_hardware_addresses_that_take_turns_overlap_and_successors_do_not() {
        let first = answered([0, 100 * MS, 200 * MS]);
        assert_eq!(first, [interval(0, 200)]);
        assert_eq!(together(&first, &answered([300 * MS, 400 * MS])), []);
        assert_eq!(together(&first, &answered([110 * MS])).len(), 1);
        // There and back: silent for longer than a lost answer explains.
        assert_eq!(answered([0, 1000 * MS]).len(), 2);
    }
}
