//! The cluster manager's own settings.

use serde::{Deserialize, Serialize};

/// The cluster manager's own settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterManagerSurvey {}
