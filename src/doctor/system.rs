//! Checks of the node itself: its clock, the security modules' view of the server's files, standin's own places.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Finding;
use super::remedy;
use super::survey::{AppArmor, Survey};
use crate::config::Config;
use crate::foreign::apparmor;
use crate::observation::Fact;

/// Services that keep the clock in step; the first that is installed is the one to start.
pub const TIME_SERVICES: [&str; 5] =
    ["chrony.service", "chronyd.service", "ntpsec.service", "ntp.service", "systemd-timesyncd.service"];

/// The kernel lets the possible error grow by 0.5 ms a second between two measurements. systemd-timesyncd measures every
/// 2048 s at most (`PollIntervalMaxSec=`), which is 1 s of error: a measurement or two may be missed.
const MAXIMUM_ERROR: Duration = Duration::from_secs(3);

/// A journal of ten thousand takeovers; larger ones are read in full at every command.
const JOURNAL_LIMIT: u64 = 64 * 1024 * 1024;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let findings = [
        Some(clock(survey)),
        app_armor(survey, config),
        se_linux(survey, config),
        Some(state_directory(survey)),
        journal(survey, config),
        Some(program(survey)),
        Some(environment(survey)),
    ];
    findings.into_iter().flatten().collect()
}

fn clock(survey: &Survey) -> Finding {
    let check = "clock";
    let why = "logs and journals of the two nodes can't be put in order, and rows get times that go back after a takeover";
    let clock = match &survey.system.clock {
        Fact::Known(clock) => clock,
        Fact::Unknown(cause) => return Finding::unknown(check, cause),
    };
    if clock.synchronised && clock.maximum_error < MAXIMUM_ERROR {
        let error = clock.maximum_error.as_secs_f64();
        return Finding::pass(check, format!("kept in step, at most {error:.3} s off"));
    }
    let seen = if clock.synchronised {
        format!("the clock may be {:.1} s off", clock.maximum_error.as_secs_f64())
    } else {
        "nothing keeps the clock in step".to_owned()
    };
    let finding = Finding::warn(check, seen, why);
    let units = survey.unit.units.known();
    let installed = TIME_SERVICES
        .iter()
        .find(|name| units.and_then(|units| units.get(**name)).is_some_and(super::survey::Unit::is_loaded));
    match installed {
        Some(service) if survey.unit.unit(service).is_some_and(super::survey::Unit::is_active) => {
            finding.advice(format!("{service} runs and has no source that it believes: chronyc sources, or timedatectl timesync-status"))
        }
        Some(service) => finding
            .remedy(remedy::words(&["systemctl", "enable", "--now", service]))
            .advice("the first measurements take up to a minute"),
        None => finding.advice("install chrony, and give it the servers of your network"),
    }
}

fn app_armor(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "apparmor";
    let profile: &AppArmor = match survey.system.apparmor.as_ref()? {
        Fact::Known(profile) => profile,
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
    };
    let name = &profile.profile;
    if profile.mode != "enforce" {
        return Some(Finding::pass(check, format!("the profile {name} only complains ({})", profile.mode)));
    }
    let Some(file) = &profile.file else {
        return Some(
            Finding::warn(
                check,
                format!("the profile {name} is enforced, and its file was not found"),
                "whether it lets the server reach its data can't be told",
            )
            .advice(format!("look for it: grep -rl '{name}' /etc/apparmor.d")),
        );
    };
    let mysqld = &config.mysqld;
    let mut needs: Vec<(PathBuf, &str, String)> = vec![
        (mysqld.datadir.join("ibdata1"), "rwk", format!("{}/** rwk,", mysqld.datadir.display())),
        (mysqld.socket.clone(), "w", format!("{} rw,", mysqld.socket.display())),
    ];
    if let Some(log) = &mysqld.error_log {
        needs.push((log.clone(), "w", format!("{} rw,", log.display())));
    }
    let missing: Vec<_> =
        needs.iter().filter(|(path, permissions, _)| !allows(profile, path, permissions)).collect();
    let Some((first, ..)) = missing.first() else {
        return Some(Finding::pass(check, format!("the profile {name} knows data, log and socket")));
    };
    let mut lines: Vec<String> = missing.iter().map(|(_, _, rule)| format!("  {rule}")).collect();
    if missing.iter().any(|(path, ..)| path.starts_with(&mysqld.datadir)) {
        lines.insert(0, format!("  {}/ r,", mysqld.datadir.display()));
    }
    let finding = Finding::fail(
        check,
        format!("the profile {name} has no rule for {}", first.display()),
        "the kernel keeps the server from its own files, so that it does not start here",
    );
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Some(match &profile.local {
        Some(local) => finding.remedy(remedy::append_to_file(local, &lines)).remedy(remedy::words(&[
            "apparmor_parser",
            "-r",
            &file.to_string_lossy(),
        ])),
        None => finding.advice(format!(
            "add to {}: {}; then: apparmor_parser -r {}",
            file.display(),
            lines.join(" "),
            file.display()
        )),
    })
}

