//! The server's settings.

use serde::{Deserialize, Serialize};

/// The server's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MysqldSurvey {}
