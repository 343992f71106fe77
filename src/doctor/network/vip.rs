//! The virtual IP.

use std::path::Path;

use ipnet::Ipv4Net;

use super::super::survey::{Link, Survey};
use super::super::{Finding, edit, remedy};
use crate::config::{ClusterManager, Config};
use crate::foreign::static_address::Mention;
use crate::observation::{Fact, Role};

/// The virtual router's own hardware addresses (RFC 5798 §7.3): keepalived's `use_vmac` gives both nodes the same one.
const VRRP: &str = "00:00:5e:00:01:";

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &survey.network.interface {
        Fact::Known(link) => {
            findings.push(interface(link));
            findings.extend(prefix(link, config));
        }
        Fact::Unknown(cause) => findings.push(
            Finding::fail(
                "vip-interface",
                cause,
                "without the interface there is nowhere to put the virtual IP",
            )
            .advice(format!(
                "correct vip.interface in {}; `ip -brief link` shows the names",
                config.file.display()
            )),
        ),
    }
    findings.extend(place(survey, config));
    findings.extend(holders(survey, config));
    findings.push(at_boot(survey, config));
    findings
}

fn interface(link: &Link) -> Finding {
    let check = "vip-interface";
    let name = &link.name;
    let why = "a takeover refuses: without this link no client reaches the database here";
    if !link.up {
        return Finding::fail(check, format!("{name} is down"), why).remedy(format!("ip link set {name} up"));
    }
    if !link.carrier {
        return Finding::fail(check, format!("{name} is up but has no carrier"), why)
            .advice("see the cable, the switch or the virtual machine's link");
    }
    if !link.arp {
        return Finding::warn(
            check,
            format!("{name} is no Ethernet with ARP"),
            "nobody can be asked whether the virtual IP is in use, and it can't be announced",
        )
        .advice("on such a link only DRBD and a fence command tell whether the peer is dead");
    }
    Finding::pass(check, format!("{name} is up"))
}

/// A virtual IP of /32 leans on no network: that is a choice of its own.
fn prefix(link: &Link, config: &Config) -> Option<Finding> {
    let check = "vip-prefix";
    let vip = config.vip.address;
    let own = link.addresses.iter().find(|own| own.addr() != vip.addr() && own.contains(&vip.addr()))?;
    if vip.prefix_len() == own.prefix_len() || vip.prefix_len() == 32 {
        return Some(Finding::pass(check, vip.to_string()));
    }
    let right = format!("{}/{}", vip.addr(), own.prefix_len());
    let script = format!("s|{}|{right}|", vip.to_string().replace('.', "\\."));
    Some(
        Finding::warn(
            check,
            format!("the virtual IP is {vip}, the interface's own address {own}"),
            "with another prefix length the active node has other routes than the standby, and answers some clients elsewhere",
        )
        .remedy(remedy::sed(&config.file, &script))
        .advice("do the same on the peer"),
    )
}

/// The active node has the virtual IP where the configuration puts it, the standby nowhere. keepalived puts it where its own
/// file says, with a prefix length and at a moment of its own.
fn place(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "vip-place";
    let vip = config.vip.address;
    let drbd = survey.observation.drbd.known()?;
    let mount = survey.observation.mount.known()?;
    let mounted = mount.at_directory.as_ref().is_some_and(|mounted| mounted.is_our_device);
    let keepalived = config.cluster_manager == ClusterManager::Keepalived;
    let places = match &survey.network.vip_places {
        Fact::Known(places) => places,
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
    };
    let shown: Vec<String> = places.iter().map(|(interface, at)| format!("{at} on {interface}")).collect();
    let seen = shown.join(", ");
    match drbd.role {
        Role::Primary if mounted && places.is_empty() => {
            let finding = Finding::fail(
                check,
                format!("this node is active, but {vip} is not on it"),
                "the database runs, and no client reaches it",
            );
            let others = survey.network.vip_holders.known().is_none_or(|others| !others.is_empty());
            Some(if keepalived {
                finding.advice("keepalived puts it there: see its log")
            } else if others {
                finding.advice(
                    "another machine may have it: find that one and take the address from it; then, here: standin takeover",
                )
            } else {
                finding.completed_by_takeover(config)
            })
        }
        Role::Primary if mounted && keepalived => Some(Finding::pass(check, seen)),
        Role::Primary if mounted => Some(misplaced(check, places, &seen, config)),
        Role::Secondary if !keepalived && !places.is_empty() => {
            let finding = Finding::fail(
                check,
                format!("{seen}, although this node is Secondary"),
                "clients that reach this node find no database",
            );
            Some(places.iter().fold(finding, |finding, place| finding.remedy(take_away(place))))
        }
        _ => None,
    }
}

