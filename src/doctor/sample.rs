//! A healthy standby for the tests of the checks: each test changes one thing of it.

use std::path::Path;

use super::survey::{self, Survey};
use super::{Finding, Status};
use crate::config::{self, Config, Host};
use crate::observation::{
    AddressProbe, Answer, ClusterManagerState, Connection, Disk, Drbd, DrbdCommands, DrbdGeneration, Fact,
    Mount, Mysqld, MysqldAnswer, Observation, Past, Peer, Replication, Role, Vip,
};

const CONFIGURATION: &str = "
nodes:
  node1: {address: 10.77.0.1, replication_address: 10.77.1.1}
  node2: {address: 10.77.0.2, replication_address: 10.77.1.2}
vip: {address: 10.77.0.100/24, interface: eth0}
drbd: {resource: r0}
mount: {device: /dev/drbd0, directory: /var/lib/mysql, type: ext4}
mysqld:
  unit: mariadb.service
  socket: /run/mysqld/mysqld.sock
  error_log: /var/log/mysql/error.log
  credentials: /etc/standin/r0.cnf
witnesses: [10.77.0.254]
";

/// The cluster of the lab, seen from node2.
pub(super) fn config() -> Config {
    config_with("")
}

/// The same with further top-level lines.
pub(super) fn config_with(more: &str) -> Config {
    config::parse(&format!("{CONFIGURATION}{more}"), Path::new("r0.yaml"), &Host::fixed("node2")).unwrap()
}

/// A standby that could take over.
pub(super) fn survey() -> Survey {
    Survey {
        observation: observation(),
        drbd: super::drbd::sample::survey(),
        storage: survey::StorageSurvey::default(),
        mysqld: survey::MysqldSurvey::default(),
        unit: survey::UnitSurvey::default(),
        network: super::network::sample::survey(),
        cluster_manager: super::cluster_manager::sample(),
        here: super::peer::tests::facts("node2"),
        peer: Fact::Known(super::peer::tests::facts("node1")),
        system: survey::SystemSurvey::default(),
    }
}

fn observation() -> Observation {
    let answer = || Fact::Known(Some(Answer { icmp: true, arp: Some("02:00:00:00:00:01".to_owned()) }));
    let probe = |address: &str| AddressProbe { address: address.parse().unwrap(), answer: answer() };
    Observation {
        drbd: Fact::Known(drbd()),
        mount: Fact::Known(Mount { at_directory: None, device_elsewhere: Vec::new() }),
        mysqld: Fact::Known(Mysqld { processes: Vec::new(), answer: MysqldAnswer::Silent }),
        vip: Vip { here: Fact::Known(None), answer: answer() },
        peer: Peer { addresses: vec![probe("10.77.1.1"), probe("10.77.0.1")] },
        witnesses: vec![probe("10.77.0.254")],
        cluster_manager: Fact::Known(ClusterManagerState { pids: Vec::new() }),
        past: Past::default(),
    }
}

/// Connected, Secondary, in sync, with an active peer.
pub(super) fn drbd() -> Drbd {
    Drbd {
        generation: DrbdGeneration::Eight,
        connection: Connection::Connected,
        replication: Replication::Established,
        role: Role::Secondary,
        peer_role: Role::Primary,
        disk: Disk::UpToDate,
        peer_disk: Disk::UpToDate,
        resync_percent: None,
        io_suspended: false,
        commands: DrbdCommands {
            disconnect: Vec::new(),
            promote: Vec::new(),
            demote: Vec::new(),
            connect: Vec::new(),
        },
    }
}

/// The status of one check among findings; `None` when it is not among them.
pub(super) fn status(findings: &[Finding], check: &str) -> Option<Status> {
    findings.iter().find(|finding| finding.check == check).map(|finding| finding.status)
}
