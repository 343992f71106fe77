//! The server's settings: what its option files say, and what it says itself where it runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::paths::{self, Question};
use super::program;
use crate::audit::offline::{Settings, TOP};
use crate::config::Config;
use crate::doctor::mysqld::path_settings;
use crate::doctor::survey::paths::SeenPath;
use crate::doctor::survey::{Credentials, Flavour, MysqldSurvey, Running, UnitSurvey};
use crate::foreign::option_file::{Files, Options, Server, Startup, Unread};
use crate::node::mysqld::variables::{self, Refusal};
use crate::node::option_files::OnDisk;
use crate::node::{credentials, filesystem, worker};
use crate::observation::Fact;
use crate::plan::MysqldControl;

/// For all questions to the running server together; a healthy one needs some milliseconds.
const SQL_LIMIT: Duration = Duration::from_secs(3);

/// Words in the names of settings whose values nobody needs to see.
const SECRETS: [&str; 5] = ["password", "_auth", "filekey", "secret", "passphrase"];

pub(super) fn look(config: &Config, unit: &UnitSurvey) -> MysqldSurvey {
    thread::scope(|scope| {
        let running = scope.spawn(|| ask_server(config));
        let engines = scope.spawn(|| engines(config));
        let program = program::look(&unit.command);
        let server = program.known().map(|program| {
            let version = Some((program.version.0, program.version.1));
            match program.flavour {
                Flavour::MariaDB => Server::MariaDb(version),
                Flavour::MySQL => Server::MySql(version),
            }
        });
        let startup = Startup::of(server.unwrap_or(Server::MariaDb(None)), &unit.command);
        let reader = Recorder { included: RefCell::default() };
        let mut options = Options::of(&startup, &reader);
        options.settings.retain(|setting| {
            setting.place.is_none()
                || startup.groups.iter().any(|group| group.eq_ignore_ascii_case(&setting.group))
        });
        for setting in options.settings.iter_mut().filter(|setting| is_secret(&setting.name)) {
            setting.value = None;
        }
        let (running, login, persisted) = running.join().unwrap_or_else(|_| {
            (Some(Fact::Unknown("asking it ended without a result".to_owned())), None, BTreeMap::new())
        });
        let user = user_name(config, unit, &options, &startup.groups);
        let (user, seen) = look_at_paths(config, &options, &startup.groups, &running, user);
        MysqldSurvey {
            program,
            options,
            groups: startup.groups,
            include_directory: reader.included.into_inner(),
            persisted,
            running,
            runs_in_unit: match &config.mysqld.control {
                MysqldControl::Unit(name) => {
                    unit.unit(name).is_some_and(crate::doctor::survey::Unit::is_active)
                }
                MysqldControl::Command(_) => false,
            },
            user,
            paths: seen,
            port_listeners: listeners(config.mysqld.port),
            nonlocal_bind: fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind")
                .is_ok_and(|value| value.trim() == "1"),
            credentials: config.mysqld.credentials.as_deref().map(|file| look_at_credentials(file, login)),
            engines: engines
                .join()
                .unwrap_or_else(|_| Some(Fact::Unknown("the scan ended without a result".to_owned()))),
        }
    })
}

/// Reads from the disk, and remembers which directory was included last.
struct Recorder {
    included: RefCell<Option<PathBuf>>,
}

impl Files for Recorder {
    fn read(&self, file: &Path) -> Result<String, Unread> {
        OnDisk.read(file)
    }

