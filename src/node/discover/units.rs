//! systemd services that run a MySQL or MariaDB server, and what its option files say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::read;
use crate::foreign::option_file::{Options, Server, Startup};
use crate::foreign::unit_file::{exec_start, without_shell};
use crate::init::Unit;
use crate::node::command;
use crate::node::option_files::OnDisk;

/// Where units are, the first wins (systemd.unit(5)).
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// `--version` and `--verbose --help` start no server; seconds are for a machine that swaps.
const PROGRAM_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn look(problems: &mut Vec<String>) -> Vec<Unit> {
    let directories: Vec<&Path> = DIRECTORIES.iter().map(Path::new).collect();
    let found = services(&directories, problems);
    found.into_iter().map(|(name, file, command)| unit(name, file, command, problems)).collect()
}

/// Name, file and command line of every service that runs a server.
fn services(directories: &[&Path], problems: &mut Vec<String>) -> Vec<(String, PathBuf, Vec<String>)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = entries.collect();
        files.sort();
        for file in files {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
            // A template has no server of its own; its instances are links to it or have names of their own.
            if !name.ends_with(".service") || name.contains("@.") || !seen.insert(name.to_owned()) {
                continue;
            }
            if let Some(command) = server_command(&file, name, directories, problems) {
                found.push((name.to_owned(), file, command));
            }
        }
    }
    found
}

fn server_command(
    file: &Path,
    name: &str,
    directories: &[&Path],
    problems: &mut Vec<String>,
) -> Option<Vec<String>> {
    // A link to another name is an alias, and one to /dev/null a masked unit.
    let target = fs::canonicalize(file).ok()?;
    let own = |target: &Path| target.file_name().is_some_and(|target| *target == *name);
    if !target.is_file() || !own(&target) && !name.contains('@') {
        return None;
    }
    let text = read(&file.to_string_lossy(), problems)?;
    // Most of a machine's services, without a look for drop-ins.
    if !text.contains("mysqld") && !text.contains("mariadbd") {
        return None;
    }
    let mut texts = vec![text];
    texts.extend(
        drop_ins(name, directories).iter().filter_map(|file| read(&file.to_string_lossy(), problems)),
    );
    let is_one_of =
        |word: &str, names: &[&str]| word.rsplit('/').next().is_some_and(|name| names.contains(&name));
    let is_server = |word: &str| is_one_of(word, &["mysqld", "mariadbd", "mysqld-debug"]);
    let is_safe = |word: &str| is_one_of(word, &["mysqld_safe", "mariadbd-safe"]);
    let command = exec_start(texts.iter().map(String::as_str))?;
    let command = without_shell(command, |word| is_server(word) || is_safe(word));
    let program = command.first()?;
    if is_server(program) {
        return Some(command);
    }
    if is_safe(program) {
        problems.push(format!(
            "{name} runs {program}, which starts a server again behind standin's back; give it a unit that runs the \
             server itself"
        ));
    }
    None
}

/// A drop-in of a name is read once, from the first directory that has it; all are read in the order of their names.
fn drop_ins(unit: &str, directories: &[&Path]) -> Vec<PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in directories {
        let entries = fs::read_dir(directory.join(format!("{unit}.d"))).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".conf") {
                found.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    found.into_values().collect()
}

fn unit(name: String, file: PathBuf, command: Vec<String>, problems: &mut Vec<String>) -> Unit {
    let program = PathBuf::from(command.first().cloned().unwrap_or_default());
    let startup = Startup::of(server(&program, problems), &command);
    let options = Options::of(&startup, &OnDisk);
    problems.extend(options.problems.iter().map(ToString::to_string));
    let mut unit = Unit { name, file, program, options, groups: startup.groups, built_in: BTreeMap::new() };
    if ["socket", "datadir"].iter().any(|option| unit.option(option).is_none()) {
        unit.built_in = built_in(&unit.program, problems);
    }
    unit
}

fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = vec![program.to_string_lossy().into_owned()];
    command.extend(arguments.iter().map(|&argument| argument.to_owned()));
    let finished = command::run(&command, PROGRAM_LIMIT).map_err(|error| error.to_string())?;
    if finished.succeeded() { Ok(finished.stdout) } else { Err(finished.describe()) }
}

