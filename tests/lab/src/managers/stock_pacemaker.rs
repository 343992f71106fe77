//! Pacemaker with the four agents that standin is to replace: DRBD's own, Filesystem, mysql and IPaddr2.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::pacemaker::{COROSYNC_CONF, Pacemaker};
use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;

const SOON: Duration = Duration::from_secs(120);
const RESOURCES: &str = include_str!("stock/stock.crm");

/// Pacemaker 2 with Corosync, token 5 s, without fencing.
#[derive(Clone, Copy, Debug, Default)]
pub struct StockPacemaker;

impl Manager for StockPacemaker {
    fn name(&self) -> &'static str {
        "stock-pacemaker"
    }

    fn start(&self, lab: &Lab, _cluster: &Cluster<'_>) -> Result<()> {
        lab.on_both(|node| {
            node.write_file("/etc/corosync/corosync.conf", COROSYNC_CONF, 0o644)?;
            node.run_ok("systemctl start pacemaker.service")
        })?;
        // Before that the DC has not written its own part of the configuration, and crmsh's update is refused.
        Pacemaker::wait_until_online(lab.node1(), "node1 node2")?;
        lab.node1().write_file("/root/stock.crm", RESOURCES, 0o644)?;
        let load =
            lab.node1().run_with_deadline("crm configure load update /root/stock.crm < /dev/null", SOON)?;
        ensure!(load.success(), "crm ended with {}: {}", load.code, load.stderr);
        Ok(())
    }

    fn move_to(&self, _lab: &Lab, node: &Node) -> Result<()> {
        let name = node.name();
        node.run_ok(&format!(
            "crm_resource --resource serves --clear; crm_resource --resource serves --move --node {name} --force"
        ))
        .map(drop)
    }

    fn kill_manager(&self, node: &Node) -> Result<()> {
        node.run_ok("killall -KILL --regexp 'pacemaker.*' 'corosync'").map(drop)
    }

    fn restart(&self, node: &Node) -> Result<()> {
        node.run_ok(
            "systemctl reset-failed corosync.service pacemaker.service
            systemctl start pacemaker.service && crm_resource --refresh --wait",
        )
        .map(drop)
    }

    fn logs(&self) -> &'static [&'static str] {
        &["/var/log/pacemaker/pacemaker.log", "/var/log/corosync/corosync.log"]
    }

    fn is_settled(&self, lab: &Lab) -> Result<bool> {
        let text = lab.node1().run_ok("crmadmin --quiet --status=$(crmadmin --quiet --dc_lookup)")?;
        Ok(text.contains("S_IDLE"))
    }
}
