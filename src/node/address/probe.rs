//! Who answers for an address, who is silent, and when silence proves nothing.
//!
//! An answer is evidence whichever way it came. Silence is evidence only when ARP asked in every round over a link that
//! was up all the time: a living kernel answers ARP whatever its firewall says, while echo requests are dropped by
//! firewalls and our own dead network card hears nobody.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::arp::{ArpSocket, Mac};
use super::assign::other_holder;
use super::icmp::IcmpSocket;
use super::netlink::{self, Snapshot};
use super::{Interface, Route};
use crate::failure::Failure;
use crate::node::{Applied, Attempt};
use crate::observation::{AddressProbe, Answer};

/// After an echo reply, how long ARP's answer, which names the machine, may still take.
const GRACE: Duration = Duration::from_millis(2);

/// How often a wait says that it still waits.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// An address to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address.
    pub address: Ipv4Addr,
    /// The interface on whose link it belongs: ARP asks there, whatever the routes say. `None` asks the routes, and a
    /// target behind a gateway gets ICMP only.
    pub interface: Option<String>,
}

/// Asks all targets at once, by ICMP echo and ARP, up to `misses` times (at least once), `interval` apart.
///
/// Returns in the order of `targets`, as soon as the last of them has answered (about 1 ms on a living network) and
/// after `misses` × `interval` when one stays silent. Unknown, with the cause, is an own address, and silence that proves
/// nothing: no such interface, interface down, no carrier, link lost in between, not permitted, no route, or nothing but
/// ICMP to ask with (behind a gateway, or no Ethernet).
pub fn probe(targets: &[Target], misses: u32, interval: Duration) -> Vec<AddressProbe> {
    let snapshot = Snapshot::read();
    let mut askers: Vec<Result<Asker, String>> =
        targets.iter().map(|target| Asker::open(target, snapshot.as_ref().map_err(Clone::clone)?)).collect();

    let start = Instant::now();
    for round in 1..=misses.max(1) {
        let mut pending: Vec<&mut Asker> =
            askers.iter_mut().flatten().filter(|asker| !asker.is_finished(Instant::now())).collect();
        if pending.is_empty() {
            break;
        }
        for asker in &mut pending {
            asker.ask();
        }
        listen(&mut pending, start + interval.saturating_mul(round));
    }

    let after = Snapshot::read();
    targets
        .iter()
        .zip(askers)
        .map(|(target, asker)| AddressProbe {
            address: target.address,
            answer: asker.and_then(|asker| asker.result(&after)).into(),
        })
        .collect()
}

/// Who else on the interface's link answers for an address that this node carries, by ARP alone (120 ms when nobody does).
///
/// # Errors
/// Why nobody could be asked: silence would prove nothing.
pub fn second_holder(address: Ipv4Addr, interface: &str) -> Result<Option<Answer>, String> {
    let snapshot = Snapshot::read()?;
    let mac = other_holder(snapshot.interface(interface)?, address)?;
    Ok(mac.map(|mac| Answer { icmp: false, arp: Some(mac.to_string()) }))
}

/// Probes until the target was silent to ICMP echo and ARP `misses` times in a row, `interval` apart.
///
/// When this node itself carries the address it looks, by ARP alone, for a second holder.
///
/// # Errors
/// Refused when it is still answered at the deadline, or has a second holder; failed when silence would prove nothing;
/// timed out when the limit is too short for `misses` × `interval`.
pub fn wait_gone(
    target: &Target,
    misses: u32,
    interval: Duration,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let address = target.address;
    let snapshot = Snapshot::read().map_err(|cause| cannot_ask(address, &cause))?;
    let held = snapshot.holders(address).map_err(|cause| cannot_ask(address, &cause))?;
    if let Some(held) = held.first() {
        return already_here(target, &snapshot, &snapshot.name(held.index));
    }

    let misses = misses.max(1);
    let mut asker = Asker::open(target, &snapshot).map_err(|cause| cannot_ask(address, &cause))?;
    let mut missed = 0;
    let mut last_answer: Option<Answer> = None;
    let mut reported: Option<Instant> = None;
    loop {
        let round_end = Instant::now() + interval;
        let until = round_end.min(attempt.deadline());
        asker.forget();
        asker.ask();
        listen(&mut [&mut asker], until);
        if let Some(answer) = asker.answer() {
            missed = 0;
            if reported.is_none_or(|when| when.elapsed() >= REPORT_EVERY) {
                attempt.report(&format!("{address} is still answered {}, waiting", by(&answer)));
                reported = Some(Instant::now());
            }
            last_answer = Some(answer);
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        } else if let Some(cause) = &asker.inconclusive {
            return Err(cannot_ask(address, cause));
        } else if Instant::now() >= round_end {
            missed += 1;
        }
        if missed >= misses {
            break;
        }
        if attempt.remaining().is_zero() {
            return Err(still_there(address, last_answer.as_ref(), missed, misses, attempt.limit()));
        }
    }
    asker.result(&Snapshot::read()).map_err(|cause| cannot_ask(address, &cause))?;
    let applied = if last_answer.is_some() { Applied::done() } else { Applied::already_so() };
    Ok(applied.note(format!("{address} was silent to ICMP echo and ARP {misses} times in a row")))
}

