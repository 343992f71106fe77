//! What a crash recovery has to do: how much redo log, and what has none.

use super::settings::{Change, Setting};
use crate::audit::Engine;
use crate::audit::verdict::{Verdict, verdict};
use crate::config::Config;
use crate::doctor::Finding;
use crate::doctor::survey::{Flavour, MysqldSurvey};
use crate::foreign::option_file::size;
use crate::observation::Fact;

pub(in crate::doctor) use crate::forecast::SLOWEST_REPLAY as REPLAY_RATE;

pub(super) fn examine(survey: &MysqldSurvey, config: &Config) -> Vec<Finding> {
    [redo_size(survey, config), audit_engines(survey, config), myisam_recovery(survey)]
        .into_iter()
        .flatten()
        .collect()
}

/// The redo log's size in bytes: the setting that decides it, and how many files of that size there are.
pub(in crate::doctor) fn redo_bytes(survey: &MysqldSurvey) -> Option<(&'static str, u64, u64)> {
    let bytes = |name| Setting::of(survey, name).value().and_then(size);
    if let Some(capacity) = bytes("innodb_redo_log_capacity") {
        return Some(("innodb_redo_log_capacity", capacity, 1));
    }
    let files = bytes("innodb_log_files_in_group").unwrap_or(1).max(1);
    Some(("innodb_log_file_size", bytes("innodb_log_file_size")?, files))
}

fn redo_size(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "mysqld-redo-size";
    let (name, each, files) = redo_bytes(survey)?;
    let bytes = each.saturating_mul(files);
    let seconds = bytes / REPLAY_RATE;
    let budget = config.limits.start_mysqld.as_secs().max(1);
    let seen = format!(
        "{} MiB of redo log: at worst about {seconds} s of crash recovery at {} MiB/s",
        bytes >> 20,
        REPLAY_RATE >> 20
    );
    if seconds <= budget {
        return Some(Finding::pass(check, seen));
    }
    // Whole MiB, and never below the smallest size that both servers take.
    let wanted = ((budget * REPLAY_RATE / files) >> 20).max(8);
    let finding = Finding::warn(
        check,
        format!("{seen}, more than limits.start_mysqld ({budget} s)"),
        "the database is down for as long as crash recovery takes; the limit starts again whenever recovery moves, so that \
         the takeover waits, but so do the clients",
    );
    let mut change = Change::default();
    change.write(survey, name, &format!("{wanted}M"));
    if survey.running.is_some() && resizes_while_running(survey) {
        change.set_global(survey, name, &(wanted << 20).to_string());
    } else if survey.running.is_some() {
        change.restart(survey, config);
    }
    let finding = change.remedy(finding);
    if finding.advice.is_some() {
        return Some(finding);
    }
    Some(finding.advice(
        "a smaller redo log makes the server flush more often under load; or raise limits.start_mysqld",
    ))
}

/// MariaDB since 10.9, MySQL since 8.0.30 (`innodb_redo_log_capacity`).
fn resizes_while_running(survey: &MysqldSurvey) -> bool {
    survey.program.known().is_some_and(|program| match program.flavour {
        Flavour::MariaDB => program.version >= (10, 9, 0),
        Flavour::MySQL => program.version >= (8, 0, 30),
    })
}

/// The verdict that a takeover would pass on the same tables.
fn audit_engines(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let check = "audit-engines";
    let totals = match survey.engines.as_ref()? {
        Fact::Known(totals) => totals,
        Fact::Unknown(cause) => {
            return Some(
                Finding::unknown(check, cause)
                    .advice("see for yourself, without a time limit: standin audit"),
            );
        }
    };
    let why = "MyISAM has no crash recovery: after a power cut its tables need a slow repair and may have lost rows";
    let next = "convert the tables: standin audit names them with the statements to type";
    let Verdict { refused, warning, sentence } = verdict(totals, config.refuse_myisam_above_percent);
    Some(match warning {
        _ if refused => Finding::fail(check, sentence, why).advice(next),
        Some(warning) => Finding::warn(check, warning, why).advice(next),
        None => Finding::pass(check, sentence),
    })
}

