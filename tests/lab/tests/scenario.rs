//! The sampler can fail, and the scenario runs without any manager: a person types standin's commands.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use standin_lab::managers::ByHand;
use standin_lab::sampler::{Record, Sampler};
use standin_lab::{Cluster, ClusterOptions, LabOptions, Network, scenario, wait_until, with_lab};

const SOON: Duration = Duration::from_secs(30);

fn kinds(record: &Record) -> Vec<&'static str> {
    let kinds = ["on both nodes", "both nodes were Primary", "answered for"];
    let found = record.violations();
    kinds.into_iter().filter(|kind| found.iter().any(|violation| violation.what.contains(kind))).collect()
}

/// The virtual address on both nodes, and then two Primaries: each is seen, and neither before it is so.
#[test]
#[ignore = "needs the lab: root and its image"]
fn the_sampler_sees_two_holders_and_two_primaries() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let sampler = Sampler::start(lab)?;
        one.serve()?;
        wait_until("node1 to be seen as the active one", SOON, || Ok(sampler.active()?.map(drop)))?;
        assert_eq!(sampler.active()?, Some(1));
        // Another connection for the same DRBD: the two can't be Primary at once while they are connected.
        lab.partition(Network::Replication)?;
        two.run_ok("drbdadm disconnect --force r0")?;
        wait_until("answers to ARP", SOON, || Ok((sampler.record().answers.len() > 5).then_some(())))?;
        assert_eq!(kinds(&sampler.record()), [""; 0]);

        two.run_ok("ip address add 10.77.0.100/24 dev eth0")?;
        let seen = wait_until("both holders to be seen", SOON, || {
            let kinds = kinds(&sampler.record());
            Ok((kinds.len() == 2).then_some(kinds))
        })?;
        assert_eq!(seen, ["on both nodes", "answered for"]);
        assert_eq!(sampler.active()?, None);

        two.run_ok("drbdsetup primary 0")?;
        wait_until("both Primaries to be seen", SOON, || {
            Ok(kinds(&sampler.record()).contains(&"both nodes were Primary").then_some(()))
        })?;
        let record = sampler.stop()?;
        for line in record.quality()? {
            println!("{line}");
        }
        for violation in record.violations() {
            println!("{violation}");
        }
        Ok(())
    })
}

/// A node that moves on in order is never seen to share anything, and a node that boots is looked into again.
#[test]
#[ignore = "needs the lab: root and its image"]
fn by_hand() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        let story = scenario::run(lab, &cluster, &ByHand, 1)?;
        let names: Vec<&str> = story.parts.iter().map(|part| part.name.as_str()).collect();
        ensure!(names.contains(&"power cut") && names.contains(&"return of the node"), "{names:?}");
        for name in ["report.txt", "report.json", "samples", "arp", "node1.journal", "node2.history"] {
            let path = story.logs.join(name);
            ensure!(path.metadata().is_ok_and(|file| file.len() > 0), "{} is missing", path.display());
        }
        ensure!(story.outage("kill -9 of mysqld").is_some() && story.outage("power cut").is_some());
        Ok(())
    })
}
