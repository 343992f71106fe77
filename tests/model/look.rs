//! What a machine sees of the world, as the `Observation` that the shipped decisions judge.

use std::net::Ipv4Addr;

use standin::config::Config;
use standin::observation::{
    AddressProbe, Answer, ClusterManagerState, Connection, Disk, Drbd, DrbdCommands, DrbdGeneration, Fact,
    Mount as MountFact, Mounted, Mysqld as MysqldFact, MysqldAnswer, MysqldProcess, Observation, Peer,
    Replication, Role, Vip,
};

use super::steps::Marks;
use super::world::{Mount, Mysqld, World};

/// The witness of every configuration here.
const WITNESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// All that a machine can see, and nothing else: an observation is made of this alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) me: usize,
    pub(crate) connection: Connection,
    role: Role,
    peer_role: Role,
    disk: Disk,
    peer_disk: Disk,
    frozen: bool,
    mount: Mount,
    mysqld: Mysqld,
    disk_hangs: bool,
    pub(crate) vip_here: bool,
    /// The peer answers for the virtual IP.
    pub(crate) vip_at_peer: bool,
    pub(crate) peer_answers: [bool; 2],
    pub(crate) witness_answers: bool,
    manager: bool,
    marks: Marks,
}

impl View {
    /// What machine `me` sees now. `second_holder`: it looks for another holder of the virtual IP even while that is here.
    pub(crate) fn of(world: &World, me: usize, second_holder: bool) -> Self {
        let (it, other) = (&world.machines[me], &world.machines[1 - me]);
        let peer_lives = other.is_on();
        Self {
            me,
            connection: it.connection,
            role: it.role,
            peer_role: it.peer_role,
            disk: it.disk,
            peer_disk: it.peer_disk,
            frozen: it.frozen,
            mount: it.mount,
            mysqld: it.mysqld,
            disk_hangs: it.disk_hangs,
            vip_here: it.vip,
            vip_at_peer: (second_holder || !it.vip)
                && other.vip
                && peer_lives
                && world.clients_network_joins(),
            peer_answers: [peer_lives && !world.replication_cut, peer_lives && world.clients_network_joins()],
            witness_answers: !world.client_cut[me],
            manager: it.manager,
            marks: it.marks,
        }
    }

    /// Whether nothing of the peer was seen, so that a takeover would stand on its silence.
    pub(crate) fn peer_is_silent(&self) -> bool {
        !self.vip_at_peer && self.peer_answers == [false; 2]
    }

    /// The observation of this look.
    pub(crate) fn observation(&self, config: &Config) -> Observation {
        let peer = &config.peer;
        let addresses = [peer.replication_address, peer.address];
        let probe = |(address, answers)| AddressProbe { address, answer: answer(answers, 1 - self.me) };
        Observation {
            drbd: Fact::Known(self.drbd()),
            mount: Fact::Known(MountFact {
                at_directory: (self.mount != Mount::No).then(|| Mounted {
                    source: config.mount.device.display().to_string(),
                    is_our_device: true,
                    filesystem: config.mount.filesystem.clone(),
                    read_only: self.mount == Mount::ReadOnly,
                }),
                device_elsewhere: Vec::new(),
            }),
            mysqld: Fact::Known(MysqldFact {
                processes: (self.mysqld != Mysqld::No)
                    .then(|| MysqldProcess {
                        pid: 4711,
                        name: "mariadbd".to_owned(),
                        directory: config.mysqld.datadir.clone(),
                        on_our_device: true,
                    })
                    .into_iter()
                    .collect(),
                answer: match self.mysqld {
                    Mysqld::No => MysqldAnswer::Silent,
                    Mysqld::Hung => MysqldAnswer::Stalled("no handshake within the limit".to_owned()),
                    Mysqld::Serves => MysqldAnswer::Ready,
                },
            }),
            vip: Vip {
                here: Fact::Known(self.vip_here.then(|| config.vip.interface.clone())),
                answer: answer(self.vip_at_peer, 1 - self.me),
            },
            peer: Peer { addresses: addresses.into_iter().zip(self.peer_answers).map(probe).collect() },
            witnesses: config
                .witnesses
                .iter()
                .map(|_| AddressProbe { address: WITNESS, answer: answer(self.witness_answers, 2) })
                .collect(),
            cluster_manager: Fact::Known(ClusterManagerState {
                pids: if self.manager { vec![100] } else { Vec::new() },
            }),
            past: self.marks.past(),
        }
    }

    fn drbd(&self) -> Drbd {
        let word = |word: &str| vec!["drbdsetup".to_owned(), word.to_owned(), "0".to_owned()];
        let replication = match (self.connection, self.disk, self.peer_disk) {
            (Connection::Connected, Disk::Inconsistent, _) => Replication::SyncTarget,
            (Connection::Connected, _, Disk::Inconsistent) => Replication::SyncSource,
            (Connection::Connected, _, _) => Replication::Established,
            _ => Replication::Off,
        };
        Drbd {
            generation: DrbdGeneration::Eight,
            connection: self.connection,
            replication,
            role: self.role,
            peer_role: self.peer_role,
            disk: self.disk,
            peer_disk: self.peer_disk,
            resync_percent: None,
            io_suspended: self.frozen,
            writes_wait_for_peer: false,
            commands: DrbdCommands {
                disconnect: word("disconnect"),
                promote: word("primary"),
                demote: word("secondary"),
                connect: word("connect"),
            },
        }
    }
}

/// The answer of machine `who`, by its hardware address.
fn answer(answers: bool, who: usize) -> Fact<Option<Answer>> {
    Fact::Known(answers.then(|| Answer { icmp: true, arp: Some(format!("02::0{who}")) }))
}
