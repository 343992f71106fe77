//! mysqld that takes long, hangs or ends at once, in a takeover and in a release.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::{
    Client, Cluster, ClusterOptions, Filesystem, Lab, LabOptions, Mysqld, Node, Output, binary, wait_until,
    with_lab,
};

/// For what systemd and the kernel still do when standin has ended.
const SETTLED: Duration = Duration::from_secs(15);
/// A hang must be noticed and everything undone within this, at a limit of 3 s.
const NOTICED: Duration = Duration::from_secs(20);
const ROWS: usize = 100;
/// How far the last checkpoint is to be behind the end of the redo log.
const REDO_BYTES: u64 = 200 * 1024 * 1024;
const ERROR_LOG: &str = "/var/log/mysql/error.log";
const DROP_IN: &str = "/etc/mysql/mariadb.conf.d/99-test.cnf";

/// Dirty pages stay in memory, so that all of them are missing on the disk after a power cut.
const LARGE_REDO: &str = "\
[mariadbd]
innodb_log_file_size        = 320M
innodb_buffer_pool_size     = 512M
innodb_buffer_pool_size_max = 512M
innodb_max_dirty_pages_pct  = 90
innodb_adaptive_flushing    = OFF
innodb_flush_neighbors      = 0
innodb_io_capacity          = 100
";

fn install<'a>(lab: &'a Lab, options: &ClusterOptions) -> Result<Cluster<'a>> {
    let cluster = Cluster::install(lab, options)?;
    let kill_at = binary("kill-at")?;
    lab.on_both(|node| node.copy_in(&kill_at, "/usr/local/sbin/kill-at", 0o755))?;
    Ok(cluster)
}

/// Runs a command and stops mysqld (SIGSTOP) as soon as its error log says this.
fn hang_at(node: &Node, text: &str, command: &str) -> Result<Output> {
    node.run_with_deadline(
        &format!(
            "chrt --fifo --reset-on-fork 50 kill-at --file {ERROR_LOG} --text '{text}' \
             --signal SIGSTOP --victim mariadbd -- standin {command}"
        ),
        Duration::from_secs(120),
    )
}

/// The last run's entry of one step.
fn entry(cluster: &Cluster<'_>, node: &Node, event: &str, step: &str) -> Result<Value> {
    let journal = cluster.journal(node)?;
    let found = journal.into_iter().rfind(|entry| entry["event"] == event && entry["step"] == step);
    found.with_context(|| format!("the journal has no {event} of {step}"))
}

/// Nothing of a takeover is left, and DRBD listens for its peer.
fn is_undone(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    let state = wait_until("systemd to see the end of mysqld", SETTLED, || {
        let state = cluster.state(node)?;
        Ok((!state.contains("mysqld: ")).then_some(state))
    })?;
    ensure!(state.contains("drbd: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/"), "{state}");
    for gone in ["mount: ", "address: ", "worker: ", "lock: ", "unit: active", "unit: activating"] {
        ensure!(!state.contains(gone), "{gone} in:\n{state}");
    }
    Ok(())
}

fn checkpoint_age(node: &Node) -> Result<u64> {
    let age = "mariadb --skip-column-names --execute \"SHOW GLOBAL STATUS LIKE 'Innodb_checkpoint_age'\"";
    let text = node.run_ok(age)?;
    Ok(text.split_whitespace().last().context("no checkpoint age")?.parse()?)
}

