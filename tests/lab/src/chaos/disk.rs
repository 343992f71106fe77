//! A device mapper between DRBD and its disk, so that the disk can fail or hang.

use anyhow::Result;

use crate::node::Node;

const NAME: &str = "lab-disk";
/// It is there before DRBD, at every boot.
const UNIT: &str = "\
[Unit]
Description=A linear device between DRBD and its disk
DefaultDependencies=no
Before=lab-drbd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/modprobe dm-mod
ExecStart=/bin/sh -c 'dmsetup create lab-disk --noudevsync --table \"0 $$(blockdev --getsz /dev/ubdb) linear /dev/ubdb 0\"'
ExecStart=/bin/sh -c 'until [ -b /dev/mapper/lab-disk ]; do sleep 0.05; done'
[Install]
WantedBy=multi-user.target
";

/// Puts the device below DRBD, which must not be in use. It comes back at every boot, as sound as the disk.
pub fn install(node: &Node) -> Result<()> {
    node.write_file("/etc/systemd/system/lab-disk.service", UNIT, 0o644)?;
    node.run_ok(
        "set -e; systemctl daemon-reload; systemctl --quiet enable lab-disk.service
        up=$(grep -c '^ *0: cs:[^U]' /proc/drbd 2> /dev/null || true)
        [ \"$up\" != 1 ] || drbdsetup down r0
        systemctl start lab-disk.service
        sed -i 's|^\\( *disk *\\)/dev/ubdb;|\\1/dev/mapper/lab-disk;|' /etc/drbd.d/r0.res
        grep -q mapper /etc/drbd.d/r0.res
        [ \"$up\" != 1 ] || drbdadm up r0
        sync",
    )
    .map(drop)
}

/// From now on every access fails.
pub fn fail(node: &Node) -> Result<()> {
    table(node, "error")
}

/// From now on every access hangs.
pub fn hang(node: &Node) -> Result<()> {
    node.run_ok(&format!("dmsetup suspend --noflush --nolockfs --noudevsync {NAME}")).map(drop)
}

/// The disk is sound again: what hung goes on. DRBD is attached again if it had given its disk up.
pub fn mend(node: &Node) -> Result<()> {
    table(node, "linear /dev/ubdb 0")?;
    node.run_ok("if grep -q ' 0: cs:.* ds:Diskless/' /proc/drbd; then timeout 20 drbdadm attach r0; fi")
        .map(drop)
}

/// Loads a table; a device that stands still goes on with it.
fn table(node: &Node, target: &str) -> Result<()> {
    node.run_ok(&format!(
        "set -e; size=$(blockdev --getsz /dev/ubdb)
        dmsetup load {NAME} --table \"0 $size {target}\"
        dmsetup suspend --noflush --nolockfs --noudevsync {NAME}
        dmsetup resume --noudevsync {NAME}"
    ))
    .map(drop)
}
