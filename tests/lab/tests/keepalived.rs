//! keepalived with standin's sample configuration: the whole scenario, words out of order, the FIFO, and `standin check`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use standin_lab::managers::Keepalived;
use standin_lab::sampler::Sampler;
use standin_lab::{
    Cluster, ClusterOptions, Lab, LabOptions, Manager, Node, State, scenario, wait_until, with_lab,
};

const SOON: Duration = Duration::from_secs(90);

fn with_cluster(test: impl FnOnce(&Lab, &Cluster<'_>) -> Result<()>) -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let options = ClusterOptions { more: vec![Keepalived::MORE], ..ClusterOptions::default() };
        let cluster = Cluster::install(lab, &options)?;
        test(lab, &cluster)
    })
}

/// The exit code of a command whose code says something.
fn code(node: &Node, command: &str) -> Result<i32> {
    Ok(node.run(command)?.code)
}

fn wait_until_serves(node: &Node) -> Result<()> {
    wait_until(&format!("{} to serve", node.name()), SOON, || {
        Ok((code(node, "standin check --active --timeout 10s")? == 0).then_some(()))
    })
}

/// A power cut, the kills, planned moves, and the return of the node, under load.
#[test]
#[ignore = "needs the lab: root and its image"]
fn the_life_of_a_cluster() -> Result<()> {
    with_cluster(|lab, cluster| {
        let story = scenario::run(lab, cluster, &Keepalived, scenario::moves())?;
        for part in &story.parts {
            println!("{part:?}");
        }
        ensure!(story.outage("power cut").is_some());
        Ok(())
    })
}

/// keepalived's scripts run side by side: a word that is old by the time it is attended to changes nothing.
#[test]
#[ignore = "needs the lab: root and its image"]
fn old_words_change_nothing() -> Result<()> {
    with_cluster(|lab, cluster| {
        let [one, two] = lab.nodes();
        Keepalived.start(lab, cluster)?;
        wait_until_serves(one)?;
        wait_until("keepalived to be at rest", SOON, || Ok(Keepalived.is_settled(lab)?.then_some(())))?;
        let before = [State::of(one)?, State::of(two)?];
        let runs = |node| -> Result<usize> {
            Ok(cluster.journal(node)?.iter().filter(|entry| entry["event"] == "begin").count())
        };
        let begun = [runs(one)?, runs(two)?];
        // All at once, the newest word among the first.
        let words =
            ["BACKUP", "MASTER", "FAULT", "STOP", "BACKUP", "MASTER", "NONSENSE", "MASTER_RX_LOWER_PRI"];
        let calls: Vec<String> = words
            .iter()
            .map(|word| {
                format!("(standin keepalived-notify INSTANCE standin {word} 100; echo {word} $?) 2>&1 &")
            })
            .collect();
        let script = format!("{} wait", calls.join(" "));
        for node in [one, two] {
            let output = node.run_with_deadline(&script, SOON)?.stdout;
            println!("{}: {output}", node.name());
            for word in words {
                ensure!(output.contains(&format!("{word} 0")), "{word} on {}: {output}", node.name());
            }
        }
        assert_eq!(before, [State::of(one)?, State::of(two)?]);
        assert_eq!(begun, [runs(one)?, runs(two)?], "nothing was begun");
        Ok(())
    })
}

/// A keepalived that dies, however much of it, leaves no second holder of the address: with the drop-in, and without it as
/// long as the reader of the FIFO lives.
#[test]
#[ignore = "needs the lab: root and its image"]
fn a_dead_keepalived_leaves_no_address_behind() -> Result<()> {
    with_cluster(|lab, cluster| {
        Keepalived.start(lab, cluster)?;
        let sampler = Sampler::start(lab)?;
        let settled = || -> Result<&Node> {
            wait_until("one node to serve and the other one to be ready", SOON, || {
                let at_rest = sampler.active()?.is_some() && Keepalived.is_settled(lab)?;
                Ok(at_rest.then_some(()))
            })?;
            let number = sampler.active()?.unwrap_or(1);
            let node = lab.nodes()[usize::from(number) - 1];
            wait_until_serves(node)?;
            Ok(node)
        };
        let parts = [
            ("the parent", "kill -KILL $(pidof keepalived | tr ' ' '\\n' | sort -n | head -n 1)"),
            ("its VRRP process", "kill -KILL $(pidof keepalived | tr ' ' '\\n' | sort -n | tail -n 1)"),
            (
                "all, and the reader",
                "kill -KILL $(pidof keepalived) $(pgrep -f '[k]eepalived-notify --fifo')",
            ),
            ("all", "kill -KILL $(pidof keepalived)"),
        ];
        for (what, command) in parts {
            let node = settled()?;
            println!("{}: {what}", node.name());
            node.run_ok(command)?;
            // Longer than it takes the peer to miss three advertisements.
            std::thread::sleep(Duration::from_secs(6));
        }
        let node = settled()?;
        println!("{}: all, without the drop-in", node.name());
        lab.on_both(|node| {
            node.run_ok("rm -r /etc/systemd/system/keepalived.service.d && systemctl daemon-reload").map(drop)
        })?;
        node.run_ok("kill -KILL $(pidof keepalived)")?;
        wait_until_serves(lab.peer(node))?;
        let record = sampler.stop()?;
        for line in record.quality()? {
            println!("{line}");
        }
        ensure!(record.violations().is_empty(), "{:?}", record.violations());
        Ok(())
    })
}

