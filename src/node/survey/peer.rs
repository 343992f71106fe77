//! What both nodes must have in common: of this node, and of the peer, which is asked over ssh.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_yaml::Value;

use super::{files, program};
use crate::config::Config;
use crate::doctor::survey::{Account, Came, PeerFacts, Program, Values};
use crate::foreign::drbd_conf::{Resource, Settings};
use crate::foreign::option_file::{Options, Server, Startup};
use crate::foreign::unit_file;
use crate::node::option_files::OnDisk;
use crate::node::{command, ssh};
use crate::observation::Fact;
use crate::plan::{MysqldControl, shell_words};

/// The programs that are a server.
const SERVERS: [&str; 3] = ["mariadbd", "mysqld", "mysqld-debug"];

/// Words in the names of options whose values stay where they are.
const SECRETS: [&str; 5] = ["password", "_auth", "filekey", "secret", "passphrase"];

pub(super) fn look_here(
    config: &Config,
    drbd_module: &Fact<Option<String>>,
    resource: &Fact<Resource>,
    program: Option<&Fact<Program>>,
) -> PeerFacts {
    let unit = match &config.mysqld.control {
        MysqldControl::Unit(unit) => unit_settings(unit),
        MysqldControl::Command(_) => Ok(BTreeMap::new()),
    };
    let command = command_of(config);
    // Starting it is the dearest part of a look, so that it is not asked again when it was just now.
    let program = program.cloned().unwrap_or_else(|| match &command {
        Ok(command) => program::look(command),
        Err(cause) => Fact::Unknown(cause.clone()),
    });
    let version = match program {
        Fact::Known(program) => Ok(program.text),
        Fact::Unknown(cause) => Err(cause),
    };
    let options = command.as_ref().map(|command| options(command, version.as_deref().unwrap_or_default()));
    let account = account(config, unit.as_ref().ok(), options.as_ref().ok());
    PeerFacts {
        node: config.this_node.name.clone(),
        standin: env!("CARGO_PKG_VERSION").to_owned(),
        configuration: configuration(&config.file).into(),
        drbd_module: drbd_module.clone(),
        drbd_files: match resource {
            Fact::Known(resource) => Fact::Known(drbd_values(resource)),
            Fact::Unknown(cause) => Fact::Unknown(cause.clone()),
        },
        mysqld: version.into(),
        unit: unit.into(),
        account: account.into(),
        options: options.map_err(Clone::clone).into(),
        came: None,
        // Last: the peer takes it for the moment in which the answer was sent.
        at: now(),
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Asks over ssh, without a password, at the replication address first.
pub(super) fn ask(config: &Config, limit: Duration) -> Fact<PeerFacts> {
    let deadline = Instant::now() + limit;
    let mut addresses = vec![config.peer.replication_address, config.peer.address];
    addresses.dedup();
    let mut causes = Vec::new();
    for address in addresses {
        match ask_at(address, config, deadline.saturating_duration_since(Instant::now())) {
            Ok(facts) => return Fact::Known(facts),
            Err(cause) => causes.push(cause),
        }
    }
    Fact::Unknown(causes.join("; "))
}

fn ask_at(address: Ipv4Addr, config: &Config, limit: Duration) -> Result<PeerFacts, String> {
    let file = fs::canonicalize(&config.file).unwrap_or_else(|_| config.file.clone());
    let there = ["standin", "--config", &file.display().to_string(), "doctor", "--facts"].map(str::to_owned);
    let words = ssh::command_line(address, &shell_words(&there));
    let finished = command::run(&words, limit).map_err(|error| error.to_string())?;
    let came = Came { from: address, at: now() };
    if !finished.succeeded() {
        return Err(finished.describe());
    }
    let facts: PeerFacts = serde_json::from_str(&finished.stdout).map_err(|error| {
        format!("{address} answers what this version of standin does not understand ({error}); is the same one there?")
    })?;
    Ok(PeerFacts { came: Some(came), ..facts })
}

fn configuration(file: &Path) -> Result<Values, String> {
    let text = files::text(file)?.ok_or_else(|| format!("{} is gone", file.display()))?;
    let value: Value = serde_yaml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut values = BTreeMap::new();
    flatten("", &value, &mut values);
    Ok(values)
}

/// `mount.directory` → `/var/lib/mysql`. It has been checked before: it is small and not deep.
fn flatten(path: &str, value: &Value, values: &mut Values) {
    match value {
        Value::Mapping(mapping) => {
            for (key, inner) in mapping {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, inner, values);
            }
        }
        Value::Sequence(list) => {
            let shown: Vec<String> = list.iter().map(scalar).collect();
            values.insert(path.to_owned(), shown.join(" "));
        }
        other => {
            values.insert(path.to_owned(), scalar(other));
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null => String::new(),
        other => format!("{other:?}"),
    }
}

fn drbd_values(resource: &Resource) -> Values {
    let mut values = BTreeMap::new();
    let mut put = |section: &str, settings: &Settings| {
        values.extend(settings.iter().map(|(name, value)| (format!("{section} {name}"), value.clone())));
    };
    for section in ["net", "disk", "handlers", "options", "startup"] {
        if let Some(settings) = resource.section(section) {
            put(section, settings);
        }
    }
    for host in &resource.hosts {
        let name = host.names.join(" ");
        for volume in &host.volumes {
            put(&format!("{name} volume {} disk", volume.number), &volume.disk_settings);
        }
    }
    for host in &resource.hosts {
        let name = host.names.join(" ");
        values.insert(format!("{name} address"), host.address.clone().unwrap_or_default());
        for volume in &host.volumes {
            let path = |path: &Option<std::path::PathBuf>| {
                path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
            };
            let shown = format!("{} on {}", path(&volume.device), path(&volume.disk));
            values.insert(format!("{name} volume {}", volume.number), shown);
        }
    }
    values
}

fn unit_settings(unit: &str) -> Result<Values, String> {
    let texts = files::unit_texts(unit);
    if texts.is_empty() {
        return Err(format!("there is no unit {unit}, or it is masked"));
    }
    Ok(unit_file::settings(texts.iter().map(String::as_str)))
}

/// The server's command line.
fn command_of(config: &Config) -> Result<Vec<String>, String> {
    match &config.mysqld.control {
        MysqldControl::Command(words) => Ok(words.clone()),
        MysqldControl::Unit(unit) => {
            let texts = files::unit_texts(unit);
            let command = unit_file::exec_start(texts.iter().map(String::as_str)).unwrap_or_default();
            let is_server = |word: &String| {
                Path::new(word)
                    .file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| SERVERS.contains(&name))
            };
            // A shell may stand around it, with the whole command as one word.
            let words = command.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned);
            let command: Vec<String> = words.skip_while(|word| !is_server(word)).collect();
            if command.is_empty() { Err(format!("{unit} names no mysqld or mariadbd")) } else { Ok(command) }
        }
    }
}

