//! Which files and groups a server reads, from its command line.

use std::path::PathBuf;

use super::Setting;

/// Which server it is: they read different groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// MariaDB, with major and minor version when they are known.
    MariaDb(Option<(u16, u16)>),
    /// MySQL or Percona Server.
    MySql(Option<(u16, u16)>),
}

/// What a server's command line says about its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// Option files, in the order in which they are read.
    pub files: Vec<PathBuf>,
    /// Groups that are read from them.
    pub groups: Vec<String>,
    /// Options of the command line, which come last.
    pub settings: Vec<Setting>,
}

/// Where Debian's and Red Hat's packages of both servers look, `$MYSQL_HOME` and `~` left out: `mariadbd --help
/// --verbose` names them.
const DEFAULT_FILES: [&str; 2] = ["/etc/my.cnf", "/etc/mysql/my.cnf"];

impl Startup {
    /// Of a command line; the first word is the program. `--defaults-file` and its kin count only before all other
    /// options, as for the server.
    pub fn of(server: Server, command: &[String]) -> Self {
        let mut files: Vec<PathBuf> = DEFAULT_FILES.map(PathBuf::from).to_vec();
        let mut extra = None;
        let mut suffix = String::new();
        let mut arguments = command.get(1..).unwrap_or_default().iter().peekable();
        while let Some(argument) = arguments.next_if(|argument| is_about_defaults(argument)) {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            match name {
                "--no-defaults" => files.clear(),
                "--defaults-file" => files = vec![value.into()],
                "--defaults-extra-file" => extra = Some(PathBuf::from(value)),
                "--defaults-group-suffix" => value.clone_into(&mut suffix),
                _ => {}
            }
        }
        files.extend(extra);
        let mut groups = groups_of(server);
        if !suffix.is_empty() {
            let with_suffix: Vec<String> = groups.iter().map(|group| format!("{group}{suffix}")).collect();
            groups.extend(with_suffix);
        }
        Self { files, groups, settings: arguments.filter_map(|argument| setting(argument)).collect() }
    }
}

fn is_about_defaults(argument: &str) -> bool {
    let name = argument.split('=').next().unwrap_or_default();
    let known = ["--no-defaults", "--print-defaults", "--defaults-file", "--defaults-extra-file"];
    known.contains(&name) || name == "--defaults-group-suffix"
}

/// An argument `--name` or `--name=value`; anything else (`-uroot`, a value as a word of its own) is not understood.
fn setting(argument: &str) -> Option<Setting> {
    let option = argument.strip_prefix("--").filter(|option| !option.is_empty())?;
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (option, None),
    };
    Some(Setting { group: String::new(), name: name.to_owned(), value, place: None })
}

/// As `--help --verbose` of each server lists them. MariaDB's `galera` is left out: such a cluster is none of DRBD's.
fn groups_of(server: Server) -> Vec<String> {
    let (names, version): (&[&str], _) = match server {
        Server::MariaDb(version) => (&["mysqld", "server", "mariadb", "mariadbd", "client-server"], version),
        Server::MySql(version) => (&["mysqld", "server"], version),
    };
    let mut groups: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    if let Some((major, minor)) = version {
        let versioned = names.iter().filter(|name| !["server", "client-server"].contains(name));
        groups.extend(versioned.map(|name| format!("{name}-{major}.{minor}")));
    }
    groups
}
