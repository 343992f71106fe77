//! The data file system: what is mounted where, who holds it, mounting and unmounting it.
//!
//! A dead disk hangs whoever touches a file system on it, so looking reads only `/proc` and device nodes, and the two
//! system calls run in the [worker](super::worker) process.

mod apply;
mod errors;
mod holders;
mod mountinfo;
mod options;

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use apply::{mount, unmount};
pub use holders::{Holder, How, holders_of_device, holders_of_mount, name_holders};
pub use mountinfo::{MountEntry, MountTableError, mount_of, parse_table, read_table, visible_at};
pub use options::{MountOptions, split_options};

use crate::config::MountConfig;
use crate::observation::{Fact, Mount, Mounted};

/// What is mounted at the configured directory, and where else the configured device is mounted. Never touches the
/// mounted file system.
pub fn observe(mount: &MountConfig) -> Fact<Mount> {
    look(&mount.device, &mount.directory).into()
}

fn look(device: &Path, directory: &Path) -> Result<Mount, String> {
    let table = read_table("self").map_err(|error| error.to_string())?;
    judge(&table, device_number(device)?, device, &real_directory(directory))
}

/// Pure: a table, the device's number (none when its node does not exist) and the directory.
fn judge(
    table: &[MountEntry],
    number: Option<(u64, u64)>,
    device: &Path,
    directory: &Path,
) -> Result<Mount, String> {
    let entry = visible_at(table, directory);
    if number.is_none() && entry.is_some_and(|entry| Path::new(&entry.source) == device) {
        return Err(format!(
            "{} shows {} mounted, but the device node does not exist, so its number can't be compared",
            directory.display(),
            device.display()
        ));
    }
    let at_directory = entry.map(|entry| Mounted {
        source: entry.source.clone(),
        is_our_device: Some(entry.device) == number,
        filesystem: entry.filesystem.clone(),
        read_only: entry.read_only,
    });
    let visible = entry.map(|entry| entry.id);
    let device_elsewhere = table
        .iter()
        .filter(|other| Some(other.device) == number && Some(other.id) != visible)
        .map(|other| other.mount_point.clone())
        .collect();
    Ok(Mount { at_directory, device_elsewhere })
}

/// Major and minor of a block device or a symlink to one; `None` when there is no such node.
///
/// # Errors
/// When it can't be looked at, or is no block device.
pub fn device_number(device: &Path) -> Result<Option<(u64, u64)>, String> {
    let metadata = match fs::metadata(device) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} can't be looked at: {error}", device.display())),
    };
    if !metadata.file_type().is_block_device() {
        return Err(format!("{} is not a block device", device.display()));
    }
    let number = metadata.rdev();
    Ok(Some((nix::sys::stat::major(number), nix::sys::stat::minor(number))))
}

/// The directory as mountinfo shows it. Symlinks are followed up to its parent only, because the last component may be
/// the mounted file system.
fn real_directory(directory: &Path) -> PathBuf {
    let resolved = directory
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok())
        .zip(directory.file_name())
        .map(|(parent, name)| parent.join(name));
    resolved.unwrap_or_else(|| directory.to_owned())
}

#[cfg(test)]
mod tests;
