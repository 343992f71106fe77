//! The text of the configuration: every key, each value with where it comes from, defaults commented out.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::manager::word;
use super::{Chosen, Draft};
use crate::config::{AGENT_PORT, AgentConfig, AutomaticTakeover, Limits};

/// Where a comment beside a value begins, when the value leaves room.
const COMMENT_COLUMN: usize = 44;

/// The whole file.
pub fn render(draft: &Draft) -> String {
    let mut text = Text::default();
    let [one, two] = &draft.nodes;
    text.comment(0, &format!("Cluster {} for standin. The same file belongs on both nodes,", draft.cluster));
    text.comment(0, &format!("{} and {}.", one.name.value, two.name.value));
    text.comment(
        0,
        &format!("Written by `standin init` on {}; beside each value stands where it", draft.host),
    );
    text.comment(0, "was found. A key behind a # has its default. Durations are as in 500ms, 30s, 1m 30s.");
    nodes(&mut text, draft);
    vip(&mut text, draft);
    text.section("drbd", "");
    text.value(1, "resource", scalar(&draft.resource.value), &draft.resource.from);
    mount(&mut text, draft);
    mysqld(&mut text, draft);
    decisions(&mut text, draft);
    limits(&mut text, &Limits::default());
    text.section("audit", "");
    text.comment(1, "A takeover is refused when more than this share of the data is MyISAM, in percent.");
    text.unset(1, "refuse_myisam_above_percent", "50", "by bytes or by tables; 0 to 100");
    agent(&mut text, draft);
    text.0
}

/// A peer that has a link of its own to this node can be asked there what its agent says.
fn agent(text: &mut Text, draft: &Draft) {
    let default = AgentConfig::default_for(draft.cluster_manager.value);
    text.section("agent", "what `standin agent` looks at, and may do by itself");
    let takeover = match default.takeover {
        AutomaticTakeover::WithClusterManager => "with-cluster-manager",
        _ => "never",
    };
    text.comment(
        1,
        "Who makes a standby active: never (a person), with-cluster-manager, or automatic (the agent).",
    );
    text.unset(1, "takeover", takeover, "automatic is not for Pacemaker and keepalived");
    let duration = |time: Duration| humantime::format_duration(time).to_string().replace(' ', "");
    text.unset(1, "interval", duration(default.interval), "between two looks");
    text.unset(1, "failures", default.failures, "looks that found something wrong,");
    text.unset(1, "of", default.of, "of so many, make the active node give up");
    text.unset(1, "mysqld_limit", duration(default.mysqld_limit), "a server silent for this long has failed");
    text.unset(1, "write_limit", duration(default.write_limit), "so has a write that does not come back");
    text.unset(1, "silence", "1500ms", "of the peer, which counts as its death");
    text.unset(1, "release_limit", duration(default.release_limit), "a release that takes longer is stuck");
    text.unset(1, "self_fence", default.self_fence, "reset this machine when it can't give up");
    let addresses: Vec<String> = draft
        .nodes
        .iter()
        .filter_map(|node| Some(format!("\"{}:{AGENT_PORT}\"", node.replication_address.as_ref()?.value)))
        .collect();
    let local = format!("\"127.0.0.1:{AGENT_PORT}\"");
    if addresses.is_empty() {
        text.unset(1, "listen", format!("[{local}]"), "the endpoints");
    } else {
        let all = format!("[{local}, {}]", addresses.join(", "));
        text.value(1, "listen", all, "so that the agents see each other's pause");
    }
    text.unset(
        1,
        "recovery_budget",
        duration(default.recovery_budget),
        "a longer crash recovery is warned of",
    );
    text.unset(1, "settle", duration(default.settle), "no giving up for so long after a takeover");
}

fn nodes(text: &mut Text, draft: &Draft) {
    text.section("nodes", "names as `uname -n` prints them");
    for node in &draft.nodes {
        text.line(1, &format!("{}:", scalar(&node.name.value)), &node.name.from);
        text.value(2, "address", node.address.value, &node.address.from);
        match &node.replication_address {
            Some(address) => text.value(2, "replication_address", address.value, &address.from),
            None => text.unset(2, "replication_address", node.address.value, "one network for both"),
        }
    }
}

