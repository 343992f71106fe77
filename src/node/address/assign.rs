//! Adding, removing and announcing the virtual IP.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::Interface;
use super::arp::{ArpSocket, Mac};
use super::netlink::{self, Assigned, Snapshot, is};
use crate::failure::Failure;
use crate::node::{Applied, Attempt};

/// Duplicate-address probes, and how long each is listened for. RFC 5227 §2.2 lets links that answer faster than its
/// several seconds probe more briefly; the long look is the wait for the VIP to go, which comes before.
const PROBES: u32 = 2;
const PROBE_WINDOW: Duration = Duration::from_millis(60);

/// Between two questions whether another machine still has the address.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Adds the virtual IP (`RTM_NEWADDR`) after a duplicate-address probe of 120 ms, and announces it once.
///
/// The announcement is repeated when the address was there already: an earlier run may have been killed before its own.
/// That it could not be sent is a warning, since the address is in place and [`announce`] repeats it.
///
/// # Errors
/// Refused when another machine answers for the address; failed when the interface is missing, down or without carrier,
/// when the address is on another interface or with another prefix length, or when the kernel did not take it.
pub fn add(vip: Ipv4Net, interface: &str, attempt: &Attempt) -> Result<Applied, Failure> {
    let address = vip.addr();
    let fail = |cause: String| cannot_add(vip, interface, &cause);
    let snapshot = Snapshot::read().map_err(fail)?;
    let link = snapshot.interface(interface).map_err(fail)?;
    if let Some(cause) = link.unusable() {
        return Err(fail(cause));
    }
    let held = snapshot.holders(address).map_err(fail)?;
    for other in &held {
        if other.index != link.index || other.address.prefix_len() != vip.prefix_len() {
            return Err(misplaced(other.address, &snapshot.name(other.index), vip, interface));
        }
    }
    let here = !held.is_empty();

    if link.arp {
        // A holder that was replaced may be about to let it go.
        loop {
            match other_holder(link, address) {
                Ok(None) => break,
                Ok(Some(mac)) if attempt.remaining() > ASK_AGAIN && !here => {
                    attempt.report(&format!("{address} is still answered by {mac}"));
                    thread::sleep(ASK_AGAIN);
                }
                Ok(Some(mac)) => return Err(duplicate(address, mac, here.then_some(interface))),
                Err(cause) => return Err(fail(cause)),
            }
        }
    }
    if attempt.remaining().is_zero() {
        return Err(Failure::timed_out(
            format!("no time was left to add {vip} to {interface}: the limit was {:?}", attempt.limit()),
            "without the virtual IP no client reaches the database",
            "raise the step's time limit and try again",
        ));
    }
    let applied = if here {
        Applied::already_so()
    } else {
        match netlink::add_address(link.index, vip) {
            Ok(()) => Applied::done(),
            Err(error) if is(&error, Errno::EEXIST) => Applied::already_so(),
            Err(error) => return Err(fail(format!("the kernel refused (RTM_NEWADDR): {error}"))),
        }
    };
    if !link.arp {
        return Ok(applied.warning(format!(
            "{interface} is no Ethernet with ARP: nobody was asked whether {address} is in use, and it was not announced"
        )));
    }
    Ok(match announce(address, interface, 1, Duration::ZERO) {
        Ok(()) => applied,
        Err(cause) => applied.warning(cause),
    })
}

