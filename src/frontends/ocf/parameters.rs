//! The resource's parameters: a configuration by its name, or every value of one. Values are checked by the same code as a
//! file's, as the text that they make.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::table::{CONFIG, Kind, PARAMETERS, Parameter};
use crate::config::{self, Config, ConfigErrors, Host};

/// Whose mistake a wrong configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The parameters: they are the same on every node.
    Parameters(String),
    /// The file is not there.
    NoFile(String),
    /// The file on this node.
    File(String),
}

/// The configuration with the text that it was made from, when that was made of parameters.
pub(super) struct Described {
    pub(super) config: Config,
    pub(super) text: Option<String>,
}

/// Reads the configuration: the named one; the one that the parameters make; without any parameter, the only one there is.
pub(super) fn configuration(
    parameters: &BTreeMap<String, String>,
    file: &Path,
    host: &Host,
) -> Result<Described, Wrong> {
    let given: Vec<&Parameter> =
        PARAMETERS.iter().filter(|parameter| parameters.contains_key(parameter.name)).collect();
    let Some(first) = given.first() else {
        return from_file(parameters.get(CONFIG).map(String::as_str), host);
    };
    if parameters.contains_key(CONFIG) {
        return Err(Wrong::Parameters(format!(
            "the parameters {CONFIG} and {} exclude each other: either a configuration by its name, or its values",
            first.name
        )));
    }
    let (text, lines) = text_of(parameters);
    let config = config::parse(&text, file, host)
        .map_err(|errors| Wrong::Parameters(in_words_of_parameters(&errors, &lines)))?;
    Ok(Described { config, text: Some(text) })
}

fn from_file(selector: Option<&str>, host: &Host) -> Result<Described, Wrong> {
    config::load(selector, host).map(|config| Described { config, text: None }).map_err(|errors| {
        let one = errors.iter().map(|error| format!("{}; {}", error.message(), error.help()));
        let text = one.collect::<Vec<_>>().join("; ");
        // Only a file that is there has a wrong token.
        if errors.iter().any(|error| error.place().is_some()) {
            Wrong::File(text)
        } else {
            Wrong::NoFile(text)
        }
    })
}

/// The YAML text, and whose each of its lines is.
fn text_of(parameters: &BTreeMap<String, String>) -> (String, Vec<&'static str>) {
    let mut text = "cluster_manager: pacemaker\n".to_owned();
    let mut lines = vec!["cluster_manager"];
    let mut sections: Vec<&str> = Vec::new();
    for Parameter { place: (section, _), .. } in &PARAMETERS {
        if !sections.contains(section) {
            sections.push(section);
        }
    }
    for section in sections {
        let of_section = PARAMETERS.iter().filter(|parameter| parameter.place.0 == section);
        let given: Vec<(&Parameter, &str)> =
            of_section.filter_map(|p| Some((p, parameters.get(p.name)?.as_str()))).collect();
        match given.as_slice() {
            [] => {}
            [(parameter, value)] if parameter.place.1.is_empty() => {
                // Writing to text can't fail.
                let _ = writeln!(text, "{section}: {}", yaml(parameter.kind, value));
                lines.push(parameter.name);
            }
            given => {
                let _ = writeln!(text, "{section}:");
                lines.push(given[0].0.name);
                for (parameter, value) in given {
                    let _ = writeln!(text, "  {}: {}", parameter.place.1, yaml(parameter.kind, value));
                    lines.push(parameter.name);
                }
            }
        }
    }
    (text, lines)
}

fn yaml(kind: Kind, value: &str) -> String {
    let list = |words: &mut dyn Iterator<Item = &str>| {
        format!("[{}]", words.map(quoted).collect::<Vec<_>>().join(", "))
    };
    let pairs = |value: &str, of: &dyn Fn(&str) -> String| {
        let pair = |word: &str| {
            let (name, rest) = word.split_once('=').unwrap_or((word, ""));
            format!("{}: {}", quoted(name), of(rest))
        };
        format!("{{{}}}", value.split_whitespace().map(pair).collect::<Vec<_>>().join(", "))
    };
    match kind {
        Kind::Number if value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_owned(),
        Kind::Flag => match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "1" => "true".to_owned(),
            "false" | "no" | "off" | "n" | "0" => "false".to_owned(),
            _ => quoted(value),
        },
        Kind::Text | Kind::Number => quoted(value),
        Kind::List => {
            list(&mut value.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()))
        }
        Kind::Command => list(&mut value.split_whitespace()),
        Kind::Nodes => pairs(value, &|addresses| match addresses.split_once(',') {
            Some((address, replication)) => {
                format!("{{address: {}, replication_address: {}}}", quoted(address), quoted(replication))
            }
            None => format!("{{address: {}}}", quoted(addresses)),
        }),
        Kind::Pairs => pairs(value, &|value| quoted(value)),
    }
}

/// A JSON string is a double-quoted scalar of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Each error with the parameter that it is about.
fn in_words_of_parameters(errors: &ConfigErrors, lines: &[&str]) -> String {
    let sentence = |error: &config::ConfigError| {
        let message = named(error.message());
        let line = error.place().and_then(|place| lines.get(place.line - 1));
        match line {
            Some(name) if !message.contains("parameter ") => format!("parameter {name}: {message}"),
            _ => message,
        }
    };
    errors.iter().map(sentence).collect::<Vec<_>>().join("; ")
}

