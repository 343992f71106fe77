//! Engine totals from the files of a data directory, for a standby whose mysqld does not run.
//!
//! An engine is known by the extension of its data files. A `.frm` without a data file of its own names the engine in its
//! header; InnoDB there means that the table lives in the system tablespace. MySQL 8 has no `.frm` and does not show such
//! tables. Links of DATA DIRECTORY are followed: symbolic links and InnoDB's `.isl`. MySQL 8 has links for MyISAM alone.

mod files;
mod notes;
mod schema;

use std::fs::{self, Metadata};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use self::files::{is_full_text_part, table_of};
use self::notes::Notes;
use self::schema::Schema;
use super::headers::HeaderError;
use super::offenders::Largest;
use super::{Engine, EngineTotals, Totals, is_system_schema};
use crate::failure::Failure;

/// Offenders that a report shows by default.
pub const TOP: usize = 10;

/// InnoDB tables that are looked at for being sequences; with more of them, all count as tables.
const SEQUENCES_LIMIT: usize = 20_000;

/// Threads of a scan, whatever the number of processors.
const LEAST_THREADS: usize = 4;

/// Schemas without tables of anybody's.
const VIRTUAL_SCHEMAS: [&str; 2] = ["performance_schema", "information_schema"];

/// How a data directory is scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The data directory.
    pub datadir: PathBuf,
    /// How many offenders are kept.
    pub top: usize,
    /// Go on at a damaged header, and say so in [`EngineTotals::damaged`]: a takeover must not end at a table that the power
    /// cut broke. Whatever such a header hides counts as not crash-safe.
    pub tolerate_damage: bool,
}

/// Told of the schemas that are done, and of how many there are.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Adds up what each engine holds under `datadir`.
///
/// # Errors
/// It is not a data directory, some of it can't be read, or a header is damaged: a partial sum would make MyISAM look
/// smaller than it is.
pub fn scan(datadir: &Path) -> Result<EngineTotals, Failure> {
    let settings = Settings { datadir: datadir.to_owned(), top: TOP, tolerate_damage: false };
    scan_with(&settings, &|_, _| {})
}

/// The same, with settings.
///
/// # Errors
/// As [`scan`]; a damaged header only when it is not tolerated.
pub fn scan_with(settings: &Settings, progress: Progress<'_>) -> Result<EngineTotals, Failure> {
    let datadir = &settings.datadir;
    let top = TopLevel::list(datadir).map_err(|problem| problem.failure(datadir))?;
    top.must_be_a_data_directory(datadir)?;

    let found = Mutex::new(Found::new(settings.top));
    let done = AtomicUsize::new(0);
    let wants_sequences = AtomicBool::new(true);
    let total = top.schemas.len();
    let scan_all = || {
        top.schemas.par_iter().try_for_each(|(name, path)| {
            let schema = schema::scan(path, settings, &wants_sequences)?;
            // Under the lock, so that the numbers never go back.
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.add(is_system_schema(name), schema);
            wants_sequences.store(!found.too_many_sequences, Ordering::Relaxed);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(())
        })
    };
    pool()?.install(scan_all).map_err(|problem: Problem| problem.failure(datadir))?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(found.finish(&top))
}

/// Threads that wait for the disk cost no processor, and a disk likes several requests at a time.
fn pool() -> Result<rayon::ThreadPool, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).max(LEAST_THREADS);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| {
        Failure::failed(
            format!("the threads of the scan can't be started: {error}"),
            "without them the storage engines can't be counted",
            "see whether the machine is out of memory or processes (`dmesg | tail`, `ulimit -u`), then try again",
        )
    })
}

/// Why a scan stopped.
#[derive(Debug)]
enum Problem {
    Unreadable { file: PathBuf, error: io::Error },
    Damaged { file: PathBuf, error: HeaderError },
}

impl Problem {
    fn unreadable(file: &Path, error: io::Error) -> Self {
        Self::Unreadable { file: file.to_owned(), error }
    }

