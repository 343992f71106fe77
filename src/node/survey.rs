//! The look at the machine that the doctor judges: files of other programs, settings of the kernel, the running server.
//! Reads only; changes nothing.

mod cluster_manager;
mod drbd;
mod files;
mod mysqld;
mod network;
pub mod paths;
mod peer;
mod program;
mod storage;
mod system;
mod tags;
mod unit;

use std::thread;
use std::time::Duration;

use super::Node;
use super::real::RealNode;
use crate::config::Config;
use crate::doctor::survey::{PeerFacts, Survey};
use crate::observation::{Fact, Past};

/// How long the peer may take to tell its facts.
const PEER_LOOK: Duration = Duration::from_secs(10);

/// Looks at everything, at the same time where it can. `peer` are the peer's facts when the caller has them already;
/// otherwise the peer is asked over ssh, without a password.
pub fn look(config: &Config, past: Past, peer: Option<PeerFacts>) -> Survey {
    thread::scope(|scope| {
        let peer = scope.spawn(|| match peer {
            Some(facts) => Fact::Known(facts),
            None => peer::ask(config, PEER_LOOK),
        });
        let observation = scope.spawn(|| RealNode::new(config.clone(), past).observe());
        let drbd = scope.spawn(|| drbd::look(config));
        let unit = unit::look(config);
        let mut storage = storage::look(config, &unit);
        let mut mysqld = mysqld::look(config, &unit);
        mysqld::look_into_datadir(config, &mut mysqld);
        let network = network::look(config);
        let cluster_manager = cluster_manager::look(config);
        let system = system::look(config, &mysqld);
        let drbd = joined(drbd);
        tags::look(config, &drbd.configured, &mut storage);
        let here = peer::look_here(config, &drbd.module, &drbd.configured, Some(&mysqld.program));
        Survey {
            observation: joined(observation),
            drbd,
            storage,
            mysqld,
            unit,
            network,
            cluster_manager,
            here,
            peer: joined(peer),
            system,
        }
    })
}

/// What both nodes must have in common, of this node: what `standin doctor --facts` prints.
pub fn facts(config: &Config) -> PeerFacts {
    peer::look_here(config, &drbd::module(), &drbd::configured(&config.resource), None)
}

fn joined<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
