//! What a takeover must refuse on two real kernels: exit 3 with the reason, and nothing changed on either node.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use standin_lab::{
    Client, Cluster, ClusterOptions, Lab, LabOptions, Network, Node, State, wait_until, with_lab,
};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);

/// Expects the refusal on node2 and shows it, so that a person who runs the test can judge its wording.
fn refused(cluster: &Cluster<'_>, node: &Node, what: &str, reason: &[&str]) -> Result<()> {
    let text = cluster
        .expect_refusal(node, "--wait 1s", reason)
        .map_err(|error| error.context(format!("the scenario is: {what}")))?;
    println!("--- {what}\n{text}");
    Ok(())
}

fn wait_for_drbd(node: &Node, words: &str) -> Result<()> {
    wait_until(&format!("{words} on {}", node.name()), SOON, || {
        Ok(node.drbd()?.contains(words).then_some(()))
    })
}

/// Without this a refusal test could not fail: each kind of change must show in the comparison.
#[test]
#[ignore = "needs the lab: root and its image"]
fn changes_are_seen() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let node = lab.node2();
        let before = State::of(node)?;
        ensure!(before == State::of(node)?, "the state does not stand still: {before}");
        for (part, change, back) in [
            ("drbd", "drbdsetup primary 0", "drbdsetup secondary 0"),
            ("mounts", "mount -t tmpfs none /var/lib/mysql", "umount /var/lib/mysql"),
            (
                "addresses",
                "ip address add 10.77.0.100/24 dev eth0",
                "ip address delete 10.77.0.100/24 dev eth0",
            ),
            (
                "mysqld",
                "cp /bin/sleep /root/mariadbd; /root/mariadbd 1000 < /dev/null > /dev/null 2>&1 &",
                "killall -w mariadbd",
            ),
            (
                "heartbeat",
                "cp /bin/sleep /root/heartbeat; /root/heartbeat 1000 < /dev/null > /dev/null 2>&1 &",
                "killall -w heartbeat",
            ),
        ] {
            node.run_ok(change)?;
            wait_until(&format!("the change of {part} to be seen"), SOON, || {
                Ok((before.differences(&State::of(node)?) == [part]).then_some(()))
            })?;
            node.run_ok(back)?;
            let after = State::of(node)?;
            ensure!(before == after, "{part} is not as before:\n{before}\n{after}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn peer_serves() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        cluster.expect(one, "takeover", 0)?;
        let client = Client::start(lab)?;
        client.wait_for_rows(20)?;

        refused(&cluster, two, "the virtual IP answers", &["10.77.0.100 is still answered by"])?;
        second_standin(&cluster, two)?;

        two.run_ok("ip link set eth0 down")?;
        let reason = ["10.77.0.100 could not be learnt", "eth0 of this node is down", "ip link"];
        refused(&cluster, two, "the standby's own interface is down", &reason)?;
        two.run_ok("ip link set eth0 up")?;

        // The node does not see the carrier go, as behind a switch: the silence looks like that of a dead peer.
        two.unplug(Network::Clients)?;
        let reason = ["the peer is Primary", "10.77.1.1", "standin release"];
        refused(&cluster, two, "the standby is cut off from the clients", &reason)?;
        two.plug(Network::Clients)?;

        client.wait_for_rows(20)?;
        assert_eq!(client.stop()?.lost_rows(lab)?, Vec::<i64>::new());

        one.run_ok("ip address delete 10.77.0.100/24 dev eth0")?;
        refused(&cluster, two, "the peer is Primary without the virtual IP", &["the peer is Primary"])?;

        // First DRBD still shows the peer, then no longer; a takeover at either moment would be a split brain.
        lab.partition(Network::Replication)?;
        cluster.expect(two, "takeover --wait 0s", 3)?;
        wait_for_drbd(two, "cs:WFConnection")?;
        let reason = ["answers at 10.77.0.1", "not connected", "split brain"];
        refused(&cluster, two, "the peer is Primary behind a cut replication link", &reason)?;
        ensure!(two.drbd()?.contains("ro:Secondary/Unknown"), "{}", two.drbd()?);
        Ok(())
    })
}

