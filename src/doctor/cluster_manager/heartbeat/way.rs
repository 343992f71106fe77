//! Who takes over: Heartbeat, with standin as one of its resources, or a person, with Heartbeat out of the way.

use super::super::super::Finding;
use super::super::super::survey::{ClusterManagerSurvey, Survey};
use super::super::agreement::set;
use super::{is_ours, is_rival};
use crate::config::Config;
use crate::foreign::heartbeat::{HaResources, Resource};
use crate::plan::HeartbeatStop;

/// Whether standin is one of Heartbeat's resources.
pub(in crate::doctor::cluster_manager) fn is_managed(survey: &ClusterManagerSurvey, config: &Config) -> bool {
    survey.heartbeat.haresources.as_ref().is_some_and(|file| has(file, config, is_ours))
}

fn has(file: &HaResources, config: &Config, which: fn(&Resource, &Config) -> bool) -> bool {
    file.groups.iter().flat_map(|group| &group.resources).any(|resource| which(resource, config))
}

/// Whether `cluster_manager` fits what haresources says.
pub(super) fn examine(
    file: &HaResources,
    survey: &Survey,
    config: &Config,
    how: Option<HeartbeatStop>,
) -> Option<Finding> {
    let check = "ha-way";
    let survey = &survey.cluster_manager;
    let (finding, value) = match (has(file, config, is_ours), how) {
        (true, None) => {
            return Some(Finding::pass(check, "standin is a resource of Heartbeat, which is kept"));
        }
        (true, Some(HeartbeatStop::Kill)) => (
            Finding::warn(
                check,
                "standin is a resource of Heartbeat, and a takeover kills it",
                "after a takeover that Heartbeat has started, this node has no cluster manager until a person starts it again",
            ),
            "{heartbeat: keep}",
        ),
        (true, Some(HeartbeatStop::Stop)) => (
            Finding::fail(
                check,
                "standin is a resource of Heartbeat, and a takeover stops it",
                "the stop would wait for the start that has called it: standin refuses, and Heartbeat takes over nothing",
            ),
            "{heartbeat: keep}",
        ),
        (false, None) if has(file, config, is_rival) => (
            Finding::fail(
                check,
                "Heartbeat's own scripts run this cluster, and a takeover leaves Heartbeat alone",
                "Heartbeat and standin act on the same virtual IP, device or server, and neither knows of the other",
            ),
            "{heartbeat: kill}",
        ),
        (false, None) => {
            return Some(
                Finding::warn(
                    check,
                    "a takeover leaves Heartbeat alone, and standin is in no group",
                    "Heartbeat does not take over, and a person does",
                )
                .advice(format!("write standin::{} in /etc/ha.d/haresources, on both nodes", config.name)),
            );
        }
        (false, Some(_)) => return None,
    };
    Some(set(finding, survey, config, value))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::super::{Status, sample};
    use super::*;
    use crate::foreign::heartbeat::haresources;

    #[test]
    fn the_way_fits_the_groups() {
        let judged = |text: &str, how: Option<HeartbeatStop>| {
            let file = haresources(text, Path::new("/etc/ha.d/haresources"));
            let found = examine(&file, &sample::survey(), &sample::config_with(""), how)?;
            Some((found.status, found.remedy.first().cloned().unwrap_or_default()))
        };
        let status = |text: &str, how| judged(text, how).map(|(status, _)| status);
        let (kill, stop) = (Some(HeartbeatStop::Kill), Some(HeartbeatStop::Stop));
        assert_eq!(status("node1 standin::r0\n", None), Some(Status::Pass));
        assert_eq!(status("node1 standin::r0\n", kill), Some(Status::Warn));
        assert_eq!(status("node1 standin::r0\n", stop), Some(Status::Fail));
        assert_eq!(status("node1 drbddisk::r0 mysql\n", None), Some(Status::Fail));
        assert_eq!(status("node1 drbddisk::r0 mysql\n", kill), None);
        assert_eq!(status("", None), Some(Status::Warn));
        let remedy = |text, how| judged(text, how).map(|(_, remedy)| remedy).unwrap_or_default();
        assert!(remedy("node1 standin::r0\n", stop).contains("keep"));
        assert!(remedy("node1 drbddisk::r0 mysql\n", None).contains("kill"));
    }
}
