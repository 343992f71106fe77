//! What the tests of decisions and faults share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test programs that each use a part"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use standin::config::{
    AgentConfig, ClusterManager, Config, Limits, MountConfig, MysqldConfig, NodeConfig, VipConfig,
};
use standin::execute::{Phase, Reporter};
use standin::failure::Failure;
use standin::journal::{Entry, Event, Sink};
use standin::node::simulated::{SimulatedNode, World};
use standin::node::{Applied, Node};
use standin::observation::Observation;
use standin::plan::{HeartbeatStop, MysqldControl};

/// What a node of an undisturbed pair sees; 0 serves, 1 stands by.
pub fn seen_by(node: usize) -> Observation {
    SimulatedNode::new(Arc::new(Mutex::new(World::new())), node, config()).observe()
}

/// Node 1 of a cluster whose node 0 is its peer, under Heartbeat, without a fence command.
pub fn config() -> Config {
    let limits = Limits::default();
    let address = |last| std::net::Ipv4Addr::new(10, 77, 0, last);
    let replication = |last| std::net::Ipv4Addr::new(10, 77, 1, last);
    Config {
        name: "orders".to_owned(),
        file: "orders.yaml".into(),
        this_node: NodeConfig {
            name: "node2".to_owned(),
            address: address(2),
            replication_address: replication(2),
        },
        peer: NodeConfig {
            name: "node1".to_owned(),
            address: address(1),
            replication_address: replication(1),
        },
        vip: VipConfig {
            address: "10.77.0.100/24".parse().unwrap(),
            interface: "eth0".to_owned(),
            misses: 3,
            interval: Duration::from_millis(100),
        },
        resource: "r0".to_owned(),
        mount: MountConfig {
            device: "/dev/drbd0".into(),
            directory: "/var/lib/mysql".into(),
            filesystem: "ext4".to_owned(),
            options: vec!["noatime".to_owned()],
        },
        mysqld: MysqldConfig {
            control: MysqldControl::Unit("mariadb.service".to_owned()),
            datadir: "/var/lib/mysql".into(),
            socket: "/run/mysqld/mysqld.sock".into(),
            port: 3306,
            error_log: None,
            credentials: None,
            read_only: false,
            kill_at_deadline: false,
        },
        cluster_manager: ClusterManager::Heartbeat(Some(HeartbeatStop::Kill)),
        fence: None,
        witnesses: Vec::new(),
        limits,
        refuse_myisam_above_percent: 50,
        agent: AgentConfig::default_for(ClusterManager::Heartbeat(Some(HeartbeatStop::Kill))),
    }
}

/// Shortens every limit, so that a simulated hang ends soon.
pub fn impatient(mut config: Config) -> Config {
    let short = Duration::from_millis(30);
    config.limits = Limits {
        wait_vip_gone: short,
        stop_cluster_manager: short,
        fence_peer: short,
        drbd: short,
        mount: short,
        audit_engines: short,
        start_mysqld: short,
        vip: short,
        verify: short,
        stop_mysqld: short,
        unmount: short,
    };
    config
}

/// Where in the journal standin is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Before the entry with this number is written.
    Before(usize),
    /// After it was written.
    After(usize),
}

/// The payload of the panic that stands for a kill.
pub struct Killed;

/// A journal in memory that can kill its writer.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    pub entries: Arc<Mutex<Vec<Entry>>>,
    pub kill: Option<Kill>,
    written: usize,
}

impl MemoryJournal {
    pub fn events(&self) -> Vec<Event> {
        self.entries.lock().unwrap().iter().map(|entry| entry.event.clone()).collect()
    }

    /// The same journal for the next run.
    pub fn next_run(&self, kill: Option<Kill>) -> Self {
        Self { entries: Arc::clone(&self.entries), kill, written: 0 }
    }
}

impl Sink for MemoryJournal {
    fn append(&mut self, event: &Event) -> std::io::Result<()> {
        if self.kill == Some(Kill::Before(self.written)) {
            std::panic::panic_any(Killed);
        }
        let entry = Entry { at: String::new(), run: 1, event: event.clone() };
        self.entries.lock().unwrap().push(entry);
        if self.kill == Some(Kill::After(self.written)) {
            std::panic::panic_any(Killed);
        }
        self.written += 1;
        Ok(())
    }
}

/// Says nothing.
pub struct Silent;

impl Reporter for Silent {
    fn started(&self, _: &Phase) {}
    fn progress(&self, _: &Phase, _: &str) {}
    fn ended(&self, _: &Phase, _: Duration, _: &Applied) {}
    fn failed(&self, _: &Phase, _: Duration, _: &Failure) {}
    fn warn(&self, _: &str) {}
}
