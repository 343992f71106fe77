//! standin as a resource of a real Heartbeat 3.0.6.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use standin_lab::managers::Heartbeat;
use standin_lab::scenario::{self, Play};
use standin_lab::{
    Client, Cluster, ClusterOptions, Lab, LabOptions, Manager, Node, State, binary, wait_until, with_lab,
};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(60);
/// For ResourceManager, whose many processes are slow in a node, and what it calls.
const PATIENCE: Duration = Duration::from_secs(240);
const MANAGER: &str = "/usr/share/heartbeat/ResourceManager";
const RESOURCE: &str = "standin::r0";
const ERROR_LOG: &str = "/var/log/mysql/error.log";

/// What Heartbeat sets for its scripts, as far as ResourceManager needs it.
const ENVIRONMENT: &str = "export HA_CURHOST=$(uname -n) HA_LOGFILE=/var/log/ha-log HA_DEBUGLOG=/var/log/ha-debug \
    HA_RESOURCEDIR=/etc/ha.d/resource.d HA_DATEFMT='%Y/%m/%d_%T ' HA_FIFO=/dev/null";

fn with_cluster(
    more: &[&'static str],
    limits: &[&'static str],
    test: impl FnOnce(&Lab, &Cluster<'_>) -> Result<()>,
) -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let (more, limits) = (more.to_vec(), limits.to_vec());
        let cluster = Cluster::install(lab, &ClusterOptions { more, limits, ..ClusterOptions::default() })?;
        test(lab, &cluster)
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn scenario() -> Result<()> {
    with_cluster(&["cluster_manager: {heartbeat: keep}"], &["wait_vip_gone: 10s"], |lab, cluster| {
        scenario::run(lab, cluster, &Heartbeat::standin(), scenario::moves()).map(drop)
    })
}

/// Runs ResourceManager as Heartbeat does, and returns its exit code.
fn resource_manager(node: &Node, arguments: &str) -> Result<i32> {
    let output = node.run_with_deadline(&format!("{ENVIRONMENT}; {MANAGER} {arguments}"), PATIENCE)?;
    Ok(output.code)
}

/// What the script says, and whether ResourceManager takes it for the same.
fn told(node: &Node) -> Result<String> {
    let output = node.run("standin heartbeat r0 status")?;
    ensure!(["running\n", "stopped\n"].contains(&output.stdout.as_str()), "more than one word: {output}");
    let running = output.stdout == "running\n";
    ensure!(output.code == if running { 0 } else { 3 }, "{output}");
    let owned = resource_manager(node, &format!("status {RESOURCE}"))? == 0;
    ensure!(owned == running, "ResourceManager takes {output} for owned: {owned}");
    Ok(output.stdout.trim().to_owned())
}

fn expect_told(node: &Node, state: &str, expected: &str) -> Result<()> {
    let told = told(node)?;
    println!("{}: {state}: {told}", node.name());
    ensure!(told == expected, "{state}: {told} on {}\n{}", node.name(), State::of(node)?);
    Ok(())
}

fn serves(node: &Node) -> Result<()> {
    let text = node.run_ok("standin status --json")?;
    ensure!(node.drbd()?.contains("ro:Primary/"), "{text}");
    node.run_ok("mariadb --defaults-file=/etc/standin/r0.cnf --execute 'SELECT 1'").map(drop)
}

fn holds_nothing(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    let state = cluster.state(node)?;
    for held in ["ro:Primary", "mount: ", "mysqld: ", "address: ", "lock: "] {
        ensure!(!state.contains(held), "{held} in:\n{state}");
    }
    Ok(())
}

/// Each state in which Heartbeat may ask, one after the other, with ResourceManager's own verbs and no Heartbeat around them.
#[test]
#[ignore = "needs the lab: root and its image"]
fn resource_manager_agrees_in_every_state() -> Result<()> {
    let limits = ["unmount: 3s", "start_mysqld: 60s"];
    with_cluster(&["cluster_manager: {heartbeat: keep}"], &limits, |lab, cluster| {
        let [one, two] = lab.nodes();
        let kill_at = binary("kill-at")?;
        lab.on_both(|node| {
            Heartbeat::standin().configure(node)?;
            node.copy_in(&kill_at, "/usr/local/sbin/kill-at", 0o755)
        })?;
        expect_told(one, "standby", "stopped")?;
        assert_eq!(resource_manager(one, "takegroup standin::r0")?, 0);
        serves(one)?;
        expect_told(one, "active", "running")?;
        expect_told(two, "standby of an active one", "stopped")?;
        let log = one.run_ok("cat /var/log/ha-log")?;
        ensure!(log.contains("]:\tinfo: node1 is active after "), "what standin says is in ha-log:\n{log}");

        // A group that is taken although it is here, as when the peer dies: nothing is touched.
        let before = State::of(one)?;
        assert_eq!(resource_manager(one, "takegroup standin::r0")?, 0);
        assert_eq!(before.differences(&State::of(one)?), [""; 0]);

        one.run_ok("systemctl kill --signal=KILL mariadb; systemctl stop mariadb")?;
        expect_told(one, "active without its mysqld", "stopped")?;
        assert_eq!(resource_manager(one, "takegroup standin::r0")?, 0);
        serves(one)?;

        // Somebody's shell in the data directory keeps it mounted.
        let shell = one.spawn("cd /var/lib/mysql; sleep 600")?;
        assert_eq!(one.run_with_deadline("standin heartbeat r0 stop", PATIENCE)?.code, 1);
        expect_told(one, "half-way after a stop that failed", "running")?;
        reboots(one)?;
        shell.signal("KILL")?;
        assert_eq!(resource_manager(one, "givegroup standin::r0")?, 0);
        holds_nothing(cluster, one)?;
        expect_told(one, "released", "stopped")?;

        // Half-way because standin was killed: the start must not be skipped.
        one.run("chrt --fifo --reset-on-fork 50 kill-at --file /var/lib/standin/r0.journal --text '\"step\":\"start-mysqld\"' \
             --signal SIGKILL --victim standin -- standin takeover")?;
        ensure!(State::of(one)?.part("mounts").contains("/var/lib/mysql"), "{}", State::of(one)?);
        one.run_ok("systemctl stop mariadb")?;
        expect_told(one, "half-way after a kill of standin", "stopped")?;
        assert_eq!(resource_manager(one, "takegroup standin::r0")?, 0);
        serves(one)?;

        crash_recovery(lab, cluster)?;

        // Without its file the node is looked at and released by the one that it became active with.
        two.run_ok("mv /etc/standin/r0.yaml /etc/standin/r0.kept")?;
        expect_told(two, "active, and its file is gone", "running")?;
        assert_eq!(two.run("standin heartbeat r0 start")?.code, 6);
        assert_eq!(two.run("standin heartbeat r0 restart")?.code, 2);
        assert_eq!(resource_manager(two, "givegroup standin::r0")?, 0);
        holds_nothing(cluster, two)?;
        // And then it is no reason to reset a machine.
        let output = two.run("standin heartbeat r0 status")?;
        ensure!((output.code, output.stdout.as_str()) == (4, "stopped\n"), "{output}");
        two.run_ok("mv /etc/standin/r0.kept /etc/standin/r0.yaml").map(drop)
    })
}

/// ResourceManager's last resort, with a reboot that only says so.
fn reboots(node: &Node) -> Result<()> {
    // The program is a link to systemctl.
    node.run_ok("mv /sbin/reboot /sbin/reboot.kept")?;
    node.write_file("/sbin/reboot", "#!/bin/sh\ntouch /run/rebooted\n", 0o755)?;
    let given = format!("{ENVIRONMENT} HA_STOPRETRYMAX=1; {MANAGER} givegroup standin::r0");
    node.run_with_deadline(&given, PATIENCE)?;
    node.run_ok("mv /sbin/reboot.kept /sbin/reboot; test -e /run/rebooted").map(drop)
}

/// While mysqld recovers: a start is under way and not done, a second start waits for it, a stop takes it back.
fn crash_recovery(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let [one, two] = lab.nodes();
    let client = Client::start(lab)?;
    client.wait_for_rows(100)?;
    one.power_cut()?;
    let stopped_at = |text: &str| -> Result<_> {
        // Stopped in the middle of it for as long as the test looks.
        let take = two.spawn(&format!(
            "{ENVIRONMENT}; exec chrt --fifo --reset-on-fork 50 kill-at --file {ERROR_LOG} --text '{text}' \
             --signal SIGSTOP --victim mariadbd -- {MANAGER} takegroup standin::r0"
        ))?;
        wait_until(text, PATIENCE, || {
            Ok(two
                .run("grep -q '^State:.*T (stopped)' /proc/$(pidof mariadbd)/status")?
                .success()
                .then_some(()))
        })?;
        expect_told(two, &format!("mysqld is at {text:?}"), "stopped")?;
        Ok(take)
    };
    let take = stopped_at("Starting crash recovery")?;
    let begun = std::time::Instant::now();
    assert_eq!(two.run_with_deadline("standin heartbeat r0 stop", PATIENCE)?.code, 0);
    println!("stopped in crash recovery after {:.1} s", begun.elapsed().as_secs_f64());
    // ResourceManager gives the group up once more by itself. Its exit code is 0 whatever came of the start.
    take.wait(PATIENCE)?;
    two.run_ok("grep -q 'CRIT: Giving up resources due to failure of standin::r0' /var/log/ha-log")?;
    holds_nothing(cluster, two)?;
    expect_told(two, "taken back in crash recovery", "stopped")?;

    // What was taken back was shut down in order, so that there is nothing to recover any more.
    let take = stopped_at("Completed initialization of buffer pool")?;
    let second = two.spawn(&format!("{ENVIRONMENT}; {MANAGER} takegroup standin::r0"))?;
    wait_until("the second start to wait", SOON, || {
        Ok(two.run("grep -q 'waits for the takeover that runs' /var/log/ha-log")?.success().then_some(()))
    })?;
    two.run_ok("kill -CONT $(pidof mariadbd)")?;
    assert_eq!(take.wait(PATIENCE)?.0, 0);
    assert_eq!(second.wait(PATIENCE)?.0, 0);
    serves(two)?;
    expect_told(two, "active after crash recovery", "running")?;
    client.wait_for_rows(20)?;
    let report = client.stop()?;
    assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
    println!("{} rows acknowledged, none lost", report.acknowledged.len());
    Ok(())
}

/// `kill`: the takeover that Heartbeat has started ends this Heartbeat, goes on and comes to its end.
#[test]
#[ignore = "needs the lab: root and its image"]
fn a_takeover_outlives_the_heartbeat_that_it_kills() -> Result<()> {
    with_cluster(&["cluster_manager: {heartbeat: kill}"], &[], |lab, cluster| {
        let [one, two] = lab.nodes();
        // As on systems whose unit has not Debian's KillMode=process.
        lab.on_both(|node| {
            let drop_in = "/etc/systemd/system/heartbeat.service.d/test.conf";
            node.write_file(drop_in, "[Service]\nKillMode=control-group\nSendSIGKILL=yes\n", 0o644)?;
            node.run_ok("systemctl daemon-reload")
        })?;
        let heartbeat = Heartbeat::standin();
        cluster.expect(one, "takeover", 0)?;
        heartbeat.start(lab, cluster)?;
        lab.on_both(|node| {
            wait_until("Heartbeat to rest", PATIENCE, || Ok(Heartbeat::rests(node)?.then_some(())))
        })?;
        let client = Client::start(lab)?;
        client.wait_for_rows(100)?;
        one.power_cut()?;
        client.wait_for_row_after(std::time::Instant::now(), PATIENCE)?;
        serves(two)?;
        ensure!(State::of(two)?.part("heartbeat").is_empty(), "Heartbeat still runs");
        // systemd has ended the script that would have told Heartbeat's log.
        let last = wait_until("the takeover to end", SOON, || {
            let last = cluster.journal(two)?.pop();
            Ok(last.filter(|entry| entry["event"] == "end"))
        })?;
        ensure!(last["outcome"] == "done", "{last}");
        let log = two.run_ok("cat /var/log/ha-log; standin history --last 1")?;
        let report = client.stop()?;
        assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
        println!("{log}\n{}", two.run_ok("ps -ef | grep -i [h]eartbeat || true")?);

        // It can be started again, and the node goes on serving.
        let before = State::of(two)?;
        heartbeat.restart_alone(two)?;
        assert_eq!(before.part("mysqld"), State::of(two)?.part("mysqld"));
        serves(two)
    })
}

/// The other scripts are kept, and DRBD goes by standin's rules.
#[test]
#[ignore = "needs the lab: root and its image"]
fn drbddisk_before_the_other_scripts() -> Result<()> {
    const GROUP: &str =
        "drbddisk::r0 Filesystem::/dev/drbd0::/var/lib/mysql::ext4 mariadb IPaddr2::10.77.0.100/24/eth0";
    with_cluster(&["cluster_manager: {heartbeat: keep}"], &["wait_vip_gone: 5s"], |lab, cluster| {
        let heartbeat = Heartbeat::drbddisk("heartbeat-drbddisk", GROUP);
        let mut play = Play::begin(lab, cluster, &heartbeat)?;
        let result = (|| {
            play.start()?;
            // A death of Heartbeat alone: here the stock script would try to promote beside a Primary.
            play.kill_manager()?;
            play.planned_move("planned move there")?;
            play.planned_move("planned move back")?;
            play.power_cut().map(drop)
        })();
        let two = lab.node2();
        let status = two.run("/etc/ha.d/resource.d/drbddisk r0 status")?;
        println!("{status}");
        play.finish(result)?;
        ensure!(status.stdout == "running (Primary)\n", "{status}");
        Ok(())
    })
}
