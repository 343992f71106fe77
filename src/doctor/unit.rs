//! Checks of what starts mysqld: its systemd unit, or the command line that standin runs itself.
//!
//! | file | idea |
//! | --- | --- |
//! | `boot` | nothing but standin starts the server |
//! | `limits` | the time that systemd grants, and what it does when the server ends |
//! | `sandbox` | what the unit keeps the server from |

mod boot;
mod limits;
mod sandbox;

use super::Finding;
use super::remedy;
use super::survey::{Survey, Unit, UnitSurvey};
use crate::config::Config;
use crate::observation::Fact;
use crate::plan::MysqldControl;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let name = match &config.mysqld.control {
        MysqldControl::Unit(name) => name,
        MysqldControl::Command(_) => {
            return [program(&survey.unit), boot::servers(survey, None)].into_iter().flatten().collect();
        }
    };
    let units = match &survey.unit.units {
        Fact::Known(units) => units,
        Fact::Unknown(cause) => return vec![Finding::unknown("unit-loaded", cause)],
    };
    let Some(unit) = units.get(name) else {
        return vec![Finding::unknown("unit-loaded", &format!("systemd said nothing of {name}"))];
    };
    let loaded = loaded(name, unit);
    if !unit.is_loaded() {
        return vec![loaded];
    }
    let mut findings = vec![loaded];
    findings.extend(reloaded(unit));
    findings.push(failed(name, unit));
    findings.push(boot::unit(&survey.unit, name, unit));
    findings.extend(boot::servers(survey, Some(unit)));
    findings.extend(limits::examine(survey, config, name, unit));
    findings.extend(sandbox::examine(config, name, unit));
    findings
}

/// A command line of standin's own.
fn program(survey: &UnitSurvey) -> Option<Finding> {
    let check = "command-program";
    let seen = survey.program.as_ref()?;
    let shown = seen.path.display();
    let why = "without its program the server can't be started";
    Some(match &seen.kind {
        Err(cause) => Finding::unknown(check, cause),
        Ok(_) if seen.is_missing() => Finding::fail(check, format!("{shown} does not exist"), why)
            .advice("install the server, or correct mysqld.command in standin's configuration"),
        Ok(_) if seen.is_directory() || seen.mode & 0o111 == 0 => {
            Finding::fail(check, format!("{shown} is no program"), why).remedy(remedy::words(&[
                "chmod",
                "a+x",
                &shown.to_string(),
            ]))
        }
        Ok(_) => Finding::pass(check, shown.to_string()),
    })
}

fn loaded(name: &str, unit: &Unit) -> Finding {
    let check = "unit-loaded";
    let why = "a takeover starts the server by this unit";
    match unit.get("LoadState") {
        "loaded" => Finding::pass(check, format!("{name}: {}", unit.get("FragmentPath"))),
        "masked" => Finding::fail(check, format!("{name} is masked"), why)
            .remedy(remedy::words(&["systemctl", "unmask", name])),
        "not-found" => Finding::fail(check, format!("there is no unit {name}"), why)
            .advice("install the server, or correct mysqld.unit in standin's configuration: systemctl list-unit-files"),
        other => Finding::fail(check, format!("{name} is {other}: {}", unit.get("LoadError")), why)
            .advice(format!("systemd can't use its file: systemd-analyze verify {name}")),
    }
}

fn reloaded(unit: &Unit) -> Option<Finding> {
    let check = "unit-reloaded";
    match unit.get("NeedDaemonReload") {
        "no" => Some(Finding::pass(check, "systemd has read the unit's files as they are")),
        "yes" => Some(
            Finding::warn(
                check,
                "the unit's files were changed after systemd read them",
                "a takeover starts the server by what systemd has read, not by what the files say",
            )
            .remedy("systemctl daemon-reload"),
        ),
        _ => None,
    }
}

fn failed(name: &str, unit: &Unit) -> Finding {
    let check = "unit-state";
    let state = format!("{} ({})", unit.get("ActiveState"), unit.get("SubState"));
    if unit.get("ActiveState") == "failed" {
        return Finding::warn(
            check,
            format!("{name} is {state}: {}", unit.get("Result")),
            "it did not run well the last time; systemd may refuse to start it again so soon",
        )
        .remedy(remedy::words(&["systemctl", "reset-failed", name]))
        .advice(format!("first see why: journalctl -u {name} -n 50"));
    }
    Finding::pass(check, state)
}

#[cfg(test)]
mod tests {
    use super::super::{Status, sample};
    use super::*;
    use crate::config::Host;
    use crate::doctor::survey::paths::{Kind, SeenPath};

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        sample::status(&examine(survey, &sample::config()), check)
    }

    #[test]
    fn a_healthy_unit_passes() {
        let findings = examine(&sample::survey(), &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert!(findings.len() > 8, "{findings:?}");
    }

    #[test]
    fn a_unit_that_is_not_there_is_the_only_finding() {
        for state in ["not-found", "masked", "bad-setting"] {
            let mut survey = sample::survey();
            sample::unit(&mut survey, "LoadState", state);
            let findings = examine(&survey, &sample::config());
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].status, Status::Fail);
        }
        let mut survey = sample::survey();
        survey.unit.units = Fact::Unknown("no answer".to_owned());
        assert_eq!(status(&survey, "unit-loaded"), Some(Status::Warn));
    }

    #[test]
    fn a_stale_or_failed_unit_is_a_warning() {
        let mut survey = sample::survey();
        sample::unit(&mut survey, "NeedDaemonReload", "yes");
        assert_eq!(status(&survey, "unit-reloaded"), Some(Status::Warn));
        sample::unit(&mut survey, "ActiveState", "failed");
        assert_eq!(status(&survey, "unit-state"), Some(Status::Warn));
    }

    #[test]
    fn the_program_of_a_command_line_is_looked_at() {
        let text = sample::CONFIGURATION.replace("unit: mariadb.service", "command: [/usr/sbin/mariadbd]");
        let config = crate::config::parse(&text, "r0.yaml".as_ref(), &Host::fixed("node2")).unwrap();
        let mut survey = sample::survey();
        let program =
            SeenPath { kind: Ok(Kind::File), mode: 0o755, ..sample::directory("/usr/sbin/mariadbd") };
        survey.unit.program = Some(program.clone());
        let status = |survey: &Survey| sample::status(&examine(survey, &config), "command-program");
        assert_eq!(status(&survey), Some(Status::Pass));
        survey.unit.program = Some(SeenPath { mode: 0o644, ..program.clone() });
        assert_eq!(status(&survey), Some(Status::Fail));
        survey.unit.program = Some(SeenPath { kind: Ok(Kind::Missing), ..program });
        assert_eq!(status(&survey), Some(Status::Fail));
    }
}
