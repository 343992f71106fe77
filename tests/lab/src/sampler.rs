//! Ten times a second, what each node holds: seen inside both nodes (`src/bin/lab-sampler.rs`), and from outside by ARP.
//!
//! Two nodes with the virtual address or two Primaries at the same time, or two hardware addresses that answer for the
//! virtual address, are a [`Violation`]. Shorter than a tenth of a second may go unseen.

mod arp;
mod holders;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};

pub use arp::Hardware;
pub use holders::{Interval, Nanoseconds};

use crate::cluster::binary;
use crate::lab::Lab;
use crate::network::VIP;
use crate::node::Node;
use crate::wait::wait_until;

const INTERVAL: Duration = Duration::from_millis(100);
/// On the host's end of each node's service cable, which is never cut.
const PORT: u16 = 7790;
/// A look that is older says nothing about now.
const FRESH: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
/// A node's clock is some hundredths of a second off, as its kernel read the host's while it booted.
const CLOCK: i64 = 1_000_000_000;

/// One look inside a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// 1 or 2.
    pub node: u8,
    /// When the program in the node was started: another number after every boot.
    pub start: Nanoseconds,
    /// The look's begin, by the node's clock.
    pub begin: Nanoseconds,
    /// The look's end.
    pub end: Nanoseconds,
    /// When it had arrived, by the host's clock.
    pub arrived: Nanoseconds,
    /// Whether DRBD is Primary there.
    pub primary: bool,
    /// Whether the virtual address is on an interface there.
    pub vip: bool,
}

/// What must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// One sentence.
    pub what: String,
    /// The time that was seen.
    pub when: Interval,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.when.to.saturating_sub(self.when.from)) as f64 / 1e9;
        write!(out, "{} for at least {seconds:.2} s", self.what)
    }
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The looks inside the nodes, as they arrived.
    pub samples: Vec<Sample>,
    /// The answers to ARP requests for the virtual address.
    pub answers: Vec<(Hardware, Nanoseconds)>,
}

fn now() -> Result<Nanoseconds> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

fn parse(line: &str, arrived: Nanoseconds) -> Option<Sample> {
    let mut words = line.split(' ');
    Some(Sample {
        node: words.next()?.parse().ok()?,
        start: words.next()?.parse().ok()?,
        begin: words.next()?.parse().ok()?,
        end: words.next()?.parse().ok()?,
        primary: words.next()? == "Primary",
        vip: words.next()? == "1",
        arrived,
    })
}

impl Record {
    /// How far each node's clock is behind the host's, in nanoseconds, for each start of its sampler: the quickest look
    /// was under way for no time worth mentioning.
    fn behind(&self) -> BTreeMap<(u8, Nanoseconds), i64> {
        let mut least = BTreeMap::new();
        for sample in &self.samples {
            let travel = sample.arrived.cast_signed() - sample.end.cast_signed();
            let known = least.entry((sample.node, sample.start)).or_insert(travel);
            *known = travel.min(*known);
        }
        least
    }

    /// By the host's clock.
    fn looks(&self, node: u8, thing: impl Fn(&Sample) -> bool) -> Vec<Interval> {
        let behind = self.behind();
        let own = self.samples.iter().filter(|sample| sample.node == node);
        holders::held(own.map(|sample| {
            let behind = behind.get(&(node, sample.start)).copied().unwrap_or_default();
            let on_host = |time: Nanoseconds| time.saturating_add_signed(behind);
            (on_host(sample.begin), on_host(sample.end), thing(sample), sample.start)
        }))
    }

    /// Everything that must never be and was seen.
    pub fn violations(&self) -> Vec<Violation> {
        let named = |what: String| move |when| Violation { what: what.clone(), when };
        let vip = holders::together(&self.looks(1, |sample| sample.vip), &self.looks(2, |sample| sample.vip));
        let primary = holders::together(
            &self.looks(1, |sample| sample.primary),
            &self.looks(2, |sample| sample.primary),
        );
        let mut found: Vec<Violation> =
            vip.into_iter().map(named(format!("{VIP} was on both nodes"))).collect();
        found.extend(primary.into_iter().map(named("both nodes were Primary".to_owned())));

        let mut by_hardware: BTreeMap<Hardware, Vec<Nanoseconds>> = BTreeMap::new();
        for (who, at) in &self.answers {
            by_hardware.entry(*who).or_default().push(*at);
        }
        let answered: Vec<_> =
            by_hardware.into_iter().map(|(who, times)| (who, holders::answered(times))).collect();
        for (place, (one, left)) in answered.iter().enumerate() {
            for (other, right) in answered.iter().skip(place + 1) {
                let what = format!("{} and {} answered for {VIP}", hardware(one), hardware(other));
                found.extend(holders::together(left, right).into_iter().map(named(what)));
            }
        }
        found
    }

