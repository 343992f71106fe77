//! Links, addresses and routes of this network namespace, over one synchronous rtnetlink socket per request.
//!
//! Message layouts: rtnetlink(7), `linux/if_addr.h`, `linux/if_link.h`, `linux/rtnetlink.h`.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::arp::Mac;
use super::{Interface, Route};

/// The kernel fills at most 32 KiB per dump read (`NLMSG_GOODSIZE` growth in af_netlink.c); twice that never truncates.
const READ_BUFFER: usize = 64 * 1024;

/// A dump that the kernel marks as interrupted mixes two states; it settles within a try or two.
const DUMP_TRIES: usize = 5;

/// One address on one interface, as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assigned {
    /// Interface index.
    pub(super) index: u32,
    /// Address and prefix length.
    pub(super) address: Ipv4Net,
    /// The message it came in, which is what deletes it.
    message: AddressMessage,
}

impl Assigned {
    /// Whether it leans on another address of the same subnet, with which it would be deleted (`IFA_F_SECONDARY`).
    pub(super) fn is_secondary(&self) -> bool {
        self.message.header.flags.contains(AddressHeaderFlags::Secondary)
    }
}

/// One consistent look at links and addresses.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Every link, with its IPv4 addresses.
    pub(super) interfaces: Vec<Interface>,
    /// Every IPv4 address.
    pub(super) addresses: Vec<Assigned>,
    /// Messages that could not be decoded: what is absent above may be in one of these.
    undecoded: Option<String>,
}

impl Snapshot {
    /// Asks the kernel.
    pub(super) fn read() -> Result<Self, String> {
        let mut link = LinkMessage::default();
        link.header.interface_family = AddressFamily::Unspec;
        let (links, bad_link) = dump(RouteNetlinkMessage::GetLink(link))
            .map_err(|error| format!("cannot list the network interfaces (RTM_GETLINK): {error}"))?;
        let mut address = AddressMessage::default();
        address.header.family = AddressFamily::Inet;
        let (addresses, bad_address) = dump(RouteNetlinkMessage::GetAddress(address))
            .map_err(|error| format!("cannot list the IPv4 addresses (RTM_GETADDR): {error}"))?;

        let addresses: Vec<Assigned> = addresses
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewAddress(message) => assigned(message),
                _ => None,
            })
            .collect();
        let interfaces = links
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(message) => interface(&message, &addresses),
                _ => None,
            })
            .collect();
        Ok(Self { interfaces, addresses, undecoded: bad_link.or(bad_address) })
    }

    /// The interface of that name.
    pub(super) fn interface(&self, name: &str) -> Result<&Interface, String> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
            .ok_or_else(|| self.absent(format!("this node has no network interface {name}")))
    }

    /// The name of the interface with that index; the bare index when it has gone in between.
    pub(super) fn name(&self, index: u32) -> String {
        self.interfaces
            .iter()
            .find(|interface| interface.index == index)
            .map_or_else(|| format!("interface number {index}"), |interface| interface.name.clone())
    }

    /// Where an address is on this node; an error when it may be in what could not be decoded.
    pub(super) fn holders(&self, address: Ipv4Addr) -> Result<Vec<&Assigned>, String> {
        let found: Vec<_> = self.addresses.iter().filter(|held| held.address.addr() == address).collect();
        match &self.undecoded {
            Some(cause) if found.is_empty() => {
                Err(format!("cannot tell whether {address} is on this node: {cause}"))
            }
            _ => Ok(found),
        }
    }

    fn absent(&self, what: String) -> String {
        match &self.undecoded {
            Some(cause) => format!("{what} (or its netlink message was not understood: {cause})"),
            None => what,
        }
    }
}

fn assigned(message: AddressMessage) -> Option<Assigned> {
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always ours (linux/if_addr.h).
    let mut local = None;
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V4(ip)) => local = Some(*ip),
            AddressAttribute::Address(IpAddr::V4(ip)) => address = Some(*ip),
            _ => {}
        }
    }
    let address = Ipv4Net::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(Assigned { index: message.header.index, address, message })
}

fn interface(message: &LinkMessage, addresses: &[Assigned]) -> Option<Interface> {
    let flags = message.header.flags;
    let index = message.header.index;
    let mut name = None;
    let mut mac = None;
    let mut mtu = 0;
    let mut carrier_changes = 0;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::CarrierChanges(value) => carrier_changes = *value,
            _ => {}
        }
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    Some(Interface {
        index,
        name: name?,
        mac,
        up: flags.contains(LinkFlags::Up),
        // Not IFF_RUNNING: the kernel updates that one up to a second late (linkwatch).
        carrier: flags.contains(LinkFlags::LowerUp) && !flags.contains(LinkFlags::Dormant),
        arp: ethernet && mac.is_some() && !flags.contains(LinkFlags::Noarp),
        mtu,
        carrier_changes,
        addresses: addresses.iter().filter(|held| held.index == index).map(|held| held.address).collect(),
    })
}

