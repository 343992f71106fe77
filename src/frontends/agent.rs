//! `standin agent`: guards the active side, watches from the standby.

pub mod http;
mod metrics;
pub mod notify;
pub mod peer_status;
pub mod snapshot;
