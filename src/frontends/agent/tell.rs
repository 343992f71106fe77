//! What the agent tells: a line in the log when something changes, its endpoints, and the service manager.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::http::Endpoints;
use super::look::Seen;
use super::looker::Look;
use super::notify::Notifier;
use super::snapshot::{self, Check, Decision, History, Recovery, Running, Settling, Snapshot};
use crate::config::Config;
use crate::decide::{self, Guard, Guarding, Now, Watch};
use crate::forecast::Forecast;
use crate::frontends::say::say_error;
use crate::observation::Fact;
use crate::plan::Goal;

/// What was decided on a look, and what else is known of an active node.
pub(super) enum Decided<'a> {
    Guard(&'a Guard, &'a Guarding, Rest),
    Watch(&'a Watch),
}

/// What the looks of an active node beside the first one brought.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// How long the latest write took.
    pub(super) write_took: Option<Duration>,
    /// How long the latest query took.
    pub(super) query_took: Option<Duration>,
    /// How long crash recovery would take now.
    pub(super) recovery: Option<Fact<Forecast>>,
}

/// Tells.
pub(super) struct Teller {
    current: Arc<Mutex<Arc<Snapshot>>>,
    _endpoints: Option<Endpoints>,
    notifier: Notifier,
    alive: Instant,
    said: String,
    decision: Option<Decision>,
    warned: Vec<String>,
    running_since: Option<(Goal, Instant)>,
    looks: u64,
    /// Whether each of the last looks found this check failed.
    failed: BTreeMap<&'static str, VecDeque<bool>>,
}

impl Teller {
    /// Begins to listen. What can't be listened on keeps nobody from being guarded.
    pub(super) fn start(config: &Config) -> Self {
        let nothing = Snapshot::before_the_first_look(config, SystemTime::now(), Instant::now());
        let current = Arc::new(Mutex::new(Arc::new(nothing)));
        let of_peer = [config.peer.address, config.peer.replication_address];
        let here: Vec<_> = config
            .agent
            .listen
            .iter()
            .copied()
            .filter(|address| !of_peer.iter().any(|peer| address.ip() == *peer))
            .collect();
        let endpoints = match Endpoints::start(&here, Arc::clone(&current)) {
            Ok(endpoints) => Some(endpoints),
            Err(failure) => {
                say_error(format_args!("the agent goes on without its endpoints: {failure}"));
                None
            }
        };
        Self {
            current,
            _endpoints: endpoints,
            notifier: Notifier::from_environment(),
            alive: Instant::now(),
            said: String::new(),
            decision: None,
            warned: Vec::new(),
            running_since: None,
            looks: 0,
            failed: BTreeMap::new(),
        }
    }

    pub(super) fn begins(&mut self) {
        self.notifier.ready("looks for the first time");
    }

    pub(super) fn ends(&mut self) {
        self.notifier.stopping("it was told to end");
        say_error("standin agent ends; what serves goes on serving");
    }

    /// The loop goes round.
    pub(super) fn alive(&mut self) {
        if let Some(every) = self.notifier.keep_alive_every()
            && self.alive.elapsed() >= every.min(Duration::from_secs(5))
        {
            self.notifier.alive();
            self.alive = Instant::now();
        }
    }

    /// A line in the log when it says something else than the one before; times that go by are not news.
    pub(super) fn say(&mut self, line: &str) {
        if !same_but_for_numbers(line, &self.said) {
            say_error(line);
            line.clone_into(&mut self.said);
        }
    }

    /// Everybody who asks or reads the log learns what was seen and decided.
    pub(super) fn tell(&mut self, config: &Config, look: &Look<Seen>, decided: &Decided<'_>) {
        let (clock, now) = (SystemTime::now(), Instant::now());
        let before = self.decision.as_ref();
        let (by, decision) = match decided {
            Decided::Guard(guard, ..) => ("guard", Decision::of_guard(guard, before, clock, now)),
            Decided::Watch(watch) => ("watch", Decision::of_watch(watch, before, clock, now)),
        };
        self.say(&format!("{by}: {}: {}", decision.word, decision.sentence));
        self.notifier.status(&decision.sentence);
        self.decision = Some(decision);
        self.looks += 1;
        let snapshot = self.snapshot(config, look, decided);
        for warning in &snapshot.warnings {
            let known = |before: &String| same_but_for_numbers(before, warning);
            if !self.warned.iter().any(known) {
                say_error(format_args!("warning: {warning}"));
            }
        }
        self.warned.clone_from(&snapshot.warnings);
        *self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(snapshot);
    }

