//! `standin audit` on ten thousand tables of a real MariaDB and of a real MySQL.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod corpus;
mod names;
mod report;
mod server;

use std::time::Instant;

use mysql::prelude::Queryable;
use nix::sys::signal::Signal;

use corpus::{Corpus, Home, Table};
use report::{Report, Totals};
use server::{Product, Server};

#[test]
#[ignore = "needs what tests/setup fetches"]
fn mariadb() {
    online_and_offline_agree(Product::MariaDb);
}

#[test]
#[ignore = "needs what tests/setup fetches"]
fn mysql() {
    online_and_offline_agree(Product::MySql);
}

fn online_and_offline_agree(product: Product) {
    let begun = Instant::now();
    let mut server = Server::installed(product);
    server.start();
    let corpus = Corpus::make(&server);
    println!("{product:?}: {} tables after {:?}", corpus.tables.len(), begun.elapsed());
    let count: Option<u64> = server
        .connect()
        .query_first(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_type = 'BASE TABLE' \
             AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')",
        )
        .unwrap();
    assert_eq!(count, Some(10_000));
    server.end(Signal::SIGTERM);
    println!("{:?}", begun.elapsed());
}
