//! Reading other programs' files, none larger than 1 MiB. All of them are on the root file system, whose death nobody
//! survives: no worker is needed for them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::foreign::Place;

/// No configuration file is larger, in bytes.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Where a bare program name is looked for.
const SEARCHED: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The text of a file; `None` when there is none.
pub(super) fn text(file: &Path) -> Result<Option<String>, String> {
    let problem = |error: io::Error| format!("{} can't be read: {error}", file.display());
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(error)),
    };
    if !opened.metadata().map_err(problem)?.is_file() {
        return Err(format!("{} is no regular file", file.display()));
    }
    let mut bytes = Vec::new();
    opened.take(SIZE_LIMIT).read_to_end(&mut bytes).map_err(problem)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The paths in a directory in order; none when there is no such directory.
pub(super) fn paths(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Every line of the files in a directory whose names end so.
pub(super) fn lines_of_directory(directory: impl AsRef<Path>, suffix: &str) -> Vec<(Place, String)> {
    let wanted = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(suffix));
    paths(directory).iter().filter(|path| wanted(path)).flat_map(|path| lines(path)).collect()
}

/// Every line of a file; none when it can't be read.
pub(super) fn lines(file: &Path) -> Vec<(Place, String)> {
    let text = text(file).ok().flatten().unwrap_or_default();
    text.lines().enumerate().map(|(index, line)| (Place::new(file, index + 1), line.to_owned())).collect()
}

/// Why a program can't be run; `None` when it can.
pub(super) fn why_not_runnable(program: &Path) -> Option<String> {
    let found = if program.components().count() > 1 {
        program.to_owned()
    } else {
        let found =
            SEARCHED.iter().map(|directory| Path::new(directory).join(program)).find(|path| path.is_file());
        match found {
            Some(found) => found,
            None => return Some(format!("there is no program {}", program.display())),
        }
    };
    match fs::metadata(&found) {
        Ok(metadata) if !metadata.is_file() => Some(format!("{} is no file", found.display())),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some(format!("{} is not executable", found.display()))
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("there is no {}", found.display()))
        }
        Err(error) => Some(format!("{} can't be looked at: {error}", found.display())),
    }
}

/// The file of the running program; where packages put it when that can't be learnt.
pub(super) fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/sbin/standin"))
}

/// Where systemd looks for units, the first wins (systemd.unit(5)).
pub(super) fn unit_directories() -> Vec<PathBuf> {
    [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]
    .map(PathBuf::from)
    .into_iter()
    .filter(|directory| directory.is_dir())
    .collect()
}

/// The text of the file that systemd reads for a unit, or for its template; `None` when there is none or it is masked.
pub(super) fn unit_text(unit: &str) -> Option<String> {
    let template = unit
        .split_once('@')
        .and_then(|(name, rest)| rest.rsplit_once('.').map(|(_, kind)| format!("{name}@.{kind}")));
    for name in [Some(unit.to_owned()), template].into_iter().flatten() {
        for directory in unit_directories() {
            let file = directory.join(&name);
            if fs::symlink_metadata(&file).is_ok() {
                return text(&file).ok().flatten();
            }
        }
    }
    None
}

/// The texts of a unit's file and its drop-ins, in the order in which systemd reads them; nothing when there is no such
/// unit, or it is masked.
pub(super) fn unit_texts(unit: &str) -> Vec<String> {
    let mut texts: Vec<String> = unit_text(unit).into_iter().filter(|text| !text.is_empty()).collect();
    if texts.is_empty() {
        return texts;
    }
    // A drop-in of a name is read once, from the first directory that has it.
    let mut drop_ins: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for path in unit_directories().iter().flat_map(|directory| paths(directory.join(format!("{unit}.d")))) {
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|kind| kind == "conf")) {
            drop_ins.entry(name.to_owned()).or_insert(path.clone());
        }
    }
    texts.extend(drop_ins.values().filter_map(|file| text(file).ok().flatten()));
    texts
}

/// The units that another unit wants or requires by a symbolic link, which is what `systemctl enable` makes, with their
/// texts. Masked ones are left out.
pub(super) fn enabled_units() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for directory in unit_directories() {
        let wanting = paths(&directory).into_iter().filter(|path| {
            path.extension().is_some_and(|kind| kind == "wants" || kind == "requires") && path.is_dir()
        });
        for link in wanting.flat_map(paths) {
            if let Some(unit) = link.file_name().and_then(|name| name.to_str())
                && let Some(text) = unit_text(unit)
            {
                found.insert(unit.to_owned(), text);
            }
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_can_be_run_is_told_from_one_that_cannot() {
        assert_eq!(why_not_runnable(Path::new("/bin/sh")), None);
        assert_eq!(why_not_runnable(Path::new("sh")), None);
        for (program, problem) in [
            ("/etc/passwd", "not executable"),
            ("/nothing", "there is no"),
            ("nothing-such", "no program"),
            ("/etc", "no file"),
        ] {
            assert!(why_not_runnable(Path::new(program)).unwrap().contains(problem), "{program}");
        }
    }

    #[test]
    fn what_is_no_file_is_no_text() {
        assert_eq!(text(Path::new("/nothing")), Ok(None));
        assert!(text(Path::new("/etc")).unwrap_err().contains("no regular file"));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.conf"), "one\ntwo\n").unwrap();
        fs::write(directory.path().join("b.other"), "three\n").unwrap();
        let found = lines_of_directory(directory.path(), ".conf");
        assert_eq!(
            found.iter().map(|(place, line)| (place.line, line.as_str())).collect::<Vec<_>>(),
            [(1, "one"), (2, "two")]
        );
    }
}
