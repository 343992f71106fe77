//! Whether what a takeover needs is installed here, told by the files alone.

use std::path::Path;

use crate::config::Config;
use crate::plan::MysqldControl;

/// Where packages put their programs.
const PROGRAMS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Where systemd finds units (systemd.unit(5)), without those of generators' early and late directories that few use.
const UNITS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The first thing that is missing, in one sentence. Looks at the root file system only.
pub fn missing(config: &Config) -> Option<String> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    for program in ["drbdadm", "drbdsetup"] {
        if !PROGRAMS.iter().any(|directory| is_there(&Path::new(directory).join(program))) {
            return Some(format!("{program} is not installed on {}", config.this_node.name));
        }
    }
    match &config.mysqld.control {
        MysqldControl::Unit(unit) => {
            let names = [Some(unit.clone()), template(unit)];
            let found = names
                .iter()
                .flatten()
                .any(|name| UNITS.iter().any(|directory| is_there(&Path::new(directory).join(name))));
            if !found {
                return Some(format!("there is no unit {unit} on {}", config.this_node.name));
            }
        }
        MysqldControl::Command(words) => {
            if let Some(program) = words.first().filter(|program| !is_there(Path::new(program))) {
                return Some(format!("{program} is not installed on {}", config.this_node.name));
            }
        }
    }
    let directory = &config.mount.directory;
    (!is_there(directory)).then(|| format!("the mount point {} does not exist", directory.display()))
}

/// The template of an instance: `mariadb@.service` of `mariadb@orders.service`.
fn template(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_a_template() {
        assert_eq!(template("mariadb@orders.service").as_deref(), Some("mariadb@.service"));
        assert_eq!(template("mariadb.service"), None);
    }
}
