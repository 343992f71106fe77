//! Starting and stopping a real MariaDB server, without systemd and without DRBD.
//!
//! Those that need `mariadbd` and `mariadb-install-db` (Debian: mariadb-server) are ignored by default:
//! `cargo test --test mysqld -- --include-ignored`. One needs root, for mounts of its own.

#![allow(clippy::unwrap_used)]

mod backlog;
mod dirty_pages;
mod mysql_server;
mod server;
mod unit;
mod variables;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use standin::audit::{Engine, offline};
use standin::failure::FailureKind;
use standin::node::{Change, mysqld, processes};
use standin::observation::MysqldAnswer;
use standin::plan::MysqldControl;

use server::{LONG, Server, device_of, own_mounts};

#[test]
#[ignore = "needs mariadbd"]
fn start_stop_and_what_is_seen_of_it() {
    let server = Server::installed();
    let applied = server.start(LONG).unwrap();
    assert_eq!((applied.change, applied.note), (Change::Done, None));
    assert_eq!(mysqld::handshake(&server.socket(), LONG), MysqldAnswer::Ready);
    let pids = server.pids();
    assert_eq!(pids.len(), 1);

    assert_eq!(server.start(LONG).unwrap().change, Change::AlreadySo);
    assert_eq!(server.pids(), pids);

    if device_of(server.directory.path()) != Path::new("/dev/null") {
        let seen = server.observe();
        assert_eq!(seen.answer, MysqldAnswer::Ready);
        assert_eq!(seen.processes.len(), 1);
        assert!(seen.processes[0].on_our_device && seen.processes[0].directory == server.datadir());
    }

    let mut connection = server.connect();
    connection.query_drop("SET GLOBAL max_connections = 10").unwrap();
    let full: Vec<Conn> = (0..9).map(|_| server.connect()).collect();
    let extra = server.connect();
    assert_eq!(mysqld::handshake(&server.socket(), LONG), MysqldAnswer::Busy);
    assert_eq!(server.start(LONG).unwrap().change, Change::AlreadySo);
    drop((connection, full, extra));

    assert_eq!(server.stop(LONG, false).unwrap().change, Change::Done);
    assert!(server.pids().is_empty() && server.said("shutdown is complete"));
    assert_eq!(server.stop(LONG, false).unwrap().change, Change::AlreadySo);
}

#[test]
#[ignore = "needs mariadbd"]
fn crash_recovery_is_told() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    server.crash_with_load();
    let applied = server.start(LONG).unwrap();
    let note = applied.note.unwrap();
    assert!(
        note.starts_with("crash recovery: ") && note.contains(" pages, ") && note.ends_with(" s"),
        "{note}"
    );
    assert!(server.said("crash recovery starts from checkpoint LSN"));
    let rows: Option<u64> = server.connect().query_first("SELECT COUNT(*) FROM app.t").unwrap();
    assert_eq!(rows, Some(100_000));
}

#[test]
#[ignore = "needs mariadbd"]
fn a_recovery_that_hangs_is_noticed_and_followed_when_it_goes_on() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    server.crash_with_load();

    // Frozen as soon as it is seen to start.
    let limit = Duration::from_secs(2);
    let (failure, took) = std::thread::scope(|scope| {
        scope.spawn(|| {
            server.wait_until("a server process", || !server.pids().is_empty());
            server.signal(Signal::SIGSTOP);
        });
        let begun = Instant::now();
        (server.start(limit).unwrap_err(), begun.elapsed())
    });
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.seen.contains("is stopped by a signal"), "{failure}");
    assert!(took < limit * 2 + Duration::from_secs(1), "{took:?}");

    // A rerun finds it, does not start a second one, and follows it once it goes on.
    let pids = server.pids();
    let applied = std::thread::scope(|scope| {
        scope.spawn(|| {
            server.wait_until("the rerun follows", || server.said("runs already"));
            server.signal(Signal::SIGCONT);
        });
        server.start(LONG).unwrap()
    });
    assert_eq!(applied.change, Change::AlreadySo);
    assert_eq!(server.pids(), pids);
}

