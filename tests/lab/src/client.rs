//! A client that writes one row per commit through the virtual address, and remembers what became of each.
//!
//! A number is used for one attempt only. A row whose commit was acknowledged must be there for ever; one whose commit
//! broke off may be there or not, and is neither lost nor acknowledged.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail, ensure};
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::database::{Credentials, options};
use crate::lab::Lab;
use crate::network::{VIP, service_address};
use crate::node::Node;
use crate::wait::wait_until;

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
const FIRST_ROW: Duration = Duration::from_secs(30);
/// Between the numbers of clients that write at the same time: more than the microseconds since 1970.
const APART: i64 = 100_000_000_000_000_000;
/// A row that is older says that no more come.
const BREAK: Duration = Duration::from_secs(1);
const PAYLOAD: &str = "a row that was acknowledged must not be lost";

/// A time without acknowledgements, from the first failure.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// When the last row before it was acknowledged.
    pub last_acknowledged: Option<Instant>,
    /// When the first statement or connection failed.
    pub first_failure: Instant,
    /// When a row was acknowledged again; none: not yet.
    pub end: Option<Instant>,
}

impl Outage {
    /// From the last acknowledged row before to the first one after, or to now.
    pub fn duration(&self) -> Duration {
        self.end.unwrap_or_else(Instant::now) - self.last_acknowledged.unwrap_or(self.first_failure)
    }
}

/// What the client saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every acknowledged number, with the time.
    pub acknowledged: Vec<(i64, Instant)>,
    /// Every number whose fate is open.
    pub unknown: Vec<i64>,
    /// Every outage, in order.
    pub outages: Vec<Outage>,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
}

impl Report {
    /// The outages that lasted longer.
    pub fn outages_longer_than(&self, limit: Duration) -> Vec<Outage> {
        self.outages.iter().filter(|outage| outage.duration() > limit).copied().collect()
    }

    /// The latest outage.
    pub fn latest_outage(&self) -> Option<Outage> {
        self.outages.last().copied()
    }

    /// Whether rows have come without a break for so long, until now.
    pub fn is_steady(&self, for_so_long: Duration) -> bool {
        let now = Instant::now();
        let unbroken = self.outages.last().is_none_or(|outage| {
            outage.end.is_some_and(|end| now.saturating_duration_since(end) >= for_so_long)
        });
        unbroken && self.acknowledged.last().is_some_and(|(_, at)| now.saturating_duration_since(*at) < BREAK)
    }

    /// The acknowledged numbers that are not in the table, read through the virtual address.
    pub fn lost_rows(&self, lab: &Lab) -> Result<Vec<i64>> {
        let present = lab.network().enter(|| {
            wait_until("the rows, through the virtual address", FIRST_ROW, || {
                let patient = options(VIP, Credentials::CLIENT).read_timeout(Some(FIRST_ROW));
                let rows: HashSet<i64> =
                    Conn::new(patient)?.query("SELECT id FROM lab.rows")?.into_iter().collect();
                Ok(Some(rows))
            })
        })?;
        Ok(self.acknowledged.iter().map(|(id, _)| *id).filter(|id| !present.contains(id)).collect())
    }
}

#[derive(Debug, Default)]
struct Shared {
    report: Mutex<Report>,
    written: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client while it writes.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Client {
    /// Starts a client that writes as fast as it is answered.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_paced(lab, Duration::ZERO)
    }

    /// Starts a client that pauses after each row, and so leaves the machine time for something else.
    pub fn start_paced(lab: &Lab, pause: Duration) -> Result<Self> {
        Self::start_at(lab, VIP, 0, pause)
    }

    /// Starts a client of one node, whoever has the virtual address. It comes over the cable that is never cut, and is
    /// refused while the node does not serve.
    pub fn start_direct(lab: &Lab, node: &Node, pause: Duration) -> Result<Self> {
        let number = node.number();
        Self::start_at(lab, service_address(number), i64::from(number) * APART, pause)
    }

    fn start_at(lab: &Lab, address: Ipv4Addr, above: i64, pause: Duration) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let network = lab.network().clone();
        let for_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("client".to_owned())
            .spawn(move || network.enter(|| write_rows(&for_thread, address, above, pause)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Looks at what it saw until now, without a copy.
    pub fn look<T>(&self, look: impl FnOnce(&Report) -> T) -> T {
        look(&self.shared.report())
    }

    /// What it saw until now.
    pub fn report(&self) -> Report {
        self.shared.report().clone()
    }

    /// How many rows were acknowledged until now.
    pub fn acknowledged(&self) -> usize {
        self.shared.report().acknowledged.len()
    }

    /// Waits until so many more rows are acknowledged.
    pub fn wait_for_rows(&self, count: usize) -> Result<()> {
        let goal = self.acknowledged() + count;
        self.wait(FIRST_ROW, &format!("{count} more rows"), |report| {
            (report.acknowledged.len() >= goal).then_some(())
        })
    }

    /// Waits for a row that was acknowledged after this time, and returns when that was.
    pub fn wait_for_row_after(&self, time: Instant, deadline: Duration) -> Result<Instant> {
        self.wait(deadline, "a row", |report| {
            let first = report.acknowledged.partition_point(|(_, at)| *at <= time);
            report.acknowledged.get(first).map(|(_, at)| *at)
        })
    }

    fn wait<T>(&self, deadline: Duration, what: &str, condition: impl Fn(&Report) -> Option<T>) -> Result<T> {
        let end = Instant::now() + deadline;
        let mut report = self.shared.report();
        loop {
            if let Some(value) = condition(&report) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = report.last_error.as_deref().unwrap_or("no error");
                bail!("the client waited {deadline:?} for {what}, in vain; its last error was: {last}");
            }
            (report, _) =
                self.shared.written.wait_timeout(report, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the client, and returns all that it saw.
    pub fn stop(mut self) -> Result<Report> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the client panicked"))??;
        }
        let report = self.report();
        let mut times = report.acknowledged.windows(2);
        ensure!(
            times.all(|pair| pair[0] < pair[1]),
            "the client's numbers do not rise: a mistake in the client itself"
        );
        Ok(report)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn write_rows(shared: &Shared, address: Ipv4Addr, above: i64, pause: Duration) -> Result<()> {
    // Above those of every earlier client of this disk.
    let mut id = above + i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let result = match connection.as_mut() {
            None => Conn::new(options(address, Credentials::CLIENT)).map(|new| connection = Some(new)),
            Some(open) => {
                id += 1;
                let result = write_row(open, id);
                let mut report = shared.report();
                if result.is_ok() {
                    let now = Instant::now();
                    report.acknowledged.push((id, now));
                    if let Some(outage) = report.outages.last_mut().filter(|outage| outage.end.is_none()) {
                        outage.end = Some(now);
                    }
                    shared.written.notify_all();
                } else {
                    report.unknown.push(id);
                }
                result
            }
        };
        if let Err(error) = result {
            connection = None;
            let mut report = shared.report();
            report.last_error = Some(error.to_string());
            if report.outages.last().is_none_or(|outage| outage.end.is_some()) {
                let last_acknowledged = report.acknowledged.last().map(|(_, at)| *at);
                report.outages.push(Outage { last_acknowledged, first_failure: Instant::now(), end: None });
            }
            drop(report);
            thread::sleep(if above == 0 { RETRY } else { RETRY.max(pause) });
        } else if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(())
}

fn write_row(connection: &mut Conn, id: i64) -> mysql::Result<()> {
    connection.exec_drop("INSERT INTO lab.rows (id, payload) VALUES (?, ?)", (id, PAYLOAD))
}
