//! What a running server says of itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::{connect, datadir, handshake};
use crate::node::credentials::Credentials;
use crate::observation::MysqldAnswer;

/// More data files outside the data directory are not told.
const FILES: usize = 1000;

/// What it said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Its global variables, their names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Those that SET GLOBAL has changed, with their compiled defaults where the server knows them.
    pub set_at_run_time: BTreeMap<String, Option<String>>,
    /// What SET PERSIST has stored.
    pub persisted: BTreeMap<String, String>,
    /// InnoDB's data files with an absolute path.
    pub data_files: Vec<PathBuf>,
}

/// Why it said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It denies the account.
    Login(String),
    /// Anything else.
    Other(String),
}

/// Whether a server answers on the socket.
pub fn answers(socket: &Path, limit: Duration) -> bool {
    let socket = socket.to_owned();
    let answer = datadir::within(limit, move || handshake::handshake(&socket, limit));
    answer.is_some_and(|answer| answer != MysqldAnswer::Silent)
}

/// Asks over the socket, and over TCP when the account may not come that way.
///
/// # Errors
/// It denies the account, or does not answer within the limit.
pub fn ask(
    socket: &Path,
    (vip, port): (Ipv4Addr, u16),
    account: &Credentials,
    limit: Duration,
) -> Result<Told, Refusal> {
    asked(socket, (vip, port), account, limit, tell)
}

/// Has a connection answer questions within the limit, in a thread that is left behind when it does not.
pub(super) fn asked<T: Send + 'static>(
    socket: &Path,
    (vip, port): (Ipv4Addr, u16),
    account: &Credentials,
    limit: Duration,
    questions: impl FnOnce(&mut Conn) -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    let (socket, account) = (socket.to_owned(), account.clone());
    datadir::within(limit, move || {
        let connection = connect::over_socket_or_address(&socket, (vip, port), &account, limit);
        let mut connection = connection.map_err(|error| match error {
            Error::MySqlError(error) => Refusal::Login(error.to_string()),
            other => Refusal::Other(other.to_string()),
        })?;
        questions(&mut connection).map_err(|error| Refusal::Other(error.to_string()))
    })
    .unwrap_or_else(|| Err(Refusal::Other(format!("it did not answer within {} s", limit.as_secs()))))
}

fn tell(connection: &mut Conn) -> Result<Told, Error> {
    let pairs: Vec<(String, Option<String>)> = connection.query("SHOW GLOBAL VARIABLES")?;
    let variables: BTreeMap<String, String> = pairs
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.unwrap_or_default()))
        .collect();
    let maria =
        variables.get("version").is_some_and(|version| version.to_ascii_lowercase().contains("mariadb"));
    // What one version does not have, or the account may not see, is left out: the variables are what matters most.
    let (set_at_run_time, persisted, data_files) = if maria {
        (
            connection.query(
                "SELECT LOWER(VARIABLE_NAME), DEFAULT_VALUE FROM information_schema.SYSTEM_VARIABLES \
                 WHERE GLOBAL_VALUE_ORIGIN = 'SQL'",
            ),
            Ok(Vec::new()),
            first_of(
                connection,
                &[
                    "SELECT FILENAME FROM information_schema.INNODB_SYS_TABLESPACES WHERE FILENAME LIKE '/%'",
                    "SELECT PATH FROM information_schema.INNODB_SYS_DATAFILES WHERE PATH LIKE '/%'",
                ],
            ),
        )
    } else {
        (
            // What the server set by itself in its start (foreign_key_checks) has no user.
            connection.query(
                "SELECT LOWER(VARIABLE_NAME), NULL FROM performance_schema.variables_info \
                 WHERE VARIABLE_SOURCE = 'DYNAMIC' AND SET_USER IS NOT NULL",
            ),
            connection.query(
                "SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM performance_schema.persisted_variables",
            ),
            first_of(
                connection,
                &[
                    "SELECT PATH FROM information_schema.INNODB_DATAFILES WHERE PATH LIKE '/%'",
                    "SELECT PATH FROM information_schema.INNODB_SYS_DATAFILES WHERE PATH LIKE '/%'",
                ],
            ),
        )
    };
    let persisted: Vec<(String, String)> = persisted.unwrap_or_default();
    let set: Vec<(String, Option<String>)> = set_at_run_time.unwrap_or_default();
    Ok(Told {
        variables,
        set_at_run_time: set.into_iter().collect(),
        persisted: persisted.into_iter().collect(),
        data_files,
    })
}

/// The answer to the first of these questions that the server understands.
fn first_of(connection: &mut Conn, queries: &[&str]) -> Vec<PathBuf> {
    for query in queries {
        let answer: Result<Vec<String>, Error> = connection.query(format!("{query} LIMIT {FILES}"));
        if let Ok(paths) = answer {
            return paths.into_iter().map(PathBuf::from).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_answers_where_there_is_no_socket() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!answers(&directory.path().join("no.sock"), Duration::from_secs(1)));
    }
}
