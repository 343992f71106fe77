//! What may go wrong.

use standin::decide::FenceAnswer;
use standin::observation::Role;
use standin::plan::Goal;

use super::judge::Judge;
use super::look::View;
use super::steps;
use super::world::{Handler, Mount, Mysqld, Power, World};

/// What may go wrong, once for each unit of the budget. What mends it costs nothing and may happen at any later moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    PowerCut,
    /// Stunned for a moment that is shorter than the rules of silence ask for.
    ShortPause,
    LongPause,
    ClientLinkCut,
    ReplicationLinkCut,
    MysqldDies,
    MysqldHangs,
    ReadOnly,
    DiskHangs,
    /// A takeover or release is killed.
    StandinKilled,
    /// DRBD's handler is killed before it answers.
    HandlerKilled,
    /// The agent is killed and started again: it has forgotten what was not in the journal.
    AgentRestarts,
    /// A person releases the active node.
    Release,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::PowerCut,
        Self::ShortPause,
        Self::LongPause,
        Self::ClientLinkCut,
        Self::ReplicationLinkCut,
        Self::MysqldDies,
        Self::MysqldHangs,
        Self::ReadOnly,
        Self::DiskHangs,
        Self::StandinKilled,
        Self::HandlerKilled,
        Self::AgentRestarts,
        Self::Release,
    ];

    /// Whether it can happen to a machine now.
    pub(crate) fn may_happen(self, world: &World, me: usize) -> bool {
        let it = &world.machines[me];
        let on = it.is_on();
        match self {
            Self::PowerCut => it.power != Power::Off,
            Self::ShortPause | Self::LongPause => on,
            Self::ClientLinkCut => !world.client_cut[me],
            Self::ReplicationLinkCut => me == 0 && !world.replication_cut,
            Self::MysqldDies => on && it.mysqld != Mysqld::No,
            Self::MysqldHangs => on && it.mysqld == Mysqld::Serves,
            Self::ReadOnly => on && it.mount == Mount::Writable,
            Self::DiskHangs => on && it.mount != Mount::No && !it.disk_hangs,
            Self::StandinKilled => on && it.run.is_some(),
            Self::HandlerKilled => on && matches!(it.handler, Handler::Looks { .. }),
            Self::AgentRestarts => on,
            Self::Release => on && it.run.is_none() && it.role == Role::Primary && !it.frozen,
        }
    }

    /// It happens.
    pub(crate) fn happens(self, world: &mut World, me: usize, judge: &Judge) {
        let it = &mut world.machines[me];
        match self {
            Self::PowerCut => it.lose_power(),
            Self::ShortPause => it.power = Power::Paused { long: false },
            Self::LongPause => it.power = Power::Paused { long: true },
            Self::ClientLinkCut => world.client_cut[me] = true,
            Self::ReplicationLinkCut => world.replication_cut = true,
            Self::MysqldDies => it.mysqld = Mysqld::No,
            Self::MysqldHangs => it.mysqld = Mysqld::Hung,
            Self::ReadOnly => it.mount = Mount::ReadOnly,
            Self::DiskHangs => it.disk_hangs = true,
            Self::HandlerKilled => it.handler = Handler::Ended(FenceAnswer::NotKnown),
            Self::AgentRestarts => it.memory = it.memory.of_a_new_agent(),
            Self::Release => {
                if let Ok(plan) = judge.release(&View::of(world, me, false)) {
                    steps::start(world, me, plan, Goal::Release);
                }
            }
            Self::StandinKilled => unreachable!("it is killed at a certain moment"),
        }
    }
}
