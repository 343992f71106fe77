//! The world of the model: two machines, their DRBD, two networks. What the kernel and DRBD do by themselves is here; what
//! standin does is in `steps.rs` and `agent.rs`.
//!
//! DRBD's behaviour is that of 8.4 under protocol C, as the lab shows it and its source says it (`drbd_state.c`,
//! `drbd_nl.c`, `drbd_receiver.c`).

use standin::decide::FenceAnswer;
use standin::observation::{Connection, Disk, Role};

use super::agent::Memory;
use super::steps::{Marks, Run};

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Power {
    On,
    /// Stunned: nothing runs, nothing is forgotten. `long` is longer than every rule of silence waits.
    Paused {
        long: bool,
    },
    /// Reset by its own agent: it boots by itself.
    Resetting,
    Off,
}

/// What a disk holds beside what both disks had when they last were in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Branch {
    /// Nothing.
    Common,
    /// A generation of its own, without a write that was acknowledged to a client.
    Begun,
    /// Writes that were acknowledged to clients and that the other disk lacks.
    Written,
}

/// mysqld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mysqld {
    No,
    Serves,
    Hung,
}

/// The data file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mount {
    No,
    Writable,
    ReadOnly,
}

/// DRBD's fence-peer handler on an active node that lost its peer. DRBD asks once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Handler {
    /// Not asked since DRBD was last connected.
    Idle,
    /// It looks, and I/O is frozen meanwhile. In one of its looks it may have heard neither the peer nor a witness.
    Looks { was_cut_off: bool },
    /// It ended with this, and DRBD holds I/O back.
    Ended(FenceAnswer),
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) power: Power,
    pub(crate) connection: Connection,
    pub(crate) role: Role,
    /// The peer's role and disk as DRBD last heard them.
    pub(crate) peer_role: Role,
    pub(crate) peer_disk: Disk,
    pub(crate) disk: Disk,
    pub(crate) branch: Branch,
    /// DRBD holds back all I/O.
    pub(crate) frozen: bool,
    pub(crate) handler: Handler,
    pub(crate) mount: Mount,
    /// Reads and writes of the disk below never end.
    pub(crate) disk_hangs: bool,
    pub(crate) mysqld: Mysqld,
    pub(crate) vip: bool,
    /// The cluster manager runs.
    pub(crate) manager: bool,
    /// The takeover or release that is under way.
    pub(crate) run: Option<Run>,
    /// What the journal of this boot says.
    pub(crate) marks: Marks,
    pub(crate) memory: Memory,
}

/// Both machines and both networks. The clients and the witness are on the one network, DRBD is on the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) machines: [Machine; 2],
    /// The machine's link to the clients' network is cut.
    pub(crate) client_cut: [bool; 2],
    /// The replication link is cut.
    pub(crate) replication_cut: bool,
    /// How many more faults may happen.
    pub(crate) faults_left: u8,
}

impl Machine {
    fn standby(manager: bool) -> Self {
        Self {
            power: Power::On,
            connection: Connection::Connected,
            role: Role::Secondary,
            peer_role: Role::Primary,
            peer_disk: Disk::UpToDate,
            disk: Disk::UpToDate,
            branch: Branch::Common,
            frozen: false,
            handler: Handler::Idle,
            mount: Mount::No,
            disk_hangs: false,
            mysqld: Mysqld::No,
            vip: false,
            manager,
            run: None,
            marks: Marks::default(),
            memory: Memory::default(),
        }
    }

    fn active(manager: bool) -> Self {
        Self {
            role: Role::Primary,
            peer_role: Role::Secondary,
            mount: Mount::Writable,
            mysqld: Mysqld::Serves,
            vip: true,
            ..Self::standby(manager)
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.power == Power::On
    }

    /// Whether its database can commit, as far as this machine goes.
    pub(crate) fn can_commit(&self) -> bool {
        self.is_on()
            && self.role == Role::Primary
            && self.mount == Mount::Writable
            && self.mysqld == Mysqld::Serves
            && !self.frozen
            && !self.disk_hangs
    }

    /// What the reset button or a power cut leaves: what is on the disk.
    pub(crate) fn lose_power(&mut self) {
        let on_disk = (self.disk, self.peer_disk, self.branch);
        *self = Self::standby(false);
        (self.disk, self.peer_disk, self.branch) = on_disk;
        self.power = Power::Off;
        self.connection = Connection::Unconfigured;
        self.peer_role = Role::Unknown;
    }

    /// The machine starts, with DRBD, without mysqld.
    ///
    /// Whether the disk is current is not known without the peer, unless DRBD recorded that the peer's is not, or has no
    /// fencing (`drbd_adm_attach`).
    pub(crate) fn boot(&mut self, drbd_fences: bool) {
        self.power = Power::On;
        self.connection = Connection::Connecting;
        if matches!(self.disk, Disk::UpToDate | Disk::Consistent) {
            let current = !drbd_fences || self.peer_disk == Disk::Outdated;
            self.disk = if current { Disk::UpToDate } else { Disk::Consistent };
        }
    }

    /// DRBD lets an active node go on without its peer, and gives its data a generation of its own.
    pub(crate) fn go_on_alone(&mut self) {
        self.frozen = false;
        self.branch = self.branch.max(Branch::Begun);
    }
}

impl World {
    /// Machine 0 serves, machine 1 stands by.
    pub(crate) fn healthy(manager: bool, faults: u8) -> Self {
        Self {
            machines: [Machine::active(manager), Machine::standby(manager)],
            client_cut: [false; 2],
            replication_cut: false,
            faults_left: faults,
        }
    }

