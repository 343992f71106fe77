//! Checks of the server's settings: what the next start here will have, by the option files and the command line, and
//! where the server runs what it has now.
//!
//! | file | idea |
//! | --- | --- |
//! | `settings` | a setting's values, and how each is changed |
//! | `durability` | what an acknowledged commit needs to be safe |
//! | `places` | what must be on the replicated device |
//! | `files` | what else a start needs on this node |
//! | `access` | address, port, socket, `read_only` |
//! | `answer` | who answers at its socket and port |
//! | `abbreviated` | options that are written by the beginning of their name |
//! | `recovery` | what a crash recovery has to do |
//! | `running` | the running server, and the account to ask it with |

mod abbreviated;
mod access;
mod answer;
mod durability;
mod files;
mod places;
pub(super) mod recovery;
mod running;
mod settings;

use super::Finding;
use super::survey::Survey;
use crate::config::Config;

pub(crate) use self::places::clean;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mysqld = &survey.mysqld;
    let mut findings = vec![running::version(mysqld, &survey.unit.command)];
    findings.extend(running::examine(mysqld, config));
    findings.extend(running::unknown_server(mysqld));
    findings.extend(running::elsewhere(&survey.observation, config));
    findings.extend(abbreviated::abbreviated(mysqld));
    findings.extend(places::examine(mysqld, config));
    findings.extend(files::examine(mysqld, config));
    findings.extend(durability::examine(mysqld, config));
    findings.extend(access::examine(mysqld, config));
    findings.extend(answer::examine(mysqld, &survey.observation, config));
    findings.extend(recovery::examine(mysqld, config));
    findings
}

/// Settings that name directories or files: the look at the machine visits their values.
pub fn path_settings() -> Vec<&'static str> {
    let mut names = vec![
        "datadir",
        "innodb_log_group_home_dir",
        "innodb_data_home_dir",
        "innodb_undo_directory",
        "innodb_doublewrite_dir",
        "aria_log_dir_path",
        "log_bin",
        "relay_log",
        "tmpdir",
        "innodb_tmpdir",
        "log_error",
    ];
    names.extend(files::PATH_SETTINGS);
    names
}

/// Settings that a check of their own judges.
fn has_its_own_check(name: &str) -> bool {
    [
        "innodb_flush_log_at_trx_commit",
        "sync_binlog",
        "innodb_doublewrite",
        "innodb_checksum_algorithm",
        "read_only",
        "super_read_only",
    ]
    .contains(&name)
}
