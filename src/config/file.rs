//! Finds and reads the file of a cluster.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Config;
use super::error::{ConfigError, ConfigErrors};
use super::place::{Place, Source};
use super::sections::reason;

/// Names another directory than `/etc/standin`.
pub const DIRECTORY_VARIABLE: &str = "STANDIN_CONFIG_DIR";

const DIRECTORY: &str = "/etc/standin";
/// Some thousand lines, and little enough for a parser whose time grows with the square.
const LARGEST: u64 = 64 * 1024;

/// Where the clusters of this host are described: `/etc/standin`, or what `STANDIN_CONFIG_DIR` says.
pub fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY_VARIABLE).filter(|value| !value.is_empty()).unwrap_or(DIRECTORY.into()).into()
}

/// The file that a name, a path or nothing at all selects.
pub(super) fn select(selector: Option<&str>, directory: &Path) -> Result<PathBuf, ConfigErrors> {
    match selector {
        Some(path) if path.contains('/') || has_yaml_extension(Path::new(path)) => Ok(path.into()),
        Some(name) => by_name(name, directory),
        None => the_only_one(directory),
    }
}

fn by_name(name: &str, directory: &Path) -> Result<PathBuf, ConfigErrors> {
    let file = directory.join(format!("{name}.yaml"));
    if file.exists() {
        return Ok(file);
    }
    let names = cluster_names(directory);
    let close = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    let help = match close {
        Some((_, close)) => format!("did you mean `{close}`?"),
        None if names.is_empty() => how_to_make_one(directory),
        None => format!("the clusters there are {}", names.join(", ")),
    };
    let message = format!("there is no cluster `{}` in {}", name.escape_debug(), directory.display());
    Err(ConfigError::about_file(Some(file), message, help).into())
}

fn the_only_one(directory: &Path) -> Result<PathBuf, ConfigErrors> {
    let names = cluster_names(directory);
    let (message, help) = match names.as_slice() {
        [only] => return Ok(directory.join(format!("{only}.yaml"))),
        [] => (format!("no cluster is described in {}", directory.display()), how_to_make_one(directory)),
        [first, ..] => (
            format!("several clusters are described in {}: {}", directory.display(), names.join(", ")),
            format!("say which one is meant: `--config {first}`"),
        ),
    };
    Err(ConfigError::about_file(None, message, help).into())
}

fn how_to_make_one(directory: &Path) -> String {
    format!(
        "run `standin init`, which writes {}/NAME.yaml, or name a file: `--config PATH`",
        directory.display()
    )
}

/// The clusters that are described in a directory, sorted.
fn cluster_names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("yaml")) && path.is_file())
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        // What editors leave behind.
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The files of all clusters in a directory, sorted.
pub(super) fn all(directory: &Path) -> Vec<PathBuf> {
    cluster_names(directory).iter().map(|name| directory.join(format!("{name}.yaml"))).collect()
}