    fn failure(self, datadir: &Path) -> Failure {
        let datadir = datadir.display();
        match self {
            Self::Unreadable { file, error } => {
                let file = file.display();
                Failure::failed(
                    format!("the data directory {datadir} can't be read completely: {file}: {error}"),
                    "a partial count could hide MyISAM tables",
                    format!("check that {datadir} is mounted and readable: ls -la {file}"),
                )
            }
            Self::Damaged { file, error } => {
                let file = file.display();
                Failure::failed(
                    format!("{file} is damaged: {error}"),
                    "the server can't open that table, and what it holds can't be told: it could be MyISAM",
                    format!(
                        "restore the table from a backup or drop it: ls -la {file}; a takeover only warns of it"
                    ),
                )
            }
        }
    }
}

/// The data directory itself.
#[derive(Debug, Default)]
struct TopLevel {
    schemas: Vec<(String, PathBuf)>,
    files: Vec<(String, u64)>,
    /// Bytes of engines that keep their files in a directory of their own: RocksDB.
    other_bytes: u64,
    linked_schemas: Vec<String>,
    has_mysql_tables: bool,
}

impl TopLevel {
    fn list(datadir: &Path) -> Result<Self, Problem> {
        let unreadable = |error: io::Error| Problem::unreadable(datadir, error);
        let mut top = Self::default();
        for entry in fs::read_dir(datadir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            // Follows links: a schema may be a symbolic link to a directory elsewhere.
            let Some(metadata) = look(&path)? else { continue };
            if !metadata.is_dir() {
                top.files.push((name, metadata.len()));
            } else if is_no_schema(&name) {
                if name.contains("rocksdb") {
                    top.other_bytes += bytes_in(&path)?;
                }
            } else if !VIRTUAL_SCHEMAS.contains(&name.as_str()) {
                if entry.file_type().is_ok_and(|file_type| file_type.is_symlink()) {
                    top.linked_schemas.push(name.clone());
                }
                top.has_mysql_tables |= name == "mysql" && has_system_tables(&path)?;
                top.schemas.push((name, path));
            }
        }
        Ok(top)
    }

    fn has_file(&self, wanted: &str) -> bool {
        self.files.iter().any(|(name, _)| name == wanted)
    }

    fn must_be_a_data_directory(&self, datadir: &Path) -> Result<(), Failure> {
        if self.has_mysql_tables || self.has_file("mysql.ibd") {
            return Ok(());
        }
        let shown = datadir.display();
        let inside = self.schemas.iter().find(|(_, path)| path.join("ibdata1").is_file());
        let hint = inside.map(|(_, path)| format!("{} looks like one", path.display()));
        Err(Failure::failed(
            format!("{shown} is not a data directory: it has neither mysql.ibd nor a mysql schema with tables"),
            "without the data nothing can be said about its storage engines",
            hint.unwrap_or_else(|| {
                "check that the data file system is mounted there and that datadir is right in the configuration".to_owned()
            }),
        ))
    }
}

/// Directories of the server's own or of the file system: a schema's name has its `#` and `.` encoded.
fn is_no_schema(name: &str) -> bool {
    name.starts_with(['#', '.']) || name == "lost+found"
}

/// None when it is gone: a temporary table that ended while we looked, or a dangling link.
fn look(path: &Path) -> Result<Option<Metadata>, Problem> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::unreadable(path, error)),
    }
}

