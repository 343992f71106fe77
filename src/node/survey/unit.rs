//! What starts mysqld: everything that systemd knows is asked for by one command.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{paths, program};
use crate::config::Config;
use crate::doctor::storage::mount_unit_names;
use crate::doctor::survey::{BootLink, UnitSurvey};
use crate::doctor::system::TIME_SERVICES;
use crate::node::systemd;
use crate::observation::Fact;
use crate::plan::MysqldControl;

/// For the one command.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(5);

/// Where units are.
const UNIT_DIRECTORIES: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

pub(super) fn look(config: &Config) -> UnitSurvey {
    let mut names: Vec<String> = mount_unit_names(&config.mount.directory);
    names.extend(TIME_SERVICES.map(str::to_owned));
    names.push("multipathd.service".to_owned());
    if let MysqldControl::Unit(name) = &config.mysqld.control {
        names.push(name.clone());
    }
    let units: Fact<BTreeMap<_, _>> = systemd::show_all(&names, SYSTEMCTL_LIMIT).into();
    let (command, program) = match &config.mysqld.control {
        MysqldControl::Unit(name) => {
            let unit = units.known().and_then(|units| units.get(name));
            (unit.map(program::command_of).unwrap_or_default(), None)
        }
        MysqldControl::Command(words) => {
            let path: Option<PathBuf> = words.first().map(PathBuf::from);
            (words.clone(), path.and_then(|path| paths::seen(&[path]).pop()))
        }
    };
    UnitSurvey { units, at_boot: at_boot(Path::new("/")), command, program }
}

/// Links that start a server at boot, below this root.
fn at_boot(root: &Path) -> Vec<BootLink> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let names = |directory: &Path| -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for directory in UNIT_DIRECTORIES.map(below) {
        // /lib is /usr/lib on most systems.
        let real = fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone());
        if seen.contains(&real) {
            continue;
        }
        seen.push(real);
        for (wants, kind) in names(&directory) {
            let pulls_in = kind.ends_with(".wants") || kind.ends_with(".requires");
            if pulls_in && !is_server(kind.split('.').next().unwrap_or_default()) {
                let links = names(&wants).into_iter().filter(|(_, name)| is_server_unit(name));
                found.extend(links.map(|(link, name)| BootLink { link, name }));
            }
        }
    }
    for level in ["2", "3", "4", "5", "S"] {
        for (link, name) in names(&below(&format!("/etc/rc{level}.d"))) {
            let Some(script) =
                name.strip_prefix('S').map(|name| name.trim_start_matches(|c: char| c.is_ascii_digit()))
            else {
                continue;
            };
            // A native unit of this name takes the script's place.
            let native = UNIT_DIRECTORIES
                .iter()
                .any(|directory| below(directory).join(format!("{script}.service")).exists());
            if is_server(script) && !native {
                found.push(BootLink { link, name: script.to_owned() });
            }
        }
    }
    found.sort_by(|one, other| one.link.cmp(&other.link));
    found
}

fn is_server_unit(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, kind)| is_server(stem) && ["service", "socket"].contains(&kind))
}

/// Names such as `mariadb`, `mysqld@node`, `percona-server`, `mariadb-extra`; not exporters and routers.
fn is_server(stem: &str) -> bool {
    let stem = stem.split('@').next().unwrap_or_default();
    matches!(
        stem,
        "mysql"
            | "mysqld"
            | "mariadb"
            | "mariadbd"
            | "mariadb-extra"
            | "mariadb-bootstrap"
            | "percona"
            | "percona-server"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn links_that_start_a_server_are_found() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        make("etc/systemd/system/multi-user.target.wants/mariadb.service");
        make("etc/systemd/system/multi-user.target.wants/mysqld-exporter.service");
        make("etc/systemd/system/sockets.target.wants/mariadb.socket");
        make("etc/systemd/system/mariadb.service.wants/mysql.service");
        make("usr/lib/systemd/system/mysql.service");
        make("etc/rc3.d/S03mysql");
        make("etc/rc3.d/S03mariadb");
        make("etc/rc3.d/K01mysql");
        let names: Vec<String> = at_boot(root.path()).into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["mariadb", "mariadb.service", "mariadb.socket"]);
    }
}
