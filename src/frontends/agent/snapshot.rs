//! What the agent knows after one look, as one immutable value: the endpoints answer from it and from nothing else.

mod decision;
mod history;
mod seen;

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::decision::{Check, CheckState, Decision, Judge};
pub use self::history::{History, LastRun, Tally};
pub use self::seen::{AddressSeen, DrbdSeen, MountSeen, MysqldSeen, Seen, VipSeen};
use crate::config::Config;
use crate::decide::{self, Health, Now, Standing};
use crate::observation::{AddressProbe, Observation};
use crate::plan::Goal;

/// One look, as the loop hands it over.
#[derive(Debug)]
pub struct Look<'a> {
    /// The cluster, seen from this node.
    pub config: &'a Config,
    /// What was seen.
    pub observation: &'a Observation,
    /// What is going on beside it.
    pub now: &'a Now,
    /// When the look ended.
    pub at: SystemTime,
    /// The same by a clock that nobody sets.
    pub ended: Instant,
    /// How long it took.
    pub took: Duration,
    /// How many looks there were with this one.
    pub looks: u64,
    /// The age at which it says nothing any more: a loop that hangs must not pass for a node that serves.
    pub stale_after: Duration,
}

/// All that the agent tells. The fields of the first half come from the look ([`Snapshot::of`]); those of the second half are the
/// loop's own, and empty until it fills them in.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// standin's version.
    pub version: &'static str,
    /// The cluster.
    pub cluster: String,
    /// This node.
    pub node: String,
    /// The other one.
    pub peer: String,
    /// When the look ended (RFC 3339, UTC).
    pub at: String,
    /// The same as a number.
    #[serde(skip)]
    pub ended_at: SystemTime,
    /// The same by a clock that nobody sets.
    #[serde(skip)]
    pub ended: Instant,
    /// The age in seconds from which on it says nothing any more.
    pub stale_after_seconds: f64,
    /// Looks so far.
    pub looks: u64,
    /// Seconds that the last one took.
    pub look_seconds: f64,
    /// What this node holds.
    pub standing: StandingWord,
    /// What is wrong or missing, when it is neither active nor standby.
    pub standing_reason: Option<String>,
    /// Whether it serves: the question of a load balancer.
    pub serves: Judged,
    /// Whether it is fit for its role.
    pub fit: Judged,
    /// The DRBD resource.
    pub drbd: Seen<DrbdSeen>,
    /// The data file system.
    pub mount: Seen<MountSeen>,
    /// The database server.
    pub mysqld: Seen<MysqldSeen>,
    /// The virtual IP.
    pub vip: VipSeen,
    /// The peer's addresses, the replication address first.
    pub peer_addresses: Vec<AddressSeen>,
    /// The witnesses.
    pub witnesses: Vec<AddressSeen>,

    /// What the guard or the watch decided last.
    pub decision: Option<Decision>,
    /// Every check that the loop makes.
    pub checks: Vec<Check>,
    /// The takeover or release that runs.
    pub running: Option<Running>,
    /// Takeovers and releases of the past.
    pub history: History,
    /// Set while the agent only looks.
    pub pause: Option<Pause>,
    /// Why this node gave up by itself a short while ago, until somebody acknowledges it or the anti-flap window is over.
    pub gave_up: Option<String>,
    /// Set during the anti-flap window after a takeover.
    pub settling: Option<Settling>,
    /// How long crash recovery would take now.
    pub recovery: Option<Recovery>,
    /// What an operator should know although nothing is done about it.
    pub warnings: Vec<String>,
}

/// What a node holds, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandingWord {
    /// It serves.
    Active,
    /// It holds nothing.
    Standby,
    /// It holds something, and does not serve.
    Partial,
    /// Not all of it could be looked at.
    Unknown,
}

/// A judgement: how good, and why in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// How good.
    pub degree: Degree,
    /// Why, in one sentence.
    pub sentence: String,
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Degree {
    /// As it should be.
    Good,
    /// It does what it is for, but something that protects the data is missing.
    Degraded,
    /// It does not do what it is for.
    Bad,
}

/// A takeover or a release that runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Running {
    /// What it is for, if that is known yet.
    pub goal: Option<Goal>,
    /// The step it is in.
    pub step: Option<String>,
    /// Seconds since it was seen first.
    pub seconds: f64,
}

/// The agent only looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Until when (RFC 3339, UTC); none: until somebody resumes it.
    #[serde(default)]
    pub until: Option<String>,
    /// Why, as the person who paused it said.
    #[serde(default)]
    pub reason: Option<String>,
    /// It was typed on the peer, and holds back this agent, too.
    #[serde(default)]
    pub by_peer: bool,
}

/// The anti-flap window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// Its end (RFC 3339, UTC).
    pub until: String,
}

/// How long crash recovery would take now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// In seconds; none when it can't be told.
    pub seconds: Option<f64>,
    /// On what that stands, in one sentence.
    pub sentence: String,
}

