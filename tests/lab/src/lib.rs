//! Two User-Mode-Linux nodes with real DRBD and MariaDB.
