//! Interfaces, addresses and paths to the peer. No process is started for any of it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use super::files;
use crate::config::Config;
use crate::doctor::survey::{ArpSettings, Link, NetworkSurvey, Path};
use crate::foreign::static_address::{Mention, commands, mentions};
use crate::node::address::{self, Mac, Target};
use crate::observation::Fact;

/// Directories of the network configurations of distributions, each with how the names of their files end.
const STATIC: [(&str, &str); 8] = [
    ("/etc/network/interfaces.d", ""),
    ("/etc/netplan", ".yaml"),
    ("/etc/NetworkManager/system-connections", ""),
    ("/etc/systemd/network", ".network"),
    ("/usr/lib/systemd/network", ".network"),
    ("/etc/sysconfig/network-scripts", ""),
    ("/etc/sysconfig/network", ""),
    ("/usr/lib/NetworkManager/system-connections", ""),
];

/// Files of the same kind.
const STATIC_FILES: [&str; 2] = ["/etc/network/interfaces", "/etc/rc.local"];

/// How often and how long the gateway is asked.
const GATEWAY: (u32, Duration) = (2, Duration::from_millis(200));

/// `RTF_GATEWAY` (route(8), linux/route.h).
const RTF_GATEWAY: u32 = 2;

pub(super) fn look(config: &Config) -> NetworkSurvey {
    let vip = config.vip.address.addr();
    let own = [config.this_node.address, config.this_node.replication_address];
    let paths =
        [config.peer.address, config.peer.replication_address].map(|address| (address, path(address).into()));
    let mut interfaces = vec![config.vip.interface.clone()];
    interfaces.extend(
        paths
            .iter()
            .filter_map(|(_, path): &(_, Fact<Path>)| path.known().map(|path| path.interface.clone())),
    );
    interfaces.sort();
    interfaces.dedup();
    let (vip_holders, peer_hardware) = hardware(config, vip);
    let own: Vec<(Ipv4Addr, Fact<Option<String>>)> =
        own.into_iter().map(|address| (address, address::interface_of(address).into())).collect();
    let mut carriers: Vec<&String> = own.iter().filter_map(|(_, on)| on.known()?.as_ref()).collect();
    carriers.dedup();
    NetworkSurvey {
        own_links: carriers.into_iter().filter_map(|interface| link(interface).ok()).collect(),
        interface: link(&config.vip.interface).into(),
        own,
        paths: paths.into_iter().collect(),
        vip_places: address::places_of(vip).into(),
        vip_holders,
        peer_hardware,
        arp: interfaces.iter().map(|interface| arp(interface)).collect(),
        gateway: gateway(),
        static_vip: static_vip(vip),
    }
}

fn link(name: &str) -> Result<Link, String> {
    address::interface(name).map(|interface| Link {
        name: interface.name,
        up: interface.up,
        carrier: interface.carrier,
        arp: interface.arp,
        addresses: interface.addresses,
    })
}

fn path(destination: Ipv4Addr) -> Result<Path, String> {
    let route = address::route_interface(destination)?;
    if route.local {
        return Err(format!("{destination} is an address of this node itself"));
    }
    Ok(Path { interface: route.interface, gateway: route.gateway })
}

fn hardware(config: &Config, vip: Ipv4Addr) -> (Fact<Vec<String>>, Fact<Vec<String>>) {
    let shown = |macs: &Vec<Mac>| macs.iter().map(ToString::to_string).collect::<Vec<String>>();
    match address::answering(&config.vip.interface, &[vip, config.peer.address]) {
        Ok(found) => {
            let nth = |number: usize| Fact::Known(found.get(number).map(shown).unwrap_or_default());
            (nth(0), nth(1))
        }
        Err(cause) => (Fact::Unknown(cause.clone()), Fact::Unknown(cause)),
    }
}

