//! One function per section of the file: each value is checked by itself here, and against the others in `check`.
//!
//! A wrong optional value falls back to its default, so that the checks that follow can still find what else is wrong:
//! its error keeps the configuration from being used.

use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::host::Host;
use super::reader::{Fault, Node, Section, fault};
use super::{ClusterManager, Limits, MountConfig, MysqldConfig, NodeConfig, VipConfig};
use crate::plan::{HeartbeatStop, MysqldControl};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `nodes`: those that could be read, in the order of the file, and whether there were exactly two names.
pub(super) struct Nodes {
    pub(super) names: Vec<String>,
    pub(super) read: Vec<NodeConfig>,
}

pub(super) fn nodes(root: &Section<'_>) -> Option<Nodes> {
    let node = root.required("nodes", "nodes: {node1: {address: 10.77.0.1}, node2: {address: 10.77.0.2}}")?;
    let section = node.section()?;
    let mut nodes = Nodes { names: Vec::new(), read: Vec::new() };
    let named = section.named();
    if named.len() != 2 {
        let help = "a cluster is two nodes: keep exactly two host names here";
        node.error(format_args!("must have exactly two nodes, not {}", named.len()), help);
    }
    for (name, node) in named {
        nodes.names.push(name.to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            node.error("is not a host name", "use the name that `uname -n` prints on that node");
        }
        let Some(section) = node.section() else { continue };
        let address = section.required("address", "address: 10.77.0.1").and_then(|node| unicast(&node));
        let replication_address =
            section.optional("replication_address").map_or(address, |node| unicast(&node));
        section.finish();
        if let (Some(address), Some(replication_address)) = (address, replication_address) {
            nodes.read.push(NodeConfig { name: name.to_owned(), address, replication_address });
        }
    }
    Some(nodes)
}

pub(super) fn vip(root: &Section<'_>) -> Option<VipConfig> {
    let section = root.required("vip", "vip: {address: 10.77.0.100/24, interface: eth0}")?.section()?;
    let address = section
        .required("address", "address: 10.77.0.100/24")
        .and_then(|node| node.text_as("an IPv4 address and its prefix, as in 10.77.0.100/24", network));
    let interface = section.required("interface", "interface: eth0").and_then(|node| {
        node.text_as("the name of an interface", |name| {
            let shaped = !name.is_empty() && name.len() <= 15;
            if !shaped || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
            {
                return fault(
                    format!("is not the name of an interface: `{}`", name.escape_debug()),
                    "use a name that `ip link` shows, without a colon and an alias number",
                );
            }
            if name == "lo" {
                return fault(
                    "is the loopback interface, which no client can reach",
                    "name the interface that faces the clients",
                );
            }
            Ok(name.to_owned())
        })
    });
    let misses = section.optional("misses").and_then(|node| node.whole(1..=100));
    let interval = section
        .optional("interval")
        .and_then(|node| node.duration(Duration::from_millis(10)..=Duration::from_secs(10)));
    section.finish();
    Some(VipConfig {
        address: address?,
        interface: interface?,
        misses: misses.and_then(|misses| misses.try_into().ok()).unwrap_or(3),
        interval: interval.unwrap_or(Duration::from_millis(100)),
    })
}

pub(super) fn resource(root: &Section<'_>) -> Option<String> {
    let section = root.required("drbd", "drbd: {resource: r0}")?.section()?;
    let resource = section.required("resource", "resource: r0").and_then(|node| {
        node.text_as("the name of a DRBD resource", |name| {
            if name == "all" {
                return fault("is a word that DRBD's tools keep for themselves: `all`", "name one resource");
            }
            name_of("a DRBD resource", "use a name that `drbdadm sh-resources` prints")(name)
        })
    });
    section.finish();
    resource
}

pub(super) fn mount(root: &Section<'_>) -> Option<MountConfig> {
    let example = "mount: {device: /dev/drbd0, directory: /var/lib/mysql, type: ext4}";
    let section = root.required("mount", example)?.section()?;
    let device =
        section.required("device", "device: /dev/drbd0").and_then(|node| node.text_as("a path", absolute));
    let directory = section.required("directory", "directory: /var/lib/mysql").and_then(|node| {
        node.text_as("a path", |text| match absolute(text)? {
            path if path == Path::new("/") => {
                fault("is the root directory", "name the directory that the data is mounted on")
            }
            path => Ok(path),
        })
    });
    let filesystem = section.required("type", "type: ext4").and_then(|node| {
        node.text_as("a file system type", name_of("a file system type", "write ext4, xfs, …"))
    });
    let options = section.optional("options").and_then(|node| mount_options(&node));
    section.finish();
    Some(MountConfig {
        device: device?,
        directory: directory?,
        filesystem: filesystem?,
        options: options.unwrap_or_default(),
    })
}

