//! The run directories: which lab is alive, and the removal of what a dead one left.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::image::{Filesystem, directory};
use crate::wait::wait_until;

/// A lab that has a run directory.
#[derive(Clone, Debug)]
pub struct Run {
    /// What `lab ssh` and `lab stop` take.
    pub id: String,
    /// Its disks, consoles and logs.
    pub directory: PathBuf,
    /// The process that holds its namespaces.
    pub supervisor: u32,
    /// The process that started it.
    pub owner: u32,
    /// The file system of its replicated disks.
    pub filesystem: String,
    /// The key that root of its nodes accepts.
    pub key: PathBuf,
}

impl Run {
    fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("run.json");
        let value: Value =
            serde_json::from_slice(&fs::read(&path).with_context(|| path.display().to_string())?)?;
        let number = |key: &str| {
            value[key]
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .with_context(|| format!("no {key}"))
        };
        Ok(Self {
            id: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            directory: directory.to_owned(),
            supervisor: number("supervisor")?,
            owner: number("owner")?,
            filesystem: value["filesystem"].as_str().unwrap_or_default().to_owned(),
            key: value["key"].as_str().unwrap_or_default().into(),
        })
    }

    /// Ends the lab, whoever owns it, and removes its directory.
    pub fn stop(&self) -> Result<()> {
        // The lock on `alive` is held, by a child of this process: so the number is not yet someone else's.
        if is_alive(&self.directory) {
            kill(Pid::from_raw(i32::try_from(self.supervisor)?), Signal::SIGKILL)?;
        }
        wait_until("the lab's processes to end", std::time::Duration::from_secs(10), || {
            Ok((!is_alive(&self.directory)).then_some(()))
        })?;
        fs::remove_dir_all(&self.directory)?;
        Ok(())
    }
}

fn runs_directory() -> PathBuf {
    directory().join("run")
}

/// Whether the supervisor of this lab lives: it holds a lock that ends with it.
fn is_alive(run: &Path) -> bool {
    match File::open(run.join("alive")) {
        Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

fn directories() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs_directory())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The labs that are alive.
pub fn runs() -> Result<Vec<Run>> {
    if !runs_directory().exists() {
        return Ok(Vec::new());
    }
    Ok(directories()?.iter().filter(|run| is_alive(run)).filter_map(|run| Run::read(run).ok()).collect())
}

/// The lab of this name.
pub fn find_run(id: &str) -> Result<Run> {
    let all = runs()?;
    match all.iter().find(|run| run.id == id) {
        Some(run) => Ok(run.clone()),
        None if all.is_empty() => bail!("no lab is up; `lab up` starts one"),
        None => {
            let names: Vec<_> = all.iter().map(|run| run.id.as_str()).collect();
            bail!("no lab {id} is up; these are: {}", names.join(", "))
        }
    }
}

/// Held while a lab comes into being, so that nobody takes its directory for one that a dead lab left.
pub(crate) struct Entry {
    pub(crate) directory: PathBuf,
    _lock: File,
}

/// Makes the directory of a new lab, after the removal of what dead ones left.
pub(crate) fn enter() -> Result<Entry> {
    let all = runs_directory();
    fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
    let lock = File::create(all.join(".lock"))?;
    lock.lock()?;
    for run in directories()? {
        if !is_alive(&run) {
            fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
        }
    }
    let own = std::process::id();
    for number in 0.. {
        let directory = all.join(format!("{own}-{number}"));
        if !directory.exists() {
            fs::create_dir(&directory)?;
            return Ok(Entry { directory, _lock: lock });
        }
    }
    bail!("there is no free name for a lab under {}", all.display())
}

impl Entry {
    /// Writes down what others need to find their way in; from then on the lab is one of [`runs`].
    pub(crate) fn complete(self, supervisor: u32, filesystem: Filesystem, key: &Path) -> Result<()> {
        let content = json!({ "supervisor": supervisor, "owner": std::process::id(), "filesystem": filesystem.name(), "key": key });
        fs::write(self.directory.join("run.json"), content.to_string())?;
        Ok(())
    }
}
