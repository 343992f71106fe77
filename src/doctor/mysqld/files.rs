//! Files and directories beside the data that a start of the server needs on this node.

use std::path::{Path, PathBuf};

use super::settings::{Change, Setting};
use crate::config::Config;
use crate::doctor::survey::{Account, MysqldSurvey};
use crate::doctor::{Finding, remedy};

pub(super) fn examine(survey: &MysqldSurvey, config: &Config) -> Vec<Finding> {
    [
        error_log(survey, config),
        error_log_directory(survey, config),
        temporary_directories(survey, config),
        run_directory(survey, config),
        needed_files(survey, config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn account(survey: &MysqldSurvey) -> Option<&Account> {
    survey.user.known()?.as_ref()
}

/// What standin follows must be what the server writes.
fn error_log(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-error-log";
    let setting = Setting::of(survey, "log_error");
    let (value, place) = match (&setting.next, &setting.now) {
        (Some((value, place)), _) => (value.clone(), place.clone()),
        (None, Some(now)) => (now.clone(), "the running server".to_owned()),
        (None, None) => (String::new(), "default".to_owned()),
    };
    let why = "a takeover follows crash recovery in the error log: without it nobody sees how far it is, and why a start \
               fails";
    // Without a value of its own the server writes to its standard error, which systemd puts into its journal.
    let file = Some(value.as_str()).filter(|value| !value.is_empty() && *value != "stderr" && *value != "ON");
    let file = file.map(|file| config.mysqld.datadir.join(file));
    let finding = match (&config.mysqld.error_log, file) {
        (Some(wanted), Some(file)) if same_file(survey, wanted, &file) => {
            if file.starts_with(&config.mount.directory) {
                let seen = format!("{} is on the replicated device", file.display());
                let why = "the standby can't read it, and after a release neither can the node that wrote it";
                let mut change = Change::default();
                let beside = Path::new("/var/log/mysql/error.log").to_string_lossy().into_owned();
                change.write(survey, "log_error", &beside);
                return Some(change.remedy(Finding::warn(check, seen, why)).advice(format!(
                    "and name {beside} in mysqld.error_log of standin's configuration, on both nodes"
                )));
            }
            return Some(Finding::pass(check, file.display().to_string()));
        }
        (None, Some(file)) => {
            return Some(
                Finding::warn(
                    check,
                    format!(
                        "log_error = {} ({place}), and standin's configuration has no mysqld.error_log",
                        file.display()
                    ),
                    why,
                )
                .remedy(remedy::sed(
                    &config.file,
                    &format!(
                        "s/^mysqld:.*/&\\n  error_log: {}/",
                        file.display().to_string().replace('/', "\\/")
                    ),
                ))
                .advice("on both nodes"),
            );
        }
        (None, None) => {
            return Some(Finding::warn(check, "the server has no error log of its own, and standin's configuration none", why)
                .advice("set log_error in the server's option files and mysqld.error_log in standin's configuration, on both nodes"));
        }
        (Some(wanted), Some(file)) => Finding::warn(
            check,
            format!("log_error = {} ({place}), and standin follows {}", file.display(), wanted.display()),
            why,
        ),
        (Some(wanted), None) => Finding::warn(
            check,
            format!("log_error is not set ({place}), and standin follows {}", wanted.display()),
            why,
        ),
    };
    let mut change = Change::default();
    let wanted = config.mysqld.error_log.as_deref().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    change.write(survey, "log_error", &wanted);
    // log_error can't be changed while the server runs.
    if setting
        .now
        .as_deref()
        .is_some_and(|now| !same_file(survey, Path::new(&wanted), &config.mysqld.datadir.join(now)))
    {
        change.restart(survey, config);
    }
    Some(change.remedy(finding))
}

fn same_file(survey: &MysqldSurvey, one: &Path, other: &Path) -> bool {
    let resolved =
        |path: &Path| survey.path(path).map_or_else(|| path.to_path_buf(), |seen| seen.resolved.clone());
    one == other || resolved(one) == resolved(other)
}

/// A server that can't open its error log does not start.
fn error_log_directory(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let log = config.mysqld.error_log.as_deref()?;
    if log.starts_with(&config.mount.directory) {
        return None;
    }
    let account = account(survey)?;
    let directory = survey.path(log.parent()?)?;
    let check = "mysqld-error-log-directory";
    let shown = directory.path.display();
    let why = "a server that can't open its error log does not start";
    let make = |mode: &str| {
        let gid = account.gid.to_string();
        remedy::words(&["install", "-d", "-o", &account.name, "-g", &gid, "-m", mode, &shown.to_string()])
    };
    Some(match &directory.kind {
        Err(cause) => Finding::unknown(check, cause),
        Ok(_) if directory.is_missing() => {
            Finding::fail(check, format!("{shown} does not exist"), why).remedy(make("2750"))
        }
        Ok(_) if !directory.is_directory() => {
            Finding::fail(check, format!("{shown} is not a directory"), why)
                .advice("put a directory there, or choose another place for log_error")
        }
        // A file that is there and may be written needs no right to the directory.
        Ok(_)
            if directory.is_writable_by(account.uid, account.gid)
                || survey.path(log).is_some_and(|file| {
                    !file.is_missing() && file.is_writable_by(account.uid, account.gid)
                }) =>
        {
            Finding::pass(check, format!("{shown} can be written by {}", account.name))
        }
        Ok(_) => Finding::fail(
            check,
            format!(
                "{shown} has owner {} and mode {:04o}, so that {} can't write there",
                directory.uid, directory.mode, account.name
            ),
            why,
        )
        .remedy(remedy::words(&["chown", &account.name, &shown.to_string()]))
        .remedy(remedy::words(&["chmod", "u+rwx", &shown.to_string()])),
    })
}

/// They need not be replicated, but must be there.
fn temporary_directories(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-tmpdir";
    let account = account(survey)?;
    let mut directories = Vec::new();
    for name in ["tmpdir", "innodb_tmpdir"] {
        let value = Setting::of(survey, name).value().unwrap_or_default().to_owned();
        directories.extend(value.split(':').filter(|part| !part.is_empty()).map(PathBuf::from));
    }
    if directories.is_empty() {
        directories.push("/tmp".into());
    }
    // What is on the replicated device comes with it.
    directories.retain(|directory| !directory.starts_with(&config.mount.directory));
    let why = "the server does not start without its directory for temporary files";
    for directory in &directories {
        let Some(seen) = survey.path(directory) else { continue };
        let shown = directory.display().to_string();
        if let Err(cause) = &seen.kind {
            return Some(Finding::unknown(check, cause));
        }
        if seen.is_missing() {
            return Some(
                Finding::fail(check, format!("{shown} does not exist"), why).remedy(remedy::words(&[
                    "install",
                    "-d",
                    "-o",
                    &account.name,
                    "-m",
                    "0750",
                    &shown,
                ])),
            );
        }
        if !seen.is_directory() {
            let finding = Finding::fail(check, format!("{shown} is not a directory"), why);
            return Some(finding.advice("put a directory there, or choose another place"));
        }
        if !seen.is_writable_by(account.uid, account.gid) {
            let seen = format!(
                "{shown} has owner {} and mode {:04o}: {} can't write there",
                seen.uid, seen.mode, account.name
            );
            let command = if shown == "/tmp" || shown == "/var/tmp" {
                remedy::words(&["chmod", "1777", &shown])
            } else {
                remedy::words(&["chown", &account.name, &shown])
            };
            return Some(Finding::fail(check, seen, why).remedy(command));
        }
    }
    let shown: Vec<String> = directories.iter().map(|directory| directory.display().to_string()).collect();
    let shown = if shown.is_empty() { "on the replicated device".to_owned() } else { shown.join(", ") };
    Some(Finding::pass(check, shown))
}

/// Where the socket is made.
fn run_directory(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-socket-directory";
    let directory = config.mysqld.socket.parent()?;
    if directory.starts_with(&config.mount.directory) {
        return None;
    }
    let account = account(survey)?;
    let seen = survey.path(directory)?;
    let shown = directory.display().to_string();
    let why = "the server does not start when it can't make its socket";
    if let Err(cause) = &seen.kind {
        return Some(Finding::unknown(check, cause));
    }
    if seen.is_directory() && seen.is_writable_by(account.uid, account.gid) {
        return Some(Finding::pass(check, format!("{shown} can be written by {}", account.name)));
    }
    let what = if seen.is_missing() {
        format!("{shown} does not exist")
    } else {
        format!(
            "{shown} has owner {} and mode {:04o}: {} can't write there",
            seen.uid, seen.mode, account.name
        )
    };
    let line = format!("d {shown} 0755 {} root -", account.name);
    Some(
        Finding::fail(check, what, why)
            .remedy(remedy::write_file(Path::new("/etc/tmpfiles.d/standin-mysqld.conf"), &[&line]))
            .remedy(remedy::words(&["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/standin-mysqld.conf"]))
            .advice("the first line lets it be made at every boot, because /run is empty then"),
    )
}

/// Settings that name a file without which the server does not start, or starts without encryption.
const NEEDED: [&str; 8] = [
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "file_key_management_filename",
    "keyring_file_data",
    "init_file",
    "secure_file_priv",
    "character_sets_dir",
];

/// The names of settings whose values are paths that a start needs on this node.
pub(in crate::doctor) const PATH_SETTINGS: [&str; 8] = NEEDED;

fn needed_files(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-files";
    let account = account(survey)?;
    let mut named = 0;
    for name in NEEDED {
        // What the distribution compiled in is in the package: only what somebody set can be missing.
        let Some(found) = survey.options.get(&survey.groups, name) else { continue };
        let path = Path::new(found.text());
        let Some(seen) = survey.path(path).filter(|_| path.is_absolute()) else { continue };
        if path.starts_with(&config.mount.directory) {
            continue;
        }
        named += 1;
        let shown = path.display();
        let place = found.shown_place();
        let why = "the server does not start without it, or without its encryption";
        if seen.is_missing() {
            let from = format!("root@{}:{shown}", config.peer.replication_address);
            return Some(
                Finding::fail(check, format!("{name} = {shown} ({place}) does not exist"), why)
                    .remedy(remedy::words(&["scp", "-p", &from, &shown.to_string()]))
                    .advice(format!("the peer may have it; {} must be able to read it", account.name)),
            );
        }
        if seen.kind.is_ok() && !seen.is_directory() && !seen.is_readable_by(account.uid, account.gid) {
            let seen = format!("{name} = {shown} ({place}) can't be read by {}", account.name);
            return Some(
                Finding::fail(check, seen, why)
                    .remedy(remedy::words(&["chown", &account.name, &shown.to_string()]))
                    .remedy(remedy::words(&["chmod", "u+r", &shown.to_string()])),
            );
        }
    }
    (named > 0).then(|| Finding::pass(check, format!("{named} named by the option files, all here")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::survey::paths::{Kind, SeenPath};
    use crate::doctor::{Status, sample};

    fn status(survey: &MysqldSurvey, check: &str) -> Option<Status> {
        sample::status(&examine(survey, &sample::config()), check)
    }

    fn with_path(change: impl Fn(&mut SeenPath), path: &str) -> MysqldSurvey {
        let mut survey = sample::survey().mysqld;
        let seen = survey.paths.iter_mut().find(|seen| seen.path == Path::new(path)).unwrap();
        change(seen);
        survey
    }

    fn missing(seen: &mut SeenPath) {
        seen.kind = Ok(Kind::Missing);
    }

    #[test]
    fn a_healthy_node_passes() {
        let findings = examine(&sample::survey().mysqld, &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert_eq!(findings.len(), 4);
    }

    #[test]
    fn the_error_log_must_be_the_one_that_is_followed() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "log_error", "/var/log/other.log");
        assert_eq!(status(&survey, "mysqld-error-log"), Some(Status::Warn));
        sample::set(&mut survey, "log_error", "/var/log/mysql/error.log");
        assert_eq!(status(&survey, "mysqld-error-log"), Some(Status::Pass));
        survey.options = crate::foreign::option_file::Options::default();
        assert_eq!(status(&survey, "mysqld-error-log"), Some(Status::Warn), "the server writes to stderr");
    }

    #[test]
    fn directories_must_be_there_and_writable() {
        let cases = [
            ("/var/log/mysql", "mysqld-error-log-directory"),
            ("/tmp", "mysqld-tmpdir"),
            ("/run/mysqld", "mysqld-socket-directory"),
        ];
        for (path, check) in cases {
            assert_eq!(status(&with_path(missing, path), check), Some(Status::Fail), "{path}");
            let foreign = with_path(|seen| (seen.uid, seen.gid, seen.mode) = (7, 7, 0o755), path);
            assert_eq!(status(&foreign, check), Some(Status::Fail), "{path}");
            let unknown = with_path(|seen| seen.kind = Err("no answer".to_owned()), path);
            assert_eq!(status(&unknown, check), Some(Status::Warn), "{path}");
        }
    }

    #[test]
    fn a_key_file_must_be_there_and_readable() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "ssl_key", "/etc/mysql/key.pem");
        survey.paths.push(SeenPath { kind: Ok(Kind::File), ..sample::directory("/etc/mysql/key.pem") });
        assert_eq!(status(&survey, "mysqld-files"), Some(Status::Pass));
        let last = survey.paths.len() - 1;
        survey.paths[last].mode = 0o600;
        survey.paths[last].uid = 7;
        assert_eq!(status(&survey, "mysqld-files"), Some(Status::Fail));
        survey.paths[last].kind = Ok(Kind::Missing);
        assert_eq!(status(&survey, "mysqld-files"), Some(Status::Fail));
    }
}
