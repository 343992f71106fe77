//! The server's settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::SeenPath;
use super::peer::Account;
use crate::audit::EngineTotals;
use crate::foreign::option_file::Options;
use crate::observation::Fact;

/// The server's settings: in its option files and, where it runs, in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MysqldSurvey {
    /// The program that is started here.
    pub program: Fact<Program>,
    /// What its option files and its command line set.
    pub options: Options,
    /// The groups that it reads of them.
    pub groups: Vec<String>,
    /// The directory of the last `!includedir`, where a file of a late name is read last; none without one.
    pub include_directory: Option<PathBuf>,
    /// What `SET PERSIST` of MySQL has stored in the data directory, which wins over everything; empty on the standby.
    pub persisted: BTreeMap<String, String>,
    /// The running server; none when none runs here.
    pub running: Option<Fact<Running>>,
    /// Whether it was started by the configured unit, which can then restart it.
    pub runs_in_unit: bool,
    /// The user that it runs as: its name, user id and group id; `None` when there is no such user.
    pub user: Fact<Option<Account>>,
    /// Every path that the settings name.
    pub paths: Vec<SeenPath>,
    /// Who listens on the server's port while it does not run here.
    pub port_listeners: Vec<IpAddr>,
    /// Whether a program may listen on an address that the node does not have.
    pub nonlocal_bind: bool,
    /// The credentials file; none when none is configured.
    pub credentials: Option<Credentials>,
    /// What the storage engines hold; none when the data is not mounted here.
    pub engines: Option<Fact<EngineTotals>>,
}

impl MysqldSurvey {
    /// What was seen at a path.
    pub fn path(&self, path: &Path) -> Option<&SeenPath> {
        self.paths.iter().find(|seen| seen.path == path)
    }
}

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flavour {
    /// MariaDB.
    MariaDB,
    /// MySQL or Percona Server.
    MySQL,
}

/// A server program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// Which server it is.
    pub flavour: Flavour,
    /// Major, minor and patch version.
    pub version: (u16, u16, u16),
    /// The whole version: `10.11.6-MariaDB-0+deb12u1`.
    pub text: String,
}

/// The server that runs here, as it tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its global variables, by their names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Those that were set while it ran, with their compiled defaults where the server tells them.
    pub set_at_run_time: BTreeMap<String, Option<String>>,
    /// Data files of InnoDB with an absolute path, and symbolic links among the schemas: their targets.
    pub data_files: Vec<PathBuf>,
    /// The user id that owns the data directory.
    pub datadir_owner: Option<u32>,
}

/// The option file with the account for queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Why it can't be used, when it can't; never its text.
    pub problem: Option<String>,
    /// The login on the running server: none when none runs here, `Err` with what the server said.
    pub login: Option<Result<(), String>>,
    /// Permission bits, when the file could be looked at.
    pub mode: Option<u32>,
    /// Owner, when the file could be looked at.
    pub uid: Option<u32>,
}
