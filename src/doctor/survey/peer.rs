//! What both nodes must have in common.

use serde::{Deserialize, Serialize};

/// What both nodes must have in common.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerFacts {}
