//! What a scan saw beside the totals, in sentences.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::TopLevel;
use super::schema::Schema;
use crate::audit::{Engine, EngineTotals};

/// Names shown of each kind; the rest is a number.
const NAMED: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Notes {
    linked: u64,
    dangling: Vec<PathBuf>,
    missing: Vec<PathBuf>,
    others: BTreeMap<String, u64>,
}

impl Notes {
    pub(super) fn add(&mut self, is_system: bool, schema: Schema) {
        self.linked += schema.linked;
        self.dangling.extend(schema.dangling);
        self.missing.extend(schema.missing);
        if !is_system {
            for (name, tables) in schema.others {
                *self.others.entry(name).or_default() += tables;
            }
        }
    }

    pub(super) fn finish(
        mut self,
        totals: &EngineTotals,
        top: &TopLevel,
        general_tablespaces: u64,
        too_many_sequences: bool,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, tables) in &self.others {
            notes.push(format!(
                "{tables} tables of the engine {name}: whatever they hold is elsewhere or unknown"
            ));
        }
        if top.other_bytes > 0 && self.others.is_empty() {
            notes.push("RocksDB has files here; which tables are in them can't be told".to_owned());
        }
        if general_tablespaces > 0 {
            notes.push(format!(
                "{general_tablespaces} general tablespaces each count as one table, whatever they hold"
            ));
        }
        if top.has_file("mysql.ibd") {
            notes.push(
                "MySQL 8 and later: InnoDB tables inside ibdata1 and those of DATA DIRECTORY leave no trace outside the \
                 dictionary, and are not counted"
                    .to_owned(),
            );
        }
        if totals.user_tables_in_system_tablespace > 0 {
            notes.push(format!(
                "{} InnoDB tables are inside ibdata*, all of which counts as their data",
                totals.user_tables_in_system_tablespace
            ));
        }
        if totals.leftovers.tables > 0 {
            notes.push(format!(
                "{} #sql- leftovers of interrupted ALTER TABLE statements are counted apart",
                totals.leftovers.tables
            ));
        }
        let mut linked_schemas = top.linked_schemas.clone();
        if !linked_schemas.is_empty() {
            linked_schemas.sort();
            notes.push(format!(
                "schemas that are symbolic links (is the target on the replicated disk?): {}",
                some(&linked_schemas)
            ));
        }
        if self.linked > 0 {
            notes.push(format!(
                "{} tables have files elsewhere by DATA DIRECTORY (is that on the replicated disk?)",
                self.linked
            ));
        }
        for (what, files) in [
            ("links to files that are not there", &mut self.dangling),
            ("definitions whose data files are not there", &mut self.missing),
        ] {
            if !files.is_empty() {
                files.sort();
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                notes.push(format!("{what}: {}", some(&names)));
            }
        }
        if too_many_sequences {
            notes.push(
                "too many small InnoDB tables to look for sequences among them: each counts as a table"
                    .to_owned(),
            );
        }
        if let Some(memory) = totals.user.get(&Engine::Memory) {
            notes.push(format!("{} MEMORY tables are empty after every takeover", memory.tables));
        }
        notes
    }
}

fn some(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
