//! Planned moves on two real kernels, with a client that writes all the while, and pauses that both agents see.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::load::{self, DROP_IN, FULL_POOL};
use standin_lab::{Client, Cluster, ClusterOptions, Lab, LabOptions, Node, State, VIP, wait_until, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);
const ROWS: usize = 100;
const LIMIT: &str = "SELECT @@GLOBAL.innodb_max_dirty_pages_pct";
/// A standby that steps up by itself does so within this after a power cut.
const STEPS_UP: Duration = Duration::from_secs(60);
const AGENTS: &str = "agent: {takeover: automatic, listen: [\"10.77.1.1:7780\", \"10.77.1.2:7780\"]}";

fn serving(lab: &Lab) -> Result<(Cluster<'_>, Client)> {
    let cluster = Cluster::install(lab, &ClusterOptions::default())?;
    cluster.expect(lab.node1(), "takeover", 0)?;
    let client = Client::start(lab)?;
    client.wait_for_rows(ROWS)?;
    Ok((cluster, client))
}

fn holds_nothing(node: &Node) -> Result<()> {
    let state = State::of(node)?;
    ensure!(
        state.part("drbd").contains("ro:Secondary/")
            && state.part("mounts").is_empty()
            && state.part("mysqld").is_empty()
            && !state.part("addresses").contains(&VIP.to_string()),
        "{} holds something:\n{state}",
        node.name()
    );
    Ok(())
}

fn no_row_lost(lab: &Lab, client: Client) -> Result<()> {
    let report = client.stop()?;
    let lost = report.lost_rows(lab)?;
    println!("{} rows acknowledged, {} lost", report.acknowledged.len(), lost.len());
    ensure!(lost.is_empty(), "{} acknowledged rows are lost: {lost:?}", lost.len());
    Ok(())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_switchover_there_and_back_and_what_is_refused() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let (cluster, client) = serving(lab)?;
        // Its account may not set the limits of dirty pages: a warning, and it goes on.
        let before = cluster.states()?;
        let planned = cluster.expect(one, "switchover --plan", 0)?.stdout;
        ensure!(planned.contains("flush-dirty-pages") && planned.contains("ssh 10.77.1.2 "), "{planned}");
        ensure!(cluster.expect(two, "switchover --plan", 3)?.stderr.contains("type it on node1"));
        ensure!(before == cluster.states()?, "a plan changed something");
        let output = cluster.expect(one, "switchover", 0)?;
        println!("{output}");
        ensure!(output.stdout.contains("node2 is active after"), "{output}");
        ensure!(output.stdout.contains("SUPER in MariaDB"), "{output}");
        holds_nothing(one)?;
        client.wait_for_row_after(Instant::now(), SOON)?;

        // A peer whose disk is not current is a refusal, and nothing is touched.
        one.run_ok("drbdadm disconnect r0")?;
        client.wait_for_rows(ROWS)?;
        let refused = cluster.expect(two, "switchover", 3)?.stderr;
        ensure!(
            refused.contains("is not a connected Secondary") && refused.contains("standin rejoin"),
            "{refused}"
        );
        client.wait_for_rows(ROWS)?;
        let rejoined = cluster.expect(one, "rejoin", 0)?;
        ensure!(rejoined.stdout.contains("node1 is a standby"), "{rejoined}");
        lab.wait_in_sync()?;

        cluster.expect(two, "switchover", 0)?;
        holds_nothing(two)?;
        client.wait_for_row_after(Instant::now(), SOON)?;
        no_row_lost(lab, client)
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_peer_that_fails_gives_the_service_back_and_an_interrupted_flush_its_limits() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        // Slow enough to be interrupted in the middle of it.
        let slow = FULL_POOL.replace("= 2000", "= 100");
        lab.on_both(|node| node.write_file(DROP_IN, &slow, 0o644))?;
        let (cluster, client) = serving(lab)?;
        load::prepare(one)?;
        let dirty = load::dirty_all(one)?;
        ensure!(dirty > 2000, "only {dirty} dirty pages");
        let is_flushing = || Ok((load::status::<f64>(one, LIMIT)? < 0.5).then_some(()));

        // Killed: the limits stay at zero. The next one knows what they were, and an interrupt sets them again.
        let running = one.spawn("standin switchover")?;
        wait_until("the flush", SOON, is_flushing)?;
        // With its shell, which could have told its exit code.
        running.signal("KILL")?;
        wait_until("its end", SOON, || Ok((!one.run("pidof standin")?.success()).then_some(())))?;
        let running = one.spawn("standin switchover")?;
        wait_until("the second run", SOON, || {
            Ok(running.output()?.contains("switchover of r0").then_some(()))
        })?;
        one.run_ok("killall -INT standin")?;
        let (code, output) = running.wait(SOON)?;
        println!("{output}");
        ensure!(code == 1, "{output}");
        ensure!((load::status::<f64>(one, LIMIT)? - 90.0).abs() < 0.5, "the limit is not back: {output}");
        client.wait_for_rows(ROWS)?;

        // mysqld of the peer does not start: its takeover is undone there, and the service comes back here.
        two.write_file(DROP_IN, "[mariadbd]\nno_such_option = 1\n", 0o644)?;
        let begun = Instant::now();
        let output = cluster.expect(one, "switchover --no-flush", 1)?;
        println!("{output}");
        ensure!(output.stderr.contains("node1 is active again"), "{output}");
        client.wait_for_row_after(begun + Duration::from_secs(1), SOON)?;
        holds_nothing(two)?;
        client.wait_for_rows(ROWS)?;
        no_row_lost(lab, client)
    })
}

