//! What the agent answers: pure, from the form of the resource and what was seen.
//!
//! Source of the codes: the OCF resource agent API 1.1, "Return codes", and Pacemaker Administration, "OCF return codes".

use super::super::managed::Run;
use super::call::Action;
use super::parameters::Wrong;
use crate::decide::{Part, Standing};
use crate::failure::Outcome;

/// How the resource is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It runs on one node: start takes over, stop releases. DRBD is up on both nodes all the time.
    Primitive,
    /// An instance on each node, one of them promoted: promote takes over, demote releases; start and stop bring DRBD up and
    /// down.
    Promotable,
}

/// An exit code of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Done, or running.
    Success,
    /// Soft: tried again, here or on the other node.
    Generic,
    /// Hard: the configuration on this node is wrong.
    Arguments,
    /// No such action.
    Unimplemented,
    /// Hard: not enough rights.
    Permission,
    /// Hard: something is not installed on this node.
    NotInstalled,
    /// Fatal: the parameters are wrong on every node.
    NotConfigured,
    /// Stopped, and that was verified.
    NotRunning,
    /// Running, promoted.
    Promoted,
    /// Promoted, and broken.
    FailedPromoted,
    /// Running, but something that protects it is missing.
    Degraded,
    /// Running promoted, but something that protects it is missing.
    DegradedPromoted,
}

impl Code {
    pub(super) fn number(self) -> u8 {
        match self {
            Code::Success => 0,
            Code::Generic => 1,
            Code::Arguments => 2,
            Code::Unimplemented => 3,
            Code::Permission => 4,
            Code::NotInstalled => 5,
            Code::NotConfigured => 6,
            Code::NotRunning => 7,
            Code::Promoted => 8,
            Code::FailedPromoted => 9,
            Code::Degraded => 190,
            Code::DegradedPromoted => 191,
        }
    }
}

/// An exit code with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: Code,
    /// One sentence for the operator; none when there is nothing to explain.
    pub(super) reason: Option<String>,
}

impl Answer {
    pub(super) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: Some(reason.into()) }
    }

    pub(super) fn plain(code: Code) -> Self {
        Self { code, reason: None }
    }
}

/// What is under way on this node, told by the lock and the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnderWay {
    /// Nothing.
    Nothing,
    /// A takeover, with how far it is.
    Takeover(String),
    /// A release, with how far it is.
    Release(String),
}

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) standing: Standing,
    /// The DRBD resource is configured in the kernel; none when that is not known.
    pub(super) drbd_is_up: Option<bool>,
    pub(super) under_way: UnderWay,
    /// What an active node lacks of its redundancy.
    pub(super) lacks: Option<String>,
    /// A program or directory that a takeover needs and that is not there.
    pub(super) missing: Option<String>,
    /// An earlier start or promote was answered while its takeover went on.
    pub(super) went_on: bool,
    /// DRBD holds back the I/O of an active node until its handler knows what became of the peer.
    pub(super) held_back: Option<String>,
    /// Why the deeper check of `OCF_CHECK_LEVEL` failed.
    pub(super) check_failed: Option<String>,
}

/// How the monitor was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) form: Form,
    /// Interval 0: what is there is asked for, not whether it is as it should be.
    pub(super) probe: bool,
    /// Whether the instance is expected to be promoted; only Pacemaker's recurring monitors say so.
    pub(super) promoted: bool,
    /// The cluster manager knows the codes 190 and 191.
    pub(super) knows_degraded: bool,
}

