//! What a setting of the server is now and will be at its next start, and how it is changed.

use std::cmp::max;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::doctor::survey::{Flavour, MysqldSurvey, Program, Running};
use crate::doctor::{Finding, Status, remedy};
use crate::plan::MysqldControl;

/// The file among those of the last included directory that is read last.
const DROP_IN: &str = "zz-standin.cnf";

/// A setting's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its name, with underscores.
    pub(super) name: &'static str,
    /// What the next start here will have: the text, and where it stands. None when neither the files nor the table of
    /// defaults know it.
    pub(super) next: Option<(String, String)>,
    /// What the running server has.
    pub(super) now: Option<String>,
}

impl Setting {
    /// Looks a setting up.
    pub(super) fn of(survey: &MysqldSurvey, name: &'static str) -> Self {
        Self { name, next: next(survey, name), now: now(survey, name).map(str::to_owned) }
    }

    /// What the next start will have, or else what runs.
    pub(super) fn value(&self) -> Option<&str> {
        self.next.as_ref().map(|(value, _)| value.as_str()).or(self.now.as_deref())
    }

    /// Each known value once, in words, with the place that it stands in.
    fn shown(&self) -> String {
        let next = self.next.as_ref().map(|(value, place)| format!("{} = {value} ({place})", self.name));
        match (next, &self.now, &self.next) {
            (Some(next), Some(now), Some((value, _))) if now == value => next,
            (Some(next), Some(now), _) => format!("{next}; the running server has {now}"),
            (Some(next), None, _) => next,
            (None, Some(now), _) => format!("{} = {now} (the running server)", self.name),
            (None, None, _) => format!("{} is not known", self.name),
        }
    }
}

fn now<'a>(survey: &'a MysqldSurvey, name: &str) -> Option<&'a str> {
    running(survey)?.variables.get(name).map(String::as_str)
}

/// The running server, when it could be asked.
pub(super) fn running(survey: &MysqldSurvey) -> Option<&Running> {
    survey.running.as_ref()?.known()
}

fn next(survey: &MysqldSurvey, name: &str) -> Option<(String, String)> {
    if let Some(value) = survey.persisted.get(name) {
        return Some((value.clone(), "mysqld-auto.cnf, by SET PERSIST".to_owned()));
    }
    if let Some(found) = survey.options.get(&survey.groups, name) {
        let value = found.value.clone().unwrap_or_else(|| "ON".to_owned());
        return Some((value, found.shown_place()));
    }
    let program = survey.program.known()?;
    default(program, name).map(|value| (value.to_owned(), "default".to_owned()))
}

/// Compiled defaults. Sources: "InnoDB System Variables" and "Server System Variables" of MariaDB's documentation,
/// "InnoDB Startup Options and System Variables" and "Server System Variables" of MySQL's manual. Only what the same
/// version has on every distribution.
fn default(program: &Program, name: &str) -> Option<&'static str> {
    let maria = program.flavour == Flavour::MariaDB;
    let since = |version| program.version >= version;
    Some(match name {
        "innodb_flush_log_at_trx_commit" => "1",
        "sync_binlog" if maria || !since((5, 7, 7)) => "0",
        "sync_binlog" => "1",
        "innodb_doublewrite" => "ON",
        "innodb_flush_method" if maria && since((10, 6, 0)) || !maria && since((8, 4, 0)) => "O_DIRECT",
        "innodb_flush_method" => "fsync",
        "innodb_checksum_algorithm" if maria && since((10, 5, 0)) => "full_crc32",
        "innodb_checksum_algorithm" => "crc32",
        "innodb_force_recovery" => "0",
        "innodb_log_group_home_dir" | "innodb_undo_directory" => "./",
        "innodb_data_home_dir" => "",
        "innodb_data_file_path" => "ibdata1:12M:autoextend",
        "innodb_redo_log_capacity" if !maria && since((8, 0, 30)) => "104857600",
        "innodb_log_file_size" if maria && since((10, 5, 0)) => "100663296",
        "innodb_log_file_size" => "50331648",
        "innodb_log_files_in_group" if maria && since((10, 5, 0)) => "1",
        "innodb_log_files_in_group" => "2",
        "log_bin" if !maria && since((8, 0, 0)) => "ON",
        "log_bin" | "read_only" | "super_read_only" | "skip_networking" => "OFF",
        "bind_address" => "*",
        "port" => "3306",
        "myisam_recover_options" if maria => "BACKUP,QUICK",
        "myisam_recover_options" => "OFF",
        "datadir" => "/var/lib/mysql",
        _ => return None,
    })
}