fn already_here(target: &Target, snapshot: &Snapshot, here: &str) -> Result<Applied, Failure> {
    let address = target.address;
    let interface = target.interface.as_deref().unwrap_or(here);
    let other = snapshot
        .interface(interface)
        .and_then(|interface| other_holder(interface, address))
        .map_err(|cause| cannot_ask(address, &cause))?;
    match other {
        Some(mac) => Err(Failure::refused(
            format!("{address} is on this node's {here} and is also answered by {mac}"),
            "two machines hold the virtual IP: clients reach either of them",
            format!(
                "find the machine with {mac}; remove the address from the one that does not serve: ip address delete"
            ),
        )),
        None => Ok(Applied::already_so()
            .note(format!("{address} is on this node's {here} already; nobody else answers for it"))),
    }
}

fn still_there(
    address: Ipv4Addr,
    answer: Option<&Answer>,
    missed: u32,
    misses: u32,
    limit: Duration,
) -> Failure {
    match answer {
        Some(answer) => Failure::refused(
            format!("{address} is still answered {} after {limit:?}", by(answer)),
            "the other node, or another machine, still holds the virtual IP: two holders would split the clients",
            "release it there (standin release), or cut that machine's power, and try again",
        ),
        None => Failure::timed_out(
            format!("{address} was silent {missed} of {misses} times when the limit of {limit:?} ran out"),
            "fewer misses than configured do not prove that the virtual IP is free",
            "raise the step's time limit above misses × interval, or lower those",
        ),
    }
}

fn cannot_ask(address: Ipv4Addr, cause: &str) -> Failure {
    Failure::failed(
        format!("cannot tell whether anybody answers for {address}: {cause}"),
        "silence proves nothing when this node itself can't ask: it may be the one that is cut off",
        "repair the cause, check with `ip link` and `ip address`, and try again as root",
    )
}

fn by(answer: &Answer) -> String {
    match &answer.arp {
        Some(mac) => format!("by {mac}"),
        None => "to ICMP echo (no ARP answer)".into(),
    }
}

/// One target, asked both ways.
struct Asker {
    address: Ipv4Addr,
    interface: Interface,
    own_ip: Option<Ipv4Addr>,
    arp: Option<ArpSocket>,
    icmp: Option<IcmpSocket>,
    /// Why silence would prove nothing.
    inconclusive: Option<String>,
    /// Neither way could be asked in the last round.
    hopeless: bool,
    heard_icmp: Option<Instant>,
    heard_arp: Option<Mac>,
}

impl Asker {
    fn open(target: &Target, snapshot: &Snapshot) -> Result<Self, String> {
        let address = target.address;
        if let Some(held) = snapshot.holders(address)?.first() {
            let name = snapshot.name(held.index);
            return Err(format!("{address} is an address of this node itself, on {name}"));
        }
        let (interface, route) = match &target.interface {
            Some(name) => (snapshot.interface(name)?, None),
            None => {
                let route = netlink::route(address)?;
                (snapshot.interface(&route.interface)?, Some(route))
            }
        };
        if let Some(cause) = interface.unusable() {
            return Err(cause);
        }
        let own_ip = match &route {
            Some(Route { local: true, .. }) => {
                return Err(format!("the routes lead {address} back to this node itself"));
            }
            Some(route) => route.source,
            None => interface
                .addresses
                .iter()
                .find(|own| own.contains(&address))
                .or(interface.addresses.first())
                .map(|own| own.addr()),
        };
        let name = &interface.name;
        let (arp, no_arp) = match interface.mac {
            _ if route.as_ref().is_some_and(|route| route.gateway) => {
                (None, Some(format!("{address} is behind a gateway, where ARP can't ask")))
            }
            Some(mac) if interface.arp => match ArpSocket::open(interface.index, mac) {
                Ok(socket) => (Some(socket), None),
                Err(error) => {
                    (None, Some(format!("cannot ask by ARP on {name} (AF_PACKET socket): {error}")))
                }
            },
            _ => (None, Some(format!("{name} is no Ethernet with ARP"))),
        };
        let mut inconclusive = no_arp
            .map(|cause| format!("{cause}, and an unanswered ICMP echo alone may be a firewall's doing"));

        // An interface without an address has no source for an echo request; ARP can do without.
        let bare = target.interface.is_some() && interface.addresses.is_empty();
        let icmp = match (!bare).then(|| IcmpSocket::open(address, target.interface.as_deref())) {
            None => None,
            Some(Ok(socket)) => Some(socket),
            Some(Err(error)) => {
                inconclusive.get_or_insert_with(|| format!("cannot ask by ICMP echo: {error}"));
                None
            }
        };
        if arp.is_none() && icmp.is_none() {
            return Err(inconclusive.unwrap_or_else(|| format!("no way to ask on {name}")));
        }
        Ok(Self {
            address,
            own_ip,
            interface: interface.clone(),
            arp,
            icmp,
            inconclusive,
            hopeless: false,
            heard_icmp: None,
            heard_arp: None,
        })
    }