fn allows(profile: &AppArmor, path: &Path, permissions: &str) -> bool {
    let path = path.to_string_lossy();
    permissions.chars().all(|wanted| {
        profile
            .rules
            .iter()
            .any(|(pattern, given)| given.contains(wanted) && apparmor::matches(pattern, &path))
    })
}

fn se_linux(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "selinux";
    let selinux = survey.system.selinux.as_ref()?;
    let datadir = config.mysqld.datadir.display().to_string();
    // The label of the data is in the file system on the device: only the node that has it mounted can look.
    let context = match selinux.datadir_context.as_ref()? {
        Fact::Known(context) => context,
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
    };
    if context.split(':').nth(2) == Some("mysqld_db_t") {
        return Some(Finding::pass(check, format!("{datadir} is labelled {context}")));
    }
    Some(
        Finding::fail(
            check,
            format!("{datadir} is labelled {context}, not mysqld_db_t"),
            "SELinux keeps the server from its data at the next start",
        )
        .remedy(remedy::words(&[
            "semanage",
            "fcontext",
            "-a",
            "-t",
            "mysqld_db_t",
            &format!("{datadir}(/.*)?"),
        ]))
        .remedy(remedy::words(&["restorecon", "-R", &datadir])),
    )
}

fn state_directory(survey: &Survey) -> Finding {
    let check = "state-directory";
    let seen = &survey.system.state_directory;
    let shown = seen.path.display().to_string();
    let why = "a takeover that can't write its journal goes on without it: a rerun after a kill may then refuse, and the history lacks it";
    match &seen.kind {
        Err(cause) => Finding::unknown(check, cause),
        Ok(_) if seen.is_missing() => {
            Finding::pass(check, format!("{shown} will be made by the first takeover"))
        }
        Ok(_) if !seen.is_directory() => Finding::fail(check, format!("{shown} is not a directory"), why)
            .remedy(remedy::words(&["mv", &shown, &format!("{shown}.aside")])),
        Ok(_) if seen.uid != 0 || seen.mode & 0o022 != 0 => Finding::warn(
            check,
            format!("{shown} has owner {} and mode {:04o}", seen.uid, seen.mode),
            "others than root could change what standin believes of earlier takeovers",
        )
        .remedy(remedy::words(&["chown", "root", &shown]))
        .remedy(remedy::words(&["chmod", "0755", &shown])),
        Ok(_) => Finding::pass(check, shown),
    }
}

fn journal(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "journal-size";
    let bytes = survey.system.journal_bytes?;
    let seen = format!("{} KiB", bytes >> 10);
    if bytes <= JOURNAL_LIMIT {
        return Some(Finding::pass(check, seen));
    }
    let file = survey.system.state_directory.path.join(format!("{}.journal", config.name));
    let old = file.with_extension("journal.old");
    Some(
        Finding::warn(check, seen, "every command reads the journal, so that a takeover begins later")
            .remedy(remedy::words(&["mv", &file.to_string_lossy(), &old.to_string_lossy()]))
            .advice("not while a takeover is unfinished: standin history"),
    )
}

fn program(survey: &Survey) -> Finding {
    let check = "program-in-path";
    let system = &survey.system;
    let own = system.program.display().to_string();
    let why = "cluster managers, DRBD's handlers and people call it by its name";
    let install = remedy::words(&["install", "-m", "0755", &own, "/usr/local/sbin/standin"]);
    match &system.program_in_path {
        Some(found) if *found == system.program => Finding::pass(check, own),
        Some(found) => Finding::warn(check, format!("{own} runs, and `standin` is {}", found.display()), why)
            .remedy(remedy::words(&["install", "-m", "0755", &own, &found.to_string_lossy()])),
        None => Finding::warn(
            check,
            format!("{own} runs, and `standin` is found nowhere in the usual directories"),
            why,
        )
        .remedy(install),
    }
}

