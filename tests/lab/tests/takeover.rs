//! Takeovers and releases on two real kernels, with a client that writes all the while.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::{
    Client, Cluster, ClusterOptions, Credentials, Filesystem, Lab, LabOptions, Mysqld, Node, Output, State,
    VIP, wait_until, with_lab,
};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);
/// Rows before and after each event, so that there is something to lose.
const ROWS: usize = 200;
/// What a takeover may start, mysqld aside.
const PROCESSES: u32 = 6;

fn mysqld(mysqld: Mysqld) -> ClusterOptions {
    ClusterOptions { mysqld, ..ClusterOptions::default() }
}

/// The steps of the latest plan that the journal says was begun, and the steps that were started then.
fn begun_and_started(journal: &[Value]) -> Result<(Value, Vec<String>)> {
    let begin = journal.iter().rposition(|entry| entry["event"] == "begin").context("no begin")?;
    let started = journal[begin..].iter().filter(|entry| entry["event"] == "step-start");
    let started = started.map(|entry| entry["step"].as_str().unwrap_or_default().to_owned());
    Ok((journal[begin]["plan"].clone(), started.collect()))
}

fn steps_of(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().into_iter().flatten();
    steps.map(|step| step["action"]["do"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What `plan --json` printed is what the takeover then began and did, step by step.
fn expect_as_planned(cluster: &Cluster<'_>, node: &Node, planned: &str) -> Result<Vec<String>> {
    let planned: Value = serde_json::from_str(planned)?;
    let planned = &planned["plan"];
    let (begun, started) = begun_and_started(&cluster.journal(node)?)?;
    ensure!(*planned == begun, "planned:\n{planned:#}\nbegun:\n{begun:#}");
    let steps = steps_of(planned);
    ensure!(!steps.is_empty() && steps == started, "planned {steps:?}, started {started:?}");
    Ok(steps)
}

/// How many processes a takeover started, by its own count. Questions to systemd are apart: it asks none when the start
/// takes less than two seconds, and each is a line of progress.
fn processes_started(takeover: &Output) -> Result<(u32, u32)> {
    let count = takeover.stderr.lines().find_map(|line| line.split_once(" processes started"));
    let number = count.and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    let number: u32 = number.with_context(|| format!("no count: {takeover}"))?;
    let questions = u32::try_from(takeover.stdout.matches("; no server process yet").count())?;
    println!("{number} processes started, {questions} of them questions to systemd");
    Ok((number, questions))
}

/// node1 serves under load and loses its power; node2 takes over; node1 comes back by itself; all goes back.
fn power_cut(lab: &Lab, cluster: &Cluster<'_>, drbd_has_noticed: bool) -> Result<()> {
    let [one, two] = lab.nodes();
    cluster.expect(one, "takeover", 0)?;
    let client = Client::start(lab)?;
    client.wait_for_rows(ROWS)?;
    for node in lab.nodes() {
        expect_sane_output(cluster, node, one)?;
    }

    one.power_cut()?;
    let cut = Instant::now();
    if drbd_has_noticed {
        wait_until("DRBD to notice", SOON, || Ok(two.drbd()?.contains("cs:WFConnection").then_some(())))?;
    }
    let command = "standin plan --json > /run/planned && exec env RUST_LOG=standin=debug standin takeover";
    let output = two.run_with_deadline(command, SOON * 4)?;
    ensure!(output.success(), "{output}");
    let first = client.wait_for_row_after(cut, SOON)?;
    println!("{}{:.2?} from the cut to the first row", output.stdout, first - cut);
    ensure!(output.stdout.contains("is stale") != drbd_has_noticed, "{output}");
    let (processes, questions) = processes_started(&output)?;
    ensure!(processes - questions <= PROCESSES, "{processes} processes started: {output}");
    let steps = expect_as_planned(cluster, two, &two.run_ok("cat /run/planned")?)?;
    for step in ["disconnect-drbd", "promote-drbd", "start-mysqld", "add-vip", "reconnect-drbd"] {
        ensure!(steps.iter().any(|name| name == step), "{step} is missing: {steps:?}");
    }

    client.wait_for_rows(ROWS)?;
    one.boot()?;
    lab.wait_in_sync()?;
    ensure!(one.drbd()?.contains("ro:Secondary/Primary"), "{}", one.drbd()?);
    expect_idle(one)?;
    for node in lab.nodes() {
        expect_sane_output(cluster, node, two)?;
    }
    client.wait_for_rows(ROWS)?;
    no_row_lost(lab, client)?;
    planned_move(lab, cluster, two)
}

fn no_row_lost(lab: &Lab, client: Client) -> Result<()> {
    let report = client.stop()?;
    println!("{} rows acknowledged, {} of open fate", report.acknowledged.len(), report.unknown.len());
    let lost = report.lost_rows(lab)?;
    ensure!(lost.is_empty(), "{} acknowledged rows are lost: {lost:?}", lost.len());
    Ok(())
}

/// A node that is not active holds nothing.
fn expect_idle(node: &Node) -> Result<()> {
    let state = State::of(node)?;
    ensure!(
        state.part("drbd").contains("ro:Secondary/")
            && state.part("mounts").is_empty()
            && state.part("mysqld").is_empty()
            && !state.part("addresses").contains(&VIP.to_string()),
        "{} is not idle:\n{state}",
        node.name()
    );
    Ok(())
}

/// From `from` to its peer: what is printed before each half is what is done, and either is then already so.
fn planned_move(lab: &Lab, cluster: &Cluster<'_>, from: &Node) -> Result<()> {
    let to = lab.peer(from);
    let planned = cluster.expect(from, "plan --release --json", 0)?.stdout;
    cluster.expect(from, "release", 0)?;
    let steps = expect_as_planned(cluster, from, &planned)?;
    ensure!(steps == ["remove-vip", "stop-mysqld", "unmount", "demote-drbd"], "{steps:?}");
    expect_idle(from)?;
    expect_nothing_done(cluster, from, "release")?;

    let planned = cluster.expect(to, "plan --json", 0)?.stdout;
    cluster.expect(to, "takeover", 0)?;
    let steps = expect_as_planned(cluster, to, &planned)?;
    // The peer is Secondary and stays connected: not one write goes without its copy.
    ensure!(!steps.iter().any(|step| step == "disconnect-drbd"), "{steps:?}");
    ensure!(to.drbd()?.contains("cs:Connected ro:Primary/Secondary"), "{}", to.drbd()?);
    expect_nothing_done(cluster, to, "takeover")
}

fn expect_nothing_done(cluster: &Cluster<'_>, node: &Node, command: &str) -> Result<()> {
    let before = cluster.states()?;
    let output = cluster.expect(node, command, 0)?;
    let after = cluster.states()?;
    ensure!(before == after, "a second {command} changed something:\n{before:#?}\n{after:#?}");
    let (plan, started) = begun_and_started(&cluster.journal(node)?)?;
    ensure!(steps_of(&plan).is_empty() && started.is_empty(), "{output}\n{plan:#}");
    Ok(())
}

/// `status`, its JSON and `history` on a node while `active` serves.
fn expect_sane_output(cluster: &Cluster<'_>, node: &Node, active: &Node) -> Result<()> {
    let table = cluster.expect(node, "status", 0)?.stdout;
    let status: Value = serde_json::from_str(&cluster.expect(node, "status --json", 0)?.stdout)?;
    assert_eq!(status["node"], node.name());
    let seen = &status["observation"];
    let here = node.number() == active.number();
    let (role, vip) = if here { ("primary", "here, on eth0") } else { ("secondary", "answered by") };
    assert_eq!(seen["drbd"]["known"]["role"], role, "{seen:#}");
    assert_eq!(seen["vip"]["here"]["known"].is_string(), here, "{seen:#}");
    assert_eq!(seen["mount"]["known"]["at_directory"].is_object(), here, "{seen:#}");
    assert_eq!(seen["mysqld"]["known"]["answer"], if here { "ready" } else { "silent" }, "{seen:#}");
    let takeover = if here { "is already active" } else { "would be refused" };
    for part in [vip, takeover, "Connected", "node1", "node2"] {
        ensure!(table.contains(part), "{part:?} is missing on {}:\n{table}", node.name());
    }
    let history = cluster.expect(node, "history", 0)?.stdout;
    if here {
        for part in ["takeover done in", "start-mysqld", "verify"] {
            ensure!(history.contains(part), "{part:?} is missing:\n{history}");
        }
        let runs: Value = serde_json::from_str(&cluster.expect(node, "history --json --last 1", 0)?.stdout)?;
        assert_eq!(runs.as_array().map(Vec::len), Some(1));
        let steps = runs[0]["steps"].as_array().into_iter().flatten();
        let sum: f64 = steps.filter_map(|step| step["seconds"].as_f64()).sum();
        let whole = runs[0]["seconds"].as_f64().unwrap_or_default();
        ensure!(sum <= whole && whole < 120.0, "the steps took {sum} s of {whole} s");
    }
    println!("{table}{history}");
    Ok(())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn ext4_and_a_unit() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let cluster = Cluster::install(lab, &mysqld(Mysqld::Unit))?;
        power_cut(lab, &cluster, false)?;
        // The same disk, with a plain command line.
        cluster.expect(lab.node1(), "release", 0)?;
        cluster.configure(&mysqld(Mysqld::Command))?;
        cluster.expect(lab.node1(), "takeover", 0)?;
        planned_move(lab, &cluster, lab.node1())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn xfs_and_a_command() -> Result<()> {
    with_lab(LabOptions { filesystem: Filesystem::Xfs, ..LabOptions::default() }, |lab| {
        let cluster = Cluster::install(lab, &mysqld(Mysqld::Command))?;
        power_cut(lab, &cluster, true)?;
        cluster.expect(lab.node1(), "release", 0)?;
        cluster.configure(&mysqld(Mysqld::Unit))?;
        cluster.expect(lab.node1(), "takeover", 0)?;
        planned_move(lab, &cluster, lab.node1())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn ten_moves() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        cluster.expect(lab.node1(), "takeover", 0)?;
        let client = Client::start(lab)?;
        client.wait_for_rows(ROWS)?;
        let ended = AtomicBool::new(false);
        let samples = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| one_at_a_time(lab, &ended));
            let moved = ten_times(lab, &cluster, &client);
            ended.store(true, Ordering::Relaxed);
            let samples = sampler.join().unwrap();
            moved.and(samples)
        })?;
        println!("both nodes were looked at {samples} times");
        ensure!(samples > 50, "only {samples} looks at both nodes");
        no_row_lost(lab, client)
    })
}

fn ten_times(lab: &Lab, cluster: &Cluster<'_>, client: &Client) -> Result<()> {
    for number in 0..10 {
        let [from, to] = if number % 2 == 0 { lab.nodes() } else { [lab.node2(), lab.node1()] };
        let begun = Instant::now();
        cluster.expect(from, "release", 0)?;
        cluster.expect(to, "takeover", 0)?;
        let first = client.wait_for_row_after(Instant::now(), SOON)?;
        println!("move {number} to {}: {:.2?}", to.name(), first - begun);
        client.wait_for_rows(20)?;
    }
    Ok(())
}

/// Looks at both nodes at the same moment, again and again, and counts the looks.
fn one_at_a_time(lab: &Lab, ended: &AtomicBool) -> Result<usize> {
    let mut samples = 0;
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let [one, two] = lab.on_both(|node| {
            let text = node.run_ok("cat /proc/drbd /proc/net/fib_trie")?;
            Ok((text.contains("ro:Primary"), text.contains(&VIP.to_string())))
        })?;
        // From the end of a release to the other node's promotion it takes longer than this: a look that was held up
        // could have seen one node before and the other one after a move.
        if begun.elapsed() < Duration::from_millis(250) {
            samples += 1;
            ensure!(!(one.0 && two.0), "both nodes were Primary in look {samples}");
            ensure!(!(one.1 && two.1), "both nodes held the virtual IP in look {samples}");
        }
        std::thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
    }
    Ok(samples)
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn single_moves() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        gratuitous_arp(lab, &cluster)?;
        interrupted(lab, &cluster)?;
        counted_by_the_kernel(lab, &cluster)
    })
}

