//! Follows an error log: one that grows, does not exist yet, is rotated away or truncated. (One that was truncated and
//! has grown past its old length between two looks can't be told from one that grew.)

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error_log::{self, Event};

/// Read at most this much at one look, in bytes.
const CHUNK: u64 = 1024 * 1024;

/// How far back the beginning of the current start is looked for, in bytes.
const HISTORY: u64 = 256 * 1024;

/// A longer line than this is none of ours.
const MAX_LINE: usize = 64 * 1024;

/// A position in an error log.
pub(super) struct Follower {
    path: Option<PathBuf>,
    file: Option<File>,
    offset: u64,
    partial: Vec<u8>,
}

impl Follower {
    /// From its current end; from its beginning when it does not exist yet.
    pub(super) fn from_end(path: Option<&Path>) -> Self {
        let file = path.and_then(|path| File::open(path).ok());
        let offset = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        Self { path: path.map(Path::to_path_buf), file, offset, partial: Vec::new() }
    }

    /// The same, with the lines since the server with this process id started, as far as they can be found.
    pub(super) fn since_start_of(path: Option<&Path>, pid: i32) -> (Self, Vec<String>) {
        let mut follower = Self::from_end(path);
        follower.offset = follower.offset.saturating_sub(HISTORY);
        let lines = follower.lines();
        let start = lines.iter().rposition(|line| {
            matches!(error_log::parse_line(line), Some(Event::Starting(Some(process))) if process == pid)
        });
        let history = start.map_or_else(Vec::new, |start| lines[start..].to_vec());
        (follower, history)
    }

    /// The complete lines that came since the last look.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.partial);
        self.read_more(&mut bytes);
        if self.was_replaced() {
            // What came between the two is in the old file, which stays readable while it is open.
            self.read_more(&mut bytes);
            self.file = self.path.as_ref().and_then(|path| File::open(path).ok());
            self.offset = 0;
            self.read_more(&mut bytes);
        }
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.partial = bytes.split_off(complete);
        self.partial.truncate(MAX_LINE);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    fn was_replaced(&self) -> bool {
        let Some(there) = self.path.as_ref().and_then(|path| fs::metadata(path).ok()) else { return false };
        match self.file.as_ref().and_then(|file| file.metadata().ok()) {
            Some(open) => (open.dev(), open.ino()) != (there.dev(), there.ino()),
            None => true,
        }
    }

    fn read_more(&mut self, bytes: &mut Vec<u8>) {
        let Some(file) = &mut self.file else { return };
        let Ok(length) = file.metadata().map(|metadata| metadata.len()) else { return };
        if length < self.offset {
            self.offset = 0;
        }
        if length == self.offset || file.seek(SeekFrom::Start(self.offset)).is_err() {
            return;
        }
        if let Ok(count) = file.take(CHUNK).read_to_end(bytes) {
            self.offset += count as u64;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &str) {
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn follows_creation_growth_rotation_and_truncation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let mut follower = Follower::from_end(Some(&path));
        assert!(follower.lines().is_empty());
        append(&path, "one\ntw");
        assert_eq!(follower.lines(), ["one"]);
        append(&path, "o\n");
        assert_eq!(follower.lines(), ["two"]);

        append(&path, "before rotation\n");
        fs::rename(&path, directory.path().join("error.log.1")).unwrap();
        append(&path, "after rotation\n");
        assert_eq!(follower.lines(), ["before rotation", "after rotation"]);

        fs::write(&path, "new\n").unwrap();
        assert_eq!(follower.lines(), ["new"]);
        assert!(follower.lines().is_empty());
    }

    #[test]
    fn begins_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        append(&path, "old\n");
        let mut follower = Follower::from_end(Some(&path));
        append(&path, "new\n");
        assert_eq!(follower.lines(), ["new"]);
        assert!(Follower::from_end(None).lines().is_empty());
    }

    #[test]
    fn finds_the_start_of_a_running_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        append(&path, "0 [Note] Starting MariaDB 10.11 as process 7\nold\n");
        append(&path, "0 [Note] Starting MariaDB 10.11 as process 8\nnew\n");
        let (mut follower, history) = Follower::since_start_of(Some(&path), 8);
        assert_eq!(history.len(), 2);
        assert!(follower.lines().is_empty());
        assert!(Follower::since_start_of(Some(&path), 9).1.is_empty());
    }
}
