//! The rows of `information_schema.tables`, added up.

use std::collections::BTreeMap;
use std::path::Path;

use mysql::Value;

use super::innodb::{Files, Place};
use crate::audit::offenders::{Largest, Offender};
use crate::audit::{Engine, EngineTotals, Totals, filename, is_system_schema};

/// Tables with rows: no views, no sequences, nothing temporary.
pub(super) const QUERY: &str = "SELECT table_schema, table_name, engine, row_format, create_options, data_length, \
    index_length, table_comment FROM information_schema.tables WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
    AND table_schema NOT IN ('information_schema', 'performance_schema')";

/// Bytes of an Aria data file in pages that has no rows.
const EMPTY_ARIA_PAGES: u64 = 8192;

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    schema: String,
    table: String,
    engine: Option<String>,
    row_format: String,
    options: String,
    data_bytes: u64,
    index_bytes: u64,
    comment: String,
}

impl From<mysql::Row> for Row {
    fn from(row: mysql::Row) -> Self {
        let mut values = row.unwrap().into_iter();
        let mut next = || values.next().unwrap_or(Value::NULL);
        Self {
            schema: text(next()).unwrap_or_default(),
            table: text(next()).unwrap_or_default(),
            engine: text(next()),
            row_format: text(next()).unwrap_or_default(),
            options: text(next()).unwrap_or_default(),
            data_bytes: number(next()),
            index_bytes: number(next()),
            comment: text(next()).unwrap_or_default(),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}

fn number(value: Value) -> u64 {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).parse().unwrap_or_default(),
        Value::UInt(number) => number,
        Value::Int(number) => number.try_into().unwrap_or_default(),
        _ => 0,
    }
}

impl Row {
    fn engine(&self) -> Engine {
        match self.engine.as_deref().map(Engine::by_name) {
            Some(Engine::Aria) if !self.is_transactional() => Engine::AriaNotCrashSafe,
            Some(engine) => engine,
            None => Engine::Other,
        }
    }

    /// Servers before 10.4 show it only where it was asked for; by default a table in pages is.
    fn is_transactional(&self) -> bool {
        let options = self.options.to_ascii_lowercase();
        options.contains("transactional=1")
            || self.row_format.eq_ignore_ascii_case("page") && !options.contains("transactional=0")
    }

    /// The server can't open it, and has put its words about that into the comment: MariaDB then names no engine, MySQL no
    /// size. A MyISAM or Aria table always has an index file.
    fn is_broken(&self, engine: Engine) -> bool {
        let has_index = matches!(engine, Engine::MyISAM | Engine::Aria | Engine::AriaNotCrashSafe);
        self.engine.is_none() || has_index && self.index_bytes == 0
    }

    /// No row to lose.
    fn is_empty(&self, engine: Engine) -> bool {
        match engine {
            Engine::MyISAM => self.data_bytes == 0,
            Engine::AriaNotCrashSafe if self.row_format.eq_ignore_ascii_case("page") => {
                self.data_bytes <= EMPTY_ARIA_PAGES
            }
            Engine::AriaNotCrashSafe => self.data_bytes == 0,
            _ => false,
        }
    }
}

/// The sum so far.
#[derive(Debug)]
pub(super) struct Sum {
    totals: EngineTotals,
    largest: Largest,
    others: BTreeMap<String, u64>,
    csv_without_size: u64,
    in_shared_files: u64,
    innodb_without_file: u64,
}

impl Sum {
    pub(super) fn new(top: usize) -> Self {
        Self {
            totals: EngineTotals::default(),
            largest: Largest::new(top),
            others: BTreeMap::new(),
            csv_without_size: 0,
            in_shared_files: 0,
            innodb_without_file: 0,
        }
    }

    pub(super) fn note(&mut self, note: String) {
        self.totals.notes.push(note);
    }

