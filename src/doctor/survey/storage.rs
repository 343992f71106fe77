//! File systems.

use serde::{Deserialize, Serialize};

/// File systems.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageSurvey {}
