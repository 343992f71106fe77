//! What a real server tells of its backlog, against what its crash recovery then finds.

use std::net::Ipv4Addr;

use mysql::prelude::Queryable;
use standin::forecast::Backlog;
use standin::node::mysqld;

use crate::server::{LONG, Server, write_account};

fn backlog(server: &Server, user: Option<&str>) -> Backlog {
    let file = user.map(|user| write_account(server, user));
    mysqld::backlog(&server.config(file), Ipv4Addr::LOCALHOST, LONG).unwrap()
}

#[test]
#[ignore = "needs mariadbd"]
fn the_backlog_is_what_recovery_then_finds() {
    let server = Server::installed();
    assert_eq!(server.start(LONG).unwrap().recovery, None);
    // No privilege at all.
    server.connect().query_drop("CREATE USER checker@localhost IDENTIFIED BY 'secret'").unwrap();
    server.load();
    let told = backlog(&server, Some("checker"));
    let files = backlog(&server, None);
    server.crash();
    let recovery = server.start(LONG).unwrap().recovery.unwrap();

    assert_eq!(told.only_files_because, None);
    assert!(told.redo_bytes > 20 << 20 && told.dirty_pages.unwrap() > 1000, "{told:?}");
    // The page cleaner went on between the two.
    let close = |told: u64, found: u64| found <= told + (1 << 20) && found > told / 2;
    assert!(close(told.redo_bytes, recovery.redo_bytes), "{told:?}, {recovery:?}");
    assert!(recovery.pages.is_some_and(|pages| pages > 1000) && recovery.milliseconds > 0, "{recovery:?}");

    assert_eq!(files.redo_bytes, 96 << 20, "the size of ib_logfile0 is the bound");
    assert_eq!(files.dirty_pages, None);
    assert_eq!(files.only_files_because.as_deref(), Some("no credentials are configured"));
}

#[test]
#[ignore = "needs mariadbd"]
fn a_server_that_does_not_tell_has_its_files_looked_at() {
    let server = Server::installed();
    let cause = |user| backlog(&server, Some(user)).only_files_because.unwrap();
    assert!(cause("nobody").starts_with("the server can't be asked: "));
    server.start(LONG).unwrap();
    assert!(cause("nobody").starts_with("the server denies the account in "));
}
