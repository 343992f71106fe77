//! Forecasts of crash recovery against what the recovery then took. `tests/bench/forecast` runs it.
//!
//! The server is killed under its load. What the kernel has cached of its files is dropped before it starts again, because a
//! standby that mounts the data has nothing cached.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../mysqld/server.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the server use the rest")]
mod server;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use standin::config::MysqldConfig;
use standin::forecast::{Backlog, Forecast, forecast};
use standin::journal::{self, Event, Journal, Sink};
use standin::node::mysqld;

use server::Server;

/// No recovery here takes longer without moving.
const LIMIT: Duration = Duration::from_secs(120);
/// What counts as right.
const FACTOR: f64 = 1.5;
/// How many of ten must be right.
const ENOUGH: usize = 8;

/// How pages come to be modified.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Rows at the end of a table.
    InsertsInOrder,
    /// Rows all over a table that fits into the buffer pool.
    SmallTable,
    /// Rows all over a table that does not.
    LargeTable,
    /// All of these by turns.
    Mixed,
}

use Load::{InsertsInOrder, LargeTable, Mixed, SmallTable};

/// What is learnt from: load and MiB of redo log.
const LEARN: [(Load, u64); 10] = [
    (InsertsInOrder, 40),
    (LargeTable, 20),
    (SmallTable, 120),
    (InsertsInOrder, 1),
    (LargeTable, 90),
    (SmallTable, 8),
    (InsertsInOrder, 220),
    (LargeTable, 300),
    (SmallTable, 350),
    (Mixed, 150),
];

/// What is judged by.
const JUDGE: [(Load, u64); 10] = [
    (SmallTable, 1),
    (InsertsInOrder, 6),
    (LargeTable, 10),
    (SmallTable, 50),
    (InsertsInOrder, 100),
    (LargeTable, 50),
    (Mixed, 70),
    (LargeTable, 180),
    (SmallTable, 250),
    (Mixed, 400),
];

const SMALL_ROWS: u64 = 60_000;
const LARGE_ROWS: u64 = 1_500_000;

fn main() {
    // Asked for by `cargo test --benches`, which wants no measuring.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut server = Server::installed();
    server.options = [
        "--innodb-buffer-pool-size=256M",
        "--innodb-buffer-pool-size-max=256M",
        "--innodb-log-file-size=640M",
    ]
    .map(str::to_owned)
    .into();
    let config = configuration(&server);
    server.start(LIMIT).unwrap();
    fill(&mut server.connect());
    println!("{}", basis(&server));
    let journal = server.directory.path().join("journal");

    println!("\nTen crashes to learn from, each forecast by those before it:\n{HEADING}");
    run(&server, &config, &journal, &LEARN);
    println!("\nTen others:\n{HEADING}");
    let (first, learnt) = run(&server, &config, &journal, &JUDGE);
    println!(
        "\nwithin a factor {FACTOR}: {learnt} of {} (before any history: {first}); {ENOUGH} is the goal",
        JUDGE.len()
    );
    drop(server);
    std::process::exit(i32::from(learnt < ENOUGH));
}

fn basis(server: &Server) -> String {
    let version: Option<String> = server.connect().query_first("SELECT VERSION()").unwrap();
    let size: u64 = ["small", "large"]
        .map(|table| fs::metadata(server.datadir().join(format!("app/{table}.ibd"))).unwrap().len() >> 20)
        .iter()
        .sum();
    format!(
        "MariaDB {}, buffer pool 256 MiB, redo log 640 MiB, {size} MiB of tables, data in {}",
        version.unwrap_or_default(),
        server.datadir().display()
    )
}

const HEADING: &str = "  load             redo MiB  dirty pages  pages | first estimate  learnt  measured |  factors: first  learnt";

