//! A takeover judges the storage engines after the mount and before mysqld: with most of the bytes in MyISAM it gives
//! everything back, with less it warns and goes on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standin_lab::{Cluster, ClusterOptions, LabOptions, Node, State, wait_until, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);
/// Two tables in InnoDB and one in MyISAM, so that the shares by tables stay below every limit here.
const TABLES: &str = "
    CREATE TABLE shop.orders (id INT PRIMARY KEY, a CHAR(200) NOT NULL) ENGINE=InnoDB;
    CREATE TABLE shop.customers (id INT PRIMARY KEY) ENGINE=InnoDB;
    INSERT INTO shop.orders SELECT seq, REPEAT('x', 200) FROM seq_1_to_40000;";
/// One byte for the flags of a row, four for the number and the text.
const ROW: u64 = 1 + 4 + 200;
const SIZES: &str = "cd /var/lib/mysql && stat --format '%s %n' lab/*.ibd shop/*.ibd shop/*.MY?";

#[test]
#[ignore = "needs the lab: root and its image"]
fn the_engines_decide() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        cluster.expect(one, "takeover", 0)?;
        sql(one, &format!("CREATE DATABASE shop; USE shop; {TABLES}"))?;
        make_share(one, 60)?;
        one.power_cut()?;
        wait_until("DRBD to notice", SOON, || Ok(two.drbd()?.contains("cs:WFConnection").then_some(())))?;

        refused(&cluster, two)?;
        accepted(&cluster, two)?;

        one.boot()?;
        lab.wait_in_sync()?;
        make_share(two, 40)?;
        cluster.expect(two, "release", 0)?;
        warned(&cluster, one)
    })
}

/// The refusal leaves the node as it was, and the journal tells all of it.
fn refused(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    cluster.forget()?;
    let before = State::of(node)?;
    let output = cluster.expect(node, "takeover", 3)?;
    println!("--- 60 %\n{}{}", output.stdout, output.stderr);
    for part in
        ["MyISAM", "(60.", "limit of 50 %", "why it matters: ", "what to do next: ", "--accept-myisam"]
    {
        ensure!(output.stderr.contains(part), "{part:?} is missing: {output}");
    }
    let after = State::of(node)?;
    ensure!(before == after, "not as before:\n{before}\n{after}");
    ensure!(after.part("drbd").contains("ro:Secondary/Unknown ds:UpToDate/DUnknown"), "{after}");
    for part in ["mounts", "mysqld"] {
        ensure!(after.part(part).is_empty(), "{after}");
    }
    ensure!(!after.part("addresses").contains("10.77.0.100"), "{after}");

    let journal = cluster.journal(node)?;
    let events = events(&journal);
    let expected = ["step-failed audit-engines", "undo-end mount", "undo-end promote-drbd"];
    ensure!(
        events[0] == "begin" && events.last().is_some_and(|last| last == "end refused"),
        "the journal: {events:?}"
    );
    for event in &expected {
        ensure!(events.iter().any(|seen| seen == event), "{event} is missing: {events:?}");
    }
    // What was started has ended, and mysqld was not.
    for start in events.iter().filter_map(|event| event.strip_prefix("step-start ")) {
        let ends = [format!("step-end {start}"), format!("step-failed {start}")];
        ensure!(events.iter().any(|event| ends.contains(event)), "{start} has no end: {events:?}");
        ensure!(start != "start-mysqld" && start != "add-vip", "{events:?}");
    }
    let failed = entry(&journal, "step-failed", "audit-engines")?;
    let seen = failed["failure"]["seen"].as_str().context("no reason")?;
    ensure!(output.stderr.contains(seen), "journal {seen:?}, operator: {}", output.stderr);
    let history = cluster.expect(node, "history", 0)?.stdout;
    for part in ["takeover refused", "audit-engines", "failed: ", "(60.", "undo mount", "undo promote-drbd"] {
        ensure!(history.contains(part), "{part:?} is missing: {history}");
    }
    Ok(())
}