fn environment(survey: &Survey) -> Finding {
    let check = "environment";
    let variables = &survey.system.environment;
    if variables.is_empty() {
        return Finding::pass(check, "nothing in it changes what standin reads");
    }
    let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    let mut finding = Finding::warn(
        check,
        format!("{} is set", names.join(", ")),
        "the doctor looks at other files than a takeover that a cluster manager starts",
    );
    for line in variables.iter().filter_map(|variable| variable.line) {
        finding = finding.remedy(remedy::comment_out(Path::new("/etc/environment"), line));
    }
    finding.advice(format!("in this shell: unset {}", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::super::{Status, sample};
    use super::*;
    use crate::doctor::survey::paths::Kind;
    use crate::doctor::survey::{Clock, SeLinux, Unit, Variable};

    fn finding(survey: &Survey, check: &str) -> Option<Finding> {
        examine(survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        finding(survey, check).map(|finding| finding.status)
    }

    #[test]
    fn a_healthy_node_passes() {
        let findings = examine(&sample::survey(), &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert_eq!(findings.len(), 4, "{findings:?}");
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_a_warning() {
        let mut survey = sample::survey();
        let clock = Clock { synchronised: false, maximum_error: Duration::from_secs(16) };
        survey.system.clock = Fact::Known(clock);
        assert!(finding(&survey, "clock").unwrap().remedy.is_empty());
        if let Fact::Known(units) = &mut survey.unit.units {
            units.insert("chrony.service".to_owned(), Unit::default().with("LoadState", "loaded"));
        }
        let warned = finding(&survey, "clock").unwrap();
        assert_eq!(
            (warned.status, warned.remedy[0].as_str()),
            (Status::Warn, "systemctl enable --now chrony.service")
        );
        survey.system.clock = Fact::Known(Clock { synchronised: true, ..clock });
        assert_eq!(status(&survey, "clock"), Some(Status::Warn));
    }

    #[test]
    fn apparmor_must_know_the_paths() {
        let mut survey = sample::survey();
        let mut profile = AppArmor {
            profile: "/usr/sbin/mariadbd".to_owned(),
            mode: "enforce".to_owned(),
            file: Some("/etc/apparmor.d/usr.sbin.mariadbd".into()),
            rules: [("/var/lib/mysql/**", "rwk"), ("/run/mysqld/*", "rw"), ("/var/log/mysql/**", "rw")]
                .map(|(pattern, given)| (pattern.to_owned(), given.to_owned()))
                .to_vec(),
            local: Some("/etc/apparmor.d/local/usr.sbin.mariadbd".into()),
        };
        let judged = |survey: &mut Survey, profile: &AppArmor| {
            survey.system.apparmor = Some(Fact::Known(profile.clone()));
            finding(survey, "apparmor").unwrap()
        };
        assert_eq!(judged(&mut survey, &profile).status, Status::Pass);
        profile.rules.remove(0);
        let failed = judged(&mut survey, &profile);
        assert_eq!(failed.status, Status::Fail);
        assert!(failed.remedy[0].contains("'  /var/lib/mysql/ r,' '  /var/lib/mysql/** rwk,'"), "{failed:?}");
        assert_eq!(judged(&mut survey, &AppArmor { file: None, ..profile.clone() }).status, Status::Warn);
        assert_eq!(
            judged(&mut survey, &AppArmor { mode: "complain".to_owned(), ..profile }).status,
            Status::Pass
        );
    }

    #[test]
    fn selinux_must_have_labelled_the_data() {
        let mut survey = sample::survey();
        survey.system.selinux = Some(SeLinux { datadir_context: None });
        assert_eq!(status(&survey, "selinux"), None);
        for (context, wanted) in [
            ("system_u:object_r:mysqld_db_t:s0", Status::Pass),
            ("system_u:object_r:unlabeled_t:s0", Status::Fail),
        ] {
            survey.system.selinux = Some(SeLinux { datadir_context: Some(Fact::Known(context.to_owned())) });
            assert_eq!(status(&survey, "selinux"), Some(wanted));
        }
    }

    #[test]
    fn standin_s_own_places_are_judged() {
        let mut survey = sample::survey();
        survey.system.state_directory.mode = 0o777;
        assert_eq!(status(&survey, "state-directory"), Some(Status::Warn));
        survey.system.state_directory.kind = Ok(Kind::File);
        assert_eq!(status(&survey, "state-directory"), Some(Status::Fail));
        survey.system.journal_bytes = Some(1 << 30);
        assert_eq!(status(&survey, "journal-size"), Some(Status::Warn));
        survey.system.journal_bytes = Some(1 << 10);
        assert_eq!(status(&survey, "journal-size"), Some(Status::Pass));
        for found in [None, Some("/usr/local/sbin/standin".into())] {
            survey.system.program_in_path = found;
            assert_eq!(status(&survey, "program-in-path"), Some(Status::Warn));
        }
    }

    #[test]
    fn variables_that_lead_elsewhere_are_told() {
        let mut survey = sample::survey();
        survey.system.environment = [(1, "STANDIN_HOST"), (4, "STANDIN_STATE_DIR")]
            .map(|(line, name)| Variable { name: name.to_owned(), line: Some(line) })
            .to_vec();
        let warned = finding(&survey, "environment").unwrap();
        assert_eq!(warned.status, Status::Warn);
        assert_eq!(warned.remedy[0], "sed -i --follow-symlinks '1s/^/# /' /etc/environment");
        assert_eq!(warned.advice.as_deref(), Some("in this shell: unset STANDIN_HOST STANDIN_STATE_DIR"));
    }
}
