//! This node's addresses, the ways to the peer, and the witnesses.

use std::net::Ipv4Addr;

use super::super::survey::{ArpSettings, NetworkSurvey, Survey};
use super::super::{Finding, remedy};
use crate::config::Config;
use crate::observation::{AddressProbe, Fact};
use crate::plan::shell_words;

/// `arp_ignore` from which on a request is never answered (ip-sysctl.rst).
const NEVER_ANSWERS: u32 = 8;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings =
        vec![own_addresses(survey), peer(survey, config), second_path(survey, config), arp(survey)];
    findings.push(witnesses(survey, config));
    findings
}

/// Why nothing can be sent from an address of this node, in one clause; `None` where something can, or nobody knows. An
/// interface that is switched off keeps its address, and others (drbdadm, the routes) no longer see it.
pub(in crate::doctor) fn why_not_here(network: &NetworkSurvey, address: Ipv4Addr) -> Option<String> {
    let (_, interface) = network.own.iter().find(|(own, _)| *own == address)?;
    match interface.known()? {
        None => Some(format!("no interface has {address}")),
        Some(name) => {
            let link = network.own_links.iter().find(|link| link.name == *name)?;
            match (link.up, link.carrier) {
                (false, _) => Some(format!("{name}, which has {address}, is down")),
                (true, false) => Some(format!("{name}, which has {address}, has no carrier")),
                (true, true) => None,
            }
        }
    }
}

fn own_addresses(survey: &Survey) -> Finding {
    let check = "own-addresses";
    let mut seen = Vec::new();
    for (address, interface) in &survey.network.own {
        match interface {
            Fact::Known(Some(interface)) if why_not_here(&survey.network, *address).is_some() => {
                let seen = why_not_here(&survey.network, *address).unwrap_or_default();
                let finding = Finding::fail(
                    check,
                    seen,
                    "the peer asks that address whether this node lives: its silence counts as death",
                );
                let links = &survey.network.own_links;
                return if links.iter().any(|link| link.name == *interface && !link.up) {
                    finding.remedy(remedy::words(&["ip", "link", "set", interface, "up"]))
                } else {
                    finding.advice("see the cable, the switch or the virtual machine's link")
                };
            }
            Fact::Known(Some(interface)) => seen.push(format!("{address} on {interface}")),
            Fact::Known(None) => {
                return Finding::fail(
                    check,
                    format!("this node does not have its own address {address}"),
                    "the peer asks that address whether this node lives: its silence counts as death",
                )
                .advice("bring the address up, or correct it in the configuration of both nodes");
            }
            Fact::Unknown(cause) => return Finding::unknown(check, cause),
        }
    }
    seen.dedup();
    Finding::pass(check, seen.join(", "))
}

fn answers(probe: &AddressProbe) -> Option<bool> {
    probe.answer.known().map(Option::is_some)
}

fn peer(survey: &Survey, config: &Config) -> Finding {
    let check = "peer-answers";
    let probes = &survey.observation.peer.addresses;
    let list = |wanted: Option<bool>| {
        let found: Vec<String> = probes
            .iter()
            .filter(|probe| answers(probe) == wanted)
            .map(|probe| probe.address.to_string())
            .collect();
        found.join(", ")
    };
    let name = &config.peer.name;
    if probes.iter().all(|probe| answers(probe) == Some(true)) {
        return Finding::pass(check, format!("{name} answers at {}", list(Some(true))));
    }
    if let Some(cause) = probes.iter().find_map(|probe| match &probe.answer {
        Fact::Unknown(cause) => Some(cause),
        Fact::Known(_) => None,
    }) {
        return Finding::fail(
            check,
            format!("{name} could not be asked: {cause}"),
            "an address that this node can't ask proves nothing about the peer: a takeover may refuse",
        )
        .advice("bring this node's own link up");
    }
    let why = "with one way gone, a cut of the other looks like the peer's death";
    if probes.iter().any(|probe| answers(probe) == Some(true)) {
        return Finding::fail(check, format!("{name} is silent at {}", list(Some(false))), why)
            .advice("see the cable and the switch of that network, and the peer's interface");
    }
    Finding::fail(
        check,
        format!("{name} is silent at {}", list(Some(false))),
        "it is off or cut off: there is no standby",
    )
    .advice("bring the peer back")
}

