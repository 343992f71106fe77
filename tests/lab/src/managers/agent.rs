//! No cluster manager: `standin agent` on both nodes.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;
use crate::wait::wait_until;

const UNIT: &str = "standin-agent@r0.service";
/// For a unit that says when it is ready.
const SOON: Duration = Duration::from_secs(60);

/// The agents take over by themselves, and reset the machine when a release is stuck.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agent;

impl Agent {
    /// What the cluster's configuration needs beside its defaults.
    pub const MORE: &'static [&'static str] = &[
        "agent:",
        "  takeover: automatic",
        "  self_fence: true",
        "  listen: ['127.0.0.1:7780', '10.77.1.1:7780', '10.77.1.2:7780']",
    ];

    /// The same beside a cluster manager, which decides who takes over.
    pub const BESIDE: &'static [&'static str] =
        &["agent:", "  self_fence: true", "  listen: ['127.0.0.1:7780', '10.77.1.1:7780', '10.77.1.2:7780']"];

    /// Whether the agent runs on a node.
    pub fn runs(node: &Node) -> Result<bool> {
        Ok(node.run(&format!("systemctl is-active --quiet {UNIT}"))?.success())
    }

    /// Starts the agent on a node, now and at every boot.
    pub fn enable(node: &Node) -> Result<()> {
        node.run_ok(&format!("systemctl --quiet enable {UNIT}; systemctl restart {UNIT}; sync")).map(drop)
    }

    /// Tells the agent that a person knows of what it did: a node that has just taken over may give up again.
    pub fn acknowledge(node: &Node) -> Result<()> {
        node.run_ok("standin acknowledge").map(drop)
    }

    /// Ends the agent on a node in order; what serves goes on.
    pub fn stop(node: &Node) -> Result<()> {
        node.run_ok(&format!("systemctl stop {UNIT}")).map(drop)
    }
}

impl Manager for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn start(&self, lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
        // It guards what serves and watches it; it never decides alone who is the first to serve.
        cluster.expect(lab.node1(), "takeover", 0)?;
        lab.on_both(Self::enable)?;
        for node in lab.nodes() {
            wait_until(&format!("the agent on {}", node.name()), SOON, || {
                Ok(Self::runs(node)?.then_some(()))
            })?;
        }
        lab.on_both(Self::acknowledge).map(drop)
    }

    fn move_to(&self, _lab: &Lab, node: &Node) -> Result<()> {
        node.run_ok("standin switchover").map(drop)
    }

    fn kill_manager(&self, node: &Node) -> Result<()> {
        node.run_ok(&format!("systemctl kill --kill-whom=main --signal=KILL {UNIT}")).map(drop)
    }

    fn restart(&self, node: &Node) -> Result<()> {
        node.run_ok(&format!("systemctl reset-failed {UNIT}; systemctl start {UNIT}")).map(drop)
    }

    fn logs(&self) -> &'static [&'static str] {
        &["/etc/standin/r0.yaml"]
    }

    fn is_settled(&self, lab: &Lab) -> Result<bool> {
        for node in lab.nodes() {
            if !Self::runs(node)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
