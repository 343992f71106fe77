//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) and which mount is visible at a directory.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Mount id, unique while it lasts.
    pub id: u32,
    /// The mount that it is mounted on.
    pub parent: u32,
    /// Device number: major, minor.
    pub device: (u64, u64),
    /// The directory of the file system that is its root; not `/` for a bind mount of a subdirectory.
    pub root: PathBuf,
    /// Where it is mounted, as the process sees it.
    pub mount_point: PathBuf,
    /// File system type.
    pub filesystem: String,
    /// Source, such as the device.
    pub source: String,
    /// Read-only, by the mount's own options or the file system's.
    pub read_only: bool,
}

/// Why a mount table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MountTableError {
    /// The system refused.
    #[error("{path} can't be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A line that is not of the documented form.
    #[error("mountinfo holds a line that is not understood: {0:?}")]
    Malformed(String),
    /// It changed at every look.
    #[error("the mount table {0} changed between every two of {TRIES} reads")]
    Restless(PathBuf),
}

/// How often a table is read that changes all the time.
const TRIES: u32 = 20;

/// Reads the mount table of a process (`self` or a process id).
///
/// The kernel keeps the table steady only within one page, so a table read while someone mounts can be torn: it is read
/// until two reads agree.
///
/// # Errors
/// When it can't be read or understood, or never settles.
pub fn read_table(process: &str) -> Result<Vec<MountEntry>, MountTableError> {
    let path = PathBuf::from(format!("/proc/{process}/mountinfo"));
    let bytes = settled(&path, || {
        let mut bytes = Vec::with_capacity(64 * 1024);
        fs::File::open(&path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    })?;
    parse_table(&bytes)
}

pub(super) fn settled(
    path: &Path,
    mut read: impl FnMut() -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, MountTableError> {
    let failed = |source| MountTableError::Io { path: path.to_owned(), source };
    let mut before = read().map_err(failed)?;
    for _ in 1..TRIES {
        let now = read().map_err(failed)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(MountTableError::Restless(path.to_owned()))
}

/// Parses the text of mountinfo.
///
/// # Errors
/// At the first line that is not of the documented form.
pub fn parse_table(bytes: &[u8]) -> Result<Vec<MountEntry>, MountTableError> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            parse_line(line)
                .ok_or_else(|| MountTableError::Malformed(String::from_utf8_lossy(line).into_owned()))
        })
        .collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut field = || fields.next().filter(|field| !field.is_empty());
    let id = number(field()?)?;
    let parent = number(field()?)?;
    let (major, minor) = text(field()?)?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = path(field()?);
    let mount_point = path(field()?);
    let own_options = field()?;
    // Any number of optional fields, up to a lone hyphen.
    while field()? != b"-" {}
    let filesystem = text(field()?)?.to_owned();
    // An empty source leaves two blanks in a row.
    let source = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let super_options = fields.next()?;
    let has_ro = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    let read_only = has_ro(own_options) || has_ro(super_options);
    Some(MountEntry { id, parent, device, root, mount_point, filesystem, source, read_only })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

fn number(field: &[u8]) -> Option<u32> {
    text(field)?.parse().ok()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Blank, tab, newline, backslash and `#` stand there as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// The mount that is visible at a directory, when the directory is a mount point: the topmost of stacked ones, and none
/// that is hidden under a later mount further up.
pub fn visible_at<'a>(table: &'a [MountEntry], directory: &Path) -> Option<&'a MountEntry> {
    let is_listed = |id: u32| table.iter().any(|entry| entry.id == id);
    let root = table.iter().rfind(|entry| {
        entry.mount_point == Path::new("/") && (entry.parent == entry.id || !is_listed(entry.parent))
    });
    let Some(mut current) = root else {
        // In a chroot that is no mount point of its own the path can't be walked: the last one is the topmost.
        return table.iter().rfind(|entry| entry.mount_point == directory);
    };
    // A path walk enters the first mount point on its way, and there the one stacked on it; every step goes to a child,
    // so it ends.
    for _ in 0..=table.len() {
        let next = table
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.parent == current.id && entry.id != current.id)
            .filter(|(_, entry)| directory.starts_with(&entry.mount_point))
            .min_by_key(|(index, entry)| (entry.mount_point.components().count(), std::cmp::Reverse(*index)));
        match next {
            Some((_, entry)) => current = entry,
            None => break,
        }
    }
    (current.mount_point == directory).then_some(current)
}

/// The mount that a path lies on, by the longest mount point; among stacked ones the last.
pub fn mount_of<'a>(table: &'a [MountEntry], path: &Path) -> Option<&'a MountEntry> {
    table
        .iter()
        .filter(|entry| path.starts_with(&entry.mount_point))
        .max_by_key(|entry| entry.mount_point.components().count())
}
