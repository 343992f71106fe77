//! Heartbeat with the scripts that come with it, which standin takes the place of.

use super::Heartbeat;

/// In the order in which the scripts need each other: DRBD, mount, MariaDB, address.
pub fn stock_heartbeat() -> Heartbeat {
    Heartbeat::stock(
        "stock-heartbeat",
        "drbddisk::r0 Filesystem::/dev/drbd0::/var/lib/mysql::ext4 mariadb IPaddr2::10.77.0.100/24/eth0",
    )
}

/// The address first, as in the examples of Heartbeat's own documentation.
pub fn stock_heartbeat_address_first() -> Heartbeat {
    Heartbeat::stock(
        "stock-heartbeat-address-first",
        "IPaddr2::10.77.0.100/24/eth0 drbddisk::r0 Filesystem::/dev/drbd0::/var/lib/mysql::ext4 mariadb",
    )
}
