//! Every parser of bytes that other programs wrote, under a name each: for coverage-guided fuzzing (`fuzz/`) and for the
//! test that runs its seeds.

use std::cell::Cell;
use std::path::Path;

use crate::audit::{filename, headers};
use crate::config::{self, Host};
use crate::foreign::option_file::{Files, Options, Server, Startup, Unread};
use crate::foreign::{
    apparmor, cib, corosync, drbd_conf, fstab, heartbeat, keepalived, static_address, unit_file,
    vrrp_notification,
};
use crate::frontends::agent::http::request;
use crate::frontends::agent::peer_status;
use crate::journal::{self, Entry};
use crate::node::mysqld::{error_log, parse_greeting};
use crate::node::{drbd, filesystem, pacemaker};

/// A parser and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. A target returns, or it has found a mistake.
pub const TARGETS: [Target; 30] = [
    ("agent_status", |bytes| seen(peer_status::parse(bytes))),
    ("apparmor", |bytes| {
        let text = text(bytes);
        seen(apparmor::mode_of(&text, &["mariadbd"]));
        for (pattern, _) in apparmor::file_rules(&text).iter().take(20) {
            seen(apparmor::matches(pattern, "/var/lib/mysql/ibdata1"));
        }
    }),
    ("authkeys", |bytes| {
        let keys = heartbeat::authkeys(&text(bytes), FILE.as_ref());
        seen(keys.signing_method());
    }),
    ("cib", |bytes| seen(cib::parse(&text(bytes)))),
    ("config", |bytes| {
        let host = Host::fixed("node1");
        match config::parse(&text(bytes), Path::new("/etc/standin/r0.yaml"), &host) {
            Ok(config) => seen(format!("{config:?}")),
            Err(errors) => seen(errors.to_string()),
        }
    }),
    ("corosync", |bytes| {
        if let Ok(file) = corosync::parse(&text(bytes), FILE.as_ref()) {
            seen((file.nodes(), file.token(), file.two_node()));
        }
    }),
    ("drbd_dump", |bytes| seen(drbd_conf::parse_dump(&text(bytes)))),
    ("drbd_proc", |bytes| seen(drbd::parse_proc_drbd(&text(bytes)))),
    ("drbd_show", |bytes| {
        seen(drbd_conf::parse_show(&text(bytes), "r0"));
        seen(drbd::parse_show_84(&text(bytes), "r0"));
    }),
    ("drbd_status", |bytes| seen(drbd::parse_status_json(&text(bytes), "r0"))),
    ("error_log", |bytes| {
        text(bytes).lines().filter_map(error_log::parse_line).for_each(|event| seen(event.to_string()));
    }),
    ("file_name", |bytes| {
        seen(filename::decode(bytes));
        if let Ok(name) = filename::parse(bytes)
            && let Some(encoded) = filename::encode(&name)
        {
            assert_eq!(filename::parse(encoded.as_bytes()), Ok(name));
        }
    }),
    ("frm", |bytes| {
        seen(headers::frm::parse(bytes));
        seen(headers::frm::is_sequence(bytes));
    }),
    ("fstab", |bytes| {
        fstab::parse(&text(bytes)).iter().for_each(|entry| seen(fstab::escape(&entry.directory)))
    }),
    ("greeting", |bytes| seen(parse_greeting(bytes))),
    ("ha_cf", |bytes| {
        let file = heartbeat::ha_cf(&text(bytes), FILE.as_ref());
        for directive in &file.directives {
            seen((file.time(&directive.name), file.switch(&directive.name)));
        }
        seen((file.nodes(), file.unicasts(), file.ping_addresses()));
    }),
    ("haresources", |bytes| {
        let file = heartbeat::haresources(&text(bytes), FILE.as_ref());
        file.groups.iter().flat_map(|group| &group.resources).for_each(|resource| seen(resource.address()));
    }),
    ("http_request", |bytes| seen(request::head(bytes))),
    ("journal", |bytes| {
        let entries: Vec<Entry> =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        seen((journal::runs(&entries), journal::past(&entries, "boot")));
    }),
    ("keepalived", |bytes| {
        if let Ok(file) = keepalived::parse(&text(bytes), FILE.as_ref()) {
            keepalived::vrrp_instances(&file);
        }
    }),
    ("maria_index", |bytes| {
        seen(headers::aria::header_length(bytes));
        seen(headers::aria::parse(bytes));
    }),
    ("mountinfo", |bytes| {
        if let Ok(table) = filesystem::parse_table(bytes) {
            let directory = Path::new("/var/lib/mysql");
            seen((filesystem::visible_at(&table, directory), filesystem::mount_of(&table, directory)));
        }
    }),
    ("myisam_index", |bytes| seen(headers::myisam::parse(bytes))),
    ("option_file", option_file),
    ("sdi", |bytes| seen(headers::sdi::parse(bytes))),
    ("static_address", |bytes| {
        let text = text(bytes);
        for file in ["/etc/network/interfaces", "/etc/netplan/a.yaml"] {
            seen(static_address::mentions(&text, file.as_ref(), [10, 0, 0, 1].into()));
        }
    }),
    ("startup", |bytes| {
        let command: Vec<String> = text(bytes).split_whitespace().map(str::to_owned).collect();
        let startup = Startup::of(Server::MariaDb(Some((10, 11))), &command);
        seen(Options::of(&startup, &Same::new("[mysqld]\nport=1\n")).get(&startup.groups, "port"));
    }),
    ("unit_file", |bytes| {
        let text = text(bytes);
        // A drop-in begins where a NUL stands.
        if let Some(command) = unit_file::exec_start(text.split('\0')) {
            seen(unit_file::without_shell(command, |word| word.ends_with('d')));
        }
        seen(unit_file::settings(text.split('\0')));
    }),
    ("unix_sockets", |bytes| seen(pacemaker::listening_inode(&text(bytes)))),
    ("vrrp_notification", |bytes| {
        text(bytes).lines().for_each(|line| seen(vrrp_notification::state_in_line(line)));
    }),
];

const FILE: &str = "/file";

/// Keeps the compiler from leaving out what nobody uses.
fn seen<T>(value: T) {
    std::hint::black_box(value);
}

/// Whoever reads these texts from a disk or a process replaces what is not UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every path is a file with the same text, and a directory with two files in it: includes lead back to it. After so many
/// files there are no more, because thousands of readings of one text teach the fuzzer nothing.
struct Same<'a> {
    text: &'a str,
    left: Cell<usize>,
}

impl<'a> Same<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, left: Cell::new(30) }
    }
}

impl Files for Same<'_> {
    fn read(&self, file: &Path) -> Result<String, Unread> {
        if file.to_string_lossy().len().is_multiple_of(3) || self.left.get() == 0 {
            return Err(Unread::Absent);
        }
        self.left.set(self.left.get() - 1);
        Ok(self.text.to_owned())
    }

    fn names(&self, _: &Path) -> Result<Vec<String>, String> {
        Ok(vec!["b.cnf".to_owned(), "a.cnf".to_owned(), "c.txt".to_owned()])
    }
}

fn option_file(bytes: &[u8]) {
    let text = text(bytes);
    let options = Options::load(&[FILE.into()], &Same::new(&text));
    let groups: Vec<String> = options.groups.iter().map(|(group, _)| group.clone()).take(3).collect();
    for setting in options.settings.iter().take(20) {
        if let Some(found) = options.get(&groups, &setting.name) {
            seen((found.boolean(), found.size(), found.shown_place()));
        }
    }
    options.problems.iter().for_each(|problem| seen(problem.to_string()));
}