    /// `datadir` is that of the server, when its files are on this host.
    pub(super) fn add(&mut self, row: Row, innodb: &Files, datadir: Option<&Path>) {
        let engine = row.engine();
        let is_system = is_system_schema(&row.schema);
        let mut bytes = row.data_bytes.saturating_add(row.index_bytes);
        match engine {
            Engine::InnoDB => match innodb.place(&row.schema, &row.table) {
                Place::OwnFiles(own) => bytes = own,
                Place::SystemTablespace if is_system => bytes = 0,
                Place::SystemTablespace => {
                    bytes = 0;
                    self.totals.user_tables_in_system_tablespace += 1;
                }
                Place::Shared => {
                    bytes = 0;
                    self.in_shared_files += u64::from(!is_system);
                }
                Place::Unknown => match datadir.and_then(|datadir| file_bytes(datadir, &row, "ibd")) {
                    Some(own) => bytes = own,
                    None => self.innodb_without_file += u64::from(!is_system),
                },
            },
            Engine::Merge | Engine::Memory => bytes = 0,
            Engine::Csv if bytes == 0 => match datadir.and_then(|datadir| file_bytes(datadir, &row, "CSV")) {
                Some(own) => bytes = own,
                None => self.csv_without_size += u64::from(!is_system),
            },
            Engine::Other | Engine::OtherCrashSafe if !is_system => {
                let name = row.engine.clone().unwrap_or_else(|| "that the server does not name".to_owned());
                *self.others.entry(name).or_default() += 1;
            }
            _ => {}
        }
        let is_broken = row.is_broken(engine);
        let is_empty = row.is_empty(engine) && !is_broken;
        let one = Totals { tables: 1, empty_tables: u64::from(is_empty), bytes };
        // A person's own `#sql` has its `#` encoded in the file's name, and so no such prefix here.
        if row.table.starts_with("#mysql50##sql") {
            self.totals.leftovers.add(Totals { empty_tables: 0, ..one });
            return;
        }
        if is_broken {
            self.totals
                .damaged
                .push(format!("the server can't open {}.{}: {}", row.schema, row.table, row.comment));
        }
        let side = if is_system { &mut self.totals.system } else { &mut self.totals.user };
        side.entry(engine).or_default().add(one);
        if !is_system && engine.is_fragile() && self.largest.takes(bytes) {
            self.largest.push(Offender { bytes, schema: row.schema, table: row.table, engine });
        }
    }

    pub(super) fn finish(mut self, innodb: &Files) -> EngineTotals {
        let mut totals = self.totals;
        let inside = totals.user_tables_in_system_tablespace;
        let more = if inside > 0 { innodb.system_tablespace_bytes } else { 0 };
        let more = more + innodb.general_bytes + innodb.full_text_bytes;
        if more > 0 {
            totals.user.entry(Engine::InnoDB).or_default().bytes += more;
        }
        if innodb.dictionary_bytes > 0 {
            totals.system.entry(Engine::InnoDB).or_default().bytes += innodb.dictionary_bytes;
        }
        totals.innodb_shared_bytes = innodb.shared_bytes;
        totals.offenders = std::mem::replace(&mut self.largest, Largest::new(0)).into_vec();
        let mut note = |note: String| totals.notes.push(note);
        for (name, tables) in &self.others {
            note(format!("{tables} tables of the engine {name}: whatever they hold is elsewhere or unknown"));
        }
        if inside > 0 {
            note(format!("{inside} InnoDB tables are inside ibdata*, all of which counts as their data"));
        }
        if self.in_shared_files > 0 {
            note(format!("{} InnoDB tables are in general tablespaces", self.in_shared_files));
        }
        if self.innodb_without_file > 0 {
            note(format!(
                "the server does not list the files of {} InnoDB tables: their sizes leave out free pages",
                self.innodb_without_file
            ));
        }
        if self.csv_without_size > 0 {
            note(format!("the server does not tell the sizes of {} CSV tables", self.csv_without_size));
        }
        if let Some(memory) = totals.user.get(&Engine::Memory) {
            totals.notes.push(format!("{} MEMORY tables are empty after every takeover", memory.tables));
        }
        totals
    }
}

