//! File systems.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::paths::{Room, SeenPath};
use crate::foreign::fstab;
use crate::observation::Fact;

/// File systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageSurvey {
    /// `/etc/fstab`.
    pub fstab: Fact<Vec<fstab::Entry>>,
    /// What fstab may call the device: paths that lead to it, and `UUID=…` and the like of what is on it.
    pub device_names: Vec<String>,
    /// Why it is not known what fstab may call what is on the device, when it could not be read.
    #[serde(default)]
    pub tags_unknown: Option<String>,
    /// The mount point while nothing is mounted there; none while something is.
    pub mount_point: Option<MountPoint>,
    /// Whether the kernel can mount the configured type.
    pub filesystem_support: FilesystemSupport,
    /// Where the room matters.
    pub rooms: Vec<NamedRoom>,
    /// `multipathd` runs, and whether a blacklist of its configuration names DRBD; none when it does not run.
    pub multipath_ignores_drbd: Option<bool>,
    /// LVM's settings that decide whether it opens the device; none when LVM is not installed.
    pub lvm: Option<Fact<Lvm>>,
}

/// A mount point with nothing mounted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What is there.
    pub path: SeenPath,
    /// Some of the names in it, when it is a directory.
    pub entries: Vec<String>,
}

/// Whether the kernel can mount a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilesystemSupport {
    /// The kernel has it now.
    Ready,
    /// A module has it, which mount loads.
    Module,
    /// Neither.
    Missing,
    /// The modules' index can't be read.
    Unknown,
}

/// The room at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRoom {
    /// The check's name.
    pub check: RoomCheck,
    /// The directory.
    pub path: PathBuf,
    /// The room there.
    pub room: Fact<Room>,
}

/// Why the room at a place matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoomCheck {
    /// The data file system, on the active node.
    Data,
    /// The server's error log.
    Log,
    /// The journal.
    State,
    /// The lock.
    Run,
}

/// LVM's `lvm.conf`, as far as it decides what is scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lvm {
    /// `devices { filter` and `global_filter`: line and text of each that is not a comment.
    pub filters: Vec<(usize, String)>,
    /// The line where the section `devices` begins.
    pub devices_section: Option<usize>,
    /// A devices file limits LVM to what it lists.
    pub devices_file: bool,
}
