//! Pacemaker: whether it runs. It is never stopped from here: where it owns the resource, only its agent may act.

use super::heartbeat::running;
use crate::observation::{ClusterManagerState, Fact};

/// Whether Pacemaker runs on this node, told by its daemon `pacemakerd` (pacemakerd(8)).
pub fn observe() -> Fact<ClusterManagerState> {
    running(&["pacemakerd"])
        .map(|found| ClusterManagerState { pids: found.iter().map(|process| process.pid).collect() })
        .into()
}