/// A person's word goes on, and is written down.
fn accepted(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    cluster.forget()?;
    let output = cluster.expect(node, "takeover --accept-myisam", 0)?;
    println!("--- 60 %, accepted\n{}{}", output.stdout, output.stderr);
    let journal = cluster.journal(node)?;
    let begin = journal.iter().find(|entry| entry["event"] == "begin").context("no begin")?;
    ensure!(begin["request"]["accept_myisam"] == true, "{begin:#}");
    let warning = warning(&journal)?;
    for part in ["MyISAM", "(60.", "accepted by --accept-myisam"] {
        ensure!(warning.contains(part), "{part:?} is missing: {warning}");
    }
    tells(cluster, node, &format!("{}{}", output.stdout, output.stderr), &warning)
}

fn warned(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    cluster.forget()?;
    let output = cluster.expect(node, "takeover", 0)?;
    println!("--- 40 %\n{}{}", output.stdout, output.stderr);
    let warning = warning(&cluster.journal(node)?)?;
    ensure!(warning.contains("MyISAM") && warning.contains("not crash-safe"), "{warning}");
    tells(cluster, node, &format!("{}{}", output.stdout, output.stderr), &warning)
}

/// The warning is in the output and in the history, and mysqld serves.
fn tells(cluster: &Cluster<'_>, node: &Node, output: &str, warning: &str) -> Result<()> {
    ensure!(output.contains(warning), "{warning:?} is missing: {output}");
    let history = cluster.expect(node, "history", 0)?.stdout;
    ensure!(history.contains(warning), "{warning:?} is missing: {history}");
    ensure!(sql(node, "SELECT COUNT(*) FROM shop.orders")?.trim() == "40000");
    Ok(())
}

fn warning(journal: &[Value]) -> Result<String> {
    let audit = entry(journal, "step-end", "audit-engines")?;
    Ok(audit["warning"].as_str().with_context(|| format!("no warning: {audit:#}"))?.to_owned())
}

fn entry<'a>(journal: &'a [Value], event: &str, step: &str) -> Result<&'a Value> {
    let found = journal.iter().find(|entry| entry["event"] == event && entry["step"] == step);
    found.with_context(|| format!("no {event} of {step}: {journal:#?}"))
}

/// Each entry in short: what happened to which step, or how it ended.
fn events(journal: &[Value]) -> Vec<String> {
    let word = |entry: &Value, key: &str| entry[key].as_str().map(|word| format!(" {word}"));
    journal
        .iter()
        .map(|entry| {
            let what = ["of", "step", "outcome"].iter().find_map(|key| word(entry, key)).unwrap_or_default();
            format!("{}{what}", entry["event"].as_str().unwrap_or_default())
        })
        .collect()
}

fn sql(node: &Node, statements: &str) -> Result<String> {
    node.run_ok(&format!("mariadb --skip-column-names --execute \"{statements}\""))
}

/// Gives MyISAM this share of the users' bytes, exact to a thousandth, and has it on the disk.
fn make_share(node: &Node, percent: u64) -> Result<()> {
    sql(
        node,
        "USE shop; DROP TABLE IF EXISTS shop.archive;
        CREATE TABLE shop.archive (id INT NOT NULL, a CHAR(200) CHARACTER SET latin1 NOT NULL) ENGINE=MyISAM;
        FLUSH TABLES",
    )?;
    let [innodb, _] = sizes(node)?;
    let rows = innodb * percent / (100 - percent) / ROW;
    sql(
        node,
        &format!("USE shop; INSERT INTO shop.archive SELECT seq, 'x' FROM seq_1_to_{rows}; FLUSH TABLES"),
    )?;
    node.run_ok("sync")?;
    let [innodb, myisam] = sizes(node)?;
    let thousandths = myisam * 1000 / (innodb + myisam);
    ensure!(thousandths.abs_diff(percent * 10) <= 1, "{myisam} of {innodb} and {myisam} bytes");
    Ok(())
}

/// The bytes in files of the users' tables: InnoDB's and MyISAM's.
fn sizes(node: &Node) -> Result<[u64; 2]> {
    let mut sizes = [0, 0];
    for line in node.run_ok(SIZES)?.lines() {
        let (bytes, name) = line.split_once(' ').with_context(|| format!("no size: {line}"))?;
        sizes[usize::from(!name.ends_with(".ibd"))] += bytes.parse::<u64>()?;
    }
    Ok(sizes)
}
