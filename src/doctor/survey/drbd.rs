//! DRBD's settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::foreign::Place;
use crate::foreign::drbd_conf::{Resource, Running, Section};
use crate::observation::Fact;

/// DRBD's settings: in its files, in the kernel, and what surrounds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrbdSurvey {
    /// The kernel module's version; `None` while it is not loaded.
    pub module: Fact<Option<String>>,
    /// The kernel's release, when modprobe has no module of DRBD for it. Looked at only while none is loaded.
    pub no_module_for: Option<String>,
    /// The version of drbd-utils.
    pub utils: Fact<String>,
    /// The resource in the configuration files; unknown also when drbdadm does not accept them.
    pub configured: Fact<Resource>,
    /// The resource in the kernel; `None` when it is not configured there.
    pub running: Fact<Option<Running>>,
    /// The commands with which `drbdadm adjust` would make the kernel run what the files say.
    pub pending: Fact<Vec<String>>,
    /// The files that a remedy may have to edit, as they stand.
    pub sources: Vec<Source>,
    /// What the kernel counts.
    pub counters: Fact<Counters>,
    /// What the kernel runs for a handler.
    pub helper: Fact<Helper>,
    /// The programs of the configured handlers, by the handler's name.
    pub handlers: BTreeMap<String, HandlerProgram>,
    /// Units that bring DRBD up at boot.
    pub starters: Vec<Starter>,
    /// The unit `drbd@.target` of newer packages is there, which starts one resource.
    pub has_target: bool,
    /// `mount.device` of the configuration, with symbolic links resolved.
    pub device: PathBuf,
    /// The file of the program that looks.
    pub standin: PathBuf,
}

impl Default for DrbdSurvey {
    fn default() -> Self {
        let unknown = || "it was not looked at".to_owned();
        Self {
            module: Fact::Unknown(unknown()),
            no_module_for: None,
            utils: Fact::Unknown(unknown()),
            configured: Fact::Unknown(unknown()),
            running: Fact::Unknown(unknown()),
            pending: Fact::Unknown(unknown()),
            sources: Vec::new(),
            counters: Fact::Unknown(unknown()),
            helper: Fact::Unknown(unknown()),
            handlers: BTreeMap::new(),
            starters: Vec::new(),
            has_target: false,
            device: PathBuf::new(),
            standin: PathBuf::from("/usr/sbin/standin"),
        }
    }
}

/// A configuration file of DRBD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// What stands in it.
    pub text: Section,
}

/// What the kernel counts of the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Why I/O is held back (`user`, `fencing`, `no-data`, `quorum`); empty when it is not.
    pub suspended: Vec<String>,
    /// Blocks that differ between the copies, in KiB.
    pub out_of_sync: u64,
}

/// What the kernel runs for a handler: the module's parameter `usermode_helper`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// The program.
    pub program: HandlerProgram,
    /// Lines of `/etc/modprobe.d` that set the parameter, with the value.
    pub lines: Vec<(Place, String)>,
    /// The kernel's command line sets it, which beats the files.
    pub on_command_line: bool,
}

/// A program that something else will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerProgram {
    /// Its command line.
    pub command: String,
    /// Why it can't be run, in one clause; `None` when it can.
    pub problem: Option<String>,
}

/// A unit that is enabled and deals with DRBD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starter {
    /// Its name.
    pub unit: String,
    /// It makes a resource Primary.
    pub promotes: bool,
}