/// The answer of a monitor or a probe.
pub(super) fn monitor(asked: Asked, seen: &Seen) -> Answer {
    let Asked { form, probe, promoted, .. } = asked;
    match (&seen.under_way, &seen.standing) {
        (UnderWay::Takeover(progress), _) => {
            return degraded(asked, format!("the takeover goes on: {progress}"));
        }
        (UnderWay::Release(progress), standing) if *standing != Standing::Standby => {
            return failed(form, standing, format!("a release runs: {progress}"));
        }
        _ => {}
    }
    match &seen.standing {
        Standing::Active => match (&seen.check_failed, &seen.lacks) {
            (Some(cause), _) => failed(form, &seen.standing, cause),
            (None, Some(lack)) => degraded(asked, lack),
            (None, None) => Answer::plain(running(form)),
        },
        // A stop could not unmount it, and the I/O goes on as soon as the peer is known to be dead.
        Standing::Partial { reason, .. } => match &seen.held_back {
            Some(held_back) => degraded(asked, held_back),
            None => failed(form, &seen.standing, reason),
        },
        Standing::Unknown { reason } => match &seen.missing {
            Some(missing) if probe => Answer::new(Code::NotInstalled, missing),
            _ => Answer::new(Code::Generic, reason),
        },
        Standing::Standby => match (&seen.missing, form, seen.drbd_is_up) {
            (Some(missing), ..) if probe => Answer::new(Code::NotInstalled, missing),
            (_, Form::Primitive, _) if seen.went_on && !probe => Answer::new(
                Code::Generic,
                "the takeover that went on after the start has failed and was undone",
            ),
            (_, Form::Promotable, _) if seen.went_on && promoted && !probe => Answer::new(
                Code::FailedPromoted,
                "the takeover that went on after the promotion has failed and was undone",
            ),
            (_, Form::Primitive, _) | (_, Form::Promotable, Some(false)) => Answer::plain(Code::NotRunning),
            (_, Form::Promotable, Some(true)) => Answer::plain(Code::Success),
            (_, Form::Promotable, None) => Answer::new(Code::Generic, "the state of DRBD is not known"),
        },
    }
}

/// Which action gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivesUp {
    /// A promoted instance goes on unpromoted.
    Demote,
    /// Nothing stays.
    Stop(Form),
}

/// What a start has to do, or the answer when that is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Take over.
    TakeOver,
    /// Bring the DRBD resource up.
    BringUp,
    /// Nothing more.
    Answer(Answer),
}

/// What a start has to do.
pub(super) fn start(form: Form, seen: &Seen) -> Next {
    if form == Form::Primitive {
        return promote(seen).map_or(Next::TakeOver, Next::Answer);
    }
    if let Some(missing) = &seen.missing {
        return Next::Answer(Answer::new(Code::NotInstalled, missing));
    }
    let stop_first = |what: &str| Next::Answer(Answer::new(Code::Generic, format!("{what}; stop it first")));
    match (&seen.under_way, &seen.standing, seen.drbd_is_up) {
        (UnderWay::Takeover(progress), ..) => stop_first(&format!("a takeover runs here: {progress}")),
        (UnderWay::Release(progress), ..) => stop_first(&format!("a release runs here: {progress}")),
        (_, Standing::Standby, Some(true)) => Next::Answer(Answer::plain(Code::Success)),
        (_, Standing::Standby, Some(false)) => Next::BringUp,
        (_, Standing::Standby, None) => {
            Next::Answer(Answer::new(Code::Generic, "the state of DRBD is not known"))
        }
        (_, Standing::Active, _) => stop_first("this node is active already"),
        (_, Standing::Partial { reason, .. }, _) => stop_first(reason),
        (_, Standing::Unknown { reason }, _) => Next::Answer(Answer::new(Code::Generic, reason)),
    }
}

/// The answer of a promote that has nothing to do, or can't; none when it is to take over.
pub(super) fn promote(seen: &Seen) -> Option<Answer> {
    match &seen.missing {
        Some(missing) => Some(Answer::new(Code::NotInstalled, missing)),
        None if seen.standing == Standing::Active && seen.under_way == UnderWay::Nothing => {
            Some(Answer::plain(Code::Success))
        }
        None => None,
    }
}

/// Whether a demote or a stop finds nothing to release. `settled`: no earlier takeover left DRBD disconnected.
pub(super) fn holds_nothing(seen: &Seen, settled: bool) -> bool {
    seen.standing == Standing::Standby && seen.under_way == UnderWay::Nothing && settled
}

/// The answer after a takeover.
pub(super) fn taken_over(run: &Run) -> Answer {
    match run {
        Run::Ended { outcome: Outcome::Done, .. } => Answer::plain(Code::Success),
        Run::GoesOn { progress } => {
            Answer::new(Code::Success, format!("the takeover goes on in a scope of its own: {progress}"))
        }
        Run::Ended { outcome, reason } => Answer::new(Code::Generic, sentence("takeover", *outcome, reason)),
    }
}

