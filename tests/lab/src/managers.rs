//! The cluster managers that the scenario is played with, a file for each.

mod agent;
mod by_hand;
mod heartbeat;
mod keepalived;
mod pacemaker;
mod stock_heartbeat;
mod stock_pacemaker;

pub use agent::Agent;
pub use by_hand::ByHand;
pub use heartbeat::Heartbeat;
pub use keepalived::Keepalived;
pub use pacemaker::Pacemaker;
pub use stock_heartbeat::{stock_heartbeat, stock_heartbeat_address_first};
pub use stock_pacemaker::StockPacemaker;