/// A client that has the old node's hardware address for the virtual IP has the new one's when standin ends.
fn gratuitous_arp(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let mac = |node: &Node| {
        Ok::<_, anyhow::Error>(node.run_ok("cat /sys/class/net/eth0/address")?.trim().to_owned())
    };
    let [one, two] = lab.nodes();
    cluster.expect(one, "takeover", 0)?;
    lab.connect(VIP, Credentials::CLIENT)?;
    assert_eq!(lab.neighbour(VIP)?, Some(mac(one)?));
    cluster.expect(one, "release", 0)?;
    cluster.expect(two, "takeover", 0)?;
    assert_eq!(lab.neighbour(VIP)?, Some(mac(two)?), "the client still has the old node's address");
    cluster.expect(two, "release", 0)?;
    Ok(())
}

/// Told to end while mysqld starts, a takeover takes back all that it did.
fn interrupted(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let [_, two] = lab.nodes();
    cluster.forget()?;
    let before = cluster.states()?;
    // A server whose start takes its time, so that the signal comes in its middle.
    two.run_ok(
        "mkdir -p /run/systemd/system/mariadb.service.d
        printf '[Service]\\nExecStartPre=/bin/sleep 5\\n' > /run/systemd/system/mariadb.service.d/slow.conf
        systemctl daemon-reload",
    )?;
    let takeover = two.spawn("exec standin takeover")?;
    wait_until("mysqld to be started", SOON, || {
        let journal = cluster.journal(two)?;
        let starting = |entry: &Value| entry["event"] == "step-start" && entry["step"] == "start-mysqld";
        Ok(journal.iter().any(starting).then_some(()))
    })?;
    let begun = Instant::now();
    two.run_ok("kill -TERM $(pgrep --full --exact 'standin takeover')")?;
    let (code, output) = takeover.wait(SOON * 2)?;
    println!("interrupted, undone in {:.2?}\n{output}", begun.elapsed());
    for part in ["start-mysqld: standin was told to end", "what had been done was undone"] {
        ensure!(code == 1 && output.contains(part), "exit {code}, {part:?} is due: {output}");
    }
    // The sleep that was ended counts as a failure of the unit.
    two.run_ok(
        "rm -r /run/systemd/system/mariadb.service.d
        systemctl daemon-reload; systemctl reset-failed mariadb.service",
    )?;
    let after = cluster.states()?;
    ensure!(before == after, "not undone:\n{before:#?}\n{after:#?}");
    let journal = cluster.journal(two)?;
    let undone: Vec<_> = journal.iter().filter(|entry| entry["event"] == "undo-end").collect();
    let undone: Vec<_> = undone.iter().map(|entry| entry["step"].as_str().unwrap_or_default()).collect();
    assert_eq!(undone, ["stop-mysqld", "unmount", "demote-drbd"]);
    cluster.expect(two, "takeover", 0)?;
    cluster.expect(two, "release", 0)?;
    Ok(())
}

