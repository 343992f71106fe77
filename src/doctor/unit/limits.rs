//! The time that systemd grants the server's start and stop, and what it does when the server ends.

use std::time::Duration;

use crate::config::Config;
use crate::doctor::mysqld::recovery::{REPLAY_RATE, redo_bytes};
use crate::doctor::survey::{Flavour, Survey, Unit};
use crate::doctor::{Finding, remedy};

/// What MariaDB asks for at a time while it recovers: its `INNODB_EXTEND_TIMEOUT_INTERVAL` is 30 s. A limit below three of
/// these may pass before it asks for the first time: before that it opens its files and its plugins.
const EXTENDS_IN_TIME: Duration = Duration::from_secs(90);

/// A takeover that fails, its repeat, and the way back: fewer starts than these within a minute each are too few.
const STARTS: u32 = 3;

pub(super) fn examine(survey: &Survey, config: &Config, name: &str, unit: &Unit) -> Vec<Finding> {
    [
        start_time(survey, config, name, unit),
        stop_time(config, name, unit),
        restart(name, unit),
        start_limit(name, unit),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn drop_in(finding: Finding, unit: &str, name: &str, lines: &[&str]) -> Finding {
    remedy::unit_drop_in(unit, name, lines).into_iter().fold(finding, Finding::remedy)
}

/// `infinity`, or spans such as `1min 30s`; none when it is neither.
fn span(text: &str) -> Option<Duration> {
    if text == "infinity" { Some(Duration::MAX) } else { humantime::parse_duration(text).ok() }
}

fn start_time(survey: &Survey, config: &Config, name: &str, unit: &Unit) -> Option<Finding> {
    let check = "unit-start-time";
    let text = unit.get("TimeoutStartUSec");
    let limit = span(text)?;
    if limit == Duration::MAX {
        return Some(Finding::pass(check, "no limit"));
    }
    let recovery = redo_bytes(&survey.mysqld).map_or(Duration::ZERO, |(_, each, files)| {
        Duration::from_secs(each.saturating_mul(files) / REPLAY_RATE)
    });
    let needed = recovery.max(config.limits.start_mysqld);
    // Others than MariaDB don't ask for more time.
    let extends = unit.get("Type") == "notify"
        && survey.mysqld.program.known().is_some_and(|program| program.flavour == Flavour::MariaDB);
    if limit >= needed {
        return Some(Finding::pass(check, text));
    }
    if extends && limit >= EXTENDS_IN_TIME {
        return Some(Finding::pass(check, format!("{text}, and the server asks for more while it recovers")));
    }
    let finding = Finding::fail(
        check,
        format!(
            "systemd ends a start of {name} after {text}, and crash recovery may take {} s",
            needed.as_secs()
        ),
        "it kills the server in the middle of its crash recovery, which begins anew at the next start and is killed again",
    );
    Some(drop_in(finding, name, "start-time", &["[Service]", "TimeoutStartSec=infinity"]))
}

fn stop_time(config: &Config, name: &str, unit: &Unit) -> Option<Finding> {
    let check = "unit-stop-time";
    let text = unit.get("TimeoutStopUSec");
    let limit = span(text)?;
    let wanted = config.limits.stop_mysqld;
    if limit >= wanted {
        return Some(Finding::pass(check, if limit == Duration::MAX { "no limit" } else { text }));
    }
    let end = if unit.get("SendSIGKILL") == "no" { "gives up on" } else { "kills" };
    let finding = Finding::warn(
        check,
        format!(
            "systemd {end} a shutdown of {name} after {text}; limits.stop_mysqld is {} s",
            wanted.as_secs()
        ),
        "a server that is killed in its shutdown needs a crash recovery on the other node, which takes longer",
    );
    let line = format!("TimeoutStopSec={}", wanted.as_secs().max(1));
    Some(drop_in(finding, name, "stop-time", &["[Service]", &line]))
}

/// A server that crashed may come back by itself (`on-abnormal`, `on-abort`, `on-failure`): after `systemctl stop`, by which
/// a release ends it, systemd restarts nothing, and a start that fails in a takeover is cancelled by the same. `always`
/// also starts one that ended in order, by SHUTDOWN or by the signal of a cluster manager's script.
fn restart(name: &str, unit: &Unit) -> Option<Finding> {
    let check = "unit-restart";
    match unit.get("Restart") {
        "" => None,
        policy @ ("always" | "on-success") => {
            let finding = Finding::warn(
                check,
                format!("{name} has Restart={policy}"),
                "systemd starts the server again behind the back of whoever shut it down in order, while the data is about to \
                 move to the other node",
            );
            Some(drop_in(finding, name, "restart", &["[Service]", "Restart=on-abnormal"]))
        }
        policy => Some(Finding::pass(check, format!("Restart={policy}"))),
    }
}

fn start_limit(name: &str, unit: &Unit) -> Option<Finding> {
    let check = "unit-start-limit";
    let burst: u32 = unit.get("StartLimitBurst").parse().ok()?;
    let interval = span(unit.get("StartLimitIntervalUSec"))?;
    let shown = format!("{burst} starts in {}", unit.get("StartLimitIntervalUSec"));
    if interval.is_zero() || burst == 0 {
        return Some(Finding::pass(check, "no limit"));
    }
    if burst >= STARTS || interval <= Duration::from_secs(60) && burst > 1 {
        return Some(Finding::pass(check, shown));
    }
    let finding = Finding::warn(
        check,
        format!("systemd allows {shown}"),
        "after a start that failed systemd refuses the next one, and with it the takeover's repeat",
    );
    Some(drop_in(finding, name, "start-limit", &["[Unit]", "StartLimitIntervalSec=10", "StartLimitBurst=5"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::survey::Program;
    use crate::doctor::{Status, sample, unit::examine};
    use crate::observation::Fact;

    fn finding(survey: &Survey, check: &str) -> Finding {
        let findings = examine(survey, &sample::config());
        findings.into_iter().find(|finding| finding.check == check).unwrap()
    }

    fn status_with(property: &str, value: &str, check: &str) -> Status {
        let mut survey = sample::survey();
        sample::unit(&mut survey, property, value);
        finding(&survey, check).status
    }

    #[test]
    fn each_limit_is_judged_both_ways() {
        let cases = [
            ("unit-start-time", "TimeoutStartUSec", "infinity", "1min", Status::Fail),
            ("unit-start-time", "TimeoutStartUSec", "1min 30s", "30s", Status::Fail),
            ("unit-stop-time", "TimeoutStopUSec", "5min", "1min 30s", Status::Warn),
            ("unit-restart", "Restart", "no", "always", Status::Warn),
            ("unit-start-limit", "StartLimitBurst", "2", "1", Status::Warn),
        ];
        for (check, property, good, bad, status) in cases {
            assert_eq!(status_with(property, good, check), Status::Pass, "{property}={good}");
            assert_eq!(status_with(property, bad, check), status, "{property}={bad}");
        }
    }

    #[test]
    fn only_mariadb_asks_for_more_time() {
        let mut survey = sample::survey();
        sample::unit(&mut survey, "TimeoutStartUSec", "1min 30s");
        assert_eq!(finding(&survey, "unit-start-time").status, Status::Pass);
        if let Fact::Known(Program { flavour, .. }) = &mut survey.mysqld.program {
            *flavour = Flavour::MySQL;
        }
        let finding = finding(&survey, "unit-start-time");
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.remedy.len(), 3);
        assert_eq!(
            finding.remedy[1],
            "printf '%s\\n' '[Service]' TimeoutStartSec=infinity > \
             /etc/systemd/system/mariadb.service.d/zz-standin-start-time.conf"
        );
    }

    #[test]
    fn spans_are_read_as_systemd_writes_them() {
        assert_eq!(span("1min 30s"), Some(Duration::from_secs(90)));
        assert_eq!(span("15min"), Some(Duration::from_secs(900)));
        assert_eq!(span("infinity"), Some(Duration::MAX));
        assert_eq!(span(""), None);
    }
}
