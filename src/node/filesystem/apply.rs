//! Mounting and unmounting: look, call, look again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::errors::{MOUNT_STAKE, UNMOUNT_STAKE, mount_refused, unmount_refused};
use super::holders::{holders_of_device, holders_of_mount, name_holders};
use super::{look, read_table, real_directory, split_options, visible_at};
use crate::failure::{Failure, FailureKind};
use crate::node::worker::{self, Request};
use crate::node::{Applied, Attempt};
use crate::observation::Mount;

/// Between two tries to unmount what is busy.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Between two lines of progress that say the same.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Mounts the device, by system call in the worker process, and checks in mountinfo that it is there, and writable
/// unless `ro` was asked for.
///
/// # Errors
/// When something else is at the directory, the device is mounted elsewhere, the kernel refuses, or the call hangs.
pub fn mount(
    device: &Path,
    directory: &Path,
    filesystem: &str,
    options: &[String],
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let directory = real_directory(directory);
    let options = split_options(options);
    let before = look(device, &directory).map_err(|cause| unknown(&cause, MOUNT_STAKE))?;
    if is_mounted(&before, device, &directory, options.read_only())? {
        return Ok(Applied::already_so());
    }
    if let Some(elsewhere) = before.device_elsewhere.first() {
        return Err(Failure::refused(
            format!("{} is mounted at {}", device.display(), elsewhere.display()),
            "the data directory belongs elsewhere, and two mounts of it invite two servers on the same files",
            format!("see who uses it, then `umount {}`", elsewhere.display()),
        ));
    }
    check_directory(&directory)?;
    let request = Request::Mount {
        device: device.to_owned(),
        directory: directory.clone(),
        filesystem: filesystem.to_owned(),
        flags: options.flags.bits(),
        data: options.data.clone(),
    };
    let errno: Option<i32> = worker::call(&request, attempt.deadline()).map_err(|failure| {
        if failure.kind == FailureKind::TimedOut {
            hangs("mounting", device, &directory, &failure, MOUNT_STAKE)
        } else {
            failure
        }
    })?;
    let after = look(device, &directory).map_err(|cause| unknown(&cause, MOUNT_STAKE))?;
    // A worker of an earlier run that was killed may have mounted it meanwhile: the state counts.
    if is_mounted(&after, device, &directory, options.read_only())? {
        return Ok(Applied::done());
    }
    Err(match errno {
        Some(errno) => {
            let errno = Errno::from_raw(errno);
            let holders = if errno == Errno::EBUSY { holders_of_device(device) } else { Vec::new() };
            mount_refused(errno, device, &directory, filesystem, &options.data, &holders)
        }
        None => Failure::failed(
            format!(
                "mounting {} succeeded, but mountinfo does not show it at {}",
                device.display(),
                directory.display()
            ),
            MOUNT_STAKE,
            "see whether a unit or an automounter unmounts it again (`journalctl -b`, `systemctl list-units -t mount`)",
        ),
    })
}

/// Whether the device is at the directory as wanted; an error when something stands in the way.
fn is_mounted(
    seen: &Mount,
    device: &Path,
    directory: &Path,
    read_only_wanted: bool,
) -> Result<bool, Failure> {
    let Some(mounted) = &seen.at_directory else { return Ok(false) };
    if !mounted.is_our_device {
        return Err(Failure::refused(
            format!("{} is mounted at {}, not {}", mounted.source, directory.display(), device.display()),
            "starting mysqld there would serve other data than the cluster's",
            format!("see what it is (`findmnt {0}`), then `umount {0}`", directory.display()),
        ));
    }
    if mounted.read_only && !read_only_wanted {
        return Err(Failure::failed(
            format!("{} is mounted at {}, but read-only", device.display(), directory.display()),
            "mysqld can't write there; a file system turns read-only when its disk or its structure has errors",
            format!(
                "see the kernel log for errors; when there are none: `umount {}`, then try again",
                directory.display()
            ),
        ));
    }
    Ok(true)
}

fn check_directory(directory: &Path) -> Result<(), Failure> {
    let next = format!("create the mount point: `mkdir -p {}`", directory.display());
    let seen = match fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(metadata) if metadata.is_symlink() => {
            let next =
                "name the directory itself in the configuration, so that it can be found in the mount table";
            let seen = format!("the mount point {} is a symlink", directory.display());
            return Err(Failure::failed(seen, MOUNT_STAKE, next));
        }
        Ok(_) => format!("the mount point {} is not a directory", directory.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("the mount point {} does not exist", directory.display())
        }
        Err(error) => format!("the mount point {} can't be looked at: {error}", directory.display()),
    };
    Err(Failure::failed(seen, MOUNT_STAKE, next))
}

