//! What the audit says of the corpus, against what is known of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::corpus::{Corpus, Home, Table};
use crate::files;
use crate::report::{Report, Totals};
use crate::server::{Product, Server};

/// Both ways of the audit say the same of the corpus.
pub(crate) fn check(corpus: &Corpus, server: &Server, online: &Report, offline: &Report, when: &str) {
    let mut wrong = totals(corpus, server, online, offline);
    wrong.extend(offenders(corpus, online, offline));
    if online.verdict.refused != offline.verdict.refused
        || online.verdict.warning.is_some() != offline.verdict.warning.is_some()
    {
        wrong.push(format!("verdicts: {:?}, {:?}", online.verdict, offline.verdict));
    }
    for report in [online, offline] {
        if !report.verdict.sentence.contains(" of the users' data") {
            wrong.push(format!("the sentence: {}", report.verdict.sentence));
        }
    }
    if offline.leftovers.tables != 1 || offline.leftovers.bytes != files::leftover_bytes(server) {
        wrong.push(format!("leftovers: {:?}", offline.leftovers));
    }
    assert!(
        wrong.is_empty(),
        "while {when}:\n{}\nonline: {:#?}\noffline: {:#?}",
        wrong.join("\n"),
        online.notes,
        offline.notes
    );
}

/// Per engine: tables as they were made, and bytes that differ by no more than a hundredth.
fn totals(corpus: &Corpus, server: &Server, online: &Report, offline: &Report) -> Vec<String> {
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
        // What the files of MySQL do not show is added here.
        let unseen = if name.0 == "InnoDB" { files::unseen_innodb_bytes(server, online) } else { 0 };
        if differs(sql.bytes, disk.bytes + unseen) {
            wrong.push(format!("{name:?} bytes: {} online, {} + {unseen} offline", sql.bytes, disk.bytes));
        }
    }
    for (engine, bytes) in files::bytes_by_engine(server, corpus) {
        let of_engine = disk.iter().filter(|((name, _), _)| name == engine);
        let audited: u64 = of_engine.map(|(_, totals)| totals.bytes).sum();
        if differs(audited, bytes) {
            wrong.push(format!("{engine} bytes: {audited} offline, and the files have {bytes}"));
        }
    }
    wrong
}

fn total(totals: &BTreeMap<(String, bool), Totals>, name: &(String, bool)) -> Totals {
    totals.get(name).copied().unwrap_or_default()
}

/// By more than a hundredth.
fn differs(one: u64, other: u64) -> bool {
    one.abs_diff(other) * 100 > one.max(other)
}

/// How many of them can be counted from outside. MariaDB has a file per definition. MySQL 8 and later have one only of
/// what is not in InnoDB: an InnoDB table without a file of its own in the schema's directory is not seen, and a general
/// tablespace counts as one table.
fn countable(server: &Server, tables: &[&Table]) -> u64 {
    let shown = |table: &&&Table| {
        server.product == Product::MariaDb || matches!(table.home, Home::Files | Home::Nowhere)
    };
    let general = tables.iter().any(|table| table.home == Home::General);
    tables.iter().filter(shown).count() as u64 + u64::from(general)
}

/// All tables that a crash may damage, under the names that SQL has for them.
fn offenders(corpus: &Corpus, online: &Report, offline: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let fragile = corpus.tables.iter().filter(|table| table.is_fragile());
    let fragile: BTreeMap<_, _> = fragile.map(|table| (table.key(), table)).collect();
    let named = |report: &Report| -> BTreeMap<_, _> {
        report.offenders.iter().map(|offender| (offender.key(), offender.clone())).collect()
    };
    let (sql, disk) = (named(online), named(offline));
    for (way, named) in [("online", &sql), ("offline", &disk)] {
        let extra: Vec<_> = named.keys().filter(|key| !fragile.contains_key(*key)).collect();
        let missing: Vec<_> = fragile.keys().filter(|key| !named.contains_key(*key)).collect();
        if !missing.is_empty() || !extra.is_empty() {
            wrong.push(format!("offenders {way}: missing {missing:?}, too many {extra:?}"));
        }
        for (key, offender) in named {
            if fragile.get(key).is_some_and(|table| table.engine != offender.engine) {
                wrong.push(format!("{way}: {key:?} is {}", offender.engine));
            }
        }
    }
    for (key, offender) in &disk {
        let other = sql.get(key).map_or(0, |other| other.bytes);
        if differs(offender.bytes, other) {
            wrong.push(format!("{key:?} bytes: {other} online, {} offline", offender.bytes));
        }
    }
    wrong
}
