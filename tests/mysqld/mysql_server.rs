//! What a real MySQL tells of its backlog and of its crash recovery.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use mysql::prelude::Queryable;
use standin::node::{Attempt, Progress, mysqld};
use standin::plan::MysqldControl;

use crate::server::{LONG, Server, write_account};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/mysql");

struct Quiet;

impl Progress for Quiet {
    fn report(&self, _: &str) {}
}

fn command(server: &Server) -> Vec<String> {
    // It comes with a loader and libraries of its own; the process must have the server's name, not the loader's.
    let loader = server.directory.path().join("mysqld");
    if !loader.exists() {
        symlink(format!("{ROOT}/usr/lib64/ld-linux-x86-64.so.2"), &loader).unwrap();
    }
    let mut command = vec![loader.display().to_string(), "--library-path".to_owned()];
    command.extend([
        format!("{ROOT}/usr/lib/x86_64-linux-gnu"),
        format!("{ROOT}/usr/sbin/mysqld"),
        "--no-defaults".to_owned(),
        format!("--lc-messages-dir={ROOT}/usr/share/mysql"),
        format!("--character-sets-dir={ROOT}/usr/share/mysql/charsets"),
    ]);
    command.extend(server.user().map(str::to_owned));
    command.extend([
        format!("--datadir={}", server.datadir().display()),
        format!("--tmpdir={}", server.directory.path().display()),
        format!("--socket={}", server.socket().display()),
        format!("--log-error={}", server.error_log().display()),
        format!("--pid-file={}/pid", server.directory.path().display()),
        format!("--port={}", server.port),
    ]);
    let options = [
        "--bind-address=127.0.0.1",
        "--mysqlx=OFF",
        "--secure-file-priv=",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=64M",
        "--innodb-redo-log-capacity=96M",
        // Without it a recovery is not told.
        "--log-error-verbosity=3",
    ];
    command.extend(options.map(str::to_owned));
    command
}

#[test]
#[ignore = "needs the MySQL that tests/setup fetches"]
fn mysql_tells_its_backlog_and_its_recovery() {
    let server = Server::new();
    let control = command(&server);
    let mut installing = control.clone();
    // Into a log of its own, so that what is followed begins with the start.
    installing.retain(|argument| !argument.starts_with("--log-error="));
    let output = Command::new(&installing[0])
        .args(&installing[1..])
        .arg("--initialize-insecure")
        .output()
        .expect("tests/setup was not run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let start = || {
        let (control, log): (_, PathBuf) = (MysqldControl::Command(control.clone()), server.error_log());
        let attempt = Attempt::new(LONG, Box::new(Quiet));
        mysqld::start(&control, &server.datadir(), &server.socket(), Some(Path::new(&log)), &attempt)
    };
    assert_eq!(start().unwrap().recovery, None);
    let mut connection = server.connect();
    for statement in [
        // In the clear over the socket.
        "CREATE USER checker@localhost IDENTIFIED BY 'secret'",
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id SERIAL, a VARCHAR(500))",
        "SET cte_max_recursion_depth = 100000, GLOBAL innodb_max_dirty_pages_pct = 99, GLOBAL innodb_max_dirty_pages_pct_lwm = 0",
        "INSERT INTO app.t (a) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 60000) \
         SELECT REPEAT('x', 400) FROM n",
    ] {
        connection.query_drop(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let account = write_account(&server, "checker");
    let told = mysqld::backlog(&server.config(Some(account)), Ipv4Addr::LOCALHOST, LONG).unwrap();
    let files = mysqld::backlog(&server.config(None), Ipv4Addr::LOCALHOST, LONG).unwrap();
    server.crash();
    let recovery = start().unwrap().recovery.unwrap();

    assert_eq!(told.only_files_because, None);
    assert!(told.redo_bytes > 10 << 20 && told.dirty_pages.unwrap() > 500, "{told:?}");
    assert!(files.redo_bytes >= told.redo_bytes && files.redo_bytes <= 96 << 20, "{told:?}, {files:?}");
    assert!(
        recovery.redo_bytes <= told.redo_bytes + (1 << 20) && recovery.redo_bytes > told.redo_bytes / 2,
        "{told:?}, {recovery:?}"
    );
    assert_eq!(recovery.pages, None);
    assert!(recovery.milliseconds > 0);
}
