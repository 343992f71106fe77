//! The clients' side: virtual IP, its interface, and the nodes' own addresses.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::found::from_pacemaker;
use super::resource::Pair;
use super::{ANSWERED, Answers, Chosen, DraftNode, Found, Missing, Topic, only, shown};
use crate::foreign::heartbeat::prefix_length;

/// The clients' side of the draft.
pub(super) struct Clients {
    pub(super) vip: Chosen<Ipv4Net>,
    pub(super) interface: Chosen<String>,
    pub(super) nodes: [DraftNode; 2],
}

/// A virtual IP that some configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    address: Ipv4Addr,
    prefix: Option<u8>,
    interface: Option<String>,
}

/// All of it; `None` when a question was asked.
pub(super) fn choose(
    found: &Found,
    answers: &Answers,
    pair: &Pair<'_>,
    missing: &mut Missing,
) -> Option<Clients> {
    let named = virtual_ip(found, answers, missing)?;
    let of_node = found.hosts.iter().find(|line| {
        line.address == named.value.address && pair.nodes.iter().any(|(node, _)| line.names.contains(node))
    });
    if let Some(line) = of_node {
        let cause = format!("{} says that {} is a node's own address", line.place, named.value.address);
        return missing.ask(Topic::Vip, "the virtual IP, which moves between the nodes", cause, vec![]);
    }
    let interface = interface(found, answers, &named, missing)?;
    let Some(vip) = with_prefix(found, &named, &interface.value) else {
        let cause = format!("{} has no network with {} in it", interface.value, named.value.address);
        return missing.ask(
            Topic::Vip,
            "the virtual IP with its prefix length, as in 10.0.0.100/24",
            cause,
            vec![],
        );
    };
    let own = own_address(found, answers, pair, &vip, &interface.value, missing);
    let peer =
        own.as_ref().and_then(|own| peer_address(found, answers, pair, &vip, &interface.value, own, missing));
    let (own, peer) = (own?, peer?);
    let nodes = std::array::from_fn(|number| {
        let (name, replication) = &pair.nodes[number];
        let address = if number == pair.own { own.clone() } else { peer.clone() };
        let separate = pair.nodes[pair.own].1 != own.value || pair.nodes[1 - pair.own].1 != peer.value;
        let from = pair.from(&format!("on {name}"));
        let replication = separate.then(|| Chosen::new(*replication, from.clone()));
        DraftNode { name: Chosen::new(name.clone(), from), address, replication_address: replication }
    });
    Some(Clients { vip, interface, nodes })
}

fn virtual_ip(found: &Found, answers: &Answers, missing: &mut Missing) -> Option<Chosen<Named>> {
    if let Some((address, prefix)) = answers.vip {
        return Some(Chosen::new(Named { address, prefix, interface: None }, ANSWERED));
    }
    let managers = &found.managers;
    let groups = managers.haresources.iter().flat_map(|file| &file.groups);
    let of_heartbeat = groups.flat_map(|group| {
        group.resources.iter().filter_map(|resource| {
            let held = resource.address()?;
            let named = Named { address: held.address, prefix: held.prefix, interface: held.interface };
            Some(Chosen::new(named, format!("{}: {}", group.place, resource.text)))
        })
    });
    let of_keepalived = managers.keepalived.iter().flat_map(|instance| {
        instance.addresses.iter().map(|held| {
            // Without a prefix length keepalived takes /32, which says nothing of the network.
            let prefix = Some(held.prefix).filter(|length| *length < 32);
            let named = Named { address: held.address, prefix, interface: held.interface.clone() };
            Chosen::new(named, format!("{}: vrrp_instance {}", held.place, instance.name))
        })
    });
    let of_pacemaker = managers.primitives(&["IPaddr2", "IPaddr"]).filter_map(|primitive| {
        let parameter = |name: &str| primitive.parameters.get(name).map(String::as_str);
        let named = Named {
            address: parameter("ip")?.parse().ok()?,
            prefix: parameter("cidr_netmask").and_then(prefix_length),
            interface: parameter("nic").map(str::to_owned),
        };
        Some(Chosen::new(named, from_pacemaker(primitive)))
    });
    only(of_heartbeat.chain(of_pacemaker).chain(of_keepalived).collect()).map_or_else(
        |candidates| {
            let cause = match candidates.len() {
                0 => "neither Heartbeat's haresources, Pacemaker nor keepalived.conf names one".to_owned(),
                count => format!("there are {count} to choose from"),
            };
            let wanted = "the virtual IP and its prefix length, as in 10.0.0.100/24";
            let candidates = candidates.into_iter().map(|candidate| {
                candidate.map(|named| match named.prefix {
                    Some(prefix) => format!("{}/{prefix}", named.address),
                    None => named.address.to_string(),
                })
            });
            missing.ask(Topic::Vip, wanted, cause, shown(candidates.collect()))
        },
        Some,
    )
}

/// The networks of an interface, without the virtual IP's own.
fn networks(interface: &super::Interface, vip: Ipv4Addr) -> impl Iterator<Item = &Ipv4Net> {
    interface.addresses.iter().filter(move |network| network.addr() != vip && network.prefix_len() < 32)
}