#[test]
#[ignore = "needs mariadbd"]
fn a_stopped_server_is_killed_only_as_permitted() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    server.load();
    server.signal(Signal::SIGSTOP);
    let failure = server.stop(Duration::from_secs(1), false).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.seen.contains("state T") && failure.next.contains("kill -KILL"), "{failure}");
    assert_eq!(server.pids().len(), 1);

    let begun = Instant::now();
    let applied = server.stop(LONG, true).unwrap();
    assert_eq!(applied.note.as_deref(), Some("killed"));
    assert!(server.pids().is_empty() && begun.elapsed() < Duration::from_secs(10));
    assert!(server.start(LONG).unwrap().note.is_some_and(|note| note.starts_with("crash recovery")));
}

#[test]
#[ignore = "needs mariadbd"]
fn a_garbage_data_directory_fails_with_the_servers_words() {
    let server = Server::new();
    fs::create_dir_all(server.datadir().join("mysql")).unwrap();
    fs::write(server.datadir().join("ibdata1"), vec![0x5a; 3 << 20]).unwrap();
    let failure = server.start(LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.seen.contains("ib_logfile0 was not found"), "{failure}");
    assert!(failure.next.contains("tail -n 50"), "{failure}");
}

#[test]
fn a_missing_or_empty_data_directory_is_refused() {
    let server = Server::new();
    let failure = server.start(LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.seen.contains("can't be read") && failure.next.contains("findmnt"), "{failure}");
    fs::create_dir_all(server.datadir().join("lost+found")).unwrap();
    assert!(server.start(LONG).unwrap_err().seen.contains("is empty"));
}

#[test]
#[ignore = "needs mariadbd"]
fn a_wrong_option_fails_at_once() {
    let server = Server::installed();
    fs::write(server.error_log(), "").unwrap();
    let MysqldControl::Command(mut command) = server.control() else { unreachable!() };
    command.push("--no-such-option=1".into());
    let begun = Instant::now();
    let failure = server.start_as(&MysqldControl::Command(command), LONG).unwrap_err();
    assert!(failure.seen.contains("no-such-option") && begun.elapsed() < LONG, "{failure}");
}

#[test]
#[ignore = "needs mariadbd and root"]
fn a_server_under_the_mount_point_is_refused_and_left_alone() {
    own_mounts();
    let server = Server::installed();
    server.start(LONG).unwrap();
    let pids = server.pids();
    mount(Some("tmpfs"), &server.datadir(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();

    let failure = server.start(LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.seen.contains("on another file system"), "{failure}");
    let applied = server.stop(LONG, true).unwrap();
    assert_eq!(applied.change, Change::AlreadySo);
    assert!(applied.warning.unwrap().contains("left alone"));
    assert_eq!(server.pids(), pids);
}

#[test]
#[ignore = "needs mariadbd"]
fn a_data_directory_behind_a_link_is_the_same() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    let link = server.directory.path().join("link");
    std::os::unix::fs::symlink(server.datadir(), &link).unwrap();
    let attempt = server.attempt(LONG);
    let applied = mysqld::start(&server.control(), &link, &server.socket(), None, &attempt).unwrap();
    assert_eq!(applied.change, Change::AlreadySo);
    assert_eq!(mysqld::stop(&server.control(), &link, None, false, &attempt).unwrap().change, Change::Done);
    assert!(server.pids().is_empty());
}

#[test]
#[ignore = "needs mariadbd"]
fn an_interrupted_stop_kills_nothing() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    server.signal(Signal::SIGSTOP);
    let attempt = server.attempt(LONG);
    attempt.cancel();
    let failure = mysqld::stop(&server.control(), &server.datadir(), None, true, &attempt).unwrap_err();
    assert!(failure.seen.contains("interrupted"), "{failure}");
    assert_eq!(server.pids().len(), 1);
    // The shutdown that was asked for comes all the same.
    server.signal(Signal::SIGCONT);
    assert_eq!(server.stop(LONG, false).unwrap().note, None);
    assert!(server.pids().is_empty());
}

#[test]
#[ignore = "needs mariadbd"]
fn a_slow_recovery_outlives_its_limit_while_it_moves() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    server.crash_with_load();
    let limit = Duration::from_secs(2);
    let begun = Instant::now();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A small part of its speed, so that it surely needs longer than the limit.
            server.wait_until("a server process", || !server.pids().is_empty());
            while !ended.load(Ordering::Relaxed) && begun.elapsed() < LONG {
                server.signal(Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(200));
                server.signal(Signal::SIGCONT);
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        let result = server.start(limit);
        ended.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    assert!(begun.elapsed() > limit, "{:?}", begun.elapsed());
}

