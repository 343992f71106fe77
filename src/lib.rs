//! Failover of a two-node InnoDB cluster on DRBD.
