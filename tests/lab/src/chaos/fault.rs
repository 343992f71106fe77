//! How each fault is brought about and mended. What has become impossible meanwhile, because an earlier fault has struck the
//! same node, is told and no error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

use super::disk;
use super::schedule::Fault;
use crate::lab::Lab;
use crate::manager::Manager;
use crate::network::Network;
use crate::node::Node;

/// A node that does not answer sooner will not.
const SOON: Duration = Duration::from_secs(10);
/// Every block, those that only root may use, too: standin's write check is root's.
const FILL: &str = "\
cd /var/lib/mysql && grep -q ' /var/lib/mysql ' /proc/mounts || exit 1
kilobytes=$(df --output=avail --block-size=1K . | tail -n 1)
number=0
while [ $kilobytes -ge 4 ] && [ $number -lt 40 ]; do
    fallocate --length ${kilobytes}KiB chaos-filler.$number 2> /dev/null || kilobytes=$((kilobytes / 2))
    number=$((number + 1))
done
df --output=avail --block-size=1K . | tail -n 1";
/// Whoever has it mounted.
const EMPTY: &str = "grep -q ' /var/lib/mysql ' /proc/mounts && rm -f /var/lib/mysql/chaos-filler.*";

/// Lets a fault strike, the first one of its round or a later one. Returns what there is to say of it.
pub(super) fn strike(
    lab: &Lab,
    manager: &dyn Manager,
    node: &Node,
    fault: Fault,
    first: bool,
) -> Result<Option<String>> {
    let run = |command: &str| node.run_with_deadline(command, SOON);
    let done = match fault {
        Fault::PowerCut if !node.is_on() => return Ok(Some("it was off".to_owned())),
        Fault::PowerCut => node.power_cut().map(|()| None),
        Fault::Hang => node.hang().map(|()| None),
        Fault::ClientsCut => node.unplug(Network::Clients).map(|()| None),
        Fault::ReplicationCut => lab.partition(Network::Replication).map(|()| None),
        Fault::BothCut => {
            node.unplug(Network::Clients)?;
            node.unplug(Network::Replication).map(|()| None)
        }
        Fault::KillStandin => run("pgrep -c -x standin; pkill -KILL -x standin; true").map(|output| {
            let count = output.stdout.trim();
            Some(format!("{count} of them"))
        }),
        Fault::KillMysqld => run("pkill -KILL -x 'mariadbd|mysqld'")
            .map(|output| (!output.success()).then(|| "there was none".to_owned())),
        Fault::KillManager => manager.kill_manager(node).map(|()| None),
        Fault::ReadOnly => run(
            "mount -o remount,errors=remount-ro /var/lib/mysql && echo chaos > /sys/fs/ext4/drbd0/trigger_fs_error",
        )
        .map(|output| (!output.success()).then(|| "nothing was mounted".to_owned())),
        Fault::FullDisk => run(FILL).map(|output| {
            let left = output.stdout.trim();
            Some(if output.success() { format!("{left} KiB left") } else { "nothing was mounted".to_owned() })
        }),
        Fault::DiskErrors => disk::fail(node).map(|()| None),
        Fault::DiskHang => disk::hang(node).map(|()| None),
        Fault::ClockForward => run("date --set @$(($(date +%s) + 3600))").map(|_| None),
        Fault::ClockBack => run("date --set @$(($(date +%s) - 3600))").map(|_| None),
    };
    match done {
        Ok(told) => Ok(told),
        Err(error) if !first => Ok(Some(format!("it could not strike: {}", first_line(&error)))),
        Err(error) => Err(error.context(format!("{fault} of {}", node.name()))),
    }
}

/// Mends it. Whatever ended meanwhile by itself, a reset being the usual way, is mended.
pub(super) fn mend(lab: &Lab, node: &Node, fault: Fault) -> Result<()> {
    match fault {
        Fault::PowerCut if node.is_on() => Ok(()),
        Fault::PowerCut => node.boot(),
        Fault::Hang if !node.is_on() => Ok(()),
        Fault::Hang => node.resume(),
        Fault::ClientsCut => node.plug(Network::Clients),
        Fault::ReplicationCut => lab.heal(Network::Replication),
        Fault::BothCut => node.plug(Network::Clients).and_then(|()| node.plug(Network::Replication)),
        Fault::KillStandin | Fault::KillMysqld | Fault::KillManager | Fault::ReadOnly => Ok(()),
        Fault::FullDisk => {
            let emptied =
                |node: &Node| node.run_with_deadline(EMPTY, SOON).is_ok_and(|output| output.success());
            ensure!(lab.nodes().into_iter().any(emptied), "neither node has the full disk mounted");
            Ok(())
        }
        Fault::DiskErrors | Fault::DiskHang => disk::mend(node),
        Fault::ClockForward | Fault::ClockBack => set_clock(node),
    }
}

/// Puts the host's time into a node.
pub(super) fn set_clock(node: &Node) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    node.run_with_deadline(&format!("date --set @{now:.3}"), SOON).map(drop)
}

/// Whether the node does not run commands: it is off, hangs, or boots.
pub(super) fn cannot_be_reached(node: &Node) -> bool {
    !node.is_on() || node.run_with_deadline("true", Duration::from_secs(3)).is_err()
}

/// The outermost sentence of an error.
pub(super) fn first_line(error: &anyhow::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
