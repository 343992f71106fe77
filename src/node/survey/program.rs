//! The server's program: its command line out of the unit, its version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::doctor::survey::{Flavour, Program, Unit};
use crate::node::command;
use crate::observation::Fact;

/// For `--version`: the program is some 25 MB and may come from a slow disk.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// The program's names.
const NAMES: [&str; 4] = ["mariadbd", "mysqld", "mysqld-debug", "mysqld-max"];

/// Asks the program for its version.
pub(super) fn look(command: &[String]) -> Fact<Program> {
    let Some(path) = command.first() else {
        return Fact::Unknown("the unit's command line names no mysqld or mariadbd".to_owned());
    };
    let words = [path.clone(), "--no-defaults".to_owned(), "--version".to_owned()];
    match command::run(&words, VERSION_LIMIT) {
        Ok(finished) => parse_version(path, &finished.stdout)
            .ok_or_else(|| format!("{path} --version prints no version: {}", finished.describe()))
            .into(),
        Err(error) => Fact::Unknown(error.to_string()),
    }
}

/// `mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)`.
fn parse_version(path: &str, text: &str) -> Option<Program> {
    let whole = text.split_once("Ver ")?.1.split_whitespace().next()?;
    let mut numbers = whole.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u16>());
    let mut number = || numbers.next()?.ok();
    let version = (number()?, number()?, number()?);
    let flavour =
        if text.to_ascii_lowercase().contains("mariadb") { Flavour::MariaDB } else { Flavour::MySQL };
    Some(Program { path: PathBuf::from(path), flavour, version, text: whole.to_owned() })
}

/// The server's own command line in a unit's `ExecStart`, without the shell around it and with the variables of the unit's
/// environment put in. Empty when it names no server.
pub(super) fn command_of(unit: &Unit) -> Vec<String> {
    let start = unit.get("ExecStart");
    let arguments = start.split_once("argv[]=").map_or(start, |(_, rest)| rest);
    let arguments = arguments.split_once(" ; ignore_errors=").map_or(arguments, |(words, _)| words);
    let environment = environment(unit);
    let mut words = arguments.split_whitespace().skip_while(|word| !is_server(word));
    let Some(program) = words.next() else { return Vec::new() };
    let mut command = vec![program.to_owned()];
    for word in words {
        match word.strip_prefix('$') {
            Some(name) => {
                let name = name.trim_start_matches('{').trim_end_matches('}');
                let value = environment.get(name).map(String::as_str).unwrap_or_default();
                command.extend(value.split_whitespace().map(str::to_owned));
            }
            None if word.starts_with("--") => command.push(word.to_owned()),
            None => {}
        }
    }
    command
}

fn is_server(word: &str) -> bool {
    word.starts_with('/')
        && Path::new(word)
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| NAMES.contains(&name))
}

/// The variables of `Environment=` and of the files that `EnvironmentFile=` names, the later ones winning.
fn environment(unit: &Unit) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for assignment in split_quoted(unit.get("Environment")) {
        if let Some((name, value)) = assignment.split_once('=') {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    for file in unit.get("EnvironmentFiles").lines().filter_map(|line| line.split(" (").next()) {
        let text = std::fs::read_to_string(file.trim()).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some((name, value)) = line.split_once('=') {
                let value = value.trim().trim_matches(['"', '\'']);
                found.insert(name.trim().to_owned(), value.to_owned());
            }
        }
    }
    found
}

/// Words between blanks, where quotes keep blanks together: `A=1 "B=x y"`.
fn split_quoted(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in text.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ' | '\t', None) => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()))
            }
            (c, _) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(start: &str, environment: &str) -> Unit {
        Unit::default().with("ExecStart", start).with("Environment", environment)
    }

    #[test]
    fn the_server_is_found_behind_debian_s_shell() {
        let start = "{ path=/bin/sh ; argv[]=/bin/sh -c set -f; [ ! -e /usr/bin/galera_recovery ] && VAR= ||   \
                     VAR=`/usr/bin/galera_recovery`; [ $? -eq 0 ] || exit 1;   exec /usr/sbin/mariadbd $MYSQLD_OPTS \
                     $_WSREP_NEW_CLUSTER $VAR ; ignore_errors=no ; start_time=[n/a] }";
        assert_eq!(command_of(&unit(start, "")), ["/usr/sbin/mariadbd"]);
        assert_eq!(
            command_of(&unit(start, "TZ=UTC \"MYSQLD_OPTS=--port=3307 --skip-log-bin\"")),
            ["/usr/sbin/mariadbd", "--port=3307", "--skip-log-bin"]
        );
    }

    #[test]
    fn other_units_are_understood() {
        let start = "{ path=/usr/sbin/mysqld ; argv[]=/usr/sbin/mysqld --defaults-file=/etc/a.cnf $MYSQLD_OPTS ; ignore_errors=no }";
        assert_eq!(command_of(&unit(start, "")), ["/usr/sbin/mysqld", "--defaults-file=/etc/a.cnf"]);
        assert!(command_of(&unit("{ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no }", "")).is_empty());
        assert!(command_of(&unit("", "")).is_empty());
    }

    #[test]
    fn versions_are_read() {
        let maria =
            parse_version("/x", "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu\n").unwrap();
        assert_eq!((maria.flavour, maria.version), (Flavour::MariaDB, (10, 11, 19)));
        assert_eq!(maria.text, "10.11.19-MariaDB-0+deb12u1");
        let mysql = parse_version("/x", "/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community)")
            .unwrap();
        assert_eq!((mysql.flavour, mysql.version), (Flavour::MySQL, (8, 0, 36)));
        assert_eq!(parse_version("/x", "Ver none"), None);
    }
}
