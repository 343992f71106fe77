//! Where the server keeps what: all that belongs to the data must be on the replicated device, and nothing that a start
//! needs may be missing here.

use std::path::{Component, Path, PathBuf};

use super::durability::has_binlog;
use super::settings::{Change, Setting, running};
use crate::config::Config;
use crate::doctor::Finding;
use crate::doctor::survey::{Flavour, MysqldSurvey};
use crate::foreign::option_file::boolean;

pub(super) fn examine(survey: &MysqldSurvey, config: &Config) -> Vec<Finding> {
    let mut findings = vec![datadir(survey, config)];
    findings.extend(PLACES.iter().filter_map(|place| on_the_device(survey, config, place)));
    findings.extend(data_files(survey, config));
    findings
}

/// A setting that names a place of data.
struct Place {
    check: &'static str,
    name: &'static str,
    why: &'static str,
    applies: fn(&MysqldSurvey) -> bool,
    /// The part of the value that is a path, when it is one of its own.
    path: fn(&str) -> Option<&str>,
}

const PLACES: [Place; 8] = [
    Place {
        check: "mysqld-redo-log",
        name: "innodb_log_group_home_dir",
        why: "crash recovery needs the redo log: without it every commit since the last checkpoint is lost, and the data \
              files don't fit together",
        applies: |_| true,
        path: whole,
    },
    Place {
        check: "mysqld-system-tablespace",
        name: "innodb_data_home_dir",
        why: "InnoDB does not start without its system tablespace",
        applies: |_| true,
        path: whole,
    },
    Place {
        check: "mysqld-system-tablespace-files",
        name: "innodb_data_file_path",
        why: "InnoDB does not start without its system tablespace",
        applies: |survey| {
            Setting::of(survey, "innodb_data_file_path").value().is_some_and(|v| v.contains('/'))
        },
        path: |value| {
            value.split(';').filter_map(|file| file.split(':').next()).find(|file| file.starts_with('/'))
        },
    },
    Place {
        check: "mysqld-undo-log",
        name: "innodb_undo_directory",
        why: "crash recovery rolls back with the undo log",
        applies: |_| true,
        path: whole,
    },
    Place {
        check: "mysqld-doublewrite-files",
        name: "innodb_doublewrite_dir",
        why: "torn pages are mended from these files",
        applies: |survey| Setting::of(survey, "innodb_doublewrite_dir").value().is_some(),
        path: |value| Some(value.trim_start_matches('#')),
    },
    Place {
        check: "mysqld-binlog",
        name: "log_bin",
        why: "crash recovery asks the binary log which transactions were committed: without it acknowledged ones are \
              rolled back, and replicas can't go on",
        applies: has_binlog,
        path: |value| boolean(value).is_none().then_some(value),
    },
    Place {
        check: "mysqld-relay-log",
        name: "relay_log",
        why: "a replica that is failed over goes on from its relay log",
        applies: |survey| Setting::of(survey, "relay_log").value().is_some_and(|value| !value.is_empty()),
        path: whole,
    },
    Place {
        check: "mysqld-aria-log",
        name: "aria_log_dir_path",
        why: "MariaDB's own tables are Aria: without their log they are not recovered and the server may not start",
        applies: |survey| {
            survey.program.known().is_some_and(|program| program.flavour == Flavour::MariaDB)
                && Setting::of(survey, "aria_log_dir_path").value().is_some()
        },
        path: whole,
    },
];

fn whole(value: &str) -> Option<&str> {
    Some(value)
}

fn datadir(survey: &MysqldSurvey, config: &Config) -> Finding {
    let check = "mysqld-datadir";
    let setting = Setting::of(survey, "datadir");
    let wanted = &config.mysqld.datadir;
    let differs = |value: &str| clean(Path::new(value)) != clean(wanted);
    let next = setting.next.as_ref().filter(|(value, _)| differs(value));
    let now = setting.now.as_deref().filter(|value| differs(value));
    let why = "the server would start on other data than what is mounted";
    let finding = match (next, now) {
        (Some((value, place)), _) => {
            let finding = Finding::fail(
                check,
                format!("datadir = {value} ({place}), and standin's mysqld.datadir is {}", wanted.display()),
                why,
            );
            let mut change = Change::default();
            change.write(survey, "datadir", &wanted.to_string_lossy());
            change.remedy(finding)
        }
        (None, Some(value)) => Finding::fail(
            check,
            format!(
                "the running server has datadir = {value}, and standin's mysqld.datadir is {}",
                wanted.display()
            ),
            why,
        )
        .advice("correct mysqld.datadir in standin's configuration, on both nodes"),
        (None, None) => Finding::pass(check, wanted.display().to_string()),
    };
    if is_under(survey, wanted, &config.mount.directory) {
        return finding;
    }
    Finding::fail(
        check,
        format!("{} does not lie under {}", wanted.display(), config.mount.directory.display()),
        why,
    )
    .advice("correct mysqld.datadir or mount.directory in standin's configuration, on both nodes")
}