fn misplaced(check: &'static str, places: &[(String, Ipv4Net)], seen: &str, config: &Config) -> Finding {
    let vip = config.vip.address;
    let wanted = &config.vip.interface;
    let (right, wrong): (Vec<_>, Vec<_>) =
        places.iter().partition(|(interface, at)| interface == wanted && *at == vip);
    if wrong.is_empty() {
        return Finding::pass(check, seen);
    }
    let mut finding = Finding::fail(
        check,
        format!("{seen}; the configuration has {vip} on {wanted}"),
        "clients of that network don't reach it, or are answered by another way than they came",
    );
    let beside = wrong.iter().any(|(interface, _)| interface == wanted);
    if right.is_empty() && beside {
        finding = finding.remedy(remedy::words(&["ip", "address", "add", &vip.to_string(), "dev", wanted]));
    }
    finding = wrong.into_iter().fold(finding, |finding, place| finding.remedy(take_away(place)));
    if right.is_empty() && !beside { finding.completed_by_takeover(config) } else { finding }
}

fn take_away((interface, at): &(String, Ipv4Net)) -> String {
    remedy::words(&["ip", "address", "del", &at.to_string(), "dev", interface])
}

fn holders(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "vip-duplicate";
    let vip = config.vip.address.addr();
    let others = match &survey.network.vip_holders {
        Fact::Known(others) => others,
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
    };
    let why = "of two machines with one address each gets a part of the clients, and their writes";
    let find = "find the machine by its hardware address (ip neighbour, the switch's table) and take the address from it";
    match (&survey.observation.vip.here, others.as_slice()) {
        (Fact::Unknown(cause), _) => Some(Finding::unknown(check, cause)),
        (Fact::Known(Some(here)), []) => {
            Some(Finding::pass(check, format!("{vip} is on {here}, and nobody else answers for it")))
        }
        (Fact::Known(Some(_)), _) => Some(
            Finding::fail(
                check,
                format!("{vip} is on this node and also answered by {}", others.join(", ")),
                why,
            )
            .advice(find),
        ),
        (Fact::Known(None), []) => {
            let peer = survey.observation.drbd.known().map(|drbd| drbd.peer_role);
            (peer == Some(Role::Primary)).then(|| {
                Finding::fail(
                    check,
                    format!("nobody answers for {vip}, although the peer is Primary"),
                    "clients reach no database; a takeover would wait, because the peer lives",
                )
                .advice(format!("see on {}: standin status", config.peer.name))
            })
        }
        (Fact::Known(None), [one]) if one.starts_with(VRRP) => {
            Some(Finding::pass(check, format!("{vip} is answered by {one} alone")))
        }
        (Fact::Known(None), [one]) => Some(match &survey.network.peer_hardware {
            Fact::Known(peer) if peer.contains(one) => {
                Finding::pass(check, format!("{vip} is answered by the peer alone ({one})"))
            }
            Fact::Known(peer) if peer.is_empty() => Finding::warn(
                check,
                format!("{vip} is answered by {one}, the peer's own address by nobody"),
                "if it is not the peer who has it, a takeover never finds it free",
            )
            .advice(find),
            Fact::Known(peer) => Finding::fail(
                check,
                format!("{vip} is answered by {one}, which is not the peer ({})", peer.join(", ")),
                "a takeover never finds it free",
            )
            .advice(find),
            Fact::Unknown(cause) => Finding::unknown(check, cause),
        }),
        (Fact::Known(None), several) => Some(
            Finding::fail(check, format!("{vip} is answered by {}", several.join(" and ")), why).advice(find),
        ),
    }
}

