//! What must hold throughout: no acknowledged row is lost, and never do two nodes acknowledge while both are Primary or both
//! have the virtual address.
//!
//! Beside the client of the virtual address each node has one of its own, over the cable that is never cut: so a node that
//! accepts writes is known to, whatever became of its addresses. A node that was paused and is frozen by DRBD's fencing may
//! hold both for a while; it is told, and judged by whether it acknowledges anything.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::client::{Client, Report};
use crate::database::{Credentials, options};
use crate::lab::Lab;
use crate::network::service_address;
use crate::node::Node;
use crate::sampler::{Nanoseconds, Record, Sampler, Violation};
use crate::wait::wait_until;

/// Between two rows of the client of the virtual address: managers need the processors, too.
const PAUSE: Duration = Duration::from_millis(20);
/// The same for the client of each node.
const DIRECT: Duration = Duration::from_millis(80);
/// For a query that reads all numbers.
const QUERY: Duration = Duration::from_secs(60);

/// Two nodes that held the same thing at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What both held, and when.
    pub seen: Violation,
    /// How many rows each node acknowledged meanwhile.
    pub acknowledged: [usize; 2],
}

impl Overlap {
    /// Both accepted writes: that must never be.
    pub fn is_violation(&self) -> bool {
        self.acknowledged.iter().all(|count| *count > 0)
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two] = self.acknowledged;
        write!(out, "{} (node1 acknowledged {one} rows meanwhile, node2 {two})", self.seen)
    }
}

/// The sampler's overlaps that ended after a time, each with the rows that the nodes acknowledged while it lasted.
fn overlaps(record: &Record, acknowledged: [&[Nanoseconds]; 2], since: Nanoseconds) -> Vec<Overlap> {
    let recent = record.violations().into_iter().filter(|seen| seen.when.to >= since);
    recent
        .map(|seen| {
            let within = |time: &&Nanoseconds| (seen.when.from..=seen.when.to).contains(time);
            let acknowledged = acknowledged.map(|times| times.iter().filter(within).count());
            Overlap { seen, acknowledged }
        })
        .collect()
}

/// The clients and the sampler of one run.
#[derive(Debug)]
pub struct Watch {
    sampler: Sampler,
    client: Client,
    direct: [Client; 2],
    /// The same moment by both of the host's clocks.
    origin: (Instant, Nanoseconds),
}

impl Watch {
    /// Starts the clients; the sampler is running.
    pub fn start(lab: &Lab, sampler: Sampler) -> Result<Self> {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
        let direct = [
            Client::start_direct(lab, lab.node1(), DIRECT)?,
            Client::start_direct(lab, lab.node2(), DIRECT)?,
        ];
        Ok(Self { sampler, client: Client::start_paced(lab, PAUSE)?, direct, origin: (Instant::now(), now) })
    }

    /// The sampler.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The client of the virtual address.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether a node acknowledges rows of its own client.
    pub fn accepts(&self, node: &Node) -> bool {
        let [one, two] = &self.direct;
        let client = if node.number() == 1 { one } else { two };
        client.look(|report| report.is_steady(Duration::from_millis(500)))
    }

    /// The longest time without an acknowledged row since a moment, seen through the virtual address.
    pub fn outage(&self, since: Instant) -> Duration {
        self.client.look(|report| {
            let mut longest = Duration::ZERO;
            let first = report.acknowledged.partition_point(|(_, at)| *at < since);
            let mut last = since;
            for (_, at) in report.acknowledged.get(first..).unwrap_or_default() {
                longest = longest.max(*at - last);
                last = *at;
            }
            longest.max(last.elapsed())
        })
    }

    fn on_clock(&self, at: Instant) -> Nanoseconds {
        let (origin, clock) = self.origin;
        let since =
            |later: Instant, earlier: Instant| later.saturating_duration_since(earlier).as_nanos() as u64;
        clock.saturating_add(since(at, origin)).saturating_sub(since(origin, at))
    }

    /// Everything that two nodes held at the same time since a moment.
    pub fn overlaps(&self, since: Instant) -> Vec<Overlap> {
        let times = self.direct.each_ref().map(|client| {
            client.look(|report| -> Vec<Nanoseconds> {
                let first = report.acknowledged.partition_point(|(_, at)| *at < since);
                let recent = report.acknowledged.get(first..).unwrap_or_default();
                recent.iter().map(|(_, at)| self.on_clock(*at)).collect()
            })
        });
        let [one, two] = &times;
        overlaps(&self.sampler.record(), [one, two], self.on_clock(since))
    }

    /// The acknowledged numbers of all clients that are not in the table of the node that serves, and how many there are.
    pub fn lost_rows(&self, lab: &Lab, node: &Node) -> Result<(Vec<i64>, usize)> {
        // First what is acknowledged, then the table: later rows may be in it, earlier ones must.
        let acknowledged: Vec<i64> = [&self.client, &self.direct[0], &self.direct[1]]
            .into_iter()
            .flat_map(|client| client.look(|report: &Report| ids(report)))
            .collect();
        let address = service_address(node.number());
        let present: HashSet<i64> = lab.network().enter(|| {
            wait_until("the rows", QUERY, || {
                let patient = options(address, Credentials::CLIENT).read_timeout(Some(QUERY));
                Ok(Some(Conn::new(patient)?.query("SELECT id FROM lab.rows")?.into_iter().collect()))
            })
        })?;
        let lost = acknowledged.iter().filter(|id| !present.contains(id)).copied().collect();
        Ok((lost, acknowledged.len()))
    }

    /// Ends the clients and the looking, and returns all that the sampler saw.
    pub fn stop(self) -> Result<Record> {
        for client in [self.client].into_iter().chain(self.direct) {
            client.stop()?;
        }
        self.sampler.stop().context("the sampler")
    }
}

fn ids(report: &Report) -> Vec<i64> {
    report.acknowledged.iter().map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sample;

    const MS: Nanoseconds = 1_000_000;

    /// Both Primary from 300 to 700 ms.
    fn record() -> Record {
        let look = |node: u8, at: u64, primary| Sample {
            node,
            start: u64::from(node),
            begin: at * MS,
            end: at * MS + 1,
            arrived: at * MS + 2,
            primary,
            vip: false,
        };
        let samples = (0..10).flat_map(|turn| {
            let at = turn * 100;
            [look(1, at, at <= 700), look(2, at + 50, at >= 300)]
        });
        Record { samples: samples.collect(), answers: Vec::new() }
    }

    #[test]
    fn a_frozen_node_breaks_nothing_and_one_that_acknowledges_does() {
        let verdict = |one: &[Nanoseconds], two: &[Nanoseconds]| {
            let found = overlaps(&record(), [one, two], 0);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].is_violation()
        };
        assert!(!verdict(&[100 * MS], &[500 * MS, 600 * MS]), "node1 acknowledged before");
        assert!(!verdict(&[800 * MS], &[500 * MS]), "node1 acknowledged after");
        assert!(!verdict(&[], &[]));
        assert!(verdict(&[600 * MS], &[500 * MS]));
    }

    #[test]
    fn what_was_told_once_is_not_told_again() {
        assert!(overlaps(&record(), [&[], &[]], 2000 * MS).is_empty());
    }
}
