//! A real server of either product, of a test's own.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

/// More than a start, a stop or a crash recovery needs here.
const LONG: Duration = Duration::from_secs(180);
/// What the largest data directory needs, with room to convert tables.
const ROOM: u64 = 4 << 30;
/// A schema whose directory is a symbolic link. MySQL 8 and later have none.
pub(crate) const LINKED: &str = "linked";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    MariaDb,
    MySql,
}

/// Killed at the end of the test.
pub(crate) struct Server {
    pub(crate) product: Product,
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// A data directory as it is after the installation.
    pub(crate) fn installed(product: Product) -> Self {
        let memory = Path::new("/dev/shm");
        let enough = statvfs(memory).is_ok_and(|free| free.blocks_available() * free.fragment_size() > ROOM);
        let directory = if enough { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { product, directory, port, child: None };
        fs::create_dir(server.outside()).unwrap();
        let mut command = match product {
            Product::MariaDb => Command::new("mariadb-install-db"),
            Product::MySql => Command::new(mysqld()),
        };
        match product {
            Product::MariaDb => command.args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-buffer-pool-size-max=128M",
            ]),
            Product::MySql => command.arg("--initialize-insecure"),
        };
        let output = command.args(server.common()).output().expect("tests/setup was not run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if product == Product::MariaDb {
            let target = server.directory.path().join("elsewhere");
            fs::create_dir(&target).unwrap();
            symlink(&target, server.datadir().join(LINKED)).unwrap();
        }
        server
    }

    pub(crate) fn datadir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where tables with a `DATA DIRECTORY` go.
    pub(crate) fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A file beside the data directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The options of an installation and of a start.
    fn common(&self) -> Vec<String> {
        let mut options = vec![
            format!("--datadir={}", self.datadir().display()),
            // Two installations at a time take the same names for their temporary tables.
            format!("--tmpdir={}", self.directory.path().display()),
            "--innodb-buffer-pool-size=128M".into(),
        ];
        options.push(match self.product {
            Product::MariaDb => "--innodb-log-file-size=96M".into(),
            Product::MySql => "--innodb-redo-log-capacity=128M".into(),
        });
        if Uid::effective().is_root() {
            options.push("--user=root".into());
        }
        options
    }

    /// Starts it and waits until it lets root in.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = match self.product {
            Product::MariaDb => Command::new("mariadbd"),
            Product::MySql => Command::new(mysqld()),
        };
        match self.product {
            Product::MariaDb => command.args([
                "--no-defaults",
                concat!("--plugin-dir=", env!("CARGO_MANIFEST_DIR"), "/target/programs/mariadb-plugins"),
                "--plugin-load-add=ha_archive",
                "--plugin-load-add=ha_blackhole",
                "--innodb-doublewrite=0",
                "--innodb-buffer-pool-size-max=128M",
            ]),
            Product::MySql => command
                .args([
                    "--mysqlx=OFF",
                    "--secure-file-priv=",
                    "--skip-log-bin",
                    "--innodb-doublewrite=OFF",
                    "--symbolic-links",
                ])
                .arg(format!("--innodb-directories={}", self.outside().display())),
        };
        let log = self.directory.path().join("error.log");
        let child = command
            .args(self.common())
            .args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}/pid", self.directory.path().display()))
            .arg(format!("--log-error={}", log.display()))
            .arg(format!("--port={}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/setup was not run");
        self.child = Some(child);
        let deadline = Instant::now() + LONG;
        while self.try_connect().is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            let text = || fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "no connection, {ended:?}:\n{}", text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn try_connect(&self) -> mysql::Result<Conn> {
        let socket = self.socket().to_str().map(str::to_owned);
        Conn::new(OptsBuilder::new().socket(socket).user(Some("root")))
    }

    /// As root.
    pub(crate) fn connect(&self) -> Conn {
        self.try_connect().unwrap()
    }

    /// Runs statements that must all succeed.
    pub(crate) fn run<S: AsRef<str>>(&self, statements: impl IntoIterator<Item = S>) {
        let mut connection = self.connect();
        for statement in statements {
            let statement = statement.as_ref();
            connection.query_drop(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The clean shutdown (SIGTERM), or the crash (SIGKILL).
    pub(crate) fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let deadline = Instant::now() + LONG;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end after {signal}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn mysqld() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/mysql/mysqld")
}
