//! Looks, asks the pure part what to do, does it, and looks again.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::super::check;
use super::super::cli::directory;
use super::super::kept;
use super::super::managed::{Managed, Run, running};
use super::super::say::say_error;
use super::answer::{self, Answer, Code, Form, GivesUp, Next, Seen, UnderWay};
use super::call::{Action, Call};
use super::parameters::{self, Described, Wrong};
use super::score;
use super::table::CONFIG;
use crate::config::{ClusterManager, Config, Host};
use crate::decide::{Health, Standing, fitness, health, standing};
use crate::node::real::RealNode;
use crate::node::worker::{self, Request};
use crate::node::{Attempt, Node, Progress, drbd, requirements};
use crate::observation::{Connection, Observation, Past};
use crate::plan;
use crate::plan::Goal;

/// How long a run that has just begun may take to say what it is for.
const GOAL_IS_WRITTEN: Duration = Duration::from_millis(500);
/// The most that is kept of a stop's time for taking DRBD down.
const DRBD_DOWN: Duration = Duration::from_secs(10);
/// For the one process that sets a score.
const SET_SCORE: Duration = Duration::from_secs(5);
/// A check without a time limit of its caller's.
const CHECK: Duration = Duration::from_secs(15);

/// One action, to its answer.
pub(super) fn act(action: Action, call: &Call) -> Answer {
    let begun = Instant::now();
    if !nix::unistd::geteuid().is_root() && action != Action::ValidateAll {
        return Answer::new(Code::Permission, "it does not run as root");
    }
    let file = directory("STANDIN_RUN_DIR", "/run/standin")
        .join("pacemaker")
        .join(format!("{}.yaml", if call.instance.is_empty() { "standin" } else { &call.instance }));
    // That must not fail for want of credentials.
    let host = Host::this_machine();
    let host = if gives_up_or_looks(action) { host.unexamined() } else { host };
    let described = match parameters::configuration(&call.parameters, &file, &host) {
        Ok(described) => described,
        Err(wrong @ (Wrong::File(_) | Wrong::NoFile(_))) if gives_up_or_looks(action) => {
            match kept::load(call.parameters.get(CONFIG).map(String::as_str)) {
                Ok(config) => Described { config, text: None },
                Err(_) => return answer::misconfigured(action, call.probe, &wrong),
            }
        }
        Err(wrong) => return answer::misconfigured(action, call.probe, &wrong),
    };
    let agent = Agent { call, described: &described, file, begun };
    // Pacemaker may stop what it started before the file was changed; nobody else may stop what another manager runs.
    if matches!(action, Action::Stop | Action::Demote)
        && call.instance.is_empty()
        && let Some(wrong) = agent.checked(action)
    {
        return wrong;
    }
    match action {
        Action::Monitor => agent.monitor(),
        Action::Start => agent.checked(action).unwrap_or_else(|| agent.start()),
        Action::Promote => agent.checked(action).unwrap_or_else(|| agent.promote()),
        Action::Demote => agent.give_up(GivesUp::Demote),
        Action::Stop => agent.give_up(GivesUp::Stop(call.form)),
        Action::ValidateAll => agent.checked(action).unwrap_or_else(|| agent.validate()),
        Action::Notify | Action::MetaData | Action::Usage => Answer::plain(Code::Success),
    }
}

fn gives_up_or_looks(action: Action) -> bool {
    matches!(action, Action::Monitor | Action::Stop | Action::Demote)
}

struct Agent<'a> {
    call: &'a Call,
    described: &'a Described,
    /// Where a configuration that is made of parameters is written for the processes that act by it.
    file: PathBuf,
    begun: Instant,
}

