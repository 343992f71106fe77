//! `standin fence-peer` as drbdadm runs it: whatever goes wrong, its exit code lets nobody write.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What DRBD calls a broken handler: I/O stays frozen. 3, 4, 5 and 7 would let it go on.
const NOT_KNOWN: Option<i32> = Some(1);

const CLUSTER: &str = include_str!("cli/commands.in/orders.yaml");

/// Nothing in the environment but what the kernel and drbdadm put there.
fn handler(directory: &Path, command: &str, resource: Option<&str>) -> Output {
    let mut handler = Command::new(env!("CARGO_BIN_EXE_standin"));
    handler
        .arg(command)
        .env_clear()
        .env("HOME", "/")
        .env("TERM", "linux")
        .env("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
        .env("STANDIN_CONFIG_DIR", directory)
        .env("STANDIN_STATE_DIR", directory.join("state"))
        .env("STANDIN_RUN_DIR", directory.join("run"))
        .env("STANDIN_HOST", "node2")
        .stdin(Stdio::null());
    if let Some(resource) = resource {
        handler.env("DRBD_RESOURCE", resource);
    }
    handler.output().unwrap()
}

fn refuses(directory: &Path, resource: Option<&str>, reason: &str) {
    let output = handler(directory, "fence-peer", resource);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), NOT_KNOWN, "{said}");
    assert!(said.contains(reason), "{reason:?} is not in {said}");
}

fn journal(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join("state").join(format!("{name}.journal"))).unwrap_or_default()
}

#[test]
fn whatever_is_wrong_keeps_io_frozen() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    refuses(directory, None, "DRBD_RESOURCE is not in the environment");
    refuses(directory, Some(""), "DRBD_RESOURCE is not in the environment");
    refuses(directory, Some("orders"), "no cluster in");
    fs::write(directory.join("broken.yaml"), "nodes: [").unwrap();
    refuses(directory, Some("orders"), "broken.yaml");
    fs::write(directory.join("orders.yaml"), CLUSTER).unwrap();
    refuses(directory, Some("invoices"), "broken.yaml");
    fs::remove_file(directory.join("broken.yaml")).unwrap();
    refuses(directory, Some("invoices"), "no cluster in");
    fs::write(directory.join("again.yaml"), CLUSTER).unwrap();
    refuses(directory, Some("orders"), "several clusters have `drbd.resource: orders`: again, orders");
}

#[test]
fn closed_standard_streams_are_not_in_the_way() {
    let script = format!("exec {} fence-peer <&- >&- 2>&-", env!("CARGO_BIN_EXE_standin"));
    let status = Command::new("/bin/sh").args(["-c", &script]).env_clear().status().unwrap();
    assert_eq!(status.code(), NOT_KNOWN);
}

#[test]
fn the_cluster_is_found_by_its_resource_and_the_answer_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(directory.join("broken.yaml"), "nodes: [").unwrap();
    fs::write(directory.join("orders.yaml"), CLUSTER).unwrap();
    fs::write(directory.join("other.yaml"), CLUSTER.replace("resource: orders", "resource: other")).unwrap();
    // This machine has no DRBD device of that name.
    let output = handler(directory, "fence-peer", Some("other"));
    assert_eq!(output.status.code(), NOT_KNOWN, "{output:?}");
    let entry: serde_json::Value = serde_json::from_str(journal(directory, "other").trim()).unwrap();
    assert_eq!(entry["event"], "fence-peer-answered");
    assert_eq!(entry["answer"], "not-known");
    assert_eq!(journal(directory, "orders"), "");

    let output = handler(directory, "unfence-peer", Some("orders"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(journal(directory, "orders").contains("peer-unfenced"));
}

#[test]
fn a_wrong_command_line_keeps_io_frozen() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_standin")).args(["fence-peer", "--force"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