/// The answer of a stop or a demote after the release, or when nothing had to be released: success only when nothing is held.
pub(super) fn released(action: GivesUp, run: Option<&Run>, seen: &Seen) -> Answer {
    if let Some(Run::Ended { outcome, reason }) = run
        && *outcome != Outcome::Done
    {
        return Answer::new(Code::Generic, sentence("release", *outcome, reason));
    }
    match (&seen.under_way, &seen.standing) {
        (UnderWay::Takeover(progress) | UnderWay::Release(progress), _) => {
            Answer::new(Code::Generic, format!("another standin works here: {progress}"))
        }
        (UnderWay::Nothing, Standing::Standby) => match (action, seen.drbd_is_up) {
            (GivesUp::Stop(Form::Primitive), _)
            | (GivesUp::Stop(Form::Promotable), Some(false))
            | (GivesUp::Demote, Some(true)) => Answer::plain(Code::Success),
            (GivesUp::Demote, Some(false)) => Answer::new(Code::NotRunning, "DRBD is down"),
            (GivesUp::Stop(Form::Promotable), Some(true)) => Answer::new(Code::Generic, "DRBD is still up"),
            (_, None) => Answer::new(Code::Generic, "whether DRBD is up is not known"),
        },
        (UnderWay::Nothing, Standing::Active) => Answer::new(Code::Generic, "this node is still active"),
        (UnderWay::Nothing, Standing::Partial { reason, .. }) => {
            Answer::new(Code::Generic, format!("this node still holds something: {reason}"))
        }
        (UnderWay::Nothing, Standing::Unknown { reason }) => {
            Answer::new(Code::Generic, format!("whether this node holds something is not known: {reason}"))
        }
    }
}

/// The answer after DRBD was to be brought up.
pub(super) fn brought_up(failure: Option<&str>, seen: &Seen) -> Answer {
    match (failure, &seen.standing, seen.drbd_is_up) {
        (Some(cause), ..) => Answer::new(Code::Generic, cause),
        (None, Standing::Standby, Some(true)) => Answer::plain(Code::Success),
        (None, standing, up) => Answer::new(
            Code::Generic,
            format!("DRBD was brought up, and this node is no standby then: {standing:?}, up: {up:?}"),
        ),
    }
}

/// The answer when there is no configuration to act by. A probe says that nothing can run here; whoever monitors or stops
/// what is running can't know what it holds.
pub(super) fn misconfigured(action: Action, probe: bool, wrong: &Wrong) -> Answer {
    let (Wrong::Parameters(text) | Wrong::NoFile(text) | Wrong::File(text)) = wrong;
    let code = match (action, wrong) {
        (Action::Monitor, _) if probe => Code::NotInstalled,
        (Action::Monitor | Action::Stop | Action::Demote, _) => Code::Generic,
        (_, Wrong::Parameters(_)) => Code::NotConfigured,
        (_, Wrong::NoFile(_)) => Code::NotInstalled,
        (_, Wrong::File(_)) => Code::Arguments,
    };
    Answer::new(code, text)
}

fn sentence(what: &str, outcome: Outcome, reason: &Option<String>) -> String {
    let how = match outcome {
        Outcome::Refused => "was refused",
        Outcome::Stuck => "is stuck: a person is needed",
        Outcome::Done | Outcome::Failed | Outcome::Usage => "failed",
    };
    match reason {
        Some(reason) => format!("the {what} {how}: {reason}"),
        None => format!("the {what} {how}"),
    }
}

fn running(form: Form) -> Code {
    match form {
        Form::Primitive => Code::Success,
        Form::Promotable => Code::Promoted,
    }
}

fn degraded(asked: Asked, reason: impl Into<String>) -> Answer {
    let code = match asked.form {
        _ if !asked.knows_degraded => running(asked.form),
        Form::Primitive => Code::Degraded,
        Form::Promotable => Code::DegradedPromoted,
    };
    Answer::new(code, reason)
}

/// 9 is for a promoted instance that is broken: Pacemaker demotes it before it stops it.
fn failed(form: Form, standing: &Standing, reason: impl Into<String>) -> Answer {
    let is_primary = match standing {
        Standing::Active => true,
        Standing::Partial { holds, .. } => holds.contains(&Part::Drbd),
        Standing::Standby | Standing::Unknown { .. } => false,
    };
    let code = if form == Form::Promotable && is_primary { Code::FailedPromoted } else { Code::Generic };
    Answer::new(code, reason)
}

#[cfg(test)]
mod tests;
