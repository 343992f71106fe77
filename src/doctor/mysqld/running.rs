//! The running server: what it has that the next start would not, and whether it can be asked at all.

use super::settings::{Change, running};
use crate::config::Config;
use crate::doctor::survey::{Flavour, MysqldSurvey};
use crate::doctor::{Finding, remedy};
use crate::foreign::option_file::{boolean, size};
use crate::observation::{Fact, Observation};
use crate::plan::MysqldControl;

pub(super) fn examine(survey: &MysqldSurvey, config: &Config) -> Vec<Finding> {
    [
        Some(version(survey)),
        option_files(survey),
        credentials(survey, config),
        login(survey, config),
        kept_settings(survey),
        datadir_owner(survey, config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn version(survey: &MysqldSurvey) -> Finding {
    let check = "mysqld-program";
    match &survey.program {
        Fact::Known(program) => {
            let (major, minor, patch) = program.version;
            Finding::pass(check, format!("{} {major}.{minor}.{patch} ({:?})", program.path.display(), program.flavour))
        }
        Fact::Unknown(cause) => Finding::fail(
            check,
            cause,
            "without the server's program this node can't take over",
        )
        .advice("install the same version of the server as on the peer, or correct mysqld.unit or mysqld.command in \
                 standin's configuration"),
    }
}

fn option_files(survey: &MysqldSurvey) -> Option<Finding> {
    let check = "mysqld-option-files";
    let problems = &survey.options.problems;
    let worst = problems.iter().find(|problem| problem.fatal).or_else(|| problems.first());
    let Some(problem) = worst else {
        let files = survey.options.files.len();
        return (files > 0).then(|| Finding::pass(check, format!("{files} files read")));
    };
    let seen = problem.to_string();
    let finding = if problem.fatal {
        Finding::fail(check, seen, "the server does not start with such a file")
    } else {
        Finding::warn(check, seen, "the server does not read what you believe that it reads")
    };
    let file = problem.file.to_string_lossy();
    Some(match problem.line {
        Some(line) => finding
            .remedy(remedy::sed(&problem.file, &format!("{line}s/^/# /")))
            .advice("the remedy makes the line a comment; write what was meant"),
        None if problem.what.contains("everybody may write") => {
            finding.remedy(remedy::words(&["chmod", "go-w", &file]))
        }
        None => finding.advice(format!("see: ls -l {file}")),
    })
}

fn credentials(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-credentials";
    let file = config.mysqld.credentials.as_ref()?.display().to_string();
    let seen = survey.credentials.as_ref()?;
    let Some(problem) = &seen.problem else {
        return Some(Finding::pass(check, format!("{file}, mode {:04o}", seen.mode.unwrap_or_default())));
    };
    let mut finding = Finding::fail(
        check,
        problem.clone(),
        "the last step of a takeover logs in with it to see that the right server answers and may be written",
    );
    if seen.uid.is_some_and(|uid| uid != 0) {
        finding = finding.remedy(remedy::words(&["chown", "root", &file]));
    }
    if seen.mode.is_some_and(|mode| mode & 0o077 != 0) {
        finding = finding
            .remedy(remedy::words(&["chmod", "600", &file]))
            .advice("consider the password known, and change it");
    }
    if finding.remedy.is_empty() {
        finding = finding
            .advice(format!("write an option file with [client], user= and password= to {file}, mode 0600"));
    }
    Some(finding)
}

fn login(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-login";
    if config.mysqld.credentials.is_none() {
        return Some(
            Finding::warn(
                check,
                "no mysqld.credentials in the configuration",
                "a takeover can't see whether the server behind the virtual IP is this one and may be written",
            )
            .advice("make an account without any privileges, write it into an option file with [client], user= and password=, \
                     mode 0600, and name that in mysqld.credentials, on both nodes"),
        );
    }
    let file = config.mysqld.credentials.as_ref()?.display();
    match survey.credentials.as_ref()?.login.as_ref()? {
        Ok(()) => Some(Finding::pass(check, "the account can log in")),
        Err(cause) => Some(
            Finding::fail(
                check,
                format!("the account in {file} can't log in: {cause}"),
                "the last step of a takeover can't tell whether the server may be written",
            )
            .advice(format!("make the account, or correct its password in {file}, on both nodes")),
        ),
    }
}

/// What somebody set with SET GLOBAL and nobody wrote down.
fn kept_settings(survey: &MysqldSurvey) -> Option<Finding> {
    let check = "mysqld-running-settings";
    let running = running(survey)?;
    let mut lost: Vec<(&str, &str, String)> = Vec::new();
    for (name, default) in &running.set_at_run_time {
        if changes_by_itself(name) || super::has_its_own_check(name) {
            continue;
        }
        let Some(now) = running.variables.get(name) else { continue };
        let next = survey
            .persisted
            .get(name)
            .cloned()
            .or_else(|| {
                survey
                    .options
                    .get(&survey.groups, name)
                    .map(|found| found.value.unwrap_or_else(|| "ON".to_owned()))
            })
            .or_else(|| default.clone());
        match next {
            Some(next) if same_value(&next, now) => {}
            Some(next) => lost.push((name, now, next)),
            None => lost.push((name, now, "its default".to_owned())),
        }
    }
    if lost.is_empty() {
        return Some(Finding::pass(check, "as in the option files"));
    }
    let shown: Vec<String> =
        lost.iter().map(|(name, now, next)| format!("{name} = {now} instead of {next}")).collect();
    let finding = Finding::warn(
        check,
        format!("set while the server ran, and lost at its next start: {}", shown.join(", ")),
        "the server behaves otherwise after a takeover than before it",
    );
    let mut change = Change::default();
    for (name, now, _) in &lost {
        change.write(survey, name, now);
    }
    Some(
        change
            .remedy(finding)
            .advice("the remedy keeps what runs now; on the other node its option files need the same"),
    )
}

/// Variables that the server or a replica sets by itself, and such as are a command and not a setting.
fn changes_by_itself(name: &str) -> bool {
    name.starts_with("gtid_")
        || name.starts_with("wsrep_")
        || name.ends_with("_now")
        || name.ends_with("_abort")
        || matches!(
            name,
            "timestamp" | "rand_seed1" | "rand_seed2" | "innodb_monitor_reset" | "innodb_monitor_reset_all"
        )
}

/// Whether two texts mean the same value.
fn same_value(one: &str, other: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
        || size(one).is_some() && size(one) == size(other)
        || number(one).is_some() && number(one) == number(other)
        || boolean(one).is_some()
            && boolean(one) == boolean(other)
            && (number(one).is_none() || number(other).is_none())
}

/// The user of the unit must own the data; a different user id on the other node is the usual cause.
fn datadir_owner(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-user";
    let user = match &survey.user {
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
        Fact::Known(None) => {
            let name = config_user(survey);
            return Some(
                Finding::fail(
                    check,
                    format!("there is no user {name}"),
                    "the server can't run as a user that this node does not know",
                )
                .remedy(remedy::words(&[
                    "useradd",
                    "--system",
                    "--no-create-home",
                    "--shell",
                    "/usr/sbin/nologin",
                    &name,
                ]))
                .advice("its user id and group id must be those of the other node: add --uid and --gid"),
            );
        }
        Fact::Known(Some(user)) => user,
    };
    let shown = format!("{}: user id {}, group id {}", user.name, user.uid, user.gid);
    match running(survey).and_then(|running| running.datadir_owner) {
        Some(owner) if owner != user.uid => Some(
            Finding::fail(
                check,
                format!("{shown}, and {} belongs to user id {owner}", config.mysqld.datadir.display()),
                "the server can't write its own data after the next start here",
            )
            .advice("give the user the same user id on both nodes"),
        ),
        _ => Some(Finding::pass(check, shown)),
    }
}

fn config_user(survey: &MysqldSurvey) -> String {
    survey
        .options
        .get(&survey.groups, "user")
        .map_or_else(|| "mysql".to_owned(), |found| found.text().to_owned())
}

/// A server on the directory below the mount point, or on another file system.
pub(super) fn elsewhere(observation: &Observation, config: &Config) -> Option<Finding> {
    let check = "mysqld-elsewhere";
    let servers = match &observation.mysqld {
        Fact::Known(mysqld) => &mysqld.processes,
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
    };
    let Some(server) = servers.iter().find(|server| !server.on_our_device) else {
        return Some(Finding::pass(check, "no server runs on other data under this path"));
    };
    Some(
        Finding::fail(
            check,
            format!(
                "{} (process {}) runs on {}, which is not on {}",
                server.name,
                server.pid,
                server.directory.display(),
                config.mount.device.display()
            ),
            "it serves other data under the same name, and a takeover refuses to start a second server beside it",
        )
        .remedy(match &config.mysqld.control {
            MysqldControl::Unit(unit) => remedy::words(&["systemctl", "stop", unit]),
            MysqldControl::Command(_) => remedy::words(&["kill", "-TERM", &server.pid.to_string()]),
        })
        .advice("make sure first that nobody needs what it serves"),
    )
}

/// The checks of the last variables need to know which server it is.
pub(super) fn unknown_server(survey: &MysqldSurvey) -> Option<Finding> {
    match survey.running.as_ref()? {
        Fact::Unknown(cause) => Some(
            Finding::unknown("mysqld-variables", cause)
                .advice("the running server's own values can't be compared with its option files"),
        ),
        Fact::Known(running) => {
            let flavour = survey.program.known().map(|program| program.flavour)?;
            let version = running.variables.get("version")?;
            let maria = version.to_ascii_lowercase().contains("mariadb");
            (maria != (flavour == Flavour::MariaDB)).then(|| {
                Finding::warn(
                    "mysqld-variables",
                    format!(
                        "the running server says {version}, and the program that is started is another one"
                    ),
                    "the next start would be of another server than the one that runs",
                )
                .advice("see which program the unit starts: systemctl cat")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Status, sample};
    use crate::foreign::option_file::Problem;

    fn status(survey: &MysqldSurvey, check: &str) -> Option<Status> {
        sample::status(&examine(survey, &sample::config()), check)
    }

    #[test]
    fn a_healthy_standby_passes() {
        let findings = examine(&sample::survey().mysqld, &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
    }

    #[test]
    fn a_server_on_other_data_is_found() {
        use crate::observation::{Mysqld, MysqldAnswer, MysqldProcess};

        let mut observation = sample::survey().observation;
        let status = |observation: &Observation| {
            elsewhere(observation, &sample::config()).map(|finding| finding.status)
        };
        for (on_our_device, wanted) in [(true, Status::Pass), (false, Status::Fail)] {
            let server = MysqldProcess {
                pid: 7,
                name: "mariadbd".to_owned(),
                directory: "/var/lib/mysql".into(),
                on_our_device,
            };
            observation.mysqld = Fact::Known(Mysqld { processes: vec![server], answer: MysqldAnswer::Ready });
            assert_eq!(status(&observation), Some(wanted));
        }
    }

    #[test]
    fn a_missing_program_fails() {
        let mut survey = sample::survey().mysqld;
        survey.program = Fact::Unknown("there is no /usr/sbin/mariadbd".to_owned());
        assert_eq!(status(&survey, "mysqld-program"), Some(Status::Fail));
    }

    #[test]
    fn problems_of_option_files_are_told() {
        let mut survey = sample::survey().mysqld;
        let problem =
            |fatal| Problem { file: "/etc/my.cnf".into(), line: Some(3), what: "odd".to_owned(), fatal };
        survey.options.problems = vec![problem(false)];
        assert_eq!(status(&survey, "mysqld-option-files"), Some(Status::Warn));
        survey.options.problems.push(problem(true));
        assert_eq!(status(&survey, "mysqld-option-files"), Some(Status::Fail));
    }

    #[test]
    fn credentials_that_others_can_read_fail() {
        let mut survey = sample::survey().mysqld;
        let credentials = survey.credentials.as_mut().unwrap();
        credentials.problem = Some("mode 0644".to_owned());
        credentials.mode = Some(0o644);
        let findings = examine(&survey, &sample::config());
        let finding = findings.iter().find(|finding| finding.check == "mysqld-credentials").unwrap();
        assert_eq!(
            (finding.status, finding.remedy.as_slice()),
            (Status::Fail, &["chmod 600 /etc/standin/r0.cnf".to_owned()][..])
        );
    }

    #[test]
    fn the_login_is_judged_where_a_server_runs() {
        let mut survey = sample::survey().mysqld;
        assert_eq!(status(&survey, "mysqld-login"), None);
        survey.credentials.as_mut().unwrap().login = Some(Ok(()));
        assert_eq!(status(&survey, "mysqld-login"), Some(Status::Pass));
        survey.credentials.as_mut().unwrap().login = Some(Err("denied".to_owned()));
        assert_eq!(status(&survey, "mysqld-login"), Some(Status::Fail));
    }

    #[test]
    fn what_was_set_and_not_written_down_is_lost() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[("max_connections", "500")]);
        let set = |survey: &mut MysqldSurvey, default: Option<&str>| {
            if let Some(Fact::Known(running)) = &mut survey.running {
                running.set_at_run_time.insert("max_connections".to_owned(), default.map(str::to_owned));
            }
        };
        assert_eq!(status(&survey, "mysqld-running-settings"), Some(Status::Pass));
        set(&mut survey, Some("151"));
        assert_eq!(status(&survey, "mysqld-running-settings"), Some(Status::Warn));
        set(&mut survey, None);
        assert_eq!(status(&survey, "mysqld-running-settings"), Some(Status::Warn));
        sample::set(&mut survey, "max-connections", "500");
        assert_eq!(status(&survey, "mysqld-running-settings"), Some(Status::Pass));
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (one, other) in
            [("ON", "1"), ("96M", "100663296"), ("10", "10.000000"), ("/tmp", "/tmp/"), ("row", "ROW")]
        {
            assert!(same_value(one, other), "{one} {other}");
        }
        for (one, other) in [("ON", "0"), ("2", "1"), ("96M", "97M"), ("a", "b")] {
            assert!(!same_value(one, other), "{one} {other}");
        }
    }

    #[test]
    fn the_user_must_exist_and_own_the_data() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[]);
        let own = |survey: &mut MysqldSurvey, uid| {
            if let Some(Fact::Known(running)) = &mut survey.running {
                running.datadir_owner = Some(uid);
            }
        };
        own(&mut survey, 100);
        assert_eq!(status(&survey, "mysqld-user"), Some(Status::Pass));
        own(&mut survey, 999);
        assert_eq!(status(&survey, "mysqld-user"), Some(Status::Fail));
        survey.user = Fact::Known(None);
        assert_eq!(status(&survey, "mysqld-user"), Some(Status::Fail));
    }
}
