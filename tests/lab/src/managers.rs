//! The cluster managers that the scenario is played with, a file for each.

mod by_hand;
mod heartbeat;
mod pacemaker;

pub use by_hand::ByHand;
pub use heartbeat::Heartbeat;
pub use pacemaker::Pacemaker;