    fn names(&self, directory: &Path) -> Result<Vec<String>, String> {
        *self.included.borrow_mut() = Some(directory.to_owned());
        OnDisk.names(directory)
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRETS.iter().any(|word| name.contains(word))
}

type Told = (Option<Fact<Running>>, Option<Result<(), String>>, BTreeMap<String, String>);

/// The server's own values, whether the account could log in, and what it has persisted.
fn ask_server(config: &Config) -> Told {
    let mysqld = &config.mysqld;
    let Some(file) = &mysqld.credentials else {
        let runs = variables::answers(&mysqld.socket, SQL_LIMIT);
        let unknown = || Fact::Unknown("no credentials are configured to ask it with".to_owned());
        return (runs.then(unknown), None, BTreeMap::new());
    };
    if !variables::answers(&mysqld.socket, SQL_LIMIT) {
        return (None, None, BTreeMap::new());
    }
    let account = match credentials::read(file) {
        Ok(account) => account,
        Err(failure) => return (Some(Fact::Unknown(failure.seen)), None, BTreeMap::new()),
    };
    let vip = (config.vip.address.addr(), mysqld.port);
    match variables::ask(&mysqld.socket, vip, &account, SQL_LIMIT) {
        Ok(mut told) => {
            told.variables.retain(|name, _| !is_secret(name));
            told.set_at_run_time.retain(|name, _| !is_secret(name));
            told.persisted.retain(|name, _| !is_secret(name));
            let running = Running {
                variables: told.variables,
                set_at_run_time: told.set_at_run_time,
                data_files: told.data_files,
                datadir_owner: None,
            };
            (Some(Fact::Known(running)), Some(Ok(())), told.persisted)
        }
        Err(Refusal::Login(cause)) => (Some(Fact::Unknown(cause.clone())), Some(Err(cause)), BTreeMap::new()),
        Err(Refusal::Other(cause)) => (Some(Fact::Unknown(cause)), None, BTreeMap::new()),
    }
}

/// The same scan as a takeover's, within the limit that a takeover gives it.
fn engines(config: &Config) -> Option<Fact<crate::audit::EngineTotals>> {
    is_mounted(config).then(|| {
        let settings = Settings { datadir: config.mysqld.datadir.clone(), top: TOP, tolerate_damage: true };
        let request = worker::Request::Audit { settings };
        let totals = worker::call(&request, Instant::now() + config.limits.audit_engines);
        totals.map_err(|failure| failure.seen).into()
    })
}

/// Whether the configured device is mounted where it must be.
pub(super) fn is_mounted(config: &Config) -> bool {
    match filesystem::observe(&config.mount) {
        Fact::Known(mount) => mount.at_directory.is_some_and(|mounted| mounted.is_our_device),
        Fact::Unknown(_) => false,
    }
}

/// `User=` of the unit, or the option `user`; a server that root starts without either runs as root.
fn user_name(config: &Config, unit: &UnitSurvey, options: &Options, groups: &[String]) -> String {
    let of_unit = match &config.mysqld.control {
        MysqldControl::Unit(name) => unit.unit(name).map(|unit| unit.get("User")).unwrap_or_default(),
        MysqldControl::Command(_) => "",
    };
    if !of_unit.is_empty() {
        return of_unit.to_owned();
    }
    options.get(groups, "user").map_or_else(|| "root".to_owned(), |found| found.text().to_owned())
}

fn look_at_paths(
    config: &Config,
    options: &Options,
    groups: &[String],
    running: &Option<Fact<Running>>,
    user: String,
) -> (Fact<Option<crate::doctor::survey::Account>>, Vec<SeenPath>) {
    let datadir = &config.mysqld.datadir;
    let variables = running.as_ref().and_then(Fact::known).map(|running| &running.variables);
    let mut wanted = vec![PathBuf::from("/tmp"), datadir.clone()];
    for name in path_settings() {
        let next = options.get(groups, name).and_then(|found| found.value);
        let now = variables.and_then(|variables| variables.get(name)).cloned();
        for value in [next, now].into_iter().flatten().filter(|value| !value.is_empty()) {
            // Only the directories for temporary files are a list.
            let parts: Vec<&str> =
                if name.contains("tmpdir") { value.split(':').collect() } else { vec![&value] };
            wanted.extend(parts.into_iter().map(|part| crate::doctor::mysqld::clean(&datadir.join(part))));
        }
    }
    wanted.extend(running.as_ref().and_then(Fact::known).into_iter().flat_map(|r| r.data_files.clone()));
    for file in
        [config.mysqld.error_log.as_deref(), Some(config.mysqld.socket.as_path())].into_iter().flatten()
    {
        wanted.push(file.to_owned());
        wanted.extend(file.parent().map(Path::to_path_buf));
    }
    wanted.sort();
    wanted.dedup();
    let (on_device, elsewhere): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|path| path.starts_with(&config.mount.directory));
    let question = Question { paths: elsewhere.clone(), user: Some(user), ..Question::default() };
    let (user, mut seen) = match paths::ask(&question) {
        Ok(answer) => (Fact::Known(answer.user), answer.paths),
        Err(cause) => {
            let unseen = elsewhere.iter().map(|path| paths::unseen(path, Err(cause.clone()))).collect();
            (Fact::Unknown(cause), unseen)
        }
    };
    if is_mounted(config) {
        seen.extend(paths::seen(&on_device));
    }
    (user, seen)
}

