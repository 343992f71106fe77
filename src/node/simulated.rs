//! Two simulated nodes on simulated networks, with faults on demand, for the model and the fault tests.
//!
//! The world enforces what the real thing does: no mount without Primary, no demotion under a mount, no second
//! Primary while connected. A plan in the wrong order fails here as it would on a machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::{Applied, Attempt, Node};
use crate::config::Config;
use crate::failure::Failure;
use crate::observation::{
    AddressProbe, Answer, ClusterManagerState, Connection, Disk, Drbd, DrbdCommands, DrbdGeneration, Fact,
    Mount, Mounted, Mysqld, MysqldAnswer, MysqldProcess, Observation, Past, Peer, Replication, Role, Vip,
};
use crate::plan::Action;

/// What goes wrong when a node does a certain thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails and nothing was changed.
    Fails,
    /// It does its work and then reports a failure.
    FailsAfterDoing,
    /// It never returns, and nothing was changed.
    Hangs,
    /// It does its work and then never returns.
    HangsAfterDoing,
}

/// One simulated machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Powered and running.
    pub alive: bool,
    /// DRBD connection as this node sees it.
    pub connection: Connection,
    /// Own DRBD role.
    pub role: Role,
    /// The peer's role as DRBD last heard it.
    pub peer_role: Role,
    /// Own disk.
    pub disk: Disk,
    /// The data file system is mounted.
    pub mounted: bool,
    /// mysqld runs and is ready.
    pub mysqld: bool,
    /// This node carries the virtual IP.
    pub vip: bool,
    /// Heartbeat runs.
    pub heartbeat: bool,
    /// The data is mostly MyISAM.
    pub mostly_myisam: bool,
    /// What the journal says; filled in by the test that owns the journal.
    pub past: Past,
}

impl Machine {
    /// A standby, connected to an active peer.
    pub fn standby() -> Self {
        Self {
            alive: true,
            connection: Connection::Connected,
            role: Role::Secondary,
            peer_role: Role::Primary,
            disk: Disk::UpToDate,
            mounted: false,
            mysqld: false,
            vip: false,
            heartbeat: true,
            mostly_myisam: false,
            past: Past::default(),
        }
    }

    /// An active node, connected to a standby.
    pub fn active() -> Self {
        Self {
            role: Role::Primary,
            peer_role: Role::Secondary,
            mounted: true,
            mysqld: true,
            vip: true,
            ..Self::standby()
        }
    }

    /// Whether this node serves clients.
    pub fn serves(&self) -> bool {
        self.alive && self.role == Role::Primary && self.mounted && self.mysqld && self.vip
    }
}

/// Both machines and what goes wrong.
#[derive(Debug, Clone)]
pub struct World {
    /// The two machines.
    pub machines: [Machine; 2],
    /// Faults of each machine by the action's name.
    pub faults: [BTreeMap<&'static str, Fault>; 2],
    /// Every change that was made, as `machine:action`.
    pub changes: Vec<String>,
}

impl World {
    /// Node 0 active, node 1 standby.
    pub fn new() -> Self {
        Self {
            machines: [Machine::active(), Machine::standby()],
            faults: [BTreeMap::new(), BTreeMap::new()],
            changes: Vec::new(),
        }
    }

    /// Cuts a machine's power. The other one's DRBD does not notice yet.
    pub fn power_cut(&mut self, machine: usize) {
        self.machines[machine] =
            Machine { alive: false, disk: self.machines[machine].disk, ..Machine::standby() };
    }

