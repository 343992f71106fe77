//! One YAML file per cluster → [`Config`]. Every value is checked once, here.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::plan::{HeartbeatStop, MysqldControl};

/// A checked configuration, seen from this host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The cluster's name: the file's name without `.yaml`.
    pub name: String,
    /// Where it was read.
    pub file: PathBuf,
    /// This host.
    pub this_node: NodeConfig,
    /// The other one.
    pub peer: NodeConfig,
    /// The virtual IP.
    pub vip: VipConfig,
    /// The DRBD resource's name.
    pub resource: String,
    /// The data file system.
    pub mount: MountConfig,
    /// The database server.
    pub mysqld: MysqldConfig,
    /// Who decides about failover on these nodes.
    pub cluster_manager: ClusterManager,
    /// The fence command, whose exit 0 confirms that the peer is off; `{peer}` stands for the peer's name.
    pub fence: Option<Vec<String>>,
    /// Addresses of which at least one must answer for us to be sure that it is not we who are cut off.
    pub witnesses: Vec<Ipv4Addr>,
    /// Time limits.
    pub limits: Limits,
    /// Refuse a takeover when more than this share of the data is MyISAM, in percent, by bytes or by tables.
    pub refuse_myisam_above_percent: u8,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeConfig {
    /// Its host name, as `uname -n` prints it.
    pub name: String,
    /// Its own address on the clients' network.
    pub address: Ipv4Addr,
    /// Its address on the replication network; the same as `address` when there is only one network.
    pub replication_address: Ipv4Addr,
}

/// The virtual IP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VipConfig {
    /// Address and prefix length.
    pub address: Ipv4Net,
    /// The interface that carries it.
    pub interface: String,
    /// Misses in a row, of ICMP echo and ARP, that count as gone.
    pub misses: u32,
    /// Time between two probes.
    pub interval: Duration,
}

/// The data file system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MountConfig {
    /// The DRBD block device.
    pub device: PathBuf,
    /// Mount point.
    pub directory: PathBuf,
    /// File system type.
    pub filesystem: String,
    /// Mount options as in fstab.
    pub options: Vec<String>,
}

/// The database server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MysqldConfig {
    /// Unit or command.
    pub control: MysqldControl,
    /// Data directory.
    pub datadir: PathBuf,
    /// Unix socket.
    pub socket: PathBuf,
    /// TCP port on the VIP.
    pub port: u16,
    /// Error log, followed during crash recovery and shutdown.
    pub error_log: Option<PathBuf>,
    /// An option file with `[client]` user and password, mode 0600; without it only the handshake is verified.
    pub credentials: Option<PathBuf>,
    /// What `read_only` must be once active.
    pub read_only: bool,
    /// SIGKILL when an orderly shutdown does not end within its limit.
    pub kill_at_deadline: bool,
}

/// Who decides about failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterManager {
    /// Nobody but the person who types the command.
    None,
    /// Heartbeat, and how it is taken out of the way.
    Heartbeat(HeartbeatStop),
    /// Pacemaker owns the resource: only its agent may act.
    Pacemaker,
    /// keepalived owns the VIP.
    Keepalived,
}

/// Time limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// How long a takeover waits for the VIP to drop and the peer to yield.
    pub wait_vip_gone: Duration,
    /// Stopping the cluster manager.
    pub stop_cluster_manager: Duration,
    /// The fence command.
    pub fence_peer: Duration,
    /// Each DRBD command.
    pub drbd: Duration,
    /// Mounting.
    pub mount: Duration,
    /// The offline scan for MyISAM.
    pub audit_engines: Duration,
    /// Starting mysqld; starts again whenever crash recovery is seen to move.
    pub start_mysqld: Duration,
    /// Adding or removing the VIP.
    pub vip: Duration,
    /// The query through the VIP.
    pub verify: Duration,
    /// Shutting mysqld down.
    pub stop_mysqld: Duration,
    /// Unmounting.
    pub unmount: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            wait_vip_gone: seconds(30),
            stop_cluster_manager: seconds(30),
            fence_peer: seconds(60),
            drbd: seconds(15),
            mount: seconds(60),
            audit_engines: seconds(60),
            start_mysqld: seconds(120),
            vip: seconds(10),
            verify: seconds(10),
            stop_mysqld: seconds(300),
            unmount: seconds(30),
        }
    }
}
