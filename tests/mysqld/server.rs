//! A MariaDB server of a test's own.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use standin::config::{MountConfig, MysqldConfig};
use standin::failure::Failure;
use standin::node::{Applied, Attempt, Progress, mysqld, processes};
use standin::observation::{Fact, Mysqld};
use standin::plan::MysqldControl;

/// More than anything here needs.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server of the test's own, killed at the end of the test.
pub(crate) struct Server {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) port: u16,
    /// The server's last options, which override those before them.
    pub(crate) options: Vec<String>,
    lines: Arc<Mutex<Vec<String>>>,
}

struct Lines(Arc<Mutex<Vec<String>>>);

impl Progress for Lines {
    fn report(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { directory, port, options: Vec::new(), lines: Arc::default() }
    }

    pub(crate) fn installed() -> Self {
        let server = Self::new();
        let output = Command::new("mariadb-install-db")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", server.datadir().display()))
            .args(server.user())
            .arg(server.tmpdir())
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-buffer-pool-size-max=128M"])
            .args(["--innodb-log-file-size=96M"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server
    }

    /// mariadbd refuses to run as root unless it is told to.
    pub(crate) fn user(&self) -> Option<&'static str> {
        Uid::effective().is_root().then_some("--user=root")
    }

    /// Two installations at a time take the same names for their temporary tables.
    pub(crate) fn tmpdir(&self) -> String {
        format!("--tmpdir={}", self.directory.path().display())
    }

    pub(crate) fn datadir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn error_log(&self) -> PathBuf {
        self.directory.path().join("error.log")
    }

    pub(crate) fn control(&self) -> MysqldControl {
        let mut command = vec!["mariadbd".to_owned(), "--no-defaults".to_owned()];
        command.extend(self.user().map(str::to_owned));
        command.push(self.tmpdir());
        command.push(format!("--datadir={}", self.datadir().display()));
        command.push(format!("--socket={}", self.socket().display()));
        command.push(format!("--log-error={}", self.error_log().display()));
        command.push(format!("--pid-file={}/pid", self.directory.path().display()));
        command.push(format!("--port={}", self.port));
        for option in [
            "--bind-address=127.0.0.1",
            "--innodb-buffer-pool-size=64M",
            // Without it the server maps 8 TiB, which fails where address space is limited.
            "--innodb-buffer-pool-size-max=128M",
            "--innodb-log-file-size=96M",
            // Leaves as much as possible to crash recovery.
            "--innodb-max-dirty-pages-pct=99",
        ] {
            command.push(option.to_owned());
        }
        command.extend(self.options.iter().cloned());
        MysqldControl::Command(command)
    }

    pub(crate) fn attempt(&self, limit: Duration) -> Attempt {
        self.lines.lock().unwrap().clear();
        Attempt::new(limit, Box::new(Lines(Arc::clone(&self.lines))))
    }

    pub(crate) fn start(&self, limit: Duration) -> Result<Applied, Failure> {
        self.start_as(&self.control(), limit)
    }

    pub(crate) fn start_as(&self, control: &MysqldControl, limit: Duration) -> Result<Applied, Failure> {
        let attempt = self.attempt(limit);
        mysqld::start(control, &self.datadir(), &self.socket(), Some(&self.error_log()), &attempt)
    }

    pub(crate) fn stop(&self, limit: Duration, kill_at_deadline: bool) -> Result<Applied, Failure> {
        let attempt = self.attempt(limit);
        mysqld::stop(&self.control(), &self.datadir(), Some(&self.error_log()), kill_at_deadline, &attempt)
    }

    pub(crate) fn config(&self, credentials: Option<PathBuf>) -> MysqldConfig {
        MysqldConfig {
            control: self.control(),
            datadir: self.datadir(),
            socket: self.socket(),
            port: self.port,
            error_log: Some(self.error_log()),
            credentials,
            read_only: false,
            kill_at_deadline: true,
        }
    }

    pub(crate) fn observe(&self) -> Mysqld {
        let mount = MountConfig {
            device: device_of(self.directory.path()),
            directory: self.directory.path().to_path_buf(),
            filesystem: "ext4".into(),
            options: Vec::new(),
        };
        match mysqld::observe(&self.config(None), &mount) {
            Fact::Known(mysqld) => mysqld,
            Fact::Unknown(cause) => panic!("{cause}"),
        }
    }

    pub(crate) fn pids(&self) -> Vec<i32> {
        let datadir = self.datadir();
        let on_datadir = |process: &processes::Process| process.cwd.as_deref() == Some(datadir.as_path());
        processes::mysqld_processes()
            .unwrap()
            .into_iter()
            .filter(on_datadir)
            .map(|process| process.pid)
            .collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    }

    pub(crate) fn connect(&self) -> Conn {
        let socket = self.socket().to_str().unwrap().to_owned();
        Conn::new(OptsBuilder::new().socket(Some(socket)).user(Some("root"))).unwrap()
    }

    pub(crate) fn crash_with_load(&self) {
        self.load();
        self.crash();
    }

    /// Writes rows that are in the redo log and not yet in the tables.
    pub(crate) fn load(&self) {
        let mut connection = self.connect();
        connection.query_drop("CREATE DATABASE IF NOT EXISTS app").unwrap();
        connection.query_drop("CREATE TABLE IF NOT EXISTS app.t (id SERIAL, a VARCHAR(500))").unwrap();
        connection
            .query_drop("INSERT INTO app.t (a) SELECT REPEAT('x', 400) FROM app.seq_1_to_100000")
            .unwrap();
    }

    pub(crate) fn crash(&self) {
        self.signal(Signal::SIGKILL);
        self.wait_until("the killed server is gone", || self.pids().is_empty());
    }

    pub(crate) fn wait_until(&self, what: &str, reached: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !reached() {
            assert!(Instant::now() < deadline, "{what} did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn said(&self, part: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// A credentials file; every account's password is "secret".
pub(crate) fn write_account(server: &Server, user: &str) -> PathBuf {
    let file = server.directory.path().join("account.cnf");
    fs::write(&file, format!("[client]\nuser={user}\npassword=secret\n")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file
}

/// The block device of a file system, as a node of the test's own when udev made none.
pub(crate) fn device_of(path: &Path) -> PathBuf {
    let device = fs::metadata(path).unwrap().dev();
    let (major, minor) = (nix::libc::major(device), nix::libc::minor(device));
    let uevent = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")).unwrap_or("null");
    Path::new("/dev").join(name)
}

/// From here on the mounts are this thread's own, and those of what it starts.
pub(crate) fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}
