//! Writing the dirty pages of a real server before its shutdown.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use mysql::prelude::Queryable;
use standin::node::Change;
use standin::node::mysqld::dirty_pages;
use standin::plan::ServerAccess;

use crate::server::{LONG, Server};

fn access(server: &Server, user: &str) -> ServerAccess {
    let credentials = server.directory.path().join(format!("{user}.cnf"));
    fs::write(&credentials, format!("[client]\nuser={user}\n")).unwrap();
    fs::set_permissions(&credentials, Permissions::from_mode(0o600)).unwrap();
    ServerAccess { socket: server.socket(), vip: Ipv4Addr::LOCALHOST, port: server.port, credentials }
}

fn number(server: &Server, question: &str) -> f64 {
    server.connect().query_first(question).unwrap().unwrap()
}

fn limits(server: &Server) -> (f64, f64) {
    let of = |name: &str| number(server, &format!("SELECT @@GLOBAL.{name}"));
    (of("innodb_max_dirty_pages_pct"), of("innodb_max_dirty_pages_pct_lwm"))
}

#[test]
#[ignore = "needs mariadbd"]
fn dirty_pages_are_written_and_the_limits_set_again() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    let mut connection = server.connect();
    connection.query_drop("SET GLOBAL innodb_io_capacity = 2000").unwrap();
    connection.query_drop("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 50").unwrap();
    server.load();
    let dirty = || {
        let row: Option<(String, u64)> =
            server.connect().query_first("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").unwrap();
        row.unwrap().1
    };
    let before = dirty();
    assert!(before > 300, "only {before} dirty pages");
    let root = access(&server, "root");
    let was = dirty_pages::limits(&root, LONG).unwrap();
    assert_eq!((was.max.as_str(), was.low_water_mark.as_str()), ("99", "50"));

    let applied = dirty_pages::flush(&root, &server.attempt(LONG)).unwrap();
    assert!(applied.change == Change::Done && applied.warning.is_none(), "{applied:?}");
    assert!(dirty() < before / 4, "{} of {before} are left: {applied:?}", dirty());
    assert_eq!(limits(&server), (0.0, 0.0), "the server lowers the low water mark, too");

    dirty_pages::restore(&root, &was, &server.attempt(LONG)).unwrap();
    assert_eq!(limits(&server), (99.0, 50.0));

    // Interrupted, and out of time.
    server.load();
    let attempt = server.attempt(LONG);
    attempt.cancel();
    assert!(dirty_pages::flush(&root, &attempt).is_err());
    server.load();
    let late = dirty_pages::flush(&root, &server.attempt(Duration::ZERO)).unwrap();
    assert!(late.warning.unwrap().contains("innodb_io_capacity"));

    // The privilege is missing: a warning, and nothing was set.
    dirty_pages::restore(&root, &was, &server.attempt(LONG)).unwrap();
    connection.query_drop("CREATE USER plain@localhost").unwrap();
    let plain = access(&server, "plain");
    let applied = dirty_pages::flush(&plain, &server.attempt(LONG)).unwrap();
    assert_eq!(applied.change, Change::AlreadySo);
    assert!(applied.warning.unwrap().contains("SUPER in MariaDB"));
    assert_eq!(limits(&server), (99.0, 50.0));

    assert!(dirty_pages::limits(&access(&server, "nobody-at-all"), LONG).is_err());
    server.crash();
    assert!(dirty_pages::flush(&root, &server.attempt(LONG)).unwrap_err().seen.contains("does not do"));
}