fn myisam_recovery(survey: &MysqldSurvey) -> Option<Finding> {
    let check = "mysqld-myisam-recovery";
    let totals = survey.engines.as_ref()?.known()?;
    let tables = totals.user.get(&Engine::MyISAM).map_or(0, |totals| totals.tables);
    let setting = Setting::of(survey, "myisam_recover_options");
    let value = setting.value()?;
    if tables == 0 {
        return None;
    }
    if !matches!(value.to_ascii_uppercase().as_str(), "OFF" | "" | "0") {
        return Some(Finding::pass(check, format!("myisam_recover_options = {value}")));
    }
    let finding = Finding::warn(
        check,
        format!("{tables} MyISAM tables, and myisam_recover_options = {value}"),
        "a MyISAM table that was open at a power cut stays marked as crashed until somebody repairs it by hand",
    );
    let mut change = Change::default();
    change.write(survey, "myisam_recover_options", "BACKUP");
    Some(change.remedy(finding).advice("the server takes it up at its next start"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{EngineTotals, Totals};
    use crate::doctor::{Status, sample};

    fn status(survey: &MysqldSurvey, check: &str) -> Option<Status> {
        sample::status(&examine(survey, &sample::config()), check)
    }

    fn engines(myisam: u64, innodb: u64) -> EngineTotals {
        let mut totals = EngineTotals::default();
        let of = |bytes: u64| Totals { tables: bytes.min(1), empty_tables: 0, bytes };
        totals.user.insert(Engine::MyISAM, of(myisam));
        totals.user.insert(Engine::InnoDB, of(innodb));
        totals
    }

    #[test]
    fn a_large_redo_log_is_a_warning() {
        let mut survey = sample::survey().mysqld;
        assert_eq!(status(&survey, "mysqld-redo-size"), Some(Status::Pass));
        sample::set(&mut survey, "innodb_log_file_size", "4G");
        let findings = examine(&survey, &sample::config());
        assert_eq!(sample::status(&findings, "mysqld-redo-size"), Some(Status::Warn));
        // 120 s at 10 MiB/s.
        assert!(findings[0].remedy[0].contains("innodb_log_file_size = 1200M"), "{findings:?}");
        sample::set(&mut survey, "innodb_log_file_size", "1200M");
        assert_eq!(status(&survey, "mysqld-redo-size"), Some(Status::Pass));
    }

    #[test]
    fn the_files_of_a_group_are_counted() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "innodb_log_file_size", "1G");
        sample::set(&mut survey, "innodb_log_files_in_group", "4");
        assert_eq!(redo_bytes(&survey), Some(("innodb_log_file_size", 1 << 30, 4)));
        sample::set(&mut survey, "innodb_redo_log_capacity", "200M");
        assert_eq!(redo_bytes(&survey), Some(("innodb_redo_log_capacity", 200 << 20, 1)));
    }

    #[test]
    fn the_verdict_is_the_takeover_s() {
        let mut survey = sample::survey().mysqld;
        assert_eq!(status(&survey, "audit-engines"), None, "the data is not mounted on a standby");
        let large = 1 << 30;
        for (totals, wanted) in [
            (engines(0, large), Status::Pass),
            (engines(large / 4, large), Status::Warn),
            (engines(large, large / 4), Status::Fail),
        ] {
            survey.engines = Some(Fact::Known(totals));
            assert_eq!(status(&survey, "audit-engines"), Some(wanted));
        }
        survey.engines = Some(Fact::Unknown("no time".to_owned()));
        assert_eq!(status(&survey, "audit-engines"), Some(Status::Warn));
    }

    #[test]
    fn myisam_tables_want_automatic_repair() {
        let mut survey = sample::survey().mysqld;
        survey.engines = Some(Fact::Known(engines(100, 1 << 30)));
        assert_eq!(status(&survey, "mysqld-myisam-recovery"), Some(Status::Pass));
        sample::set(&mut survey, "myisam_recover_options", "OFF");
        assert_eq!(status(&survey, "mysqld-myisam-recovery"), Some(Status::Warn));
        survey.engines = Some(Fact::Known(engines(0, 1 << 30)));
        assert_eq!(status(&survey, "mysqld-myisam-recovery"), None);
    }
}