fn arp(interface: &str) -> ArpSettings {
    let number = |of: &str, name: &str| {
        let file = format!("/proc/sys/net/ipv4/conf/{of}/{name}");
        let text = fs::read_to_string(&file).map_err(|error| format!("{file} can't be read: {error}"))?;
        text.trim().parse::<u32>().map_err(|error| format!("{file} holds {text:?}: {error}"))
    };
    let both = |name: &str| number(interface, name).and_then(|own| Ok((own, number("all", name)?)));
    ArpSettings {
        interface: interface.to_owned(),
        ignore: both("arp_ignore").into(),
        notify: both("arp_notify").into(),
    }
}

fn gateway() -> Option<(Ipv4Addr, bool)> {
    let table = fs::read_to_string("/proc/net/route").ok()?;
    let gateway = default_gateway(&table)?;
    let target = Target { address: gateway, interface: None };
    let answers = address::probe(&[target], GATEWAY.0, GATEWAY.1);
    Some((gateway, answers.iter().any(|probe| matches!(probe.answer, Fact::Known(Some(_))))))
}

/// `/proc/net/route` has a line per route: interface, destination, gateway, flags, …, mask; addresses are hexadecimal, in
/// the byte order of the machine.
fn default_gateway(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let hexadecimal = |number: usize| u32::from_str_radix(fields.get(number)?, 16).ok();
        let is_default = hexadecimal(1)? == 0 && hexadecimal(7)? == 0 && hexadecimal(3)? & RTF_GATEWAY != 0;
        is_default.then(|| Some(Ipv4Addr::from(hexadecimal(2)?.to_ne_bytes())))?
    })
}

fn static_files() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = STATIC_FILES.map(PathBuf::from).to_vec();
    for (directory, suffix) in STATIC {
        let files = files::paths(directory);
        let drop_ins = files
            .iter()
            .filter(|path| path.extension().is_some_and(|kind| kind == "d"))
            .flat_map(files::paths);
        found.extend(drop_ins);
        found.extend(
            files
                .into_iter()
                .filter(|path| path.is_file() && path.to_str().is_some_and(|path| path.ends_with(suffix))),
        );
    }
    found
}

fn static_vip(vip: Ipv4Addr) -> Vec<Mention> {
    let mut found: Vec<Mention> = static_files().iter().flat_map(|file| static_mentions(file, vip)).collect();
    for file in started_files() {
        let text = files::text(&file).ok().flatten().unwrap_or_default();
        found.extend(commands(&text, &file, vip));
    }
    found
}

/// Enabled units that somebody wrote, their drop-ins, and the crontabs of the system and of root.
fn started_files() -> Vec<PathBuf> {
    let enabled = files::enabled_units();
    let units = FilePath::new("/etc/systemd/system");
    let mut found: Vec<PathBuf> = Vec::new();
    for unit in enabled.keys().filter(|unit| unit.ends_with(".service")) {
        found.push(units.join(unit));
        found.extend(files::paths(units.join(format!("{unit}.d"))));
    }
    found.push("/etc/crontab".into());
    found.extend(files::paths("/etc/cron.d"));
    found.extend(["/var/spool/cron/crontabs/root", "/var/spool/cron/root"].map(PathBuf::from));
    found.retain(|file| file.is_file());
    found
}

fn static_mentions(file: &FilePath, vip: Ipv4Addr) -> Vec<Mention> {
    let text = files::text(file).ok().flatten().unwrap_or_default();
    mentions(&text, file, vip)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_has_the_gateway() {
        let table = "\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00004D0A	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth0	00000000	FE004D0A	0003	0	0	0	00000000	0	0	0
";
        assert_eq!(default_gateway(table), Some(Ipv4Addr::from(0xFE00_4D0A_u32.to_ne_bytes())));
        let without: String = table.lines().take(2).map(|line| format!("{line}\n")).collect();
        assert_eq!(default_gateway(&without), None);
        assert_eq!(default_gateway("eth0\nx y\n"), None);
    }
}