/// The size of a table's file, which the server does not tell.
fn file_bytes(datadir: &Path, row: &Row, extension: &str) -> Option<u64> {
    let schema = filename::encode(&row.schema)?;
    let table = filename::encode(&row.table)?;
    let file = datadir.join(schema).join(format!("{table}.{extension}"));
    std::fs::metadata(file).ok().map(|metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &str, row_format: &str, options: &str, data_bytes: u64) -> Row {
        Row {
            schema: "app".into(),
            table: "t".into(),
            engine: Some(engine.into()),
            row_format: row_format.into(),
            options: options.into(),
            data_bytes,
            index_bytes: 1024,
            comment: String::new(),
        }
    }

    fn summed(rows: &[Row]) -> EngineTotals {
        let mut sum = Sum::new(2);
        rows.iter().for_each(|row| sum.add(row.clone(), &Files::default(), None));
        sum.finish(&Files::default())
    }

    #[test]
    fn aria_is_crash_safe_only_with_its_log() {
        for (row_format, options, engine) in [
            ("Page", "transactional=1", Engine::Aria),
            ("Page", "", Engine::Aria),
            ("Page", "partitioned transactional=0", Engine::AriaNotCrashSafe),
            ("Dynamic", "row_format=DYNAMIC", Engine::AriaNotCrashSafe),
        ] {
            assert_eq!(row("Aria", row_format, options, 0).engine(), engine, "{row_format} {options}");
        }
    }

    #[test]
    fn tables_without_rows_are_known() {
        assert!(row("MyISAM", "Fixed", "", 0).is_empty(Engine::MyISAM));
        assert!(!row("MyISAM", "Fixed", "", 7).is_empty(Engine::MyISAM));
        assert!(row("Aria", "Page", "", 8192).is_empty(Engine::AriaNotCrashSafe));
        assert!(!row("Aria", "Dynamic", "", 20).is_empty(Engine::AriaNotCrashSafe));
        assert!(!row("InnoDB", "Dynamic", "", 0).is_empty(Engine::InnoDB));
    }

    #[test]
    fn the_server_s_own_and_leftovers_are_apart() {
        let mut system = row("MyISAM", "Dynamic", "", 10);
        system.schema = "mysql".into();
        let mut leftover = row("MyISAM", "Dynamic", "", 20);
        leftover.table = "#mysql50##sql-1f_3".into();
        let mut broken = row("", "", "", 0);
        broken.engine = None;
        let found = summed(&[row("MyISAM", "Dynamic", "", 5), system, leftover, broken]);
        assert_eq!(found.user[&Engine::MyISAM], Totals { tables: 1, empty_tables: 0, bytes: 1029 });
        assert_eq!(found.system[&Engine::MyISAM].bytes, 1034);
        assert_eq!(found.leftovers.bytes, 1044);
        assert_eq!(found.user[&Engine::Other].tables, 1);
        assert_eq!(found.damaged, ["the server can't open app.t: "]);
        assert_eq!(found.offenders.len(), 1);
    }

    #[test]
    fn a_persons_own_name_is_no_leftover() {
        let mut own = row("MyISAM", "Dynamic", "", 20);
        own.table = "#sql-like".into();
        assert_eq!(summed(&[own]).user[&Engine::MyISAM].tables, 1);
    }

    #[test]
    fn a_table_without_its_index_file_is_named() {
        let mut broken = row("MyISAM", "Dynamic", "", 0);
        broken.index_bytes = 0;
        broken.comment = "Can't find file: 't'".into();
        let found = summed(&[broken]);
        assert_eq!(found.damaged, ["the server can't open app.t: Can't find file: 't'"]);
        assert_eq!(found.user[&Engine::MyISAM], Totals { tables: 1, empty_tables: 0, bytes: 0 });
    }

    #[test]
    fn what_has_no_data_has_no_bytes() {
        let found = summed(&[row("MEMORY", "Fixed", "", 126_000), row("MRG_MyISAM", "Fixed", "", 500)]);
        assert_eq!(found.user[&Engine::Memory].bytes + found.user[&Engine::Merge].bytes, 0);
    }
}