fn snapshot(node: &Node, address: &str) -> Result<Value> {
    let text = node.run_ok(&format!(
        "exec 3<> /dev/null; bash -c 'exec 3<> /dev/tcp/{address}/7780; printf \"GET /status.json HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\" >&3; cat <&3'"
    ))?;
    let body = text.split("\r\n\r\n").nth(1).with_context(|| format!("no body: {text}"))?;
    serde_json::from_str(body).with_context(|| text.clone())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_pause_is_seen_by_both_agents_and_holds_them_back() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let options = ClusterOptions { more: vec![AGENTS], ..ClusterOptions::default() };
        let cluster = Cluster::install(lab, &options)?;
        cluster.expect(one, "takeover", 0)?;
        lab.on_both(|node| node.run_ok("systemctl start standin-agent@r0.service"))?;
        let client = Client::start(lab)?;
        client.wait_for_rows(ROWS)?;
        wait_until("the agents to see each other", SOON, || {
            Ok(snapshot(two, "10.77.1.1").is_ok().then_some(()))
        })?;

        let paused = cluster.expect(one, "pause --for 20m --reason cables", 0)?.stdout;
        ensure!(paused.contains("the agent of node2 has seen it"), "{paused}");
        ensure!(
            snapshot(two, "10.77.1.2")?["pause"]["by_peer"] == true,
            "node2 does not tell that it is the peer's"
        );
        ensure!(cluster.expect(one, "status", 0)?.stdout.contains("cables"));
        // A resume ends it on both: what each shows of the other's is no pause of its own.
        cluster.expect(one, "resume", 0)?;
        wait_until("both to go on", SOON, || {
            let goes_on = |address| Ok::<_, anyhow::Error>(snapshot(two, address)?["pause"].is_null());
            Ok((goes_on("10.77.1.1")? && goes_on("10.77.1.2")?).then_some(()))
        })?;

        cluster.expect(one, "pause --for 20m", 0)?;
        one.power_cut()?;
        let holds_back = || {
            let told = snapshot(two, "10.77.1.2")?;
            let sentence = told["decision"]["sentence"].as_str().unwrap_or_default().to_owned();
            Ok((sentence.contains("paused") && sentence.contains("node1 is dead")).then_some(sentence))
        };
        println!("{}", wait_until("the standby to hold back", STEPS_UP, holds_back)?);
        // What would make it step up is there for several looks by now.
        std::thread::sleep(Duration::from_secs(5));
        holds_nothing(two)?;
        let resumed = cluster.expect(two, "resume", 0)?;
        println!("{resumed}");
        client.wait_for_row_after(Instant::now(), STEPS_UP)?;
        no_row_lost(lab, client)
    })
}
