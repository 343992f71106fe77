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
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Goal::Takeover => "takeover",
            Goal::Release => "release",
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
        }
    }
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
