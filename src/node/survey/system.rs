//! Clock, security modules, and standin's own places.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mysqld::is_mounted;
use super::paths;
use crate::config::Config;
use crate::doctor::survey::{AppArmor, MysqldSurvey, SeLinux, SystemSurvey, Variable};
use crate::foreign::apparmor;
use crate::journal;
use crate::node::{clock, command};
use crate::observation::Fact;

/// For the one command that shows a label.
const STAT_LIMIT: Duration = Duration::from_secs(5);

/// Where DRBD's handlers, systemd and cluster managers look for programs.
const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

pub(super) fn look(config: &Config, mysqld: &MysqldSurvey) -> SystemSurvey {
    let journal = journal::path(&config.name);
    let state = journal.parent().unwrap_or(Path::new("/")).to_owned();
    let state_directory = paths::seen(std::slice::from_ref(&state)).pop();
    let program = std::env::current_exe().and_then(fs::canonicalize).unwrap_or_default();
    SystemSurvey {
        clock: clock::look().into(),
        apparmor: app_armor(mysqld),
        selinux: se_linux(config),
        state_directory: state_directory
            .unwrap_or_else(|| paths::unseen(&state, Err("no answer".to_owned()))),
        journal_bytes: fs::metadata(&journal).ok().map(|metadata| metadata.len()),
        program,
        program_in_path: PROGRAM_DIRECTORIES
            .iter()
            .find_map(|directory| fs::canonicalize(Path::new(directory).join("standin")).ok()),
        environment: environment(
            std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()),
            &fs::read_to_string("/etc/environment").unwrap_or_default(),
        ),
    }
}

/// The server's profile, when AppArmor has one loaded.
fn app_armor(mysqld: &MysqldSurvey) -> Option<Fact<AppArmor>> {
    let listing = fs::read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    let program = mysqld.program.known()?.path.clone();
    let base = program.file_name()?.to_string_lossy().into_owned();
    let full = program.to_string_lossy().into_owned();
    let (name, mode) = apparmor::mode_of(&listing, &[&full, &base])?;
    let stem = full.trim_start_matches('/').replace('/', ".");
    let file = [stem.as_str(), base.as_str()]
        .map(|name| Path::new("/etc/apparmor.d").join(name))
        .into_iter()
        .find(|file| file.is_file());
    let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let local = file.as_ref().and_then(|file| {
        let name = format!("local/{}", file.file_name()?.to_string_lossy());
        text.contains(&name).then(|| PathBuf::from("/etc/apparmor.d").join(name))
    });
    let mut rules = apparmor::file_rules(&text);
    if let Some(text) = local.as_ref().and_then(|local| fs::read_to_string(local).ok()) {
        rules.extend(apparmor::file_rules(&text));
    }
    Some(Fact::Known(AppArmor { profile: name.to_owned(), mode: mode.to_owned(), file, rules, local }))
}

fn se_linux(config: &Config) -> Option<SeLinux> {
    let enforces = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|value| value.trim() == "1");
    enforces.then(|| SeLinux {
        datadir_context: is_mounted(config).then(|| {
            let datadir = config.mysqld.datadir.to_string_lossy().into_owned();
            let words = ["stat", "--format=%C", "--", &datadir].map(str::to_owned);
            match command::run(&words, STAT_LIMIT) {
                Ok(finished) if finished.succeeded() => Fact::Known(finished.stdout.trim().to_owned()),
                Ok(finished) => Fact::Unknown(finished.describe()),
                Err(error) => Fact::Unknown(error.to_string()),
            }
        }),
    })
}

/// Variables of ours that are set, and those that a login would set.
fn environment(set: impl Iterator<Item = String>, file: &str) -> Vec<Variable> {
    let ours = |name: &str| name.starts_with("STANDIN_");
    let mut found: Vec<Variable> =
        set.filter(|name| ours(name)).map(|name| Variable { name, line: None }).collect();
    for (index, line) in file.lines().enumerate() {
        let name = line.trim().trim_start_matches("export ").split('=').next().unwrap_or_default().trim();
        if ours(name) {
            found.retain(|variable| variable.name != name);
            found.push(Variable { name: name.to_owned(), line: Some(index + 1) });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_in_the_environment_and_in_its_file() {
        let set = ["PATH", "STANDIN_HOST"].map(str::to_owned).into_iter();
        let found = environment(set, "LANG=C\nSTANDIN_HOST=node9\nexport STANDIN_RUN_DIR=/tmp\n");
        let shown: Vec<_> = found.iter().map(|variable| (variable.name.as_str(), variable.line)).collect();
        assert_eq!(shown, [("STANDIN_HOST", Some(2)), ("STANDIN_RUN_DIR", Some(3))]);
    }
}
