//! What starts mysqld.

use serde::{Deserialize, Serialize};

/// What starts mysqld.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitSurvey {}