fn vip(text: &mut Text, draft: &Draft) {
    text.section("vip", "the virtual IP, which the clients use");
    text.value(1, "address", draft.vip.value, &draft.vip.from);
    text.value(1, "interface", scalar(&draft.interface.value), &draft.interface.from);
    text.unset(1, "misses", "3", "in a row, of ICMP echo and ARP, that count as gone");
    text.unset(1, "interval", "100ms", "between two probes");
}

fn mount(text: &mut Text, draft: &Draft) {
    text.section("mount", "the data file system");
    text.path(1, "device", &draft.device);
    text.path(1, "directory", &draft.directory);
    text.value(1, "type", scalar(&draft.filesystem.value), &draft.filesystem.from);
    match &draft.options {
        Some(options) => text.value(1, "options", list(&options.value), &options.from),
        None => text.unset(1, "options", "[]", "as in fstab, one per element: [noatime]"),
    }
}

fn mysqld(text: &mut Text, draft: &Draft) {
    text.section("mysqld", "the server");
    text.value(1, "unit", scalar(&draft.unit.value), &draft.unit.from);
    text.comment(
        1,
        "Instead of `unit`, standin can run the server itself: `command`, a list of words such as",
    );
    text.comment(1, "[/usr/sbin/mariadbd, --user=mysql].");
    match &draft.datadir {
        Some(datadir) => text.path(1, "datadir", datadir),
        None => text.unset(1, "datadir", path(&draft.directory.value), "at or below the mount point"),
    }
    text.path(1, "socket", &draft.socket);
    match &draft.port {
        Some(port) => text.value(1, "port", port.value, &port.from),
        None => text.unset(1, "port", "3306", "on the virtual IP"),
    }
    match &draft.error_log {
        Some(log) => text.path(1, "error_log", log),
        None => {
            text.comment(
                1,
                "The server has no log_error; with one, followed here, crash recovery shows its progress.",
            );
            text.unset(1, "error_log", "/var/log/mysql/error.log", "none by default");
        }
    }
    match &draft.credentials {
        Some(file) => text.path(1, "credentials", file),
        None => {
            text.comment(
                1,
                "An option file with [client], user and password, mode 0600: with it a takeover verifies a",
            );
            text.comment(1, "query through the virtual IP, without it only that the server answers.");
            let file = format!("/etc/standin/{}.cnf", draft.cluster);
            text.unset(1, "credentials", scalar(&file), "none by default");
        }
    }
    match &draft.read_only {
        Some(on) => text.value(1, "read_only", on.value, &on.from),
        None => text.unset(1, "read_only", "false", "what read_only must be once active"),
    }
    text.unset(1, "kill_at_deadline", "false", "SIGKILL when a shutdown outlasts limits.stop_mysqld");
}

fn decisions(text: &mut Text, draft: &Draft) {
    text.blank();
    text.comment(
        0,
        "Who decides about failover: none, pacemaker, keepalived, {heartbeat: keep}, {heartbeat: kill} or {heartbeat: stop}.",
    );
    text.value(0, "cluster_manager", word(draft.cluster_manager.value), &draft.cluster_manager.from);
    text.blank();
    text.comment(
        0,
        "A command that makes sure that the peer is off; exit code 0 confirms it. Without one nothing is",
    );
    text.comment(0, "fenced, and what can't be told by looking is refused.");
    text.unset(0, "fence", "[/usr/local/sbin/power-off, \"{peer}\"]", "none by default");
    text.blank();
    text.comment(
        0,
        "Third machines, of which one must answer before a silent peer counts as dead: otherwise it is",
    );
    text.comment(0, "this node that is cut off.");
    let addresses = |chosen: &[Chosen<std::net::Ipv4Addr>]| {
        let addresses: Vec<String> = chosen.iter().map(|address| address.value.to_string()).collect();
        format!("[{}]", addresses.join(", "))
    };
    let from = |chosen: &[Chosen<std::net::Ipv4Addr>]| {
        chosen.iter().map(|address| address.from.as_str()).collect::<Vec<_>>().join("; ")
    };
    let (witnesses, silent) = (&draft.witnesses, &draft.silent_witnesses);
    if !witnesses.is_empty() {
        text.value(0, "witnesses", addresses(witnesses), &from(witnesses));
    } else if !silent.is_empty() {
        let why = format!("{}: did not answer; none by default", from(silent));
        text.unset(0, "witnesses", addresses(silent), &why);
    } else {
        text.unset(0, "witnesses", "[]", "none found: no default route; the router would do");
    }
}

