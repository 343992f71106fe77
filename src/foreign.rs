//! Parsers of files and listings that other programs own. Pure: text in, values with their places out. None of them
//! panics on any input.

pub mod apparmor;
pub mod cib;
pub mod cib_place;
pub mod corosync;
pub mod drbd_conf;
pub mod fstab;
pub mod heartbeat;
pub mod keepalived;
pub mod option_file;
pub mod static_address;
pub mod unit_file;
pub mod vrrp_notification;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a setting stands; prints as `FILE:LINE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; of a setting on several lines its first.
    pub line: usize,
}

impl Place {
    /// That line of that file.
    pub fn new(file: impl Into<PathBuf>, line: usize) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file.display(), self.line)
    }
}

/// A file that is not of its documented form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct SyntaxError {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}
