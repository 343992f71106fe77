//! The steps of a takeover or a release: what each does, the commands and system calls behind it, how it is undone.
//!
//! A dry run prints this value and [`crate::execute`] walks this value: there is no second description.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The standby becomes active.
    Takeover,
    /// The active gives everything up in order.
    Release,
    /// The active gives everything up for its peer, which takes over at once.
    Switchover,
    /// A node that returns becomes a standby again.
    Rejoin,
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Goal::Takeover => "takeover",
            Goal::Release => "release",
            Goal::Switchover => "switchover",
            Goal::Rejoin => "rejoin",
        })
    }
}

/// Ordered steps and the reason for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is for.
    pub goal: Goal,
    /// Why it may be done, in one sentence.
    pub reason: String,
    /// What the operator should know although it does not stop the plan.
    pub warnings: Vec<String>,
    /// In the order of execution.
    pub steps: Vec<Step>,
}

/// One step with its time limit and its undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// How long it may take; starting mysqld extends it while crash recovery moves.
    #[serde(with = "seconds")]
    pub deadline: Duration,
    /// What takes it back, with its own time limit.
    pub undo: Option<Undo>,
}

/// What takes a step back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// What to do.
    pub action: Action,
    /// How long it may take.
    #[serde(with = "seconds")]
    pub deadline: Duration,
}

/// How the cluster manager is taken out of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeartbeatStop {
    /// SIGKILL to its processes: no stop scripts run.
    Kill,
    /// An orderly stop of its unit.
    Stop,
}

/// How mysqld is started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MysqldControl {
    /// A systemd unit.
    Unit(String),
    /// A command line of its own; the program must be mysqld or mariadbd itself, not mysqld_safe.
    Command(Vec<String>),
}

/// The settings of InnoDB that say how many pages of the buffer pool may be dirty, as the server prints them, in percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyPagesLimits {
    /// `innodb_max_dirty_pages_pct`.
    pub max: String,
    /// `innodb_max_dirty_pages_pct_lwm`, which the server lowers together with the other one.
    pub low_water_mark: String,
}

/// Where a server is reached, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAccess {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The virtual IP, for an account that may not come over the socket.
    pub vip: Ipv4Addr,
    /// TCP port.
    pub port: u16,
    /// Option file with user and password.
    pub credentials: PathBuf,
}

/// Who makes the peer take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandOverBy {
    /// Its agent, by itself, as soon as this node holds nothing any more.
    Agent,
    /// This node, over ssh.
    Ssh {
        /// Where the peer answers.
        address: Ipv4Addr,
        /// What is run there.
        remote: Vec<String>,
    },
    /// A person on the peer.
    Person {
        /// What is to be typed there.
        remote: Vec<String>,
    },
    /// The cluster manager, told by its own command.
    Manager {
        /// Moves the resource.
        command: Vec<String>,
        /// Takes out what the move left behind, whatever came of it; empty when it leaves nothing.
        afterwards: Vec<String>,
    },
}

impl HandOverBy {
    /// How long what cleans up after a cluster manager's move may take; it is quick.
    pub const CLEAN_UP: Duration = Duration::from_secs(20);
}