fn second_path(survey: &Survey, config: &Config) -> Finding {
    let check = "second-path";
    let why = "one cable or one switch then takes away replication and every sign of life at once: the standby sees a dead \
               peer that is alive";
    let own = survey.network.own.iter();
    if let Some(cause) = own.into_iter().find_map(|(own, _)| why_not_here(&survey.network, *own)) {
        return Finding::unknown(check, &cause).advice("see own-addresses first");
    }
    let paths = &survey.network.paths;
    let mut interfaces = Vec::new();
    for (address, path) in paths {
        match path {
            Fact::Known(path) if path.gateway => {
                return Finding::warn(
                    check,
                    format!("{address} is behind a gateway"),
                    "ARP can't ask there, so that silence proves nothing: a takeover needs other evidence",
                )
                .advice("put both nodes on the same network");
            }
            Fact::Known(path) => interfaces.push(path.interface.as_str()),
            Fact::Unknown(cause) => return Finding::unknown(check, cause),
        }
    }
    if config.peer.address == config.peer.replication_address {
        return Finding::warn(check, "replication and clients share one network", why)
            .advice("connect the nodes by a second cable, and give it to DRBD as its replication addresses");
    }
    match interfaces.as_slice() {
        [one, other] if one != other => Finding::pass(check, format!("{one} and {other}")),
        _ => Finding::warn(check, format!("both ways to the peer go through {}", interfaces.join(", ")), why)
            .advice("connect the nodes by a second cable, and give it to DRBD as its replication addresses"),
    }
}

/// A takeover announces the virtual IP itself, repeatedly: `arp_notify` is not needed for it, and only shown.
fn arp(survey: &Survey) -> Finding {
    let check = "arp-answers";
    let mut deaf: Vec<&ArpSettings> = Vec::new();
    let mut seen = Vec::new();
    for settings in &survey.network.arp {
        match (&settings.ignore, &settings.notify) {
            (Fact::Known((own, all)), notify) => {
                if *own.max(all) >= NEVER_ANSWERS {
                    deaf.push(settings);
                }
                let notify = notify.known().map_or(0, |(own, all)| *own.max(all));
                seen.push(format!(
                    "{}: arp_ignore {}, arp_notify {notify}",
                    settings.interface,
                    own.max(all)
                ));
            }
            (Fact::Unknown(cause), _) => return Finding::unknown(check, cause),
        }
    }
    if deaf.is_empty() {
        return Finding::pass(check, seen.join("; "));
    }
    let mut finding = Finding::fail(
        check,
        format!("this node does not answer ARP ({})", seen.join("; ")),
        "the peer takes its silence for death, and nobody finds the virtual IP here",
    );
    let mut names: Vec<String> = Vec::new();
    for settings in deaf {
        if let Fact::Known((own, all)) = settings.ignore {
            let interface = &settings.interface;
            names.extend((own >= NEVER_ANSWERS).then(|| format!("net/ipv4/conf/{interface}/arp_ignore")));
            names.extend((all >= NEVER_ANSWERS).then(|| "net/ipv4/conf/all/arp_ignore".to_owned()));
        }
    }
    names.sort();
    names.dedup();
    for name in names {
        finding = finding
            .remedy(format!("sysctl -w {name}=0"))
            .remedy(format!("printf '{name} = 0\\n' >> /etc/sysctl.d/zz-standin.conf"));
    }
    finding
}