/// Removes the virtual IP (`RTM_DELADDR`) from whichever interface carries it, and verifies that it is gone.
///
/// Other addresses of the same subnet stay, also when the kernel would delete them along with it.
///
/// # Errors
/// Failed when the kernel could not be asked or did not delete it, and then the address may still be here.
pub fn remove(vip: Ipv4Net, interface: &str, _attempt: &Attempt) -> Result<Applied, Failure> {
    let address = vip.addr();
    let fail = |cause: String| cannot_remove(vip, interface, &cause);
    let snapshot = Snapshot::read().map_err(fail)?;
    let held = snapshot.holders(address).map_err(fail)?;
    if held.is_empty() {
        return Ok(Applied::already_so());
    }
    let mut unexpected = Vec::new();
    for each in &held {
        let name = snapshot.name(each.index);
        if name != interface || each.address.prefix_len() != vip.prefix_len() {
            unexpected.push(format!("{} on {name}", each.address));
        }
        let promotion = Promotion::needed(&snapshot, each, &name).map_err(fail)?;
        let deleted = netlink::delete_address(each);
        drop(promotion);
        match deleted {
            // Gone in between: by its interface, or by another hand.
            Err(error) if is(&error, Errno::EADDRNOTAVAIL) || is(&error, Errno::ENODEV) => {}
            Err(error) => return Err(fail(format!("the kernel refused (RTM_DELADDR) on {name}: {error}"))),
            Ok(()) => {}
        }
    }
    let after = Snapshot::read().map_err(fail)?;
    if let Some(left) = after.holders(address).map_err(fail)?.first() {
        let name = after.name(left.index);
        return Err(fail(format!("it was deleted and is on {name} again: something else adds it")));
    }
    Ok(if unexpected.is_empty() {
        Applied::done()
    } else {
        Applied::done().note(format!("found and removed as {}", unexpected.join(", ")))
    })
}

/// Sends `count` rounds of gratuitous ARP, request and reply, `interval` apart, so that neighbours and switches learn
/// where the address is now.
///
/// Stops as soon as the address has left the interface: announcing it then would draw the clients away from its new
/// holder.
///
/// # Errors
/// Which rounds could not be sent, and why; the others were.
pub fn announce(vip: Ipv4Addr, interface: &str, count: u32, interval: Duration) -> Result<(), String> {
    let warn = |cause: String| {
        format!(
            "{vip} could not be announced on {interface}: {cause}. Neighbours may keep sending to the old node for \
             minutes; announce it with: arping -U -c 3 -I {interface} {vip}"
        )
    };
    let mut failed = Vec::new();
    let mut cause = String::new();
    for round in 1..=count {
        if round > 1 {
            std::thread::sleep(interval);
        }
        if let Err(error) = announce_once(vip, interface) {
            failed.push(round.to_string());
            cause = error;
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(warn(format!("round {} of {count}: {cause}", failed.join(", "))))
    }
}

fn announce_once(vip: Ipv4Addr, interface: &str) -> Result<(), String> {
    // Looked up every time: in between, a release may have removed it, or the interface may have been made anew.
    let snapshot = Snapshot::read()?;
    let link = snapshot.interface(interface)?;
    if !snapshot.holders(vip)?.iter().any(|held| held.index == link.index) {
        return Err(format!("the address is not on {interface} any more"));
    }
    if let Some(cause) = link.unusable() {
        return Err(cause);
    }
    match link.mac {
        Some(mac) if link.arp => {
            let socket = ArpSocket::open(link.index, mac).map_err(|error| socket_error(interface, &error))?;
            socket.announce(vip).map_err(|error| format!("cannot send gratuitous ARP: {error}"))
        }
        // Without ARP there are no neighbour caches to correct.
        _ => Ok(()),
    }
}

/// Another machine on the interface's link that uses the address, by ARP alone: works whether or not it is here as well.
pub(super) fn other_holder(interface: &Interface, address: Ipv4Addr) -> Result<Option<Mac>, String> {
    let name = &interface.name;
    if let Some(cause) = interface.unusable() {
        return Err(cause);
    }
    let Some(mac) = interface.mac.filter(|_| interface.arp) else {
        return Err(format!("{name} is no Ethernet with ARP: nobody can be asked"));
    };
    let own_ip = interface.addresses.iter().map(Ipv4Net::addr).find(|own| *own != address);
    let socket = ArpSocket::open(interface.index, mac).map_err(|error| socket_error(name, &error))?;
    for _ in 0..PROBES {
        socket.ask(address, own_ip).map_err(|error| format!("cannot ask by ARP on {name}: {error}"))?;
        let until = Instant::now() + PROBE_WINDOW;
        loop {
            let heard =
                socket.heard(address).map_err(|error| format!("cannot hear ARP on {name}: {error}"))?;
            let left = until.saturating_duration_since(Instant::now());
            if heard.is_some() {
                return Ok(heard);
            }
            if left.is_zero() {
                break;
            }
            let mut descriptors = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut descriptors, Some(TimeSpec::from(left)), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(format!("cannot wait for ARP on {name}: {error}")),
            }
        }
    }
    Ok(None)
}

