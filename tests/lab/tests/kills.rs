//! `kill -9` of standin at any moment, then the same command again: the same final state as undisturbed.
//!
//! kill-at follows the journal with a realtime priority, so that standin dies before it gets back from writing the
//! entry. Only standin itself is killed, not its worker and not a mysqld that it started.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::{
    Client, Cluster, ClusterOptions, Filesystem, Lab, LabOptions, Mysqld, Node, binary, wait_until, with_lab,
};

/// For what systemd and the kernel still do when standin has ended.
const SETTLED: Duration = Duration::from_secs(15);
/// Longer than gratuitous ARP is repeated.
const ANNOUNCED: Duration = Duration::from_secs(40);
/// Rows that must be acknowledged before and after each event.
const ROWS: usize = 20;
const JOURNAL: &str = "/var/lib/standin/r0.journal";
const ERROR_LOG: &str = "/var/log/mysql/error.log";

/// When standin is killed.
#[derive(Clone, Debug)]
struct Point {
    name: String,
    /// The file and the text in its line; none: as soon as it runs.
    line: Option<(&'static str, String)>,
    /// After that line.
    delay: Duration,
}

impl Point {
    fn exec() -> Self {
        Self { name: "exec".into(), line: None, delay: Duration::ZERO }
    }

    fn entry(name: String, text: String) -> Self {
        Self { name, line: Some((JOURNAL, text)), delay: Duration::ZERO }
    }

