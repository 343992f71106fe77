//! Every parser of bytes that other programs wrote, under a name each: for coverage-guided fuzzing (`fuzz/`) and for the
//! test that runs its seeds.

use std::path::Path;

use crate::config::{self, Host};
use crate::foreign::option_file::{Files, Options, Server, Startup, Unread};
use crate::foreign::{corosync, drbd_conf, fstab, heartbeat, keepalived, unit_file};
use crate::journal::{self, Entry};
use crate::node::mysqld::{error_log, parse_greeting};
use crate::node::{drbd, filesystem};

/// A parser and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. A target returns, or it has found a mistake.
pub const TARGETS: [Target; 18] = [
    ("authkeys", |bytes| {
        let keys = heartbeat::authkeys(&text(bytes), FILE.as_ref());
        let _ = keys.signing_method();
    }),
    ("config", |bytes| {
        let host = Host::fixed("node1");
        match config::parse(&text(bytes), Path::new("/etc/standin/r0.yaml"), &host) {
            Ok(config) => drop(format!("{config:?}")),
            Err(errors) => drop(errors.to_string()),
        }
    }),
    ("corosync", |bytes| {
        if let Ok(file) = corosync::parse(&text(bytes), FILE.as_ref()) {
            let _ = (file.nodes(), file.token(), file.two_node());
        }
    }),
    ("drbd_dump", |bytes| drop(drbd_conf::parse_dump(&text(bytes)))),
    ("drbd_proc", |bytes| drop(drbd::parse_proc_drbd(&text(bytes)))),
    ("drbd_show", |bytes| {
        drop(drbd_conf::parse_show(&text(bytes), "r0"));
        drop(drbd::parse_show_84(&text(bytes), "r0"));
    }),
    ("drbd_status", |bytes| drop(drbd::parse_status_json(&text(bytes), "r0"))),
    ("error_log", |bytes| {
        text(bytes).lines().filter_map(error_log::parse_line).for_each(|event| drop(event.to_string()));
    }),
    ("fstab", |bytes| {
        fstab::parse(&text(bytes)).iter().for_each(|entry| drop(fstab::escape(&entry.directory)))
    }),
    ("greeting", |bytes| drop(parse_greeting(bytes))),
    ("ha_cf", |bytes| {
        let file = heartbeat::ha_cf(&text(bytes), FILE.as_ref());
        for directive in &file.directives {
            let _ = (file.time(&directive.name), file.switch(&directive.name));
        }
        let _ = (file.nodes(), file.unicasts(), file.ping_addresses());
    }),
    ("haresources", |bytes| {
        let file = heartbeat::haresources(&text(bytes), FILE.as_ref());
        file.groups.iter().flat_map(|group| &group.resources).for_each(|resource| drop(resource.address()));
    }),
    ("journal", |bytes| {
        let entries: Vec<Entry> =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let _ = (journal::runs(&entries), journal::past(&entries, "boot"));
    }),
    ("keepalived", |bytes| {
        if let Ok(file) = keepalived::parse(&text(bytes), FILE.as_ref()) {
            keepalived::vrrp_instances(&file);
        }
    }),
    ("mountinfo", |bytes| {
        if let Ok(table) = filesystem::parse_table(bytes) {
            let directory = Path::new("/var/lib/mysql");
            let _ = (filesystem::visible_at(&table, directory), filesystem::mount_of(&table, directory));
        }
    }),
    ("option_file", option_file),
    ("startup", |bytes| {
        let command: Vec<String> = text(bytes).split_whitespace().map(str::to_owned).collect();
        let startup = Startup::of(Server::MariaDb(Some((10, 11))), &command);
        let _ = Options::of(&startup, &Same("[mysqld]\nport=1\n")).get(&startup.groups, "port");
    }),
    ("unit_file", |bytes| {
        let text = text(bytes);
        // A drop-in begins where a NUL stands.
        unit_file::exec_start(text.split('\0'));
    }),
];

const FILE: &str = "/file";

/// Whoever reads these texts from a disk or a process replaces what is not UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every path is a file with the same text, and a directory with two files in it: includes lead back to it.
struct Same<'a>(&'a str);

impl Files for Same<'_> {
    fn read(&self, file: &Path) -> Result<String, Unread> {
        match file.to_string_lossy().len() % 3 {
            0 => Err(Unread::Absent),
            _ => Ok(self.0.to_owned()),
        }
    }

    fn names(&self, _: &Path) -> Result<Vec<String>, String> {
        Ok(vec!["b.cnf".to_owned(), "a.cnf".to_owned(), "c.txt".to_owned()])
    }
}

fn option_file(bytes: &[u8]) {
    let text = text(bytes);
    let options = Options::load(&[FILE.into()], &Same(&text));
    let groups: Vec<String> = options.groups.iter().map(|(group, _)| group.clone()).take(3).collect();
    for setting in options.settings.iter().take(20) {
        if let Some(found) = options.get(&groups, &setting.name) {
            let _ = (found.boolean(), found.size(), found.shown_place());
        }
    }
    options.problems.iter().for_each(|problem| drop(problem.to_string()));
}
