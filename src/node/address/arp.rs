//! ARP over an `AF_PACKET` socket: probes (RFC 5227 §2.1.1), requests (RFC 826) and announcements (RFC 5227 §2.3).

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// An Ethernet hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(
    /// The six bytes in wire order.
    pub [u8; 6],
);

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

const BROADCAST: Mac = Mac([0xff; 6]);
const NOBODY: Mac = Mac([0; 6]);

/// `ETH_P_ARP` in `linux/if_ether.h`.
const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethernet, IPv4, 6-byte hardware and 4-byte protocol addresses (RFC 826).
const FIXED_HEADER: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
/// Ethernet header and ARP packet.
const FRAME: usize = 14 + 28;
/// The shortest Ethernet frame without its checksum (`ETH_ZLEN`); some switches drop shorter ones of virtual machines.
const SHORTEST_FRAME: usize = 60;

/// ARP operation (RFC 826 `ar$op`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Request,
    Reply,
}

/// The variable part of an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) operation: Operation,
    pub(super) sender: Mac,
    pub(super) sender_ip: Ipv4Addr,
    pub(super) target: Mac,
    pub(super) target_ip: Ipv4Addr,
}

impl Packet {
    fn frame(&self) -> [u8; SHORTEST_FRAME] {
        let mut frame = [0; SHORTEST_FRAME];
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let fields: [&[u8]; 9] = [
            &BROADCAST.0,
            &self.sender.0,
            &ETHERTYPE_ARP.to_be_bytes(),
            &FIXED_HEADER,
            &operation.to_be_bytes(),
            &self.sender.0,
            &self.sender_ip.octets(),
            &self.target.0,
            &self.target_ip.octets(),
        ];
        for (place, byte) in frame.iter_mut().zip(fields.into_iter().flatten()) {
            *place = *byte;
        }
        frame
    }

    /// `None` for anything but ARP for IPv4 over Ethernet.
    fn parse(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; FRAME] = frame.first_chunk()?;
        let (header, arp) = frame.split_at(14);
        let (fixed, arp) = arp.split_at(6);
        if header.get(12..) != Some(&ETHERTYPE_ARP.to_be_bytes()) || fixed != FIXED_HEADER {
            return None;
        }
        let operation = match arp.get(..2)? {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| arp.get(at..)?.first_chunk().copied().map(Mac);
        let ip = |at: usize| arp.get(at..)?.first_chunk::<4>().copied().map(Ipv4Addr::from);
        Some(Self { operation, sender: mac(2)?, sender_ip: ip(8)?, target: mac(12)?, target_ip: ip(18)? })
    }
}

/// An `AF_PACKET` socket that sends and hears ARP on one interface.
#[derive(Debug)]
pub(super) struct ArpSocket {
    socket: Socket,
    own: Mac,
}

impl ArpSocket {
    /// Needs `CAP_NET_RAW`; `own` is the interface's hardware address.
    pub(super) fn open(index: u32, own: Mac) -> io::Result<Self> {
        // Protocol 0 hears nothing until bind: with ETH_P_ARP here, packets of other interfaces would slip in before it.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.bind(&link_address(index)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, own })
    }

    /// Asks who has `address`: an RFC 5227 probe and, when this node has an address of its own there, an ordinary request.
    ///
    /// Both, because each is answered where the other is not. Linux answers the probe (sender 0.0.0.0) whatever
    /// `arp_filter`, `rp_filter` and `arp_ignore=2` make of our own address (`arp_process` in `net/ipv4/arp.c`), and
    /// proxy ARP never answers it. But switches with dynamic ARP inspection may drop a sender of 0.0.0.0.
    pub(super) fn ask(&self, address: Ipv4Addr, own_ip: Option<Ipv4Addr>) -> io::Result<()> {
        let request = |sender_ip| Packet {
            operation: Operation::Request,
            sender: self.own,
            sender_ip,
            target: NOBODY,
            target_ip: address,
        };
        self.send(&request(Ipv4Addr::UNSPECIFIED))?;
        match own_ip {
            // With the address itself as sender it would be an announcement: it would take the traffic away.
            Some(own_ip) if own_ip != address => self.send(&request(own_ip)),
            _ => Ok(()),
        }
    }