    fn snapshot(&mut self, config: &Config, look: &Look<Seen>, decided: &Decided<'_>) -> Snapshot {
        let (seen, clock, now) = (&look.seen, SystemTime::now(), Instant::now());
        let agent = &config.agent;
        let doing = Now { running: seen.running, fence_answer: seen.chronicle.fence_answer, in_vain: None };
        self.running_since = match (seen.running, self.running_since) {
            (Some(goal), Some((before, since))) if goal == before => Some((goal, since)),
            (Some(goal), _) => Some((goal, now)),
            (None, _) => None,
        };
        let settling = seen.chronicle.took_over.map(|at| at + agent.settle).filter(|until| *until > clock);
        let gave_up = seen.chronicle.gave_up.as_ref().filter(|(at, _)| *at + agent.settle > clock);
        Snapshot {
            decision: self.decision.clone(),
            checks: self.checks(config, decided),
            recovery: recovery(decided),
            running: self.running_since.map(|(goal, since)| Running {
                goal: Some(goal),
                step: seen.step.clone(),
                seconds: now.saturating_duration_since(since).as_secs_f64(),
            }),
            history: History::of(&seen.runs, seen.running.is_some()),
            gave_up: gave_up.map(|(_, reason)| reason.clone()),
            settling: settling.map(|until| Settling { until: snapshot::rfc3339(until) }),
            warnings: warnings(config, seen, decided),
            pause: seen.paused.as_ref().map(|(pause, _)| pause.clone()),
            ..Snapshot::of(&snapshot::Look {
                config,
                observation: &seen.observation,
                now: &doing,
                at: clock,
                ended: look.ended,
                took: look.took(),
                looks: self.looks,
                stale_after: agent.interval * 3 + agent.mysqld_limit,
            })
        }
    }

    fn checks(&mut self, config: &Config, decided: &Decided<'_>) -> Vec<Check> {
        let Decided::Guard(_, guarding, rest) = decided else {
            self.failed.clear();
            return Vec::new();
        };
        let of = config.agent.of;
        [
            ("write", &guarding.write, rest.write_took),
            ("query", &guarding.query, rest.query_took),
            ("link", &guarding.carrier, None),
        ]
        .into_iter()
        .filter_map(|(name, check, took)| {
            let failed = self.failed.entry(name).or_default();
            failed.push_back(matches!(check, decide::Check::Failed(_)));
            while failed.len() > of as usize {
                failed.pop_front();
            }
            let failures = failed.iter().filter(|failed| **failed).count();
            Check::of(name, check, took, u32::try_from(failures).unwrap_or(u32::MAX), of)
        })
        .collect()
    }
}

fn recovery(decided: &Decided<'_>) -> Option<Recovery> {
    let Decided::Guard(.., Rest { recovery: Some(recovery), .. }) = decided else { return None };
    Some(match recovery {
        Fact::Known(forecast) => Recovery { seconds: Some(forecast.seconds), sentence: forecast.to_string() },
        Fact::Unknown(cause) => Recovery { seconds: None, sentence: cause.clone() },
    })
}

/// What an operator should know although nothing is done about it.
fn warnings(config: &Config, seen: &Seen, decided: &Decided<'_>) -> Vec<String> {
    let Decided::Guard(_, guarding, rest) = decided else { return Vec::new() };
    let warned = |check: &decide::Check| match check {
        decide::Check::Warned(text) => Some(text.clone()),
        _ => None,
    };
    let mut warnings: Vec<String> =
        [&guarding.write, &guarding.query].into_iter().filter_map(warned).collect();
    warnings.extend(decide::lack_of_redundancy(&seen.observation));
    if let Some(Fact::Known(forecast)) = &rest.recovery {
        warnings.extend(forecast.warning(config.agent.recovery_budget));
    }
    warnings
}

fn same_but_for_numbers(one: &str, other: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect::<String>();
    letters(one) == letters(other)
}