/// The only configuration of a DRBD resource among those that were read.
pub(super) fn the_one_with(
    resource: &str,
    read: Vec<Result<Config, ConfigErrors>>,
    directory: &Path,
) -> Result<Config, ConfigErrors> {
    let mut found = Vec::new();
    let mut broken = None;
    for each in read {
        match each {
            Ok(config) if config.resource == resource => found.push(config),
            Ok(_) => {}
            Err(errors) => broken = Some(errors),
        }
    }
    if found.len() == 1
        && let Some(config) = found.pop()
    {
        return Ok(config);
    }
    // Perhaps it is this one's.
    if let (true, Some(errors)) = (found.is_empty(), broken) {
        return Err(errors);
    }
    let shown = resource.escape_debug();
    let message = match found.as_slice() {
        [] => format!("no cluster in {} has `drbd.resource: {shown}`", directory.display()),
        several => format!(
            "several clusters have `drbd.resource: {shown}`: {}",
            several.iter().map(|config| config.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    Err(ConfigError::about_file(None, message, "say which cluster is meant: `--config NAME`").into())
}

fn has_yaml_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The cluster's name: the file's name without `.yaml`. It names the journal and the lock too.
pub(super) fn cluster_name(file: &Path) -> Result<String, ConfigError> {
    let stem = if has_yaml_extension(file) { file.file_stem() } else { file.file_name() };
    let name = stem.unwrap_or_default().to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let shaped = name.len() <= 64 && name.chars().all(plain);
    if shaped && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    Err(ConfigError::about_file(
        Some(file.to_owned()),
        format!("`{}` cannot be the name of a cluster", name.escape_debug()),
        "rename the file: up to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
    ))
}

/// The text of a file, without a byte order mark.
pub(super) fn read(file: &Path) -> Result<String, ConfigErrors> {
    let about = |message: String, help: &str| {
        ConfigErrors::from(ConfigError::about_file(Some(file.to_owned()), message, help))
    };
    let unreadable = |error: std::io::Error| {
        about(
            format!("the configuration cannot be read: {}", reason(&error)),
            "name an existing file with `--config PATH`, or a cluster with `--config NAME`",
        )
    };
    // Opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
        return Err(about(
            format!("the configuration is {what}"),
            "name the YAML file of one cluster with `--config PATH`",
        ));
    }
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(about(
            "the configuration is larger than 64 KiB".to_owned(),
            "name the YAML file of one cluster; this must be something else",
        ));
    }
    text(file, bytes)
}

fn text(file: &Path, bytes: Vec<u8>) -> Result<String, ConfigErrors> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let whole = String::from_utf8_lossy(&bytes);
        // The valid part is the same in the lossy text.
        let place = Place { length: 1, ..Source::at_byte(&whole, valid) };
        let message = format!("the configuration is not UTF-8 text: byte {:#04x}", bytes[valid]);
        let help = "save the file as UTF-8, or name the YAML file of a cluster if this is something else";
        ConfigError::at(&Source::new(file, &whole), place, message, help).into()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn message(errors: ConfigErrors) -> String {
        errors.iter().map(|error| format!("{} | {}", error.message(), error.help())).collect()
    }

    #[test]
    fn a_selector_is_a_name_or_a_path() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("orders.yaml"), "").unwrap();
        let select = |selector| select(Some(selector), directory.path());
        assert_eq!(select("orders").unwrap(), directory.path().join("orders.yaml"));
        assert_eq!(select("./orders").unwrap(), Path::new("./orders"));
        assert_eq!(select("orders.yml").unwrap(), Path::new("orders.yml"));
        assert!(message(select("order").unwrap_err()).contains("did you mean `orders`?"));
        assert!(message(select("accounts").unwrap_err()).contains("the clusters there are orders"));
    }

    #[test]
    fn without_a_selector_the_only_cluster_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let select = || select(None, directory.path());
        assert!(message(select().unwrap_err()).contains("no cluster is described"));
        std::fs::write(directory.path().join("orders.yaml"), "").unwrap();
        std::fs::write(directory.path().join(".accounts.yaml"), "").unwrap();
        std::fs::write(directory.path().join("orders.yaml~"), "").unwrap();
        assert_eq!(select().unwrap(), directory.path().join("orders.yaml"));
        std::fs::write(directory.path().join("accounts.yaml"), "").unwrap();
        assert!(message(select().unwrap_err()).contains("accounts, orders | say which one is meant"));
    }

    #[test]
    fn a_name_that_cannot_be_part_of_a_file_name_is_refused() {
        assert_eq!(cluster_name(Path::new("/etc/standin/r0.yaml")).unwrap(), "r0");
        assert_eq!(cluster_name(Path::new("a/orders.eu.yml")).unwrap(), "orders.eu");
        for bad in ["..", "a b.yaml", ".yaml", "-x.yaml", "ö.yaml", "/"] {
            assert!(cluster_name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_shown_where_it_stands() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("r0.yaml");
        std::fs::write(&file, b"vip:\n  interface: \xfc\n").unwrap();
        let errors = read(&file).unwrap_err();
        let error = errors.iter().next().unwrap();
        assert_eq!(error.message(), "the configuration is not UTF-8 text: byte 0xfc");
        assert_eq!(error.place(), Some(Place { line: 2, column: 14, length: 1 }));
    }
}
