//! The virtual IP and the other machines on the network: netlink, ARP and ICMP. No process is started for any of it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `netlink` | links, addresses and routes of this network namespace |
//! | `arp`, `icmp` | the two ways to ask whether somebody uses an address |
//! | `probe` | [`probe`] and [`wait_gone`]: who answers, who is silent, and when silence proves nothing |
//! | `answering` | [`answering`]: everybody who answers |
//! | `assign` | [`add`], [`remove`] and [`announce`] |

mod answering;
mod arp;
mod assign;
mod icmp;
mod netlink;
mod probe;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use answering::answering;
pub use arp::Mac;
pub use assign::{add, announce, remove};
pub use probe::{Target, probe, second_holder, wait_gone};

/// A network interface as the kernel sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, when it has one of Ethernet's length.
    pub mac: Option<Mac>,
    /// Switched on (`IFF_UP`).
    pub up: bool,
    /// The link is there and passes traffic (`IFF_LOWER_UP` and `IFF_RUNNING`, not `IFF_DORMANT`).
    pub carrier: bool,
    /// Ethernet with ARP: neighbours can be asked by it (`ARPHRD_ETHER`, not `IFF_NOARP`).
    pub arp: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// How often the link came or went since boot (`IFLA_CARRIER_CHANGES`).
    pub carrier_changes: u32,
    /// Its IPv4 addresses, in the kernel's order.
    pub addresses: Vec<Ipv4Net>,
}

impl Interface {
    /// Why nothing can be sent or heard on it, if so.
    fn unusable(&self) -> Option<String> {
        let name = &self.name;
        if !self.up {
            Some(format!("the interface {name} of this node is down"))
        } else if !self.carrier {
            Some(format!("the interface {name} of this node has no carrier (cable, switch or virtual link)"))
        } else {
            None
        }
    }
}

/// The way that packets to a destination leave this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The interface.
    pub interface: String,
    /// The source address that the kernel would choose.
    pub source: Option<Ipv4Addr>,
    /// They go through a gateway: the destination is not on the link, and ARP can't ask it.
    pub gateway: bool,
    /// The destination is an address of this node.
    pub local: bool,
}

/// Which local interface carries an address.
///
/// # Errors
/// The kernel could not be asked, or its answer was not fully understood.
pub fn interface_of(address: Ipv4Addr) -> Result<Option<String>, String> {
    let snapshot = netlink::Snapshot::read()?;
    let holders = snapshot.holders(address)?;
    Ok(holders.first().map(|held| snapshot.name(held.index)))
}

/// Every place of an address on this node: the interface, and the address with its prefix length there.
///
/// # Errors
/// The kernel could not be asked, or its answer was not fully understood.
pub fn places_of(address: Ipv4Addr) -> Result<Vec<(String, Ipv4Net)>, String> {
    let snapshot = netlink::Snapshot::read()?;
    let holders = snapshot.holders(address)?;
    Ok(holders.into_iter().map(|held| (snapshot.name(held.index), held.address)).collect())
}

/// One interface by its name.
///
/// # Errors
/// There is none of that name, or the kernel could not be asked.
pub fn interface(name: &str) -> Result<Interface, String> {
    netlink::Snapshot::read()?.interface(name).cloned()
}

/// Which interface and source address a packet to `destination` would use (`RTM_GETROUTE`).
///
/// # Errors
/// There is no route, or the kernel could not be asked.
pub fn route_interface(destination: Ipv4Addr) -> Result<Route, String> {
    netlink::route(destination)
}