/// Unmounts the device from the directory, never lazily, and checks in mountinfo that it is gone. While it is busy it is
/// tried again until the deadline; nobody is killed.
///
/// # Errors
/// When it is still mounted at the end; whoever holds it is named.
pub fn unmount(device: &Path, directory: &Path, attempt: &Attempt) -> Result<Applied, Failure> {
    let directory = real_directory(directory);
    let mut applied = Applied::already_so();
    let mut reported: Option<(Instant, String)> = None;
    loop {
        let seen = look(device, &directory).map_err(|cause| unknown(&cause, UNMOUNT_STAKE))?;
        match &seen.at_directory {
            Some(mounted) if mounted.is_our_device => {}
            Some(mounted) if seen.device_elsewhere.contains(&directory) => {
                return Err(Failure::refused(
                    format!(
                        "{} is mounted over {} at {}",
                        mounted.source,
                        device.display(),
                        directory.display()
                    ),
                    UNMOUNT_STAKE,
                    format!("unmount what lies on top: `umount {}`, then try again", directory.display()),
                ));
            }
            _ => return Ok(with_remains(applied, device, &seen.device_elsewhere)),
        }
        let errno: Option<i32> =
            worker::call(&Request::Unmount { directory: directory.clone() }, attempt.deadline()).map_err(
                |failure| {
                    if failure.kind == FailureKind::TimedOut {
                        hangs("unmounting", device, &directory, &failure, UNMOUNT_STAKE)
                    } else {
                        failure
                    }
                },
            )?;
        match errno.map(Errno::from_raw) {
            // The next look decides; stacked mounts of the device take several rounds.
            None => applied = Applied::done(),
            Some(Errno::EBUSY) => {
                let held = held_by(device, &directory);
                if attempt.remaining() <= RETRY_INTERVAL {
                    return Err(unmount_refused(Errno::EBUSY, &directory, &held));
                }
                let is_news = reported
                    .as_ref()
                    .is_none_or(|(when, what)| *what != held || when.elapsed() >= REPORT_INTERVAL);
                if is_news {
                    attempt.report(&format!("{} is busy: held by {held}", directory.display()));
                    reported = Some((Instant::now(), held));
                }
                thread::sleep(RETRY_INTERVAL);
            }
            // Someone else was faster; the next look tells.
            Some(Errno::EINVAL | Errno::ENOENT)
                if look(device, &directory).is_ok_and(|now| now.at_directory.is_none()) => {}
            Some(errno) => return Err(unmount_refused(errno, &directory, "")),
        }
    }
}

/// Processes, and mounts below the directory, that keep it busy.
fn held_by(device: &Path, directory: &Path) -> String {
    let table = read_table("self").unwrap_or_default();
    let below: Vec<String> = visible_at(&table, directory)
        .into_iter()
        .flat_map(|entry| table.iter().filter(move |child| child.parent == entry.id && child.id != entry.id))
        .map(|child| format!("a mount of {} at {}", child.source, child.mount_point.display()))
        .collect();
    let holders = holders_of_mount(device);
    match (below.is_empty(), holders.is_empty()) {
        (true, _) => name_holders(&holders),
        (false, true) => below.join(", "),
        (false, false) => format!("{}, {}", below.join(", "), name_holders(&holders)),
    }
}

fn with_remains(applied: Applied, device: &Path, elsewhere: &[PathBuf]) -> Applied {
    if elsewhere.is_empty() {
        return applied;
    }
    let places: Vec<String> = elsewhere.iter().map(|place| place.display().to_string()).collect();
    applied.warning(format!(
        "{} is still mounted at {}: DRBD can't be demoted before it is unmounted there",
        device.display(),
        places.join(", ")
    ))
}

fn unknown(cause: &str, stake: &str) -> Failure {
    Failure::failed(
        format!("what is mounted can't be learnt: {cause}"),
        stake,
        "see that /proc is mounted and that standin runs as root, then try again",
    )
}

fn hangs(doing: &str, device: &Path, directory: &Path, failure: &Failure, stake: &str) -> Failure {
    Failure::timed_out(
        format!(
            "{doing} {} at {} hangs in the kernel: {}",
            device.display(),
            directory.display(),
            failure.seen
        ),
        stake,
        "see `drbdadm status` (suspended I/O, a failed disk) and the kernel log; a call that hangs in the kernel ends \
         only when its disk answers, or with a reset of this node",
    )
}
