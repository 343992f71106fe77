//! The cluster manager's own settings.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::foreign::cib::Cib;
use crate::foreign::heartbeat::{AuthKeys, HaCf, HaResources};
use crate::foreign::keepalived::Statement;
use crate::foreign::{Place, corosync};
use crate::observation::Fact;

/// What manages clusters on this node, and how it is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterManagerSurvey {
    /// Every cluster manager that is known, whether or not it is here.
    pub managers: Fact<Vec<Manager>>,
    /// The unit of this cluster's agent.
    #[serde(default = "not_looked_at")]
    pub agent: Fact<Manager>,
    /// The line `cluster_manager:` of the configuration, where it stands on one line.
    pub configured: Option<(Place, String)>,
    /// The configuration file has no `cluster_manager` at all.
    pub not_configured: bool,
    /// Heartbeat's files.
    pub heartbeat: HeartbeatSurvey,
    /// Pacemaker's configuration; `None` when it neither runs nor has one here.
    pub pacemaker: Option<PacemakerSurvey>,
    /// keepalived's configuration; `None` when it has none here.
    pub keepalived: Option<Fact<Vec<Statement>>>,
    /// The settings of keepalived's systemd unit; nothing when there is none.
    #[serde(default)]
    pub keepalived_unit: BTreeMap<String, String>,
}

fn not_looked_at<T>() -> Fact<T> {
    Fact::Unknown("it was not looked at".to_owned())
}

impl Default for ClusterManagerSurvey {
    fn default() -> Self {
        Self {
            managers: not_looked_at(),
            agent: not_looked_at(),
            configured: None,
            not_configured: false,
            heartbeat: HeartbeatSurvey::default(),
            pacemaker: None,
            keepalived: None,
            keepalived_unit: BTreeMap::new(),
        }
    }
}

/// A cluster manager on this node, or standin's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// `heartbeat`, `pacemaker`, `keepalived`, or the unit.
    pub name: String,
    /// Its daemons run.
    pub runs: bool,
    /// It starts at boot.
    pub enabled: bool,
}

/// Heartbeat's files; `None` for a file that is not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatSurvey {
    /// `ha.cf`, without the parameters of its stonith devices, which may be passwords.
    pub ha_cf: Option<HaCf>,
    /// `haresources`.
    pub haresources: Option<HaResources>,
    /// Scripts that `haresources` names and that are in none of Heartbeat's directories of scripts.
    #[serde(default)]
    pub missing_scripts: Vec<String>,
    /// `authkeys`.
    pub authkeys: Option<AuthKeysFile>,
    /// The watchdog device that its processes hold.
    pub watchdog: Option<String>,
    /// The settings of its systemd unit; nothing when there is none.
    pub unit: BTreeMap<String, String>,
    /// The interface of each of the peer's addresses: the clients' network's, then replication's.
    pub peer_interfaces: Vec<(Ipv4Addr, String)>,
    /// This node's own addresses.
    pub own_addresses: Vec<Ipv4Addr>,
}

/// `authkeys`, without its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthKeysFile {
    /// What stands in it.
    pub keys: AuthKeys,
    /// Its mode's permission bits.
    pub mode: u32,
}

/// Pacemaker's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PacemakerSurvey {
    /// The cluster information base; unknown when it could not be read or understood.
    pub cib: Fact<Cib>,
    /// corosync.conf; unknown when it is absent or not understood.
    pub corosync: Fact<corosync::Section>,
}