fn second_standin(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    let first = node.spawn("exec standin takeover --wait 50s")?;
    wait_until("the first to wait", SOON, || Ok(first.output()?.contains("waiting up to").then_some(())))?;
    let pid = node.run_ok("pgrep --full --exact 'standin takeover --wait 50s'")?;
    let pid = pid.trim();
    for arguments in ["takeover", "release"] {
        let second = cluster.expect(node, arguments, 3)?;
        println!("--- a second standin\n{}", second.stderr);
        ensure!(
            second.stderr.contains(&format!("refused: another standin works on resource r0 (pid {pid})")),
            "its holder is {pid}: {second}"
        );
    }
    // Looking is always allowed.
    cluster.expect(node, "status", 0)?;
    node.run_ok(&format!("kill -TERM {pid}"))?;
    let (code, output) = first.wait(SOON)?;
    ensure!(code == 3 && output.contains("still answered"), "interrupted in its wait: {code}: {output}");
    Ok(())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn local_state() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        // Only the obstacle refuses: without it a takeover would go ahead.
        let unobstructed = || cluster.expect(two, "plan", 0).map(drop);
        unobstructed()?;

        two.run_ok("mount -t tmpfs none /var/lib/mysql")?;
        refused(&cluster, two, "mount point occupied", &["/var/lib/mysql holds none (tmpfs)", "umount"])?;
        two.run_ok("umount /var/lib/mysql")?;
        unobstructed()?;

        let pid = start_on_bare_mount_point(two)?;
        let reason = [&*format!("mariadbd with pid {pid} runs on /var/lib/mysql"), "not on /dev/drbd0"];
        refused(&cluster, two, "another mysqld on the data directory", &reason)?;
        two.run_ok("killall -w mariadbd; rm -rf /var/lib/mysql/*; chown root: /var/lib/mysql")?;
        unobstructed()?;

        two.run_ok("drbdsetup primary 0 && mount -o ro /dev/drbd0 /var/lib/mysql")?;
        refused(&cluster, two, "mounted read-only", &["/dev/drbd0 is mounted read-only at /var/lib/mysql"])?;
        two.run_ok("umount /var/lib/mysql && mount /dev/drbd0 /mnt")?;
        refused(&cluster, two, "mounted elsewhere", &["/dev/drbd0 is mounted at /mnt"])?;
        two.run_ok("umount /mnt && drbdsetup secondary 0")?;
        unobstructed()?;

        two.run_ok("drbdadm disconnect r0")?;
        let reason = ["StandAlone", "not because of an earlier takeover", "drbdadm connect r0"];
        refused(&cluster, two, "disconnected by hand", &reason)?;
        two.run_ok("drbdadm connect r0")?;
        lab.wait_in_sync()?;
        unobstructed()?;

        // DRBD outdates only what is not connected.
        one.run_ok("drbdadm disconnect r0")?;
        wait_for_drbd(two, "cs:WFConnection")?;
        two.run_ok("drbdadm outdate r0")?;
        refused(&cluster, two, "Outdated", &["local disk of r0 is Outdated", "would lose acknowledged"])?;
        one.run_ok("drbdadm connect r0")?;
        lab.wait_in_sync()?;
        unobstructed()?;

        // Slow enough not to end within the test.
        two.run_ok("drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=250k")?;
        two.run_ok("drbdadm invalidate r0")?;
        wait_for_drbd(two, "cs:SyncTarget")?;
        refused(
            &cluster,
            two,
            "in the middle of a resync",
            &["is Inconsistent: a resync from the peer runs"],
        )?;
        one.run_ok("drbdadm disconnect r0")?;
        wait_for_drbd(two, "cs:WFConnection")?;
        refused(&cluster, two, "after a resync that broke off", &["local disk of r0 is Inconsistent"])?;
        lab.reset_disks()?;
        unobstructed()?;

        split_brain(lab)?;
        let reason = ["StandAlone", "split brain", "dmesg"];
        refused(&cluster, two, "split brain", &reason)?;
        lab.reset_disks()?;
        unobstructed()?;

        isolated(lab, &cluster)
    })
}

/// A server of its own data, started on the directory below the mount point.
fn start_on_bare_mount_point(node: &Node) -> Result<String> {
    node.run_ok(
        "chown mysql /var/lib/mysql
        setsid mariadbd --user=mysql --skip-grant-tables --skip-networking --innodb-log-file-size=4M \
            > /dev/null 2>&1 < /dev/null &",
    )?;
    wait_until("the other mariadbd to be ready", SOON, || {
        Ok(node.run("test -S /run/mysqld/mysqld.sock")?.success().then_some(()))
    })?;
    Ok(node.run_ok("pidof mariadbd")?.trim().to_owned())
}

fn split_brain(lab: &Lab) -> Result<()> {
    lab.on_both(|node| node.run_ok("drbdadm disconnect r0"))?;
    lab.on_both(|node| {
        node.run_ok("drbdsetup primary 0 && mount /dev/drbd0 /mnt && touch /mnt/$(hostname)")?;
        node.run_ok("umount /mnt && drbdsetup secondary 0")
    })?;
    lab.on_both(|node| node.run_ok("drbdadm connect r0"))?;
    // Whoever sees it first drops the connection, and the other one may go on listening.
    wait_until("node2 to see the split brain", SOON, || {
        lab.node1().run("drbdadm connect r0")?;
        Ok(lab.node2().drbd()?.contains("cs:StandAlone").then_some(()))
    })?;
    let log = lab.node2().run_ok("dmesg")?;
    ensure!(log.contains("Split-Brain detected"), "{log}");
    Ok(())
}