fn limits(text: &mut Text, limits: &Limits) {
    text.section("limits", "how long each step may take");
    let mut limit = |key: &str, value: Duration, what: &str| {
        text.unset(1, key, format!("{}s", value.as_secs()), what);
    };
    limit("wait_vip_gone", limits.wait_vip_gone, "for the virtual IP to drop and the peer to yield");
    limit("stop_cluster_manager", limits.stop_cluster_manager, "taking the cluster manager out of the way");
    limit("fence_peer", limits.fence_peer, "the fence command");
    limit("drbd", limits.drbd, "each DRBD command");
    limit("mount", limits.mount, "with the file system's own recovery");
    limit("audit_engines", limits.audit_engines, "the scan for MyISAM");
    limit("start_mysqld", limits.start_mysqld, "begins again whenever crash recovery moves");
    limit("vip", limits.vip, "adding or removing the virtual IP");
    limit("verify", limits.verify, "the query through the virtual IP");
    limit("stop_mysqld", limits.stop_mysqld, "an orderly shutdown");
    limit("unmount", limits.unmount, "");
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn comment(&mut self, depth: usize, comment: &str) {
        self.0 += &format!("{}# {}\n", "  ".repeat(depth), one_line(comment));
    }

    fn section(&mut self, key: &str, comment: &str) {
        self.blank();
        self.line(0, &format!("{key}:"), comment);
    }

    fn line(&mut self, depth: usize, content: &str, comment: &str) {
        let line = format!("{}{content}", "  ".repeat(depth));
        let comment = one_line(comment);
        self.0 += &match comment.is_empty() {
            true => format!("{line}\n"),
            false => format!("{line:COMMENT_COLUMN$}  # {comment}\n"),
        };
    }

    fn value(&mut self, depth: usize, key: &str, value: impl Display, from: &str) {
        self.line(depth, &format!("{key}: {value}"), from);
    }

    fn path(&mut self, depth: usize, key: &str, value: &Chosen<std::path::PathBuf>) {
        self.value(depth, key, path(&value.value), &value.from);
    }

    fn unset(&mut self, depth: usize, key: &str, value: impl Display, what: &str) {
        self.line(depth, &format!("# {key}: {value}"), what);
    }
}

/// File names in a comment may hold anything, even an end of line.
fn one_line(comment: &str) -> String {
    comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn path(path: &Path) -> String {
    scalar(&path.to_string_lossy())
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| scalar(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Plain where YAML takes it for the same text, otherwise in double quotes. Those are JSON's, but for the characters that
/// YAML does not let stand as they are.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+".contains(c);
    let shaped = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    let is_text =
        || matches!(serde_yaml::from_str(text), Ok(serde_yaml::Value::String(same)) if same == text);
    if shaped && is_text() {
        return text.to_owned();
    }
    let quoted = serde_json::Value::from(text).to_string();
    let escaped = quoted.chars().map(|c| match c {
        ' '..='~' => c.to_string(),
        _ if c.is_alphanumeric() => c.to_string(),
        _ => format!("\\U{:08x}", u32::from(c)),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn yaml_reads_what_was_written(text in "\\PC{0,20}", word in "[a-z0-9#:~{}/ '\"-]{0,6}|yes|no|on|null|1e3|0x1|.inf") {
            for text in [text, word] {
                let yaml = format!("a: {}  # c\nb: [{}]\n", scalar(&text), scalar(&text));
                let value: serde_yaml::Value = serde_yaml::from_str(&yaml).map_err(|error| {
                    TestCaseError::fail(format!("{error}: {yaml}"))
                })?;
                prop_assert_eq!(value["a"].as_str(), Some(text.as_str()));
                prop_assert_eq!(value["b"][0].as_str(), Some(text.as_str()));
            }
        }
    }
}
