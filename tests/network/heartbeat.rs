//! Killing Heartbeat, with processes that only look like it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use standin::node::Change;
use standin::node::heartbeat;
use standin::observation::Fact;

use crate::namespaces::{attempt, eventually};

/// A master with two children of the same name and a resource script, in a process group that ends with the test.
struct Fake {
    master: Child,
    script: Pid,
}

impl Fake {
    fn start(directory: &Path) -> Self {
        let shell = copy("/bin/sh", &directory.join("libexec/heartbeat"));
        let child = copy("/bin/sleep", &directory.join("lib/heartbeat"));
        let script = copy("/bin/sleep", &directory.join("resource-script"));
        let mut master = Command::new(shell)
            .arg("-c")
            .arg("\"$0\" 600 >&- & \"$0\" 600 >&- & \"$1\" 600 >&- & echo $!; exec >&-; wait; :")
            .args([child, script])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(master.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { master, script: Pid::from_raw(line.trim().parse().unwrap()) }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.master.id().cast_signed()), Signal::SIGKILL);
        let _ = self.master.wait();
    }
}

fn copy(program: &str, to: &Path) -> PathBuf {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(program, to).unwrap();
    to.to_path_buf()
}

fn pids() -> Vec<i32> {
    match heartbeat::observe() {
        Fact::Known(state) => state.pids,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

#[test]
#[ignore = "needs root"]
fn the_master_and_its_children_are_killed_and_nobody_else() {
    assert!(pids().is_empty(), "a real heartbeat runs here, and this test would kill it");
    let limit = Duration::from_secs(10);
    assert_eq!(heartbeat::kill(&attempt(limit)).unwrap().change, Change::AlreadySo);

    let directory = tempfile::tempdir().unwrap();
    let mut fake = Fake::start(directory.path());
    // A child has its own executable only once it has called exec.
    eventually("the children run", || pids().len() == 3 && exists(fake.script, "resource-script"));
    assert_eq!(pids().first(), Some(&fake.master.id().cast_signed()), "the master comes first");

    let applied = heartbeat::kill(&attempt(limit)).unwrap();
    assert_eq!(applied.change, Change::Done);
    assert!(pids().is_empty());
    assert!(fake.master.try_wait().unwrap().is_some(), "the master has ended");
    assert!(kill(fake.script, None).is_ok() && exists(fake.script, "resource-script"), "the script survives");
    assert_eq!(heartbeat::kill(&attempt(limit)).unwrap().change, Change::AlreadySo);
}

fn exists(pid: Pid, name: &str) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|executable| executable.ends_with(name))
}
