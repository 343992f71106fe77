//! What the unit keeps the server from: the data must be visible and writable inside.

use std::path::Path;

use crate::config::Config;
use crate::doctor::survey::Unit;
use crate::doctor::{Finding, remedy};

pub(super) fn examine(config: &Config, name: &str, unit: &Unit) -> Vec<Finding> {
    vec![visible(config, name, unit), writable(config, name, unit)]
}

fn places(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut places = vec![("the data directory", config.mysqld.datadir.as_path())];
    places.extend(config.mysqld.error_log.as_deref().map(|log| ("the error log", log)));
    places.push(("the socket", config.mysqld.socket.as_path()));
    places
}

fn is_under_any(path: &Path, directories: &[&str]) -> bool {
    directories.iter().any(|directory| path.starts_with(directory))
}

fn listed<'a>(unit: &'a Unit, property: &str) -> Vec<&'a str> {
    let entries = unit.get(property).split_whitespace();
    entries.map(|entry| entry.trim_start_matches(['-', '+'])).collect()
}

fn drop_in(finding: Finding, unit: &str, line: &str) -> Finding {
    let name = line.split('=').next().unwrap_or_default().to_ascii_lowercase();
    remedy::unit_drop_in(unit, &name, &["[Service]", line]).into_iter().fold(finding, Finding::remedy)
}

fn visible(config: &Config, name: &str, unit: &Unit) -> Finding {
    let check = "unit-sees-data";
    let why = "the server finds an empty directory where its files are, and does not start";
    const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
    for (what, path) in places(config) {
        let shown = path.display();
        if unit.get("ProtectHome") != "no"
            && !unit.get("ProtectHome").is_empty()
            && is_under_any(path, &HOMES)
        {
            let seen = format!("{what}, {shown}, is hidden by ProtectHome={}", unit.get("ProtectHome"));
            return drop_in(Finding::fail(check, seen, why), name, "ProtectHome=no");
        }
        if unit.get("PrivateTmp") == "yes" && is_under_any(path, &["/tmp", "/var/tmp"]) {
            let seen = format!("{what}, {shown}, is in a /tmp of the unit's own (PrivateTmp=yes)");
            return drop_in(Finding::fail(check, seen, why), name, "PrivateTmp=no");
        }
        if is_under_any(path, &listed(unit, "InaccessiblePaths")) {
            let seen = format!("{what}, {shown}, is hidden by InaccessiblePaths");
            return drop_in(Finding::fail(check, seen, why), name, "InaccessiblePaths=");
        }
    }
    if !unit.get("RootDirectory").is_empty() || !unit.get("RootImage").is_empty() {
        return Finding::warn(
            check,
            format!("{name} runs in a root directory of its own"),
            "what is mounted on this node is not visible there by itself",
        )
        .advice("bind the data directory into it (BindPaths=), or run the server outside");
    }
    Finding::pass(check, "nothing of the unit hides the data")
}

fn writable(config: &Config, name: &str, unit: &Unit) -> Finding {
    let check = "unit-writes-data";
    let why = "the server can't write its data and does not start";
    let allowed = listed(unit, "ReadWritePaths");
    let protected = match unit.get("ProtectSystem") {
        "yes" => vec!["/usr", "/boot", "/efi"],
        "full" => vec!["/usr", "/boot", "/efi", "/etc"],
        "strict" => vec!["/"],
        _ => Vec::new(),
    };
    let read_only = listed(unit, "ReadOnlyPaths");
    let closed: Vec<_> = places(config)
        .into_iter()
        .filter(|(_, path)| {
            // ProtectSystem=strict leaves these alone.
            let left_alone =
                unit.get("ProtectSystem") == "strict" && is_under_any(path, &["/dev", "/proc", "/sys"]);
            let closed = is_under_any(path, &protected) && !left_alone || is_under_any(path, &read_only);
            closed && !made_by_systemd(unit, path) && !is_under_any(path, &allowed)
        })
        .collect();
    if let Some((what, path)) = closed.first() {
        let seen = format!(
            "{what}, {}, is read-only inside {name} (ProtectSystem={})",
            path.display(),
            unit.get("ProtectSystem")
        );
        let directories: Vec<String> = closed
            .iter()
            .map(
                |(what, path)| {
                    if *what == "the data directory" { path } else { path.parent().unwrap_or(path) }
                },
            )
            .map(|directory| directory.display().to_string())
            .collect();
        let line = format!("ReadWritePaths={}", directories.join(" "));
        return drop_in(Finding::fail(check, seen, why), name, &line);
    }
    Finding::pass(check, "the unit may write data, log and socket")
}

/// Whether a path lies in a directory that systemd makes for the unit, which it may write.
fn made_by_systemd(unit: &Unit, path: &Path) -> bool {
    let bases = [("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")];
    bases.iter().any(|(property, base)| {
        listed(unit, property).into_iter().any(|own| path.starts_with(Path::new(base).join(own)))
    })
}

#[cfg(test)]
mod tests {
    use crate::doctor::{Status, sample, unit::examine};

    fn status_with(properties: &[(&str, &str)], check: &str) -> Option<Status> {
        let mut survey = sample::survey();
        for (property, value) in properties {
            sample::unit(&mut survey, property, value);
        }
        sample::status(&examine(&survey, &sample::config()), check)
    }

    #[test]
    fn hidden_data_fails() {
        assert_eq!(status_with(&[("ProtectHome", "yes")], "unit-sees-data"), Some(Status::Pass));
        assert_eq!(
            status_with(&[("InaccessiblePaths", "/srv -/var/lib")], "unit-sees-data"),
            Some(Status::Fail)
        );
        assert_eq!(status_with(&[("RootDirectory", "/srv/root")], "unit-sees-data"), Some(Status::Warn));
    }

    #[test]
    fn read_only_data_fails_unless_it_is_allowed_again() {
        let strict = ("ProtectSystem", "strict");
        assert_eq!(status_with(&[("ProtectSystem", "full")], "unit-writes-data"), Some(Status::Pass));
        assert_eq!(status_with(&[strict], "unit-writes-data"), Some(Status::Fail));
        assert_eq!(
            status_with(
                &[strict, ("ReadWritePaths", "/var/lib/mysql /var/log/mysql /run")],
                "unit-writes-data"
            ),
            Some(Status::Pass)
        );
        assert_eq!(
            status_with(
                &[
                    strict,
                    ("ReadWritePaths", "/var/lib/mysql"),
                    ("RuntimeDirectory", "mysqld"),
                    ("LogsDirectory", "mysql")
                ],
                "unit-writes-data"
            ),
            Some(Status::Pass)
        );
    }
}
