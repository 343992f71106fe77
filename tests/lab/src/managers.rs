//! The cluster managers that the scenario is played with, a file for each.

mod by_hand;
mod stock_heartbeat;
mod stock_pacemaker;

pub use by_hand::ByHand;
pub use stock_heartbeat::StockHeartbeat;
pub use stock_pacemaker::StockPacemaker;
