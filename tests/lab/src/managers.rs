//! The cluster managers that the scenario is played with, a file for each.

mod by_hand;
mod heartbeat;

pub use by_hand::ByHand;
pub use heartbeat::Heartbeat;