    /// Whether frames pass between the machines on the clients' network.
    pub(crate) fn clients_network_joins(&self) -> bool {
        !self.client_cut[0] && !self.client_cut[1]
    }

    /// Whether what one DRBD sends reaches the other, which takes it.
    pub(crate) fn replicates(&self) -> bool {
        !self.replication_cut
            && self.machines.iter().all(|it| it.is_on() && it.connection == Connection::Connected)
    }

    /// Whether this machine commits what clients send to the virtual IP.
    pub(crate) fn serves(&self, me: usize) -> bool {
        let it = &self.machines[me];
        let settled = it.connection != Connection::Connected || self.replicates();
        it.can_commit() && it.vip && !self.client_cut[me] && settled
    }

    /// A client's write that only this disk takes is acknowledged. One that both take changes nothing here.
    pub(crate) fn can_write_alone(&self, me: usize) -> bool {
        let it = &self.machines[me];
        self.serves(me) && it.connection != Connection::Connected && it.branch != Branch::Written
    }

    /// Whether DRBD believes to be connected and is not. It finds out at any moment.
    pub(crate) fn has_stale_connection(&self, me: usize) -> bool {
        let it = &self.machines[me];
        it.is_on() && it.connection == Connection::Connected && !self.replicates()
    }

    /// DRBD finds out that its connection is gone. An active node freezes its I/O when DRBD fences, unless the peer's disk is
    /// known not to be current (`sanitize_state`, `susp_fen`).
    pub(crate) fn notice_broken_connection(&mut self, me: usize, drbd_fences: bool) {
        self.machines[me].connection = Connection::Connecting;
        self.machines[me].peer_role = Role::Unknown;
        let it = &mut self.machines[me];
        if !matches!(it.peer_disk, Disk::Outdated | Disk::Inconsistent) {
            it.peer_disk = Disk::Unknown;
        }
        if it.role != Role::Primary {
            return;
        }
        if drbd_fences && it.peer_disk == Disk::Unknown {
            it.frozen = true;
            it.handler = Handler::Looks { was_cut_off: false };
        } else {
            it.go_on_alone();
        }
    }

    /// Whether both DRBDs want to connect and can.
    pub(crate) fn can_connect(&self) -> bool {
        !self.replication_cut
            && self.machines.iter().all(|it| it.is_on() && it.connection == Connection::Connecting)
    }

    /// The handshake: in sync, a resync, or a split brain, by the generations of both (`drbd_sync_handshake`).
    pub(crate) fn shake_hands(&mut self) {
        let primaries = self.machines.iter().filter(|it| it.role == Role::Primary).count();
        let [one, other] = &self.machines;
        let split = one.branch != Branch::Common && other.branch != Branch::Common;
        if split || primaries == 2 {
            self.machines.iter_mut().for_each(|it| it.connection = Connection::StandAlone);
            return;
        }
        let source = self.machines.iter().position(|it| it.branch != Branch::Common);
        // "I shall become SyncTarget, but I am primary!"
        if let Some(source) = source
            && self.machines[1 - source].role == Role::Primary
        {
            self.machines[1 - source].connection = Connection::StandAlone;
            return;
        }
        for (me, it) in self.machines.iter_mut().enumerate() {
            it.connection = Connection::Connected;
            it.frozen = false;
            it.handler = Handler::Idle;
            if source.is_some_and(|source| source != me) {
                it.disk = Disk::Inconsistent;
            } else if it.disk != Disk::Inconsistent {
                it.disk = Disk::UpToDate;
            }
        }
        self.hear();
    }

    /// Whether a resync runs and can end.
    pub(crate) fn resyncs(&self) -> bool {
        self.replicates() && self.machines.iter().any(|it| it.disk == Disk::Inconsistent)
    }

    /// The resync ends: both disks hold the same.
    pub(crate) fn end_resync(&mut self) {
        for it in &mut self.machines {
            it.disk = Disk::UpToDate;
            it.branch = Branch::Common;
        }
        self.hear();
    }

    /// While they are connected, each DRBD hears the other's role and disk.
    pub(crate) fn hear(&mut self) {
        if self.replicates() {
            let told = [0, 1].map(|me: usize| (self.machines[1 - me].role, self.machines[1 - me].disk));
            for (it, (role, disk)) in self.machines.iter_mut().zip(told) {
                (it.peer_role, it.peer_disk) = (role, disk);
            }
        }
    }
}
