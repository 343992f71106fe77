//! Interfaces, addresses and paths to the peer.

use serde::{Deserialize, Serialize};

/// Interfaces, addresses and paths to the peer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSurvey {}