fn mount_options(node: &Node<'_>) -> Option<Vec<String>> {
    let options = node.words("[noatime]")?;
    for (item, option) in node.items("[noatime]")?.iter().zip(&options) {
        if option.contains(',') {
            let split = option.split(',').collect::<Vec<_>>().join(", ");
            item.error("holds several options", format!("make each an element of the list: `[{split}]`"));
        } else if option == "ro" {
            item.error("would mount the data read-only", "remove `ro`: mysqld has to write");
        } else if ["bind", "rbind", "move", "remount"].contains(&option.as_str()) {
            item.error(format_args!("would not mount the device: `{option}`"), "remove it");
        }
    }
    Some(options)
}

pub(super) fn mysqld(root: &Section<'_>, mount: Option<&MountConfig>, host: &Host) -> Option<MysqldConfig> {
    let example = "mysqld: {unit: mariadb.service, socket: /run/mysqld/mysqld.sock}";
    let section = root.required("mysqld", example)?.section()?;
    let control = control(&section);
    let path = |key| section.optional(key).and_then(|node| node.text_as("a path", absolute));
    let datadir = path("datadir").or_else(|| mount.map(|mount| mount.directory.clone()));
    let socket = section.required("socket", "socket: /run/mysqld/mysqld.sock").and_then(|node| {
        node.text_as("a path", |text| match absolute(text)? {
            // sockaddr_un holds 108 bytes with the terminating NUL.
            path if path.as_os_str().len() > 107 => {
                fault("is longer than the 107 bytes that a Unix socket's path may have", "use a shorter path")
            }
            path => Ok(path),
        })
    });
    let error_log = path("error_log");
    let port = section.optional("port").and_then(|node| node.whole(1..=65535));
    let credentials = section.optional("credentials").and_then(|node| credentials(&node, host));
    let flag = |key| section.optional(key).and_then(|node| node.flag()).unwrap_or(false);
    let (read_only, kill_at_deadline) = (flag("read_only"), flag("kill_at_deadline"));
    section.finish();
    Some(MysqldConfig {
        control: control?,
        datadir: datadir?,
        socket: socket?,
        port: port.and_then(|port| port.try_into().ok()).unwrap_or(3306),
        error_log,
        credentials,
        read_only,
        kill_at_deadline,
    })
}

fn control(section: &Section<'_>) -> Option<MysqldControl> {
    let example = "[/usr/sbin/mariadbd, --user=mysql]";
    match (section.optional("unit"), section.optional("command")) {
        (Some(_), Some(command)) => {
            command.error(
                "and `mysqld.unit` exclude each other",
                "keep `unit` when systemd runs mysqld, `command` when standin is to run it itself",
            );
            None
        }
        (Some(unit), None) => {
            Some(MysqldControl::Unit(unit.text_as("the name of a systemd unit", unit_name)?))
        }
        (None, Some(command)) => {
            let words = command.words(example)?;
            program(&command, &words, example)?;
            let name = Path::new(&words[0]).file_name().map(|name| name.to_string_lossy().into_owned());
            if name.is_some_and(|name| ["safe", "multi"].iter().any(|end| name.ends_with(end))) {
                command.items(example)?[0].error(
                    "starts mysqld again behind our back when it is stopped",
                    "name mysqld or mariadbd itself, with the options that mysqld_safe would give it",
                );
                return None;
            }
            Some(MysqldControl::Command(words))
        }
        (None, None) => {
            section.error(
                &section.path,
                "neither `mysqld.unit` nor `mysqld.command` says how mysqld is started",
                format!("add below `mysqld`: `unit: mariadb.service` or `command: {example}`"),
            );
            None
        }
    }
}

fn credentials(node: &Node<'_>, host: &Host) -> Option<PathBuf> {
    node.text_as("a path", |text| {
        let path = absolute(text)?;
        match host.file_mode(&path) {
            Ok(mode) if mode & 0o077 != 0 => fault(
                format!("can be read by others: {text} has mode {mode:04o}"),
                format!("chmod 0600 {text}, and consider the password known"),
            ),
            Ok(_) => Ok(path),
            Err(error) => fault(
                format!("cannot be used: {text}: {}", reason(&error)),
                "write an option file with a [client] section there, mode 0600, on both nodes",
            ),
        }
    })
}