impl Agent<'_> {
    fn config(&self) -> &Config {
        &self.described.config
    }

    fn node(&self) -> RealNode {
        RealNode::new(self.config().clone(), Past::default())
    }

    /// What is left of the caller's time.
    fn left(&self) -> Option<Duration> {
        self.call.timeout.map(|timeout| timeout.saturating_sub(self.begun.elapsed()))
    }

    /// What must be so before this node may take anything.
    fn checked(&self, action: Action) -> Option<Answer> {
        if self.config().cluster_manager == ClusterManager::Pacemaker {
            return None;
        }
        let text = format!(
            "{} does not say that Pacemaker manages this cluster; write there: cluster_manager: pacemaker",
            self.config().file.display()
        );
        Some(answer::misconfigured(action, false, &Wrong::File(text)))
    }

    fn validate(&self) -> Answer {
        match requirements::missing(self.config()) {
            Some(missing) => Answer::new(Code::NotInstalled, missing),
            None => Answer::plain(Code::Success),
        }
    }

    fn look(&self) -> (Seen, Observation) {
        let config = self.config();
        let under_way = self.under_way();
        let observation = self.node().observe_local();
        let standing = standing(&observation, config);
        let lacks = match health(&observation, config) {
            Health::Degraded(lack) => Some(lack),
            Health::Good(_) | Health::Bad(_) => None,
        };
        // Only then nothing is mounted that the look could hang on.
        let holds_nothing = matches!(standing, Standing::Standby | Standing::Unknown { .. });
        let seen = Seen {
            drbd_is_up: observation.drbd.known().map(|drbd| drbd.connection != Connection::Unconfigured),
            under_way,
            lacks,
            missing: if holds_nothing { requirements::missing(config) } else { None },
            went_on: self.mark().exists(),
            held_back: match &standing {
                Standing::Partial { .. } => match fitness(&observation, config, &check::now(config)) {
                    Health::Degraded(sentence) => Some(sentence),
                    Health::Good(_) | Health::Bad(_) => None,
                },
                _ => None,
            },
            check_failed: None,
            standing,
        };
        (seen, observation)
    }

    fn under_way(&self) -> UnderWay {
        let until = Instant::now() + GOAL_IS_WRITTEN;
        loop {
            let Some(running) = running(self.config()) else { return UnderWay::Nothing };
            if running.goal.is_none() && Instant::now() < until {
                thread::sleep(GOAL_IS_WRITTEN / 10);
                continue;
            }
            let pid = running.holder.pid;
            let progress = running.step.map_or_else(
                || format!("process {pid} waits for the peer to yield"),
                |step| format!("process {pid} is in {step}"),
            );
            return match running.goal {
                Some(Goal::Release | Goal::Switchover | Goal::Rejoin) => UnderWay::Release(progress),
                Some(Goal::Takeover) | None => UnderWay::Takeover(progress),
            };
        }
    }

    fn monitor(&self) -> Answer {
        let (mut seen, observation) = self.look();
        if seen.standing == Standing::Active && seen.under_way == UnderWay::Nothing {
            self.unmark();
            if !self.call.probe {
                self.check_deeper(&mut seen);
            }
        }
        let answer = answer::monitor(self.call.asked(), &seen);
        if seen.under_way == UnderWay::Nothing {
            self.set_score(&answer, &seen, &observation, self.call.probe);
        }
        answer
    }

    /// Depth 10: a write through the mount. Depth 20: a query through the virtual IP, too.
    fn check_deeper(&self, seen: &mut Seen) {
        let config = self.config();
        let limit = || self.left().map_or(CHECK, |left| left * 3 / 4).min(CHECK);
        if self.call.level >= 10 {
            let request = Request::WriteThrough { directory: config.mount.directory.clone() };
            match worker::call::<Option<String>>(&request, Instant::now() + limit()) {
                Ok(Some(warning)) => seen.lacks = Some(warning),
                Ok(None) => {}
                Err(failure) => seen.check_failed = Some(failure.seen),
            }
        }
        if self.call.level >= 20 && seen.check_failed.is_none() {
            let mysqld = &config.mysqld;
            let query = plan::Action::Verify {
                vip: config.vip.address.addr(),
                port: mysqld.port,
                read_only: mysqld.read_only,
                credentials: mysqld.credentials.clone(),
            };
            match self.node().apply(&query, &Attempt::new(limit(), Box::new(Unheard))) {
                Ok(applied) => applied.warning.iter().for_each(say_error),
                Err(failure) => seen.check_failed = Some(failure.seen),
            }
        }
    }

    fn start(&self) -> Answer {
        self.unmark();
        let (seen, _) = self.look();
        let answer = match answer::start(self.call.form, &seen) {
            Next::TakeOver => self.take_over(),
            Next::BringUp => self.bring_up(),
            Next::Answer(answer) => answer,
        };
        self.set_score_afresh(&answer);
        answer
    }

    fn promote(&self) -> Answer {
        self.unmark();
        let (seen, _) = self.look();
        let answer = answer::promote(&seen).unwrap_or_else(|| self.take_over());
        self.set_score_afresh(&answer);
        answer
    }

    fn take_over(&self) -> Answer {
        let run = match self.managed(|managed| managed.take_over(self.left())) {
            Ok(run) => run,
            Err(cause) => return Answer::new(Code::Generic, cause),
        };
        if let Run::GoesOn { .. } = run
            && let Err(error) = fs::write(self.mark(), "")
        {
            // The monitor then calls a takeover that has failed stopped, which is as true.
            log::warn!("{} can't be written: {error}", self.mark().display());
        }
        answer::taken_over(&run)
    }

    fn bring_up(&self) -> Answer {
        let config = self.config();
        let limit = self.left().map_or(config.limits.drbd, |left| left / 2);
        let failure = drbd::bring_up(&config.resource, &config.mount.device, limit).err();
        if let Some(failure) = &failure {
            say_error(failure);
        }
        answer::brought_up(failure.as_ref().map(|failure| failure.seen.as_str()), &self.look().0)
    }

    fn give_up(&self, action: GivesUp) -> Answer {
        self.unmark();
        let config = self.config();
        let takes_drbd_down = action == GivesUp::Stop(Form::Promotable);
        let reserve =
            self.left().map(|left| if takes_drbd_down { DRBD_DOWN.min(left / 5) } else { Duration::ZERO });
        let (seen, observation) = self.look();
        let settled = observation.drbd.known().is_some_and(|drbd| drbd.connection != Connection::StandAlone);
        let run = if answer::holds_nothing(&seen, settled) {
            None
        } else {
            let limit = self.left().zip(reserve).map(|(left, reserve)| left.saturating_sub(reserve));
            match self.managed(|managed| managed.release(limit)) {
                Ok(run) => Some(run),
                Err(cause) => return Answer::new(Code::Generic, cause),
            }
        };
        if takes_drbd_down
            && answer::released(GivesUp::Stop(Form::Primitive), run.as_ref(), &self.look().0).code
                == Code::Success
        {
            let limit = self.left().map_or(config.limits.drbd, |left| left * 3 / 4);
            if let Err(failure) = drbd::bring_down(&config.resource, &config.mount.device, limit) {
                say_error(&failure);
                return Answer::new(Code::Generic, failure.seen);
            }
        }
        let (seen, observation) = self.look();
        let answer = answer::released(action, run.as_ref(), &seen);
        self.set_score(&answer, &seen, &observation, true);
        answer
    }

    /// Runs something in a process of its own, which finds the configuration in a file.
    fn managed(&self, work: impl FnOnce(&Managed<'_>) -> Run) -> Result<Run, String> {
        let written = self.file.display().to_string();
        let selector = match &self.described.text {
            Some(text) => {
                self.write_configuration(text)
                    .map_err(|error| format!("{written} can't be written: {error}"))?;
                Some(written.as_str())
            }
            None => self.call.parameters.get(CONFIG).map(String::as_str),
        };
        Ok(work(&Managed { config: self.config(), selector }))
    }

    fn write_configuration(&self, text: &str) -> std::io::Result<()> {
        let directory = self.file.parent().unwrap_or(&self.file);
        fs::create_dir_all(directory)?;
        // In one step: a process that goes on may read it now.
        let part = self.file.with_extension("part");
        fs::write(&part, text)?;
        fs::rename(&part, &self.file)
    }

    fn set_score_afresh(&self, answer: &Answer) {
        if self.call.form == Form::Promotable && answer.code == Code::Success {
            let (seen, observation) = self.look();
            if seen.under_way == UnderWay::Nothing {
                self.set_score(answer, &seen, &observation, true);
            }
        }
    }

    /// An instance that runs has the score of its disk, one that does not run has none.
    fn set_score(&self, answer: &Answer, seen: &Seen, observation: &Observation, always: bool) {
        let runs =
            matches!(answer.code, Code::Success | Code::Promoted | Code::Degraded | Code::DegradedPromoted);
        let Some(drbd) = observation.drbd.known() else { return };
        if self.call.form != Form::Promotable || !runs {
            return;
        }
        let serves = seen.standing == Standing::Active;
        let score = match seen.drbd_is_up {
            Some(true) => score::score(drbd, serves, self.config().fence.is_some()),
            _ => None,
        };
        let limit = self.left().map_or(SET_SCORE, |left| SET_SCORE.min(left / 2));
        score::publish(&self.call.instance, score, always, limit);
    }

    /// Tells later monitors that an answer was given while the takeover went on.
    fn mark(&self) -> PathBuf {
        directory("STANDIN_RUN_DIR", "/run/standin").join(format!("{}.went-on", self.config().resource))
    }

    fn unmark(&self) {
        // Nothing is lost when it can't be: it only chooses between two codes of what is not running.
        let _ = fs::remove_file(self.mark());
    }
}

/// A check has nobody to tell its progress.
struct Unheard;

impl Progress for Unheard {
    fn report(&self, _: &str) {}
}
