//! What the doctor looked at. Plain data: filled by `node::survey`, judged by the checks. What could not be learnt is
//! [`Fact::Unknown`](crate::observation::Fact), with its cause.

mod cluster_manager;
mod drbd;
mod mysqld;
mod network;
pub mod paths;
mod peer;
mod storage;
mod system;
mod unit;

use serde::{Deserialize, Serialize};

pub use self::cluster_manager::{
    AuthKeysFile, ClusterManagerSurvey, HeartbeatSurvey, Manager, PacemakerSurvey,
};
pub use self::drbd::{Counters, DrbdSurvey, HandlerProgram, Helper, Source, Starter};
pub use self::mysqld::{Credentials, Flavour, MysqldSurvey, Program, Running};
pub use self::network::{ArpSettings, Link, NetworkSurvey, Path};
pub use self::peer::{Account, Came, PeerFacts, Values};
pub use self::storage::{FilesystemSupport, Lvm, MountPoint, NamedRoom, RoomCheck, StorageSurvey};
pub use self::system::{AppArmor, Clock, SeLinux, SystemSurvey, Variable};
pub use self::unit::{BootLink, Unit, UnitSurvey};
use crate::observation::{Fact, Observation};

/// Everything that the checks judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// The same look that a takeover begins with.
    pub observation: Observation,
    /// DRBD's settings, in its files and in the kernel.
    pub drbd: DrbdSurvey,
    /// File systems, fstab and free space.
    pub storage: StorageSurvey,
    /// The server's settings, in its option files and, where it runs, in itself.
    pub mysqld: MysqldSurvey,
    /// What starts mysqld.
    pub unit: UnitSurvey,
    /// Interfaces, addresses and paths to the peer.
    pub network: NetworkSurvey,
    /// The configured cluster manager's own settings.
    pub cluster_manager: ClusterManagerSurvey,
    /// What both nodes must have in common, of this node.
    pub here: PeerFacts,
    /// The same of the peer.
    pub peer: Fact<PeerFacts>,
    /// Clock, security modules, credentials.
    pub system: SystemSurvey,
}
