//! Whether DRBD's files, the kernel and this cluster's configuration speak of the same thing, and what happens at boot.

use std::net::Ipv4Addr;
use std::path::Path;

use super::super::network::why_not_here;
use super::super::survey::{DrbdSurvey, Survey};
use super::super::{Finding, remedy};
use super::ON_BOTH;
use super::setting::remove;
use crate::config::{ClusterManager, Config, NodeConfig};
use crate::foreign::drbd_conf::{Host, Resource};
use crate::observation::Fact;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let drbd = &survey.drbd;
    let resource = match &drbd.configured {
        Fact::Known(resource) => resource,
        Fact::Unknown(cause) => return vec![files(cause, survey, config), at_boot(drbd, config)],
    };
    let mut findings = vec![Finding::pass("drbd-files", format!("{} hosts", resource.hosts.len()))];
    findings.extend(applied(drbd, config));
    findings.push(addresses(resource, config));
    findings.extend(device(resource, drbd, config));
    findings.push(at_boot(drbd, config));
    findings.push(promoted_at_boot(resource, drbd, config));
    findings
}

fn files(cause: &str, survey: &Survey, config: &Config) -> Finding {
    let check = "drbd-files";
    if survey.drbd.module == Fact::Known(None) {
        return Finding::unknown(check, "drbdadm reads them by the kernel module, which is not loaded")
            .advice("see drbd-module first");
    }
    if cause.contains("was not looked at") || cause.contains("did not end within") {
        return Finding::unknown(check, cause);
    }
    let own = config.this_node.replication_address;
    if cause.contains(&format!("{own} not found on this host"))
        && let Some(reason) = why_not_here(&survey.network, own)
    {
        return Finding::unknown(
            check,
            &format!("drbdadm does not find {own} on this host, because {reason}"),
        )
        .advice("the files may be right: see own-addresses first");
    }
    Finding::fail(
        check,
        cause,
        "drbdadm can't do anything with these files: after the next boot the resource stays down, and no takeover can connect again",
    )
    .advice(format!("correct the line that drbdadm names until this is silent: drbdadm dump {}", config.resource))
}

fn applied(drbd: &DrbdSurvey, config: &Config) -> Option<Finding> {
    let check = "drbd-applied";
    match (&drbd.running, &drbd.pending) {
        (Fact::Known(Some(_)), Fact::Known(commands)) if commands.is_empty() => {
            Some(Finding::pass(check, "the kernel runs what the files say"))
        }
        (Fact::Known(Some(_)), Fact::Known(commands)) => {
            let finding = Finding::warn(
                check,
                format!("the kernel does not run what the files say; it would take: {}", commands.join("; ")),
                "after the next boot, or the next adjust, this node behaves differently from what was tested",
            )
            .remedy(format!("drbdadm adjust {}", config.resource));
            let breaks = |command: &String| {
                [" disconnect ", " detach ", " down "].iter().any(|word| command.contains(word))
            };
            Some(if commands.iter().any(breaks) {
                finding.advice("the connection breaks for a moment and comes back: not while the peer is the only good copy")
            } else {
                finding
            })
        }
        (Fact::Known(Some(_)), Fact::Unknown(cause)) => Some(Finding::unknown(check, cause)),
        (Fact::Unknown(cause), _) => Some(Finding::unknown(check, cause)),
        (Fact::Known(None), _) => None,
    }
}

/// Both nodes must be in the resource, with their replication addresses: these are what a takeover asks for signs of life.
fn addresses(resource: &Resource, config: &Config) -> Finding {
    let check = "drbd-addresses";
    let why = "whether the peer is alive is judged by its replication address: asking another one judges another link";
    let mut seen = Vec::new();
    for node in [&config.this_node, &config.peer] {
        let Some(address) = host(resource, node).and_then(|host| host.address.as_deref()) else {
            let names: Vec<&str> =
                resource.hosts.iter().flat_map(|host| &host.names).map(String::as_str).collect();
            return Finding::fail(
                check,
                format!("the resource {} has no host {} (it has {})", resource.name, node.name, names.join(", ")),
                "the configuration and the resource are not of the same nodes",
            )
            .advice(format!(
                "name the nodes in {} as `uname -n` and the resource's `on` sections do, or correct drbd.resource",
                config.file.display()
            ));
        };
        let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
        if ip.parse() != Ok(node.replication_address) {
            return Finding::fail(
                check,
                format!(
                    "DRBD replicates with {} at {ip}, the configuration says {}",
                    node.name, node.replication_address
                ),
                why,
            )
            .remedies(config_edit(config, node, ip));
        }
        seen.push(format!("{} {address}", node.name));
    }
    Finding::pass(check, seen.join(", "))
}

fn host<'a>(resource: &'a Resource, node: &NodeConfig) -> Option<&'a Host> {
    resource.host(&node.name).or_else(|| {
        // `floating` sections have addresses only.
        resource.hosts.iter().find(|host| {
            let ip = host.address.as_deref().and_then(|address| address.rsplit_once(':')).map(|(ip, _)| ip);
            host.names.is_empty()
                && ip.and_then(|ip| ip.parse::<Ipv4Addr>().ok()) == Some(node.replication_address)
        })
    })
}

