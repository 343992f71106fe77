//! Heartbeat 3.0.6 with groups of resource scripts (haresources).

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;
use crate::wait::wait_until;

/// For Heartbeat to see its peer, and for a request that got lost to be typed again.
const SOON: Duration = Duration::from_secs(60);
/// After this long a request that nobody answers is typed again: Heartbeat reads it from a pipe in which it may come in
/// parts, and then drops it ("Message with zero fields").
const ASK_AGAIN: Duration = Duration::from_secs(40);

/// Two links, so that one cut cable is no dead peer.
const HA_CF: &str = "\
logfile /var/log/ha-log
debugfile /var/log/ha-debug
keepalive 1
warntime 3
deadtime 5
initdead 10
udpport 694
ucast eth0 10.77.0.1
ucast eth0 10.77.0.2
ucast eth1 10.77.1.1
ucast eth1 10.77.1.2
auto_failback off
crm no
node node1 node2
";

const SCRIPTS: [(&str, &str); 2] = [
    ("standin", include_str!("../../../../ha.d/resource.d/standin")),
    ("drbddisk", include_str!("../../../../ha.d/resource.d/drbddisk")),
];

/// Heartbeat with one group, `deadtime` 5 s.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    name: &'static str,
    group: &'static str,
    scripts: bool,
}

impl Heartbeat {
    /// With standin as its one resource. The cluster's configuration is to say `cluster_manager: {heartbeat: keep}`.
    pub fn standin() -> Self {
        Self { name: "heartbeat", group: "standin::r0", scripts: true }
    }

    /// With another group of resources, and the scripts that the nodes came with.
    pub fn stock(name: &'static str, group: &'static str) -> Self {
        Self { name, group, scripts: false }
    }

    /// With standin's drbddisk in front of Heartbeat's other scripts.
    pub fn drbddisk(name: &'static str, group: &'static str) -> Self {
        Self { name, group, scripts: true }
    }

    /// Writes Heartbeat's files on a node, and starts nothing.
    pub fn configure(&self, node: &Node) -> Result<()> {
        node.write_file("/etc/ha.d/ha.cf", HA_CF, 0o644)?;
        node.write_file("/etc/ha.d/authkeys", "auth 1\n1 sha1 of-the-lab\n", 0o600)?;
        node.write_file("/etc/ha.d/haresources", format!("node1 {}\n", self.group), 0o644)?;
        if self.scripts {
            for (name, text) in SCRIPTS {
                node.write_file(&format!("/etc/ha.d/resource.d/{name}"), text, 0o755)?;
            }
        }
        Ok(())
    }

    /// Whether Heartbeat's own book-keeping is at rest on a node that is on.
    pub fn rests(node: &Node) -> Result<bool> {
        // A start that failed leaves a ResourceManager behind, which asks for another move half a minute later.
        let busy = node.run("pgrep -f '[/]ResourceManager|[/]hb_standby|[/]mach_down|[/]rc\\.d/'")?;
        let status = node.run("cl_status rscstatus")?;
        let status = status.stdout.trim();
        Ok(!busy.success() && !status.is_empty() && status != "transition")
    }

    /// Asks the peer to give everything to this node, until Heartbeat says that it has heard it.
    pub fn ask_for_all(node: &Node) -> Result<()> {
        let seen = || node.run_ok("grep -c 'wants to go standby' /var/log/ha-log || true");
        let before = seen()?;
        wait_until(&format!("{} to ask for the resources", node.name()), SOON * 3, || {
            node.run_ok("/usr/share/heartbeat/hb_takeover all")?;
            Ok(wait_until("an answer", ASK_AGAIN, || Ok((seen()? != before).then_some(()))).ok())
        })
    }

    /// Starts Heartbeat on a node whose peer is off, and waits until it has come to rest.
    pub fn restart_alone(&self, node: &Node) -> Result<()> {
        node.run_ok("systemctl reset-failed heartbeat.service; systemctl start heartbeat.service")?;
        wait_until("Heartbeat to come to rest", SOON * 3, || Ok(Self::rests(node)?.then_some(())))
    }

    /// Waits until Heartbeat here sees its peer, unless that is off.
    pub fn wait_for_peer(node: &Node) -> Result<()> {
        let peer = if node.number() == 1 { "node2" } else { "node1" };
        wait_until(&format!("Heartbeat on {} to see {peer}", node.name()), SOON, || {
            let peer = node.run(&format!("cl_status nodestatus {peer}"))?;
            Ok((peer.stdout.trim() == "active").then_some(()))
        })
    }
}

impl Manager for Heartbeat {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(&self, lab: &Lab, _cluster: &Cluster<'_>) -> Result<()> {
        lab.on_both(|node| {
            self.configure(node)?;
            node.run_ok("systemctl start heartbeat.service")
        })?;
        lab.on_both(Self::wait_for_peer)?;
        // node1 takes what is its own without being asked, unless its message to itself gets lost.
        let begins = wait_until("node1 to take its group", SOON, || {
            Ok(lab.node1().run("grep -q 'Acquiring resource group' /var/log/ha-log")?.success().then_some(()))
        });
        if begins.is_ok() { Ok(()) } else { Self::ask_for_all(lab.node1()) }
    }

    fn move_to(&self, _lab: &Lab, node: &Node) -> Result<()> {
        Self::ask_for_all(node)
    }

    fn kill_manager(&self, node: &Node) -> Result<()> {
        // Stopped first, so that none of them sees another one die.
        node.run_ok("pids=$(pidof heartbeat) && kill -STOP $pids && kill -KILL $pids")?;
        wait_until("Heartbeat's processes to be gone", SOON, || {
            Ok((!node.run("pidof heartbeat")?.success()).then_some(()))
        })
    }

    fn restart(&self, node: &Node) -> Result<()> {
        node.run_ok("systemctl reset-failed heartbeat.service; systemctl start heartbeat.service")?;
        Self::wait_for_peer(node)?;
        wait_until("Heartbeat to come to rest", SOON * 3, || Ok(Self::rests(node)?.then_some(())))?;
        // Its peer believes that it has everything, although its start was refused. Asking where it runs changes nothing but
        // that belief.
        let serves = node.run("ip -oneline -4 address show | grep -q ' 10\\.77\\.0\\.100/'")?.success();
        let believed = node.run_ok("cl_status rscstatus")?;
        if serves && believed.trim() == "none" { Self::ask_for_all(node) } else { Ok(()) }
    }

    fn logs(&self) -> &'static [&'static str] {
        &["/var/log/ha-log", "/var/log/ha-debug"]
    }

    fn is_settled(&self, lab: &Lab) -> Result<bool> {
        let [one, two] = lab.nodes();
        for node in [one, two] {
            ensure!(node.is_on(), "{} is off", node.name());
            if !Self::rests(node)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn reaction(&self) -> Duration {
        // deadtime, what the shell scripts take in a node, ten seconds in which standin waits for the virtual IP (the configuration
        // of the tests says so), and the half minute after which Heartbeat hands over what it could not start.
        Duration::from_secs(65)
    }
}
