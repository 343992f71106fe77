//! Everybody who answers for an address, not only the first.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use super::arp::{ArpSocket, Mac};
use super::netlink::Snapshot;

/// How long after each question answers are collected. A living kernel answers within a millisecond, a busy virtual
/// machine within tens of them.
const WINDOW: Duration = Duration::from_millis(100);

/// How often each address is asked for.
const ROUNDS: usize = 2;

/// The hardware addresses of all other machines that answer ARP on an interface for each of the addresses, after 0.2 s.
/// An address of this node itself may be among them: then they are the other holders.
///
/// # Errors
/// Nobody can be asked there: no such interface, down, no carrier, no Ethernet, not permitted.
pub fn answering(interface: &str, addresses: &[Ipv4Addr]) -> Result<Vec<Vec<Mac>>, String> {
    let snapshot = Snapshot::read()?;
    let link = snapshot.interface(interface)?;
    if let Some(cause) = link.unusable() {
        return Err(cause);
    }
    let Some(mac) = link.mac.filter(|_| link.arp) else {
        return Err(format!("{interface} is no Ethernet with ARP: nobody can be asked"));
    };
    let own = |address: &Ipv4Addr| link.addresses.iter().map(|own| own.addr()).find(|own| own != address);
    let failed = |error: std::io::Error| format!("cannot ask by ARP on {interface}: {error}");
    let sockets: Vec<ArpSocket> = addresses
        .iter()
        .map(|_| ArpSocket::open(link.index, mac))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    for _ in 0..ROUNDS {
        for (socket, address) in sockets.iter().zip(addresses) {
            socket.ask(*address, own(address)).map_err(failed)?;
        }
        thread::sleep(WINDOW);
    }
    let mut found = Vec::new();
    for (socket, address) in sockets.iter().zip(addresses) {
        let mut macs: Vec<Mac> = Vec::new();
        while let Some(mac) = socket.heard(*address).map_err(failed)? {
            if !macs.contains(&mac) {
                macs.push(mac);
            }
        }
        found.push(macs);
    }
    Ok(found)
}