fn at_boot(survey: &Survey, config: &Config) -> Finding {
    let check = "vip-static";
    let vip = config.vip.address.addr();
    let mentions = &survey.network.static_vip;
    if mentions.is_empty() {
        return Finding::pass(check, format!("no network configuration brings up {vip}"));
    }
    let places: Vec<String> = mentions.iter().map(|mention| mention.place.to_string()).collect();
    let finding = Finding::fail(
        check,
        format!("{vip} is brought up at boot: {}", places.join(", ")),
        "a node that comes back has the virtual IP beside the one that took over",
    );
    let commands = mentions.iter().map(|mention| match (&mention.part, own_unit(mention)) {
        (Some((old, new)), _) => edit::replace(&mention.place, old, new),
        (None, Some(unit)) => remedy::words(&["systemctl", "disable", unit]),
        (None, None) => edit::comment_out(&mention.place, mention.last),
    });
    Finding { remedy: commands.collect(), ..finding }
}

/// The unit whose own file gives the address: without its command it would be a broken one.
fn own_unit(mention: &Mention) -> Option<&str> {
    let file = &mention.place.file;
    let unit = file.file_name()?.to_str().filter(|name| name.ends_with(".service"))?;
    (file.parent()? == Path::new("/etc/systemd/system")).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Status, sample};
    use super::super::sample::PEER;
    use super::*;
    use crate::foreign::static_address::{commands, mentions};

    fn finding(survey: &Survey, check: &str) -> Option<Finding> {
        examine(survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        finding(survey, check).map(|finding| finding.status)
    }

    #[test]
    fn the_interface_must_be_there_up_and_linked() {
        let mut survey = sample::survey();
        let link = |change: fn(&mut Link)| {
            let mut survey = sample::survey();
            if let Fact::Known(link) = &mut survey.network.interface {
                change(link);
            }
            status(&survey, "vip-interface")
        };
        assert_eq!(link(|_| {}), Some(Status::Pass));
        assert_eq!(link(|link| link.up = false), Some(Status::Fail));
        assert_eq!(link(|link| link.carrier = false), Some(Status::Fail));
        assert_eq!(link(|link| link.arp = false), Some(Status::Warn));
        survey.network.interface = Fact::Unknown("this node has no network interface eth0".to_owned());
        assert_eq!(status(&survey, "vip-interface"), Some(Status::Fail));
    }

    #[test]
    fn the_prefix_length_is_the_interfaces_or_32() {
        let with = |vip: &str| {
            let mut config = sample::config();
            config.vip.address = vip.parse().unwrap_or(config.vip.address);
            let findings = examine(&sample::survey(), &config);
            findings
                .into_iter()
                .find(|finding| finding.check == "vip-prefix")
                .map(|found| (found.status, found.remedy))
        };
        assert_eq!(with("10.77.0.100/32"), Some((Status::Pass, Vec::new())));
        let remedy =
            vec!["sed -i --follow-symlinks 's|10\\.77\\.0\\.100/16|10.77.0.100/24|' r0.yaml".to_owned()];
        assert_eq!(with("10.77.0.100/16"), Some((Status::Warn, remedy)));
    }

    #[test]
    fn the_virtual_ip_has_one_holder() {
        let standby = |holders: &[&str]| {
            let mut survey = sample::survey();
            survey.network.vip_holders = Fact::Known(holders.iter().map(|&mac| mac.to_owned()).collect());
            survey
        };
        assert_eq!(status(&standby(&[PEER]), "vip-duplicate"), Some(Status::Pass));
        assert_eq!(status(&standby(&["00:00:5e:00:01:33"]), "vip-duplicate"), Some(Status::Pass));
        assert_eq!(status(&standby(&["02:00:00:00:00:09"]), "vip-duplicate"), Some(Status::Fail));
        assert_eq!(status(&standby(&[PEER, "02:00:00:00:00:09"]), "vip-duplicate"), Some(Status::Fail));
        assert_eq!(status(&standby(&[]), "vip-duplicate"), Some(Status::Fail), "the peer is Primary");
        let active = |holders: &[&str]| {
            let mut survey = standby(holders);
            survey.observation.vip.here = Fact::Known(Some("eth0".to_owned()));
            status(&survey, "vip-duplicate")
        };
        assert_eq!((active(&[]), active(&[PEER])), (Some(Status::Pass), Some(Status::Fail)));
    }

    #[test]
    fn the_active_node_has_it_where_it_belongs_and_the_standby_has_it_not() {
        let judged = |mut survey: Survey, places: &[(&str, &str)]| {
            let place = |&(interface, at): &(&str, &str)| Some((interface.to_owned(), at.parse().ok()?));
            survey.network.vip_places = Fact::Known(places.iter().filter_map(place).collect());
            finding(&survey, "vip-place").map(|found| (found.status, found.remedy.join("; ")))
        };
        let fail = |remedy: &str| Some((Status::Fail, remedy.to_owned()));
        let active = sample::active;
        assert_eq!(judged(active(), &[("eth0", "10.77.0.100/24")]), Some((Status::Pass, String::new())));
        assert_eq!(judged(active(), &[]), fail("standin --config r0.yaml takeover"));
        let elsewhere = "ip address del 10.77.0.100/24 dev eth1; standin --config r0.yaml takeover";
        assert_eq!(judged(active(), &[("eth1", "10.77.0.100/24")]), fail(elsewhere));
        let prefix = "ip address add 10.77.0.100/24 dev eth0; ip address del 10.77.0.100/32 dev eth0";
        assert_eq!(judged(active(), &[("eth0", "10.77.0.100/32")]), fail(prefix));
        let twice = [("eth0", "10.77.0.100/24"), ("eth1", "10.77.0.100/24")];
        assert_eq!(judged(active(), &twice), fail("ip address del 10.77.0.100/24 dev eth1"));
        assert_eq!(judged(sample::survey(), &[]), None);
        let standby = fail("ip address del 10.77.0.100/24 dev eth0");
        assert_eq!(judged(sample::survey(), &[("eth0", "10.77.0.100/24")]), standby);
    }

    #[test]
    fn a_static_virtual_ip_is_commented_out() {
        let mut survey = sample::survey();
        assert_eq!(status(&survey, "vip-static"), Some(Status::Pass));
        let text = "iface eth0:0 inet static\n address 10.77.0.100/24\n";
        let vip = sample::config().vip.address.addr();
        survey.network.static_vip = mentions(text, Path::new("/etc/network/interfaces"), vip);
        let found = finding(&survey, "vip-static").map(|finding| (finding.status, finding.remedy));
        let remedy = vec!["sed -i --follow-symlinks '1,2s/^/# /' /etc/network/interfaces".to_owned()];
        assert_eq!(found, Some((Status::Fail, remedy)));
    }

    #[test]
    fn a_unit_that_gives_the_address_is_disabled_and_a_crontab_commented_out() {
        let remedy = |text: &str, file: &str| {
            let mut survey = sample::survey();
            survey.network.static_vip = commands(text, Path::new(file), sample::config().vip.address.addr());
            finding(&survey, "vip-static").map(|finding| finding.remedy.join("; "))
        };
        let text = "[Service]\nExecStart=/sbin/ip addr add 10.77.0.100/24 dev eth0\n";
        let disable = "systemctl disable vip.service";
        assert_eq!(remedy(text, "/etc/systemd/system/vip.service").as_deref(), Some(disable));
        let comment = "sed -i --follow-symlinks '2s/^/# /' /etc/crontab";
        assert_eq!(remedy(text, "/etc/crontab").as_deref(), Some(comment));
    }
}
