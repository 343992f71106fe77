//! What the agent tells: a line in the log when something changes, its endpoints, and the service manager.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::http::Endpoints;
use super::look::Seen;
use super::looker::Look;
use super::notify::Notifier;
use super::recent::{is_recent, recent};
use super::snapshot::{self, Check, Decision, History, Recovery, Running, Settling, Snapshot};
use crate::config::Config;
use crate::decide::{self, Guard, Guarding, Now, Watch};
use crate::failure::{Failure, Outcome};
use crate::forecast::Forecast;
use crate::frontends::news::News;
use crate::frontends::say::say_error;
use crate::observation::Fact;
use crate::plan::Goal;

/// Between two looks whether the endpoints still answer.
const ENDPOINTS_AGAIN: Duration = Duration::from_secs(5);
/// Between two words to the service manager that the loop goes round, at most.
const ALIVE_AGAIN: Duration = Duration::from_secs(5);
/// How long a takeover that was refused counts as one in vain. Where one is due the agent tries again within a minute; what a person
/// types while the peer serves says nothing of this node.
const REFUSED: Duration = Duration::from_secs(90);

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
    listen: Vec<SocketAddr>,
    virtual_ip: IpAddr,
    endpoints: Option<Endpoints>,
    endpoints_seen: Instant,
    endpoints_news: News,
    notifier: Notifier,
    alive: Instant,
    said: String,
    decision: Option<Decision>,
    warned: Vec<String>,
    running_since: Option<(Option<Goal>, Instant)>,
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
        let listen: Vec<_> = config
            .agent
            .listen
            .iter()
            .copied()
            .filter(|address| !of_peer.iter().any(|peer| address.ip() == *peer))
            .collect();
        let mut this = Self {
            endpoints: None,
            endpoints_seen: Instant::now(),
            endpoints_news: News::none(),
            listen,
            virtual_ip: config.vip.address.addr().into(),
            current,
            notifier: Notifier::from_environment(),
            alive: Instant::now(),
            said: String::new(),
            decision: None,
            warned: Vec::new(),
            running_since: None,
            looks: 0,
            failed: BTreeMap::new(),
        };
        this.listen();
        this
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
        let every = self.notifier.keep_alive_every().unwrap_or(ALIVE_AGAIN).min(ALIVE_AGAIN);
        if self.alive.elapsed() >= every {
            self.notifier.alive();
            self.alive = Instant::now();
        }
        if self.endpoints_seen.elapsed() >= ENDPOINTS_AGAIN {
            self.endpoints_seen = Instant::now();
            if !self.endpoints.as_ref().is_some_and(Endpoints::alive) {
                let ended = self.endpoints.take().is_some();
                if ended && self.endpoints_news.is_news("ended") {
                    say_error("the endpoints' thread has ended: beginning it again");
                }
                self.listen();
            }
        }
    }

    /// Each cause is said once: it is tried again every few seconds for as long as it takes.
    fn listen(&mut self) {
        match Endpoints::start(&self.listen, self.virtual_ip, Arc::clone(&self.current)) {
            Ok(endpoints) => self.endpoints = Some(endpoints),
            Err(failure) => self.without_endpoints(&failure),
        }
    }

    fn without_endpoints(&self, failure: &Failure) {
        let line = format!("the agent goes on without its endpoints: {failure}");
        if self.endpoints_news.is_news(&line) {
            say_error(line);
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
        let doing = Now {
            running: seen.running,
            fence_answer: seen.chronicle.fence_answer,
            in_vain: in_vain(seen, agent.settle, clock),
        };
        self.running_since = running_since(self.running_since, seen, now);
        let took_over = seen.chronicle.took_over.filter(|at| is_recent(*at, agent.settle, clock));
        Snapshot {
            decision: self.decision.clone(),
            checks: self.checks(config, decided),
            recovery: recovery(decided),
            running: self.running_since.map(|(goal, since)| Running {
                goal,
                step: seen.step.clone(),
                seconds: now.saturating_duration_since(since).as_secs_f64(),
            }),
            history: History::of(&seen.runs, seen.running.is_some()),
            gave_up: recent(seen.chronicle.gave_up.as_ref(), agent.settle, clock),
            settling: took_over.map(|at| Settling { until: snapshot::rfc3339(at + agent.settle) }),
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
                stale_after: snapshot::stale_after(config),
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

/// Why the latest takeover did not make this node active, for as long as that makes it unfit for its role.
fn in_vain(seen: &Seen, settle: Duration, clock: SystemTime) -> Option<String> {
    let refused = seen.runs.last().is_some_and(|run| run.outcome == Some(Outcome::Refused));
    let window = if refused { settle.min(REFUSED) } else { settle };
    recent(seen.chronicle.in_vain.as_ref(), window, clock)
}

/// What runs says what it is only a moment after it has begun, and is the same then.
fn running_since(
    before: Option<(Option<Goal>, Instant)>,
    seen: &Seen,
    now: Instant,
) -> Option<(Option<Goal>, Instant)> {
    seen.running?;
    match before {
        Some((goal, since)) if goal.is_none() || goal == seen.goal => Some((seen.goal, since)),
        _ => Some((seen.goal, now)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Host, parse};
    use crate::decide::Health;
    use crate::frontends::agent::look::Question;
    use crate::journal::{Chronicle, Run};
    use crate::node::Node;
    use crate::node::simulated::{SimulatedNode, World};

    fn config() -> Config {
        let text = include_str!("../../../docs/examples/heartbeat.yaml");
        parse(text, "orders.yaml".as_ref(), &Host::fixed("node2")).unwrap()
    }

    /// What a standby sees.
    fn seen(running: Option<Goal>, goal: Option<Goal>) -> Seen {
        let node = SimulatedNode::new(Arc::new(Mutex::new(World::new())), 1, config());
        Seen {
            question: Question::Everything,
            observation: node.observe(),
            chronicle: Chronicle::default(),
            carrier: decide::Check::Passed,
            running,
            goal,
            step: None,
            runs: Arc::default(),
            paused: None,
            peer_holds: true,
        }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_standby_whose_takeovers_fail_is_not_fit() {
        let settle = Duration::from_secs(600);
        let fitness = |seen: &Seen, clock| {
            let now = Now { in_vain: in_vain(seen, settle, at(clock)), ..Now::default() };
            decide::fitness(&seen.observation, &config(), &now)
        };
        let mut standby = seen(None, None);
        assert!(matches!(fitness(&standby, 1000), Health::Good(_)), "{:?}", fitness(&standby, 1000));
        standby.chronicle.in_vain = Some((at(1000), "mount failed".to_owned()));
        assert!(matches!(fitness(&standby, 1599), Health::Bad(why) if why.contains("mount failed")));
        assert!(matches!(fitness(&standby, 900), Health::Bad(_)), "the clock was set back");
        assert!(matches!(fitness(&standby, 1600), Health::Good(_)), "it was a while ago");
        standby.runs = Arc::new(vec![Run {
            at: String::new(),
            goal: Goal::Takeover,
            reason: "the peer lives".to_owned(),
            outcome: Some(Outcome::Refused),
            seconds: None,
            steps: Vec::new(),
        }]);
        assert!(matches!(fitness(&standby, 1089), Health::Bad(_)));
        assert!(
            matches!(fitness(&standby, 1090), Health::Good(_)),
            "a person typed it, and nobody tries again"
        );
    }

    #[test]
    fn a_run_that_does_not_say_what_it_is_is_told_without_a_guess() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let unknown = running_since(None, &seen(Some(Goal::Takeover), None), now);
        assert_eq!(unknown, Some((None, now)));
        let release = seen(Some(Goal::Release), Some(Goal::Release));
        let known = running_since(unknown, &release, later);
        assert_eq!(known, Some((Some(Goal::Release), now)), "it has been running all the while");
        assert_eq!(running_since(known, &release, later), known);
        let takeover = seen(Some(Goal::Takeover), Some(Goal::Takeover));
        assert_eq!(
            running_since(known, &takeover, later),
            Some((Some(Goal::Takeover), later)),
            "another run"
        );
        assert_eq!(running_since(known, &seen(None, None), later), None);
    }

    #[test]
    fn a_cause_that_keeps_the_endpoints_from_running_is_said_once() {
        let mut config = config();
        config.agent.listen.clear();
        let teller = Teller::start(&config);
        let failure = |seen: &str| Failure::failed(seen, "w", "n");
        teller.without_endpoints(&failure("no thread"));
        let line = format!("the agent goes on without its endpoints: {}", failure("no thread"));
        assert!(!teller.endpoints_news.is_news(&line), "it was said");
    }
}