    /// What came of the looking itself, a line for each start of a sampler.
    ///
    /// # Errors
    /// The clock of a node is further from the host's than a boot explains.
    pub fn quality(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for ((node, start), behind) in self.behind() {
            let own = self.samples.iter().filter(|sample| (sample.node, sample.start) == (node, start));
            let ends: Vec<Nanoseconds> = own.map(|sample| sample.end).collect();
            let longest =
                ends.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default();
            let behind_seconds = behind as f64 / 1e9;
            ensure!(
                behind.abs() < CLOCK,
                "the clock of node{node} is {behind_seconds:.3} s behind the host's"
            );
            lines.push(format!(
                "node{node}: {} looks, at most {:.2} s apart; its clock is {behind_seconds:.3} s behind",
                ends.len(),
                longest as f64 / 1e9,
            ));
        }
        lines.push(format!("ARP: {} answers", self.answers.len()));
        Ok(lines)
    }

    /// Writes `samples` and `arp` into a directory, in the order in which they arrived.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let mut text = String::from("node start begin end arrived primary vip\n");
        for Sample { node, start, begin, end, arrived, primary, vip } in &self.samples {
            writeln!(text, "{node} {start} {begin} {end} {arrived} {primary} {vip}")?;
        }
        fs::write(directory.join("samples"), text)?;
        let mut text = String::from("at hardware-address\n");
        for (who, at) in &self.answers {
            writeln!(text, "{at} {}", hardware(who))?;
        }
        fs::write(directory.join("arp"), text)?;
        Ok(())
    }
}

fn hardware(address: &Hardware) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    stop: AtomicBool,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The looking while it goes on.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<Result<()>>>>,
}

impl Sampler {
    /// Installs the program on both nodes, where it starts at every boot, too, and waits for the first look of each.
    pub fn start(lab: &Lab) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (socket, prober) = lab.network().enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))
                .context("cannot listen to the samplers: does another one run in this lab?")?;
            Ok((socket, arp::Prober::open()?))
        })?;
        socket.set_read_timeout(Some(INTERVAL))?;
        let inside = shared.clone();
        let outside = shared.clone();
        let threads = vec![
            thread::Builder::new().name("samples".to_owned()).spawn(move || listen(&socket, &inside))?,
            thread::Builder::new().name("arp".to_owned()).spawn(move || {
                prober.run(&outside.stop, |who, at| outside.record().answers.push((who, at)))
            })?,
        ];
        let sampler = Self { shared, threads: Mutex::new(threads) };
        lab.on_both(install)?;
        for node in lab.nodes() {
            sampler.wait_for(node)?;
        }
        Ok(sampler)
    }

    /// Waits until a node is looked into.
    pub fn wait_for(&self, node: &Node) -> Result<Sample> {
        wait_until(&format!("a look inside {}", node.name()), SOON, || self.latest(node.number()))
    }

    /// The latest look inside a node, unless it is too old to tell.
    pub fn latest(&self, node: u8) -> Result<Option<Sample>> {
        let oldest = now()?.saturating_sub(FRESH.as_nanos() as u64);
        let record = self.shared.record();
        let latest = record.samples.iter().rev().find(|sample| sample.node == node).copied();
        Ok(latest.filter(|sample| sample.arrived >= oldest))
    }

    /// The node that is Primary and has the virtual address, when the other one has neither.
    pub fn active(&self) -> Result<Option<u8>> {
        let looks = [self.latest(1)?, self.latest(2)?];
        let holds = |look: &Option<Sample>| look.is_some_and(|look| look.primary || look.vip);
        let serves = |look: &Option<Sample>| look.is_some_and(|look| look.primary && look.vip);
        Ok(match &looks {
            [one, two] if serves(one) && !holds(two) => Some(1),
            [one, two] if serves(two) && !holds(one) => Some(2),
            _ => None,
        })
    }

    /// All that was seen until now.
    pub fn record(&self) -> Record {
        self.shared.record().clone()
    }

    /// Ends the looking on the host's side, and returns what was seen; an error if it had ended by itself.
    pub fn stop(&self) -> Result<Record> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread of the sampler panicked"))??;
        }
        Ok(self.record())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn listen(socket: &UdpSocket, shared: &Shared) -> Result<()> {
    let mut buffer = [0; 256];
    while !shared.stop.load(Ordering::Relaxed) {
        // A timeout only lets it see whether it is to stop.
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let line = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let sample = parse(&line, now()?).with_context(|| format!("a sampler said {line:?}"))?;
        shared.record().samples.push(sample);
    }
    Ok(())
}