/// Within the node's own part of the file, so that nothing else that has this address changes. Nothing where the address
/// stands in for both networks: then a line has to be added, by hand.
fn config_edit(config: &Config, node: &NodeConfig, ip: &str) -> Result<Vec<String>, String> {
    let file = config.file.display().to_string();
    if node.replication_address == node.address {
        return Err(format!(
            "write replication_address: {ip} under nodes: {}: in {file}, on both nodes",
            node.name
        ));
    }
    let old = node.replication_address.to_string().replace('.', "\\.");
    let script = format!("s/\\(replication_address: *[\"']\\{{0,1\\}}\\){old}\\b/\\1{ip}/");
    Ok(vec![remedy::sed(&config.file, &script)])
}

impl Finding {
    /// Adds commands, or advice where there are none.
    #[must_use]
    fn remedies(mut self, commands: Result<Vec<String>, String>) -> Self {
        match commands {
            Ok(commands) => {
                self.remedy.extend(commands);
                self.advice("do the same on the peer: both nodes have the same configuration file")
            }
            Err(advice) => self.advice(advice),
        }
    }
}

fn device(resource: &Resource, drbd: &DrbdSurvey, config: &Config) -> Option<Finding> {
    let check = "drbd-device";
    let own = host(resource, &config.this_node)?;
    let configured = &config.mount.device;
    let is_it = |device: &Path| device == drbd.device || device == configured;
    let devices: Vec<&Path> = own.volumes.iter().filter_map(|volume| volume.device.as_deref()).collect();
    let minors: Vec<u32> = own.volumes.iter().filter_map(|volume| volume.minor).collect();
    let by_minor = |minor: &u32| drbd.device == Path::new(&format!("/dev/drbd{minor}"));
    if devices.iter().any(|device| is_it(device)) || minors.iter().any(by_minor) {
        return Some(Finding::pass(check, configured.display().to_string()));
    }
    let shown: Vec<String> = devices.iter().map(|device| device.display().to_string()).collect();
    let finding = Finding::fail(
        check,
        format!(
            "mount.device is {}, the resource {} has {}",
            configured.display(),
            resource.name,
            shown.join(", ")
        ),
        "a takeover would promote one thing and mount another",
    );
    let [device] = devices.as_slice() else {
        return Some(
            finding.advice(format!("correct mount.device or drbd.resource in {}", config.file.display())),
        );
    };
    let pattern = |text: &str| text.replace('.', "\\.").replace('|', "\\|");
    let script = format!(
        "s|\\(device: *[\"']\\{{0,1\\}}\\){}\\b|\\1{}|",
        pattern(&configured.display().to_string()),
        device.display()
    );
    Some(finding.remedies(Ok(vec![remedy::sed(&config.file, &script)])))
}

/// Under Pacemaker the agent does it.
fn at_boot(drbd: &DrbdSurvey, config: &Config) -> Finding {
    let check = "drbd-at-boot";
    if config.cluster_manager == ClusterManager::Pacemaker {
        return Finding::pass(check, "Pacemaker's agent brings it up");
    }
    let units: Vec<&str> = drbd.starters.iter().map(|starter| starter.unit.as_str()).collect();
    if !units.is_empty() {
        return Finding::pass(check, format!("brought up by {}", units.join(", ")));
    }
    let unit =
        if drbd.has_target { format!("drbd@{}.target", config.resource) } else { "drbd.service".to_owned() };
    Finding::fail(
        check,
        "no enabled unit brings DRBD up",
        "after a boot this node receives nothing: it can't take over, and nobody notices until it has to",
    )
    .remedy(format!("systemctl enable {unit}"))
}

