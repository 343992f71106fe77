//! A cluster manager in the lab: how it is set up, asked, killed and mended there.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::node::Node;

/// What [`crate::scenario::run`] needs of a cluster manager. All of it is what an operator would do.
pub trait Manager: Sync {
    /// Names the directory of the logs, such as `heartbeat`.
    fn name(&self) -> &'static str;

    /// Configures both nodes and starts the manager; node1 becomes active. Returns when that was asked for or later.
    fn start(&self, lab: &Lab, cluster: &Cluster<'_>) -> Result<()>;

    /// Asks the manager, in its own way, to make this node active. Returns when that was asked for or later.
    fn move_to(&self, lab: &Lab, node: &Node) -> Result<()>;

    /// SIGKILL to all of the manager's own processes on a node at once.
    fn kill_manager(&self, node: &Node) -> Result<()>;

    /// Starts the manager on a node that has booted or has lost it, and clears failures.
    fn restart(&self, node: &Node) -> Result<()>;

    /// Files of a node to keep with the run's logs; one that is missing is left out.
    fn logs(&self) -> &'static [&'static str];

    /// What a person has to do on the survivor of a power cut: nothing, under a manager.
    fn intervene(&self, _cluster: &Cluster<'_>, _survivor: &Node) -> Result<()> {
        Ok(())
    }

    /// Whether the manager itself has come to rest, while one node serves and the other one is in sync: a move that is
    /// asked for now is carried out.
    fn is_settled(&self, _lab: &Lab) -> Result<bool> {
        Ok(true)
    }

    /// How long after the death of the manager on the active node its peer is sure to have acted on it.
    fn reaction(&self) -> Duration {
        Duration::from_secs(20)
    }
}
