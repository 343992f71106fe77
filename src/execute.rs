//! Walks a plan: a deadline and two journal entries per step, undo in reverse after a failure, stuck when that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::decide::Request;
use crate::failure::{Failure, FailureKind, Outcome};
use crate::journal::{Event, Sink};
use crate::node::{Applied, Attempt, Change, Node, Progress};
use crate::observation::Past;
use crate::plan::{Action, Goal, Plan, Step, Undo};

/// How long a step that ignores its deadline is waited for before it is abandoned.
const GRACE: Duration = Duration::from_secs(2);
/// How often a waiting executor looks whether it was interrupted or its deadline has passed.
const LOOK: Duration = Duration::from_millis(50);

/// Told of everything that happens, for people.
pub trait Reporter: Send + Sync {
    /// A step, or the undo of one, starts.
    fn started(&self, what: &Phase);
    /// A line of progress within it.
    fn progress(&self, what: &Phase, line: &str);
    /// It reached its goal.
    fn ended(&self, what: &Phase, took: Duration, applied: &Applied);
    /// It did not.
    fn failed(&self, what: &Phase, took: Duration, failure: &Failure);
    /// Something that does not stop the run but that the operator must know.
    fn warn(&self, line: &str);
}

/// A step on its way forward, or being taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Forward, with its name.
    Step(&'static str),
    /// Taken back.
    Undo {
        /// Name of the step that is taken back.
        of: &'static str,
        /// Name of the action that does so.
        step: &'static str,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code's meaning.
    pub outcome: Outcome,
    /// The step that stopped the run and why.
    pub failed: Option<(&'static str, Failure)>,
    /// The undos that failed.
    pub stuck: Vec<(&'static str, Failure)>,
    /// What a person must type when it is stuck, in order.
    pub commands: Vec<String>,
}

/// Walks plans on one node.
pub struct Executor<'a> {
    node: Arc<dyn Node>,
    journal: &'a mut dyn Sink,
    reporter: Arc<dyn Reporter>,
    interrupted: Arc<AtomicBool>,
    grace: Duration,
    journal_lost: bool,
}

impl<'a> Executor<'a> {
    /// An executor that stops and undoes as soon as `interrupted` is set.
    pub fn new(
        node: Arc<dyn Node>,
        journal: &'a mut dyn Sink,
        reporter: Arc<dyn Reporter>,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        Self { node, journal, reporter, interrupted, grace: GRACE, journal_lost: false }
    }

    /// Changes how long a step that ignores its deadline is waited for.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Walks the plan to its end, or takes it back.
    ///
    /// A failure takes back what this run did, and what an unfinished takeover before it had started (`past`); what
    /// was so before either is left alone.
    pub fn run(&mut self, plan: &Plan, request: Request, past: &Past) -> Ended {
        let begun = Instant::now();
        let event = Event::Begin { boot: crate::journal::boot_id(), plan: plan.clone(), request };
        self.write(&event);
        for line in &plan.warnings {
            self.reporter.warn(line);
        }
        let ended = self.walk(plan, past);
        self.write(&Event::End { outcome: ended.outcome, seconds: begun.elapsed().as_secs_f64() });
        ended
    }

    fn walk(&mut self, plan: &Plan, past: &Past) -> Ended {
        let mut ours: Vec<&Step> = Vec::new();
        for (index, step) in plan.steps.iter().enumerate() {
            let name = step.action.name();
            let started = !self.interrupted.load(Ordering::Relaxed);
            let result = if started { self.step(step) } else { Err(interrupted()) };
            match result {
                Ok(applied) => {
                    if applied.change == Change::Done || began_before(past, name) {
                        ours.push(step);
                    }
                }
                // The takeover serves already: an absent peer is no reason to take the service down again.
                Err(failure) if matches!(step.action, Action::ReconnectDrbd { .. }) => {
                    self.reporter.warn(&format!("{name}: {failure}"));
                }
                Err(failure) if plan.goal == Goal::Release => {
                    // Nothing was begun: the node is as it was.
                    if !started && index == 0 {
                        let failed = Some((name, failure));
                        return Ended {
                            outcome: Outcome::Failed,
                            failed,
                            stuck: Vec::new(),
                            commands: Vec::new(),
                        };
                    }
                    let commands =
                        plan.steps[index..].iter().flat_map(|step| step.action.commands()).collect();
                    return Ended {
                        outcome: Outcome::Stuck,
                        failed: Some((name, failure)),
                        stuck: Vec::new(),
                        commands,
                    };
                }
                Err(failure) => {
                    let touched = started && failure.kind != FailureKind::Refused;
                    if touched || began_before(past, name) {
                        ours.push(step);
                    }
                    // A broken run may have got further than this one.
                    let further = &plan.steps[index + 1..];
                    ours.extend(further.iter().filter(|step| began_before(past, step.action.name())));
                    return self.take_back(&ours, name, failure);
                }
            }
        }
        Ended { outcome: Outcome::Done, failed: None, stuck: Vec::new(), commands: Vec::new() }
    }

    fn step(&mut self, step: &Step) -> Result<Applied, Failure> {
        let name = step.action.name();
        let phase = Phase::Step(name);
        self.write(&Event::StepStart { step: name.to_owned() });
        let begun = Instant::now();
        let result = self.attempt(&step.action, step.deadline, &phase, true);
        let took = begun.elapsed();
        let seconds = took.as_secs_f64();
        match &result {
            Ok(applied) => {
                self.write(&Event::StepEnd { step: name.to_owned(), seconds, applied: applied.clone() });
                self.reporter.ended(&phase, took, applied);
            }
            Err(failure) => {
                self.write(&Event::StepFailed { step: name.to_owned(), seconds, failure: failure.clone() });
                self.reporter.failed(&phase, took, failure);
            }
        }
        result
    }

    fn take_back(&mut self, ours: &[&Step], failed: &'static str, failure: Failure) -> Ended {
        let mut stuck = Vec::new();
        let mut commands = Vec::new();
        for step in ours.iter().rev() {
            let Some(undo) = &step.undo else {
                if let Some(lasting) = lasting(&step.action) {
                    self.reporter.warn(lasting);
                }
                continue;
            };
            // Each undo needs the one before it: what is mounted can't be demoted. So the rest is for the person.
            if !stuck.is_empty() {
                commands.extend(undo.action.commands());
                continue;
            }
            if let Err(failure) = self.undo(step, undo) {
                stuck.push((undo.action.name(), failure));
                commands.extend(undo.action.commands());
            }
        }
        let outcome = if !stuck.is_empty() {
            Outcome::Stuck
        } else if failure.kind == FailureKind::Refused {
            Outcome::Refused
        } else {
            Outcome::Failed
        };
        Ended { outcome, failed: Some((failed, failure)), stuck, commands }
    }

    fn undo(&mut self, step: &Step, undo: &Undo) -> Result<Applied, Failure> {
        let of = step.action.name();
        let name = undo.action.name();
        let phase = Phase::Undo { of, step: name };
        self.write(&Event::UndoStart { of: of.to_owned(), step: name.to_owned() });
        let begun = Instant::now();
        let result = self.attempt(&undo.action, undo.deadline, &phase, false);
        let took = begun.elapsed();
        let seconds = took.as_secs_f64();
        let (of, step) = (of.to_owned(), name.to_owned());
        match &result {
            Ok(applied) => {
                self.write(&Event::UndoEnd { of, step, seconds, applied: applied.clone() });
                self.reporter.ended(&phase, took, applied);
            }
            Err(failure) => {
                self.write(&Event::UndoFailed { of, step, seconds, failure: failure.clone() });
                self.reporter.failed(&phase, took, failure);
            }
        }
        result
    }

    /// Runs one action in a thread of its own, so that one that hangs in the kernel can be abandoned.
    fn attempt(
        &self,
        action: &Action,
        limit: Duration,
        phase: &Phase,
        may_be_interrupted: bool,
    ) -> Result<Applied, Failure> {
        self.reporter.started(phase);
        let progress = ReportProgress { reporter: Arc::clone(&self.reporter), phase: phase.clone() };
        let attempt = Arc::new(Attempt::new(limit, Box::new(progress)));
        let (sender, receiver) = mpsc::channel();
        let (node, owned, shared) = (Arc::clone(&self.node), action.clone(), Arc::clone(&attempt));
        let spawned = thread::Builder::new().name(action.name().to_owned()).spawn(move || {
            // The receiver is gone when this step was abandoned: nobody wants the result any more.
            let _ = sender.send(node.apply(&owned, &shared));
        });
        if let Err(error) = spawned {
            return Err(Failure::failed(
                format!("no thread could be started for {}: {error}", action.name()),
                "without one a step that hangs could not be abandoned",
                "free memory or raise the limit of processes on this machine",
            ));
        }
        loop {
            match receiver.recv_timeout(LOOK) {
                // What it was waiting for has not failed: an operator must not go looking for the cause.
                Ok(Err(failure)) if attempt.is_cancelled() => return Err(cut_short(&failure)),
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::failed(
                        format!("{} ended without a result", action.name()),
                        "whether it did its work is not known",
                        "this is a defect in standin: report it with the journal",
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if may_be_interrupted && self.interrupted.load(Ordering::Relaxed) {
                        attempt.cancel();
                    }
                    if Instant::now() > attempt.deadline() + self.grace {
                        return Err(abandoned(action, attempt.limit()));
                    }
                }
            }
        }
    }

    fn write(&mut self, event: &Event) {
        if let Err(error) = self.journal.append(event)
            && !self.journal_lost
        {
            self.journal_lost = true;
            self.reporter.warn(&format!(
                "the journal can't be written: {error}; going on without it (a rerun after a kill may then refuse)"
            ));
        }
    }
}

fn began_before(past: &Past, name: &str) -> bool {
    past.unfinished_takeover.iter().any(|begun| begun == name)
}

/// What stays as it is although the takeover was taken back.
fn lasting(action: &Action) -> Option<&'static str> {
    match action {
        Action::StopClusterManager { .. } => {
            Some("Heartbeat stays stopped here; when it may act again: systemctl start heartbeat.service")
        }
        Action::FencePeer { .. } => {
            Some("a peer that was fenced stays off until a person switches it on again")
        }
        _ => None,
    }
}

fn interrupted() -> Failure {
    Failure::failed(
        "standin was told to end",
        "a takeover or a release that stops half-way leaves the node half active",
        "run it again when it may go on",
    )
}

fn cut_short(failure: &Failure) -> Failure {
    let seen = failure.seen.lines().next().unwrap_or_default();
    Failure {
        kind: failure.kind,
        seen: format!("standin was told to end in the middle of this step ({seen})"),
        ..interrupted()
    }
}

fn abandoned(action: &Action, limit: Duration) -> Failure {
    Failure::timed_out(
        format!("{} hangs: it did not end within {limit:?} nor react to its deadline", action.name()),
        "what it started may still be waiting in the kernel, mostly for a disk that does not answer",
        "look for processes in state D (ps -eo pid,stat,wchan:30,args | grep ' D'), and at dmesg; a reset of the machine frees them",
    )
}

struct ReportProgress {
    reporter: Arc<dyn Reporter>,
    phase: Phase,
}

impl Progress for ReportProgress {
    fn report(&self, line: &str) {
        self.reporter.progress(&self.phase, line);
    }
}