fn promoted_at_boot(resource: &Resource, drbd: &DrbdSurvey, config: &Config) -> Finding {
    let check = "drbd-promoted-at-boot";
    let why = "a node that returns from a crash would become Primary by itself, beside or before the one that took over";
    if let Some(node) = resource.startup.get("become-primary-on") {
        let commands = remove(&drbd.sources, &config.resource, "startup", "become-primary-on");
        let finding = Finding::fail(check, format!("startup has become-primary-on {node}"), why);
        return match commands.is_empty() {
            true => finding.advice("take become-primary-on out of the section startup, on both nodes"),
            false => Finding { remedy: commands, ..finding }.advice(ON_BOTH),
        };
    }
    let mut promoting = drbd.starters.iter().filter(|starter| starter.promotes);
    match promoting.next() {
        Some(starter) => Finding::fail(check, format!("{} is enabled and promotes", starter.unit), why)
            .remedy(format!("systemctl disable {}", starter.unit)),
        None => Finding::pass(check, "nothing promotes at boot"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::edit::tests::after;
    use super::super::super::survey::Starter;
    use super::super::super::{Status, sample};
    use super::super::sample::set_in_files;
    use super::*;

    fn finding(survey: &Survey, check: &str) -> Option<Finding> {
        examine(survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        finding(survey, check).map(|finding| finding.status)
    }

    #[test]
    fn files_that_drbdadm_refuses_fail() {
        let mut survey = sample::survey();
        assert_eq!(status(&survey, "drbd-files"), Some(Status::Pass));
        survey.drbd.configured =
            Fact::Unknown("`drbdadm dump` ended with exit code 10: r0.res:2: Parse error".to_owned());
        assert_eq!(status(&survey, "drbd-files"), Some(Status::Fail));
        survey.drbd.configured =
            Fact::Unknown("`drbdadm dump` did not end within 5.0 s and was killed".to_owned());
        assert_eq!(status(&survey, "drbd-files"), Some(Status::Warn));
        survey.drbd.configured = Fact::Unknown("r0.res:2: Parse error: got 'fencing'".to_owned());
        survey.drbd.module = Fact::Known(None);
        assert_eq!(status(&survey, "drbd-files"), Some(Status::Warn), "nobody shall delete that line");
    }

    #[test]
    fn an_address_that_is_down_is_not_the_files_fault() {
        let mut survey = sample::survey();
        survey.drbd.configured = Fact::Unknown(
            "`drbdadm dump` ended with exit code 10: IP 10.77.1.2 not found on this host.".to_owned(),
        );
        assert_eq!(status(&survey, "drbd-files"), Some(Status::Fail));
        survey.network.own_links[1].up = false;
        assert_eq!(status(&survey, "drbd-files"), Some(Status::Warn));
        assert!(finding(&survey, "drbd-files").is_some_and(|found| found.seen.contains("eth1")));
    }

    #[test]
    fn what_the_kernel_does_not_run_yet_is_a_warning() {
        let mut survey = sample::survey();
        survey.drbd.pending = Fact::Known(vec!["drbdsetup-84 disconnect ipv4:a ipv4:b".to_owned()]);
        let found = finding(&survey, "drbd-applied");
        assert_eq!(found.map(|found| (found.status, found.advice.is_some())), Some((Status::Warn, true)));
        survey.drbd.running = Fact::Known(None);
        assert_eq!(status(&survey, "drbd-applied"), None, "it is down, which another check says");
    }

    #[test]
    fn other_addresses_and_other_nodes_fail() {
        let survey = sample::survey();
        assert_eq!(status(&survey, "drbd-addresses"), Some(Status::Pass));
        let mut config = sample::config();
        config.peer.replication_address = Ipv4Addr::new(10, 77, 1, 9);
        config.file = "/file".into();
        let findings = examine(&survey, &config);
        let found = findings.iter().find(|finding| finding.check == "drbd-addresses");
        let command = found.and_then(|finding| finding.remedy.first().cloned()).unwrap_or_default();
        let text = "n: {address: 10.77.1.9, replication_address: '10.77.1.9'}\nw: 10.77.1.99\n";
        assert_eq!(
            after(text, &command),
            "n: {address: 10.77.1.9, replication_address: '10.77.1.1'}\nw: 10.77.1.99\n"
        );
        config.peer.name = "node9".to_owned();
        assert_eq!(sample::status(&examine(&survey, &config), "drbd-addresses"), Some(Status::Fail));
    }

    #[test]
    fn the_device_must_be_the_resources() {
        let mut survey = sample::survey();
        let mut config = sample::config();
        config.mount.device = "/dev/drbd/by-res/r0/0".into();
        assert_eq!(
            sample::status(&examine(&survey, &config), "drbd-device"),
            Some(Status::Pass),
            "a symbolic link"
        );
        survey.drbd.device = "/dev/drbd7".into();
        config.mount.device = "/dev/drbd7".into();
        config.file = "/file".into();
        let findings = examine(&survey, &config);
        let found = findings.iter().find(|finding| finding.check == "drbd-device");
        assert_eq!(found.map(|finding| finding.status), Some(Status::Fail));
        let command = found.and_then(|finding| finding.remedy.first().cloned()).unwrap_or_default();
        assert_eq!(
            after("  device: /dev/drbd7\n  x: /dev/drbd70\n", &command),
            "  device: /dev/drbd0\n  x: /dev/drbd70\n"
        );
    }

    #[test]
    fn drbd_comes_up_at_boot_and_stays_secondary() {
        let mut survey = sample::survey();
        assert_eq!(status(&survey, "drbd-at-boot"), Some(Status::Pass));
        assert_eq!(status(&survey, "drbd-promoted-at-boot"), Some(Status::Pass));
        survey.drbd.starters.push(Starter { unit: "own.service".to_owned(), promotes: true });
        assert_eq!(status(&survey, "drbd-promoted-at-boot"), Some(Status::Fail));
        survey.drbd.starters.clear();
        let found = finding(&survey, "drbd-at-boot");
        assert_eq!(found.map(|found| found.remedy), Some(vec!["systemctl enable drbd@r0.target".to_owned()]));
        set_in_files(&mut survey.drbd, "startup", "become-primary-on", "node1");
        assert_eq!(status(&survey, "drbd-promoted-at-boot"), Some(Status::Fail));
    }
}