fn options(command: &[String], version: &str) -> Values {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u16>);
    let series = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    let server = if version.contains("MariaDB") { Server::MariaDb(series) } else { Server::MySql(series) };
    let startup = Startup::of(server, command);
    let options = Options::of(&startup, &OnDisk);
    let counts =
        |group: &str| group.is_empty() || startup.groups.iter().any(|own| own.eq_ignore_ascii_case(group));
    let settings = options.settings.iter().filter(|setting| counts(&setting.group));
    settings
        .map(|setting| (setting.name.replace('-', "_"), setting.value.clone().unwrap_or_default()))
        .filter(|(name, _)| !SECRETS.iter().any(|word| name.contains(word)))
        .collect()
}

/// As the unit says, or else the command line or the option files; otherwise root.
fn account(config: &Config, unit: Option<&Values>, options: Option<&Values>) -> Result<Account, String> {
    let of_command = match &config.mysqld.control {
        MysqldControl::Command(words) => words.iter().find_map(|word| word.strip_prefix("--user=")),
        MysqldControl::Unit(_) => None,
    };
    let of_unit = unit.and_then(|unit| unit.get("Service.User")).map(String::as_str);
    let of_options = options.and_then(|options| options.get("user")).map(String::as_str);
    let name = of_unit.or(of_command).or(of_options).unwrap_or("root");
    let text = files::text(Path::new("/etc/passwd"))?.unwrap_or_default();
    account_of(&text, name).ok_or_else(|| format!("there is no user {name} in /etc/passwd"))
}

/// passwd(5).
fn account_of(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let mut numbers = fields.skip(1);
        let account = Account {
            name: name.to_owned(),
            uid: numbers.next()?.parse().ok()?,
            gid: numbers.next()?.parse().ok()?,
        };
        found.then_some(account)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::foreign::drbd_conf::parse_dump;

    #[test]
    fn a_configuration_is_compared_key_by_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.yaml");
        fs::write(&file, "mount: {options: [noatime, nodev]}\nvip:\n  misses: 3 # c\nfence: null\n").unwrap();
        let values = configuration(&file).unwrap();
        let shown: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["fence=", "mount.options=noatime nodev", "vip.misses=3"]);
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "mysqlx:x:1:2::/:/bin/sh\nmysql:x:101:102:MySQL:/nonexistent:/bin/false\nbroken\n";
        assert_eq!(account_of(passwd, "mysql").map(|account| (account.uid, account.gid)), Some((101, 102)));
        assert_eq!(account_of(passwd, "nobody"), None);
    }

    #[test]
    fn drbds_files_are_compared_with_hosts_and_settings() {
        let dump =
            parse_dump(include_str!("../../../tests/captured/drbd-8.4/connected-primary-secondary/dump"))
                .unwrap();
        let values = drbd_values(dump.resource("r0").unwrap());
        assert_eq!(values.get("net ping-int").map(String::as_str), Some("7"));
        assert_eq!(values.get("node2 address").map(String::as_str), Some("10.77.1.2:7788"));
        assert_eq!(values.get("node1 volume 0").map(String::as_str), Some("/dev/drbd0 on /dev/ubdb"));
    }

    #[test]
    fn no_secret_is_among_the_options() {
        let command = ["/usr/sbin/mysqld", "--no-defaults", "--report-password=x", "--max-connections=7"]
            .map(str::to_owned);
        let values = options(&command, "8.0.36");
        assert_eq!(values.into_iter().collect::<Vec<_>>(), [("max_connections".to_owned(), "7".to_owned())]);
    }
}
