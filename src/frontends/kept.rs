//! The configuration that this node became active with: what gives up or only looks goes by it when the file itself can't be
//! read any more. Otherwise a slip in a file would keep a node that serves from being looked at, and one that must release from
//! doing so.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::cli::directory;
use super::say::say_error;
use crate::config::{self, Config, ConfigErrors, Host};

fn path(cluster: &str) -> PathBuf {
    directory("STANDIN_RUN_DIR", "/run/standin").join(format!("{cluster}.active.yaml"))
}

/// Keeps the file of a cluster that is about to become active here. One that was changed since it was read is left out.
///
/// # Errors
/// As the file system gives them.
pub(super) fn keep(config: &Config) -> io::Result<()> {
    keep_as(config, &path(&config.name))
}

fn keep_as(config: &Config, kept: &Path) -> io::Result<()> {
    let text = fs::read_to_string(&config.file)?;
    if config::parse(&text, &config.file, &Host::this_machine().unexamined()).is_err() {
        return Ok(());
    }
    if let Some(directory) = kept.parent() {
        fs::create_dir_all(directory)?;
    }
    // In one step: a check may read it now.
    let part = kept.with_extension("part");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    fs::rename(&part, kept)
}

/// Forgets it: this node holds nothing any more.
pub(super) fn forget(cluster: &str) {
    // What is left behind is read only while the file itself is broken.
    let _ = fs::remove_file(path(cluster));
}

/// The configuration for what gives up or only looks: neither interfaces nor credentials are examined, and where the file
/// can't be read it is the one that this node became active with.
///
/// # Errors
/// Those of the file, when this node did not become active with another one.
pub(super) fn load(selector: Option<&str>) -> Result<Config, ConfigErrors> {
    config::load(selector, &Host::this_machine().unexamined()).or_else(|errors| instead(selector, errors))
}

/// The configuration that this node became active with, in place of one that can't be read.
///
/// # Errors
/// The same, when this node is not active.
pub(super) fn instead(selector: Option<&str>, errors: ConfigErrors) -> Result<Config, ConfigErrors> {
    let host = Host::this_machine().unexamined();
    let kept = config::name(selector).ok().and_then(|name| read(&name, &path(&name), &host));
    match kept {
        Some(config) => {
            say_error(format_args!(
                "warning: {errors}\n  why it matters: no takeover begins with it\n  what to do next: correct it; meanwhile this \
                 goes by the configuration that this node became active with"
            ));
            Ok(config)
        }
        None => Err(errors),
    }
}

fn read(cluster: &str, kept: &Path, host: &Host) -> Option<Config> {
    let text = fs::read_to_string(kept).ok()?;
    let mut config = config::parse(&text, kept, host).ok()?;
    cluster.clone_into(&mut config.name);
    Some(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_under_the_clusters_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("orders.yaml");
        let kept = directory.path().join("run/orders.active.yaml");
        let name = Host::this_machine().name;
        let example = include_str!("../../docs/examples/command-line.yaml").replace("db1.example.com", &name);
        fs::write(&file, &example).unwrap();
        let host = Host::fixed(&name);
        let config = config::parse(&example, &file, &host).unwrap();
        keep_as(&config, &kept).unwrap();
        let again = read("orders", &kept, &host).unwrap();
        assert_eq!((again.name.as_str(), &again.resource), ("orders", &config.resource));

        fs::write(&file, "bogus: [").unwrap();
        keep_as(&config, &kept).unwrap();
        assert!(read("orders", &kept, &host).is_some(), "a broken file is not kept in its place");
        assert!(read("orders", &directory.path().join("none"), &host).is_none());
    }
}
