//! Lines of `haresources` that can't work, and those of a Heartbeat that is not the cluster manager.

use super::super::Finding;
use super::super::survey::{ClusterManagerSurvey, HeartbeatSurvey};
use super::heartbeat::{is_ours, is_rival};
use crate::config::{ClusterManager, Config};
use crate::foreign::heartbeat::Group;

const FILE: &str = "/etc/ha.d/haresources";
const SCRIPTS: &str = "/etc/ha.d/resource.d";

/// Why Heartbeat could not start the group with our resource.
pub(super) fn impossible(
    check: &'static str,
    group: &Group,
    survey: &HeartbeatSurvey,
    config: &Config,
) -> Option<Finding> {
    let nodes = [&config.this_node.name, &config.peer.name];
    if !nodes.iter().any(|node| node.eq_ignore_ascii_case(&group.node)) {
        return Some(
            Finding::fail(
                check,
                format!("{}: the group is of {}, the cluster is {} and {}", group.place, group.node, nodes[0], nodes[1]),
                "no node of the cluster is the one that the group prefers: after both have booted nobody starts it",
            )
            .advice(format!("write the name of the preferred node, as `uname -n` prints it, in {FILE} of both nodes")),
        );
    }
    let script = group.resources.iter().find(|resource| is_ours(resource, config))?.script.as_str();
    survey.missing_scripts.iter().any(|missing| missing == script).then(|| {
        Finding::fail(
            check,
            format!("{}: there is no /etc/ha.d/resource.d/{script} and no /etc/init.d/{script}", group.place),
            "Heartbeat has nothing to call: it does not take over",
        )
        .remedy(format!(
            "printf '%s\\n' '#!/bin/sh' 'exec /usr/sbin/standin heartbeat \"$@\"' > {SCRIPTS}/{script}"
        ))
        .remedy(format!("chmod 755 {SCRIPTS}/{script}"))
        .advice("on both nodes")
    })
}

/// What would act beside standin as soon as somebody started Heartbeat. One that runs is another check's.
pub(super) fn forgotten(survey: &ClusterManagerSurvey, config: &Config) -> Option<Finding> {
    if matches!(config.cluster_manager, ClusterManager::Heartbeat(_)) {
        return None;
    }
    let manager = survey.managers.known()?.iter().find(|manager| manager.name == "heartbeat");
    if manager.is_some_and(|manager| manager.runs) {
        return None;
    }
    let groups = &survey.heartbeat.haresources.as_ref()?.groups;
    let (group, resource) = groups.iter().find_map(|group| {
        let held = group.resources.iter().find(|held| is_rival(held, config) || is_ours(held, config))?;
        Some((group, held))
    })?;
    let how = if is_ours(resource, config) { "keep" } else { "kill" };
    let enabled = manager.is_some_and(|manager| manager.enabled);
    let state = if enabled { "does not run and is enabled" } else { "neither runs nor is enabled" };
    Some(
        Finding::warn(
            "ha-resources",
            format!(
                "{}: {} is of this cluster, the configuration names no Heartbeat, which {state}",
                group.place, resource.text
            ),
            "once started, Heartbeat acts on the same virtual IP, device or server as standin, and neither knows of the other",
        )
        .advice(format!(
            "where Heartbeat is no longer used, on both nodes: mv {FILE} {FILE}.unused ; where it is: cluster_manager: \
             {{heartbeat: {how}}} in {}",
            config.file.display()
        )),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::super::{Status, sample};
    use super::super::agreement::tests::running;
    use super::*;
    use crate::foreign::heartbeat::haresources;

    #[test]
    fn a_group_needs_a_node_of_the_cluster_and_its_script() {
        let config = sample::config_with("cluster_manager: {heartbeat: kill}");
        let mut survey = HeartbeatSurvey::default();
        let judged = |text: &str, survey: &HeartbeatSurvey| {
            let file = haresources(text, Path::new(FILE));
            impossible("ha-resources", &file.groups[0], survey, &config).map(|found| found.status)
        };
        assert_eq!(judged("NODE1 standin::r0\n", &survey), None);
        assert_eq!(judged("node3 standin\n", &survey), Some(Status::Fail));
        survey.missing_scripts = vec!["standin".to_owned()];
        assert_eq!(judged("node1 standin\n", &survey), Some(Status::Fail));
    }

    #[test]
    fn what_a_stopped_heartbeat_would_start_is_told() {
        let judged = |text: &str, runs: &str, more: &str| {
            let mut survey = running(runs);
            survey.heartbeat.haresources = Some(haresources(text, Path::new(FILE)));
            let mut whole = sample::survey();
            whole.cluster_manager = survey;
            let findings = super::super::examine(&whole, &sample::config_with(more));
            let found = findings.into_iter().find(|found| found.check == "ha-resources");
            found.map(|found| found.status)
        };
        assert_eq!(judged("node1 drbddisk::r0 10.77.0.100\n", "", ""), Some(Status::Warn));
        assert_eq!(judged("node1 standin\n", "", ""), Some(Status::Warn));
        assert_eq!(judged("node1 10.77.0.200\n", "", ""), None, "another cluster");
        assert_eq!(judged("", "", ""), None);
        assert_eq!(judged("node1 10.77.0.100\n", "heartbeat", ""), None, "another check tells that it runs");
    }
}
