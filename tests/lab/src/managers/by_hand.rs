//! No cluster manager: standin's commands, typed.

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;

/// A person who types `standin takeover` and `standin release`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand;

impl Manager for ByHand {
    fn name(&self) -> &'static str {
        "by-hand"
    }

    fn start(&self, lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
        cluster.expect(lab.node1(), "takeover", 0).map(drop)
    }

    fn move_to(&self, lab: &Lab, node: &Node) -> Result<()> {
        lab.peer(node).run_ok("standin release")?;
        node.run_ok("standin takeover").map(drop)
    }

    fn kill_manager(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    fn restart(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    fn logs(&self) -> &'static [&'static str] {
        &[]
    }

    fn intervene(&self, cluster: &Cluster<'_>, survivor: &Node) -> Result<()> {
        cluster.expect(survivor, "takeover", 0).map(drop)
    }

    fn reaction(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}