/// standin's own count of the processes that it starts is what the kernel saw.
fn counted_by_the_kernel(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let [one, two] = lab.nodes();
    one.power_cut()?;
    let trace = "strace --follow-forks --quiet=all --trace=clone,clone3,fork,vfork --output=/run/trace";
    let output =
        two.run_with_deadline(&format!("RUST_LOG=standin=debug {trace} standin takeover"), SOON * 4)?;
    ensure!(output.success(), "{output}");
    let (own, questions) = processes_started(&output)?;
    let trace = two.run_ok("cat /run/trace")?;
    let seen = children(&trace);
    println!("{} processes seen by strace", seen.len());
    assert_eq!(u32::try_from(seen.len())?, own, "{trace}");
    ensure!(own - questions <= PROCESSES, "{own} processes: {output}");
    cluster.expect(two, "release", 0)?;
    Ok(())
}

/// The children of the first process in a trace, and not their children in turn.
fn children(trace: &str) -> HashSet<u32> {
    let mut ours = HashSet::new();
    let mut children = HashSet::new();
    let mut makes_thread = std::collections::HashMap::new();
    for line in trace.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let Ok(pid) = pid.parse::<u32>() else { continue };
        if ours.is_empty() {
            ours.insert(pid);
        }
        if call.contains("flags=") {
            makes_thread.insert(pid, call.contains("CLONE_THREAD"));
        }
        let result = call.rsplit_once(" = ").and_then(|(_, number)| number.trim().parse().ok());
        let Some(child) = result.filter(|child| *child > 0 && ours.contains(&pid)) else { continue };
        if makes_thread.get(&pid).copied().unwrap_or_default() {
            ours.insert(child);
        } else {
            children.insert(child);
        }
    }
    children
}