impl Snapshot {
    /// What a look showed. The loop adds the rest: `Snapshot { decision, checks, ..Snapshot::of(&look) }`.
    pub fn of(look: &Look<'_>) -> Self {
        let Look { config, observation, .. } = look;
        let (standing, standing_reason) = match decide::standing(observation, config) {
            Standing::Active => (StandingWord::Active, None),
            Standing::Standby => (StandingWord::Standby, None),
            Standing::Partial { reason, .. } => (StandingWord::Partial, Some(reason)),
            Standing::Unknown { reason } => (StandingWord::Unknown, Some(reason)),
        };
        let addresses =
            |probes: &[AddressProbe]| probes.iter().map(AddressSeen::of).collect::<Vec<AddressSeen>>();
        Self {
            at: rfc3339(look.at),
            ended: look.ended,
            ended_at: look.at,
            stale_after_seconds: look.stale_after.as_secs_f64(),
            looks: look.looks,
            look_seconds: look.took.as_secs_f64(),
            standing,
            standing_reason,
            serves: decide::serves(observation, config).into(),
            fit: decide::fitness(observation, config, look.now).into(),
            drbd: Seen::of(&observation.drbd, DrbdSeen::of),
            mount: Seen::of(&observation.mount, MountSeen::of),
            mysqld: Seen::of(&observation.mysqld, MysqldSeen::of),
            vip: VipSeen::of(&observation.vip),
            peer_addresses: addresses(&observation.peer.addresses),
            witnesses: addresses(&observation.witnesses),
            ..Self::before_the_first_look(config, look.at, look.ended)
        }
    }

    /// What there is to tell before the first look has ended: nothing, and that is no good. `ended` is when the agent began: a first
    /// look that does not end is as old as that.
    pub fn before_the_first_look(config: &Config, at: SystemTime, ended: Instant) -> Self {
        let nothing = || "no look at this node has ended yet".to_owned();
        let bad = || Judged { degree: Degree::Bad, sentence: nothing() };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cluster: config.name.clone(),
            node: config.this_node.name.clone(),
            peer: config.peer.name.clone(),
            at: rfc3339(at),
            ended,
            ended_at: at,
            stale_after_seconds: stale_after(config).as_secs_f64(),
            looks: 0,
            look_seconds: 0.0,
            standing: StandingWord::Unknown,
            standing_reason: Some(nothing()),
            serves: bad(),
            fit: bad(),
            drbd: Seen::Unknown { unknown: nothing() },
            mount: Seen::Unknown { unknown: nothing() },
            mysqld: Seen::Unknown { unknown: nothing() },
            vip: VipSeen {
                interface: Seen::Unknown { unknown: nothing() },
                answered_elsewhere: Seen::Unknown { unknown: nothing() },
            },
            peer_addresses: Vec::new(),
            witnesses: Vec::new(),
            decision: None,
            checks: Vec::new(),
            running: None,
            history: History::default(),
            pause: None,
            gave_up: None,
            settling: None,
            recovery: None,
            warnings: Vec::new(),
        }
    }

    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.ended)
    }

    /// Why it says nothing any more, when it is too old to.
    pub fn stale(&self, now: Instant) -> Option<String> {
        let age = self.age(now).as_secs_f64();
        (age > self.stale_after_seconds).then(|| {
            let seen = match self.looks {
                0 => format!("no look at this node has ended for {age:.1} s"),
                _ => format!("the last look at this node ended {age:.1} s ago"),
            };
            format!(
                "{seen}: the agent hangs, or the machine is overloaded (journalctl -u standin-agent@{})",
                self.cluster
            )
        })
    }

    /// All of it as JSON, with its age.
    pub fn json(&self, now: Instant) -> String {
        #[derive(Serialize)]
        struct Aged<'a> {
            #[serde(flatten)]
            snapshot: &'a Snapshot,
            age_seconds: f64,
            stale: bool,
        }
        let aged = Aged {
            snapshot: self,
            age_seconds: self.age(now).as_secs_f64(),
            stale: self.stale(now).is_some(),
        };
        // Text, numbers and names are all that there is in it: nothing that JSON has no form for.
        serde_json::to_string_pretty(&aged).unwrap_or_default() + "\n"
    }
}

impl From<Health> for Judged {
    fn from(health: Health) -> Self {
        let (degree, sentence) = match health {
            Health::Good(sentence) => (Degree::Good, sentence),
            Health::Degraded(sentence) => (Degree::Degraded, sentence),
            Health::Bad(sentence) => (Degree::Bad, sentence),
        };
        Self { degree, sentence }
    }
}

/// The age from which on a look says nothing any more.
pub fn stale_after(config: &Config) -> Duration {
    config.agent.interval * 3 + config.agent.mysqld_limit
}

/// A moment as all of the agent's texts show it.
pub fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