fn interface(
    found: &Found,
    answers: &Answers,
    vip: &Chosen<Named>,
    missing: &mut Missing,
) -> Option<Chosen<String>> {
    if let Some(interface) = &answers.interface {
        return Some(Chosen::new(interface.clone(), ANSWERED));
    }
    if let Some(interface) = &vip.value.interface {
        return Some(Chosen::new(interface.clone(), vip.from.clone()));
    }
    let address = vip.value.address;
    let near = found.interfaces.iter().filter_map(|interface| {
        let network = networks(interface, address).find(|network| network.contains(&address))?;
        Some(Chosen::new(
            interface.name.clone(),
            format!("its network {} holds the virtual IP", network.trunc()),
        ))
    });
    only(near.collect()).map_or_else(
        |near| {
            let candidates = if near.is_empty() {
                let all = found.interfaces.iter();
                all.map(|interface| Chosen::new(interface.name.clone(), "an interface of this node"))
                    .collect()
            } else {
                near
            };
            let cause = format!("{address} is not in the network of exactly one interface");
            missing.ask(Topic::Interface, "the interface that carries the virtual IP", cause, candidates)
        },
        Some,
    )
}

fn with_prefix(found: &Found, named: &Chosen<Named>, interface: &str) -> Option<Chosen<Ipv4Net>> {
    let Named { address, prefix, .. } = named.value;
    if let Some(prefix) = prefix {
        return Some(Chosen::new(Ipv4Net::new(address, prefix).ok()?, named.from.clone()));
    }
    let network =
        networks(found.interface(interface)?, address).find(|network| network.contains(&address))?;
    let vip = Ipv4Net::new(address, network.prefix_len()).ok()?;
    Some(Chosen::new(vip, format!("{}; prefix length of {interface}'s network", named.from)))
}

fn own_address(
    found: &Found,
    answers: &Answers,
    pair: &Pair<'_>,
    vip: &Chosen<Ipv4Net>,
    interface: &str,
    missing: &mut Missing,
) -> Option<Chosen<Ipv4Addr>> {
    if let Some(address) = answers.address {
        return Some(Chosen::new(address, ANSWERED));
    }
    let on_interface = found.interface(interface).into_iter();
    let own = on_interface
        .flat_map(|interface| networks(interface, vip.value.addr()))
        .filter(|network| vip.value.contains(&network.addr()))
        .map(|network| Chosen::new(network.addr(), format!("{interface} of {}", found.host)));
    only(own.collect()).map_or_else(
        |candidates| {
            let cause = format!("{interface} has {} addresses in {}", candidates.len(), vip.value.trunc());
            let wanted = format!("{}'s own address on the clients' network", pair.nodes[pair.own].0);
            missing.ask(Topic::Address, wanted, cause, shown(candidates))
        },
        Some,
    )
}

fn peer_address(
    found: &Found,
    answers: &Answers,
    pair: &Pair<'_>,
    vip: &Chosen<Ipv4Net>,
    interface: &str,
    own: &Chosen<Ipv4Addr>,
    missing: &mut Missing,
) -> Option<Chosen<Ipv4Addr>> {
    if let Some(address) = answers.peer_address {
        return Some(Chosen::new(address, ANSWERED));
    }
    let (name, replication) = &pair.nodes[1 - pair.own];
    if own.value == pair.nodes[pair.own].1 {
        return Some(Chosen::new(
            *replication,
            pair.from(&format!("on {name}, which shares the clients' network")),
        ));
    }
    let mine = |address: Ipv4Addr| {
        found.interfaces.iter().flat_map(|own| &own.addresses).any(|network| network.addr() == address)
    };
    let fits = |address: Ipv4Addr| {
        vip.value.contains(&address) && address != vip.value.addr() && address != own.value && !mine(address)
    };
    let unicasts = found.managers.ha_cf.iter().flat_map(|file| file.unicasts());
    let unicasts = unicasts
        .filter(|(on, address, _)| *on == interface && fits(*address))
        .map(|(_, address, place)| Chosen::new(address, format!("{place}: ucast")));
    let lines = found.hosts.iter().filter(|line| line.names.contains(name) && fits(line.address));
    let lines = lines.map(|line| Chosen::new(line.address, line.place.to_string()));
    let corosync = found.managers.corosync.iter().flat_map(|file| file.nodes());
    let corosync = corosync.filter(|node| node.name == Some(name.as_str())).flat_map(|node| {
        let addresses = node.addresses.into_iter().filter_map(|address| address.parse().ok());
        let place = node.place;
        addresses.filter(|address| fits(*address)).map(move |address| Chosen::new(address, place.to_string()))
    });
    only(unicasts.chain(lines).chain(corosync).collect()).map_or_else(
        |candidates| {
            let cause = match candidates.len() {
                0 => "neither ha.cf, /etc/hosts nor corosync.conf names one in the virtual IP's network"
                    .to_owned(),
                count => format!("there are {count} to choose from"),
            };
            let wanted = format!("{name}'s own address on the clients' network");
            missing.ask(Topic::PeerAddress, wanted, cause, shown(candidates))
        },
        Some,
    )
}
