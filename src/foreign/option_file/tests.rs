#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// Files in memory: path → text.
struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }
}

impl Files for Memory {
    fn read(&self, file: &Path) -> Result<String, Unread> {
        self.0.get(file).cloned().ok_or(Unread::Absent)
    }

    fn names(&self, directory: &Path) -> Result<Vec<String>, String> {
        let names: Vec<String> = self
            .0
            .keys()
            .rev()
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        if names.is_empty() { Err("no such directory".to_owned()) } else { Ok(names) }
    }
}

fn load(files: &[(&str, &str)]) -> Options {
    Options::load(&[PathBuf::from(files[0].0)], &Memory::of(files))
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn values(text: &str) -> Vec<(String, Option<String>)> {
    load(&[("/my.cnf", text)]).settings.into_iter().map(|setting| (setting.name, setting.value)).collect()
}

/// What my_print_defaults printed for the same text.
#[test]
fn values_are_what_the_server_takes() {
    let value = |line: &str| values(&format!("[mysqld]\n{line}")).remove(0).1;
    let is = |line: &str, expected: &str| assert_eq!(value(line).as_deref(), Some(expected), "{line}");
    is(r#" a-b = "x # y" # c"#, "x # y");
    is("c=d ; e", "d ; e");
    is("f = 'it''s'", "it''s");
    is(r"i = a\sb\\c\qd\", r"a b\c\qd\");
    is("k=", "");
    is(r#"l = "unterminated # z"#, r#""unterminated # z"#);
    is(r"n=   'a\'b'   ", "a'b");
    is(r#"v="a" "b""#, r#"a" "b"#);
    is(r#"w="a\\""#, r"a\");
    is(r#"w2=""#, "\"");
    is(r#"w3="""#, "");
    is("  indented = 3\r", "3");
    assert_eq!(
        values("[mysqld]\n m # comment\nj\nx\ty=3"),
        [("m".to_owned(), None), ("j".to_owned(), None), ("x\ty".to_owned(), Some("3".to_owned()))]
    );
}

#[test]
fn the_last_line_of_all_chosen_groups_wins() {
    let options = load(&[(
        "/my.cnf",
        "[mariadb]\nport=1\n[MySQLd ]\nport=2\n[client]\nport=3\n[mariadb-10.6]\nport=4\n[ mysqld]\nport=5\n",
    )]);
    let found = options.get(&groups(&["mysqld", "mariadb"]), "port").unwrap();
    assert_eq!((found.text(), found.place.clone()), ("2", Some(Place::new("/my.cnf", 4))));
    let found = options.get(&groups(&["mysqld", "mariadb", "mariadb-10.6"]), "port").unwrap();
    assert_eq!(found.text(), "4");
    assert_eq!(options.all(&groups(&["mysqld", "mariadb"]), "port").len(), 2);
    assert_eq!(options.get(&groups(&["mysqld"]), "socket"), None);
    let last = options.last_group(&groups(&["mysqld", "mariadb"])).unwrap();
    assert_eq!(*last, ("MySQLd".to_owned(), Place::new("/my.cnf", 3)));
}

#[test]
fn names_have_two_spellings_and_prefixes() {
    let mysqld = groups(&["mysqld"]);
    let get = |line: &str, option| load(&[("/f", &format!("[mysqld]\n{line}"))]).get(&mysqld, option);
    assert_eq!(get("log-bin=x", "log_bin").unwrap().text(), "x");
    assert_eq!(get("log_bin=x", "log-bin").unwrap().text(), "x");
    assert_eq!(get("loose-innodb_x=1", "innodb_x").unwrap().boolean(), Some(true));
    assert_eq!(get("skip-log-bin", "log_bin").unwrap().boolean(), Some(false));
    assert_eq!(get("loose_disable_innodb_doublewrite", "innodb_doublewrite").unwrap().boolean(), Some(false));
    assert_eq!(get("enable-x", "x").unwrap().boolean(), Some(true));
    assert_eq!(get("skip-name-resolve", "skip_name_resolve").unwrap().boolean(), Some(true));
    assert_eq!(get("Port=1", "port"), None, "case matters");
}

#[test]
fn booleans_and_sizes() {
    for (text, expected) in [
        ("ON", Some(true)),
        ("true", Some(true)),
        ("1", Some(true)),
        ("Off", Some(false)),
        ("0", Some(false)),
    ] {
        assert_eq!(boolean(text), expected, "{text}");
    }
    assert_eq!((boolean("yes"), boolean("")), (None, None));
    for (text, expected) in [("128M", 128 << 20), ("1g", 1 << 30), ("0", 0), ("7", 7), ("2T", 2 << 40)] {
        assert_eq!(size(text), Some(expected), "{text}");
    }
    for text in ["", "M", "1.5G", "1MB", "-1", "99999999999999999999", "999E"] {
        assert_eq!(size(text), None, "{text}");
    }
}

#[test]
fn includes_are_read_where_they_stand() {
    let options = load(&[
        ("/etc/my.cnf", "[mysqld]\na=1\n!includedir /etc/my.cnf.d/\n!include /etc/one.cnf\na=4\n"),
        ("/etc/my.cnf.d/b.cnf", "[mysqld]\na=3\n"),
        ("/etc/my.cnf.d/a.cnf", "[mysqld]\na=2\n"),
        ("/etc/my.cnf.d/c.cnf.dpkg-old", "[mysqld]\na=9\n"),
        ("/etc/one.cnf", "[mysqld]\nb=1\n"),
    ]);
    let order: Vec<&str> = options.settings.iter().filter_map(|setting| setting.value.as_deref()).collect();
    assert_eq!(order, ["1", "2", "3", "1", "4"]);
    assert_eq!(options.files.len(), 4);
    assert!(options.problems.is_empty(), "{:?}", options.problems);
}

#[test]
fn a_loop_of_includes_ends() {
    let options = load(&[
        ("/a", "[mysqld]\nx=1\n!include /a\n!include /a\n!includedir /d\n"),
        ("/d/a.cnf", "!include /a\n"),
    ]);
    assert!(options.files.len() <= FILES_LIMIT);
    let problem = options.problems.iter().find(|problem| problem.what.contains("loop")).unwrap();
    assert_eq!(problem.line, Some(3));
    assert!(!problem.fatal);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let problem = |files: &[(&str, &str)]| load(files).problems.remove(0);
    let wrong = problem(&[("/a", "[mysqld]\nx=1\n[oops\ny=1\n")]);
    assert_eq!((wrong.to_string().as_str(), wrong.fatal), ("/a:3: a group without its `]`", true));
    assert!(problem(&[("/a", "x=1\n")]).fatal);
    assert!(problem(&[("/a", "!includedir /nowhere\n")]).fatal);
    assert!(!problem(&[("/a", "!include /nowhere\n")]).fatal);
    assert!(!problem(&[("/a", "!what /nowhere\n")]).fatal);
    assert!(load(&[("/a", "")]).problems.is_empty());
    assert!(Options::load(&["/missing".into()], &Memory::of(&[])).problems.is_empty());
}

#[test]
fn the_command_line_names_files_and_groups_and_wins() {
    let command = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    let startup =
        Startup::of(Server::MariaDb(Some((10, 11))), &command("/usr/sbin/mariadbd --datadir=/d -x"));
    assert_eq!(startup.files, [Path::new("/etc/my.cnf"), Path::new("/etc/mysql/my.cnf")]);
    assert!(startup.groups.contains(&"mariadbd-10.11".to_owned()), "{:?}", startup.groups);
    assert!(startup.groups.contains(&"client-server".to_owned()));
    let files = Memory::of(&[("/etc/my.cnf", "[mysqld]\ndatadir=/e\n")]);
    let found = Options::of(&startup, &files).get(&startup.groups, "datadir").unwrap();
    assert_eq!((found.text(), found.shown_place().as_str()), ("/d", "the command line"));

    let startup = Startup::of(
        Server::MySql(Some((8, 0))),
        &command("mysqld --defaults-file=/my --defaults-group-suffix=@2 --port=1 --defaults-file=/other"),
    );
    assert_eq!(startup.files, [Path::new("/my")]);
    assert!(
        startup.groups.contains(&"mysqld@2".to_owned()) && startup.groups.contains(&"mysqld-8.0".to_owned())
    );
    assert!(!startup.groups.contains(&"mariadb".to_owned()));
    let startup = Startup::of(Server::MySql(None), &command("mysqld --no-defaults --defaults-extra-file=/x"));
    assert_eq!(startup.files, [Path::new("/x")]);
}

/// The server's own reader on this text. Lines are at most 4095 bytes for it.
fn printed_defaults(text: &str) -> Option<Vec<String>> {
    let mut file = tempfile::Builder::new().suffix(".cnf").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let argument = format!("--defaults-file={}", file.path().display());
    let command = ["my_print_defaults", &argument, "mysqld"].map(str::to_owned);
    let finished = crate::node::command::run(&command, std::time::Duration::from_secs(10)).unwrap();
    finished.succeeded().then(|| finished.stdout.split_terminator('\n').map(str::to_owned).collect())
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(?s).{0,300}") {
        load(&[("/a", &text)]);
    }

    #[test]
    fn any_lines_are_survived(text in "([\\[\\]=#;!'\"\\\\ a-c\t-]{0,12}(\n|!include /a|\\[mysqld\\]\n)){0,12}") {
        load(&[("/a", &text)]);
    }

    #[test]
    fn plain_values_come_back(value in "[A-Za-z0-9/._:,-]{1,30}") {
        let mysqld = groups(&["mysqld"]);
        for line in [format!("a={value}"), format!("a = \"{value}\"  # x"), format!("a='{value}'")] {
            let options = load(&[("/a", &format!("[mysqld]\n{line}\n"))]);
            let found = options.get(&mysqld, "a").unwrap();
            prop_assert_eq!(found.text(), value.as_str());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    #[ignore = "needs my_print_defaults of MariaDB"]
    fn agrees_with_my_print_defaults(lines in prop::collection::vec("[\\[\\]=#;'\"\\\\ a-c\t-]{0,14}", 0..6)) {
        // Without a name before the `=` it reads what is in memory before the line.
        prop_assume!(!lines.iter().any(|line| line.trim_start().starts_with('=')));
        let text = format!("[mysqld]\n{}\n", lines.join("\n"));
        let options = load(&[("/a", &text)]);
        let fatal = options.problems.iter().any(|problem| problem.fatal);
        let ours: Vec<String> = options
            .settings
            .iter()
            .filter(|setting| setting.group == "mysqld")
            .map(|Setting { name, value, .. }| match value {
                Some(value) => format!("--{name}={value}"),
                None => format!("--{name}"),
            })
            .collect();
        let theirs = printed_defaults(&text);
        prop_assert_eq!(theirs.is_none(), fatal, "{}", text);
        if let Some(theirs) = theirs {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }
}
