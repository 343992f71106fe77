//! What values have to agree on with each other and with this host.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;

use super::host::{HOST_VARIABLE, Host};
use super::place::YamlPath;
use super::reader::Section;
use super::sections::Nodes;
use super::{Limits, MountConfig, MysqldConfig, NodeConfig, VipConfig};
use crate::plan::MysqldControl;

/// The path of a value, as in `at(["vip", "address"])`.
fn at<const N: usize>(keys: [&str; N]) -> YamlPath {
    keys.iter().fold(YamlPath::default(), |path, key| path.key(key))
}

/// One of the nodes must be this host.
pub(super) fn this_host(root: &Section<'_>, nodes: &Nodes, host: &Host) {
    if nodes.names.is_empty() || nodes.names.contains(&host.name) {
        return;
    }
    let listed = nodes.names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    root.error(
        &at(["nodes"]),
        format!("none of the nodes is this host: it is called `{}`, the nodes are {listed}", host.name),
        format!(
            "name the nodes as `uname -n` prints them on each, or set {HOST_VARIABLE} to act as one of them"
        ),
    );
}

/// The nodes' addresses must differ, and both or neither have a replication address.
pub(super) fn nodes(root: &Section<'_>, nodes: &Nodes) {
    let [first, second] = nodes.read.as_slice() else { return };
    let path = |key| at(["nodes", &second.name, key]);
    if first.address == second.address {
        root.error(
            &path("address"),
            format!("both nodes have the address {}", first.address),
            "give each node its own address on the clients' network; the shared one is `vip.address`",
        );
    }
    let [own_first, own_second] = [first, second].map(|node| node.replication_address != node.address);
    if own_first != own_second {
        let (with, without) = if own_first { (first, second) } else { (second, first) };
        root.error(
            &at(["nodes", &with.name, "replication_address"]),
            format!("`{}` has a replication address of its own, `{}` has none", with.name, without.name),
            "give both nodes one, as the DRBD resource does, or none when there is only one network",
        );
        return;
    }
    if own_first && first.replication_address == second.replication_address {
        root.error(
            &path("replication_address"),
            format!("both nodes have the replication address {}", first.replication_address),
            "write the addresses of the DRBD resource: `drbdadm dump` shows them",
        );
    }
    if own_first {
        for (node, other) in [(first, second), (second, first)] {
            if node.replication_address == other.address {
                root.error(
                    &at(["nodes", &node.name, "replication_address"]),
                    format!("the replication address of `{}` is the address of `{}`", node.name, other.name),
                    "write the addresses of the DRBD resource: `drbdadm dump` shows them",
                );
            }
        }
    }
}

/// The VIP must be on the clients' network, and nobody's own address.
pub(super) fn vip(root: &Section<'_>, vip: &VipConfig, nodes: &[NodeConfig], host: &Host, limits: &Limits) {
    let path = at(["vip", "address"]);
    let address = vip.address.addr();
    for node in nodes {
        if [node.address, node.replication_address].contains(&address) {
            root.error(
                &path,
                format!("the VIP is `{}`'s own address: {address}", node.name),
                "choose an address that no machine has: it moves between the nodes",
            );
        }
    }
    // A /32 says nothing of the network around it.
    let outside = |node: &&NodeConfig| vip.address.prefix_len() < 31 && !vip.address.contains(&node.address);
    let strangers: Vec<String> =
        nodes.iter().filter(outside).map(|node| format!("`{}` ({})", node.name, node.address)).collect();
    if !strangers.is_empty() {
        root.error(
            &path,
            format!(
                "the VIP's network {} does not contain the address of {}",
                vip.address.trunc(),
                strangers.join(" and ")
            ),
            "VIP and nodes share the clients' network: correct the address, the prefix length or the nodes",
        );
    } else if let Some(networks) = host.networks(&vip.interface) {
        // While the VIP is up, its own network is one of the interface's.
        let others: Vec<Ipv4Net> = networks.into_iter().filter(|network| network.addr() != address).collect();
        if !others.is_empty() && !others.iter().any(|network| network.contains(&address)) {
            let listed = others.iter().map(|network| network.trunc().to_string()).collect::<Vec<_>>();
            root.error(
                &path,
                format!(
                    "the VIP {address} is outside the networks of {} on this host: {}",
                    vip.interface,
                    listed.join(", ")
                ),
                "correct `vip.address` or `vip.interface`; `ip -4 address` shows what each interface has",
            );
        }
    }
    let shortest = vip.interval * vip.misses;
    if shortest >= limits.wait_vip_gone {
        root.error(
            &at(["vip", "misses"]),
            format!(
                "{} misses, one every {}, take longer than `limits.wait_vip_gone` allows: {}",
                vip.misses,
                humantime::format_duration(vip.interval),
                humantime::format_duration(limits.wait_vip_gone)
            ),
            "lower `misses` or `interval`, or raise the limit",
        );
    }
}

/// The data directory must be on the mount, and a command line must agree with what is configured beside it.
pub(super) fn mysqld(root: &Section<'_>, mysqld: &MysqldConfig, mount: Option<&MountConfig>) {
    if let Some(mount) = mount
        && !mysqld.datadir.starts_with(&mount.directory)
    {
        root.error(
            &at(["mysqld", "datadir"]),
            format!(
                "the data directory {} is not on the mount {}",
                mysqld.datadir.display(),
                mount.directory.display()
            ),
            "a takeover would start mysqld on local data: correct `mysqld.datadir` or `mount.directory`",
        );
    }
    if let MysqldControl::Command(words) = &mysqld.control {
        let port = mysqld.port.to_string();
        let expected = [
            ("--datadir=", Some(mysqld.datadir.as_path())),
            ("--socket=", Some(mysqld.socket.as_path())),
            ("--port=", Some(Path::new(&port))),
            ("--log-error=", mysqld.error_log.as_deref()),
        ];
        for (index, word) in words.iter().enumerate() {
            for (option, value) in expected {
                let Some(value) = value else { continue };
                if word.strip_prefix(option).is_some_and(|given| Path::new(given) != value) {
                    let key = match option {
                        "--log-error=" => "error_log",
                        option => option.trim_matches(['-', '=']),
                    };
                    root.error(
                        &at(["mysqld", "command"]).index(index),
                        format!("the command says `{word}`, but `mysqld.{key}` is {}", value.display()),
                        "make both say the same",
                    );
                }
            }
        }
    }
}

/// A witness is a third party.
pub(super) fn witnesses(
    root: &Section<'_>,
    witnesses: &[Ipv4Addr],
    nodes: &[NodeConfig],
    vip: Option<&VipConfig>,
) {
    for (index, witness) in witnesses.iter().enumerate() {
        let path = at(["witnesses"]).index(index);
        let node = nodes.iter().find(|node| [node.address, node.replication_address].contains(witness));
        let help = "name machines that are neither node, such as the router: they tell whether it is we who are cut off";
        if let Some(node) = node {
            root.error(&path, format!("the witness {witness} is `{}` itself", node.name), help);
        } else if vip.is_some_and(|vip| vip.address.addr() == *witness) {
            root.error(&path, format!("the witness {witness} is the VIP"), help);
        } else if witnesses[..index].contains(witness) {
            root.error(&path, format!("the witness {witness} is listed twice"), "remove one of the two");
        }
    }
}