/// One idempotent thing that a node can do. Every variant carries all that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// ICMP echo and ARP probe of the VIP until it was missed often enough in a row.
    WaitVipGone {
        /// The virtual IP.
        vip: Ipv4Addr,
        /// On which interface to ask.
        interface: String,
        /// Misses in a row that count as gone.
        misses: u32,
        /// Time between two probes.
        #[serde(with = "seconds")]
        interval: Duration,
    },
    /// Take Heartbeat out of the way.
    StopClusterManager {
        /// Kill or stop.
        how: HeartbeatStop,
    },
    /// Run the configured fence command; exit 0 confirms that the peer is off.
    FencePeer {
        /// The command line.
        command: Vec<String>,
    },
    /// Forced disconnect from the peer.
    DisconnectDrbd {
        /// Resource name.
        resource: String,
        /// The command line.
        command: Vec<String>,
        /// DRBD was connected, or believed to be, when this was planned. A connection that came up since then is not given up: the
        /// peer is back.
        #[serde(default)]
        was_connected: bool,
    },
    /// Become Primary.
    PromoteDrbd {
        /// Resource name.
        resource: String,
        /// The command line.
        command: Vec<String>,
    },
    /// Mount the data file system.
    Mount {
        /// Block device.
        device: PathBuf,
        /// Mount point.
        directory: PathBuf,
        /// File system type.
        filesystem: String,
        /// Mount options as in fstab.
        options: Vec<String>,
    },
    /// Offline scan of the data directory for MyISAM.
    AuditEngines {
        /// The data directory.
        datadir: PathBuf,
        /// Refuse above this share of MyISAM, in percent, by bytes or by tables.
        refuse_above_percent: u8,
        /// The operator accepted the repair time: report, don't refuse.
        accept_myisam: bool,
    },
    /// Start mysqld and follow its crash recovery until it shakes hands.
    StartMysqld {
        /// Unit or command.
        control: MysqldControl,
        /// The data directory.
        datadir: PathBuf,
        /// Its Unix socket.
        socket: PathBuf,
        /// Its error log.
        error_log: Option<PathBuf>,
    },
    /// Add the virtual IP after a duplicate-address probe and announce it.
    AddVip {
        /// Address and prefix length.
        vip: Ipv4Net,
        /// On which interface.
        interface: String,
    },
    /// A query through the VIP.
    Verify {
        /// The virtual IP.
        vip: Ipv4Addr,
        /// TCP port of mysqld.
        port: u16,
        /// What `read_only` must be.
        read_only: bool,
        /// Option file with user and password; without it only the handshake is verified.
        credentials: Option<PathBuf>,
    },
    /// Listen for the peer again so that it can resync when it returns.
    ReconnectDrbd {
        /// Resource name.
        resource: String,
        /// The command line.
        command: Vec<String>,
    },
    /// Remove the virtual IP.
    RemoveVip {
        /// Address and prefix length.
        vip: Ipv4Net,
        /// On which interface.
        interface: String,
    },
    /// Shut mysqld down and wait until its process is gone.
    StopMysqld {
        /// Unit or command.
        control: MysqldControl,
        /// The data directory, by which the process is found.
        datadir: PathBuf,
        /// Its error log.
        error_log: Option<PathBuf>,
        /// SIGKILL when the orderly shutdown does not end by the deadline.
        kill_at_deadline: bool,
    },
    /// Unmount the data file system.
    Unmount {
        /// Block device.
        device: PathBuf,
        /// Mount point.
        directory: PathBuf,
    },
    /// Become Secondary.
    DemoteDrbd {
        /// Resource name.
        resource: String,
        /// The command line.
        command: Vec<String>,
    },
    /// Let InnoDB write its dirty pages while it still serves, so that the shutdown is short.
    FlushDirtyPages {
        /// Where the server is.
        server: ServerAccess,
        /// What its undo sets again.
        was: DirtyPagesLimits,
    },
    /// Set the limits of dirty pages again.
    RestoreDirtyPages {
        /// Where the server is.
        server: ServerAccess,
        /// What they were.
        was: DirtyPagesLimits,
    },
    /// Make the peer take over and see that it is active.
    HandOver {
        /// By whom.
        by: HandOverBy,
        /// The peer's name.
        peer: String,
        /// Resource name, whose role at the peer is watched.
        resource: String,
        /// The virtual IP, which must answer from elsewhere.
        vip: Ipv4Addr,
        /// On which interface to ask.
        interface: String,
    },
    /// Bring the resource up.
    BringUpDrbd {
        /// Resource name.
        resource: String,
    },
    /// Connect as the side of a split brain whose data is given up.
    DiscardMyData {
        /// Resource name.
        resource: String,
    },
    /// Follow the resync until both disks are UpToDate.
    FollowResync {
        /// Resource name.
        resource: String,
        /// The peer's name.
        peer: String,
    },
}

