//! Option files from the disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::foreign::option_file::{Files, Unread};

/// An option file larger than this is something else, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reads option files as the server does: files that everybody may write are ignored.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnDisk;

impl Files for OnDisk {
    fn read(&self, file: &Path) -> Result<String, Unread> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Unread::Absent,
            _ => Unread::Failed(format!("it can't be read: {error}")),
        };
        // Before it is opened: opening a pipe waits for its writer.
        let metadata = fs::metadata(file).map_err(failed)?;
        if !metadata.is_file() {
            return Err(Unread::Failed("it is not a regular file".to_owned()));
        }
        if metadata.permissions().mode() & 0o002 != 0 {
            return Err(Unread::WorldWritable);
        }
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|opened| opened.take(LARGEST + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(Unread::Failed("it is larger than 1 MiB".to_owned()));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn names(&self, directory: &Path) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::foreign::option_file::Options;

    #[test]
    fn reads_what_the_server_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        let includes = format!("!includedir {}\n", directory.path().display());
        write("my.conf", &format!("[mysqld]\na=1\n{includes}"));
        write("b.cnf", "[mysqld]\nb=2\n");
        write("open.cnf", "[mysqld]\nc=3\n");
        fs::set_permissions(path("open.cnf"), Permissions::from_mode(0o666)).unwrap();
        let options = Options::load(&[path("my.conf"), path("absent")], &OnDisk);
        let names: Vec<&str> = options.settings.iter().map(|setting| setting.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(options.problems.len(), 1, "{:?}", options.problems);
        assert!(matches!(OnDisk.read(directory.path()), Err(Unread::Failed(_))));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe.cnf");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(matches!(OnDisk.read(&pipe), Err(Unread::Failed(_))));
    }
}
