//! What both nodes must have in common.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::observation::Fact;

/// Names and values that two nodes can be compared by.
pub type Values = BTreeMap<String, String>;

/// What both nodes must have in common, of one of them. No secret is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerFacts {
    /// The node's name.
    pub node: String,
    /// The version of standin.
    pub standin: String,
    /// The cluster's configuration, a value per key.
    pub configuration: Fact<Values>,
    /// The version of DRBD's kernel module; `None` while it is not loaded.
    pub drbd_module: Fact<Option<String>>,
    /// What DRBD's files say of the resource.
    pub drbd_files: Fact<Values>,
    /// The version of the server's program.
    pub mysqld: Fact<String>,
    /// The server's systemd unit with its drop-ins, a value per key; nothing for a command line.
    pub unit: Fact<Values>,
    /// The user that the server runs as.
    pub account: Fact<Account>,
    /// The server's option files, a value per option.
    pub options: Fact<Values>,
    /// When all of this was looked at, in seconds since 1970, by that node's clock.
    pub at: f64,
    /// How the facts came here; `None` for this node's own, and for those out of a file.
    pub came: Option<Came>,
}

impl Default for PeerFacts {
    fn default() -> Self {
        let unknown = || "it was not looked at".to_owned();
        Self {
            node: String::new(),
            standin: String::new(),
            configuration: Fact::Unknown(unknown()),
            drbd_module: Fact::Unknown(unknown()),
            drbd_files: Fact::Unknown(unknown()),
            mysqld: Fact::Unknown(unknown()),
            unit: Fact::Unknown(unknown()),
            account: Fact::Unknown(unknown()),
            options: Fact::Unknown(unknown()),
            at: 0.0,
            came: None,
        }
    }
}

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// How the peer's facts came here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Came {
    /// The address that was asked by ssh.
    pub from: Ipv4Addr,
    /// When the answer was here, in seconds since 1970, by this node's clock.
    pub at: f64,
}