/// When a changed value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// At once, by SET GLOBAL.
    Now,
    /// At the next start.
    AtStart,
}

/// A check of one setting.
pub(super) struct Rule<'a> {
    /// The check's name.
    pub(super) check: &'static str,
    /// The setting's.
    pub(super) name: &'static str,
    /// What the remedy sets.
    pub(super) wanted: &'a str,
    /// When that counts.
    pub(super) applies: Applies,
    /// Why it matters.
    pub(super) why: &'a str,
}

/// Judges a setting by its worse value. Nothing when no value is known at all.
pub(super) fn judge(
    survey: &MysqldSurvey,
    config: &Config,
    rule: &Rule<'_>,
    grade: impl Fn(&str) -> Status,
) -> Option<Finding> {
    let setting = Setting::of(survey, rule.name);
    let next = setting.next.as_ref().map(|(value, _)| grade(value));
    let now = setting.now.as_deref().map(&grade);
    let status = max(next, now)?;
    let seen = setting.shown();
    let finding = match status {
        Status::Pass => return Some(Finding::pass(rule.check, seen)),
        Status::Warn => Finding::warn(rule.check, seen, rule.why),
        Status::Fail => Finding::fail(rule.check, seen, rule.why),
    };
    let mut change = Change::default();
    if next.is_some_and(|next| next > Status::Pass) {
        change.write(survey, rule.name, rule.wanted);
    }
    if now.is_some_and(|now| now > Status::Pass) {
        change.apply(survey, config, rule);
    }
    Some(change.remedy(finding))
}

/// Commands and advice that bring a setting to its value.
#[derive(Debug, Default)]
pub(super) struct Change {
    commands: Vec<String>,
    advice: Vec<String>,
}

impl Change {
    /// For the next start: in the line that wins now, or in a file of our own.
    pub(super) fn write(&mut self, survey: &MysqldSurvey, name: &str, value: &str) {
        if survey.persisted.contains_key(name) {
            let statement = format!("RESET PERSIST {name}");
            self.commands.push(sql(survey, &statement));
        }
        let line = format!("{name} = {value}");
        match survey.options.all(&survey.groups, name).pop() {
            Some(found) => match found.place {
                Some(place) => self.commands.push(remedy::replace_line(&place.file, place.line, &line)),
                None => self.advice.push(format!(
                    "it is an argument of the server's command line, which wins over every file: take it out of the unit \
                     (systemctl edit --full) or of mysqld.command in standin's configuration, and set {line} in an \
                     option file"
                )),
            },
            None => self.commands.push(remedy::append_to_file(&file_for(survey), &["[mysqld]", &line])),
        }
    }

    /// For the running server.
    fn apply(&mut self, survey: &MysqldSurvey, config: &Config, rule: &Rule<'_>) {
        match rule.applies {
            Applies::Now => self.set_global(survey, rule.name, rule.wanted),
            Applies::AtStart => self.restart(survey, config),
        }
    }

    /// Sets a variable of the running server.
    pub(super) fn set_global(&mut self, survey: &MysqldSurvey, name: &str, value: &str) {
        let number = value.bytes().all(|byte| byte.is_ascii_digit());
        let value = if number { value.to_owned() } else { format!("'{}'", value.replace('\'', "''")) };
        self.commands.push(sql(survey, &format!("SET GLOBAL {name} = {value}")));
    }

    /// Lets the running server read its files again.
    pub(super) fn restart(&mut self, survey: &MysqldSurvey, config: &Config) {
        let how = match &config.mysqld.control {
            MysqldControl::Unit(unit) if survey.runs_in_unit => {
                self.commands.push(remedy::words(&["systemctl", "restart", unit]));
                "and tell the cluster manager first"
            }
            // A unit that did not start it would start a second one.
            _ => "then standin release and standin takeover, or a switch to the other node",
        };
        self.advice.push(format!(
            "the server takes it up at a restart, which cuts off every client for some seconds: choose the moment, {how}"
        ));
    }