#[test]
#[ignore = "needs mariadbd"]
fn mysqld_safe_does_not_bring_a_killed_server_back() {
    let server = Server::installed();
    let MysqldControl::Command(command) = server.control() else { unreachable!() };
    // Where tests/setup puts it: the package that holds it would start a server of its own.
    let mut safe = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/mariadbd-safe").to_owned()];
    safe.extend(command.into_iter().skip(1));
    server.start_as(&MysqldControl::Command(safe), LONG).unwrap();
    server.signal(Signal::SIGSTOP);
    assert_eq!(server.stop(LONG, true).unwrap().note.as_deref(), Some("killed"));
    assert!(server.pids().is_empty());
    let path = server.directory.path().to_str().unwrap();
    let is_ours = |process: &processes::Process| {
        fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).is_ok_and(|line| line.contains(path))
    };
    assert!(!processes::named(processes::is_mysqld_safe).unwrap().iter().any(is_ours));
}

#[test]
#[ignore = "needs mariadbd"]
fn verify_through_tcp() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    let credentials = server.directory.path().join("credentials.cnf");
    let write = |text: &str| {
        fs::write(&credentials, text).unwrap();
        fs::set_permissions(&credentials, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("[client]\nuser=checker\npassword='se cret'\n");
    server.connect().query_drop("CREATE USER checker@'127.0.0.1' IDENTIFIED BY 'se cret'").unwrap();
    let verify = |read_only, credentials: Option<&Path>| {
        mysqld::verify(Ipv4Addr::LOCALHOST, server.port, read_only, credentials, &server.attempt(LONG))
    };
    let applied = verify(false, Some(&credentials)).unwrap();
    assert_eq!((applied.note.as_deref(), applied.warning), (Some("read_only=0"), None));
    assert!(verify(true, Some(&credentials)).unwrap_err().seen.contains("read_only is 0"));
    assert!(verify(false, None).unwrap().warning.unwrap().contains("no credentials"));
    write("[client]\nuser=checker\npassword=wrong\n");
    let warning = verify(false, Some(&credentials)).unwrap().warning.unwrap();
    assert!(warning.contains("denies the account") && !warning.contains("wrong"), "{warning}");
}

#[test]
#[ignore = "needs mariadbd"]
fn the_offline_audit_agrees_with_the_server() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    let mut connection = server.connect();
    for statement in [
        "CREATE DATABASE app",
        "CREATE TABLE app.i (id INT PRIMARY KEY) ENGINE=InnoDB",
        "CREATE TABLE app.ip (id INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH(id) PARTITIONS 3",
        "CREATE TABLE app.m (id INT) ENGINE=MyISAM",
        "CREATE TABLE app.mp (id INT) ENGINE=MyISAM PARTITION BY HASH(id) PARTITIONS 2",
        "INSERT INTO app.m VALUES (1)",
        "CREATE TABLE app.a (id INT) ENGINE=Aria",
        "CREATE TABLE app.c (id INT NOT NULL) ENGINE=CSV",
        "CREATE VIEW app.v AS SELECT * FROM app.m",
        "SET GLOBAL innodb_file_per_table = 0",
        "CREATE TABLE app.shared (id INT PRIMARY KEY) ENGINE=InnoDB",
    ] {
        connection.query_drop(statement).unwrap();
    }
    let rows: Vec<(String, u64)> = connection
        .query(
            "SELECT engine, COUNT(*) FROM information_schema.tables \
             WHERE table_schema = 'app' AND table_type = 'BASE TABLE' GROUP BY engine",
        )
        .unwrap();
    drop(connection);
    server.stop(LONG, false).unwrap();
    let totals = offline::scan(&server.datadir()).unwrap();
    for (engine, tables) in rows {
        let engine = [Engine::InnoDB, Engine::MyISAM, Engine::Aria, Engine::Csv]
            .into_iter()
            .find(|known| known.to_string() == engine)
            .unwrap();
        assert_eq!(totals.user[&engine].tables, tables, "{engine}");
    }
    assert_eq!(totals.user_tables_in_system_tablespace, 1);
    assert_eq!(totals.user[&Engine::MyISAM].empty_tables, 1);
}