/// Neither network reaches this node, and no link is down: only a third machine can tell it from a dead peer.
fn isolated(lab: &Lab, cluster: &Cluster<'_>) -> Result<()> {
    let [one, two] = lab.nodes();
    cluster.expect(one, "takeover", 0)?;
    two.unplug(Network::Clients)?;
    two.unplug(Network::Replication)?;
    // The other node notices for itself, a little later.
    lab.on_both(|node| wait_for_drbd(node, "cs:WFConnection"))?;
    refused(cluster, two, "cut off from everything", &["no witness answers (10.77.0.254)", "cut off"])?;
    two.plug(Network::Clients)?;
    two.plug(Network::Replication)?;
    lab.wait_in_sync()?;
    cluster.expect(one, "release", 0)?;
    Ok(())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn credentials_that_others_can_read() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let two = lab.node2();
        let cluster = Cluster::install(lab, &ClusterOptions::default())?;
        let before = State::of(two)?;
        two.run_ok("chmod 644 /etc/standin/r0.cnf")?;
        for command in ["takeover", "plan"] {
            let output = cluster.expect(two, command, 2)?;
            for part in ["/etc/standin/r0.cnf", "chmod 0600", "/etc/standin/r0.yaml:"] {
                ensure!(output.stderr.contains(part), "{part:?} is missing: {output}");
            }
            ensure!(!output.stderr.contains("lab-health"), "the password is shown: {output}");
        }
        println!("{}", cluster.expect(two, "takeover", 2)?.stderr);
        let after = State::of(two)?;
        ensure!(before == after, "changed:\n{before}\n{after}");
        ensure!(cluster.journal(two)?.is_empty());
        // What gives up or only looks needs no password.
        for command in ["status", "release"] {
            cluster.expect(two, command, 0)?;
        }
        two.run_ok("chmod 600 /etc/standin/r0.cnf")?;
        cluster.expect(two, "plan", 0)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn release_of_a_busy_mount() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let limits = vec!["unmount: 3s"];
        let cluster = Cluster::install(lab, &ClusterOptions { limits, ..ClusterOptions::default() })?;
        cluster.expect(one, "takeover", 0)?;
        let shell = one.spawn("cd /var/lib/mysql && sleep 1000; true")?;
        let pid = wait_until("the shell to be in the data directory", SOON, || {
            Ok(one.run_ok("pgrep --exact sleep")?.trim().parse::<u32>().ok())
        })?;

        let stuck = cluster.expect(one, "release", 4)?;
        println!("{}\n{}", stuck.stdout, stuck.stderr);
        let holder = format!("sleep (pid {pid}, working directory /var/lib/mysql");
        for part in [&*holder, "STUCK", "umount /var/lib/mysql\n", "drbdsetup secondary 0\n"] {
            ensure!(stuck.stderr.contains(part), "{part:?} is missing: {stuck}");
        }
        // As do many daemons, systemd-udevd has the mount in a namespace of its own, which keeps nobody from unmounting.
        ensure!(!stuck.stderr.contains("udevd"), "killing it would not help: {stuck}");
        ensure!(!stuck.stderr.contains("systemctl stop"), "what is done need not be typed: {stuck}");
        let state = State::of(one)?;
        ensure!(!state.part("addresses").contains("10.77.0.100"), "{state}");
        ensure!(state.part("mysqld").is_empty() && state.part("mounts").contains("/dev/drbd0"), "{state}");
        // The other node must wait for it.
        let refusal = cluster.expect(two, "takeover --wait 0s", 3)?;
        ensure!(refusal.stderr.contains("the peer is Primary"), "{refusal}");

        one.run_ok(&format!("kill {pid}"))?;
        shell.wait(SOON)?;
        cluster.expect(one, "release", 0)?;
        let state = State::of(one)?;
        ensure!(state.part("drbd").contains("ro:Secondary") && state.part("mounts").is_empty(), "{state}");
        cluster.expect(two, "takeover", 0)?;
        Ok(())
    })
}

/// What a fence command does in place of a management processor: it asks the host, and waits for its confirmation.
const POWER_OFF: &str = "#!/bin/sh
echo $1 > /run/fence
until [ -e /run/fenced ]; do sleep 0.1; done
";