    /// Adds what was gathered to a finding.
    pub(super) fn remedy(self, finding: Finding) -> Finding {
        let finding = self.commands.into_iter().fold(finding, Finding::remedy);
        if self.advice.is_empty() { finding } else { finding.advice(self.advice.join("; ")) }
    }
}

/// Where a setting that stands nowhere yet goes.
fn file_for(survey: &MysqldSurvey) -> PathBuf {
    match &survey.include_directory {
        Some(directory) => directory.join(DROP_IN),
        None => {
            survey.options.files.last().cloned().unwrap_or_else(|| Path::new("/etc/my.cnf").to_path_buf())
        }
    }
}

/// The command line that gives a statement to the running server, as root over its socket.
fn sql(survey: &MysqldSurvey, statement: &str) -> String {
    let maria = survey
        .program
        .known()
        .is_some_and(|program| program.flavour == Flavour::MariaDB && program.version >= (10, 5, 0));
    let client = if maria { "mariadb" } else { "mysql" };
    match now(survey, "socket") {
        Some(socket) => remedy::words(&[client, &format!("--socket={socket}"), "--execute", statement]),
        None => remedy::words(&[client, "--execute", statement]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::observation::Fact;

    const RULE: Rule<'_> =
        Rule { check: "x", name: "sync_binlog", wanted: "1", applies: Applies::Now, why: "because" };

    fn grade(value: &str) -> Status {
        if value == "1" { Status::Pass } else { Status::Fail }
    }

    fn finding(survey: &MysqldSurvey) -> Finding {
        judge(survey, &sample::config(), &RULE, grade).unwrap()
    }

    #[test]
    fn the_line_that_wins_is_the_one_to_change() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "sync_binlog", "1");
        let line = sample::set(&mut survey, "sync-binlog", "0");
        let finding = finding(&survey);
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(
            finding.remedy,
            [format!("sed -i --follow-symlinks '{line}s/.*/sync_binlog = 1/' /etc/mysql/my.cnf")]
        );
        assert_eq!(finding.seen, format!("sync_binlog = 0 (/etc/mysql/my.cnf:{line})"));
    }

    #[test]
    fn a_default_that_is_bad_gets_a_file_of_its_own() {
        let mut survey = sample::survey().mysqld;
        let finding = finding(&survey);
        assert_eq!(
            finding.remedy,
            ["printf '%s\\n' '[mysqld]' 'sync_binlog = 1' >> /etc/mysql/mariadb.conf.d/zz-standin.cnf"]
        );
        if let Fact::Known(program) = &mut survey.program {
            (program.flavour, program.version) = (Flavour::MySQL, (8, 0, 36));
        }
        assert_eq!(super::judge(&survey, &sample::config(), &RULE, grade).unwrap().status, Status::Pass);
    }

    #[test]
    fn both_the_file_and_the_running_server_are_mended() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "sync_binlog", "0");
        sample::run(&mut survey, &[("sync_binlog", "0"), ("socket", "/run/mysqld/mysqld.sock")]);
        let remedy = finding(&survey).remedy;
        assert_eq!(remedy.len(), 2);
        assert_eq!(
            remedy[1],
            "mariadb --socket=/run/mysqld/mysqld.sock --execute 'SET GLOBAL sync_binlog = 1'"
        );
        sample::run(&mut survey, &[("sync_binlog", "1")]);
        assert_eq!(finding(&survey).remedy.len(), 1);
    }

    #[test]
    fn an_argument_of_the_command_line_can_only_be_advised_on() {
        let mut survey = sample::survey().mysqld;
        sample::set_argument(&mut survey, "sync_binlog", "0");
        let finding = finding(&survey);
        assert!(finding.remedy.is_empty() && finding.advice.unwrap().contains("command line"));
    }

    #[test]
    fn a_restart_is_announced() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[("sync_binlog", "0")]);
        sample::set(&mut survey, "sync_binlog", "1");
        let rule = Rule { applies: Applies::AtStart, ..RULE };
        let finding = judge(&survey, &sample::config(), &rule, grade).unwrap();
        assert_eq!(finding.remedy, ["systemctl restart mariadb.service"]);
        assert!(finding.advice.unwrap().contains("cuts off every client"));
        survey.runs_in_unit = false;
        assert!(judge(&survey, &sample::config(), &rule, grade).unwrap().remedy.is_empty());
    }
}
