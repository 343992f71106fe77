//! Which faults strike when, from a seed and nothing else.
//!
//! The generator is ChaCha8, whose numbers are the same on every machine. A schedule of more faults begins with the one of
//! fewer, so that a failing run can be replayed as far as it came.

use std::fmt;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Fault {
    /// The power goes; it comes back at the end.
    PowerCut,
    /// The kernel stands still, as a stunned virtual machine does.
    Hang,
    /// The cable to the clients is pulled.
    ClientsCut,
    /// The nodes do not reach each other over the replication link.
    ReplicationCut,
    /// Both cables of a node are pulled.
    BothCut,
    /// SIGKILL to every standin that runs.
    KillStandin,
    /// SIGKILL to mysqld.
    KillMysqld,
    /// SIGKILL to the cluster manager or the agent.
    KillManager,
    /// The data file system meets an error and becomes read-only.
    ReadOnly,
    /// The data file system has no room left.
    FullDisk,
    /// The disk below DRBD answers everything with an error.
    DiskErrors,
    /// The disk below DRBD answers nothing.
    DiskHang,
    /// The clock is an hour ahead.
    ClockForward,
    /// The clock is an hour behind.
    ClockBack,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::PowerCut,
        Self::Hang,
        Self::ClientsCut,
        Self::ReplicationCut,
        Self::BothCut,
        Self::KillStandin,
        Self::KillMysqld,
        Self::KillManager,
        Self::ReadOnly,
        Self::FullDisk,
        Self::DiskErrors,
        Self::DiskHang,
        Self::ClockForward,
        Self::ClockBack,
    ];

    /// Whether it strikes where the database runs, and nowhere else.
    fn needs_the_active(self) -> bool {
        matches!(self, Self::KillMysqld | Self::ReadOnly | Self::FullDisk)
    }

    /// Whether it is over as soon as it has struck.
    pub fn is_momentary(self) -> bool {
        matches!(self, Self::KillStandin | Self::KillMysqld | Self::KillManager | Self::ReadOnly)
    }

    /// Whether it strikes at its best while a takeover is under way.
    fn strikes_a_takeover(self) -> bool {
        self == Self::KillStandin
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::PowerCut => "power cut",
            Self::Hang => "hang",
            Self::ClientsCut => "clients' cable pulled",
            Self::ReplicationCut => "replication link cut",
            Self::BothCut => "both cables pulled",
            Self::KillStandin => "kill -9 of standin",
            Self::KillMysqld => "kill -9 of mysqld",
            Self::KillManager => "kill -9 of the manager",
            Self::ReadOnly => "read-only remount",
            Self::FullDisk => "full disk",
            Self::DiskErrors => "disk errors",
            Self::DiskHang => "hung disk",
            Self::ClockForward => "clock an hour ahead",
            Self::ClockBack => "clock an hour behind",
        })
    }
}

/// A node by what it is when its round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that serves.
    Active,
    /// The other one.
    Standby,
}

impl fmt::Display for Side {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Active => "active",
            Self::Standby => "standby",
        })
    }
}

/// One fault of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What goes wrong.
    pub fault: Fault,
    /// Where.
    pub on: Side,
    /// When, counted from the begin of the round.
    pub begin: Duration,
    /// How long; nothing for what is momentary.
    pub length: Duration,
}

impl Planned {
    /// When it is mended, counted from the begin of the round.
    pub fn end(&self) -> Duration {
        self.begin + self.length
    }
}

/// Faults that strike a healthy cluster: one, or two of which the second begins before the first is mended or just after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// How long the healthy cluster is left alone before.
    pub pause: Duration,
    /// In the order of their begins.
    pub planned: Vec<Planned>,
}

/// Rounds with so many faults in all, each fault one of `kinds`.
pub fn schedule(seed: u64, faults: usize, kinds: &[Fault]) -> Vec<Round> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rounds = Vec::new();
    let mut left = faults;
    while left > 0 && !kinds.is_empty() {
        let mut round = round(&mut random, kinds);
        round.planned.truncate(left);
        left -= round.planned.len();
        rounds.push(round);
    }
    rounds
}