impl Action {
    /// The step's name as it stands in plans, journals and documentation.
    pub fn name(&self) -> &'static str {
        match self {
            Action::WaitVipGone { .. } => "wait-vip-gone",
            Action::StopClusterManager { .. } => "stop-cluster-manager",
            Action::FencePeer { .. } => "fence-peer",
            Action::DisconnectDrbd { .. } => "disconnect-drbd",
            Action::PromoteDrbd { .. } => "promote-drbd",
            Action::Mount { .. } => "mount",
            Action::AuditEngines { .. } => "audit-engines",
            Action::StartMysqld { .. } => "start-mysqld",
            Action::AddVip { .. } => "add-vip",
            Action::Verify { .. } => "verify",
            Action::ReconnectDrbd { .. } => "reconnect-drbd",
            Action::RemoveVip { .. } => "remove-vip",
            Action::StopMysqld { .. } => "stop-mysqld",
            Action::Unmount { .. } => "unmount",
            Action::DemoteDrbd { .. } => "demote-drbd",
            Action::FlushDirtyPages { .. } => "flush-dirty-pages",
            Action::RestoreDirtyPages { .. } => "restore-dirty-pages",
            Action::HandOver { .. } => "hand-over",
            Action::BringUpDrbd { .. } => "bring-up-drbd",
            Action::DiscardMyData { .. } => "discard-my-data",
            Action::FollowResync { .. } => "follow-resync",
        }
    }

    /// The commands a person would type for the same effect, one per line.
    pub fn commands(&self) -> Vec<String> {
        match self {
            Action::WaitVipGone { vip, interface, .. } => {
                vec![format!("ping -c 3 {vip}"), format!("arping -D -c 3 -I {interface} {vip}")]
            }
            Action::StopClusterManager { how: HeartbeatStop::Kill } => {
                vec!["kill -KILL $(pidof heartbeat)".into()]
            }
            Action::StopClusterManager { how: HeartbeatStop::Stop } => {
                vec!["systemctl stop heartbeat.service".into()]
            }
            // Planned when there is no connection, or no resource, to act on.
            Action::DisconnectDrbd { command, .. } | Action::DemoteDrbd { command, .. }
                if command.is_empty() =>
            {
                Vec::new()
            }
            Action::FencePeer { command }
            | Action::DisconnectDrbd { command, .. }
            | Action::PromoteDrbd { command, .. }
            | Action::ReconnectDrbd { command, .. }
            | Action::DemoteDrbd { command, .. } => vec![shell_words(command)],
            Action::Mount { device, directory, filesystem, options } => vec![format!(
                "mount -t {filesystem} -o {} {} {}",
                if options.is_empty() { "defaults".to_owned() } else { options.join(",") },
                device.display(),
                directory.display()
            )],
            Action::AuditEngines { datadir, .. } => {
                vec![format!("find {} -name '*.MYD' -size +0", datadir.display())]
            }
            Action::StartMysqld { control: MysqldControl::Unit(unit), .. } => {
                vec![format!("systemctl start {unit}")]
            }
            Action::StartMysqld { control: MysqldControl::Command(command), .. } => {
                vec![shell_words(command)]
            }
            Action::AddVip { vip, interface } => vec![
                format!("ip address add {vip} dev {interface}"),
                format!("arping -U -c 3 -I {interface} {}", vip.addr()),
            ],
            Action::Verify { vip, port, .. } => {
                vec![format!("mysql --host={vip} --port={port} --execute='SELECT @@read_only'")]
            }
            Action::RemoveVip { vip, interface } => {
                vec![format!("ip address delete {vip} dev {interface}")]
            }
            Action::StopMysqld { control: MysqldControl::Unit(unit), .. } => {
                vec![format!("systemctl stop {unit}")]
            }
            Action::StopMysqld { control: MysqldControl::Command(_), datadir, .. } => {
                vec![format!("kill -TERM $(fuser {}/ibdata1)", datadir.display())]
            }
            Action::Unmount { directory, .. } => vec![format!("umount {}", directory.display())],
            Action::FlushDirtyPages { server, .. } => {
                let zero = DirtyPagesLimits { max: "0".to_owned(), low_water_mark: "0".to_owned() };
                vec![
                    set_dirty_pages(server, &zero),
                    format!(
                        "mysql --socket={} --execute=\"SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'\"",
                        server.socket.display()
                    ),
                ]
            }
            Action::RestoreDirtyPages { server, was } => vec![set_dirty_pages(server, was)],
            Action::HandOver { by, peer, .. } => match by {
                HandOverBy::Agent => Vec::new(),
                HandOverBy::Ssh { address, remote } => {
                    vec![format!("ssh {address} {}", shell_words(remote))]
                }
                HandOverBy::Person { remote } => vec![format!("on {peer}: {}", shell_words(remote))],
                HandOverBy::Manager { command, afterwards } => [command, afterwards]
                    .into_iter()
                    .filter(|words| !words.is_empty())
                    .map(|words| shell_words(words))
                    .collect(),
            },
            Action::BringUpDrbd { resource } => vec![format!("drbdadm up {resource}")],
            Action::DiscardMyData { resource } => vec![
                format!("drbdadm disconnect {resource}"),
                format!("drbdadm secondary {resource}"),
                format!("drbdadm connect --discard-my-data {resource}"),
            ],
            Action::FollowResync { resource, .. } => vec![format!("drbdadm status {resource}")],
        }
    }
}

fn set_dirty_pages(server: &ServerAccess, limits: &DirtyPagesLimits) -> String {
    format!(
        "mysql --socket={} --execute='SET GLOBAL innodb_max_dirty_pages_pct={}, GLOBAL innodb_max_dirty_pages_pct_lwm={}'",
        server.socket.display(),
        limits.max,
        limits.low_water_mark
    )
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}: {}", self.goal, self.reason)?;
        for warning in &self.warnings {
            writeln!(out, "  warning: {warning}")?;
        }
        if self.steps.is_empty() {
            writeln!(out, "  nothing to do")?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            let limit = humantime::format_duration(step.deadline);
            writeln!(out, "{:>3}  {} (within {limit})", number + 1, step.action.name())?;
            for command in step.action.commands() {
                writeln!(out, "       {command}")?;
            }
            if let Some(undo) = &step.undo {
                writeln!(out, "       undo: {}", undo.action.commands().join("; "))?;
            }
        }
        Ok(())
    }
}

/// Quotes what a shell would split or expand.
pub fn shell_words(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    command
        .iter()
        .map(|word| {
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        let value = f64::deserialize(input)?;
        Duration::try_from_secs_f64(value).map_err(serde::de::Error::custom)
    }
}