/// Lets the secondary addresses of a subnet outlive their primary, while it exists.
///
/// The kernel deletes them with it, and the routes through them, unless `promote_secondaries` is set (ip-sysctl.rst).
/// The VIP is the primary when the node's own address was configured after it, and a release must not cut the node off.
struct Promotion {
    file: String,
}

impl Promotion {
    fn needed(snapshot: &Snapshot, vip: &Assigned, interface: &str) -> Result<Option<Self>, String> {
        let dependents: Vec<String> = snapshot
            .addresses
            .iter()
            .filter(|other| other.index == vip.index && other.is_secondary())
            .filter(|other| other.address.trunc() == vip.address.trunc())
            .map(|other| other.address.to_string())
            .collect();
        if vip.is_secondary() || dependents.is_empty() {
            return Ok(None);
        }
        let setting = |scope: &str| format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries");
        let on = |file: &str| fs::read_to_string(file).is_ok_and(|value| value.trim() != "0");
        let file = setting(interface);
        if on(&file) || on(&setting("all")) {
            return Ok(None);
        }
        fs::write(&file, "1").map_err(|error| {
            format!(
                "deleting it would delete {} too, and {file} could not be set: {error}",
                dependents.join(", ")
            )
        })?;
        Ok(Some(Self { file }))
    }
}

impl Drop for Promotion {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, "0") {
            log::warn!("{} stays at 1: {error}", self.file);
        }
    }
}

fn socket_error(interface: &str, error: &io::Error) -> String {
    format!("cannot open an AF_PACKET socket on {interface} (needs CAP_NET_RAW): {error}")
}

fn cannot_add(vip: Ipv4Net, interface: &str, cause: &str) -> Failure {
    Failure::failed(
        format!("cannot add {vip} to {interface}: {cause}"),
        "without the virtual IP no client reaches the database",
        format!(
            "repair the cause (see `ip link show dev {interface}`), run as root, and try again; by hand: \
             ip address add {vip} dev {interface}"
        ),
    )
}

fn misplaced(found: Ipv4Net, on: &str, vip: Ipv4Net, interface: &str) -> Failure {
    Failure::failed(
        format!("{found} is already on {on}, while the configuration wants {vip} on {interface}"),
        "clients may not reach an address with another prefix length or on another network",
        format!("correct the configuration, or remove it: ip address delete {found} dev {on}"),
    )
}

fn duplicate(address: Ipv4Addr, mac: Mac, here: Option<&str>) -> Failure {
    let also = here.map_or_else(String::new, |name| format!(", and it is on this node's {name} too"));
    Failure::refused(
        format!("{address} is answered by {mac}{also}"),
        "two holders of the virtual IP would split the clients between two machines",
        format!(
            "find the machine with {mac} (ip neigh, the switch's table), take the address from it, try again"
        ),
    )
}

fn cannot_remove(vip: Ipv4Net, interface: &str, cause: &str) -> Failure {
    Failure::failed(
        format!("cannot remove {vip} from {interface}: {cause}"),
        "while it may still be here, the other node must not add it: two holders would split the clients",
        format!("remove it by hand as root: ip address delete {vip} dev {interface}; check: ip address show"),
    )
}
