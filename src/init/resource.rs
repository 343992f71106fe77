//! The DRBD resource: which one, between which nodes, and its device.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use super::{ANSWERED, Answers, Chosen, Found, Missing, Stop, Topic, only, shown};
use crate::failure::Failure;
use crate::foreign::drbd_conf::{Host, Resource, Volume};
use crate::observation::Fact;

/// The resource and its two nodes, in the order of DRBD's configuration.
pub(super) struct Pair<'a> {
    pub(super) resource: Chosen<String>,
    pub(super) drbd: &'a Resource,
    pub(super) nodes: [(String, Ipv4Addr); 2],
    /// Which of them is this host.
    pub(super) own: usize,
}

impl Pair<'_> {
    /// What a comment says of something in the resource.
    pub(super) fn from(&self, what: &str) -> String {
        let place = self.drbd.defined_at.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
        format!("drbdadm dump: {what}{place}")
    }
}

fn impossible(seen: impl Into<String>, why: &str, next: impl Into<String>) -> Stop {
    Stop::Impossible(Box::new(Failure::failed(seen, why, next)))
}

/// The pair; `None` when a question was asked.
pub(super) fn choose<'a>(
    found: &'a Found,
    answers: &Answers,
    missing: &mut Missing,
) -> Result<Option<Pair<'a>>, Stop> {
    let configuration = match &found.drbd {
        Fact::Known(configuration) => configuration,
        Fact::Unknown(cause) => {
            return Err(impossible(
                format!("DRBD's configuration can't be read: {cause}"),
                "without a DRBD resource there is nothing to fail over",
                "correct what `drbdadm dump` complains about, as root, and run this again",
            ));
        }
    };
    let names: Vec<String> = configuration.resources.iter().map(|resource| resource.name.clone()).collect();
    if names.is_empty() {
        return Err(impossible(
            "DRBD's configuration holds no resource",
            "without a DRBD resource there is nothing to fail over",
            "describe one in /etc/drbd.d/NAME.res; `drbdadm dump` then shows it",
        ));
    }
    let name = match &answers.resource {
        Some(name) => Chosen::new(name.clone(), ANSWERED),
        None => match by_evidence(found, &names) {
            Ok(name) => name,
            Err(candidates) => {
                let cause = format!("DRBD has {} resources", names.len());
                return Ok(missing.ask(
                    Topic::Resource,
                    "the DRBD resource of the database",
                    cause,
                    candidates,
                ));
            }
        },
    };
    let Some(drbd) = configuration.resource(&name.value) else {
        return Err(impossible(
            format!("DRBD has no resource {}", name.value.escape_debug()),
            "the cluster is built on it",
            format!("name one of these: --resource {}", names.join(", ")),
        ));
    };
    pair(found, name, drbd).map(Some)
}

/// The only one, or the only one that Heartbeat manages.
fn by_evidence(found: &Found, names: &[String]) -> Result<Chosen<String>, Vec<Chosen<String>>> {
    let all = || names.iter().map(|name| Chosen::new(name.clone(), "drbdadm dump")).collect::<Vec<_>>();
    only(all()).or_else(|all| {
        let managed = found.managers.haresources.iter().flat_map(|file| file.all("drbddisk"));
        let managed = managed.filter_map(|(group, resource)| {
            let name = resource.arguments.first().filter(|name| names.contains(name))?;
            Some(Chosen::new(name.clone(), format!("{}: drbddisk", group.place)))
        });
        only(managed.collect()).map_err(|_| all)
    })
}

fn pair<'a>(found: &Found, name: Chosen<String>, drbd: &'a Resource) -> Result<Pair<'a>, Stop> {
    let resource = &name.value;
    let [first, second] = drbd.hosts.as_slice() else {
        return Err(impossible(
            format!("the DRBD resource {resource} has {} hosts", drbd.hosts.len()),
            "standin serves pairs",
            "name a resource with two hosts: --resource NAME",
        ));
    };
    let node = |host: &Host| -> Result<(String, Ipv4Addr), Stop> {
        // A host with several names is one that was renamed: ours is the one that counts here.
        let own = host.names.iter().find(|name| **name == found.host).or(host.names.first());
        let Some(own) = own else {
            return Err(impossible(
                format!("a host of the DRBD resource {resource} has no name"),
                "the nodes are told apart by their names",
                "use `on NAME` instead of `floating` in the resource",
            ));
        };
        let address = host.address.as_deref().unwrap_or_default();
        match address.parse::<SocketAddrV4>() {
            Ok(address) => Ok((own.clone(), *address.ip())),
            Err(_) => Err(impossible(
                format!("{own} has the replication address {:?} in the DRBD resource {resource}", address),
                "standin probes the peer there, by ARP, and so needs IPv4",
                "give the resource IPv4 addresses",
            )),
        }
    };
    let nodes = [node(first)?, node(second)?];
    let Some(own) = nodes.iter().position(|(name, _)| *name == found.host) else {
        return Err(impossible(
            format!(
                "this host is called {}, the DRBD resource {resource} is between {} and {}",
                found.host, nodes[0].0, nodes[1].0
            ),
            "the configuration names the nodes as `uname -n` does on each",
            "run this on one of the two, or correct the `on` sections of the resource",
        ));
    };
    Ok(Pair { resource: name, drbd, nodes, own })
}

/// The DRBD device; `None` when a question was asked.
pub(super) fn device(
    found: &Found,
    answers: &Answers,
    pair: &Pair<'_>,
    missing: &mut Missing,
) -> Option<Chosen<PathBuf>> {
    if let Some(device) = &answers.device {
        return Some(Chosen::new(device.clone(), ANSWERED));
    }
    let host = pair.drbd.host(&found.host)?;
    let of = |volume: &Volume| {
        let by_minor = || volume.minor.map(|minor| PathBuf::from(format!("/dev/drbd{minor}")));
        let from = pair.from(&format!("volume {} on {}", volume.number, found.host));
        Some(Chosen::new(volume.device.clone().or_else(by_minor)?, from))
    };
    let devices: Vec<Chosen<PathBuf>> = host.volumes.iter().filter_map(of).collect();
    only(devices).map_or_else(
        |devices| {
            let cause = format!("the resource {} has {} volumes", pair.resource.value, devices.len());
            let devices = devices.into_iter().map(|device| device.map(|path| path.display().to_string()));
            missing.ask(Topic::Device, "the DRBD device with the data", cause, shown(devices.collect()))
        },
        Some,
    )
}
