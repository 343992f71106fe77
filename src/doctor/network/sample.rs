//! The network of a healthy standby, node2 of the lab.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::survey::{ArpSettings, Link, NetworkSurvey, Path};
use crate::observation::Fact;

/// The hardware address of the peer, which is active.
pub(in crate::doctor) const PEER: &str = "02:00:00:00:00:01";

pub(in crate::doctor) fn survey() -> NetworkSurvey {
    let address = |last: u8, network: u8| Ipv4Addr::new(10, 77, network, last);
    let on = |interface: &str| Fact::Known(Some(interface.to_owned()));
    let path = |interface: &str| Fact::Known(Path { interface: interface.to_owned(), gateway: false });
    let arp = |interface: &str| ArpSettings {
        interface: interface.to_owned(),
        ignore: Fact::Known((0, 0)),
        notify: Fact::Known((0, 0)),
    };
    let link = |interface: &str, own: Ipv4Addr| Link {
        name: interface.to_owned(),
        up: true,
        carrier: true,
        arp: true,
        addresses: vec![Ipv4Net::new_assert(own, 24)],
    };
    NetworkSurvey {
        interface: Fact::Known(link("eth0", address(2, 0))),
        own_links: vec![link("eth0", address(2, 0)), link("eth1", address(2, 1))],
        own: vec![(address(2, 0), on("eth0")), (address(2, 1), on("eth1"))],
        paths: vec![(address(1, 0), path("eth0")), (address(1, 1), path("eth1"))],
        vip_places: Fact::Known(Vec::new()),
        vip_holders: Fact::Known(vec![PEER.to_owned()]),
        peer_hardware: Fact::Known(vec![PEER.to_owned()]),
        arp: vec![arp("eth0"), arp("eth1")],
        gateway: Some((address(254, 0), true)),
        static_vip: Vec::new(),
    }
}
