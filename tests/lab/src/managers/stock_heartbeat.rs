//! Heartbeat with the four scripts that come with it: what standin is to replace.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;
use crate::wait::wait_until;

const SOON: Duration = Duration::from_secs(120);

/// The peer is dead after five seconds of silence.
const HA_CF: &str = "\
logfile /var/log/ha-log
keepalive 1
warntime 3
deadtime 5
initdead 20
udpport 694
ucast eth0 10.77.0.1
ucast eth0 10.77.0.2
auto_failback off
crm no
node node1 node2
";

/// Heartbeat 3 in haresources mode.
#[derive(Clone, Copy, Debug)]
pub struct StockHeartbeat {
    resources: &'static str,
}

impl StockHeartbeat {
    /// In the order in which the scripts need each other: DRBD, mount, MariaDB, address.
    pub const IN_ORDER: Self = Self {
        resources: "drbddisk::r0 Filesystem::/dev/drbd0::/var/lib/mysql::ext4 mariadb IPaddr2::10.77.0.100/24/eth0",
    };
    /// The address first, as in the examples of Heartbeat's own documentation.
    pub const ADDRESS_FIRST: Self = Self {
        resources: "IPaddr2::10.77.0.100/24/eth0 drbddisk::r0 Filesystem::/dev/drbd0::/var/lib/mysql::ext4 mariadb",
    };
}

impl Manager for StockHeartbeat {
    fn name(&self) -> &'static str {
        "stock-heartbeat"
    }

    fn start(&self, lab: &Lab, _cluster: &Cluster<'_>) -> Result<()> {
        lab.on_both(|node| {
            node.write_file("/etc/ha.d/ha.cf", HA_CF, 0o644)?;
            node.write_file("/etc/ha.d/authkeys", "auth 1\n1 sha1 of-the-lab\n", 0o600)?;
            node.write_file("/etc/ha.d/haresources", format!("node1 {}\n", self.resources), 0o644)?;
            node.run_ok("systemctl start heartbeat.service")
        })?;
        wait_until("Heartbeat's first acquisition of resources", SOON, || {
            Ok(self.is_settled(lab)?.then_some(()))
        })
    }

    fn move_to(&self, _lab: &Lab, node: &Node) -> Result<()> {
        node.run_ok("/usr/share/heartbeat/hb_takeover all").map(drop)
    }

    fn kill_manager(&self, node: &Node) -> Result<()> {
        node.run_ok("killall -KILL heartbeat").map(drop)
    }

    fn restart(&self, node: &Node) -> Result<()> {
        node.run_ok("systemctl reset-failed heartbeat.service; systemctl start heartbeat.service").map(drop)
    }

    fn logs(&self) -> &'static [&'static str] {
        &["/var/log/ha-log"]
    }

    /// In a transition Heartbeat puts off what it is asked for.
    fn is_settled(&self, lab: &Lab) -> Result<bool> {
        for node in lab.nodes() {
            let holds = node.run_ok("cl_status rscstatus")?;
            if !["all", "local", "foreign", "none"].contains(&holds.trim()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