/// An I/O error without its number.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_lowercase(),
        None => text,
    }
}

pub(super) fn cluster_manager(root: &Section<'_>) -> ClusterManager {
    let Some(node) = root.optional("cluster_manager") else { return ClusterManager::None };
    let all = "none, pacemaker, keepalived, {heartbeat: keep}, {heartbeat: kill} or {heartbeat: stop}";
    let word = |node: &Node<'_>, choices: &[(&str, ClusterManager)], help: &str| {
        node.text_as("text", |word| match choices.iter().find(|(name, _)| *name == word) {
            Some((_, manager)) => Ok(*manager),
            None => fault(format!("is none of the known words: `{}`", word.escape_debug()), help),
        })
    };
    let manager = if node.value.is_mapping() {
        node.section().and_then(|section| {
            let how = section.required("heartbeat", "heartbeat: kill").and_then(|node| {
                let choices = [
                    ("keep", ClusterManager::Heartbeat(None)),
                    ("kill", ClusterManager::Heartbeat(Some(HeartbeatStop::Kill))),
                    ("stop", ClusterManager::Heartbeat(Some(HeartbeatStop::Stop))),
                ];
                word(
                    &node,
                    &choices,
                    "write `keep` (it is left alone), `kill` (SIGKILL, no stop scripts run) or `stop` (an orderly stop of its unit)",
                )
            });
            section.finish();
            how
        })
    } else if node.value.as_str() == Some("heartbeat") {
        node.error(
            "does not say how Heartbeat is taken out of the way, if at all",
            "write {heartbeat: keep} (it is left alone), {heartbeat: kill} (SIGKILL, no stop scripts run) or {heartbeat: stop}",
        );
        None
    } else {
        let choices = [
            ("none", ClusterManager::None),
            ("pacemaker", ClusterManager::Pacemaker),
            ("keepalived", ClusterManager::Keepalived),
        ];
        word(&node, &choices, &format!("write {all}"))
    };
    manager.unwrap_or(ClusterManager::None)
}

pub(super) fn fence(root: &Section<'_>) -> Option<Vec<String>> {
    let example = r#"[/usr/local/sbin/power-off, "{peer}"]"#;
    let node = root.optional("fence")?;
    let words = node.words(example)?;
    program(&node, &words, example)?;
    for (item, word) in node.items(example)?.iter().zip(&words) {
        // fence_ipmilan and its kin take a script instead; argv is readable by everyone on the machine.
        if word == "--password" || word.starts_with("--password=") {
            item.error(
                "is a password, which every user of this machine could read in the process list",
                "use the fence agent's --password-script, or a script of your own that reads a file of mode 0600",
            );
        }
    }
    Some(words)
}

fn program(node: &Node<'_>, words: &[String], example: &str) -> Option<()> {
    match words.first() {
        None => {
            node.error("is empty", format!("name a program and its arguments, as in `{example}`"));
            None
        }
        Some(program) if !program.starts_with('/') => {
            node.items(example)?[0].error(
                format_args!("must be the absolute path of a program, not `{}`", program.escape_debug()),
                format!("write where it is: `command -v -- {}` prints it", program.escape_debug()),
            );
            None
        }
        Some(_) => Some(()),
    }
}

pub(super) fn witnesses(root: &Section<'_>) -> Vec<Ipv4Addr> {
    let items = root.optional("witnesses").and_then(|node| node.items("[10.77.0.254]"));
    items.unwrap_or_default().iter().filter_map(unicast).collect()
}

pub(super) fn limits(root: &Section<'_>) -> Limits {
    let default = Limits::default();
    let Some(section) = root.optional("limits").and_then(|node| node.section()) else { return default };
    let limit = |key, default| {
        let range = Duration::from_millis(1)..=DAY;
        section.optional(key).and_then(|node| node.duration(range)).unwrap_or(default)
    };
    let limits = Limits {
        wait_vip_gone: limit("wait_vip_gone", default.wait_vip_gone),
        stop_cluster_manager: limit("stop_cluster_manager", default.stop_cluster_manager),
        fence_peer: limit("fence_peer", default.fence_peer),
        drbd: limit("drbd", default.drbd),
        mount: limit("mount", default.mount),
        audit_engines: limit("audit_engines", default.audit_engines),
        start_mysqld: limit("start_mysqld", default.start_mysqld),
        vip: limit("vip", default.vip),
        verify: limit("verify", default.verify),
        stop_mysqld: limit("stop_mysqld", default.stop_mysqld),
        unmount: limit("unmount", default.unmount),
    };
    section.finish();
    limits
}

