//! One session that is kept, and a query now and then: whether the server still works, for the price of one connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::connect;
use super::verify::{DENIED, FULL};
use crate::node::credentials;

/// What came of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It was answered.
    Yes,
    /// The server lives, and does not let this account in: in one sentence.
    NotLetIn(String),
    /// It failed: in one sentence.
    No(String),
}

/// A session over the server's socket.
pub struct Session {
    socket: PathBuf,
    credentials: PathBuf,
    connection: Option<Conn>,
}

impl Session {
    /// No connection is made before the first query.
    pub fn new(socket: &Path, credentials: &Path) -> Self {
        Self { socket: socket.to_owned(), credentials: credentials.to_owned(), connection: None }
    }

    /// Asks the server something that needs no table. A session that a restart of the server broke is begun anew.
    pub fn ask(&mut self, limit: Duration) -> Answered {
        let was_open = self.connection.is_some();
        match self.query(limit) {
            Ok(()) => Answered::Yes,
            Err(error) => {
                self.connection = None;
                match error {
                    Failed::Server(Error::MySqlError(error)) if FULL.contains(&error.code) => {
                        Answered::NotLetIn(format!("the server is full (error {})", error.code))
                    }
                    Failed::Server(Error::MySqlError(error)) if DENIED.contains(&error.code) => {
                        Answered::NotLetIn(format!(
                            "the server denies the account in {} (error {})",
                            self.credentials.display(),
                            error.code
                        ))
                    }
                    Failed::Account(cause) => Answered::NotLetIn(cause),
                    // It may have been restarted since the last query.
                    Failed::Server(_) if was_open => self.ask(limit),
                    Failed::Server(error) => {
                        Answered::No(format!("a query failed: {}", connect::said(&error)))
                    }
                }
            }
        }
    }

    fn query(&mut self, limit: Duration) -> Result<(), Failed> {
        if self.connection.is_none() {
            let account =
                credentials::read(&self.credentials).map_err(|failure| Failed::Account(failure.seen))?;
            let options = connect::options(&account, limit).socket(Some(self.socket.to_string_lossy()));
            self.connection = Some(Conn::new(options).map_err(Failed::Server)?);
        }
        match &mut self.connection {
            Some(connection) => connection.query_drop("SELECT 1").map_err(Failed::Server),
            None => Ok(()),
        }
    }
}

enum Failed {
    Account(String),
    Server(Error),
}
