//! The report: a table per engine, the largest tables that are not crash-safe, notes, and a sentence.

use std::fmt::Write;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Seen;
use crate::audit::offenders::{REPAIR_BYTES_PER_SECOND, repair_seconds};
use crate::audit::verdict::{Verdict, percent};
use crate::audit::{Engine, Totals};

/// What is printed.
pub(super) struct Report {
    seen: Seen,
    verdict: Verdict,
}

impl Report {
    pub(super) fn new(seen: Seen, verdict: Verdict) -> Self {
        Self { seen, verdict }
    }

    /// For a machine.
    pub(super) fn json(&self) -> Value {
        let totals = &self.seen.totals;
        let engines: Vec<Value> = self
            .rows()
            .map(|(system, engine, held)| {
                json!({
                    "engine": engine.name(),
                    "system": system,
                    "crash_safe": engine.crash_safe(),
                    "tables": held.tables,
                    "empty_tables": held.empty_tables,
                    "bytes": held.bytes,
                })
            })
            .collect();
        let offenders: Vec<Value> = totals
            .offenders
            .iter()
            .map(|offender| {
                json!({
                    "schema": offender.schema,
                    "table": offender.table,
                    "engine": offender.engine.name(),
                    "bytes": offender.bytes,
                    "convert": offender.convert(),
                    "repair_seconds": offender.repair_seconds(),
                })
            })
            .collect();
        json!({
            "method": self.seen.method,
            "source": self.seen.source,
            "server": self.seen.server,
            "engines": engines,
            "innodb_shared_bytes": totals.innodb_shared_bytes,
            "leftovers": {"tables": totals.leftovers.tables, "bytes": totals.leftovers.bytes},
            "offenders": offenders,
            "notes": totals.notes,
            "verdict": self.verdict,
        })
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let totals = &self.seen.totals;
        let server = self.seen.server.as_ref().map(|version| format!(", {version}")).unwrap_or_default();
        writeln!(out, "{}{server}, {}", self.seen.source, self.seen.method)?;
        writeln!(out)?;
        writeln!(
            out,
            "{:16} {:>8} {:>8} {:>11} {:>8}  crash-safe",
            "engine", "tables", "empty", "size", "share"
        )?;
        let mut all = Totals::default();
        totals.user.values().for_each(|held| all.add(*held));
        for (system, engine, held) in self.rows() {
            let name = if system { format!("{} (system)", engine.name()) } else { engine.name().to_owned() };
            let share = if system { String::new() } else { percent(held.bytes, all.bytes) };
            writeln!(
                out,
                "{name:16} {:>8} {:>8} {:>11} {share:>8}  {}",
                held.tables,
                if held.empty_tables > 0 { held.empty_tables.to_string() } else { String::new() },
                HumanBytes(held.bytes).to_string(),
                safety(engine),
            )?;
        }
        self.write_offenders(out)?;
        if !totals.notes.is_empty() {
            writeln!(out, "\nNotes:")?;
            for note in &totals.notes {
                writeln!(out, "- {note}")?;
            }
        }
        writeln!(out)?;
        if let Some(warning) = &self.verdict.warning {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(out, "{}", self.verdict.sentence)
    }

    fn write_offenders(&self, out: &mut String) -> std::fmt::Result {
        let totals = &self.seen.totals;
        if totals.offenders.is_empty() {
            return Ok(());
        }
        let mut fragile = Totals::default();
        let of_fragile = totals.user.iter().filter(|(engine, _)| engine.is_fragile());
        of_fragile.for_each(|(_, held)| fragile.add(*held));
        writeln!(
            out,
            "\nNot crash-safe, the largest of {}; rough time of a repair after a crash, at {} MB/s ({} in all):",
            if fragile.tables == 1 { "1 table".to_owned() } else { format!("{} tables", fragile.tables) },
            REPAIR_BYTES_PER_SECOND / 1_000_000,
            duration(repair_seconds(fragile.bytes)),
        )?;
        for offender in &totals.offenders {
            writeln!(
                out,
                "{:>11} {:>8}  {:8} {}",
                HumanBytes(offender.bytes).to_string(),
                duration(offender.repair_seconds()),
                offender.engine.name(),
                offender.convert(),
            )?;
        }
        writeln!(
            out,
            "Where that is refused (\"wrong create options\"), first: SET SESSION innodb_strict_mode=OFF;"
        )
    }

    /// The users' engines, then the server's own.
    fn rows(&self) -> impl Iterator<Item = (bool, Engine, Totals)> {
        let side = |system| move |(engine, held): (&Engine, &Totals)| (system, *engine, *held);
        let totals = &self.seen.totals;
        totals.user.iter().map(side(false)).chain(totals.system.iter().map(side(true)))
    }
}

fn safety(engine: Engine) -> &'static str {
    match engine {
        Engine::Merge => "no data of its own",
        Engine::Memory => "nothing on disk",
        Engine::Other => "unknown",
        engine if engine.crash_safe() => "yes",
        _ => "NO",
    }
}

/// Rough, so with no more than two units.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
