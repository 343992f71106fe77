//! The package on nodes that serve: an upgrade or a removal disturbs nothing, and its unit releases before a shutdown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::{Client, Cluster, ClusterOptions, Filesystem, LabOptions, State, package, with_lab};

/// Rows before and after each event, so that there is something to lose.
const ROWS: usize = 200;

/// The steps that the latest plan of this goal walked to their end, when it came to an end.
fn walked(journal: &[Value], goal: &str) -> Result<Vec<String>> {
    let begins = |entry: &Value| entry["event"] == "begin" && entry["plan"]["goal"] == goal;
    let begin = journal.iter().rposition(begins).with_context(|| format!("no {goal}: {journal:#?}"))?;
    let run = &journal[begin]["run"];
    let of_run = || journal[begin..].iter().filter(move |entry| entry["run"] == *run);
    ensure!(of_run().any(|entry| entry["event"] == "end"), "the {goal} did not end: {journal:#?}");
    let steps = of_run().filter(|entry| entry["event"] == "step-end");
    Ok(steps.filter_map(|entry| entry["step"].as_str().map(str::to_owned)).collect())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn an_upgrade_disturbs_nothing_and_a_shutdown_releases_first() -> Result<()> {
    with_lab(LabOptions { filesystem: Filesystem::Xfs, ..LabOptions::default() }, |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        let owner = one.run_ok("dpkg --search /usr/sbin/standin")?;
        ensure!(owner == "standin: /usr/sbin/standin\n", "{owner}");

        one.run_ok("systemctl start standin-active@r0")?;
        let client = Client::start(lab)?;
        client.wait_for_rows(ROWS)?;

        one.copy_in(package()?, "/root/standin.deb", 0o644)?;
        let before = State::of(one)?;
        for command in ["--install /root/standin.deb", "--remove standin", "--install /root/standin.deb"] {
            one.run_ok(&format!("dpkg --force-unsafe-io {command}"))?;
            let after = State::of(one)?;
            ensure!(before == after, "dpkg {command} changed {:?}:\n{after}", before.differences(&after));
            ensure!(
                one.run_ok("systemctl is-active standin-active@r0")? == "active\n",
                "the unit after dpkg {command}"
            );
        }
        client.wait_for_rows(ROWS)?;
        ensure!(client.report().outages.is_empty(), "{:?}", client.report().outages);

        one.power_off()?;
        cluster.expect(two, "takeover", 0)?;
        client.wait_for_rows(ROWS)?;
        let lost = client.stop()?.lost_rows(lab)?;
        ensure!(lost.is_empty(), "lost: {lost:?}");
        one.boot()?;
        lab.wait_in_sync()?;
        let steps = walked(&cluster.journal(one)?, "release")?;
        for step in ["remove-vip", "stop-mysqld", "unmount", "demote-drbd"] {
            ensure!(steps.iter().any(|walked| walked == step), "{step} is missing in {steps:?}");
        }
        Ok(())
    })
}