    /// The surviving machine's DRBD notices that its peer is gone.
    pub fn drbd_notices(&mut self, machine: usize) {
        self.machines[machine].connection = Connection::Connecting;
        self.machines[machine].peer_role = Role::Unknown;
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// One node of a simulated world.
pub struct SimulatedNode {
    world: Arc<Mutex<World>>,
    release_hung: Arc<(Mutex<bool>, Condvar)>,
    index: usize,
    config: Config,
}

impl SimulatedNode {
    /// Node `index` of the world.
    pub fn new(world: Arc<Mutex<World>>, index: usize, config: Config) -> Self {
        Self { world, release_hung: Arc::default(), index, config }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn hang(&self) {
        let (lock, condition) = &*self.release_hung;
        let released = lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Long enough that every test's executor has given up; bounded so that no thread outlives the tests.
        let _ = condition.wait_timeout_while(released, Duration::from_secs(20), |released| !*released);
    }

    fn probe(&self, answers: bool) -> Fact<Option<Answer>> {
        Fact::Known(answers.then(|| Answer { icmp: true, arp: Some("02:00:00:00:00:01".to_owned()) }))
    }
}

impl Drop for SimulatedNode {
    fn drop(&mut self) {
        let (lock, condition) = &*self.release_hung;
        *lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        condition.notify_all();
    }
}

impl Node for SimulatedNode {
    fn observe(&self) -> Observation {
        let world = self.world();
        let machine = &world.machines[self.index];
        let other = &world.machines[1 - self.index];
        let word = |word: &str| vec!["drbdsetup".to_owned(), word.to_owned(), "0".to_owned()];
        Observation {
            drbd: Fact::Known(Drbd {
                generation: DrbdGeneration::Eight,
                connection: machine.connection,
                replication: if machine.connection == Connection::Connected {
                    Replication::Established
                } else {
                    Replication::Off
                },
                role: machine.role,
                peer_role: machine.peer_role,
                disk: machine.disk,
                peer_disk: if machine.connection == Connection::Connected {
                    other.disk
                } else {
                    Disk::Unknown
                },
                resync_percent: None,
                io_suspended: false,
                writes_wait_for_peer: false,
                commands: DrbdCommands {
                    disconnect: word("disconnect"),
                    promote: word("primary"),
                    demote: word("secondary"),
                    connect: word("connect"),
                },
            }),
            mount: Fact::Known(Mount {
                at_directory: machine.mounted.then(|| Mounted {
                    source: self.config.mount.device.display().to_string(),
                    is_our_device: true,
                    filesystem: self.config.mount.filesystem.clone(),
                    read_only: false,
                }),
                device_elsewhere: Vec::new(),
            }),
            mysqld: Fact::Known(Mysqld {
                processes: machine
                    .mysqld
                    .then(|| MysqldProcess {
                        pid: 4711,
                        name: "mariadbd".to_owned(),
                        directory: self.config.mysqld.datadir.clone(),
                        on_our_device: true,
                    })
                    .into_iter()
                    .collect(),
                answer: if machine.mysqld { MysqldAnswer::Ready } else { MysqldAnswer::Silent },
            }),
            vip: Vip {
                here: Fact::Known(machine.vip.then(|| self.config.vip.interface.clone())),
                answer: self.probe(!machine.vip && other.alive && other.vip),
            },
            peer: Peer {
                addresses: vec![
                    AddressProbe {
                        address: self.config.peer.replication_address,
                        answer: self.probe(other.alive),
                    },
                    AddressProbe { address: self.config.peer.address, answer: self.probe(other.alive) },
                ],
            },
            witnesses: Vec::new(),
            cluster_manager: Fact::Known(ClusterManagerState {
                pids: if machine.heartbeat { vec![100, 101] } else { Vec::new() },
            }),
            past: machine.past.clone(),
        }
    }

    fn apply(&self, action: &Action, _attempt: &Attempt) -> Result<Applied, Failure> {
        let name = action.name();
        let fault = self.world().faults[self.index].get(name).copied();
        match fault {
            Some(Fault::Fails) => return Err(simulated(name)),
            Some(Fault::Hangs) => {
                self.hang();
                return Err(simulated(name));
            }
            Some(Fault::FailsAfterDoing | Fault::HangsAfterDoing) | None => {}
        }
        let applied = change(&mut self.world(), self.index, action);
        match fault {
            Some(Fault::FailsAfterDoing) => Err(simulated(name)),
            Some(Fault::HangsAfterDoing) => {
                self.hang();
                Err(simulated(name))
            }
            _ => applied,
        }
    }
}

fn simulated(name: &str) -> Failure {
    Failure::failed(format!("simulated fault in {name}"), "the test asked for it", "nothing")
}

fn impossible(seen: &str) -> Failure {
    Failure::failed(seen, "the real thing would fail too", "correct the plan's order")
}

fn change(world: &mut World, index: usize, action: &Action) -> Result<Applied, Failure> {
    let other = world.machines[1 - index].clone();
    let machine = &mut world.machines[index];
    let before = machine.clone();
    match action {
        Action::WaitVipGone { .. } => {
            if other.alive && other.vip {
                return Err(Failure::refused(
                    "the virtual IP still answers",
                    "it is held",
                    "release it there",
                ));
            }
        }
        Action::StopClusterManager { .. } => machine.heartbeat = false,
        Action::FencePeer { .. } => {
            world.machines[1 - index].alive = false;
            world.machines[1 - index].vip = false;
            world.changes.push(format!("{index}:fence-peer"));
            return Ok(Applied::done());
        }
        Action::DisconnectDrbd { .. } => {
            machine.connection = Connection::StandAlone;
            machine.peer_role = Role::Unknown;
        }
        Action::PromoteDrbd { .. } => {
            if machine.connection == Connection::Connected && other.alive && other.role == Role::Primary {
                return Err(impossible("State change failed: (-1) Multiple primaries not allowed by config"));
            }
            if !matches!(machine.disk, Disk::UpToDate | Disk::Consistent) {
                return Err(impossible("State change failed: (-2) Need access to UpToDate data"));
            }
            machine.role = Role::Primary;
        }
        Action::Mount { .. } => {
            if machine.role != Role::Primary {
                return Err(impossible("mount: wrong medium type"));
            }
            machine.mounted = true;
        }
        Action::AuditEngines { .. } => {
            if !machine.mounted {
                return Err(impossible("nothing is mounted at the data directory"));
            }
            if machine.mostly_myisam {
                return Err(Failure::refused("most of the data is MyISAM", "repair is slow", "convert it"));
            }
        }
        Action::StartMysqld { .. } => {
            if !machine.mounted {
                return Err(impossible("mysqld would start on an unmounted data directory"));
            }
            machine.mysqld = true;
        }
        Action::AddVip { .. } => {
            if !machine.mysqld {
                return Err(impossible("the virtual IP comes after mysqld"));
            }
            machine.vip = true;
        }
        Action::Verify { .. } => {
            if !machine.serves() {
                return Err(impossible("no answer through the virtual IP"));
            }
        }
        Action::ReconnectDrbd { .. } => {
            if machine.connection == Connection::StandAlone {
                machine.connection = if other.alive { Connection::Connected } else { Connection::Connecting };
                machine.peer_role = if other.alive { other.role } else { Role::Unknown };
            }
        }
        Action::RemoveVip { .. } => machine.vip = false,
        Action::StopMysqld { .. } => machine.mysqld = false,
        Action::Unmount { .. } => {
            if machine.mysqld {
                return Err(impossible("umount: target is busy"));
            }
            machine.mounted = false;
        }
        Action::DemoteDrbd { .. } => {
            if machine.mounted {
                return Err(impossible("State change failed: (-12) Device is held open by someone"));
            }
            machine.role = Role::Secondary;
        }
        Action::FlushDirtyPages { .. } | Action::RestoreDirtyPages { .. } => {
            if !machine.mysqld {
                return Err(impossible("no server answers on the socket"));
            }
        }
        Action::HandOver { .. } => {
            if !other.serves() {
                return Err(impossible("the peer does not take over"));
            }
        }
        Action::BringUpDrbd { .. } | Action::DiscardMyData { .. } => {
            machine.connection = if other.alive { Connection::Connected } else { Connection::Connecting };
            machine.peer_role = if other.alive { other.role } else { Role::Unknown };
        }
        Action::FollowResync { .. } => {
            if machine.connection != Connection::Connected {
                return Err(impossible("the peer is not connected"));
            }
            machine.disk = Disk::UpToDate;
        }
    }
    if *machine == before {
        return Ok(Applied::already_so());
    }
    world.changes.push(format!("{index}:{}", action.name()));
    Ok(Applied::done())
}