/// Crashes once per scenario; how many of the first estimates and of the learnt forecasts were right.
fn run(server: &Server, config: &MysqldConfig, journal: &Path, scenarios: &[(Load, u64)]) -> (usize, usize) {
    let mut right = (0, 0);
    for (load, mib) in scenarios {
        // A clean start: no rollback and no purge of the crash before.
        server.stop(LIMIT, false).unwrap();
        server.start(LIMIT).unwrap();
        let backlog = crash_under(server, config, *load, mib << 20);
        forget_caches(&server.datadir());

        let history = journal::recoveries(&journal::read(journal).unwrap());
        let first = forecast(&backlog, &[]);
        let learnt = forecast(&backlog, &history);
        let applied = server.start(LIMIT).unwrap();
        let recovery = applied.recovery.unwrap();
        let end = Event::StepEnd { step: "start-mysqld".to_owned(), seconds: 0.0, applied };
        Journal::open(journal).unwrap().append(&end).unwrap();

        #[allow(clippy::cast_precision_loss)]
        let measured = recovery.milliseconds as f64 / 1000.0;
        let (first_factor, learnt_factor) = (factor(&first, measured), factor(&learnt, measured));
        right.0 += usize::from(first_factor <= FACTOR);
        right.1 += usize::from(learnt_factor <= FACTOR);
        println!(
            "  {:15} {:9.1} {:12} {:6} | {:12.2} s {:6.2} s {:7.2} s | {:14.2} {:7.2}",
            format!("{load:?}"),
            backlog.redo_bytes as f64 / f64::from(1 << 20),
            backlog.dirty_pages.unwrap(),
            recovery.pages.unwrap_or_default(),
            first.seconds,
            learnt.seconds,
            measured,
            first_factor,
            learnt_factor,
        );
    }
    right
}

fn factor(forecast: &Forecast, measured: f64) -> f64 {
    (forecast.seconds / measured).max(measured / forecast.seconds)
}

/// Loads until the backlog is there, and kills the server while the load still runs; the backlog just before.
fn crash_under(server: &Server, config: &MysqldConfig, load: Load, bytes: u64) -> Backlog {
    let killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = server.connect();
            // It ends with an error when the server is killed.
            for round in 0.. {
                if change(&mut connection, load, round).is_err() || killed.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        loop {
            let backlog = mysqld::backlog(config, Ipv4Addr::LOCALHOST, LIMIT).unwrap();
            assert_eq!(backlog.only_files_because, None);
            if backlog.redo_bytes >= bytes {
                server.crash();
                killed.store(true, Ordering::Relaxed);
                return backlog;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// A few thousand changes, in one transaction.
fn change(connection: &mut Conn, load: Load, round: u64) -> Result<(), mysql::Error> {
    let update = |table: &str, rows: u64| {
        format!(
            "UPDATE app.{table} JOIN (SELECT DISTINCT CAST(1 + RAND() * {rows} AS UNSIGNED) AS id FROM app.seq_1_to_500) AS chosen \
             USING (id) SET a = REPEAT(CHAR(65 + RAND() * 25), 190)"
        )
    };
    match load {
        InsertsInOrder => {
            connection.query_drop("INSERT INTO app.log (a) SELECT REPEAT('x', 190) FROM app.seq_1_to_1000")
        }
        SmallTable => connection.query_drop(update("small", SMALL_ROWS)),
        LargeTable => connection.query_drop(update("large", LARGE_ROWS)),
        Mixed => {
            let turns = [InsertsInOrder, SmallTable, LargeTable];
            change(connection, turns[usize::try_from(round % 3).unwrap()], round)
        }
    }
}

fn fill(connection: &mut Conn) {
    connection.query_drop("CREATE DATABASE app").unwrap();
    for (table, rows) in [("log", 1000), ("small", SMALL_ROWS), ("large", LARGE_ROWS)] {
        let columns = "id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, a VARCHAR(200)";
        connection.query_drop(format!("CREATE TABLE app.{table} ({columns})")).unwrap();
        connection
            .query_drop(format!(
                "INSERT INTO app.{table} (a) SELECT REPEAT('o', 190) FROM app.seq_1_to_{rows}"
            ))
            .unwrap();
    }
}

fn configuration(server: &Server) -> MysqldConfig {
    let credentials = server.directory.path().join("credentials.cnf");
    fs::write(&credentials, "[client]\nuser=root\n").unwrap();
    fs::set_permissions(&credentials, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    server.config(Some(credentials))
}

fn forget_caches(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            forget_caches(&path);
        } else if let Ok(file) = File::open(&path) {
            file.sync_all().unwrap();
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        }
    }
}