    /// Announces that `address` is here, as a request and as a reply: neighbours differ in which of them they heed.
    pub(super) fn announce(&self, address: Ipv4Addr) -> io::Result<()> {
        let announcement = Packet {
            operation: Operation::Request,
            sender: self.own,
            sender_ip: address,
            target: NOBODY,
            target_ip: address,
        };
        self.send(&announcement)?;
        // Linux takes a reply for gratuitous only when the target hardware address is the sender's (`arp_is_garp`).
        self.send(&Packet { operation: Operation::Reply, target: self.own, ..announcement })
    }

    fn send(&self, packet: &Packet) -> io::Result<()> {
        self.socket.send(&packet.frame()).map(drop)
    }

    /// The hardware address of another machine that uses `address`, if one was heard; never blocks.
    ///
    /// Like RFC 5227 §2.1.1 it takes a request or a reply whose *sender* address is the one asked for. A packet
    /// that merely asks for it is another node's probe and proves nothing, and one from this interface's hardware
    /// address is our own, reflected. Those of our other interfaces count: keepalived's `use_vmac` gives both nodes the
    /// same one.
    pub(super) fn heard(&self, address: Ipv4Addr) -> io::Result<Option<Mac>> {
        let mut buffer = [MaybeUninit::uninit(); 256];
        loop {
            let size = match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            let frame: Vec<u8> = initialised(&buffer, size);
            match Packet::parse(&frame) {
                Some(packet) if packet.sender_ip == address && packet.sender != self.own => {
                    return Ok(Some(packet.sender));
                }
                _ => {}
            }
        }
    }
}

impl AsFd for ArpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Copies what a receive call has filled in.
pub(super) fn initialised(buffer: &[MaybeUninit<u8>], size: usize) -> Vec<u8> {
    buffer
        .iter()
        .take(size)
        .map(|byte| {
            #[allow(unsafe_code)]
            // SAFETY: socket2's `recv` documents that the first `size` bytes are initialised, and only those are read.
            unsafe {
                byte.assume_init()
            }
        })
        .collect()
}

fn link_address(index: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut storage = SockAddrStorage::zeroed();
    let length = size_of::<libc::sockaddr_ll>() as socket2::socklen_t;
    #[allow(unsafe_code)]
    // SAFETY: `sockaddr_ll` is a `sockaddr_*` type, zeroes are valid for each of its fields, and the family and the
    // length that are set belong to it. nix has no constructor for its `LinkAddr`.
    let address = unsafe {
        let link: &mut libc::sockaddr_ll = storage.view_as();
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_protocol = ETHERTYPE_ARP.to_be();
        link.sll_ifindex = index;
        SockAddr::new(storage, length)
    };
    Ok(address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PROBE: Packet = Packet {
        operation: Operation::Request,
        sender: Mac([2, 0, 0, 0, 0, 1]),
        sender_ip: Ipv4Addr::UNSPECIFIED,
        target: NOBODY,
        target_ip: Ipv4Addr::new(192, 0, 2, 9),
    };

    #[test]
    fn a_probe_has_the_layout_of_rfc_826() {
        let expected = "ffffffffffff020000000001080600010800060400010200000000010000000000000000\
                        0000c0000209";
        let frame = PROBE.frame();
        let hex: String = frame.iter().take(FRAME).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert!(frame.iter().skip(FRAME).all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_sent_is_understood() {
        let reply = Packet { operation: Operation::Reply, target: Mac([1, 2, 3, 4, 5, 6]), ..PROBE };
        assert_eq!(Packet::parse(&PROBE.frame()), Some(PROBE));
        assert_eq!(Packet::parse(&reply.frame()), Some(reply));
    }

    #[test]
    fn anything_else_is_not_understood() {
        let frame = PROBE.frame();
        assert_eq!(Packet::parse(frame.get(..FRAME - 1).unwrap()), None, "cut off");
        for (offset, what) in
            [(12, "EtherType"), (15, "hardware"), (16, "protocol"), (18, "length"), (21, "op")]
        {
            let mut other = frame;
            other[offset] ^= 0x40;
            assert_eq!(Packet::parse(&other), None, "{what}");
        }
    }
}
