//! Writing the configuration: all of it or nothing, and never over another one unasked.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Whether a file may be written there.
///
/// # Errors
/// There is one already, and it is not to be replaced.
pub(super) fn may(file: &Path, force: bool) -> Result<(), Failure> {
    if force || file.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(exists(file))
}

fn exists(file: &Path) -> Failure {
    Failure::refused(
        format!("there is a configuration already: {}", file.display()),
        "it is what a takeover goes by; it was not touched",
        "compare: standin init --output -; to replace it (the old one is kept as .bak): standin init --force",
    )
}

/// Writes the file, mode 0644, so that a reader sees the old one, or none, or the whole new one. Returns where the old one
/// was kept.
pub(super) fn write(file: &Path, text: &str, force: bool) -> Result<Option<PathBuf>, Failure> {
    let failed = |what: &str, error: &io::Error| {
        Failure::failed(
            format!("{} could not be written: {what}: {error}", file.display()),
            "without it standin does not know the cluster",
            "make room or give the rights there, or write elsewhere: standin init --output FILE",
        )
    };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let temporary = file.with_file_name(name);
    let result = in_place(file, &temporary, text, force);
    // Gone already when it was renamed.
    let _ = fs::remove_file(&temporary);
    match result {
        Ok(kept) => Ok(kept),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && file.symlink_metadata().is_ok() => {
            Err(exists(file))
        }
        Err(error) => Err(failed("the system refuses", &error)),
    }
}

fn in_place(file: &Path, temporary: &Path, text: &str, force: bool) -> io::Result<Option<PathBuf>> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut new = File::options().write(true).create_new(true).mode(0o644).open(temporary)?;
    new.write_all(text.as_bytes())?;
    // Whatever the umask took away.
    new.set_permissions(Permissions::from_mode(0o644))?;
    new.sync_all()?;
    let mut kept = None;
    if force {
        if file.symlink_metadata().is_ok() {
            kept = Some(keep(file)?);
        }
        fs::rename(temporary, file)?;
    } else {
        // A rename would replace what somebody has put there meanwhile.
        fs::hard_link(temporary, file)?;
    }
    File::open(directory)?.sync_all()?;
    Ok(kept)
}

/// A second name for the file, so that there is no moment without one.
fn keep(file: &Path) -> io::Result<PathBuf> {
    let mut name = file.as_os_str().to_owned();
    name.push(".bak");
    let kept = PathBuf::from(name);
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(file, &kept)?;
    Ok(kept)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn never_over_another_one_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/r0.yaml");
        assert!(may(&file, false).is_ok());
        assert_eq!(write(&file, "one", false).unwrap(), None);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
        assert!(may(&file, false).is_err() && may(&file, true).is_ok());
        // Also when it comes between the look and the writing.
        assert!(write(&file, "two", false).unwrap_err().seen.contains("already"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");

        let kept = write(&file, "two", true).unwrap().unwrap();
        assert_eq!(kept, directory.path().join("new/r0.yaml.bak"));
        write(&file, "three", true).unwrap();
        let texts = [&file, &kept].map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(texts, ["three", "two"]);
        assert_eq!(
            fs::read_dir(directory.path().join("new")).unwrap().count(),
            2,
            "a temporary file is left"
        );
    }

    #[test]
    fn what_the_system_refuses_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = write(&file.join("r0.yaml"), "x", false).unwrap_err();
        assert!(failure.seen.contains("could not be written"), "{failure}");
    }
}