/// The owner of the mounted data directory, and where symbolic links among its schemas lead.
pub(super) fn look_into_datadir(config: &Config, survey: &mut MysqldSurvey) {
    let Some(Fact::Known(running)) = &mut survey.running else { return };
    let datadir = &config.mysqld.datadir;
    let question =
        Question { paths: vec![datadir.clone()], directory: Some(datadir.clone()), ..Question::default() };
    if let Ok(answer) = paths::ask(&question) {
        running.data_files.extend(answer.links);
        running.datadir_owner = answer.paths.first().filter(|seen| seen.is_directory()).map(|seen| seen.uid);
    }
}

fn look_at_credentials(file: &Path, login: Option<Result<(), String>>) -> Credentials {
    let metadata = fs::metadata(file).ok();
    Credentials {
        problem: credentials::read(file).err().map(|failure| failure.seen),
        login,
        mode: metadata.as_ref().map(|metadata| metadata.mode() & 0o7777),
        uid: metadata.as_ref().map(MetadataExt::uid),
    }
}

/// Addresses that something listens on at a port, by the kernel's tables.
fn listeners(port: u16) -> Vec<IpAddr> {
    let table = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let mut found = parse_listeners(&table("/proc/net/tcp"), port);
    found.extend(parse_listeners(&table("/proc/net/tcp6"), port));
    found
}

/// Lines of `/proc/net/tcp` and `tcp6` (proc(5)): the address is in hexadecimal digits, each 32-bit word in the byte order
/// of the machine; state 0A listens.
fn parse_listeners(table: &str, port: u16) -> Vec<IpAddr> {
    let parse = |line: &str| -> Option<IpAddr> {
        let mut fields = line.split_whitespace();
        let (address, of_port) = fields.nth(1)?.split_once(':')?;
        let state = fields.nth(1)?;
        if state != "0A" || u16::from_str_radix(of_port, 16).ok()? != port {
            return None;
        }
        let words: Option<Vec<u8>> = (0..address.len() / 8)
            .map(|index| u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16).ok())
            .collect::<Option<Vec<u32>>>()
            .map(|words| words.into_iter().flat_map(u32::to_ne_bytes).collect());
        let bytes = words?;
        <[u8; 4]>::try_from(bytes.as_slice())
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
            .ok()
    };
    table.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_who_listens() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000\n   \
                     1: 00000000:0CEA 0100007F:0001 01 0\n   2: garbage\n   3: xyz:0CEA 0 0A\n";
        assert_eq!(parse_listeners(table, 3306), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        let six = "   0: 00000000000000000000000000000000:0CEA 0:0000 0A 0\n";
        assert_eq!(parse_listeners(six, 3306), ["::".parse::<IpAddr>().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listeners(listener.local_addr().unwrap().port()).len(), 1);
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in ["master-password", "wsrep_sst_auth", "file_key_management_filekey"] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("datadir") && !is_secret("file_key_management_filename"));
    }
}
