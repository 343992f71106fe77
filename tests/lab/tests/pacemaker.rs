//! standin as a resource of a real Pacemaker 2.1.5, as a primitive and as a promotable clone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use standin_lab::managers::Pacemaker;
use standin_lab::scenario;
use standin_lab::{
    Client, Cluster, ClusterOptions, Lab, LabOptions, Manager, Node, State, binary, wait_until, with_lab,
};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(60);
/// For Pacemaker and what it calls.
const PATIENCE: Duration = Duration::from_secs(240);
const AGENT: &str = "/usr/lib/ocf/resource.d/standin/innodb";
const ERROR_LOG: &str = "/var/log/mysql/error.log";
const LOG: &str = "/var/log/pacemaker/pacemaker.log";

fn with_pacemaker(
    words: &[&str],
    limits: &[&'static str],
    test: impl FnOnce(&Lab, &Cluster<'_>) -> Result<()>,
) -> Result<()> {
    let cmdline = words.iter().map(|word| (*word).to_owned()).collect();
    with_lab(LabOptions { cmdline, ..LabOptions::default() }, |lab| {
        let (more, limits) = (vec!["cluster_manager: pacemaker"], limits.to_vec());
        let cluster = Cluster::install(lab, &ClusterOptions { more, limits, ..ClusterOptions::default() })?;
        test(lab, &cluster)
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn primitive() -> Result<()> {
    with_pacemaker(&[], &[], |lab, cluster| {
        scenario::run(lab, cluster, &Pacemaker::primitive(), scenario::moves()).map(drop)
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn promotable() -> Result<()> {
    with_pacemaker(&["lab.drbd=no"], &[], |lab, cluster| {
        scenario::run(lab, cluster, &Pacemaker::promotable(), scenario::moves()).map(drop)
    })
}

/// resource-agents' own tests, with the document type in the node.
#[test]
#[ignore = "needs the lab: root and its image"]
fn ocf_tester_passes_for_both_forms() -> Result<()> {
    with_pacemaker(&[], &[], |lab, _| {
        let one = lab.node1();
        one.run_ok(&format!(
            "cd /usr/share/resource-agents && {AGENT} meta-data | xmllint --noout --valid -"
        ))?;
        for form in ["", "-o CRM_meta_promotable=true"] {
            let output = one.run_with_deadline(&format!("ocf-tester -n db {form} {AGENT}"), PATIENCE)?;
            println!("{output}");
            ensure!(output.success() && output.stdout.contains("passed all tests"), "{output}");
        }
        Ok(())
    })
}

/// Calls the agent as Pacemaker does, and returns its exit code.
fn agent(node: &Node, environment: &str, action: &str) -> Result<i32> {
    let output = node.run_with_deadline(
        &format!(
            "OCF_ROOT=/usr/lib/ocf OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=1 OCF_RESOURCE_INSTANCE=db \
             OCF_RESKEY_CRM_meta_timeout=30000 {environment} {AGENT} {action}"
        ),
        PATIENCE,
    )?;
    let shown = environment.replace(PARAMETERS, "(parameters)");
    println!("{shown} {action}: {}: {}", output.code, output.stderr.trim());
    Ok(output.code)
}

const PROMOTABLE: &str = "OCF_RESKEY_CRM_meta_promoted_max=1";
const RECURRING: &str = "OCF_RESKEY_CRM_meta_interval=10000";

/// Each action with its expected code.
fn expect(node: &Node, environment: &str, expected: &[(&str, i32)]) -> Result<()> {
    for (action, code) in expected {
        let seen = agent(node, environment, action)?;
        ensure!(seen == *code, "{environment} {action}: {seen}, expected {code}");
    }
    Ok(())
}

/// While something is moved away.
fn without(node: &Node, path: &str, test: impl FnOnce() -> Result<()>) -> Result<()> {
    node.run_ok(&format!("mv {path} {path}.away"))?;
    let result = test();
    node.run_ok(&format!("mv {path}.away {path}"))?;
    result
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_node_that_lacks_something_says_7_or_5_to_a_probe() -> Result<()> {
    with_pacemaker(&["lab.drbd=no"], &[], |lab, _| {
        let node = lab.node1();
        // DRBD is down.
        expect(node, "", &[("monitor", 7), ("stop", 0), ("validate-all", 0), ("promote", 3), ("reload", 3)])?;
        expect(node, PROMOTABLE, &[("monitor", 7), ("stop", 0), ("demote", 7), ("notify", 0)])?;
        expect(node, "", &[("start", 1)])?;
        // Something is not installed.
        for path in ["/usr/sbin/drbdadm", "/lib/systemd/system/mariadb.service", "/var/lib/mysql"] {
            without(node, path, || {
                for form in ["", PROMOTABLE] {
                    expect(node, form, &[("monitor", 5), ("start", 5), ("stop", 0), ("validate-all", 5)])?;
                    expect(node, &format!("{form} {RECURRING}"), &[("monitor", 7)])?;
                }
                Ok(())
            })?;
        }
        // No configuration, a wrong one, wrong parameters.
        without(node, "/etc/standin/r0.yaml", || {
            expect(node, "", &[("monitor", 5), ("start", 5), ("validate-all", 5), ("stop", 1)])?;
            expect(node, RECURRING, &[("monitor", 1)])?;
            node.write_file("/etc/standin/r0.yaml", "vip: {address: 1}\n", 0o644)?;
            expect(node, "", &[("monitor", 5), ("start", 2), ("validate-all", 2), ("stop", 1)])?;
            expect(node, "OCF_RESKEY_vip=10.77.0.100", &[("monitor", 5), ("start", 6), ("validate-all", 6)])
        })?;
        // Somebody else.
        let asked =
            node.run(&format!("su nobody -s /bin/sh -c '{AGENT} meta-data > /dev/null && {AGENT} monitor'"))?;
        ensure!(asked.code == 4, "{asked}");
        Ok(())
    })
}

const PARAMETERS: &str = "OCF_RESKEY_nodes='node1=10.77.0.1,10.77.1.1 node2=10.77.0.2,10.77.1.2' \
    OCF_RESKEY_vip=10.77.0.100/24 OCF_RESKEY_interface=eth0 OCF_RESKEY_resource=r0 OCF_RESKEY_device=/dev/drbd0 \
    OCF_RESKEY_directory=/var/lib/mysql OCF_RESKEY_fstype=ext4 OCF_RESKEY_unit=mariadb \
    OCF_RESKEY_socket=/run/mysqld/mysqld.sock OCF_RESKEY_error_log=/var/log/mysql/error.log \
    OCF_RESKEY_credentials=/etc/standin/r0.cnf OCF_RESKEY_witnesses=10.77.0.254";

/// With parameters in place of a file; the depths see what the cheap look does not, and none hangs on a disk that does.
#[test]
#[ignore = "needs the lab: root and its image"]
fn parameters_and_depths() -> Result<()> {
    with_pacemaker(&[], &[], |lab, _| {
        let [one, two] = lab.nodes();
        one.run_ok("rm /etc/standin/r0.yaml")?;
        expect(one, PARAMETERS, &[("validate-all", 0), ("monitor", 7), ("start", 0), ("start", 0)])?;
        let monitor = |level: u32, code: i32| {
            let environment = format!("{PARAMETERS} {RECURRING} OCF_CHECK_LEVEL={level}");
            expect(one, &environment, &[("monitor", code)])
        };
        for level in [0, 10, 20] {
            monitor(level, 0)?;
        }
        // Nothing is left behind on the data.
        one.run_ok("test ! -e /var/lib/mysql/.standin-write-check")?;

        one.run_ok("chattr +i /var/lib/mysql")?;
        monitor(0, 0)?;
        monitor(10, 1)?;
        one.run_ok("chattr -i /var/lib/mysql")?;

        one.run_ok("mariadb --execute 'SET GLOBAL read_only = 1'")?;
        monitor(10, 0)?;
        monitor(20, 1)?;
        one.run_ok("mariadb --execute 'SET GLOBAL read_only = 0'")?;

        // A write that does not come back.
        one.run_ok("fsfreeze --freeze /var/lib/mysql")?;
        let begun = Instant::now();
        let hung = monitor(10, 1);
        let took = begun.elapsed();
        one.run_ok("fsfreeze --unfreeze /var/lib/mysql")?;
        hung?;
        ensure!(took < Duration::from_secs(30), "{took:?}");
        println!("a write that does not come back: {:.1} s", took.as_secs_f64());
        monitor(20, 0)?;

        // The peer is gone: degraded, and in the old API's words simply running.
        two.power_cut()?;
        wait_until("DRBD to see it", SOON, || Ok((!one.drbd()?.contains("cs:Connected")).then_some(())))?;
        monitor(0, 190)?;
        expect(one, &format!("{PARAMETERS} {RECURRING} {PROMOTABLE}"), &[("monitor", 191)])?;
        expect(one, &format!("{PARAMETERS} {RECURRING} OCF_RA_VERSION_MINOR=0"), &[("monitor", 0)])?;
        // The database dies.
        one.run_ok("killall -KILL -w mariadbd")?;
        monitor(0, 1)?;
        expect(one, &format!("{PARAMETERS} {RECURRING} {PROMOTABLE}"), &[("monitor", 9)])?;
        expect(one, PARAMETERS, &[("stop", 0), ("stop", 0), ("monitor", 7)])
    })
}

/// Stops mysqld in the middle of crash recovery, when somebody starts it within a while.
fn hang_in_recovery(node: &Node) -> Result<()> {
    node.copy_in(binary("kill-at")?, "/usr/local/sbin/kill-at", 0o755)?;
    node.spawn(&format!(
        "exec chrt --fifo --reset-on-fork 50 kill-at --file {ERROR_LOG} --text 'Starting crash recovery' \
         --signal SIGSTOP --victim mariadbd -- sleep 240"
    ))?;
    Ok(())
}

fn wait_for_log(node: &Node, text: &str) -> Result<()> {
    wait_until(&format!("{text:?} in Pacemaker's log on {}", node.name()), PATIENCE, || {
        Ok(node.run(&format!("grep -q '{text}' {LOG}"))?.success().then_some(()))
    })
}

/// Takeovers that a node has begun.
fn takeovers(cluster: &Cluster<'_>, node: &Node) -> Result<usize> {
    let journal = cluster.journal(node)?;
    let begun =
        journal.iter().filter(|entry| entry["event"] == "begin" && entry["plan"]["goal"] == "takeover");
    Ok(begun.count())
}

fn one_mysqld(node: &Node) -> Result<()> {
    let pids = node.run_ok("pidof mariadbd")?;
    ensure!(pids.split_whitespace().count() == 1, "several servers: {pids}");
    Ok(())
}

/// Crash recovery takes longer than the start may: the start is answered, the takeover goes on, and the monitor says so. A
/// stop in the middle of it takes everything back. There is never a second server.
#[test]
#[ignore = "needs the lab: root and its image"]
fn crash_recovery_is_longer_than_the_time_limit() -> Result<()> {
    with_pacemaker(&[], &["start_mysqld: 300s"], |lab, cluster| {
        let [one, two] = lab.nodes();
        let pacemaker = Pacemaker::primitive().with(
            "pacemaker-recovery",
            "op start interval=0 timeout=300s",
            "op start interval=0 timeout=24s",
        );
        pacemaker.start(lab, cluster)?;
        let client = Client::start(lab)?;
        client.wait_for_rows(100)?;
        wait_until("Pacemaker to rest", PATIENCE, || Ok(Pacemaker::rests(one)?.then_some(())))?;

        hang_in_recovery(two)?;
        one.power_cut()?;
        wait_for_log(two, "the takeover goes on in a scope of its own")?;
        wait_for_log(two, "Result of start operation for db on node2: ok")?;
        wait_for_log(two, "db_monitor_10000 rc=190")?;
        one_mysqld(two)?;
        let shown = Pacemaker::show(two)?;
        println!("{shown}");
        ensure!(shown.contains("Started node2") && !shown.contains("fail-count"), "{shown}");
        two.run_ok("systemctl list-units --no-legend 'standin-*.scope' | grep -q running")?;
        // The whole manager dies and comes again: it finds what goes on.
        two.run_ok("kill -KILL $(pidof pacemakerd pacemaker-execd)")?;
        wait_for_log(two, "Result of probe operation for db on node2: OCF_DEGRADED")?;
        one_mysqld(two)?;
        two.run_ok("kill -CONT $(pidof mariadbd)")?;
        client.wait_for_row_after(Instant::now(), PATIENCE)?;
        wait_until("the monitor to say that the node is active", PATIENCE, || {
            let output = two.run(&format!("{RECURRING} {AGENT} monitor"))?;
            Ok(output.stderr.contains("is active, but DRBD is not connected").then_some(()))
        })?;
        assert_eq!(takeovers(cluster, two)?, 1, "it began once");

        one.boot()?;
        pacemaker.restart(one)?;
        lab.wait_in_sync()?;
        client.wait_for_rows(100)?;
        hang_in_recovery(one)?;
        two.power_cut()?;
        wait_for_log(one, "the takeover goes on in a scope of its own")?;
        let begun = Instant::now();
        one.run_ok(
            "crm_resource --resource db --meta --set-parameter target-role --parameter-value Stopped",
        )?;
        wait_until("the stop", PATIENCE, || {
            let state = State::of(one)?;
            Ok((one.drbd()?.contains("ro:Secondary/") && state.part("mysqld").is_empty()).then_some(()))
        })?;
        wait_for_log(one, "Result of stop operation for db on node1: ok")?;
        println!("stopped in crash recovery after {:.1} s", begun.elapsed().as_secs_f64());
        ensure!(!one.run("pidof mariadbd")?.success(), "a server still runs");
        one.run_ok("crm_resource --resource db --meta --delete-parameter target-role")?;
        client.wait_for_row_after(Instant::now(), PATIENCE)?;
        one_mysqld(one)?;
        client.wait_for_rows(50)?;
        let report = client.stop()?;
        assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
        println!("{} rows acknowledged, none lost", report.acknowledged.len());
        Ok(())
    })
}
