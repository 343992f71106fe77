//! Rules of the layout that the compiler does not check.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn files_with(needles: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found: Vec<String> = sources(&root)
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            needles.iter().any(|needle| text.contains(needle))
        })
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn decisions_plans_and_verdicts_never_touch_the_machine() {
    let pure = |file: &String| {
        ["decide", "forecast", "init", "plan.rs", "audit/verdict.rs"]
            .iter()
            .any(|begin| file.starts_with(begin))
    };
    let impure =
        ["crate::node", "std::fs", "std::process", "std::net::Tcp", "SystemTime", "Instant", "thread::"];
    let offenders: Vec<String> = files_with(&impure).into_iter().filter(pure).collect();
    assert!(offenders.is_empty(), "{offenders:?}");
    assert!(files_with(&["fn judge"]).iter().any(pure), "the rule looks at the right files");
}

#[test]
fn one_module_spawns_processes() {
    let spawning = files_with(&["process::Command", "duct::"]);
    assert!(spawning.iter().all(|file| file.starts_with("node/command")), "{spawning:?}");
    assert!(!spawning.is_empty());
}

#[test]
fn one_module_speaks_netlink_and_one_speaks_sql() {
    let netlink = files_with(&["netlink_packet", "netlink_sys"]);
    assert!(
        !netlink.is_empty() && netlink.iter().all(|file| file.starts_with("node/address")),
        "{netlink:?}"
    );
    let sql = files_with(&["use mysql::", "mysql::Conn"]);
    assert!(!sql.is_empty() && sql.iter().all(|file| file.starts_with("node/mysqld")), "{sql:?}");
}

#[test]
fn files_stay_small() {
    for directory in ["src", "tests"] {
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 550, "{} has {lines} lines", path.display());
        }
    }
}
