//! What was seen at a path.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// A path as it is reachable now, symbolic links followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenPath {
    /// The path that was looked at.
    pub path: PathBuf,
    /// What is there; `Err` with the cause when that can't be told.
    pub kind: Result<Kind, String>,
    /// Where symbolic links lead to; the path itself when there is nothing.
    pub resolved: PathBuf,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl SeenPath {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Ok(Kind::Directory)
    }

    /// Whether it is certain that nothing is there.
    pub fn is_missing(&self) -> bool {
        self.kind == Ok(Kind::Missing)
    }

    /// Whether a user may write (and, in a directory, enter), by the permission bits alone.
    pub fn is_writable_by(&self, uid: u32, gid: u32) -> bool {
        let wanted = if self.is_directory() { 0o3 } else { 0o2 };
        let shift = match (self.uid == uid, self.gid == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        uid == 0 || (self.mode >> shift) & wanted == wanted
    }

    /// Whether a user may read, by the permission bits alone.
    pub fn is_readable_by(&self, uid: u32, gid: u32) -> bool {
        let shift = match (self.uid == uid, self.gid == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        uid == 0 || (self.mode >> shift) & 0o4 == 0o4
    }
}

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that users other than root may still take.
    pub bytes_free: u64,
    /// Inodes in all; 0 where the file system makes them as needed.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

impl Room {
    /// Free bytes in percent of all, rounded down.
    pub fn bytes_percent(&self) -> u64 {
        percent(self.bytes_free, self.bytes)
    }

    /// Free inodes in percent of all, rounded down; 100 where they are made as needed.
    pub fn inodes_percent(&self) -> u64 {
        if self.inodes == 0 { 100 } else { percent(self.inodes_free, self.inodes) }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_bits_are_read_for_the_right_class() {
        let directory = |mode| SeenPath {
            path: "/d".into(),
            kind: Ok(Kind::Directory),
            resolved: "/d".into(),
            uid: 100,
            gid: 4,
            mode,
        };
        assert!(directory(0o700).is_writable_by(100, 101));
        assert!(!directory(0o077).is_writable_by(100, 101), "the owner's own bits count");
        assert!(directory(0o030).is_writable_by(5, 4));
        assert!(!directory(0o772).is_writable_by(5, 5), "a directory must be entered as well");
        assert!(directory(0).is_writable_by(0, 0));
        assert!(directory(0o744).is_readable_by(5, 5) && !directory(0o740).is_readable_by(5, 5));
    }

    #[test]
    fn shares_are_rounded_down_and_never_divide_by_zero() {
        let room = Room { bytes: 0, bytes_free: 0, inodes: 0, inodes_free: 0, read_only: false };
        assert_eq!((room.bytes_percent(), room.inodes_percent()), (0, 100));
        let room = Room { bytes: 1000, bytes_free: 99, inodes: 10, inodes_free: 1, read_only: false };
        assert_eq!((room.bytes_percent(), room.inodes_percent()), (9, 10));
    }
}
