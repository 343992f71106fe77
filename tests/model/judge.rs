//! Asks the shipped decisions. What a machine sees and what it is asked are the whole of a question, so that an answer that
//! was given once stands for every state in which the same is seen.

use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxHashMap;
use standin::config::{Config, Host, parse};
use standin::decide::{
    self, Decision, FenceDecision, FenceRequest, Guard, Guarding, Refusal, Request, Standing, Watch, Watching,
};
use standin::observation::Connection;
use standin::plan::Plan;

use super::look::View;
use super::rules::{Rule, Rules};

/// What the nodes of the model have in common; the rest stands in each scenario.
const CLUSTER: &str = "
nodes:
  node1: {address: 10.77.0.1, replication_address: 10.77.1.1}
  node2: {address: 10.77.0.2, replication_address: 10.77.1.2}
vip: {address: 10.77.0.100/24, interface: eth0}
drbd: {resource: r0}
mount: {device: /dev/drbd0, directory: /var/lib/mysql, type: ext4}
mysqld: {unit: mariadb.service, socket: /run/mysqld/mysqld.sock}
";

/// A decided plan and what was asked for, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PlanId(usize);

/// What an agent knows beside its look, of the kind that changes its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    pub(crate) in_step: bool,
    pub(crate) peer_was_active: bool,
    pub(crate) was_active: bool,
    pub(crate) gave_up: bool,
    /// The peer has been silent for longer than any rule asks for.
    pub(crate) silence_lasts: bool,
    /// Nobody has answered for the virtual IP for as long as a takeover waits.
    pub(crate) waited_out: bool,
    pub(crate) fence_answer: Option<decide::FenceAnswer>,
    /// Writes and queries don't come back.
    pub(crate) disk_hangs: bool,
    /// The interface of the virtual IP has no carrier.
    pub(crate) carrier_lost: bool,
    /// This node took over a moment ago, and must not give up again.
    pub(crate) settles: bool,
    /// The peer's agent has told this one that its node holds something.
    pub(crate) peer_holds: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Standing,
    HearsNobody,
    Takeover { waited_out: bool, from_agent: bool },
    Release,
    Watch(Known),
    Guard(Known),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    Standing(Arc<Standing>),
    HearsNobody(bool),
    Decided(Result<PlanId, Arc<Refusal>>),
    Watch(Arc<Watch>),
    Guard(Arc<Guard>),
}

/// The shipped decisions with the configuration of both nodes.
pub(crate) struct Judge {
    configs: [Config; 2],
    /// DRBD has `fencing resource-and-stonith` and standin's handler.
    pub(crate) drbd_fences: bool,
    pub(crate) rules: Rules,
    verdicts: Mutex<FxHashMap<(View, Question), Verdict>>,
    plans: Mutex<Vec<Arc<(Plan, Request)>>>,
}

impl Judge {
    /// The decisions for a cluster whose configuration ends with `settings`.
    pub(crate) fn new(settings: &str, drbd_fences: bool, rules: Rules) -> Self {
        let text = format!("{CLUSTER}{settings}");
        let config = |name| match parse(&text, "orders.yaml".as_ref(), &Host::fixed(name)) {
            Ok(config) => config,
            Err(errors) => panic!("{errors}"),
        };
        Self {
            configs: [config("node1"), config("node2")],
            drbd_fences,
            rules,
            verdicts: Mutex::default(),
            plans: Mutex::default(),
        }
    }

    /// The configuration of one node.
    pub(crate) fn config(&self, me: usize) -> &Config {
        &self.configs[me]
    }

    /// How many different questions were asked.
    pub(crate) fn questions(&self) -> usize {
        lock(&self.verdicts).len()
    }

    /// A plan that was decided.
    pub(crate) fn plan(&self, id: PlanId) -> Arc<(Plan, Request)> {
        Arc::clone(&lock(&self.plans)[id.0])
    }

    /// The shipped judgement of what the node holds.
    pub(crate) fn standing(&self, view: &View) -> Arc<Standing> {
        match self.ask(view, Question::Standing) {
            Verdict::Standing(standing) => standing,
            other => unreachable!("{other:?}"),
        }
    }

    /// The shipped judgement of whether it may be this node that is cut off.
    pub(crate) fn hears_nobody(&self, view: &View) -> bool {
        match self.ask(view, Question::HearsNobody) {
            Verdict::HearsNobody(it_does) => it_does,
            other => unreachable!("{other:?}"),
        }
    }

    /// The shipped takeover decision, for a person or a cluster manager.
    pub(crate) fn takeover(&self, view: &View, waited_out: bool) -> Result<PlanId, Arc<Refusal>> {
        self.takeover_for(view, Question::Takeover { waited_out, from_agent: false })
    }

    /// The shipped takeover decision, for this node's agent.
    pub(crate) fn takeover_by_agent(&self, view: &View, waited_out: bool) -> Result<PlanId, Arc<Refusal>> {
        self.takeover_for(view, Question::Takeover { waited_out, from_agent: true })
    }

    fn takeover_for(&self, view: &View, question: Question) -> Result<PlanId, Arc<Refusal>> {
        match self.ask(view, question) {
            Verdict::Decided(decided) => decided,
            other => unreachable!("{other:?}"),
        }
    }

