//! keepalived, as the sample in `keepalived/` configures it.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::node::Node;
use crate::wait::wait_until;

const SAMPLE: &str = include_str!("../../../../keepalived/keepalived.conf");
const DROP_IN: &str = include_str!("../../../../keepalived/keepalived.service.conf");
const SOON: Duration = Duration::from_secs(60);

/// keepalived owns the virtual address, and standin follows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keepalived;

impl Keepalived {
    /// What the cluster's configuration needs beside its defaults.
    pub const MORE: &'static str = "cluster_manager: keepalived";

    /// Writes the sample and the drop-in on both nodes, each with its own addresses.
    pub fn configure(lab: &Lab) -> Result<()> {
        lab.on_both(|node| {
            node.write_file("/etc/keepalived/keepalived.conf", sample_for(node), 0o644)?;
            node.run_ok("mkdir -p /etc/systemd/system/keepalived.service.d")?;
            node.write_file("/etc/systemd/system/keepalived.service.d/standin.conf", DROP_IN, 0o644)?;
            node.run_ok("systemctl daemon-reload")
        })
        .map(drop)
    }
}

fn sample_for(node: &Node) -> String {
    if node.number() == 1 {
        return SAMPLE.to_owned();
    }
    let change = |line: &str| match line.split_once("# on node2: ") {
        Some((mine, other)) => {
            let old = mine.split_whitespace().next_back().unwrap_or_default();
            mine.replace(old, other)
        }
        None => line.to_owned(),
    };
    SAMPLE.lines().map(|line| change(line) + "\n").collect()
}

impl Manager for Keepalived {
    fn name(&self) -> &'static str {
        "keepalived"
    }

    fn start(&self, lab: &Lab, _cluster: &Cluster<'_>) -> Result<()> {
        Self::configure(lab)?;
        let [one, two] = lab.nodes();
        one.run_ok("systemctl start keepalived.service")?;
        // The first one that is fit gets the address.
        wait_until("the virtual address on node1", SOON, || {
            let addresses = one.run_ok("ip -4 -oneline address show dev eth0")?;
            Ok(addresses.contains(" 10.77.0.100/").then_some(()))
        })?;
        two.run_ok("systemctl start keepalived.service").map(drop)
    }

    fn move_to(&self, lab: &Lab, node: &Node) -> Result<()> {
        lab.peer(node).run_ok("systemctl restart keepalived.service").map(drop)
    }

    fn kill_manager(&self, node: &Node) -> Result<()> {
        node.run_ok("kill -KILL $(pidof keepalived)").map(drop)
    }

    fn restart(&self, node: &Node) -> Result<()> {
        node.run_ok("systemctl start keepalived.service").map(drop)
    }

    fn logs(&self) -> &'static [&'static str] {
        &["/etc/keepalived/keepalived.conf"]
    }

    fn is_settled(&self, lab: &Lab) -> Result<bool> {
        for node in lab.nodes() {
            let fit = node.run("standin check --timeout 10s && systemctl is-active keepalived.service")?;
            if fit.code != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::SAMPLE;

    #[test]
    fn the_sample_marks_what_differs_between_the_nodes() {
        let marked: Vec<&str> = SAMPLE.lines().filter(|line| line.contains("# on node2: ")).collect();
        assert_eq!(marked.len(), 2, "{marked:?}");
        assert!(marked[0].contains("unicast_src_ip 10.77.0.1 ") && marked[0].ends_with("10.77.0.2"));
        assert!(marked[1].trim().starts_with("10.77.0.2 ") && marked[1].ends_with("10.77.0.1"));
    }
}
