//! Interfaces, addresses and paths to the peer.

use crate::config::Config;
use crate::doctor::survey::NetworkSurvey;

pub(super) fn look(_config: &Config) -> NetworkSurvey {
    NetworkSurvey::default()
}
