//! Engine totals as a server itself counts them.

use std::fmt;
use std::path::{Path, PathBuf};

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
    /// The account in an option file; without one, root without a password.
    ///
    /// # Errors
    /// The file is unfit.
    pub fn from_file(file: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { credentials: file.map(credentials::read).transpose()? })
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

/// Asks the server.
///
/// # Errors
/// It can't be reached, denies the account, or does not answer in time.
pub fn totals(_server: &Server, _account: &Account, _top: usize) -> Result<Found, Failure> {
    Err(Failure::failed("not yet", "not yet", "use --datadir"))
}
