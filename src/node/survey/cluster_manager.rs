//! The cluster manager's own settings.

use crate::config::Config;
use crate::doctor::survey::ClusterManagerSurvey;

pub(super) fn look(_config: &Config) -> ClusterManagerSurvey {
    ClusterManagerSurvey::default()
}
