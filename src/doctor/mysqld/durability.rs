//! Settings without which an acknowledged commit is not on the disk, or a page that a power cut tore is not mended.

use super::settings::{Applies, Rule, Setting, judge};
use crate::config::Config;
use crate::doctor::survey::{Flavour, MysqldSurvey};
use crate::doctor::{Finding, Status};
use crate::foreign::option_file::boolean;

pub(super) fn examine(survey: &MysqldSurvey, config: &Config) -> Vec<Finding> {
    [
        flush_log_at_commit(survey, config),
        sync_binlog(survey, config),
        doublewrite(survey, config),
        flush_method(survey, config),
        checksums(survey, config),
        force_recovery(survey, config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn pass_if(good: bool) -> Status {
    if good { Status::Pass } else { Status::Fail }
}

/// MariaDB's 3 flushes at every commit, too (and once more between prepare and commit).
fn flush_log_at_commit(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let maria = survey.program.known().is_some_and(|program| program.flavour == Flavour::MariaDB);
    let rule = Rule {
        check: "mysqld-flush-log-at-commit",
        name: "innodb_flush_log_at_trx_commit",
        wanted: "1",
        applies: Applies::Now,
        why: "with another value the redo log reaches the disk up to a second after the commit was acknowledged, so that a \
              takeover loses that second",
    };
    judge(survey, config, &rule, |value| pass_if(value == "1" || maria && value == "3"))
}

/// With a binary log InnoDB does not flush its own commit: after a crash the binary log decides what was committed.
fn sync_binlog(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    if !has_binlog(survey) {
        return None;
    }
    let rule = Rule {
        check: "mysqld-sync-binlog",
        name: "sync_binlog",
        wanted: "1",
        applies: Applies::Now,
        why: "the binary log decides at crash recovery which transactions were committed: what had not reached the disk is \
              rolled back although it was acknowledged, and replicas are ahead of their source",
    };
    judge(survey, config, &rule, |value| pass_if(value == "1"))
}

/// Whether the binary log is on, now or at the next start.
pub(super) fn has_binlog(survey: &MysqldSurvey) -> bool {
    let setting = Setting::of(survey, "log_bin");
    let is_on = |value: &str| boolean(value) != Some(false);
    setting.next.as_ref().is_some_and(|(value, _)| is_on(value)) || setting.now.as_deref().is_some_and(is_on)
}

fn doublewrite(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let rule = Rule {
        check: "mysqld-doublewrite",
        name: "innodb_doublewrite",
        wanted: "ON",
        applies: Applies::AtStart,
        why: "a page that a power cut tore in the middle can't be recovered without its second copy: the takeover's crash \
              recovery ends with a damaged table",
    };
    // DETECT_ONLY of MySQL 8.0.30 finds a torn page and can't mend it.
    judge(survey, config, &rule, |value| {
        pass_if(boolean(value) == Some(true) || value.eq_ignore_ascii_case("DETECT_AND_RECOVER"))
    })
}

fn flush_method(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let rule = Rule {
        check: "mysqld-flush-method",
        name: "innodb_flush_method",
        wanted: "O_DIRECT",
        applies: Applies::AtStart,
        why: "without fsync a write stays in a cache, and what DRBD has not been given the other node does not have",
    };
    judge(survey, config, &rule, |value| match value.to_ascii_lowercase().as_str() {
        "nosync" | "littlesync" => Status::Fail,
        // The sizes of files that grew are not flushed, which a crash of xfs shows.
        "o_direct_no_fsync" => Status::Warn,
        _ => Status::Pass,
    })
}

fn checksums(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let maria = survey.program.known().is_none_or(|program| program.flavour == Flavour::MariaDB);
    let rule = Rule {
        check: "mysqld-checksums",
        name: "innodb_checksum_algorithm",
        wanted: if maria { "full_crc32" } else { "crc32" },
        applies: Applies::Now,
        why: "without checksums crash recovery can't tell a torn page from a whole one",
    };
    judge(survey, config, &rule, |value| pass_if(!value.to_ascii_lowercase().ends_with("none")))
}

fn force_recovery(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let rule = Rule {
        check: "mysqld-force-recovery",
        name: "innodb_force_recovery",
        wanted: "0",
        applies: Applies::AtStart,
        why: "it makes crash recovery leave work out: the tables come up damaged or read-only",
    };
    judge(survey, config, &rule, |value| pass_if(value == "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    fn status_with(name: &str, value: &str, check: &str) -> Option<Status> {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, name, value);
        sample::status(&examine(&survey, &sample::config()), check)
    }

    #[test]
    fn a_healthy_server_passes() {
        let findings = examine(&sample::survey().mysqld, &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert_eq!(sample::status(&findings, "mysqld-sync-binlog"), None, "there is no binary log");
    }

    #[test]
    fn each_setting_is_judged_both_ways() {
        let cases = [
            ("mysqld-flush-log-at-commit", "innodb_flush_log_at_trx_commit", "3", "2"),
            ("mysqld-doublewrite", "innodb_doublewrite", "1", "OFF"),
            ("mysqld-doublewrite", "innodb_doublewrite", "DETECT_AND_RECOVER", "DETECT_ONLY"),
            ("mysqld-flush-method", "innodb_flush_method", "fsync", "nosync"),
            ("mysqld-checksums", "innodb_checksum_algorithm", "crc32", "strict_none"),
            ("mysqld-force-recovery", "innodb_force_recovery", "0", "1"),
        ];
        for (check, name, good, bad) in cases {
            assert_eq!(status_with(name, good, check), Some(Status::Pass), "{name} = {good}");
            assert_eq!(status_with(name, bad, check), Some(Status::Fail), "{name} = {bad}");
        }
        assert_eq!(
            status_with("innodb_flush_method", "O_DIRECT_NO_FSYNC", "mysqld-flush-method"),
            Some(Status::Warn)
        );
        assert_eq!(status_with("skip-innodb-doublewrite", "", "mysqld-doublewrite"), Some(Status::Fail));
    }

    #[test]
    fn the_binary_log_must_be_flushed_when_there_is_one() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "log_bin", "/var/lib/mysql/binlog");
        let status =
            |survey: &MysqldSurvey| sample::status(&examine(survey, &sample::config()), "mysqld-sync-binlog");
        assert_eq!(status(&survey), Some(Status::Fail), "MariaDB's default is 0");
        sample::set(&mut survey, "sync_binlog", "1");
        assert_eq!(status(&survey), Some(Status::Pass));
    }

    #[test]
    fn the_running_server_counts_as_much_as_the_files() {
        let mut survey = sample::survey().mysqld;
        sample::run(&mut survey, &[("innodb_flush_log_at_trx_commit", "2")]);
        let findings = examine(&survey, &sample::config());
        assert_eq!(sample::status(&findings, "mysqld-flush-log-at-commit"), Some(Status::Fail));
    }
}
