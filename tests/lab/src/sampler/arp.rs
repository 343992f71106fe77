//! Who answers for the virtual address: ARP requests from the host, which no firewall of a node stops.

use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};

use super::{INTERVAL, now};
use crate::network::VIP;
use crate::sampler::holders::Nanoseconds;

/// The host in the clients' network: an ordinary sender, so that a node which probes for a duplicate of the virtual
/// address does not take this for another one that wants it.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const BRIDGE: &str = "clients";
const ARP: u16 = 0x0806;
/// Ethernet, IPv4, and the lengths of their addresses (RFC 826).
const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A hardware address.
pub type Hardware = [u8; 6];

/// A socket on the clients' network.
#[derive(Debug)]
pub(super) struct Prober {
    socket: Socket,
    own: Hardware,
}

impl Prober {
    /// Must be called in the lab's network namespace.
    pub(super) fn open() -> Result<Self> {
        let link: LinkAddr = getifaddrs()?
            .filter(|interface| interface.interface_name == BRIDGE)
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .with_context(|| format!("there is no interface {BRIDGE}"))?;
        let own = link.addr().with_context(|| format!("{BRIDGE} has no hardware address"))?;
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ARP.to_be()))))?;
        bind(socket.as_raw_fd(), &link)?;
        Ok(Self { socket, own })
    }

    /// Asks every interval and hands on every answer, until it is to stop.
    pub(super) fn run(
        mut self,
        stop: &AtomicBool,
        mut answer: impl FnMut(Hardware, Nanoseconds),
    ) -> Result<()> {
        let mut next = Instant::now();
        let mut frame = [0; 128];
        while !stop.load(Ordering::Relaxed) {
            self.socket.send(&self.request())?;
            next += INTERVAL;
            loop {
                let left = next.saturating_duration_since(Instant::now());
                if left < Duration::from_millis(1) {
                    thread::sleep(left);
                    break;
                }
                self.socket.set_read_timeout(Some(left))?;
                match self.socket.read(&mut frame) {
                    Ok(length) => {
                        if let Some(who) = frame.get(..length).and_then(answers) {
                            answer(who, now()?);
                        }
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => return Err(error).context("listening for ARP"),
                }
            }
        }
        Ok(())
    }

    fn request(&self) -> Vec<u8> {
        let broadcast = [0xff; 6];
        let nobody = [0; 6];
        let fields: [&[u8]; 9] = [
            &broadcast,
            &self.own,
            &ARP.to_be_bytes(),
            &FIXED,
            &REQUEST,
            &self.own,
            &HOST.octets(),
            &nobody,
            &VIP.octets(),
        ];
        fields.concat()
    }
}

/// The hardware address of whoever says in answer to a request that it has the virtual address.
fn answers(frame: &[u8]) -> Option<Hardware> {
    let arp = frame.get(14..42)?;
    let (fixed, rest) = arp.split_at(6);
    let ours = fixed == FIXED
        && rest.get(..2)? == REPLY
        && rest.get(8..12)? == VIP.octets()
        && rest.get(18..22)? == HOST.octets();
    ours.then(|| rest.get(2..8)?.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(operation: [u8; 2], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
        let node = [0x52, 0x54, 0, 0x77, 0, 1];
        let fields: [&[u8]; 9] = [
            &[2; 6],
            &node,
            &ARP.to_be_bytes(),
            &FIXED,
            &operation,
            &node,
            &sender.octets(),
            &[2; 6],
            &target.octets(),
        ];
        fields.concat()
    }

    #[test]
    fn only_an_answer_to_us_counts() {
        let node = Some([0x52, 0x54, 0, 0x77, 0, 1]);
        assert_eq!(answers(&reply(REPLY, VIP, HOST)), node);
        assert_eq!(answers(&reply(REPLY, VIP, VIP)), None, "an announcement");
        assert_eq!(answers(&reply(REQUEST, VIP, HOST)), None);
        assert_eq!(answers(&reply(REPLY, Ipv4Addr::new(10, 77, 0, 1), HOST)), None);
        assert_eq!(answers(&reply(REPLY, VIP, HOST)[..30]), None);
    }
}