    /// The shipped release decision.
    pub(crate) fn release(&self, view: &View) -> Result<PlanId, Arc<Refusal>> {
        match self.ask(view, Question::Release) {
            Verdict::Decided(decided) => decided,
            other => unreachable!("{other:?}"),
        }
    }

    /// The shipped decision of a standby's agent.
    pub(crate) fn watch(&self, view: &View, known: Known) -> Arc<Watch> {
        let in_step = known.in_step || !self.rules.has(Rule::InStep);
        let known = Known { in_step, ..known };
        match self.ask(view, Question::Watch(known)) {
            Verdict::Watch(watch) => watch,
            other => unreachable!("{other:?}"),
        }
    }

    /// The shipped decision of an active node's agent.
    pub(crate) fn guard(&self, view: &View, known: Known) -> Arc<Guard> {
        match self.ask(view, Question::Guard(known)) {
            Verdict::Guard(guard) => guard,
            other => unreachable!("{other:?}"),
        }
    }

    /// The shipped answer of DRBD's handler.
    pub(crate) fn fence_peer(&self, view: &View, request: FenceRequest<'_>) -> FenceDecision {
        let config = &self.configs[view.me];
        decide::fence_peer(&view.observation(config), config, request)
    }

    fn ask(&self, view: &View, question: Question) -> Verdict {
        let key = (self.as_evidence(view), question);
        if let Some(verdict) = lock(&self.verdicts).get(&key) {
            return verdict.clone();
        }
        let verdict = self.answer(&key.0, &key.1);
        lock(&self.verdicts).insert(key, verdict.clone());
        verdict
    }

    fn answer(&self, view: &View, question: &Question) -> Verdict {
        let config = &self.configs[view.me];
        let seen = view.observation(config);
        match question {
            Question::HearsNobody => Verdict::HearsNobody(decide::hears_nobody(&seen)),
            Question::Standing => Verdict::Standing(decide::standing(&seen, config).into()),
            Question::Takeover { waited_out, from_agent } => {
                let request =
                    Request { waited_out: *waited_out, from_agent: *from_agent, ..Request::default() };
                self.keep(decide::takeover(&seen, config, &request), request)
            }
            Question::Release => {
                let request = Request::default();
                self.keep(decide::release(&seen, config, &request), request)
            }
            Question::Watch(known) => {
                Verdict::Watch(decide::watch(&seen, config, &known.watching(config)).into())
            }
            Question::Guard(known) => {
                Verdict::Guard(decide::guard(&seen, config, &known.guarding(config)).into())
            }
        }
    }

    fn keep(&self, decision: Decision, request: Request) -> Verdict {
        Verdict::Decided(match decision {
            Decision::Plan(plan) => {
                let mut plans = lock(&self.plans);
                let kept = (plan, request);
                let place = plans.iter().position(|known| **known == kept);
                Ok(PlanId(place.unwrap_or_else(|| {
                    plans.push(Arc::new(kept));
                    plans.len() - 1
                })))
            }
            Decision::Refusal(refusal) => Err(Arc::new(refusal)),
        })
    }

    /// The look, or what a mutation makes of it.
    fn as_evidence(&self, view: &View) -> View {
        let mut view = view.clone();
        let silent = !view.vip_here && !view.vip_at_peer;
        if !self.rules.has(Rule::Evidence) && silent {
            view.peer_answers = [false; 2];
            view.witness_answers = true;
        }
        view
    }

    /// Whether a plan calls the peer dead because nothing of it answers, against DRBD's word and without a fence command: then
    /// the silence must last, whoever asks.
    pub(crate) fn stands_on_silence(&self, plan: PlanId, view: &View) -> bool {
        let plan = &self.plan(plan).0;
        let has = |name| plan.steps.iter().any(|step| step.action.name() == name);
        self.rules.has(Rule::Evidence)
            && has("disconnect-drbd")
            && !has("fence-peer")
            && view.peer_is_silent()
            && view.connection == Connection::Connected
    }
}

impl Known {
    fn watching(self, config: &Config) -> Watching {
        let long = 2 * config.limits.wait_vip_gone;
        let lasts = |lasts: bool, time| if lasts { time } else { std::time::Duration::ZERO };
        Watching {
            silent_for: lasts(self.silence_lasts, long),
            // Longer than two standbys wait for each other, and shorter than a takeover waits before it fences.
            vip_silent_for: if self.waited_out { long } else { long / 3 },
            peer_was_active: self.peer_was_active,
            in_step: self.in_step,
            gave_up: self.gave_up.then(|| "it failed".to_owned()),
            ..Watching::default()
        }
    }

    fn guarding(self, config: &Config) -> Guarding {
        let long = 2 * config.agent.write_limit.max(config.agent.mysqld_limit);
        let hung = |hangs: bool| if hangs { decide::Check::Pending(long) } else { decide::Check::Passed };
        Guarding {
            was_active: self.was_active,
            failures: config.agent.failures,
            write: hung(self.disk_hangs),
            carrier: match self.carrier_lost {
                true => decide::Check::Failed("eth0 has no carrier".to_owned()),
                false => decide::Check::Passed,
            },
            stalled_for: long,
            fence_answer: self.fence_answer,
            peer_holds: self.peer_holds,
            since_takeover: self.settles.then_some(config.agent.settle / 2),
            ..Guarding::default()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
