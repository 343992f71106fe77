//! Which storage engines hold the data, and whether that suits a takeover.
//!
//! MyISAM has no crash recovery: after a power cut its tables may be damaged, rows that were acknowledged may be
//! missing, and a repair can take hours. A database that is mostly MyISAM must not be failed over on DRBD.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`offline`] | the totals from the files of a data directory |
//! | [`headers`] | the headers of these files |
//! | [`filename`] | the server's encoding of names in file names |
//! | [`offenders`] | the largest tables that are not crash-safe, and what to do about them |
//! | [`verdict`] | pure: the totals and a limit → allow or refuse |
//!
//! The totals over SQL come from `node::mysqld`.

pub mod filename;
pub mod headers;
pub mod offenders;
pub mod offline;
pub mod verdict;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use offenders::Offender;

/// A storage engine, as far as it matters what a crash does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// Crash-safe.
    InnoDB,
    /// Not crash-safe.
    MyISAM,
    /// MariaDB's MyISAM with a log; crash-safe.
    Aria,
    /// Aria with `TRANSACTIONAL=0`, which is not logged: as fragile as MyISAM.
    AriaNotCrashSafe,
    /// Text files; not crash-safe.
    Csv,
    /// Compressed, append-only; not crash-safe.
    Archive,
    /// A union of MyISAM tables, without data of its own.
    Merge,
    /// Empty after every restart, whatever ended the server.
    Memory,
    /// An engine of which nothing is known.
    Other,
    /// Another engine that recovers by itself, or that keeps no data in the data directory.
    OtherCrashSafe,
}

impl Engine {
    /// As the server names it, whatever the capitals. Aria counts as crash-safe here: its name does not tell.
    pub fn by_name(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "INNODB" => Engine::InnoDB,
            "MYISAM" => Engine::MyISAM,
            "ARIA" => Engine::Aria,
            "CSV" => Engine::Csv,
            "ARCHIVE" => Engine::Archive,
            "MRG_MYISAM" | "MERGE" => Engine::Merge,
            "MEMORY" | "HEAP" => Engine::Memory,
            "ROCKSDB" | "TOKUDB" | "BLACKHOLE" | "FEDERATED" | "SPIDER" | "S3" | "SEQUENCE"
            | "PERFORMANCE_SCHEMA" | "NDBCLUSTER" => Engine::OtherCrashSafe,
            _ => Engine::Other,
        }
    }

    /// The name without the word on crash safety.
    pub fn name(self) -> &'static str {
        match self {
            Engine::InnoDB => "InnoDB",
            Engine::MyISAM => "MyISAM",
            Engine::Aria | Engine::AriaNotCrashSafe => "Aria",
            Engine::Csv => "CSV",
            Engine::Archive => "ARCHIVE",
            Engine::Merge => "MERGE",
            Engine::Memory => "MEMORY",
            Engine::Other | Engine::OtherCrashSafe => "other",
        }
    }

    /// Whether what was committed is there after a crash. Not of [`Engine::Merge`] and [`Engine::Memory`], which have
    /// nothing of their own to lose.
    pub fn crash_safe(self) -> bool {
        matches!(self, Engine::InnoDB | Engine::Aria | Engine::OtherCrashSafe)
    }

    /// Whether a crash may damage rows on disk, so that the tables should become InnoDB.
    pub fn is_fragile(self) -> bool {
        matches!(self, Engine::MyISAM | Engine::AriaNotCrashSafe | Engine::Csv | Engine::Archive)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Engine::AriaNotCrashSafe => "Aria without TRANSACTIONAL",
            Engine::OtherCrashSafe => "other",
            Engine::Other => "unknown engines",
            engine => engine.name(),
        })
    }
}

/// What one engine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tables; the partitions of one table count once.
    pub tables: u64,
    /// Tables whose data file is empty, so that they have no row to lose. Only known of MyISAM and Aria.
    pub empty_tables: u64,
    /// Bytes of data and indexes.
    pub bytes: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Totals) {
        self.tables = self.tables.saturating_add(other.tables);
        self.empty_tables = self.empty_tables.saturating_add(other.empty_tables);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The totals of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineTotals {
    /// Tables of the users' schemas.
    pub user: BTreeMap<Engine, Totals>,
    /// Tables of mysql, sys, performance_schema and information_schema.
    pub system: BTreeMap<Engine, Totals>,
    /// InnoDB's shared files (`ibdata*`, `undo*`), in bytes. They have a size of their own whatever the users store,
    /// so they are nobody's data unless [`EngineTotals::user_tables_in_system_tablespace`] says so.
    pub innodb_shared_bytes: u64,
    /// User tables that live inside `ibdata*` (made with `innodb_file_per_table=0`). They are counted among `user`
    /// too, and then the bytes of `ibdata*` as well.
    pub user_tables_in_system_tablespace: u64,
    /// `#sql-…` tables that an interrupted ALTER TABLE left behind.
    pub leftovers: Totals,
    /// The largest tables of the users that a crash may damage, the largest first.
    pub offenders: Vec<Offender>,
    /// Damaged files, as far as they were tolerated.
    pub damaged: Vec<String>,
    /// What could not be told, and what is worth knowing.
    pub notes: Vec<String>,
}

/// Whether a schema is the server's own.
pub fn is_system_schema(name: &str) -> bool {
    ["mysql", "sys", "performance_schema"].contains(&name) || name.eq_ignore_ascii_case("information_schema")
}
