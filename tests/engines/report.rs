//! `standin audit --json`, as whoever reads it from outside sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize;

use crate::server::Server;

const CREDENTIALS: &str = "[client]\nuser=auditor\npassword='se cret'\n";

#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) method: String,
    pub(crate) server: Option<String>,
    engines: Vec<EngineLine>,
    pub(crate) innodb_shared_bytes: u64,
    pub(crate) leftovers: Leftovers,
    pub(crate) offenders: Vec<Offender>,
    pub(crate) notes: Vec<String>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Debug, Deserialize)]
struct EngineLine {
    engine: String,
    system: bool,
    crash_safe: bool,
    tables: u64,
    empty_tables: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) tables: u64,
    pub(crate) empty_tables: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Leftovers {
    pub(crate) tables: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Offender {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) engine: String,
    pub(crate) bytes: u64,
    pub(crate) convert: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) refused: bool,
    pub(crate) warning: Option<String>,
    pub(crate) sentence: String,
}

impl Offender {
    pub(crate) fn key(&self) -> (String, String) {
        (self.schema.clone(), self.table.clone())
    }
}

impl Report {
    /// The users' tables, by engine and whether that is crash-safe.
    pub(crate) fn users(&self) -> BTreeMap<(String, bool), Totals> {
        let mut users = BTreeMap::<_, Totals>::new();
        for line in self.engines.iter().filter(|line| !line.system && line.tables > 0) {
            let totals = users.entry((line.engine.clone(), line.crash_safe)).or_default();
            totals.tables += line.tables;
            totals.empty_tables += line.empty_tables;
            totals.bytes += line.bytes;
        }
        users
    }
}

/// Without a server.
pub(crate) fn offline(server: &Server) -> Report {
    let report = parsed(&raw_offline(server));
    assert_eq!((&*report.method, report.engines.is_empty()), ("offline", false));
    report
}

/// From the server, over TCP and with an account that may only look.
pub(crate) fn online(server: &Server) -> Report {
    let report = parsed(&raw_online(server));
    assert_eq!((&*report.method, report.server.is_some()), ("online", true));
    report
}

pub(crate) fn raw_offline(server: &Server) -> Output {
    audit(&["--datadir", path(&server.datadir())])
}

pub(crate) fn raw_online(server: &Server) -> Output {
    let port = server.port().to_string();
    let credentials = server.write("credentials.cnf", CREDENTIALS);
    audit(&["--host", "127.0.0.1", "--port", &port, "--credentials", path(&credentials)])
}

/// With a configuration, whose limit is `percent`: over the socket, or without a server.
pub(crate) fn configured(server: &Server, percent: u8, online: bool) -> Report {
    let credentials = server.write("credentials.cnf", CREDENTIALS);
    let text = format!(
        "nodes:\n  a: {{address: 10.77.0.1, replication_address: 10.77.1.1}}\n  \
         b: {{address: 10.77.0.2, replication_address: 10.77.1.2}}\n\
         vip: {{address: 10.77.0.100/24, interface: vip0}}\ndrbd: {{resource: r0}}\n\
         mount: {{device: /dev/drbd0, directory: {0}, type: ext4}}\n\
         mysqld:\n  unit: mariadb.service\n  datadir: {0}\n  socket: {1}\n  credentials: {2}\n\
         audit: {{refuse_myisam_above_percent: {percent}}}\n",
        server.datadir().display(),
        server.socket().display(),
        credentials.display(),
    );
    let config = server.write("cluster.yaml", &text);
    let datadir = server.datadir();
    let way = if online { vec!["--online"] } else { vec!["--datadir", path(&datadir)] };
    parsed(&audit(&[&["--config", path(&config)], &*way].concat()))
}

fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_standin"))
        .env("STANDIN_HOST", "a")
        .args(["audit", "--json", "--top", "20000"])
        .args(arguments)
        .output()
        .unwrap()
}

fn parsed(output: &Output) -> Report {
    let report: Report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let code = if report.verdict.refused { 3 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{:?}", report.verdict);
    report
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
