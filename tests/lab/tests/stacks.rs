//! What the stock stack does wrong, and standin in its place does not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use standin_lab::managers::StockHeartbeat;
use standin_lab::scenario::Play;
use standin_lab::{Cluster, ClusterOptions, LabOptions, Manager, with_lab};

/// More than the five seconds after which Heartbeat takes a silent peer for dead, and what the scripts take then.
const REACTION: Duration = Duration::from_secs(30);

/// kill -9 of Heartbeat on the active node: what the sampler saw in the time that the other one needs to act on it.
fn violations_after_the_kill(manager: &dyn Manager) -> Result<Vec<String>> {
    let mut found = Vec::new();
    with_lab(LabOptions::default(), |lab| {
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        let mut play = Play::begin(lab, &cluster, manager)?;
        play.start()?;
        let before = play.sampler().record().violations();
        ensure!(before.is_empty(), "before the kill: {before:?}");
        manager.kill_manager(play.active()?)?;
        std::thread::sleep(REACTION);
        found = play.sampler().record().violations().iter().map(ToString::to_string).collect();
        println!("{}: {found:?}", manager.name());
        let _ = play.finish(Ok(()));
        Ok(())
    })?;
    Ok(found)
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn try_in_order() -> Result<()> {
    violations_after_the_kill(&StockHeartbeat::IN_ORDER).map(drop)
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn try_address_first() -> Result<()> {
    violations_after_the_kill(&StockHeartbeat::ADDRESS_FIRST).map(drop)
}
