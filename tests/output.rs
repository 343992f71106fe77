//! Output that is cut off is no success, and a reader that went away is no failure.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};

/// An audit of a data directory with one table of the server.
fn audit(datadir: &std::path::Path) -> Command {
    fs::create_dir(datadir.join("mysql")).unwrap();
    fs::write(datadir.join("mysql/db.MYI"), [0; 2048]).unwrap();
    fs::write(datadir.join("mysql/db.MYD"), []).unwrap();
    fs::write(datadir.join("ibdata1"), [0; 4096]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_standin"));
    command.arg("audit").arg("--datadir").arg(datadir).stderr(Stdio::piped());
    command
}

#[test]
fn a_full_disk_fails() {
    let directory = tempfile::tempdir().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = audit(directory.path()).stdout(full).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
}

#[test]
fn a_reader_that_went_away_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = audit(directory.path()).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