fn install(node: &Node) -> Result<()> {
    node.copy_in(binary("lab-sampler")?, "/usr/local/sbin/lab-sampler", 0o755)?;
    let number = node.number();
    let to = SocketAddrV4::new(Ipv4Addr::new(10, 77, 100 + number, 254), PORT);
    let unit = format!(
        "[Unit]\nDescription=Looks at what this node holds\nDefaultDependencies=no\nAfter=lab-network.service\n\
         [Service]\nExecStart=/usr/local/sbin/lab-sampler {number} {to} {VIP}\nRestart=always\n\
         CPUSchedulingPolicy=fifo\nCPUSchedulingPriority=50\nOOMScoreAdjust=-1000\n\
         [Install]\nWantedBy=sysinit.target\n"
    );
    node.write_file("/etc/systemd/system/lab-sampler.service", unit, 0o644)?;
    node.run_ok("systemctl daemon-reload && systemctl --quiet enable --now lab-sampler.service && sync")
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanoseconds = 1_000_000;

    fn sample(node: u8, at: u64, primary: bool, vip: bool) -> Sample {
        Sample {
            node,
            start: u64::from(node),
            begin: at * MS,
            end: at * MS + 1,
            arrived: at * MS + 2,
            primary,
            vip,
        }
    }

    #[test]
    fn a_line_of_the_program_is_read() {
        let read = parse("2 7 1000 1001 Primary 1", 1002).unwrap();
        assert_eq!(
            read,
            Sample { node: 2, start: 7, begin: 1000, end: 1001, arrived: 1002, primary: true, vip: true }
        );
        assert!(!parse("2 7 1000 1001 Secondary 0", 1002).unwrap().primary);
        assert_eq!(parse("2 7 1000", 1002), None);
    }

    #[test]
    fn each_violation_is_told_apart() {
        let samples = |one: (bool, bool), two: (bool, bool)| {
            let looks = (0..5).flat_map(|turn| {
                [sample(1, turn * 100, one.0, one.1), sample(2, turn * 100 + 50, two.0, two.1)]
            });
            Record { samples: looks.collect(), answers: Vec::new() }
        };
        assert_eq!(samples((true, true), (false, false)).violations(), []);
        let found = |record: &Record| -> Vec<String> {
            record.violations().into_iter().map(|violation| violation.what).collect()
        };
        assert_eq!(found(&samples((true, true), (true, false))), ["both nodes were Primary"]);
        assert_eq!(found(&samples((true, true), (false, true))), ["10.77.0.100 was on both nodes"]);
        let answers = [(1, 0), (2, 50), (1, 100), (2, 150)];
        let record = Record {
            samples: Vec::new(),
            answers: answers.map(|(last, at)| ([0, 0, 0, 0, 0, last], at * MS)).to_vec(),
        };
        assert_eq!(found(&record), ["00:00:00:00:00:01 and 00:00:00:00:00:02 answered for 10.77.0.100"]);
    }

    /// A node hands over to the other one, whose clock is a tenth of a second behind: by the clocks alone both hold it.
    #[test]
    fn clocks_are_compared_by_the_arrival_of_the_looks() {
        let mut record = Record::default();
        for turn in 0..20 {
            record.samples.push(sample(1, 1000 + turn * 100, turn < 10, turn < 10));
            let mut other = sample(2, 1020 + turn * 100, turn >= 10, turn >= 10);
            (other.begin, other.end) = (other.begin - 100 * MS, other.end - 100 * MS);
            record.samples.push(other);
        }
        assert_eq!(record.violations(), []);
        assert!(record.quality().unwrap().iter().any(|line| line.ends_with("0.100 s behind")), "{record:?}");
        for sample in record.samples.iter_mut().filter(|sample| sample.node == 2) {
            sample.arrived -= 200 * MS;
        }
        assert_eq!(record.violations().len(), 2, "the same looks, arrived earlier");
        for sample in &mut record.samples {
            sample.arrived += 2_000 * MS;
        }
        assert!(record.quality().unwrap_err().to_string().contains("node1"));
    }
}