/// Paths of a configuration replaced by the parameters that stand for them.
fn named(text: &str) -> String {
    PARAMETERS.iter().fold(text.to_owned(), |text, parameter| {
        let (section, key) = parameter.place;
        if key.is_empty() {
            return text.replace(&format!("`{section}`"), &format!("parameter {}", parameter.name));
        }
        let of_section = PARAMETERS.iter().filter(|other| other.place.0 == section);
        let all = of_section.map(|other| other.name).collect::<Vec<_>>().join(", ");
        text.replace(&format!("`{section}.{key}`"), &format!("parameter {}", parameter.name))
            .replace(&format!("`{section}` is missing"), &format!("parameter {all}: none is given"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 13] = [
        ("nodes", "node1=10.77.0.1,10.77.1.1 node2=10.77.0.2,10.77.1.2"),
        ("vip", "10.77.0.100/24"),
        ("interface", "eth0"),
        ("resource", "r0"),
        ("device", "/dev/drbd0"),
        ("directory", "/var/lib/mysql"),
        ("fstype", "ext4"),
        ("options", "noatime,nodiratime"),
        ("unit", "mariadb"),
        ("socket", "/run/mysqld/mysqld.sock"),
        ("read_only", "No"),
        ("witnesses", "10.77.0.254"),
        ("limits", "wait_vip_gone=20s start_mysqld=300s"),
    ];

    fn with(changes: &[(&str, &str)]) -> Result<Described, Wrong> {
        let mut parameters: BTreeMap<String, String> =
            GOOD.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in changes {
            if value.is_empty() {
                parameters.remove(*name);
            } else {
                parameters.insert((*name).to_owned(), (*value).to_owned());
            }
        }
        configuration(&parameters, Path::new("db.yaml"), &Host::fixed("node1"))
    }

    fn wrong(changes: &[(&str, &str)]) -> String {
        match with(changes).err().unwrap() {
            Wrong::Parameters(text) => text,
            other => panic!("{other:?}"),
        }
    }

    /// A file with the same values gives the same configuration.
    #[test]
    fn parameters_make_the_configuration_that_a_file_makes() {
        let text = "\
nodes:
  node1: {address: 10.77.0.1, replication_address: 10.77.1.1}
  node2: {address: 10.77.0.2, replication_address: 10.77.1.2}
vip: {address: 10.77.0.100/24, interface: eth0, misses: 4, interval: 50ms}
drbd: {resource: r0}
mount: {device: /dev/drbd0, directory: /srv/mysql, type: ext4, options: [noatime, nodiratime]}
mysqld:
  command: [/usr/sbin/mariadbd, --user=mysql]
  datadir: /srv/mysql/data
  socket: /run/mysqld/mysqld.sock
  port: 3307
  error_log: /var/log/mysql/error.log
  credentials: /etc/standin/r0.cnf
  read_only: true
  kill_at_deadline: true
cluster_manager: pacemaker
fence: [/usr/local/sbin/power-off, \"{peer}\"]
witnesses: [10.77.0.254, 10.77.0.253]
limits: {wait_vip_gone: 20s, start_mysqld: 300s}
audit: {refuse_myisam_above_percent: 10}
";
        let from_file = config::parse(text, Path::new("db.yaml"), &Host::fixed("node1")).unwrap();
        let from_parameters = with(&[
            ("directory", "/srv/mysql"),
            ("datadir", "/srv/mysql/data"),
            ("unit", ""),
            ("command", "/usr/sbin/mariadbd --user=mysql"),
            ("port", "3307"),
            ("error_log", "/var/log/mysql/error.log"),
            ("credentials", "/etc/standin/r0.cnf"),
            ("read_only", "yes"),
            ("kill_at_deadline", "1"),
            ("fence", "/usr/local/sbin/power-off {peer}"),
            ("witnesses", "10.77.0.254, 10.77.0.253"),
            ("vip_misses", "4"),
            ("vip_interval", "50ms"),
            ("refuse_myisam_above_percent", "10"),
        ]);
        assert_eq!(from_parameters.unwrap().config, from_file);
    }

    #[test]
    fn errors_name_the_parameter() {
        assert!(wrong(&[("vip", "10.77.0.100")]).starts_with("parameter vip has no prefix length"));
        assert!(wrong(&[("fstype", "ext 4")]).starts_with("parameter fstype "));
        assert!(wrong(&[("device", "")]).contains("parameter device is missing"));
        assert!(wrong(&[("resource", "")]).starts_with("parameter resource: none is given"));
        assert!(wrong(&[("nodes", "node1=10.77.0.1 node2")]).starts_with("parameter nodes: "));
        assert!(
            wrong(&[("limits", "start_mysqlt=3s")])
                .contains("unknown key `start_mysqlt` in parameter limits")
        );
        assert!(wrong(&[("read_only", "perhaps")]).starts_with("parameter read_only must be true or false"));
        assert!(wrong(&[("port", "x")]).starts_with("parameter port must be a whole number"));
        assert!(wrong(&[(CONFIG, "r0")]).contains("exclude each other"));
    }

    #[test]
    fn a_value_can_not_add_keys_of_its_own() {
        let text = wrong(&[("interface", "eth0\", misses: 9, x: \"")]);
        assert!(text.starts_with("parameter interface is not the name of an interface"), "{text}");
        assert!(with(&[("witnesses", "10.77.0.254] # ")]).is_err());
    }

    #[test]
    fn a_missing_file_and_a_broken_one_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db.yaml");
        let named = |file: &Path| {
            let parameters = BTreeMap::from([(CONFIG.to_owned(), file.display().to_string())]);
            configuration(&parameters, Path::new("x.yaml"), &Host::fixed("node1")).err().unwrap()
        };
        assert!(matches!(named(&file), Wrong::NoFile(_)));
        std::fs::write(&file, "vip: {address: 1}\n").unwrap();
        assert!(matches!(named(&file), Wrong::File(_)));
    }
}
