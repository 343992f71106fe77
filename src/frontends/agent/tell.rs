//! What the agent tells: a line in the log when something changes, its endpoints, and the service manager.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::http::Endpoints;
use super::look::Seen;
use super::looker::Look;
use super::notify::Notifier;
use super::snapshot::{self, Check, CheckState, Decision, History, Judge, Running, Settling, Snapshot};
use crate::config::Config;
use crate::decide::{self, Guarding, Now};
use crate::frontends::say::say_error;
use crate::plan::Goal;

/// What was decided on a look.
pub(super) struct Decided<'a> {
    pub(super) by: Judge,
    pub(super) word: &'static str,
    pub(super) sentence: &'a str,
}

/// Tells.
pub(super) struct Teller {
    current: Arc<Mutex<Arc<Snapshot>>>,
    _endpoints: Option<Endpoints>,
    notifier: Notifier,
    alive: Instant,
    said: String,
    decided: Option<(Judge, &'static str, Instant, SystemTime)>,
    running_since: Option<(Goal, Instant)>,
    looks: u64,
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
            decided: None,
            running_since: None,
            looks: 0,
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
        let key: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
        if key != self.said {
            say_error(line);
            self.said = key;
        }
    }

    /// Everybody who asks or reads the log learns what was seen and decided.
    pub(super) fn tell(
        &mut self,
        config: &Config,
        look: &Look<Seen>,
        decided: &Decided<'_>,
        guarding: &Guarding,
    ) {
        let by = match decided.by {
            Judge::Guard => "guard",
            Judge::Watch => "watch",
        };
        self.say(&format!("{by}: {}: {}", decided.word, decided.sentence));
        self.notifier.status(decided.sentence);
        self.looks += 1;
        let snapshot = self.snapshot(config, look, decided, guarding);
        *self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(snapshot);
    }

    fn snapshot(
        &mut self,
        config: &Config,
        look: &Look<Seen>,
        decided: &Decided<'_>,
        guarding: &Guarding,
    ) -> Snapshot {
        let (seen, clock, now) = (&look.seen, SystemTime::now(), Instant::now());
        let agent = &config.agent;
        let doing = Now { running: seen.running, fence_answer: seen.chronicle.fence_answer, in_vain: None };
        let same = self.decided.is_some_and(|(by, word, ..)| by == decided.by && word == decided.word);
        if !same {
            self.decided = Some((decided.by, decided.word, now, clock));
        }
        let since = self.decided.map_or((now, clock), |(_, _, since, at)| (since, at));
        self.running_since = match (seen.running, self.running_since) {
            (Some(goal), Some((before, since))) if goal == before => Some((goal, since)),
            (Some(goal), _) => Some((goal, now)),
            (None, _) => None,
        };
        let settling = seen.chronicle.took_over.map(|at| at + agent.settle).filter(|until| *until > clock);
        let gave_up = seen.chronicle.gave_up.as_ref().filter(|(at, _)| *at + agent.settle > clock);
        Snapshot {
            decision: Some(Decision {
                by: decided.by,
                word: decided.word,
                sentence: decided.sentence.to_owned(),
                since: snapshot::rfc3339(since.1),
                seconds: now.saturating_duration_since(since.0).as_secs_f64(),
                began: since.0,
            }),
            checks: checks(config, guarding),
            running: self.running_since.map(|(goal, since)| Running {
                goal: Some(goal),
                step: seen.step.clone(),
                seconds: now.saturating_duration_since(since).as_secs_f64(),
            }),
            history: History::of(&seen.runs, seen.running.is_some()),
            gave_up: gave_up.map(|(_, reason)| reason.clone()),
            settling: settling.map(|until| Settling { until: snapshot::rfc3339(until) }),
            warnings: warnings(seen, guarding),
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
}

fn checks(config: &Config, guarding: &Guarding) -> Vec<Check> {
    let of = config.agent.of;
    let check = |name, check: &decide::Check| {
        let (state, seconds, sentence) = match check {
            decide::Check::NotMade => return None,
            decide::Check::Passed => (CheckState::Ok, None, None),
            decide::Check::Warned(text) => (CheckState::Ok, None, Some(text.clone())),
            decide::Check::Failed(text) => (CheckState::Failed, None, Some(text.clone())),
            decide::Check::Pending(time) => (CheckState::Pending, Some(time.as_secs_f64()), None),
        };
        let failures = u32::from(state == CheckState::Failed);
        Some(Check { name, state, seconds, failures, of, sentence })
    };
    [("write", &guarding.write), ("query", &guarding.query), ("link", &guarding.carrier)]
        .into_iter()
        .filter_map(|(name, made)| check(name, made))
        .collect()
}

/// What an operator should know although nothing is done about it.
fn warnings(seen: &Seen, guarding: &Guarding) -> Vec<String> {
    let warned = |check: &decide::Check| match check {
        decide::Check::Warned(text) => Some(text.clone()),
        _ => None,
    };
    let mut warnings: Vec<String> =
        [&guarding.write, &guarding.query].into_iter().filter_map(warned).collect();
    warnings.extend(decide::lack_of_redundancy(&seen.observation));
    warnings
}
