//! What the kernel means when it refuses mount(2) or umount2(2), in words for an operator.

use std::path::Path;

use nix::errno::Errno;

use super::holders::{Holder, name_holders};
use crate::failure::Failure;

/// Why a failed mount matters.
pub(super) const MOUNT_STAKE: &str = "without the data directory mysqld can't be started here";

/// Why a failed unmount matters.
pub(super) const UNMOUNT_STAKE: &str =
    "as long as the file system is mounted DRBD can't be demoted, so the other node can't take over";

/// mount(2) failed.
pub(super) fn mount_refused(
    errno: Errno,
    device: &Path,
    directory: &Path,
    filesystem: &str,
    data: &str,
    holders: &[Holder],
) -> Failure {
    let (device, directory) = (device.display(), directory.display());
    let seen = format!("mounting {device} at {directory} as {filesystem} failed: {}", describe(errno));
    let (seen, next) = match errno {
        Errno::EBUSY => (
            format!("{seen}; held by {}", name_holders(holders)),
            format!("end what holds {device}, or unmount it where it is mounted, then try again"),
        ),
        Errno::ENODEV => (
            format!("{seen}; the kernel does not know the file system type {filesystem}"),
            format!(
                "correct `mount.type` in the configuration (see `blkid {device}`), or `modprobe {filesystem}`"
            ),
        ),
        Errno::EINVAL => (
            format!(
                "{seen}; a bad superblock, another file system type, or one of its options is wrong: {}",
                if data.is_empty() { "none" } else { data }
            ),
            format!(
                "see the kernel log (`dmesg | tail`) for the reason, and correct `mount.type` (see `blkid {device}`) or `mount.options`"
            ),
        ),
        Errno::EMEDIUMTYPE | Errno::EROFS => (
            format!("{seen}; a DRBD device is like that while this node is not Primary"),
            format!("look at the role in `drbdadm status`, and whether {device} is write-protected"),
        ),
        Errno::EUCLEAN | Errno::EBADMSG => (
            format!("{seen}; the file system is damaged"),
            format!(
                "do not mount it by hand: check it with `fsck -n {device}` (xfs: `xfs_repair -n`) while Primary"
            ),
        ),
        Errno::EIO | Errno::ENXIO => (
            format!("{seen}; the disk does not answer as it should"),
            "see the kernel log (`dmesg | tail`) and `drbdadm status` for the disk's state".to_owned(),
        ),
        Errno::ENOENT | Errno::ENOTDIR => {
            (seen, format!("create the mount point: `mkdir -p {directory}`, and see that {device} exists"))
        }
        Errno::EPERM | Errno::EACCES => (seen, "run standin as root, with CAP_SYS_ADMIN".to_owned()),
        _ => (seen, "see the kernel log (`dmesg | tail`) for the reason".to_owned()),
    };
    Failure::failed(seen, MOUNT_STAKE, next)
}

/// umount2(2) failed.
pub(super) fn unmount_refused(errno: Errno, directory: &Path, held: &str) -> Failure {
    let directory = directory.display();
    let seen = format!("unmounting {directory} failed: {}", describe(errno));
    match errno {
        Errno::EBUSY => Failure::timed_out(
            format!("{seen}; held by {held}"),
            UNMOUNT_STAKE,
            format!(
                "end what holds {directory} (or its unit, so that it does not come back), then try again"
            ),
        ),
        Errno::EPERM | Errno::EACCES => {
            Failure::failed(seen, UNMOUNT_STAKE, "run standin as root, with CAP_SYS_ADMIN")
        }
        _ => Failure::failed(seen, UNMOUNT_STAKE, "see the kernel log (`dmesg | tail`) for the reason"),
    }
}

fn describe(errno: Errno) -> String {
    format!("{} ({errno:?})", errno.desc())
}
