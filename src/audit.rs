//! Which storage engines hold the data, and whether that suits a takeover.
//!
//! MyISAM has no crash recovery: after a power cut its tables may be damaged, rows that were acknowledged may be
//! missing, and a repair can take hours. A database that is mostly MyISAM must not be failed over on DRBD.

pub mod offline;
pub mod verdict;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A storage engine that leaves files in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// Crash-safe.
    InnoDB,
    /// Not crash-safe.
    MyISAM,
    /// MariaDB's MyISAM with a log; crash-safe unless a table was made with `TRANSACTIONAL=0`.
    Aria,
    /// Text files; not crash-safe.
    #[serde(rename = "CSV")]
    Csv,
    /// Compressed, append-only; not crash-safe.
    #[serde(rename = "ARCHIVE")]
    Archive,
    /// A union of MyISAM tables, without data of its own.
    #[serde(rename = "MERGE")]
    Merge,
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Engine::InnoDB => "InnoDB",
            Engine::MyISAM => "MyISAM",
            Engine::Aria => "Aria",
            Engine::Csv => "CSV",
            Engine::Archive => "ARCHIVE",
            Engine::Merge => "MERGE",
        })
    }
}

/// What one engine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tables; the partitions of one table count once.
    pub tables: u64,
    /// Tables whose data file is empty, so that they have no row to lose. Only known of MyISAM.
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

/// The totals of a data directory.
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
}
