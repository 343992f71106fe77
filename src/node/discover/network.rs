//! Interfaces, gateways, known hosts, and who answers.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::foreign::Place;
use crate::init::{HostsLine, Interface};
use crate::node::address::{self, Target};
use crate::observation::Fact;

/// A neighbour on the link answers within a millisecond, one behind a busy router within this.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// An answer may get lost now and then.
const PROBES: u32 = 3;

pub(super) fn interfaces() -> Vec<Interface> {
    let mut networks: BTreeMap<String, Vec<Ipv4Net>> = BTreeMap::new();
    for entry in getifaddrs().into_iter().flatten() {
        if entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let ip = |storage: Option<nix::sys::socket::SockaddrStorage>| Some(storage?.as_sockaddr_in()?.ip());
        if let (Some(address), Some(mask)) = (ip(entry.address), ip(entry.netmask))
            && let Ok(network) = Ipv4Net::with_netmask(address, mask)
        {
            networks.entry(entry.interface_name).or_default().push(network);
        }
    }
    networks.into_iter().map(|(name, addresses)| Interface { name, addresses }).collect()
}

/// Of the default routes of the main table, the preferred first.
pub(super) fn gateways() -> Vec<Ipv4Addr> {
    gateways_in(&fs::read_to_string("/proc/net/route").unwrap_or_default())
}

/// The columns of `fib_route_seq_show` in the kernel's `net/ipv4/fib_trie.c`; addresses in hexadecimal, in the byte
/// order of the machine.
fn gateways_in(routes: &str) -> Vec<Ipv4Addr> {
    const RTF_GATEWAY: u32 = 2;
    let gateway = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let hexadecimal = |number: usize| u32::from_str_radix(columns.get(number)?, 16).ok();
        let (destination, mask) = (hexadecimal(1)?, hexadecimal(7)?);
        let via = hexadecimal(3)? & RTF_GATEWAY != 0 && destination == 0 && mask == 0;
        let metric: u32 = columns.get(6)?.parse().ok()?;
        via.then_some((metric, Ipv4Addr::from(hexadecimal(2)?.to_ne_bytes())))
    };
    let mut found: Vec<(u32, Ipv4Addr)> = routes.lines().filter_map(gateway).collect();
    found.sort_by_key(|(metric, _)| *metric);
    found.into_iter().map(|(_, address)| address).collect()
}

/// The IPv4 lines of a text such as `/etc/hosts`.
pub(super) fn hosts(text: &str) -> Vec<HostsLine> {
    let line = |(index, line): (usize, &str)| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        Some(HostsLine {
            address,
            names: words.map(str::to_owned).collect(),
            place: Place::new("/etc/hosts", index + 1),
        })
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// Which of these answer to ICMP echo or ARP.
pub(super) fn answering(addresses: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let targets: Vec<Target> =
        addresses.iter().map(|address| Target { address: *address, interface: None }).collect();
    let probes = address::probe(&targets, PROBES, PROBE_INTERVAL);
    let answered = probes.into_iter().filter(|probe| matches!(probe.answer, Fact::Known(Some(_))));
    answered.map(|probe| probe.address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_of_default_routes_by_metric() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth1\t00000000\t0101010A\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
                      eth0\t00000000\tFE004D0A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                      eth0\t0000000A\tFD004D0A\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
                      eth0\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      garbage\n";
        // The kernel prints its own byte order; the sample is from a little-endian machine.
        let expected = [[10, 77, 0, 254], [10, 1, 1, 1]].map(Ipv4Addr::from);
        assert_eq!(gateways_in(routes), expected);
        assert!(gateways_in("").is_empty());
    }

    #[test]
    fn hosts_have_names_and_places() {
        let hosts = hosts("127.0.0.1 localhost\n# x\n10.0.0.1\tnode1 n1 # y\n::1 ip6\n\n10.0.0.2\n");
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[1].names, ["node1", "n1"]);
        assert_eq!(hosts[1].place.to_string(), "/etc/hosts:3");
    }
}