fn server(program: &Path, problems: &mut Vec<String>) -> Server {
    match ask(program, &["--no-defaults", "--version"]) {
        Ok(text) => server_of(&text),
        Err(error) => {
            problems.push(error);
            Server::MySql(None)
        }
    }
}

/// Of `mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for …` or `/usr/sbin/mysqld  Ver 8.0.36 for …`.
fn server_of(text: &str) -> Server {
    let version = text.split_once("Ver ").map_or("", |(_, rest)| rest);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u16>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    if text.contains("MariaDB") { Server::MariaDb(version) } else { Server::MySql(version) }
}

fn built_in(program: &Path, problems: &mut Vec<String>) -> BTreeMap<String, String> {
    match ask(program, &["--no-defaults", "--verbose", "--help"]) {
        Ok(text) => variables(&text),
        Err(error) => {
            problems.push(error);
            BTreeMap::new()
        }
    }
}

/// The table at the end of `--verbose --help`: a name, blanks, a value.
fn variables(text: &str) -> BTreeMap<String, String> {
    let Some((_, table)) = text.rsplit_once("\n----") else { return BTreeMap::new() };
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    let row = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        let value = value.trim();
        (value != "(No default value)").then(|| (name.replace('-', "_"), value.to_owned()))
    };
    rows.filter_map(row).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn services_that_run_a_server() {
        let directory = tempfile::tempdir().unwrap();
        let [etc, lib] = ["etc", "lib"].map(|name| directory.path().join(name));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let shell =
            "[Service]\nExecStart=/bin/sh -c \"[ -e /x ] && V=`/x`; \\\n exec /usr/sbin/mariadbd $V\"\n";
        write(lib.join("debian.service"), shell);
        write(lib.join("mariadb.service"), "[Service]\nExecStart=/usr/sbin/mariadbd $MYSQLD_OPTS\n");
        write(lib.join("mariadb@.service"), "[Service]\nExecStart=/usr/sbin/mariadbd --x=%I\n");
        write(lib.join("old.service"), "[Service]\nExecStart=/usr/bin/mysqld_safe\n");
        write(lib.join("other.service"), "[Service]\nExecStart=/usr/bin/other # mysqld\n");
        write(lib.join("masked.service"), "[Service]\nExecStart=/usr/sbin/mysqld\n");
        symlink("mariadb.service", lib.join("mysql.service")).unwrap();
        fs::create_dir_all(&etc).unwrap();
        symlink("/dev/null", etc.join("masked.service")).unwrap();
        symlink("/dev/null", etc.join("masked@1.service")).unwrap();
        let drop_in = "[Service]\nExecStart=\nExecStart=/usr/sbin/mariadbd --defaults-file=/b\n";
        write(etc.join("mariadb.service.d/b.conf"), drop_in);
        write(lib.join("mariadb.service.d/a.conf"), "[Service]\nExecStart=\nExecStart=/bin/a\n");
        let mut problems = Vec::new();
        let found = services(&[&etc, &lib], &mut problems);
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["debian.service", "mariadb.service"]);
        assert_eq!(found[0].2, ["/usr/sbin/mariadbd", "$V"]);
        assert_eq!(found[1].2, ["/usr/sbin/mariadbd", "--defaults-file=/b"]);
        assert!(problems.len() == 1 && problems[0].contains("old.service"), "{problems:?}");
    }

    #[test]
    fn servers_by_their_version() {
        let mariadb = "mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)\n";
        assert_eq!(server_of(mariadb), Server::MariaDb(Some((10, 11))));
        let mysql = "/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)\n";
        assert_eq!(server_of(mysql), Server::MySql(Some((8, 0))));
        assert_eq!(server_of("what"), Server::MySql(None));
    }

    #[test]
    fn variables_of_the_help() {
        let text = "usage\n--socket=name  x\n\nVariables (--variable-name=value)\nand boolean options {FALSE|TRUE}  Value \
                    (after reading options)\n------------------ -----\nsocket     /run/mysqld/mysqld.sock\nlog-error   \n\
                    basedir   (No default value)\ndata-dir  /d e\n\nTo see\nport 1\n";
        let found = variables(text);
        assert_eq!(found.get("socket").map(String::as_str), Some("/run/mysqld/mysqld.sock"));
        assert_eq!(found.get("data_dir").map(String::as_str), Some("/d e"));
        assert!(!found.contains_key("basedir") && !found.contains_key("port"), "{found:?}");
    }
}
