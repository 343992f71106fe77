//! Append-only JSON lines: what was decided and done, when, and how long it took.
//!
//! Entries of one run share its `run` number. An entry is written before a step starts and after it ended, so that
//! a run that was killed shows how far it got. Writing goes to the page cache: what a kill of standin must not lose
//! survives that, and after a loss of the machine DRBD's own state starts afresh too.

mod chronicle;
mod history;
mod recent;
mod recoveries;
mod switchover;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use chronicle::{Chronicle, chronicle};
pub use history::{Run, StepTime, past, promoting, release_failed, runs, under_way};
pub use recent::in_vain;
pub use recoveries::recoveries;
pub use switchover::{Unfinished, unfinished_switchover};

use crate::decide::{FenceAnswer, Request};
use crate::failure::{Failure, Outcome};
use crate::node::Applied;
use crate::plan::{Goal, Plan};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339, UTC, milliseconds.
    pub at: String,
    /// Number of the run: its start in milliseconds since the epoch.
    pub run: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A plan is about to be walked.
    Begin {
        /// The kernel's boot identifier: what an earlier boot did to DRBD is gone.
        boot: String,
        /// The exact plan.
        plan: Plan,
        /// What was asked for, overrides included.
        request: Request,
    },
    /// It was refused; nothing was changed.
    Refused {
        /// What was asked for.
        goal: Goal,
        /// What was asked for, overrides included.
        request: Request,
        /// The reason.
        reason: String,
    },
    /// A step is about to start.
    StepStart {
        /// Its name.
        step: String,
    },
    /// A step reached its goal.
    StepEnd {
        /// Its name.
        step: String,
        /// Seconds since its start.
        seconds: f64,
        /// What it did.
        #[serde(flatten)]
        applied: Applied,
    },
    /// A step did not reach its goal.
    StepFailed {
        /// Its name.
        step: String,
        /// Seconds since its start.
        seconds: f64,
        /// What was seen, why it matters, what to do next.
        failure: Failure,
    },
    /// A step is about to be undone.
    UndoStart {
        /// Name of the step that is undone.
        of: String,
        /// Name of the action that undoes it.
        step: String,
    },
    /// A step was undone.
    UndoEnd {
        /// Name of the step that was undone.
        of: String,
        /// Name of the action that undid it.
        step: String,
        /// Seconds since its start.
        seconds: f64,
        /// What it did.
        #[serde(flatten)]
        applied: Applied,
    },
    /// A step could not be undone.
    UndoFailed {
        /// Name of the step that was to be undone.
        of: String,
        /// Name of the action that was to undo it.
        step: String,
        /// Seconds since its start.
        seconds: f64,
        /// What was seen, why it matters, what to do next.
        failure: Failure,
    },
    /// DRBD asked the fence-peer handler, and this was its answer.
    FencePeerAnswered {
        /// The answer.
        answer: FenceAnswer,
        /// Why, in one sentence.
        reason: String,
        /// Seconds from the question to the answer.
        seconds: f64,
    },
    /// DRBD told the unfence-peer handler that both disks are UpToDate again.
    PeerUnfenced,
    /// A person told the agents of both nodes to do nothing by themselves for a while.
    Paused {
        /// Until when (RFC 3339, UTC).
        until: String,
        /// Why, as it was typed.
        reason: Option<String>,
        /// Who: user and host.
        by: String,
    },
    /// A person ended the pause before its time.
    Resumed {
        /// Who: user and host.
        by: String,
    },
    /// A person has seen the last takeover, and the agent may act again.
    Acknowledged {
        /// Who: user and host.
        by: String,
    },
    /// The agent gives this node up by itself, so that the peer can step in.
    GaveUp {
        /// What was wrong, in one sentence.
        reason: String,
    },
    /// The agent takes this node out of the way of a peer that has taken over.
    SteppedDown {
        /// Why, in one sentence.
        reason: String,
    },
    /// The run is over.
    End {
        /// How it ended.
        outcome: Outcome,
        /// Seconds since its start.
        seconds: f64,
    },
}

/// Where entries go.
pub trait Sink: Send {
    /// Appends one event.
    ///
    /// # Errors
    /// As the file system gives them. A takeover goes on without its journal.
    fn append(&mut self, event: &Event) -> io::Result<()>;
}

/// The journal of a run that can't be written down.
pub struct Nowhere;

impl Sink for Nowhere {
    fn append(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }
}

/// The journal of one cluster, open for one run.
pub struct Journal {
    file: File,
    run: u64,
    /// The last line may be cut short: a full disk, or a kill in the middle of a write.
    torn: bool,
}

impl Journal {
    /// Opens the journal for appending and starts a run.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)?;
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let run = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Ok(Self { file, run, torn: last != [b'\n'] })
    }

    /// Brings what was appended to the disk. A takeover does not wait for that; a reset of the machine loses what was not.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Sink for Journal {
    fn append(&mut self, event: &Event) -> io::Result<()> {
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let entry = Entry { at, run: self.run, event: event.clone() };
        let mut line = serde_json::to_vec(&entry).map_err(io::Error::other)?;
        line.push(b'\n');
        if self.torn {
            line.insert(0, b'\n');
        }
        // One write per line: with O_APPEND two writers never tear each other's lines.
        let written = self.file.write_all(&line);
        self.torn = written.is_err();
        written
    }
}

/// Reads every entry, leaving out lines that a full disk or a crash cut short.
///
/// # Errors
/// As the file system gives them; a missing file is an empty journal.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries(file)
}

fn entries(file: File) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        if let Ok(entry) = serde_json::from_slice(&line?) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Reads the entries in the last `bytes` of the file, whose first line may be cut off.
///
/// # Errors
/// As [`read`].
pub fn read_tail(path: &Path, bytes: u64) -> io::Result<Vec<Entry>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    entries(file)
}

/// The kernel's identifier of this boot.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The journal's file: `STANDIN_STATE_DIR` (default `/var/lib/standin`) `/NAME.journal`.
pub fn path(cluster: &str) -> PathBuf {
    state_directory().join(format!("{cluster}.journal"))
}

/// `STANDIN_STATE_DIR`, or `/var/lib/standin`.
pub(crate) fn state_directory() -> PathBuf {
    std::env::var_os("STANDIN_STATE_DIR").map_or_else(|| "/var/lib/standin".into(), PathBuf::from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_never_tear_each_others_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r0.journal");
        let long = "x".repeat(20_000);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // Opened apart, as by two processes.
                    let mut journal = Journal::open(&path).unwrap();
                    for _ in 0..200 {
                        journal.append(&Event::StepStart { step: long.clone() }).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&path).unwrap().len(), 400);
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_swallow_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state").join("r0.journal");
        let step = |step: &str| Event::StepStart { step: step.to_owned() };
        Journal::open(&path).unwrap().append(&step("mount")).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"at\":\"2026-").unwrap();
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&step("add-vip")).unwrap();
        journal.append(&step("verify")).unwrap();
        let events: Vec<Event> = read(&path).unwrap().into_iter().map(|entry| entry.event).collect();
        assert_eq!(events, [step("mount"), step("add-vip"), step("verify")]);
    }
}
