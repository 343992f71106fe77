//! Looks ten times a second at what a node holds, and sends each look away at once: a power cut takes at most the last.
//!
//! It starts no process, and is meant to run with a realtime priority. A look is one datagram with one line:
//! the node, the moment when this program started, the time before and after the look (nanoseconds of the realtime clock,
//! which in a node is the host's, as it was at that start: someone may set it), DRBD's role here, and whether the virtual
//! address is on an interface here.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use nix::ifaddrs::getifaddrs;

const INTERVAL: Duration = Duration::from_millis(100);

/// Looks ten times a second at DRBD's role and the virtual address, and sends each look to the host.
#[derive(Parser)]
struct Arguments {
    /// What the looks are signed with
    node: u8,
    /// Where they go
    to: SocketAddrV4,
    /// The virtual address
    vip: Ipv4Addr,
}

fn main() -> Result<()> {
    let Arguments { node, to, vip } = Arguments::parse();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let origin = Instant::now();
    let now = || started + origin.elapsed().as_nanos();
    let mut next = origin;
    loop {
        let before = now();
        let role = role();
        let here = is_here(vip)?;
        let line = format!("{node} {started} {before} {} {role} {}", now(), u8::from(here));
        // Early in a boot there is no way to the host yet; a look that is missing is noticed there.
        let _ = socket.send_to(line.as_bytes(), to);
        next += INTERVAL;
        let late = Instant::now();
        if next < late {
            next = late;
        }
        thread::sleep(next - late);
    }
}

/// The local role of minor 0, or `None` without DRBD.
fn role() -> String {
    let text = fs::read_to_string("/proc/drbd").unwrap_or_default();
    let line = text.lines().find(|line| line.trim_start().starts_with("0:"));
    let roles = line.and_then(|line| line.split_once(" ro:")).and_then(|(_, rest)| rest.split_once('/'));
    roles.map_or_else(|| "None".to_owned(), |(role, _)| role.to_owned())
}

fn is_here(vip: Ipv4Addr) -> Result<bool> {
    let mut addresses = getifaddrs()?.filter_map(|interface| interface.address);
    Ok(addresses.any(|address| address.as_sockaddr_in().is_some_and(|found| found.ip() == vip)))
}
