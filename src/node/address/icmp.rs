//! ICMP echo (RFC 792) over a raw socket, or an unprivileged one where `net.ipv4.ping_group_range` permits.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::arp::initialised;

const ECHO_REPLY: u8 = 0;
const ECHO: u8 = 8;
const HEADER: usize = 8;

/// A socket that sends echo requests to one address and hears its replies.
#[derive(Debug)]
pub(super) struct IcmpSocket {
    socket: Socket,
    raw: bool,
    target: Ipv4Addr,
    /// Identifier and payload of our requests, so that no other program's echo passes for ours.
    identifier: u16,
    token: [u8; 8],
    sequence: u16,
}

impl IcmpSocket {
    /// Binds to `interface` when one is named: then the kernel takes the target for on-link when no route says otherwise.
    pub(super) fn open(target: Ipv4Addr, interface: Option<&str>) -> io::Result<Self> {
        let (socket, raw) = match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) {
            Ok(socket) => (socket, true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                (Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?, false)
            }
            Err(error) => return Err(error),
        };
        if let Some(interface) = interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        socket.set_nonblocking(true)?;
        let token = RandomState::new().hash_one(target).to_ne_bytes();
        let identifier = if raw {
            u16::from_ne_bytes([token[0], token[1]])
        } else {
            // The kernel replaces the identifier by the socket's port (`ping_v4_sendmsg` in net/ipv4/ping.c).
            socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))?;
            socket.local_addr()?.as_socket_ipv4().map_or(0, |address| address.port())
        };
        Ok(Self { socket, raw, target, identifier, token, sequence: 0 })
    }

    /// Sends the next request; an error is our own side's (no route, a local firewall, the interface is down).
    pub(super) fn ask(&mut self) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = echo(self.identifier, self.sequence, self.token);
        let target = SockAddr::from(SocketAddrV4::new(self.target, 0));
        self.socket.send_to(&request, &target).map(drop)
    }

    /// Whether a reply to one of our requests has come; never blocks.
    pub(super) fn heard(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 512];
        loop {
            let (size, source) = match self.socket.recv_from(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A router's or our own kernel's "unreachable" is no answer, and no fault of ours either.
                Err(error) if is_unreachable(&error) => continue,
                result => result?,
            };
            let packet = initialised(&buffer, size);
            let message = if self.raw { without_ip_header(&packet) } else { Some(packet.as_slice()) };
            let from_target = source.as_socket_ipv4().is_some_and(|source| *source.ip() == self.target);
            if from_target && message.is_some_and(|message| self.is_reply(message)) {
                return Ok(true);
            }
        }
    }

    fn is_reply(&self, message: &[u8]) -> bool {
        let Some((header, payload)) = message.split_first_chunk::<HEADER>() else { return false };
        let [kind, code, _, _, id_high, id_low, sequence_high, sequence_low] = *header;
        let sequence = u16::from_be_bytes([sequence_high, sequence_low]);
        kind == ECHO_REPLY
            && code == 0
            && u16::from_be_bytes([id_high, id_low]) == self.identifier
            && (1..=self.sequence).contains(&sequence)
            && payload == self.token
    }
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ECONNREFUSED))
}

/// The header's length is in its first byte, in words of 4 bytes (RFC 791 §3.1).
fn without_ip_header(packet: &[u8]) -> Option<&[u8]> {
    let words = usize::from(packet.first()? & 0x0f);
    packet.get(words * 4..)
}

fn echo(identifier: u16, sequence: u16, token: [u8; 8]) -> [u8; 16] {
    let mut message = [0; 16];
    let fields: [&[u8]; 5] =
        [&[ECHO, 0], &[0, 0], &identifier.to_be_bytes(), &sequence.to_be_bytes(), &token];
    for (place, byte) in message.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    let [high, low] = checksum(&message).to_be_bytes();
    message[2] = high;
    message[3] = low;
    message
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let mut sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_message_that_carries_its_checksum_is_zero() {
        assert_eq!(checksum(&echo(0xbeef, 7, [1, 2, 3, 4, 250, 251, 252, 253])), 0);
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2, "RFC 1071 §3");
    }

    #[test]
    fn only_the_reply_to_our_own_request_counts() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let asked = IcmpSocket {
            socket,
            raw: true,
            target: Ipv4Addr::LOCALHOST,
            identifier: 0x1234,
            token: *b"a token!",
            sequence: 3,
        };
        let mut reply = echo(0x1234, 3, *b"a token!");
        assert!(!asked.is_reply(&reply), "a request is not a reply");
        reply[0] = ECHO_REPLY;
        assert!(asked.is_reply(&reply));
        for (offset, what) in [(1, "code"), (5, "identifier"), (7, "sequence"), (15, "payload")] {
            let mut other = reply;
            other[offset] ^= 0x40;
            assert!(!asked.is_reply(&other), "{what}");
        }
    }

    #[test]
    fn ip_options_are_skipped() {
        let mut packet = [0u8; 26];
        packet[0] = 0x46;
        packet[24] = 7;
        assert_eq!(without_ip_header(&packet), Some(&[7, 0][..]));
        assert_eq!(without_ip_header(&[0x4f, 0]), None);
    }
}
