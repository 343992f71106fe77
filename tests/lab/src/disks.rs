//! Back to the golden disks: both copies equal, MariaDB as after its first clean shutdown.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::network::{VIP, VIP_PREFIX};
use crate::node::Node;

/// How long a node may take to let go of its disk before it is switched off instead.
const LET_GO: Duration = Duration::from_secs(20);

/// Gives a node a fresh replicated disk.
pub(crate) fn copy_golden(node: &Node) -> Result<()> {
    let golden = node.settings.image.golden(node.settings.filesystem);
    let disk = node.settings.run.join(format!("{}.disk", node.name()));
    // The same file is written anew: a node that is on has it open.
    let output = Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .args([&golden, &disk])
        .output()
        .context("cp does not run")?;
    ensure!(
        output.status.success(),
        "copying {}: {}",
        golden.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Everything that a test may have left, from the top down; each command that may find nothing to do is allowed to fail.
fn let_go(node: &Node) -> Result<()> {
    let script = format!(
        "if [ -d /sys/fs/cgroup/system.slice/mariadb.service ]; then
            systemctl kill --signal=KILL mariadb; systemctl stop mariadb
        fi
        killall -q -CONT -e mariadbd-safe mysqld_safe mariadbd mysqld
        killall -q -KILL -w mariadbd-safe mysqld_safe mariadbd mysqld
        ip address delete {VIP}/{VIP_PREFIX} dev eth0 2> /dev/null
        umount --all-targets --quiet /dev/drbd0
        while grep -q ' /var/lib/mysql ' /proc/mounts; do umount /var/lib/mysql || exit; done
        drbdsetup down r0"
    );
    let output = node.run_with_deadline(&script, LET_GO)?;
    ensure!(output.success(), "{}: {output}", node.name());
    Ok(())
}

impl Lab {
    /// Puts the golden disks back, and waits until both nodes are in sync again. A node that is on stays on, if it lets
    /// go of its disk in time; one that does not, or hangs, is switched off and boots again; one that is off stays off.
    pub fn reset_disks(&self) -> Result<()> {
        let on = self.on_both(|node| {
            let on = node.is_on();
            if on && let_go(node).is_err() {
                node.power_cut()?;
            }
            Ok(on)
        })?;
        self.on_both(copy_golden)?;
        for (node, on) in self.nodes().into_iter().zip(on) {
            if on && !node.is_on() {
                node.switch_on(&[])?;
            }
        }
        self.on_both(|node| {
            if !node.is_on() {
                return Ok(());
            }
            node.wait_until_up()?;
            // After a boot it is up already, and this changes nothing.
            node.run_ok("drbdadm adjust r0").map(drop)
        })?;
        if self.nodes().iter().all(|node| node.is_on()) {
            self.wait_in_sync()?;
        }
        Ok(())
    }
}
