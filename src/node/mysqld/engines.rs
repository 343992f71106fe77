//! Engine totals as a server itself counts them.
//!
//! `information_schema` shows an account only the tables that it may see, so the account needs SELECT on everything: a partial
//! list could hide MyISAM. InnoDB's files come from its own tables there (which need PROCESS), because DATA_LENGTH leaves out
//! the free pages of a file: the sizes then are those that the offline scan finds.

mod connection;
mod innodb;
mod rows;

use std::fmt;
use std::path::{Path, PathBuf};

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use self::rows::{Row, Sum};
use crate::audit::EngineTotals;
use crate::failure::Failure;
use crate::node::credentials::{self, Credentials};

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A Unix socket on this host.
    Socket(PathBuf),
    /// A TCP port.
    Tcp {
        /// Host name or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Socket(path) => write!(out, "{}", path.display()),
            Server::Tcp { host, port } => write!(out, "{host}:{port}"),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    credentials: Option<Credentials>,
}

impl Account {
    /// The account in an option file; without one, root without a password, whom the server may know by the socket.
    ///
    /// # Errors
    /// The file is unfit.
    pub fn from_file(file: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { credentials: file.map(credentials::read).transpose()? })
    }

    fn user(&self) -> &str {
        self.credentials.as_ref().map_or("root", |credentials| credentials.user.as_str())
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The server's version.
    pub version: String,
    /// What its engines hold.
    pub totals: EngineTotals,
}

/// Which statements a server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    MariaDb,
    /// Up to 5.7.
    OldMySql,
    /// 8.0 and later.
    MySql,
}

impl Dialect {
    fn of(version: &str) -> Self {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if version.to_ascii_lowercase().contains("mariadb") {
            Self::MariaDb
        } else if major.is_some_and(|major| major >= 8) {
            Self::MySql
        } else {
            Self::OldMySql
        }
    }

    /// Limits for one statement, and no numbers from yesterday. A lock of somebody's ALTER TABLE is not waited for long.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::MariaDb => &["SET SESSION lock_wait_timeout = 5", "SET SESSION max_statement_time = 300"],
            Self::OldMySql => {
                &["SET SESSION lock_wait_timeout = 5", "SET SESSION max_execution_time = 300000"]
            }
            Self::MySql => &[
                "SET SESSION lock_wait_timeout = 5",
                "SET SESSION max_execution_time = 300000",
                "SET SESSION information_schema_stats_expiry = 0",
            ],
        }
    }
}

/// Asks the server, and keeps the `top` largest tables that are not crash-safe.
///
/// # Errors
/// It can't be reached, denies the account or shows it only a part of the tables, or does not answer in time.
pub fn totals(server: &Server, account: &Account, top: usize) -> Result<Found, Failure> {
    let mut connection = connection::open(server, account)?;
    let failed = |error: Error| connection::failure(server, account, &error);
    let version: String =
        connection.query_first("SELECT VERSION()").map_err(failed)?.unwrap_or_else(|| "unknown".to_owned());
    let dialect = Dialect::of(&version);
    sees_everything(&mut connection, server, account)?;
    for setting in dialect.settings() {
        // An old server may not know one of them.
        if let Err(error) = connection.query_drop(setting) {
            log::debug!("{setting}: {error}");
        }
    }

    // First, because MariaDB lists only the InnoDB files that it has opened since its start, and this opens all.
    let mut tables = Vec::new();
    for row in connection.query_iter(rows::QUERY).map_err(failed)? {
        tables.push(Row::from(row.map_err(failed)?));
    }
    let mut sum = Sum::new(top);
    let innodb = match innodb::Files::read(&mut connection, dialect) {
        Ok(files) => files,
        Err(error) if connection::is_denied(&error) => return Err(no_process(server, account, &error)),
        // Without InnoDB there are no such tables.
        Err(Error::MySqlError(error)) => {
            sum.note(format!("InnoDB's files are not known ({error}): its sizes leave out free pages"));
            innodb::Files::default()
        }
        Err(error) => return Err(failed(error)),
    };
    let here = data_directory_here(&mut connection, server).map_err(failed)?;
    for row in tables {
        sum.add(row, &innodb, here.as_deref());
    }
    Ok(Found { version, totals: sum.finish(&innodb) })
}

/// The data directory, when the server runs on this host: some sizes only the files tell.
fn data_directory_here(connection: &mut Conn, server: &Server) -> Result<Option<PathBuf>, Error> {
    let row: Option<(String, String)> = connection.query_first("SELECT @@datadir, @@hostname")?;
    let here = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(row
        .filter(|(_, host)| matches!(server, Server::Socket(_)) || *host == here)
        .map(|(datadir, _)| PathBuf::from(datadir)))
}

/// An account without SELECT on everything sees fewer tables than there are.
fn sees_everything(connection: &mut Conn, server: &Server, account: &Account) -> Result<(), Failure> {
    let grants: Vec<String> =
        connection.query("SHOW GRANTS").map_err(|error| connection::failure(server, account, &error))?;
    if selects_everything(&grants) {
        return Ok(());
    }
    Err(Failure::failed(
        format!("the account {} on {server} may not see every table", account.user()),
        "information_schema leaves out what an account may not see: MyISAM tables would be missing from the count",
        format!("give it the privileges: GRANT SELECT, PROCESS ON *.* TO {}", account.user()),
    ))
}

fn selects_everything(grants: &[String]) -> bool {
    let everywhere = grants.iter().any(|grant| {
        let grant = grant.to_ascii_uppercase();
        grant.split_once(" ON *.* TO ").is_some_and(|(privileges, _)| {
            let privileges = privileges.trim_start_matches("GRANT ");
            privileges
                .split(',')
                .any(|privilege| matches!(privilege.trim(), "SELECT" | "ALL PRIVILEGES" | "ALL"))
        })
    });
    // MySQL takes single schemas away again.
    let revoked = grants.iter().any(|grant| {
        let grant = grant.to_ascii_uppercase();
        grant.starts_with("REVOKE") && grant.contains("SELECT")
    });
    everywhere && !revoked
}

fn no_process(server: &Server, account: &Account, error: &Error) -> Failure {
    Failure::failed(
        format!("the account {} on {server} may not see InnoDB's files: {error}", account.user()),
        "without their sizes the share of MyISAM would be too large",
        format!("give it the privilege: GRANT PROCESS ON *.* TO {}", account.user()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_dialect() {
        for (version, dialect) in [
            ("10.11.19-MariaDB-0+deb12u1", Dialect::MariaDb),
            ("5.7.44-log", Dialect::OldMySql),
            ("8.0.36", Dialect::MySql),
            ("9.7.4-2", Dialect::MySql),
        ] {
            assert_eq!(Dialect::of(version), dialect, "{version}");
        }
    }

    #[test]
    fn only_a_global_select_sees_everything() {
        let sees = |grants: &[&str]| {
            selects_everything(&grants.iter().map(|grant| (*grant).to_owned()).collect::<Vec<_>>())
        };
        assert!(sees(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]));
        assert!(sees(&["GRANT PROCESS, SELECT ON *.* TO 'a'@'%'"]));
        assert!(!sees(&["GRANT PROCESS ON *.* TO 'a'@'%'", "GRANT SELECT ON `app`.* TO 'a'@'%'"]));
        assert!(!sees(&["GRANT SELECT ON *.* TO 'a'@'%'", "REVOKE SELECT ON `secret`.* FROM 'a'@'%'"]));
        assert!(!sees(&["GRANT USAGE ON *.* TO 'SELECT'@'%'"]));
        assert!(!sees(&[]));
    }
}
