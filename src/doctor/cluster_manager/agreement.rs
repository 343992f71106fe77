//! Whether the configuration names the cluster manager that really runs here.

use super::super::survey::{ClusterManagerSurvey, Manager};
use super::super::{Finding, edit};
use super::heartbeat::way;
use super::name;
use crate::config::Config;
use crate::foreign::keepalived::vrrp_instances;
use crate::observation::Fact;
use crate::plan::shell_words;

pub(super) fn examine(survey: &ClusterManagerSurvey, config: &Config) -> Vec<Finding> {
    let managers = match &survey.managers {
        Fact::Known(managers) => managers,
        Fact::Unknown(cause) => return vec![Finding::unknown("cluster-manager", cause)],
    };
    let mut findings = vec![agrees(managers, survey, config)];
    if let Some(configured) = name(config.cluster_manager) {
        findings.extend(managers.iter().find(|manager| manager.name == configured).map(at_boot));
    }
    findings
}

fn agrees(managers: &[Manager], survey: &ClusterManagerSurvey, config: &Config) -> Finding {
    let check = "cluster-manager";
    let configured = name(config.cluster_manager);
    let shown = configured.unwrap_or("none");
    let concerned = |manager: &&Manager| manager.name != "keepalived" || keepalived_has_vip(survey, config);
    let running: Vec<&Manager> = managers.iter().filter(|manager| manager.runs).filter(concerned).collect();
    let other = running.iter().find(|manager| Some(manager.name.as_str()) != configured);
    if let Some(other) = other {
        let finding = Finding::fail(
            check,
            format!("{} runs here, the configuration says {shown}", other.name),
            "it and standin act on the same resources, and neither knows of the other: two holders of the virtual IP, or a \
             takeover that is taken back",
        );
        let value = match other.name.as_str() {
            "heartbeat" if way::is_managed(survey, config) => "{heartbeat: keep}",
            "heartbeat" => "{heartbeat: kill}",
            name => name,
        };
        return set(finding, survey, config, value);
    }
    match configured {
        Some(name) if running.is_empty() => Finding::warn(
            check,
            format!("{name} is configured and does not run here"),
            "this node takes part in no decision: nobody starts a takeover here by itself",
        )
        .advice(format!("start it on a node whose resources are in order: systemctl start {name}.service")),
        Some(name) => Finding::pass(check, format!("{name} runs, as configured")),
        None => Finding::pass(check, "none runs, as configured"),
    }
}

fn keepalived_has_vip(survey: &ClusterManagerSurvey, config: &Config) -> bool {
    match &survey.keepalived {
        Some(Fact::Known(file)) => {
            let instances = vrrp_instances(file);
            instances
                .iter()
                .flat_map(|instance| &instance.addresses)
                .any(|held| held.address == config.vip.address.addr())
        }
        _ => false,
    }
}

/// Makes the configuration say so.
pub(super) fn set(finding: Finding, survey: &ClusterManagerSurvey, config: &Config, value: &str) -> Finding {
    let file = config.file.display().to_string();
    let both = "do the same on the peer";
    match &survey.configured {
        Some((place, line)) => {
            finding.remedy(edit::replace(place, line, &format!("cluster_manager: {value}"))).advice(both)
        }
        None if survey.not_configured => finding
            .remedy(format!("printf '\\ncluster_manager: {value}\\n' >> {}", shell_words(&[file])))
            .advice(both),
        None => finding.advice(format!("write cluster_manager: {value} in {file}, on both nodes")),
    }
}

fn at_boot(manager: &Manager) -> Finding {
    let check = "cluster-manager-at-boot";
    let unit = format!("{}.service", manager.name);
    if manager.enabled {
        return Finding::pass(check, format!("{unit} is enabled"));
    }
    Finding::warn(
        check,
        format!("{unit} is not enabled"),
        "after a boot this node takes part in no decision until a person starts it",
    )
    .remedy(format!("systemctl enable {unit}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::path::Path;

    use super::super::super::{Status, sample};
    use super::*;
    use crate::foreign::{Place, keepalived};

    /// A node on which one manager runs.
    pub(in crate::doctor) fn running(name: &str) -> ClusterManagerSurvey {
        let manager =
            |known: &str| Manager { name: known.to_owned(), runs: known == name, enabled: known == name };
        ClusterManagerSurvey {
            managers: Fact::Known(["heartbeat", "pacemaker", "keepalived"].map(manager).to_vec()),
            not_configured: true,
            ..ClusterManagerSurvey::default()
        }
    }

    fn finding(survey: &ClusterManagerSurvey, more: &str, check: &str) -> Finding {
        let found = examine(survey, &sample::config_with(more));
        found.into_iter().find(|finding| finding.check == check).unwrap()
    }

    #[test]
    fn who_runs_must_be_who_is_configured() {
        let status =
            |survey: &ClusterManagerSurvey, more: &str| finding(survey, more, "cluster-manager").status;
        assert_eq!(status(&running(""), ""), Status::Pass);
        assert_eq!(status(&running("heartbeat"), "cluster_manager: {heartbeat: kill}"), Status::Pass);
        assert_eq!(status(&running("heartbeat"), "cluster_manager: pacemaker"), Status::Fail);
        assert_eq!(status(&running(""), "cluster_manager: pacemaker"), Status::Warn);
        let found = finding(&running("heartbeat"), "", "cluster-manager");
        assert_eq!(found.status, Status::Fail);
        assert_eq!(found.remedy, ["printf '\\ncluster_manager: {heartbeat: kill}\\n' >> r0.yaml"]);
        let mut survey = running("heartbeat");
        survey.not_configured = false;
        survey.configured = Some((Place::new("/c", 4), "cluster_manager: none".to_owned()));
        let file = std::path::Path::new("/etc/ha.d/haresources");
        survey.heartbeat.haresources =
            Some(crate::foreign::heartbeat::haresources("node1 standin::r0\n", file));
        let remedy = finding(&survey, "", "cluster-manager").remedy;
        assert!(remedy[0].contains("keep"), "standin is one of its resources: {remedy:?}");
        survey.heartbeat.haresources = None;
        let remedy = finding(&survey, "", "cluster-manager").remedy;
        let text = edit::tests::after("\n\n\ncluster_manager: none\n", &remedy[0].replace(" /c", " /file"));
        assert_eq!(text, "\n\n\ncluster_manager: {heartbeat: kill}\n");
    }

    #[test]
    fn keepalived_counts_when_it_has_the_virtual_ip() {
        let mut survey = running("keepalived");
        assert_eq!(finding(&survey, "", "cluster-manager").status, Status::Pass, "it has another address");
        let text = "vrrp_instance a {\n virtual_ipaddress {\n 10.77.0.100/24\n }\n}\n";
        survey.keepalived = Some(Fact::Known(keepalived::parse(text, Path::new("/k")).unwrap()));
        assert_eq!(finding(&survey, "", "cluster-manager").status, Status::Fail);
    }

    #[test]
    fn it_starts_at_boot() {
        let mut survey = running("heartbeat");
        let more = "cluster_manager: {heartbeat: kill}";
        assert_eq!(finding(&survey, more, "cluster-manager-at-boot").status, Status::Pass);
        if let Fact::Known(managers) = &mut survey.managers {
            managers.iter_mut().for_each(|manager| manager.enabled = false);
        }
        assert_eq!(finding(&survey, more, "cluster-manager-at-boot").status, Status::Warn);
    }
}
