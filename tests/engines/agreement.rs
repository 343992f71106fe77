//! What the audit says of the corpus, against what is known of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::corpus::{Corpus, Home, Table};
use crate::files;
use crate::report::{Report, Totals};
use crate::server::{Product, Server};

/// Both ways of the audit say the same of the corpus.
pub(crate) fn check(corpus: &Corpus, server: &Server, online: &Report, offline: &Report, when: &str) {
    let mut wrong = Vec::new();
    let (sql, disk) = (online.users(), offline.users());
    let known = corpus.by_engine();
    let names: BTreeSet<_> = sql.keys().chain(disk.keys()).chain(known.keys()).cloned().collect();
    for name in names {
        let tables = known.get(&name).map_or(&[][..], Vec::as_slice);
        let (sql, disk) = (total(&sql, &name), total(&disk, &name));
        let mut expect = |what: &str, is: u64, should: u64| {
            if is != should {
                wrong.push(format!("{name:?} {what}: {is} and not {should}"));
            }
        };
        expect("tables online", sql.tables, tables.len() as u64);
        expect("tables offline", disk.tables, countable(server, tables));
        if name.0 == "MyISAM" {
            let empty = tables.iter().filter(|table| table.rows == 0).count() as u64;
            expect("empty tables online", sql.empty_tables, empty);
            expect("empty tables offline", disk.empty_tables, empty);
        }
        let told_over_sql = name.0 != "CSV";
        if told_over_sql && sql.bytes.abs_diff(disk.bytes) * 100 > sql.bytes.max(disk.bytes) {
            wrong.push(format!("{name:?} bytes: {} online and {} offline", sql.bytes, disk.bytes));
        }
    }
    let counted = files::bytes_by_engine(server, corpus);
    for (engine, bytes) in counted {
        let audited: u64 =
            disk.iter().filter(|((name, _), _)| name == engine).map(|(_, totals)| totals.bytes).sum();
        if audited.abs_diff(bytes) * 100 > bytes {
            wrong.push(format!("{engine} bytes: {audited} offline, and the files have {bytes}"));
        }
    }

    let fragile: BTreeMap<_, _> =
        corpus.tables.iter().filter(|table| table.is_fragile()).map(|table| (table.key(), table)).collect();
    for (way, report) in [("online", online), ("offline", offline)] {
        let named: BTreeMap<_, _> =
            report.offenders.iter().map(|offender| (offender.key(), offender)).collect();
        let missing: Vec<_> = fragile.keys().filter(|key| !named.contains_key(*key)).collect();
        let extra: Vec<_> = named.keys().filter(|key| !fragile.contains_key(*key)).collect();
        if !missing.is_empty() || !extra.is_empty() {
            wrong.push(format!("offenders {way}: missing {missing:?}, too many {extra:?}"));
        }
        for (key, offender) in named {
            if fragile.get(&key).is_some_and(|table| table.engine != offender.engine) {
                wrong.push(format!("{way}: {key:?} is {}", offender.engine));
            }
        }
    }
    if online.verdict.refused != offline.verdict.refused
        || online.verdict.warning.is_some() != offline.verdict.warning.is_some()
    {
        wrong.push(format!("verdicts: {:?}, {:?}", online.verdict, offline.verdict));
    }
    assert!(wrong.is_empty(), "while {when}:\n{}\nnotes: {:#?}", wrong.join("\n"), offline.notes);
}

fn total(totals: &BTreeMap<(String, bool), Totals>, name: &(String, bool)) -> Totals {
    totals.get(name).copied().unwrap_or_default()
}

/// How many of them can be counted from outside. MySQL 8 and later keep the definitions in one InnoDB file: what has no
/// file of its own in the schema's directory is not seen, and a general tablespace counts as one table. MariaDB has a
/// file per definition.
fn countable(server: &Server, tables: &[&Table]) -> u64 {
    let shown = |table: &&&Table| {
        server.product == Product::MariaDb || table.home == Home::Files || table.engine == "MERGE"
    };
    let general = tables.iter().any(|table| table.home == Home::General);
    tables.iter().filter(shown).count() as u64 + u64::from(general)
}
