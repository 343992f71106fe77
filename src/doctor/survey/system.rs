//! Clock, security modules, credentials.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::paths::SeenPath;
use crate::observation::Fact;

/// Clock, security modules, and standin's own places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemSurvey {
    /// The kernel's clock discipline.
    pub clock: Fact<Clock>,
    /// AppArmor's profile of the server; none when AppArmor is off or has none.
    pub apparmor: Option<Fact<AppArmor>>,
    /// SELinux; none when it does not enforce.
    pub selinux: Option<SeLinux>,
    /// The directory of the journals.
    pub state_directory: SeenPath,
    /// Size of this cluster's journal in bytes; none when there is none yet.
    pub journal_bytes: Option<u64>,
    /// The running program.
    pub program: PathBuf,
    /// What its name leads to in the directories where DRBD, systemd and cluster managers look.
    pub program_in_path: Option<PathBuf>,
    /// Variables of the environment that change what standin reads or writes, and the lines of /etc/environment that
    /// set them.
    pub environment: Vec<Variable>,
}

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Something keeps it in step.
    pub synchronised: bool,
    /// The largest possible error, as the kernel has it.
    pub maximum_error: Duration,
}

/// AppArmor's profile of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppArmor {
    /// Its name.
    pub profile: String,
    /// `enforce` or `complain`.
    pub mode: String,
    /// The file that holds it, when it was found.
    pub file: Option<PathBuf>,
    /// Its rules about files: path pattern and permissions. Empty when the file was not found.
    pub rules: Vec<(String, String)>,
    /// The local addition that it includes.
    pub local: Option<PathBuf>,
}

/// SELinux, enforcing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeLinux {
    /// The context of the mounted data directory; none when it is not mounted here.
    pub datadir_context: Option<Fact<String>>,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The line of /etc/environment that sets it, when one does.
    pub line: Option<usize>,
}