#[test]
#[ignore = "needs the lab: root and its image"]
fn fences() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let fence = |line| ClusterOptions {
            limits: vec!["fence_peer: 20s"],
            more: vec![line],
            ..ClusterOptions::default()
        };
        let cluster = Cluster::install(lab, &fence("fence: [/usr/local/sbin/power-off, \"{peer}\"]"))?;
        two.write_file("/usr/local/sbin/power-off", POWER_OFF, 0o755)?;

        // The peer serves and does not yield: it is fenced, and only then taken over from.
        cluster.expect(one, "takeover", 0)?;
        let client = Client::start(lab)?;
        client.wait_for_rows(50)?;
        let refusal = cluster.expect(two, "plan", 3)?;
        ensure!(refusal.stderr.contains("still answered"), "{refusal}");
        std::thread::scope(|scope| {
            let takeover = scope.spawn(|| cluster.expect(two, "takeover --wait 1s", 0));
            let victim = wait_until("the fence command to run", SOON, || {
                Ok(two.run("cat /run/fence")?.stdout.lines().next().map(str::to_owned))
            })?;
            assert_eq!(victim, "node1");
            one.power_cut()?;
            two.run_ok("touch /run/fenced")?;
            println!("{}", takeover.join().unwrap()?.stdout);
            anyhow::Ok(())
        })?;
        client.wait_for_rows(50)?;
        assert_eq!(client.stop()?.lost_rows(lab)?, Vec::<i64>::new());
        one.boot()?;
        lab.wait_in_sync()?;
        cluster.expect(two, "release", 0)?;

        one.power_cut()?;
        wait_for_drbd(two, "cs:WFConnection")?;
        failing_fences(&cluster, two)?;
        consistent(&cluster, two)?;

        // As the takeover's warning says.
        one.boot()?;
        wait_until("a node to see the split brain", SOON, || {
            let [first, second] = lab.on_both(|node| Ok(node.drbd()?.contains("cs:StandAlone")))?;
            Ok((first || second).then_some(()))
        })?;
        one.run_ok("drbdadm disconnect r0; drbdadm connect --discard-my-data r0")?;
        two.run_ok("! grep -q cs:StandAlone /proc/drbd || drbdadm connect r0")?;
        lab.wait_in_sync()?;
        ensure!(two.drbd()?.contains("ro:Primary/Secondary"), "{}", two.drbd()?);
        Ok(())
    })
}

/// The peer is dead, and a fence command that does not confirm it stops the takeover before anything is changed.
fn failing_fences(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    for (line, limit, part) in [
        ("fence: [/bin/false]", "fence_peer: 20s", "did not confirm"),
        ("fence: [/bin/sleep, '1000']", "fence_peer: 2s", "/bin/sleep 1000"),
        ("fence: [/usr/local/sbin/missing]", "fence_peer: 20s", "/usr/local/sbin/missing"),
    ] {
        cluster.configure(&ClusterOptions {
            limits: vec![limit],
            more: vec![line],
            ..ClusterOptions::default()
        })?;
        cluster.forget()?;
        let before = cluster.states()?;
        let failed = cluster.expect(node, "takeover", 1)?;
        println!("--- {line}\n{}{}", failed.stdout, failed.stderr);
        for part in [part, "fence-peer", "what had been done was undone"] {
            ensure!(failed.stderr.contains(part), "{part:?} is missing: {failed}");
        }
        ensure!(failed.took < Duration::from_secs(15), "it took {:?}", failed.took);
        ensure!(!node.run("pidof sleep")?.success(), "the fence command still runs");
        let after = cluster.states()?;
        ensure!(before == after, "a fence that failed changed something:\n{before:#?}\n{after:#?}");
        let journal = cluster.journal(node)?;
        let last = &journal[journal.len() - 1];
        ensure!(last["event"] == "end" && last["outcome"] == "failed", "{last}");
    }
    Ok(())
}

/// A node that boots without its peer can't know whether its copy is current; DRBD says so when it is told to fence.
fn consistent(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    cluster.configure(&ClusterOptions::default())?;
    node.run_ok(
        "sed -i 's/^ *disk {/& fencing resource-only;/' /etc/drbd.d/r0.res && drbdadm dump r0 && sync",
    )?;
    node.power_cut()?;
    node.boot()?;
    wait_for_drbd(node, "ds:Consistent")?;
    let reason = ["local disk of r0 is Consistent", "the peer may hold newer commits", "fence command"];
    refused(cluster, node, "Consistent without a fence", &reason)?;

    let fence = vec!["fence: [/bin/true]"];
    cluster.configure(&ClusterOptions { more: fence, ..ClusterOptions::default() })?;
    let plan = cluster.expect(node, "plan", 0)?.stdout;
    for part in ["/bin/true", "--force", "warning: ", "drbdadm connect --discard-my-data r0"] {
        ensure!(plan.contains(part), "{part:?} is missing in the plan: {plan}");
    }
    println!("--- Consistent with a fence\n{}", cluster.expect(node, "takeover", 0)?.stdout);
    wait_for_drbd(node, "ro:Primary/Unknown ds:UpToDate")
}