/// Any table of the `mysql` schema that every server up to MySQL 5.7 and every MariaDB has.
///
/// # Errors
/// It can't be looked into: only the server's user and root may.
fn has_system_tables(mysql: &Path) -> Result<bool, Problem> {
    for name in ["db.frm", "db.MYI", "db.MAI", "user.frm", "plugin.frm"] {
        if look(&mysql.join(name))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bytes_in(directory: &Path) -> Result<u64, Problem> {
    let unreadable = |error: io::Error| Problem::unreadable(directory, error);
    let mut bytes = 0;
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        bytes += look(&path)?.filter(Metadata::is_file).map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// The sum so far.
struct Found {
    totals: EngineTotals,
    largest: Largest,
    notes: Notes,
    sequences: Vec<(bool, PathBuf, Totals)>,
    too_many_sequences: bool,
}

impl Found {
    fn new(top: usize) -> Self {
        Self {
            totals: EngineTotals::default(),
            largest: Largest::new(top),
            notes: Notes::default(),
            sequences: Vec::new(),
            too_many_sequences: false,
        }
    }

    fn add(&mut self, is_system: bool, schema: Schema) {
        let totals = &mut self.totals;
        let side = if is_system { &mut totals.system } else { &mut totals.user };
        for (engine, engine_totals) in &schema.engines {
            side.entry(*engine).or_default().add(*engine_totals);
        }
        totals.leftovers.add(schema.leftovers);
        totals.damaged.extend(schema.damaged.iter().cloned());
        if !is_system {
            totals.user_tables_in_system_tablespace += schema.in_system_tablespace;
            for offender in &schema.offenders {
                self.largest.push(offender.clone());
            }
        }
        self.too_many_sequences |= self.sequences.len() + schema.sequences.len() > SEQUENCES_LIMIT;
        if self.too_many_sequences {
            self.sequences = Vec::new();
        } else {
            let sequences = schema.sequences.iter().cloned();
            self.sequences.extend(sequences.map(|(path, totals)| (is_system, path, totals)));
        }
        self.notes.add(is_system, schema);
    }

    fn finish(mut self, top: &TopLevel) -> EngineTotals {
        self.take_sequences_out();
        let mut totals = self.totals;
        let mut system_tablespace = 0u64;
        let mut general = 0u64;
        let mut other = Totals { bytes: top.other_bytes, ..Totals::default() };
        for (name, bytes) in &top.files {
            let table = Totals { tables: 1, empty_tables: 0, bytes: *bytes };
            if name.starts_with("ibdata") {
                system_tablespace += bytes;
                totals.innodb_shared_bytes += bytes;
            } else if name.starts_with("undo") || name.ends_with(".ibu") {
                totals.innodb_shared_bytes += bytes;
            } else if name == "mysql.ibd" {
                totals.system.entry(Engine::InnoDB).or_default().add(table);
            } else if name.starts_with("#sql") {
                totals.leftovers.add(table);
            } else if name.ends_with(".ibd") {
                // A general tablespace: how many tables it holds can't be seen from outside.
                totals.user.entry(Engine::InnoDB).or_default().add(table);
                general += 1;
            } else if name.ends_with(".tokudb") {
                other.bytes += bytes;
            }
        }
        if other.bytes > 0 {
            totals.user.entry(Engine::OtherCrashSafe).or_default().add(other);
        }
        if totals.user_tables_in_system_tablespace > 0 {
            totals.user.entry(Engine::InnoDB).or_default().bytes += system_tablespace;
        }
        totals.offenders = self.largest.into_vec();
        totals.notes = self.notes.finish(&totals, top, general, self.too_many_sequences);
        totals.damaged.sort();
        totals
    }

    fn take_sequences_out(&mut self) {
        let sequences = std::mem::take(&mut self.sequences);
        let found: Vec<&(bool, PathBuf, Totals)> =
            sequences.par_iter().filter(|(_, definition, _)| schema::defines_sequence(definition)).collect();
        for (is_system, _, counted) in found {
            let side = if *is_system { &mut self.totals.system } else { &mut self.totals.user };
            let innodb = side.entry(Engine::InnoDB).or_default();
            innodb.tables = innodb.tables.saturating_sub(counted.tables);
            innodb.bytes = innodb.bytes.saturating_sub(counted.bytes);
        }
        // An engine of which nothing but sequences was found holds no table.
        for side in [&mut self.totals.user, &mut self.totals.system] {
            side.retain(|_, totals| *totals != Totals::default());
        }
    }
}

#[cfg(test)]
mod tests;
