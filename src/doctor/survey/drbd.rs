//! DRBD's settings.

use serde::{Deserialize, Serialize};

/// DRBD's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DrbdSurvey {}
