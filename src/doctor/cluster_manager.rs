//! Checks of the cluster manager: which one runs, and how it is set.
//!
//! | module | what it checks |
//! | --- | --- |
//! | `agreement` | that the configuration names the one that runs |
//! | `heartbeat` | Heartbeat's times, links, resources, keys, unit |
//! | `keepalived_hooks` | that keepalived calls standin, and what its unit does when it dies |
//! | `leftover` | haresources that can't work, or of a Heartbeat that is not used |
//! | `others` | Pacemaker's and keepalived's settings, as far as they are certain |

mod agreement;
mod heartbeat;
mod keepalived_hooks;
mod leftover;
mod others;

use super::Finding;
use super::survey::Survey;
use crate::config::{ClusterManager, Config};

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = agreement::examine(&survey.cluster_manager, config);
    findings.extend(leftover::forgotten(&survey.cluster_manager, config));
    match config.cluster_manager {
        ClusterManager::None => {}
        ClusterManager::Heartbeat(how) => findings.extend(heartbeat::examine(survey, config, how)),
        ClusterManager::Pacemaker => findings.extend(others::pacemaker(survey, config)),
        ClusterManager::Keepalived => findings.extend(others::keepalived(&survey.cluster_manager, config)),
    }
    findings
}

/// A node without a cluster manager, for the tests of the checks.
#[cfg(test)]
pub(super) fn sample() -> super::survey::ClusterManagerSurvey {
    agreement::tests::running("")
}

/// The name of the configured one, as the survey has it; `None` for none.
fn name(manager: ClusterManager) -> Option<&'static str> {
    match manager {
        ClusterManager::None => None,
        ClusterManager::Heartbeat(_) => Some("heartbeat"),
        ClusterManager::Pacemaker => Some("pacemaker"),
        ClusterManager::Keepalived => Some("keepalived"),
    }
}