fn on_the_device(survey: &MysqldSurvey, config: &Config, place: &Place) -> Option<Finding> {
    if !(place.applies)(survey) {
        return None;
    }
    let datadir = &config.mysqld.datadir;
    let setting = Setting::of(survey, place.name);
    let target = |value: &str| {
        let path = (place.path)(value)?;
        Some(clean(&if path.is_empty() { datadir.clone() } else { datadir.join(path) }))
    };
    let outside = |value: &str| target(value).filter(|path| !is_under(survey, path, &config.mount.directory));
    let next = setting.next.as_ref().and_then(|(value, place)| Some((outside(value)?, place)));
    // The running server's log_bin says only whether it is on; its place has a variable of its own.
    let now_at = match place.name {
        "log_bin" => variable(survey, "log_bin_basename"),
        "relay_log" => variable(survey, "relay_log_basename"),
        _ => setting.now.as_deref(),
    };
    let now = now_at.filter(|_| setting.now.is_some()).and_then(outside);
    let device = config.mount.directory.display();
    if let Some(path) = now {
        // What is there must be moved while the server is down: a person's work.
        let fix = Finding::fail(
            place.check,
            format!("the running server has {} at {}, outside {device}", place.name, path.display()),
            place.why,
        );
        return Some(fix.advice(format!(
            "in a maintenance window: stop the server in order, move its files from {} to {}, set {} = {} in its option \
             files on both nodes, and start it",
            path.display(),
            datadir.display(),
            place.name,
            datadir.display()
        )));
    }
    if let Some((path, found_at)) = next {
        let finding = Finding::fail(
            place.check,
            format!("{} leads to {} ({found_at}), outside {device}", place.name, path.display()),
            place.why,
        );
        let mut change = Change::default();
        change.write(survey, place.name, &inside(&setting, &path, datadir));
        return Some(change.remedy(finding));
    }
    let shown = setting.value().filter(|value| !value.is_empty()).unwrap_or("in the data directory");
    Some(Finding::pass(place.check, format!("{shown}: on {device}")))
}

fn variable<'a>(survey: &'a MysqldSurvey, name: &str) -> Option<&'a str> {
    running(survey)?.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// The value that keeps file names and moves them into the data directory.
fn inside(setting: &Setting, outside: &Path, datadir: &Path) -> String {
    let value = setting.value().unwrap_or_default();
    match setting.name {
        "innodb_data_file_path" => {
            let moved = value.split(';').map(|file| {
                let (path, rest) = file.split_once(':').unwrap_or((file, ""));
                let name = Path::new(path)
                    .file_name()
                    .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                format!("{name}:{rest}")
            });
            moved.collect::<Vec<_>>().join(";")
        }
        "log_bin" | "relay_log" => {
            let name = outside.file_name().unwrap_or_default();
            datadir.join(name).to_string_lossy().into_owned()
        }
        _ => datadir.to_string_lossy().into_owned(),
    }
}

/// Data files of single tables, which `DATA DIRECTORY` and symbolic links put elsewhere.
fn data_files(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-data-files";
    let running = running(survey)?;
    let outside: Vec<String> = running
        .data_files
        .iter()
        .filter(|path| !is_under(survey, &clean(path), &config.mount.directory))
        .map(|path| path.display().to_string())
        .collect();
    let Some(first) = outside.first() else {
        return Some(Finding::pass(check, "no table has its data elsewhere"));
    };
    Some(
        Finding::fail(
            check,
            format!("{} outside {}: {first}", outside.len(), config.mount.directory.display()),
            "the other node does not have these files, so that a takeover loses the tables",
        )
                .advice(
            "move each table: CREATE TABLE new LIKE old, which leaves DATA DIRECTORY out, INSERT INTO new SELECT * FROM old, \
             then RENAME TABLE; a linked schema: move it into the data directory while the server is stopped",
        ),
    )
}

/// Whether a path lies on the mount: by its text, and where it can be seen by where its symbolic links lead.
fn is_under(survey: &MysqldSurvey, path: &Path, mount: &Path) -> bool {
    if path.starts_with(mount) {
        return survey.path(path).is_none_or(|seen| seen.resolved.starts_with(mount) || seen.is_missing());
    }
    survey.path(path).is_some_and(|seen| !seen.is_missing() && seen.resolved.starts_with(mount))
}