    fn begin() -> Self {
        Self::entry("begin".into(), r#""event":"begin""#.into())
    }

    fn end() -> Self {
        Self::entry("end".into(), r#""event":"end""#.into())
    }

    fn start_of(step: &str) -> Self {
        Self::entry(format!("start of {step}"), format!(r#""event":"step-start","step":"{step}""#))
    }

    fn end_of(step: &str) -> Self {
        Self::entry(format!("end of {step}"), format!(r#""event":"step-end","step":"{step}""#))
    }

    fn middle_of(step: &str, seconds: f64) -> Self {
        // mysqld runs and has written its first line, which is long before it shakes hands.
        if step == "start-mysqld" {
            let line = Some((ERROR_LOG, "Starting MariaDB".to_owned()));
            return Self { name: "middle of start-mysqld".into(), line, delay: Duration::ZERO };
        }
        let start = Self::start_of(step);
        // A quarter: the step may be faster this time, and the kill must not come after it.
        let delay = Duration::from_secs_f64(seconds / 4.0);
        Self { name: format!("middle of {step}"), delay, ..start }
    }

    fn arguments(&self) -> String {
        match &self.line {
            None => String::new(),
            Some((file, text)) => {
                format!("--file {file} --text '{text}' --after {}", self.delay.as_millis())
            }
        }
    }
}

/// The run of an undisturbed command: each step and its seconds.
fn steps_of_last_run(cluster: &Cluster<'_>, node: &Node) -> Result<Vec<(String, f64)>> {
    let journal = cluster.journal(node)?;
    let run = &journal.last().context("the journal is empty")?["run"];
    Ok(journal
        .iter()
        .filter(|entry| entry["run"] == *run && entry["event"] == "step-end")
        .map(|entry| (entry["step"].as_str().unwrap().to_owned(), entry["seconds"].as_f64().unwrap()))
        .collect())
}

/// Every point of a run with these steps.
fn points(steps: &[(String, f64)]) -> Vec<Point> {
    let mut points = vec![Point::exec(), Point::begin()];
    for (step, seconds) in steps {
        points.extend([Point::start_of(step), Point::middle_of(step, *seconds), Point::end_of(step)]);
    }
    points.push(Point::end());
    points
}

fn install(lab: &Lab, mysqld: Mysqld) -> Result<Cluster<'_>> {
    let cluster = Cluster::install(lab, &ClusterOptions { mysqld, ..ClusterOptions::default() })?;
    let kill_at = binary("kill-at")?;
    lab.on_both(|node| node.copy_in(&kill_at, "/usr/local/sbin/kill-at", 0o755))?;
    Ok(cluster)
}

/// What stood there at the moment after the kill.
struct Killed {
    last_entry: Value,
    mysqld: String,
}

/// Runs a command and kills it, which must not come too late.
fn kill(node: &Node, command: &str, point: &Point) -> Result<Killed> {
    let output = node.run(&format!(
        "chrt --fifo --reset-on-fork 50 kill-at {} -- standin {command}; code=$?
         tail -n 1 {JOURNAL} 2> /dev/null; pidof mariadbd; exit $code",
        point.arguments()
    ))?;
    ensure!(output.success(), "killed at {}: {output}", point.name);
    let mut lines = output.stdout.lines().rev().skip_while(|line| line.is_empty()).peekable();
    let mysqld = lines.next_if(|line| !line.starts_with('{')).unwrap_or_default().to_owned();
    let last_entry = lines.find(|line| line.starts_with('{')).unwrap_or("null");
    Ok(Killed { last_entry: serde_json::from_str(last_entry)?, mysqld })
}

/// Kills a command at a point and runs it again, which must lead to the state that it leads to when undisturbed.
fn kill_and_rerun(
    cluster: &Cluster<'_>,
    node: &Node,
    command: &str,
    point: &Point,
    undisturbed: &str,
) -> Result<()> {
    let begun = Instant::now();
    let killed = kill(node, command, point)?;
    // At once, while what standin left may still run.
    cluster.expect(node, command, 0).with_context(|| format!("the rerun after: {}", point.name))?;

    if point.delay.is_zero()
        && let Some((JOURNAL, text)) = &point.line
    {
        // Without blanks and in the order of the file's own line.
        let entry = killed.last_entry.to_string();
        let same = text.split(',').all(|part| entry.contains(part));
        ensure!(same, "killed too late, after {entry} instead of {}", point.name);
    }
    if command == "takeover" && !killed.mysqld.is_empty() {
        let mysqld = node.run_ok("pidof mariadbd")?;
        ensure!(
            mysqld.trim() == killed.mysqld,
            "{}: mysqld {} ran, and after the rerun {mysqld}",
            point.name,
            killed.mysqld
        );
    }
    if point.name == "middle of start-mysqld" {
        ensure!(!killed.mysqld.is_empty(), "no mysqld ran in the middle of its start");
    }
    same_state(cluster, node, undisturbed).with_context(|| format!("{command} killed at {}", point.name))?;
    let step = killed.last_entry["step"].as_str().unwrap_or("-");
    let event = killed.last_entry["event"].as_str().unwrap_or("-");
    println!(
        "{command} killed at {:28} (last entry: {event} {step}), then done again: {:.1} s",
        point.name,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn same_state(cluster: &Cluster<'_>, node: &Node, expected: &str) -> Result<()> {
    let mut state = String::new();
    wait_until("the same final state", SETTLED, || {
        state = cluster.state(node)?;
        Ok((state == expected).then_some(()))
    })
    .with_context(|| format!("undisturbed:\n{expected}\nnow:\n{state}"))
}

/// The state once systemd and the kernel have come to rest.
fn settled_state(cluster: &Cluster<'_>, node: &Node, lines: &[&str]) -> Result<String> {
    let mut state = String::new();
    wait_until("the final state of an undisturbed run", SETTLED, || {
        state = cluster.state(node)?;
        Ok(lines.iter().all(|line| state.contains(line)).then_some(state.clone()))
    })
    .with_context(|| format!("not all of {lines:?} is in:\n{state}"))
}

fn active_state(cluster: &Cluster<'_>, node: &Node, mysqld: Mysqld) -> Result<String> {
    let unit = if mysqld == Mysqld::Unit { "unit: active" } else { "unit: inactive" };
    let state = settled_state(
        cluster,
        node,
        &[
            "drbd: cs:",
            " ro:Primary/",
            " ds:UpToDate/",
            "mount: /dev/drbd0 /var/lib/mysql ",
            "session of its own: yes, answers: 0\n",
            unit,
            "address: eth0 ",
            r#""outcome":"done""#,
        ],
    )?;
    for once in ["mount: ", "mysqld: ", "address: "] {
        ensure!(state.matches(once).count() == 1, "{once} is not there once:\n{state}");
    }
    ensure!(!state.contains("worker: ") && !state.contains("lock: "), "something is left:\n{state}");
    Ok(state)
}

fn released_state(cluster: &Cluster<'_>, node: &Node) -> Result<String> {
    let state = settled_state(cluster, node, &[" ro:Secondary/", "unit: inactive", r#""outcome":"done""#])?;
    for gone in ["mount: ", "mysqld: ", "address: ", "worker: ", "lock: "] {
        ensure!(!state.contains(gone), "{gone} is still there:\n{state}");
    }
    Ok(state)
}

/// What a crash leaves, without a boot: mysqld gone in the middle of its work, DRBD Secondary.
fn crash(node: &Node) -> Result<()> {
    node.run_ok(
        "set -e; ip address delete 10.77.0.100/24 dev eth0; killall -KILL -w mariadbd
         systemctl stop mariadb; systemctl reset-failed mariadb 2> /dev/null || true
         umount /var/lib/mysql; drbdsetup secondary 0",
    )?;
    Ok(())
}

/// Kills each takeover at its point, with node1 dead, and each release after it as long as there are points for it.
fn every_point(lab: &Lab, mysqld: Mysqld, wanted: impl Fn(&Point) -> bool) -> Result<()> {
    let [one, two] = lab.nodes();
    let cluster = install(lab, mysqld)?;
    cluster.expect(one, "takeover", 0)?;
    let client = Client::start(lab)?;
    client.wait_for_rows(ROWS)?;
    one.power_cut()?;

    cluster.expect(two, "takeover", 0)?;
    let takeover_steps = steps_of_last_run(&cluster, two)?;
    let active = active_state(&cluster, two, mysqld)?;
    client.wait_for_rows(ROWS)?;
    cluster.expect(two, "release", 0)?;
    let release_steps = steps_of_last_run(&cluster, two)?;
    let released = released_state(&cluster, two)?;
    println!(
        "undisturbed takeover: {takeover_steps:.2?}\n{active}undisturbed release: {release_steps:.2?}\n{released}"
    );

    let releases: Vec<Point> = points(&release_steps).into_iter().filter(&wanted).collect();
    let takeovers: Vec<Point> = points(&takeover_steps).into_iter().filter(&wanted).collect();
    ensure!(takeovers.len() >= releases.len(), "a release would be left out");
    let mut releases = releases.iter();
    for point in &takeovers {
        kill_and_rerun(&cluster, two, "takeover", point, &active)?;
        client.wait_for_rows(ROWS)?;
        match releases.next() {
            Some(point) => kill_and_rerun(&cluster, two, "release", point, &released)?,
            None => crash(two)?,
        }
    }

    cluster.expect(two, "takeover", 0)?;
    client.wait_for_rows(ROWS)?;
    let report = client.stop()?;
    one.boot()?;
    lab.wait_in_sync()?;
    assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
    println!("{} rows acknowledged, none lost", report.acknowledged.len());
    no_process_left(two)
}

fn no_process_left(node: &Node) -> Result<()> {
    wait_until("every standin to have ended", ANNOUNCED, || {
        Ok((!node.run("pgrep -f '[i]nternal-worker|[s]tandin (takeover|release)'")?.success()).then_some(()))
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn at_every_step_with_a_unit() -> Result<()> {
    with_lab(LabOptions::default(), |lab| every_point(lab, Mysqld::Unit, |_| true))
}

/// A mysqld that standin starts by itself must outlive it.
#[test]
#[ignore = "needs the lab: root and its image"]
fn around_mysqld_with_a_command_line() -> Result<()> {
    let options = LabOptions { filesystem: Filesystem::Xfs, ..LabOptions::default() };
    with_lab(options, |lab| {
        every_point(lab, Mysqld::Command, |point| {
            ["mysqld", "add-vip", "unmount"].iter().any(|word| point.name.contains(word))
        })
    })
}

/// Node by node in turn: the active one loses its power, and the takeover on the other is killed.
#[test]
#[ignore = "needs the lab: root and its image"]
fn after_a_power_cut() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let cluster = install(lab, Mysqld::Unit)?;
        cluster.expect(lab.node1(), "takeover", 0)?;
        let client = Client::start(lab)?;

        let mut active = lab.node1();
        let cut_power = |node: &Node| {
            client.wait_for_rows(10 * ROWS)?;
            node.power_cut()
        };
        let come_back = |node: &Node| {
            client.wait_for_rows(ROWS)?;
            node.boot()?;
            lab.wait_in_sync()
        };
        cut_power(active)?;
        cluster.expect(lab.peer(active), "takeover", 0)?;
        let undisturbed = active_state(&cluster, lab.peer(active), Mysqld::Unit)?;
        come_back(active)?;
        active = lab.peer(active);

        // Disconnected by us: the rerun must not take it for a split brain.
        cut_power(active)?;
        let standby = lab.peer(active);
        kill(standby, "takeover", &Point::end_of("disconnect-drbd"))?;
        ensure!(standby.drbd()?.contains("cs:StandAlone"), "{}", standby.drbd()?);
        standby.run_ok(&format!("mv {JOURNAL} {JOURNAL}.aside"))?;
        let refusal = cluster.expect(standby, "plan", 3)?.stderr;
        ensure!(refusal.contains("is StandAlone, and not because of an earlier takeover"), "{refusal}");
        standby.run_ok(&format!("mv {JOURNAL}.aside {JOURNAL}"))?;
        cluster.expect(standby, "takeover", 0)?;
        same_state(&cluster, standby, &undisturbed)?;
        come_back(active)?;
        active = standby;

        for point in
            [Point::end_of("promote-drbd"), Point::middle_of("start-mysqld", 0.0), Point::end_of("verify")]
        {
            cut_power(active)?;
            kill_and_rerun(&cluster, lab.peer(active), "takeover", &point, &undisturbed)?;
            come_back(active)?;
            active = lab.peer(active);
        }

        // One rerun after the other is killed as well.
        cut_power(active)?;
        let standby = lab.peer(active);
        for point in [
            Point::exec(),
            Point::end_of("disconnect-drbd"),
            Point::start_of("promote-drbd"),
            Point::end_of("mount"),
            Point::middle_of("start-mysqld", 0.0),
            Point::end_of("add-vip"),
        ] {
            kill(standby, "takeover", &point)?;
        }
        cluster.expect(standby, "takeover", 0)?;
        same_state(&cluster, standby, &undisturbed)?;
        come_back(active)?;

        planned(lab, &cluster, standby, &client)?;
        let report = client.stop()?;
        assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());
        println!("{} rows acknowledged, none lost", report.acknowledged.len());
        lab.nodes().into_iter().try_for_each(no_process_left)
    })
}

/// The way from one node to the other and back, both being alive and connected.
fn planned(lab: &Lab, cluster: &Cluster<'_>, active: &Node, client: &Client) -> Result<()> {
    let standby = lab.peer(active);
    cluster.expect(active, "release", 0)?;
    let released = released_state(cluster, active)?;
    cluster.expect(standby, "takeover", 0)?;
    let taken = active_state(cluster, standby, Mysqld::Unit)?;
    client.wait_for_rows(ROWS)?;

    kill_and_rerun(cluster, standby, "release", &Point::middle_of("stop-mysqld", 0.2), &released)?;
    kill_and_rerun(cluster, active, "takeover", &Point::end_of("promote-drbd"), &taken)?;
    client.wait_for_rows(ROWS)?;
    kill_and_rerun(cluster, active, "release", &Point::end_of("unmount"), &released)?;
    kill_and_rerun(cluster, standby, "takeover", &Point::end_of("start-mysqld"), &taken)?;
    client.wait_for_rows(ROWS)
}