fn round(random: &mut ChaCha8Rng, kinds: &[Fault]) -> Round {
    let pause = milliseconds(random, 200, 3000);
    let first = planned(random, kinds, Duration::ZERO);
    let mut all = vec![first];
    if random.random_range(0..100) < 45 {
        // A second takeover that is disturbed, or a fault whose repair is: within the first one or shortly after its begin.
        let latest = first.length.max(Duration::from_secs(5));
        let begin = milliseconds(random, 200, latest.as_millis() as u64);
        let second = planned(random, kinds, begin);
        if (second.fault, second.on) != (first.fault, first.on) {
            all.push(second);
        }
    }
    Round { pause, planned: all }
}

fn planned(random: &mut ChaCha8Rng, kinds: &[Fault], begin: Duration) -> Planned {
    let fault = kinds[random.random_range(0..kinds.len())];
    let active = random.random_range(0..100) < 65;
    let length = milliseconds(random, 3000, 20_000);
    let on = match fault {
        fault if fault.needs_the_active() || fault == Fault::ReplicationCut => Side::Active,
        // Whoever is to take over runs it.
        fault if fault.strikes_a_takeover() && begin > Duration::ZERO => Side::Standby,
        _ if active => Side::Active,
        _ => Side::Standby,
    };
    Planned { fault, on, begin, length: if fault.is_momentary() { Duration::ZERO } else { length } }
}

fn milliseconds(random: &mut ChaCha8Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..=to.max(from)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(schedule(7, 40, &Fault::ALL), schedule(7, 40, &Fault::ALL));
        assert_ne!(schedule(7, 40, &Fault::ALL), schedule(8, 40, &Fault::ALL));
    }

    /// The numbers are those of the generator and no machine's: a seed that is written down stays what it was.
    #[test]
    fn a_seed_means_the_same_everywhere() {
        let first = &schedule(1, 3, &Fault::ALL)[0];
        let told: Vec<String> = first
            .planned
            .iter()
            .map(|planned| {
                format!(
                    "{} of the {} at {:?} for {:?}",
                    planned.fault, planned.on, planned.begin, planned.length
                )
            })
            .collect();
        let expected = [
            "clock an hour behind of the active at 0ns for 13.142s",
            "replication link cut of the active at 10.974s for 11.433s",
        ];
        assert_eq!(first.pause, Duration::from_millis(1327));
        assert_eq!(told, expected);
    }

    #[test]
    fn a_longer_schedule_begins_with_the_shorter_one() {
        let (short, long) = (schedule(3, 10, &Fault::ALL), schedule(3, 30, &Fault::ALL));
        let flat = |rounds: &[Round]| -> Vec<Planned> {
            rounds.iter().flat_map(|round| round.planned.clone()).collect()
        };
        assert_eq!(flat(&short).len(), 10);
        assert_eq!(flat(&short), flat(&long)[..10]);
    }

    #[test]
    fn every_kind_comes_and_none_that_was_not_asked_for() {
        let kinds = |rounds: &[Round]| -> BTreeSet<Fault> {
            rounds.iter().flat_map(|round| round.planned.iter().map(|planned| planned.fault)).collect()
        };
        assert_eq!(kinds(&schedule(1, 200, &Fault::ALL)), Fault::ALL.into());
        assert_eq!(kinds(&schedule(1, 20, &[Fault::Hang])), [Fault::Hang].into());
        assert!(schedule(1, 20, &[]).is_empty());
    }

    #[test]
    fn a_fault_strikes_where_it_can() {
        for planned in schedule(5, 300, &Fault::ALL).iter().flat_map(|round| &round.planned) {
            assert!(planned.on == Side::Active || !planned.fault.needs_the_active(), "{planned:?}");
            assert_eq!(planned.length.is_zero(), planned.fault.is_momentary(), "{planned:?}");
        }
    }
}
