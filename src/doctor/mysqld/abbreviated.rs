//! Options that are written by the beginning of their name alone, which the server understands (`mysys/my_getopt.c`) and no
//! other check does.

use crate::doctor::survey::MysqldSurvey;
use crate::doctor::{Finding, remedy};

/// The names of the settings that the checks judge besides those with paths.
const JUDGED: [&str; 20] = [
    "bind_address",
    "innodb_checksum_algorithm",
    "innodb_data_file_path",
    "innodb_doublewrite",
    "innodb_flush_log_at_trx_commit",
    "innodb_flush_method",
    "innodb_force_recovery",
    "innodb_log_file_size",
    "innodb_log_files_in_group",
    "innodb_redo_log_capacity",
    "log_bin",
    "myisam_recover_options",
    "port",
    "read_only",
    "relay_log",
    "skip_networking",
    "socket",
    "super_read_only",
    "sync_binlog",
    "user",
];

/// Options of their own although the name of another begins with theirs: plugins, which have one for themselves, `ssl`, and
/// `log` of old servers ("Server Command Options" of MySQL's manual, "mariadbd Options" of MariaDB's documentation).
const WHOLE: [&str; 8] =
    ["aria", "file_key_management", "innodb", "keyring_file", "log", "myisam", "ssl", "general_log"];

/// The judged settings whose names begin so, when it is not a whole name itself.
fn meant(name: &str) -> Vec<&'static str> {
    let mut judged = super::path_settings();
    judged.extend(JUDGED);
    judged.sort_unstable();
    judged.dedup();
    if name.is_empty() || WHOLE.contains(&name) || judged.contains(&name) {
        return Vec::new();
    }
    judged.into_iter().filter(|judged| judged.starts_with(name)).collect()
}

pub(super) fn abbreviated(survey: &MysqldSurvey) -> Option<Finding> {
    let read = |group: &str| survey.groups.iter().any(|own| own.eq_ignore_ascii_case(group));
    let settings =
        survey.options.settings.iter().filter(|setting| setting.place.is_none() || read(&setting.group));
    let mut found = settings.filter_map(|setting| {
        let name = setting.name.replace('-', "_");
        let name = name.strip_prefix("loose_").unwrap_or(&name).to_owned();
        let bare = ["skip_", "disable_", "enable_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        // `skip_networking` has its prefix in its name; of `skip_log_b` only the rest is one.
        let names = Some(meant(&name))
            .filter(|names| !names.is_empty())
            .or_else(|| bare.map(meant))
            .unwrap_or_default();
        (!names.is_empty()).then_some((setting, names))
    });
    let (setting, names) = found.next()?;
    let place =
        setting.place.as_ref().map_or_else(|| "the command line".to_owned(), |place| place.to_string());
    let finding = Finding::warn(
        "mysqld-abbreviated",
        format!("{place}: {} is the beginning of {}", setting.name, names.join(", ")),
        "the server takes a unique beginning for the whole name, and does not start with one that fits several: what it sets \
         is judged by no other check",
    );
    let plain = setting.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match (&setting.place, names.as_slice()) {
        // Only the name, so that no value is shown. Behind skip- and the like it would be another option.
        (Some(place), [whole]) if plain && whole.starts_with(&setting.name.replace('-', "_")) => Some(
            finding
                .remedy(remedy::sed(&place.file, &format!("{}s/{}/{whole}/", place.line, setting.name)))
                .advice("then look again: the value under its whole name is judged"),
        ),
        _ => Some(finding.advice(format!("write the whole name at {place}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::{Status, sample};

    fn judged(name: &str) -> Option<Finding> {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, name, "0");
        abbreviated(&survey)
    }

    #[test]
    fn a_beginning_of_a_judged_name_is_told_and_written_out() {
        let found = judged("innodb-flush-log-at-trx").unwrap();
        assert_eq!(found.status, Status::Warn);
        assert!(
            found.seen.starts_with("/etc/mysql/my.cnf:") && found.seen.contains("at_trx_commit"),
            "{found:?}"
        );
        assert!(
            found.remedy[0].contains("s/innodb-flush-log-at-trx/innodb_flush_log_at_trx_commit/"),
            "{found:?}"
        );
        for name in ["innodb_log_file", "loose-sync_bin", "skip-network", "skip-innodb-double"] {
            assert_eq!(judged(name).map(|found| found.status), Some(Status::Warn), "{name}");
        }
        let mut survey = sample::survey().mysqld;
        sample::set_argument(&mut survey, "sync-bin", "0");
        assert!(abbreviated(&survey).unwrap().remedy.is_empty());
    }

    #[test]
    fn whole_names_and_other_options_and_groups_are_not() {
        for name in [
            "innodb",
            "ssl",
            "skip-ssl",
            "log-bin",
            "innodb_doublewrite",
            "skip-name-resolve",
            "max_connections",
            "aria",
        ] {
            assert_eq!(judged(name), None, "{name}");
        }
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "innodb_flush_log_at_trx", "0");
        survey.options.settings.last_mut().unwrap().group = "mysqldump".to_owned();
        assert_eq!(abbreviated(&survey), None);
    }
}