/// Which way a packet to `destination` would leave, as `ip route get` shows it.
pub(super) fn route(destination: Ipv4Addr) -> Result<Route, String> {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet;
    request.header.destination_prefix_length = 32;
    request.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(destination)));
    let (replies, undecoded) = exchange(RouteNetlinkMessage::GetRoute(request), NLM_F_REQUEST)
        .map_err(|error| format!("this node has no route to {destination}: {error}"))?;
    let message = replies
        .into_iter()
        .find_map(|reply| match reply {
            RouteNetlinkMessage::NewRoute(message) => Some(message),
            _ => None,
        })
        .ok_or_else(|| {
            format!(
                "the kernel's route to {destination} was not understood: {}",
                undecoded.unwrap_or_else(|| "no RTM_NEWROUTE in its answer".into())
            )
        })?;
    let mut index = None;
    let mut source = None;
    let mut gateway = false;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(value) => index = Some(*value),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(*ip),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => gateway = true,
            _ => {}
        }
    }
    let index = index.ok_or_else(|| format!("the route to {destination} names no interface"))?;
    let interface = nix::net::if_::if_indextoname(index)
        .map_err(|error| format!("the route to {destination} names interface number {index}: {error}"))?
        .to_string_lossy()
        .into_owned();
    Ok(Route { interface, source, gateway, local: message.header.kind == RouteType::Local })
}

/// Adds an address; `EEXIST` when that interface has it already.
pub(super) fn add_address(index: u32, address: Ipv4Net) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(IpAddr::V4(address.addr())));
    message.attributes.push(AddressAttribute::Address(IpAddr::V4(address.addr())));
    // /31 and /32 have no broadcast address (RFC 3021).
    if address.prefix_len() < 31 {
        message.attributes.push(AddressAttribute::Broadcast(address.broadcast()));
    }
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    exchange(RouteNetlinkMessage::NewAddress(message), flags).map(drop)
}

/// Deletes an address; `EADDRNOTAVAIL` when it is gone already.
pub(super) fn delete_address(held: &Assigned) -> io::Result<()> {
    // Only what names it: some kernels take the label in a full message as a further condition.
    let mut message = AddressMessage::default();
    message.header = held.message.header.clone();
    message.attributes = held
        .message
        .attributes
        .iter()
        .filter(|attribute| matches!(attribute, AddressAttribute::Local(_) | AddressAttribute::Address(_)))
        .cloned()
        .collect();
    exchange(RouteNetlinkMessage::DelAddress(message), NLM_F_REQUEST | NLM_F_ACK).map(drop)
}

/// Whether an I/O error is that errno.
pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

type Replies = (Vec<RouteNetlinkMessage>, Option<String>);

fn dump(request: RouteNetlinkMessage) -> io::Result<Replies> {
    let mut result = Err(io::Error::from(io::ErrorKind::Interrupted));
    for _ in 0..DUMP_TRIES {
        result = exchange(request.clone(), NLM_F_REQUEST | NLM_F_DUMP);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    result
}

/// Sends one request and reads its whole answer; a message that can't be decoded is named, not fatal.
fn exchange(request: RouteNetlinkMessage, flags: u16) -> io::Result<Replies> {
    const SEQUENCE: u32 = 1;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = SEQUENCE;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // Connected to port 0, so that only the kernel can answer.
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;

    let multiple = flags & NLM_F_DUMP == NLM_F_DUMP;
    let mut replies = Vec::new();
    let mut undecoded = None;
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        let size = match socket.recv(&mut buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        let mut rest = buffer.get(..size).ok_or_else(|| broken("an answer was cut off"))?;
        while !rest.is_empty() {
            let frame = NetlinkBuffer::new_checked(rest).map_err(|error| broken(&error.to_string()))?;
            let length = frame.length() as usize;
            let (sequence, interrupted) = (frame.sequence_number(), frame.flags() & NLM_F_DUMP_INTR != 0);
            let decoded = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
            // Messages are padded to 4 bytes (NLMSG_ALIGN).
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if sequence != SEQUENCE {
                continue;
            }
            if interrupted {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            match decoded.map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(reply)) => {
                    replies.push(reply);
                    if !multiple && flags & NLM_F_ACK == 0 {
                        return Ok((replies, undecoded));
                    }
                }
                Ok(NetlinkPayload::Error(error)) if error.code.is_some() => return Err(error.to_io()),
                Ok(NetlinkPayload::Error(_) | NetlinkPayload::Done(_)) => return Ok((replies, undecoded)),
                Ok(NetlinkPayload::Overrun(_)) => {
                    return Err(broken("the kernel dropped part of its answer"));
                }
                Ok(_) => {}
                Err(error) => {
                    undecoded = Some(error.to_string());
                    if !multiple {
                        return Ok((replies, undecoded));
                    }
                }
            }
        }
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("netlink: {what}"))
}
