//! What both nodes must have in common.

use std::time::Duration;

use crate::config::Config;
use crate::doctor::survey::PeerFacts;
use crate::observation::Fact;

pub(super) fn look_here(_config: &Config) -> PeerFacts {
    PeerFacts::default()
}

pub(super) fn ask(_config: &Config, _limit: Duration) -> Fact<PeerFacts> {
    Fact::Unknown("the peer was not asked".to_owned())
}
