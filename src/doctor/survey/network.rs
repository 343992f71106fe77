//! Interfaces, addresses and paths to the peer.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::foreign::static_address::Mention;
use crate::observation::Fact;

/// Interfaces, addresses and paths to the peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSurvey {
    /// The interface of the virtual IP.
    pub interface: Fact<Link>,
    /// The interface that carries each of this node's own addresses: the clients' network's, then replication's.
    pub own: Vec<(Ipv4Addr, Fact<Option<String>>)>,
    /// The interfaces that carry this node's own addresses.
    pub own_links: Vec<Link>,
    /// The way to each address of the peer: the clients' network's, then replication's.
    pub paths: Vec<(Ipv4Addr, Fact<Path>)>,
    /// Where this node has the virtual IP: each interface, with the address and prefix length there.
    pub vip_places: Fact<Vec<(String, Ipv4Net)>>,
    /// Hardware addresses of all other machines that answer for the virtual IP.
    pub vip_holders: Fact<Vec<String>>,
    /// The same for the peer's own address on that network.
    pub peer_hardware: Fact<Vec<String>>,
    /// The kernel's ARP settings of the interfaces in use.
    pub arp: Vec<ArpSettings>,
    /// The gateway of the default route, and whether it answers.
    pub gateway: Option<(Ipv4Addr, bool)>,
    /// Where the network configuration brings up the virtual IP at boot.
    pub static_vip: Vec<Mention>,
}

impl Default for NetworkSurvey {
    fn default() -> Self {
        let unknown = || "it was not looked at".to_owned();
        Self {
            interface: Fact::Unknown(unknown()),
            own: Vec::new(),
            own_links: Vec::new(),
            paths: Vec::new(),
            vip_places: Fact::Unknown(unknown()),
            vip_holders: Fact::Unknown(unknown()),
            peer_hardware: Fact::Unknown(unknown()),
            arp: Vec::new(),
            gateway: None,
            static_vip: Vec::new(),
        }
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Switched on.
    pub up: bool,
    /// The link is there.
    pub carrier: bool,
    /// Ethernet with ARP.
    pub arp: bool,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Net>,
}

/// The way to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The interface.
    pub interface: String,
    /// Through a gateway, where ARP can't ask.
    pub gateway: bool,
}

/// The kernel's ARP settings of one interface (`Documentation/networking/ip-sysctl.rst`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArpSettings {
    /// The interface.
    pub interface: String,
    /// `arp_ignore` of the interface and of `all`: the larger of them counts.
    pub ignore: Fact<(u32, u32)>,
    /// `arp_notify` of the interface and of `all`: either switches it on.
    pub notify: Fact<(u32, u32)>,
}
