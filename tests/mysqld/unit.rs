//! The unit's side of start and stop, with a script in the place of systemctl (in mounts of this test's own).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use standin::failure::{Failure, FailureKind};
use standin::node::{Applied, Change, mysqld};
use standin::plan::{MysqldControl, shell_words};

use crate::server::{LONG, Server, own_mounts};

/// A server whose unit is the script; `start` is what `systemctl start` does.
struct Unit(Server);

impl Unit {
    fn new(server: Server, start: &str) -> Self {
        own_mounts();
        let directory = server.directory.path().display();
        let script = server.directory.path().join("systemctl");
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> {directory}/calls\ncase $1 in\n\
             start) {start} ;;\nstop) printf 'ActiveState=inactive\\n' > {directory}/state ;;\n\
             show) cat {directory}/state ;;\nesac\n"
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        mount(Some(&script), "/usr/bin/systemctl", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let unit = Self(server);
        unit.state("ActiveState=inactive");
        unit
    }

    fn state(&self, text: &str) {
        fs::write(self.0.directory.path().join("state"), format!("LoadState=loaded\n{text}\n")).unwrap();
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.0.directory.path().join("calls")).unwrap_or_default()
    }

    fn control() -> MysqldControl {
        MysqldControl::Unit("mariadb.service".into())
    }

    fn start(&self, limit: Duration) -> Result<Applied, Failure> {
        self.0.start_as(&Self::control(), limit)
    }

    fn stop(&self) -> Result<Applied, Failure> {
        let attempt = self.0.attempt(LONG);
        mysqld::stop(&Self::control(), &self.0.datadir(), Some(&self.0.error_log()), true, &attempt)
    }
}

#[test]
#[ignore = "needs mariadbd, root and systemctl"]
fn a_start_runs_systemctl_start_once() {
    let server = Server::installed();
    let MysqldControl::Command(command) = server.control() else { unreachable!() };
    let state = server.directory.path().join("state");
    let start = format!(
        "echo ActiveState=active > {}; setsid {} > /dev/null 2>&1 &",
        state.display(),
        shell_words(&command)
    );
    let unit = Unit::new(server, &start);
    assert_eq!(unit.start(LONG).unwrap().change, Change::Done);
    assert_eq!(unit.calls(), "start -- mariadb.service\n");
    assert_eq!(unit.start(LONG).unwrap().change, Change::AlreadySo);
    // It is not in the unit's control group, so that SIGTERM is what stops it.
    assert_eq!(unit.stop().unwrap().change, Change::Done);
    assert_eq!(unit.calls().lines().filter(|call| call.starts_with("start")).count(), 1);
    assert!(unit.0.pids().is_empty());
}

#[test]
#[ignore = "needs mariadbd, root and systemctl"]
fn a_unit_whose_server_ends_or_never_comes_fails_before_its_limit() {
    let server = Server::installed();
    fs::remove_file(server.datadir().join("ib_logfile0")).unwrap();
    let MysqldControl::Command(command) = server.control() else { unreachable!() };
    let command = shell_words(&command);
    let failed = "ActiveState=failed\\nSubState=failed\\nResult=exit-code\\nLoadState=loaded\\n";
    let state = server.directory.path().join("state");
    let start = format!(
        "{command} > /dev/null 2>&1; printf '{failed}' > {0}.new; mv {0}.new {0}; exit 1",
        state.display()
    );
    let unit = Unit::new(server, &start);
    let begun = Instant::now();
    let failure = unit.start(LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.seen.contains("failed (failed), result exit-code"), "{failure}");
    assert!(failure.seen.contains("ib_logfile0 was not found"), "{failure}");
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
}

#[test]
#[ignore = "needs root and systemctl"]
fn a_unit_that_is_refused_fails_with_what_systemctl_said() {
    let server = Server::new();
    fs::create_dir_all(server.datadir().join("mysql")).unwrap();
    let unit = Unit::new(server, "exit 1");
    unit.state("ActiveState=inactive\nSubState=dead\nLoadState=masked");
    let failure = unit.start(LONG).unwrap_err();
    assert!(failure.seen.contains("masked") && failure.next.contains("systemctl status"), "{failure}");
}

#[test]
#[ignore = "needs root and systemctl"]
fn a_unit_that_would_start_later_is_cancelled() {
    let unit = Unit::new(Server::new(), ":");
    assert_eq!(unit.stop().unwrap().change, Change::AlreadySo);
    unit.state("ActiveState=activating\nSubState=auto-restart");
    assert_eq!(unit.stop().unwrap().change, Change::Done);
    assert!(unit.calls().contains("stop --no-block -- mariadb.service"));
}