/// Dirties pages until the redo log is long.
fn fill_redo_log(node: &Node) -> Result<u64> {
    node.run_ok(
        "mariadb --execute 'CREATE TABLE lab.bulk (id INT PRIMARY KEY, payload VARCHAR(8000)) ENGINE = InnoDB'",
    )?;
    for batch in 0.. {
        let (first, last) = (batch * 5000 + 1, (batch + 1) * 5000);
        node.run_ok(&format!(
            "mariadb lab --execute 'INSERT INTO bulk SELECT seq, REPEAT(MD5(seq), 120) FROM seq_{first}_to_{last}'"
        ))?;
        let age = checkpoint_age(node)?;
        if age >= REDO_BYTES {
            return Ok(age);
        }
        ensure!(batch < 30, "the checkpoint follows the writes: only {age} bytes of redo");
    }
    unreachable!()
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_large_redo_log_and_a_hang_while_it_is_replayed() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let limit = Duration::from_secs(3);
        // Without a unit: what distributions run before the server takes up to 3 s in a node.
        let options = ClusterOptions {
            mysqld: Mysqld::Command,
            limits: vec!["start_mysqld: 3s"],
            ..ClusterOptions::default()
        };
        let cluster = install(lab, &options)?;
        lab.on_both(|node| node.write_file(DROP_IN, LARGE_REDO, 0o644))?;
        cluster.expect(one, "takeover", 0)?;
        let client = Client::start(lab)?;
        let begun = Instant::now();
        let redo = fill_redo_log(one)?;
        client.wait_for_rows(ROWS)?;
        println!("{} MiB of redo after {:.1} s", redo >> 20, begun.elapsed().as_secs_f64());
        one.power_cut()?;

        let begun = Instant::now();
        let hung = hang_at(two, "Starting crash recovery", "takeover")?;
        println!("a mysqld that hangs: undone after {:.1} s", begun.elapsed().as_secs_f64());
        ensure!(hung.code == 1, "{hung}");
        ensure!(begun.elapsed() < NOTICED, "noticed after {:?}", begun.elapsed());
        ensure!(hung.stderr.contains("is stopped by a signal or a debugger (state T)"), "{hung}");
        is_undone(&cluster, two)?;

        let taken = cluster.expect(two, "takeover", 0)?;
        println!("{}", taken.stdout);
        let step = entry(&cluster, two, "step-end", "start-mysqld")?;
        let seconds = step["seconds"].as_f64().context("no seconds")?;
        ensure!(
            seconds > limit.as_secs_f64(),
            "recovery took {seconds} s only: this shows nothing of the limit"
        );
        let progress: Vec<&str> =
            taken.stdout.lines().filter(|line| line.contains("crash recovery")).collect();
        ensure!(progress.iter().any(|line| line.contains("from checkpoint LSN ")), "{progress:?}");
        ensure!(progress.iter().any(|line| line.contains(" pages to recover")), "{progress:?}");
        let lines = taken.stdout.lines().filter(|line| line.contains("... start-mysqld")).count();
        ensure!(lines as f64 <= 5.0 + 1.5 * seconds, "{lines} lines of progress in {seconds} s");
        ensure!(step["note"].as_str().is_some_and(|note| note.contains(" pages, ")), "{step}");

        client.wait_for_rows(ROWS)?;
        let report = client.stop()?;
        assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
        println!("{} rows acknowledged, none lost", report.acknowledged.len());
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_mysqld_that_ends_at_once_and_one_that_does_not_end() -> Result<()> {
    let options = LabOptions { filesystem: Filesystem::Xfs, ..LabOptions::default() };
    with_lab(options, |lab| {
        let [one, two] = lab.nodes();
        for mysqld in [Mysqld::Unit, Mysqld::Command] {
            let options =
                ClusterOptions { mysqld, limits: vec!["stop_mysqld: 5s"], ..ClusterOptions::default() };
            let cluster = install(lab, &options)?;
            cluster.expect(one, "takeover", 0)?;
            let client = Client::start(lab)?;
            client.wait_for_rows(ROWS)?;
            // On the replicated disk, so that it waits for the server of the other node.
            one.run_ok("chown root:root /var/lib/mysql/ibdata1; chmod 600 /var/lib/mysql/ibdata1; sync")?;
            one.power_cut()?;

            two.write_file(DROP_IN, "[mariadbd]\nno_such_option = 1\n", 0o644)?;
            fails_to_start(&cluster, two, "unknown variable 'no_such_option=1'")?;
            two.run_ok(&format!("rm {DROP_IN}"))?;
            let said = fails_to_start(&cluster, two, "'./ibdata1' must be writable")?;
            ensure!(said.contains("user and group ids may differ between the nodes"), "{said}");
            two.run_ok(
                "drbdsetup primary 0; mount /dev/drbd0 /var/lib/mysql; chown mysql:mysql /var/lib/mysql/ibdata1
                 umount /var/lib/mysql; drbdsetup secondary 0",
            )?;

            on_a_terminal(two)?;
            client.wait_for_rows(ROWS)?;
            shutdown_hangs(&cluster, two, mysqld)?;
            cluster.expect(two, "takeover", 0)?;
            client.wait_for_rows(ROWS)?;
            let report = client.stop()?;
            assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
            println!("{mysqld:?}: {} rows acknowledged, none lost", report.acknowledged.len());

            cluster.expect(two, "release", 0)?;
            one.boot()?;
            lab.wait_in_sync()?;
        }
        Ok(())
    })
}

fn fails_to_start(cluster: &Cluster<'_>, node: &Node, reason: &str) -> Result<String> {
    let output = cluster.expect(node, "takeover", 1)?;
    ensure!(output.stderr.contains("its error log says:") && output.stderr.contains(reason), "{output}");
    ensure!(output.stderr.contains("what had been done was undone"), "{output}");
    println!("{:.1} s: {}", output.took.as_secs_f64(), output.stderr.trim());
    is_undone(cluster, node)?;
    Ok(output.stderr)
}

/// A person sees the running step on one line that changes.
fn on_a_terminal(node: &Node) -> Result<()> {
    let output = node.run("TERM=xterm script --quiet --return --command 'standin takeover' /dev/null")?;
    ensure!(output.success(), "{output}");
    let shown = &output.stdout;
    ensure!(shown.contains('\x1b') && shown.contains("start-mysqld"), "no spinner: {shown:?}");
    ensure!(!shown.contains("... start-mysqld"), "lines of progress on a terminal: {shown:?}");
    ensure!(shown.contains("is active after"), "{shown:?}");
    Ok(())
}

/// A release whose mysqld hangs while it shuts down is stuck, and done when it was let go on.
fn shutdown_hangs(cluster: &Cluster<'_>, node: &Node, mysqld: Mysqld) -> Result<()> {
    let begun = Instant::now();
    // Not at its first line: systemd sends SIGCONT right after SIGTERM, which would undo the stop.
    let stuck = hang_at(node, "InnoDB: Starting shutdown", "release")?;
    println!("a shutdown that hangs: stuck after {:.1} s: {}", begun.elapsed().as_secs_f64(), stuck.stderr);
    ensure!(stuck.code == 4, "{stuck}");
    ensure!(begun.elapsed() < NOTICED, "noticed after {:?}", begun.elapsed());
    ensure!(stuck.stderr.contains("is stopped by a signal or a debugger (state T)"), "{stuck}");
    let (_, commands) = stuck.stderr.split_once("Type, in this order:").context("no commands")?;
    let stop = if mysqld == Mysqld::Unit { "systemctl stop mariadb.service" } else { "kill -TERM " };
    for command in [stop, "umount /var/lib/mysql", "drbdsetup secondary 0"] {
        ensure!(commands.contains(command), "{command} is not among:{commands}");
    }
    let state = cluster.state(node)?;
    ensure!(
        !state.contains("address: ") && state.contains("mount: ") && state.contains("ro:Primary/"),
        "{state}"
    );

    node.run_ok("killall -CONT mariadbd")?;
    cluster.expect(node, "release", 0)?;
    is_undone(cluster, node)
}