/// Without `.`, `..` and doubled slashes, by the text alone.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Status, sample};

    fn examined(survey: &MysqldSurvey) -> Vec<Finding> {
        examine(survey, &sample::config())
    }

    #[test]
    fn a_healthy_server_keeps_everything_on_the_device() {
        let findings = examined(&sample::survey().mysqld);
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert_eq!(sample::status(&findings, "mysqld-redo-log"), Some(Status::Pass));
    }

    #[test]
    fn every_place_is_judged_both_ways() {
        let cases = [
            ("mysqld-datadir", "datadir", "/var/lib/mysql/", "/srv/mysql"),
            ("mysqld-redo-log", "innodb_log_group_home_dir", "./redo", "/srv/redo"),
            ("mysqld-redo-log", "innodb_log_group_home_dir", "/var/lib/mysql/", "../redo"),
            ("mysqld-system-tablespace", "innodb_data_home_dir", "", "/srv/ib"),
            (
                "mysqld-system-tablespace-files",
                "innodb_data_file_path",
                "/var/lib/mysql/ib1:1G:autoextend",
                "ib1:1G;/srv/ib2:1G:autoextend",
            ),
            ("mysqld-undo-log", "innodb_undo_directory", "undo", "/srv/undo"),
            ("mysqld-binlog", "log_bin", "ON", "/var/log/mysql/mysql-bin.log"),
            ("mysqld-binlog", "log_bin", "/var/lib/mysql/binlog", "/srv/binlog"),
            ("mysqld-relay-log", "relay_log", "relay", "/srv/relay"),
            ("mysqld-aria-log", "aria_log_dir_path", "/var/lib/mysql/aria", "/srv/aria"),
        ];
        for (check, name, good, bad) in cases {
            let mut survey = sample::survey().mysqld;
            sample::set(&mut survey, name, good);
            assert_eq!(sample::status(&examined(&survey), check), Some(Status::Pass), "{name} = {good}");
            sample::set(&mut survey, name, bad);
            let findings = examined(&survey);
            let finding = findings.iter().find(|finding| finding.check == check).unwrap();
            assert_eq!(finding.status, Status::Fail, "{name} = {bad}");
            assert_eq!(finding.remedy.len(), 1, "{finding:?}");
        }
    }

    #[test]
    fn file_names_survive_the_move() {
        let mut survey = sample::survey().mysqld;
        let line = sample::set(&mut survey, "log_bin", "/srv/binlog");
        let findings = examined(&survey);
        let finding = findings.iter().find(|finding| finding.check == "mysqld-binlog").unwrap();
        let text = format!("'{line}s/.*/log_bin = \\/var\\/lib\\/mysql\\/binlog/'");
        assert!(finding.remedy[0].contains(&text), "{finding:?}");
    }

    #[test]
    fn what_the_running_server_has_elsewhere_is_not_moved_by_a_command() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[("innodb_log_group_home_dir", "/srv/redo")]);
        let findings = examined(&survey);
        let finding = findings.iter().find(|finding| finding.check == "mysqld-redo-log").unwrap();
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.remedy.is_empty() && finding.advice.as_ref().unwrap().contains("stop the server"));
    }

    #[test]
    fn the_running_server_tells_the_place_of_its_binary_log_apart() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[("log_bin", "ON"), ("log_bin_basename", "/var/log/mysql/mysql-bin")]);
        assert_eq!(sample::status(&examined(&survey), "mysqld-binlog"), Some(Status::Fail));
        sample::run(&mut survey, &[("log_bin", "ON"), ("log_bin_basename", "/var/lib/mysql/mysql-bin")]);
        assert_eq!(sample::status(&examined(&survey), "mysqld-binlog"), Some(Status::Pass));
    }

    #[test]
    fn a_symbolic_link_is_judged_by_where_it_leads() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "innodb_undo_directory", "undo");
        let linked = sample::directory("/var/lib/mysql/undo");
        survey.paths.push(crate::doctor::survey::paths::SeenPath { resolved: "/srv/undo".into(), ..linked });
        assert_eq!(sample::status(&examined(&survey), "mysqld-undo-log"), Some(Status::Fail));
    }

    #[test]
    fn tables_elsewhere_are_found() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[]);
        assert_eq!(sample::status(&examined(&survey), "mysqld-data-files"), Some(Status::Pass));
        if let Some(crate::observation::Fact::Known(running)) = &mut survey.running {
            running.data_files = vec!["/var/lib/mysql/big/t.ibd".into(), "/srv/big/t.ibd".into()];
        }
        assert_eq!(sample::status(&examined(&survey), "mysqld-data-files"), Some(Status::Fail));
    }
}
