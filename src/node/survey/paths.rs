//! Looking at paths and file systems, in the worker: any of them may lie on a disk that does not answer.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use serde::{Deserialize, Serialize};

use crate::doctor::survey::Account;
use crate::doctor::survey::paths::{Kind, Room, SeenPath};
use crate::node::worker;

/// For one look: a cached directory needs microseconds, a sleeping disk some seconds.
const LIMIT: Duration = Duration::from_secs(5);

/// How many names of a directory are told.
const NAMES: usize = 10;

/// What is to be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Paths to describe.
    pub paths: Vec<PathBuf>,
    /// Places whose room matters.
    pub rooms: Vec<PathBuf>,
    /// A directory whose names and symbolic links matter.
    pub directory: Option<PathBuf>,
    /// A user to look up: the answer may come over a network.
    pub user: Option<String>,
}

/// What was seen, in the order of the question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The paths.
    pub paths: Vec<SeenPath>,
    /// The rooms.
    pub rooms: Vec<Result<Room, String>>,
    /// Some of the directory's names.
    pub names: Vec<String>,
    /// Where the symbolic links in the directory lead.
    pub links: Vec<PathBuf>,
    /// The user, when there is one of this name.
    pub user: Option<Account>,
}

/// Asks the worker. When it does not answer in time, or there is none, every part of the answer says so.
pub(super) fn ask(question: &Question) -> Result<Answer, String> {
    worker::call(&worker::Request::Look { question: question.clone() }, Instant::now() + LIMIT)
        .map_err(|failure| failure.seen)
}

/// The same, and paths that could not be looked at carry the cause.
pub(super) fn seen(paths: &[PathBuf]) -> Vec<SeenPath> {
    if paths.is_empty() {
        return Vec::new();
    }
    match ask(&Question { paths: paths.to_vec(), ..Question::default() }) {
        Ok(answer) => answer.paths,
        Err(cause) => paths.iter().map(|path| unseen(path, Err(cause.clone()))).collect(),
    }
}

/// A path of which nothing is known but this.
pub(super) fn unseen(path: &Path, kind: Result<Kind, String>) -> SeenPath {
    SeenPath { path: path.to_owned(), kind, resolved: path.to_owned(), uid: 0, gid: 0, mode: 0 }
}

/// The worker's side.
pub fn look(question: &Question) -> Answer {
    let (mut names, mut links) = (Vec::new(), Vec::new());
    let entries = question.directory.as_ref().and_then(|directory| fs::read_dir(directory).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if names.len() < NAMES {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            links.push(fs::canonicalize(entry.path()).unwrap_or_else(|_| entry.path()));
        }
    }
    names.sort();
    Answer {
        paths: question.paths.iter().map(|path| describe(path)).collect(),
        rooms: question.rooms.iter().map(|path| room(path)).collect(),
        names,
        links,
        user: question.user.as_deref().and_then(account),
    }
}

fn account(name: &str) -> Option<Account> {
    let user = nix::unistd::User::from_name(name).ok()??;
    Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

fn describe(path: &Path) -> SeenPath {
    match fs::metadata(path) {
        Ok(metadata) => SeenPath {
            path: path.to_owned(),
            kind: Ok(match (metadata.is_file(), metadata.is_dir()) {
                (true, _) => Kind::File,
                (_, true) => Kind::Directory,
                _ => Kind::Other,
            }),
            resolved: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            unseen(path, Ok(Kind::Missing))
        }
        Err(error) => unseen(path, Err(format!("{} can't be looked at: {error}", path.display()))),
    }
}

/// The room at a path, or at the nearest directory above it that exists.
fn room(path: &Path) -> Result<Room, String> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let seen = statvfs(there).map_err(|errno| format!("{}: {}", there.display(), errno.desc()))?;
    Ok(Room {
        bytes: seen.blocks().saturating_mul(seen.fragment_size()),
        bytes_free: seen.blocks_available().saturating_mul(seen.fragment_size()),
        inodes: seen.files(),
        inodes_free: seen.files_available(),
        read_only: seen.flags().contains(FsFlags::ST_RDONLY),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn describes_what_is_there_and_what_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let link = directory.path().join("link");
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let missing = directory.path().join("missing").join("deeper");
        let question = Question {
            paths: vec![directory.path().to_owned(), link.clone(), missing.clone()],
            rooms: vec![missing],
            directory: Some(directory.path().to_owned()),
            user: Some("root".to_owned()),
        };
        let answer = look(&question);
        let kinds: Vec<_> = answer.paths.iter().map(|seen| seen.kind.clone()).collect();
        assert_eq!(kinds, [Ok(Kind::Directory), Ok(Kind::File), Ok(Kind::Missing)]);
        let file = fs::canonicalize(file).unwrap();
        assert_eq!(answer.paths[1].resolved, file);
        assert!(answer.rooms[0].as_ref().unwrap().bytes > 0);
        assert_eq!((answer.names, answer.links), (vec!["file".to_owned(), "link".to_owned()], vec![file]));
        assert_eq!(answer.user.unwrap().uid, 0);
    }
}
