//! `standin audit` on ten thousand tables of a real MariaDB and of a real MySQL: what it says from the files alone, with
//! the server up, after its end and after its crash, is what it says over SQL, and both are what was made.
//!
//! Needs what `tests/setup` fetches: `cargo test --test engines -- --include-ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agreement;
mod corpus;
mod files;
mod names;
mod report;
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::time::Instant;

use mysql::prelude::Queryable;
use nix::sys::signal::Signal;

use corpus::{Corpus, INDEX_ELSEWHERE};
use report::{Offender, Report, configured, offline, online};
use server::{Product, Server};

/// For statements that are independent of each other: each connection waits for the server most of the time.
const CONNECTIONS: usize = 3;

#[test]
#[ignore = "needs what tests/setup fetches"]
fn mariadb() {
    files_and_server_agree(Product::MariaDb);
}

#[test]
#[ignore = "needs what tests/setup fetches"]
fn mysql() {
    files_and_server_agree(Product::MySql);
}

fn files_and_server_agree(product: Product) {
    let begun = Instant::now();
    let told = |what: &str| println!("{product:?}: {what} after {:.1} s", begun.elapsed().as_secs_f64());
    let mut server = Server::installed(product);
    server.start();
    let corpus = Corpus::make(&server);
    server.run([
        "CREATE USER auditor@'127.0.0.1' IDENTIFIED BY 'se cret'",
        "CREATE USER auditor@localhost IDENTIFIED BY 'se cret'",
        "GRANT SELECT, PROCESS ON *.* TO auditor@'127.0.0.1'",
        "GRANT SELECT, PROCESS ON *.* TO auditor@localhost",
    ]);
    told("the tables");

    let over_sql = online(&server);
    told("the online audit");
    agreement::check(&corpus, &server, &over_sql, &offline(&server), "the server runs");
    busy(&server, &over_sql);
    assert!(configured(&server, 1, false).verdict.refused);
    told("the busy server");
    server.end(Signal::SIGTERM);
    agreement::check(&corpus, &server, &over_sql, &offline(&server), "the server was shut down");

    server.start();
    server.run(["UPDATE shop.myisam0 SET a = 'changed' WHERE id < 100", "DELETE FROM shop.innodb0"]);
    server.end(Signal::SIGKILL);
    let crashed = offline(&server);
    server.start();
    let (over_sql, report) = (online(&server), offline(&server));
    agreement::check(&corpus, &server, &over_sql, &crashed, "the server had crashed");
    agreement::check(&corpus, &server, &over_sql, &report, "the server runs again after its crash");
    told("the crash");
    convert(&corpus, &server, &report);
    told("the conversion");
    server.run(["FLUSH TABLES"]);
    for report in [offline(&server), online(&server)] {
        assert!(report.offenders.is_empty(), "{:?}", report.offenders);
        assert!(!report.verdict.refused && report.verdict.warning.is_none(), "{:?}", report.verdict);
    }
    damaged(&server);
    told("all");
}

/// What clients hold locked is neither waited for nor left out.
fn busy(server: &Server, calm: &Report) {
    let mut locks = server.connect();
    locks.query_drop("LOCK TABLES shop.myisam0 WRITE, shop.innodb0 WRITE, shop.csv0 WRITE").unwrap();
    let mut transaction = server.connect();
    transaction.query_drop("BEGIN").unwrap();
    transaction.query_drop("UPDATE shop.filler SET a = 'open' WHERE id = 1").unwrap();
    let report = configured(server, 1, true);
    assert_eq!((report.users(), report.verdict.refused), (calm.users(), true));
}

/// A table that can't be opened is told of by both ways: its size is not taken for nothing.
fn damaged(server: &Server) {
    server.run(["CREATE TABLE shop.`da maged` (a INT) ENGINE=MyISAM", "FLUSH TABLES"]);
    fs::write(server.datadir().join("shop/da@0020maged.MYI"), "").unwrap();
    for output in [report::raw_offline(server), report::raw_online(server)] {
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let said =
            if output.status.success() { &said["verdict"]["warning"] } else { &said["failure"]["seen"] }
                .to_string();
        assert!(said.contains("da maged") || said.contains("da@0020maged.MYI"), "{said}");
    }
}

/// Runs every statement that the audit proposes, as it is printed.
fn convert(corpus: &Corpus, server: &Server, report: &Report) {
    // What they unite is about to become InnoDB.
    let merge = corpus.tables.iter().filter(|table| table.engine == "MERGE");
    server.run(merge.map(|table| format!("DROP TABLE {}", table.quoted())));
    let (refused, direct): (Vec<&Offender>, Vec<&Offender>) =
        report.offenders.iter().partition(|offender| offender.table.starts_with(INDEX_ELSEWHERE));
    std::thread::scope(|scope| {
        for part in direct.chunks(direct.len().div_ceil(CONNECTIONS)) {
            scope.spawn(move || server.run(part.iter().map(|offender| &offender.convert)));
        }
    });
    let error = server.connect().query_drop(&refused[0].convert).unwrap_err().to_string();
    assert!(error.contains("Wrong create options") || error.contains("doesn't have this option"), "{error}");
    let lenient = iter::once("SET SESSION innodb_strict_mode = OFF");
    server.run(lenient.chain(refused.iter().map(|offender| &*offender.convert)));

    let query = "SELECT table_schema, table_name FROM information_schema.tables WHERE engine = 'InnoDB'";
    let converted: BTreeSet<(String, String)> = server.connect().query(query).unwrap().into_iter().collect();
    let left: Vec<_> =
        report.offenders.iter().map(Offender::key).filter(|name| !converted.contains(name)).collect();
    assert!(left.is_empty(), "they are no InnoDB tables: {left:?}");
}