/// The FIFO by hand, beside a program that has keepalived's name: order is kept, the newest word wins.
#[test]
#[ignore = "needs the lab: root and its image"]
fn the_newest_line_wins() -> Result<()> {
    with_cluster(|lab, cluster| {
        let node = lab.node1();
        node.run_ok("cp /bin/sleep /tmp/keepalived; mkfifo /tmp/fifo")?;
        let alive = node.spawn("exec /tmp/keepalived 1000")?;
        let writer = node.spawn("exec /tmp/keepalived 1000 > /tmp/fifo")?;
        let reader = node.spawn("exec standin keepalived-notify --fifo /tmp/fifo")?;
        let say = |lines: &str| node.run_ok(&format!("printf '{lines}' > /tmp/fifo")).map(drop);
        let vip = |verb: &str| node.run_ok(&format!("ip address {verb} 10.77.0.100/24 dev eth0")).map(drop);
        let says = |text: &str| wait_until(text, SOON, || Ok(reader.output()?.contains(text).then_some(())));
        let line = |word: &str| format!("INSTANCE \"standin\" {word} 100\\n");

        vip("add")?;
        say(&line("MASTER"))?;
        says("start-mysqld")?;
        // In the middle of the takeover: it is interrupted, and nothing is left.
        vip("delete")?;
        say(&line("BACKUP"))?;
        says("the release is done")?;
        ensure!(node.drbd()?.contains("ro:Secondary/Secondary"), "{}", node.drbd()?);
        ensure!(State::of(node)?.part("mounts").is_empty());

        vip("add")?;
        say(&[line("BACKUP"), line("FAULT"), line("MASTER")].concat())?;
        says("the takeover is done")?;
        assert_eq!(code(node, "standin check --active --timeout 10s")?, 0);
        // An old word, and a torn one: the address is here.
        say(&[line("MASTER"), line("BACKUP"), "00\\n".to_owned()].concat())?;
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(code(node, "standin check --active --timeout 10s")?, 0);

        // keepalived is gone, and has left the address behind.
        alive.signal("KILL")?;
        writer.signal("KILL")?;
        reader.wait(SOON)?;
        println!("{}", reader.output()?);
        wait_until("everything to be released", SOON, || {
            let gone = !State::of(node)?.part("addresses").contains("10.77.0.100")
                && node.drbd()?.contains("ro:Secondary/");
            Ok(gone.then_some(()))
        })?;
        cluster.journal(node).map(drop)
    })
}

/// The exit codes, state by state. A takeover in vain makes a node unfit, so that keepalived gives the address away.
#[test]
#[ignore = "needs the lab: root and its image"]
fn check_tells_each_state() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let options = ClusterOptions {
            more: vec![Keepalived::MORE],
            limits: vec!["wait_vip_gone: 2s"],
            ..ClusterOptions::default()
        };
        let cluster = Cluster::install(lab, &options)?;
        let [one, two] = lab.nodes();
        let check = |node: &Node, codes: [i32; 3], text: &str| -> Result<()> {
            let options = ["", "--active", "--nagios"];
            for (option, expected) in options.into_iter().zip(codes) {
                let output = node.run(&format!("standin check --timeout 5s {option}"))?;
                ensure!(output.code == expected, "check {option} on {}: {output}", node.name());
                ensure!(option == "--active" || output.stdout.contains(text), "{text:?}: {output}");
            }
            Ok(())
        };
        check(one, [0, 1, 0], "could take over")?;
        one.run_ok("ip address add 10.77.0.100/24 dev eth0")?;
        check(one, [1, 1, 2], "half-way")?;
        cluster.expect(one, "takeover", 0)?;
        check(one, [0, 0, 0], "node1 is active")?;
        check(two, [0, 1, 0], "could take over")?;
        // No process is started for it, and it is fast.
        let traced = one.run_ok("strace -f -e trace=execve standin check 2>&1")?;
        assert_eq!(traced.matches("execve(").count(), 1, "{traced}");

        // A peer that holds on: refused, and unfit until the address is gone and a while after.
        let _alive = two.spawn("cp /bin/sleep /tmp/keepalived; exec /tmp/keepalived 1000")?;
        two.run_ok("ip address add 10.77.0.100/24 dev eth0")?;
        let refused = two.run("standin keepalived-notify INSTANCE standin MASTER 100 2>&1")?;
        ensure!(refused.code == 3 && refused.stdout.contains("the takeover was refused"), "{refused}");
        check(two, [1, 1, 2], "half-way")?;
        two.run_ok("ip address delete 10.77.0.100/24 dev eth0")?;
        check(two, [1, 1, 2], "in vain")?;
        check(one, [0, 0, 0], "node1 is active")?;

        one.run_ok("kill -STOP $(pidof mariadbd)")?;
        check(one, [1, 1, 2], "does not answer")?;
        one.run_ok("kill -CONT $(pidof mariadbd)")?;
        one.run_ok("ip address delete 10.77.0.100/24 dev eth0")?;
        check(one, [1, 1, 2], "is not here")?;
        one.run_ok("ip address add 10.77.0.100/24 dev eth0")?;
        two.run_ok("drbdadm down r0")?;
        check(two, [1, 1, 2], "not configured")?;
        wait_until("DRBD to see that its peer is gone", SOON, || {
            Ok((!one.drbd()?.contains("cs:Connected")).then_some(()))
        })?;
        check(one, [0, 0, 1], "no second copy")?;
        // A node that serves goes on by the configuration that it became active with; no other could take over by this one.
        lab.on_both(|node| node.write_file("/etc/standin/r0.yaml", "nodes: 1\n", 0o644))?;
        check(one, [0, 0, 1], "can't be read")?;
        check(two, [2, 2, 3], "")
    })
}
