//! Clock, security modules, credentials.

use serde::{Deserialize, Serialize};

/// Clock, security modules, credentials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemSurvey {}