pub(super) fn refuse_myisam_above_percent(root: &Section<'_>) -> u8 {
    let percent = root.optional("audit").and_then(|node| node.section()).and_then(|section| {
        let percent = section.optional("refuse_myisam_above_percent").and_then(|node| node.whole(0..=100));
        section.finish();
        percent
    });
    percent.and_then(|percent| percent.try_into().ok()).unwrap_or(crate::audit::verdict::REFUSE_ABOVE_PERCENT)
}

fn unicast(node: &Node<'_>) -> Option<Ipv4Addr> {
    node.text_as("an IPv4 address", |text| {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return usable(address);
        }
        if is_ipv6(text) {
            return fault(format!("is an IPv6 address: `{text}`"), "use an IPv4 address; standin is IPv4 only");
        }
        if let Some((address, _)) = text.split_once('/')
            && address.parse::<Ipv4Addr>().is_ok()
        {
            return fault(format!("has a prefix length: `{text}`"), format!("write the address alone: {address}"));
        }
        fault(
            format!("is not an IPv4 address: `{}`", text.escape_debug()),
            "write four numbers with dots, as in 10.77.0.1; a host name cannot be resolved while the network is failing",
        )
    })
}

fn usable(address: Ipv4Addr) -> Result<Ipv4Addr, Fault> {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        return fault(
            format!("is no address that one host can have on a network: {address}"),
            "use the node's own address",
        );
    }
    Ok(address)
}

fn is_ipv6(text: &str) -> bool {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    address.parse::<std::net::Ipv6Addr>().is_ok()
}

fn network(text: &str) -> Result<Ipv4Net, Fault> {
    if is_ipv6(text) {
        return fault(format!("is an IPv6 address: `{text}`"), "use an IPv4 address; standin is IPv4 only");
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return fault(
            format!("has no prefix length: {text}"),
            format!("add that of the clients' network, as in {text}/24; `ip address` shows it"),
        );
    }
    let Ok(network) = text.parse::<Ipv4Net>() else {
        return fault(
            format!("is not an IPv4 address with a prefix length: `{}`", text.escape_debug()),
            "write it as in 10.77.0.100/24",
        );
    };
    usable(network.addr())?;
    let special = [network.network(), network.broadcast()].contains(&network.addr());
    if network.prefix_len() < 31 && special {
        return fault(
            format!("is the network's own or its broadcast address: {text}"),
            "choose an address of a host in that network",
        );
    }
    if network.prefix_len() == 0 {
        return fault("has the prefix length 0", "use the prefix length of the clients' network, as in /24");
    }
    Ok(network)
}

/// An absolute path without `..`, which the comparison of paths could not see through.
fn absolute(text: &str) -> Result<PathBuf, Fault> {
    let path = Path::new(text);
    if !path.is_absolute() {
        let seen = text.escape_debug();
        return fault(format!("must be an absolute path, not `{seen}`"), "begin it with /");
    }
    if text.contains('\0') {
        return fault("contains a NUL character", "remove it");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return fault(format!("contains `..`: {}", text.escape_debug()), "write the path without `..`");
    }
    // Without doubled and trailing slashes, as mountinfo shows it.
    Ok(path.components().collect())
}

fn name_of(what: &'static str, help: &'static str) -> impl Fn(&str) -> Result<String, Fault> {
    move |name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        if name.is_empty() || name.len() > 127 || name.starts_with('-') || !name.chars().all(plain) {
            return fault(format!("is not the name of {what}: `{}`", name.escape_debug()), help);
        }
        Ok(name.to_owned())
    }
}

/// A service unit's full name; `.service` is added when it is missing, as systemctl does.
fn unit_name(name: &str) -> Result<String, Fault> {
    const OTHER: [&str; 10] = [
        ".socket",
        ".target",
        ".timer",
        ".mount",
        ".automount",
        ".path",
        ".slice",
        ".scope",
        ".device",
        ".swap",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:@\\".contains(c);
    let shaped = !name.is_empty() && !name.starts_with(['-', '.', '@']) && name.chars().all(plain);
    if !shaped || OTHER.iter().any(|suffix| name.ends_with(suffix)) {
        return fault(
            format!("is not the name of a service unit: `{}`", name.escape_debug()),
            "write it as in mariadb.service; `systemctl list-unit-files --type=service` lists them",
        );
    }
    if name.ends_with(".service") { Ok(name.to_owned()) } else { Ok(format!("{name}.service")) }
}
