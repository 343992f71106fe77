//! Pacemaker 2.1.5 with Corosync 3, and standin as its one resource, configured by the samples for crmsh.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;
use crate::wait::wait_until;

/// For Corosync to form a membership and Pacemaker to elect its DC, and for crmsh, which takes long in a node.
const SOON: Duration = Duration::from_secs(120);
/// For whatever Pacemaker has begun to come to its end.
const PATIENCE: Duration = Duration::from_secs(240);

/// Two links, so that one cut cable is no dead peer.
pub(super) const COROSYNC_CONF: &str = "\
totem {
    version: 2
    cluster_name: lab
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: 5000
}
logging {
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    timestamp: hires
}
quorum {
    provider: corosync_votequorum
    two_node: 1
}
nodelist {
    node {
        name: node1
        nodeid: 1
        ring0_addr: 10.77.0.1
        ring1_addr: 10.77.1.1
    }
    node {
        name: node2
        nodeid: 2
        ring0_addr: 10.77.0.2
        ring1_addr: 10.77.1.2
    }
}
";

const PRIMITIVE: &str = include_str!("../../../../resource-agents/primitive.crm");
const PROMOTABLE: &str = include_str!("../../../../resource-agents/promotable.crm");

/// All that belongs to the manager.
const DAEMONS: &str = "corosync pacemakerd pacemaker-based pacemaker-fenced pacemaker-execd pacemaker-attrd \
                       pacemaker-schedulerd pacemaker-controld";
/// Keeps systemd from starting it again within a second, so that its peer has to act.
const NO_RESTART: &str = "/run/systemd/system/pacemaker.service.d/no-restart.conf";

/// Pacemaker with standin as a primitive or as a promotable clone, `token` 5 s, without fencing.
#[derive(Clone, Debug)]
pub struct Pacemaker {
    name: &'static str,
    promotable: bool,
    configuration: String,
}

impl Pacemaker {
    /// Start takes over. The cluster's configuration is to say `cluster_manager: pacemaker`, and DRBD is to be up.
    pub fn primitive() -> Self {
        let first = "location db-first db 1: node1\n";
        Self { name: "pacemaker-primitive", promotable: false, configuration: format!("{PRIMITIVE}{first}") }
    }

    /// Promote takes over. The nodes are to boot with `lab.drbd=no`.
    pub fn promotable() -> Self {
        let first = "location db-first db-clone role=Promoted 1: node1\n";
        Self { name: "pacemaker-promotable", promotable: true, configuration: format!("{PROMOTABLE}{first}") }
    }

    /// The same with something in the sample replaced.
    #[must_use]
    pub fn with(mut self, name: &'static str, from: &str, to: &str) -> Self {
        assert!(self.configuration.contains(from), "the sample has no {from:?}:\n{}", self.configuration);
        self.name = name;
        self.configuration = self.configuration.replace(from, to);
        self
    }

    /// What a move or a clean-up names.
    fn resource(&self) -> &'static str {
        if self.promotable { "db-clone" } else { "db" }
    }

    /// Starts Pacemaker on both nodes without any resource.
    pub fn start_empty(&self, lab: &Lab) -> Result<()> {
        lab.on_both(|node| {
            node.write_file("/etc/corosync/corosync.conf", COROSYNC_CONF, 0o644)?;
            node.run_ok("systemctl start corosync.service pacemaker.service")
        })?;
        Self::wait_until_online(lab.node1(), "node1 node2")?;
        // Pacemaker starts nothing while it should fence and can't.
        lab.node1().run_ok("crm_attribute --type crm_config --name stonith-enabled --update false").map(drop)
    }

    /// Waits until this node has a DC and sees these nodes.
    pub fn wait_until_online(node: &Node, nodes: &str) -> Result<()> {
        wait_until(&format!("Pacemaker on {} to see {nodes}", node.name()), SOON, || {
            let seen = node.run("timeout 10 crm_mon --one-shot")?.stdout;
            let online =
                seen.contains(&format!("Online: [ {nodes} ]")) && seen.contains("partition with quorum");
            Ok(online.then_some(()))
        })
    }

    /// What `crm_mon` shows, with failures and attributes.
    pub fn show(node: &Node) -> Result<String> {
        Ok(node.run("timeout 10 crm_mon --one-shot --inactive --failcounts --show-node-attributes")?.stdout)
    }

    /// Whether nothing is under way, as far as this node knows.
    pub fn rests(node: &Node) -> Result<bool> {
        Ok(node.run("timeout 10 crm_resource --wait --timeout=3s")?.success())
    }
}

impl Manager for Pacemaker {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(&self, lab: &Lab, _cluster: &Cluster<'_>) -> Result<()> {
        self.start_empty(lab)?;
        lab.node1().write_file("/root/db.crm", &self.configuration, 0o644)?;
        let loaded =
            lab.node1().run_with_deadline("crm configure load update /root/db.crm < /dev/null", SOON)?;
        ensure!(loaded.success(), "{loaded}");
        Ok(())
    }

    fn move_to(&self, _lab: &Lab, node: &Node) -> Result<()> {
        let (resource, name) = (self.resource(), node.name());
        let promoted = if self.promotable { "--promoted" } else { "" };
        let moved = node.run_with_deadline(
            &format!(
                "crm_resource --move --resource {resource} {promoted} --node {name} && \
                 crm_resource --wait --timeout={0}s; crm_resource --clear --resource {resource}",
                PATIENCE.as_secs()
            ),
            PATIENCE + SOON,
        )?;
        ensure!(moved.success(), "{moved}");
        Ok(())
    }

    fn kill_manager(&self, node: &Node) -> Result<()> {
        node.run_ok(&format!(
            "mkdir -p $(dirname {NO_RESTART}); printf '[Service]\\nRestart=no\\n' > {NO_RESTART}; systemctl daemon-reload"
        ))?;
        // Stopped first, so that none of them sees another one die.
        node.run_ok(&format!("pids=$(pidof {DAEMONS}) && kill -STOP $pids && kill -KILL $pids"))?;
        wait_until("Pacemaker's processes to be gone", SOON, || {
            Ok((!node.run(&format!("pidof {DAEMONS}"))?.success()).then_some(()))
        })
    }

    fn restart(&self, node: &Node) -> Result<()> {
        node.run_ok(&format!(
            "rm -f {NO_RESTART}; systemctl daemon-reload; systemctl reset-failed corosync.service pacemaker.service; \
             systemctl start corosync.service pacemaker.service"
        ))?;
        Self::wait_until_online(node, "node1 node2")?;
        wait_until("Pacemaker to come to rest", PATIENCE, || Ok(Self::rests(node)?.then_some(())))?;
        // A start that was refused while the other node served bans a node until its failure-timeout.
        let cleaned = node.run_with_deadline("crm_resource --cleanup", SOON)?;
        ensure!(cleaned.success(), "{cleaned}");
        Ok(())
    }

    fn logs(&self) -> &'static [&'static str] {
        &["/var/log/pacemaker/pacemaker.log", "/var/log/corosync/corosync.log"]
    }

    fn is_settled(&self, lab: &Lab) -> Result<bool> {
        Self::rests(lab.node1())
    }

    fn reaction(&self) -> Duration {
        // The token, a start that waits 30 s for the virtual address, and the stop after it.
        Duration::from_secs(50)
    }
}
