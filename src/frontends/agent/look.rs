//! What one look of the agent brings: the node, its journal, its link. In a thread of its own, since each may hang.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::looker::Looker;
use super::peer_pause::PeerPause;
use super::snapshot::Pause;
use crate::config::Config;
use crate::decide::Check;
use crate::forecast::{self, Forecast};
use crate::frontends::{self, managed, pause};
use crate::journal::{self, Chronicle, Run};
use crate::node::mysqld::{Answered, Session};
use crate::node::real::RealNode;
use crate::node::worker;
use crate::node::{self, address};
use crate::observation::{Fact, Observation};
use crate::plan::Goal;

/// A write that hangs is not begun again for as long as this: each one would leave a process behind.
const WRITE_HANGS: std::time::Duration = std::time::Duration::from_secs(3600);

/// For each question of a forecast.
const FORECAST_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// What this node holds.
    ThisNode,
    /// That, the virtual IP elsewhere, the peer and the witnesses.
    Everything,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) question: Question,
    pub(super) observation: Observation,
    pub(super) chronicle: Chronicle,
    pub(super) carrier: Check,
    /// A takeover or release that runs now, the agent's own or another; one that does not say yet what it is counts as a takeover.
    pub(super) running: Option<Goal>,
    /// What it says it is.
    pub(super) goal: Option<Goal>,
    /// Its step.
    pub(super) step: Option<String>,
    /// The runs in the journal.
    pub(super) runs: Arc<Vec<Run>>,
    /// A pause of either node that is in force, and the sentence that says so.
    pub(super) paused: Option<(Pause, String)>,
    /// The peer's agent has just said that its node holds something.
    pub(super) peer_holds: bool,
}

/// Looks at the node.
///
/// # Errors
/// When no thread can be started.
pub(super) fn at_node(
    config: &Arc<Config>,
    node: &Arc<RealNode>,
    done: impl Fn() + Send + 'static,
) -> std::io::Result<Looker<Question, Seen>> {
    let (config, node) = (Arc::clone(config), Arc::clone(node));
    let mut reader = JournalReader::new(&config);
    let peer = PeerPause::follow(&config)?;
    let look = move |question| {
        let (chronicle, runs) = reader.read();
        node.know(chronicle.past.clone());
        let observation = match question {
            Question::ThisNode => node.observe_local(),
            Question::Everything => node::Node::observe(node.as_ref()),
        };
        let running = managed::running(&config);
        let step = running.as_ref().and_then(|running| running.step.clone());
        let goal = running.as_ref().and_then(|running| running.goal);
        // One that has just taken the lock does not say yet what it is for.
        let running = running.map(|running| running.goal.unwrap_or(Goal::Takeover));
        let paused = paused(&config, &peer, chronicle.resumed);
        let peer_holds = peer.holds_something();
        Seen {
            question,
            observation,
            chronicle,
            carrier: carrier(&config),
            running,
            goal,
            step,
            runs,
            paused,
            peer_holds,
        }
    };
    Looker::start("look", look, done)
}

fn paused(config: &Config, peer: &PeerPause, resumed: Option<SystemTime>) -> Option<(Pause, String)> {
    let own = pause::in_force(config).map(|active| {
        let sentence = active.sentence();
        (Pause { until: active.until, reason: active.reason, by_peer: false }, sentence)
    });
    own.or_else(|| {
        let pause = peer.in_force(Instant::now(), resumed)?;
        let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let until = pause.until.clone().unwrap_or_else(|| "somebody resumes it".to_owned());
        let sentence = format!("the agents are paused until {until}, typed on {}{reason}", config.peer.name);
        Some((pause, sentence))
    })
}

/// Writes through the mount.
///
/// # Errors
/// When no thread can be started.
pub(super) fn at_disk(config: &Arc<Config>) -> std::io::Result<Looker<(), Check>> {
    let directory = config.mount.directory.clone();
    let look = move |()| {
        let request = worker::Request::WriteThrough { directory: directory.clone() };
        match worker::call::<Option<String>>(&request, Instant::now() + WRITE_HANGS) {
            Ok(None) => Check::Passed,
            Ok(Some(warning)) => Check::Warned(warning),
            Err(failure) => Check::Failed(failure.seen),
        }
    };
    Looker::start("write", look, || {})
}

/// Asks the server a query; none without credentials.
///
/// # Errors
/// When no thread can be started.
pub(super) fn at_server(config: &Arc<Config>) -> std::io::Result<Option<Looker<(), Check>>> {
    let Some(credentials) = config.mysqld.credentials.clone() else { return Ok(None) };
    let mut session = Session::new(&config.mysqld.socket, &credentials);
    let limit = config.agent.mysqld_limit.saturating_mul(4);
    let look = move |()| match session.ask(limit) {
        Answered::Yes => Check::Passed,
        Answered::NotLetIn(cause) => Check::Warned(cause),
        Answered::No(cause) => Check::Failed(cause),
    };
    Looker::start("query", look, || {}).map(Some)
}

/// How long crash recovery would take now.
///
/// # Errors
/// When no thread can be started.
pub(super) fn at_recovery(config: &Arc<Config>) -> std::io::Result<Looker<(), Fact<Forecast>>> {
    let config = Arc::clone(config);
    let look = move |()| forecast::judge(&frontends::forecast::look(&config, FORECAST_LIMIT));
    Looker::start("forecast", look, || {})
}

fn carrier(config: &Config) -> Check {
    let name = &config.vip.interface;
    match address::interface(name) {
        Ok(interface) if interface.up && interface.carrier => Check::Passed,
        Ok(_) => Check::Failed(format!("the interface {name} has no link")),
        Err(cause) => Check::Failed(cause),
    }
}

/// Reads the journal when it has changed.
struct JournalReader {
    path: PathBuf,
    read: Option<(u64, Chronicle, Arc<Vec<Run>>)>,
}

impl JournalReader {
    fn new(config: &Config) -> Self {
        Self { path: journal::path(&config.name), read: None }
    }

    /// A journal that can't be read tells what it told before.
    fn read(&mut self) -> (Chronicle, Arc<Vec<Run>>) {
        let length = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if let Some((at, chronicle, runs)) = &self.read
            && *at == length
        {
            return (chronicle.clone(), Arc::clone(runs));
        }
        if let Ok(entries) = journal::read(&self.path) {
            let booted = node::booted_at(SystemTime::now());
            let told = journal::chronicle(&entries, &journal::boot_id(), booted);
            self.read = Some((length, told, Arc::new(journal::runs(&entries))));
        }
        self.read.as_ref().map(|(_, told, runs)| (told.clone(), Arc::clone(runs))).unwrap_or_default()
    }
}