    /// Starts afresh: what was heard until now was an answer to an earlier round.
    fn forget(&mut self) {
        self.collect();
        self.heard_icmp = None;
        self.heard_arp = None;
    }

    fn ask(&mut self) {
        let name = &self.interface.name;
        let by_arp = self.arp.as_ref().map(|arp| {
            arp.ask(self.address, self.own_ip)
                .map_err(|error| format!("cannot ask by ARP on {name}: {error}"))
        });
        let by_icmp = self.icmp.as_mut().map(|icmp| {
            icmp.ask().map_err(|error| {
                format!(
                    "cannot send an ICMP echo request to {} (route or local firewall): {error}",
                    self.address
                )
            })
        });
        self.hopeless = !matches!(by_arp, Some(Ok(()))) && !matches!(by_icmp, Some(Ok(())));
        for cause in [by_arp, by_icmp].into_iter().flatten().filter_map(Result::err) {
            self.inconclusive.get_or_insert(cause);
        }
    }

    fn collect(&mut self) {
        if let Some(arp) = &self.arp {
            match arp.heard(self.address) {
                Ok(mac) => self.heard_arp = self.heard_arp.or(mac),
                Err(error) => {
                    let name = &self.interface.name;
                    self.inconclusive.get_or_insert_with(|| format!("cannot hear ARP on {name}: {error}"));
                }
            }
        }
        if let Some(icmp) = &self.icmp {
            match icmp.heard() {
                Ok(true) => self.heard_icmp = self.heard_icmp.or_else(|| Some(Instant::now())),
                Ok(false) => {}
                Err(error) => {
                    self.inconclusive
                        .get_or_insert_with(|| format!("cannot hear ICMP echo replies: {error}"));
                }
            }
        }
    }

    /// When waiting any longer gains nothing; `None` while nothing was heard.
    fn enough(&self) -> Option<Instant> {
        match (self.heard_icmp, self.heard_arp, &self.arp) {
            (Some(when), None, Some(_)) => Some(when + GRACE),
            (Some(when), ..) => Some(when),
            (None, Some(_), _) => Some(Instant::now()),
            (None, None, _) => None,
        }
    }

    fn is_finished(&self, now: Instant) -> bool {
        self.hopeless || self.enough().is_some_and(|when| when <= now)
    }

    fn answer(&self) -> Option<Answer> {
        let answer =
            Answer { icmp: self.heard_icmp.is_some(), arp: self.heard_arp.map(|mac| mac.to_string()) };
        (answer.icmp || answer.arp.is_some()).then_some(answer)
    }

    /// The answer; or silence, but only when it proves something.
    fn result(&self, after: &Result<Snapshot, String>) -> Result<Option<Answer>, String> {
        if let Some(answer) = self.answer() {
            return Ok(Some(answer));
        }
        if let Some(cause) = &self.inconclusive {
            return Err(cause.clone());
        }
        let before = &self.interface;
        let now = after.as_ref().map_err(Clone::clone)?.interface(&before.name)?;
        if let Some(cause) = now.unusable() {
            return Err(cause);
        }
        if now.index != before.index || now.carrier_changes != before.carrier_changes {
            return Err(format!("the link of {} went away and came back while it was asked", before.name));
        }
        Ok(None)
    }
}

/// Collects answers until all have finished or `until`.
fn listen(askers: &mut [&mut Asker], until: Instant) {
    loop {
        let now = Instant::now();
        let pending: Vec<&&mut Asker> = askers.iter().filter(|asker| !asker.is_finished(now)).collect();
        let Some(wake) = pending.iter().map(|asker| asker.enough().unwrap_or(until).min(until)).min() else {
            return;
        };
        if now >= until {
            return;
        }
        let mut descriptors: Vec<PollFd> = pending
            .iter()
            .flat_map(|asker| [asker.arp.as_ref().map(AsFd::as_fd), asker.icmp.as_ref().map(AsFd::as_fd)])
            .flatten()
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        let timeout = TimeSpec::from(wake.saturating_duration_since(now));
        let polled = ppoll(&mut descriptors, Some(timeout), None);
        drop(descriptors);
        if let Err(error) = polled
            && error != Errno::EINTR
        {
            for asker in askers.iter_mut() {
                asker.inconclusive.get_or_insert_with(|| format!("cannot wait for answers: {error}"));
                asker.hopeless = true;
            }
            return;
        }
        for asker in askers.iter_mut() {
            asker.collect();
        }
    }
}
