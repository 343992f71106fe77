//! The largest tables that a crash may damage, and what to do about each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::Engine;

/// Bytes that a repair gets through per second: rough, for a repair by sorting on a disk that does nothing else. By
/// keycache, which the server falls back to when it runs out of sort space, it is many times slower.
pub const REPAIR_BYTES_PER_SECOND: u64 = 30_000_000;

/// A table that is not crash-safe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offender {
    /// Bytes of data and indexes, all partitions together.
    pub bytes: u64,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its engine.
    pub engine: Engine,
}

impl Offender {
    /// The statement that makes it crash-safe. A row format that InnoDB does not have would be refused, so it is reset.
    pub fn convert(&self) -> String {
        format!(
            "ALTER TABLE {}.{} ENGINE=InnoDB, ROW_FORMAT=DEFAULT;",
            quoted(&self.schema),
            quoted(&self.table)
        )
    }

    /// Rough seconds of a repair.
    pub fn repair_seconds(&self) -> u64 {
        repair_seconds(self.bytes)
    }
}

/// Rough seconds that a repair of so many bytes takes.
pub fn repair_seconds(bytes: u64) -> u64 {
    bytes.div_ceil(REPAIR_BYTES_PER_SECOND)
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The `limit` largest of many.
#[derive(Debug)]
pub struct Largest {
    limit: usize,
    heap: BinaryHeap<Reverse<Offender>>,
}

impl Largest {
    /// None yet.
    pub fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Whether a table of this size would be kept, so that its names are worth decoding.
    pub fn takes(&self, bytes: u64) -> bool {
        self.heap.len() < self.limit || self.heap.peek().is_some_and(|Reverse(least)| least.bytes <= bytes)
    }

    /// Keeps it if it is among the largest.
    pub fn push(&mut self, offender: Offender) {
        self.heap.push(Reverse(offender));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    /// Those that were kept, the largest first, equal ones by name.
    pub fn into_vec(self) -> Vec<Offender> {
        let mut kept: Vec<Offender> = self.heap.into_iter().map(|Reverse(offender)| offender).collect();
        kept.sort_unstable_by(|a, b| {
            b.bytes.cmp(&a.bytes).then_with(|| (&a.schema, &a.table).cmp(&(&b.schema, &b.table)))
        });
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offender(bytes: u64, table: &str) -> Offender {
        Offender { bytes, schema: "app".into(), table: table.into(), engine: Engine::MyISAM }
    }

    #[test]
    fn names_are_quoted() {
        let odd = Offender { schema: "a b".into(), ..offender(1, "x`; DROP TABLE y; --") };
        assert_eq!(
            odd.convert(),
            "ALTER TABLE `a b`.`x``; DROP TABLE y; --` ENGINE=InnoDB, ROW_FORMAT=DEFAULT;"
        );
    }

    #[test]
    fn a_repair_takes_a_second_at_least_and_nothing_for_nothing() {
        assert_eq!([0, 1, 30_000_000, 30_000_001].map(repair_seconds), [0, 1, 1, 2]);
    }

    proptest! {
        #[test]
        fn keeps_the_largest_in_order(sizes in proptest::collection::vec(0..50u64, 0..60), limit in 0..20usize) {
            let mut largest = Largest::new(limit);
            for (number, bytes) in sizes.iter().enumerate() {
                if largest.takes(*bytes) {
                    largest.push(offender(*bytes, &format!("t{number}")));
                }
            }
            let kept: Vec<u64> = largest.into_vec().into_iter().map(|offender| offender.bytes).collect();
            let mut sorted = sizes.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.truncate(limit);
            prop_assert_eq!(kept, sorted);
        }
    }
}
