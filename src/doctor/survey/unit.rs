//! What starts mysqld.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::paths::SeenPath;
use crate::observation::Fact;

/// What starts mysqld, and the units around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitSurvey {
    /// The units that were asked for, by the name that was asked.
    pub units: Fact<BTreeMap<String, Unit>>,
    /// Links that start a MySQL or MariaDB at boot: of systemd's `*.wants` and `*.requires`, and of `rcN.d`.
    pub at_boot: Vec<BootLink>,
    /// The server's own command line, without the shell around it; empty when it is not known.
    pub command: Vec<String>,
    /// The program of `mysqld.command`; none when a unit is configured.
    pub program: Option<SeenPath>,
}

impl UnitSurvey {
    /// One of the units that were asked for.
    pub fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.known()?.get(name)
    }
}

/// A unit as systemd has it: the properties of `systemctl show`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    properties: BTreeMap<String, String>,
}

impl Unit {
    /// Of some properties.
    pub fn of(properties: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { properties: properties.into_iter().collect() }
    }

    /// A property; the empty text when the unit has none of this name.
    pub fn get(&self, property: &str) -> &str {
        self.properties.get(property).map_or("", String::as_str)
    }

    /// The same unit with another value, for tests and remedies.
    #[must_use]
    pub fn with(mut self, property: &str, value: &str) -> Self {
        self.properties.insert(property.to_owned(), value.to_owned());
        self
    }

    /// Whether systemd has read a file for it.
    pub fn is_loaded(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    /// Whether it runs or is about to.
    pub fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "activating" | "reloading")
    }

    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.get("Names").split_whitespace()
    }
}

/// Something that starts a server at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootLink {
    /// The link.
    pub link: PathBuf,
    /// The unit or script that it starts.
    pub name: String,
}