fn witnesses(survey: &Survey, config: &Config) -> Finding {
    let check = "witnesses";
    let file = config.file.display().to_string();
    let probes = &survey.observation.witnesses;
    let nodes = [&config.this_node, &config.peer];
    let known: Vec<Ipv4Addr> =
        nodes.iter().flat_map(|node| [node.address, node.replication_address]).collect();
    let gateway = survey.network.gateway.filter(|(gateway, answers)| {
        *answers
            && !known.contains(gateway)
            && *gateway != config.vip.address.addr()
            && !config.witnesses.contains(gateway)
    });
    if probes.is_empty() {
        if config.fence.is_some() {
            return Finding::pass(check, "none, but a fence command makes sure of the peer");
        }
        let finding = Finding::warn(
            check,
            "neither a witness nor a fence command is configured",
            "a node that is cut off from everything sees what a survivor sees: both nodes may become active, and the commits \
             of one are lost",
        );
        return match gateway {
            Some((gateway, _)) => finding
                .remedy(format!("sed -i '/^witnesses:/d' {}", shell_words(std::slice::from_ref(&file))))
                .remedy(format!("printf '\\nwitnesses: [{gateway}]\\n' >> {}", shell_words(&[file])))
                .advice("do the same on the peer"),
            None => finding.advice("name machines that are neither node, such as the router, under witnesses; or a fence command"),
        };
    }
    let silent: Vec<&AddressProbe> = probes.iter().filter(|probe| answers(probe) != Some(true)).collect();
    let Some(first) = silent.first() else {
        let listed: Vec<String> = probes.iter().map(|probe| probe.address.to_string()).collect();
        return Finding::pass(check, format!("{} answer", listed.join(", ")));
    };
    let listed: Vec<String> = silent.iter().map(|probe| probe.address.to_string()).collect();
    let seen = format!("{} of {} witnesses silent: {}", silent.len(), probes.len(), listed.join(", "));
    let finding = if silent.len() == probes.len() {
        Finding::fail(
            check,
            seen,
            "without the answer of one a takeover refuses, because it may be this node that is cut off",
        )
    } else {
        Finding::warn(check, seen, "a witness that never answers helps nobody when it counts")
    };
    match gateway {
        Some((gateway, _)) if silent.len() == 1 => {
            let old = first.address.to_string().replace('.', "\\.");
            let script = format!("/^witnesses:/,$s/\\b{old}\\b/{gateway}/");
            finding
                .remedy(remedy::sed(&config.file, &script))
                .advice("that puts the default gateway, which answers, in its place; do the same on the peer")
        }
        _ => finding.advice(format!(
            "bring it back, or name another machine under witnesses in {file}, on both nodes"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::edit::tests::after;
    use super::super::super::survey::Path;
    use super::super::super::{Status, sample};
    use super::*;

    fn finding(survey: &Survey, config: &Config, check: &str) -> Option<Finding> {
        examine(survey, config).into_iter().find(|finding| finding.check == check)
    }

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        finding(survey, &sample::config(), check).map(|finding| finding.status)
    }

    #[test]
    fn this_node_must_have_the_addresses_that_it_is_asked_at() {
        let mut survey = sample::survey();
        survey.network.own[1].1 = Fact::Known(None);
        assert_eq!(status(&survey, "own-addresses"), Some(Status::Fail));
    }

    #[test]
    fn an_interface_that_is_down_is_named_and_switched_on() {
        let mut survey = sample::survey();
        survey.network.own_links[1].carrier = false;
        assert_eq!(status(&survey, "own-addresses"), Some(Status::Fail));
        survey.network.own_links[1].up = false;
        survey.network.paths[1].1 = Fact::Known(Path { interface: "eth0".to_owned(), gateway: true });
        let found = finding(&survey, &sample::config(), "own-addresses");
        assert_eq!(found.map(|found| found.remedy), Some(vec!["ip link set eth1 up".to_owned()]));
        let found = finding(&survey, &sample::config(), "second-path");
        assert!(found.is_some_and(|found| found.seen.contains("eth1") && found.status == Status::Warn));
    }

    #[test]
    fn the_peer_answers_on_both_ways() {
        let mut survey = sample::survey();
        survey.observation.peer.addresses[1].answer = Fact::Known(None);
        assert_eq!(status(&survey, "peer-answers"), Some(Status::Fail));
        survey.observation.peer.addresses[1].answer = Fact::Unknown("eth0 is down".to_owned());
        assert_eq!(status(&survey, "peer-answers"), Some(Status::Fail));
        assert_eq!(status(&sample::survey(), "peer-answers"), Some(Status::Pass));
    }

    #[test]
    fn two_ways_are_two_interfaces() {
        let mut survey = sample::survey();
        survey.network.paths[0].1 = Fact::Known(Path { interface: "eth1".to_owned(), gateway: false });
        assert_eq!(status(&survey, "second-path"), Some(Status::Warn));
        survey.network.paths[0].1 = Fact::Known(Path { interface: "eth0".to_owned(), gateway: true });
        assert_eq!(status(&survey, "second-path"), Some(Status::Warn));
        let mut config = sample::config();
        config.peer.replication_address = config.peer.address;
        assert_eq!(
            finding(&sample::survey(), &config, "second-path").map(|found| found.status),
            Some(Status::Warn)
        );
    }

    #[test]
    fn a_node_that_is_deaf_to_arp_counts_as_dead() {
        let mut survey = sample::survey();
        survey.network.arp[1].ignore = Fact::Known((1, 2));
        assert_eq!(
            status(&survey, "arp-answers"),
            Some(Status::Pass),
            "they are answered where the address is"
        );
        survey.network.arp[1].ignore = Fact::Known((0, 8));
        let found = finding(&survey, &sample::config(), "arp-answers");
        let remedy = found.map(|found| found.remedy).unwrap_or_default();
        assert_eq!(remedy.first().map(String::as_str), Some("sysctl -w net/ipv4/conf/all/arp_ignore=0"));
        assert_eq!(remedy.len(), 2);
    }

    #[test]
    fn witnesses_are_there_and_answer() {
        let mut config = sample::config();
        config.file = "/file".into();
        let mut survey = sample::survey();
        survey.network.gateway = Some((Ipv4Addr::new(10, 77, 0, 253), true));
        assert_eq!(finding(&survey, &config, "witnesses").map(|found| found.status), Some(Status::Pass));
        survey.observation.witnesses[0].answer = Fact::Known(None);
        let found = finding(&survey, &config, "witnesses");
        assert_eq!(found.as_ref().map(|found| found.status), Some(Status::Fail));
        let command = found.and_then(|found| found.remedy.first().cloned()).unwrap_or_default();
        assert_eq!(
            after("a: 10.77.0.254\nwitnesses: [10.77.0.254]\n", &command),
            "a: 10.77.0.254\nwitnesses: [10.77.0.253]\n"
        );
    }

    #[test]
    fn without_witnesses_a_fence_command_will_do() {
        let mut config = sample::config();
        config.file = "/file".into();
        config.witnesses.clear();
        let mut survey = sample::survey();
        survey.observation.witnesses.clear();
        let found = finding(&survey, &config, "witnesses");
        assert_eq!(found.as_ref().map(|found| found.status), Some(Status::Warn));
        let commands = found.map(|found| found.remedy).unwrap_or_default();
        let text =
            commands.iter().fold("a: 1\nwitnesses: []\n".to_owned(), |text, command| after(&text, command));
        assert_eq!(text, "a: 1\n\nwitnesses: [10.77.0.254]\n");
        config.fence = Some(vec!["/fence".to_owned()]);
        assert_eq!(finding(&survey, &config, "witnesses").map(|found| found.status), Some(Status::Pass));
    }
}
