//! The lab's own tests: what every other test in it relies on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use standin_lab::{Client, Filesystem, Lab, LabOptions, Network, Node, Run, runs, wait_until, with_lab};

/// For what takes a moment on an idle machine.
const SOON: Duration = Duration::from_secs(30);
/// For a start of a lab, with the image to be built at first.
const START: Duration = Duration::from_secs(600);

fn pings(from: &Node, network: Network, to: &Node) -> Result<bool> {
    Ok(from.run(&format!("ping -q -c 1 -W 1 {}", network.address(to.number())))?.success())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn commands_and_files() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        assert_eq!(one.run_ok("hostname")?, "node1\n");
        assert_eq!(two.run_ok("hostname")?, "node2\n");

        let output = one.run("echo out; echo err >&2; exit 3")?;
        assert_eq!((output.code, &*output.stdout, &*output.stderr), (3, "out\n", "err\n"));
        assert_eq!(one.run("kill -TERM $$")?.code, 128 + 15);
        let error = format!("{:#}", one.run_ok("echo why >&2; exit 7").unwrap_err());
        for part in ["node1", "exit 7", "why", "with 7"] {
            ensure!(error.contains(part), "{part:?} is missing in {error:?}");
        }

        // The deadline ends the wait, and the command with all that it started.
        let start = Instant::now();
        let error = one.run_with_deadline("sleep 1000 & sleep 1000", Duration::from_millis(500)).unwrap_err();
        ensure!(start.elapsed() < Duration::from_secs(5), "the deadline came after {:?}", start.elapsed());
        ensure!(format!("{error:#}").contains("deadline"), "{error:#}");
        wait_until("the command to be killed", SOON, || {
            Ok((!one.run("pidof sleep")?.success()).then_some(()))
        })?;

        // What a command leaves running does not hold it up, and stays.
        let start = Instant::now();
        one.run_ok("sleep 1000 & echo left")?;
        ensure!(
            start.elapsed() < Duration::from_secs(5),
            "a daemon held its command for {:?}",
            start.elapsed()
        );
        one.run_ok("pidof sleep && killall sleep")?;

        one.run_ok("mkfifo /run/go")?;
        let running =
            one.spawn("echo \"it's\" 'a \"quote\"'; read line < /run/go; echo $line >&2; exit 4")?;
        assert_eq!(running.code()?, None);
        one.run_ok("echo gone > /run/go")?;
        assert_eq!(running.wait(SOON)?, (4, "it's a \"quote\"\ngone\n".to_owned()));
        let sleeping = one.spawn("sleep 1000")?;
        wait_until("the command to run", SOON, || Ok(one.run("pidof sleep")?.success().then_some(())))?;
        sleeping.signal("KILL")?;
        wait_until("the signal to arrive", SOON, || Ok((!one.run("pidof sleep")?.success()).then_some(())))?;

        let content: Vec<u8> =
            (0..20_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let directory = tempfile::tempdir()?;
        let (sent, received) = (directory.path().join("sent"), directory.path().join("received"));
        fs::write(&sent, &content)?;
        let start = Instant::now();
        one.copy_in(&sent, "/root/some/where", 0o750)?;
        let there = start.elapsed();
        one.copy_out("/root/some/where", &received)?;
        println!("20 MB: in {there:.2?}, out {:.2?}", start.elapsed() - there);
        ensure!(fs::read(&received)? == content, "20 MB changed on their way in and out");
        assert_eq!(one.run_ok("stat --format %a /root/some/where")?, "750\n");
        one.write_file("/etc/standin/secret", "a\nb\n", 0o600)?;
        assert_eq!(one.read_file("/etc/standin/secret")?, b"a\nb\n");

        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        one.mount_host(directory.path())?;
        let start = Instant::now();
        one.run_ok("cmp /mnt/host/sent /root/some/where")?;
        println!("comparing 20 MB with a file of the host: {:.2?}", start.elapsed());

        let mut times: Vec<Duration> =
            (0..50).map(|_| one.run("true").map(|output| output.took)).collect::<Result<_>>()?;
        times.sort();
        println!("`true`: {:.1?} in the median, {:.1?} at most", times[25], times[49]);
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn power_cut_takeover_and_return() -> Result<()> {
    with_lab(LabOptions { filesystem: Filesystem::Xfs, ..LabOptions::default() }, |lab| {
        let [one, two] = lab.nodes();
        assert_eq!(one.run_ok("ls -A /var/lib/mysql")?, "", "the mount point holds something");
        one.serve()?;
        ensure!(one.run_ok("cat /proc/mounts")?.contains("/dev/drbd0 /var/lib/mysql xfs rw"));
        let client = Client::start(lab)?;
        client.wait_for_rows(200)?;

        // A command that runs at the time of the cut fails then, not at its deadline.
        let start = Instant::now();
        std::thread::scope(|scope| {
            let long = scope.spawn(|| {
                one.run_with_deadline("echo begun > /run/begun; sleep 1000", Duration::from_secs(500))
            });
            wait_until("the command to run", SOON, || {
                Ok(one.run("test -e /run/begun")?.success().then_some(()))
            })?;
            one.power_cut()?;
            long.join().unwrap().unwrap_err();
            anyhow::Ok(())
        })?;
        ensure!(start.elapsed() < SOON, "the cut was noticed after {:?}", start.elapsed());
        ensure!(!one.is_on());
        one.run("true").unwrap_err();

        let floor = lab.floor_takeover(two, &client)?;
        client.wait_for_rows(100)?;
        let outage = client.report().latest_outage().unwrap();
        println!("floor: {floor:.2?}, outage: {:.2?}", outage.duration());
        ensure!(
            outage.duration() >= floor,
            "the outage {:?} is shorter than the takeover {floor:?}",
            outage.duration()
        );

        two.run_ok("drbdadm connect r0")?;
        one.boot()?;
        lab.wait_in_sync()?;
        ensure!(one.drbd()?.contains("ro:Secondary/Primary"), "{}", one.drbd()?);
        client.wait_for_rows(10)?;
        let report = client.stop()?;
        assert_eq!(report.lost_rows(lab)?, Vec::<i64>::new());

        // The counterpart: a row that is gone is reported.
        let gone = report.acknowledged[report.acknowledged.len() / 2].0;
        two.run_ok(&format!("mariadb --execute 'DELETE FROM lab.rows WHERE id = {gone}'"))?;
        assert_eq!(report.lost_rows(lab)?, vec![gone]);
        two.stop_serving()
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn networks_and_hangs() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        for (network, other) in
            [(Network::Clients, Network::Replication), (Network::Replication, Network::Clients)]
        {
            ensure!(pings(one, network, two)? && pings(two, network, one)?, "{network:?} at first");
            lab.partition(network)?;
            ensure!(
                !pings(one, network, two)? && !pings(two, network, one)?,
                "{network:?} despite the partition"
            );
            ensure!(pings(one, other, two)?, "{other:?}, which was not cut");
            lab.heal(network)?;
            ensure!(pings(one, network, two)? && pings(two, network, one)?, "{network:?} after the healing");
            one.unplug(network)?;
            ensure!(!pings(one, network, two)?, "{network:?} without a cable");
            one.plug(network)?;
            ensure!(pings(one, network, two)?, "{network:?} with the cable back");
        }
        // The host stays in reach of both in a partition of the clients' network, and no node reaches the other's cable.
        lab.partition(Network::Clients)?;
        ensure!(two.run("ping -q -c 1 -W 1 10.77.0.254")?.success());
        lab.heal(Network::Clients)?;
        ensure!(!two.run("ping -q -c 1 -W 1 10.77.101.1")?.success());

        let id = one.run_ok("cat /proc/sys/kernel/random/boot_id")?;
        one.hang()?;
        one.run_with_deadline("true", Duration::from_millis(500)).unwrap_err();
        ensure!(!pings(two, Network::Replication, one)?, "a node that hangs answers a ping");
        ensure!(one.is_on());
        one.resume()?;
        assert_eq!(one.run_ok("cat /proc/sys/kernel/random/boot_id")?, id);
        ensure!(pings(two, Network::Replication, one)?);

        one.power_off()?;
        ensure!(!one.is_on());
        one.boot_with(&["lab.drbd=no"])?;
        ensure!(!one.run("test -e /proc/drbd")?.success(), "DRBD is up despite lab.drbd=no");
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn disks_are_reset() -> Result<()> {
    with_lab(LabOptions::default(), |lab| {
        let [one, two] = lab.nodes();
        let rows = |node: &Node| {
            node.run_ok("mariadb --skip-column-names --execute 'SELECT COUNT(*) FROM lab.rows'")
        };
        let write = "mariadb --execute 'INSERT INTO lab.rows (id) VALUES (1)'";
        one.serve()?;
        assert_eq!(rows(one)?, "0\n");
        one.run_ok(write)?;
        let id = one.run_ok("cat /proc/sys/kernel/random/boot_id")?;

        let start = Instant::now();
        lab.reset_disks()?;
        println!("reset in place: {:.2?}", start.elapsed());
        assert_eq!(one.run_ok("cat /proc/sys/kernel/random/boot_id")?, id, "the node was booted for it");
        ensure!(two.drbd()?.contains("oos:0"), "{}", two.drbd()?);
        two.serve()?;
        assert_eq!(rows(two)?, "0\n");
        two.run_ok(write)?;

        // One is off, the other can't let go.
        one.power_cut()?;
        two.hang()?;
        lab.reset_disks()?;
        ensure!(!one.is_on() && two.is_on());
        one.boot()?;
        lab.wait_in_sync()?;
        one.serve()?;
        assert_eq!(rows(one)?, "0\n");
        Ok(())
    })
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn two_labs_at_once() -> Result<()> {
    with_lab(LabOptions::default(), |first| {
        with_lab(LabOptions { filesystem: Filesystem::Xfs, ..LabOptions::default() }, |second| {
            for (lab, mark) in [(first, "first"), (second, "second")] {
                lab.node1().write_file("/root/mark", mark, 0o600)?;
                lab.node1().serve()?;
            }
            first.node1().power_cut()?;
            ensure!(second.node1().is_on());
            first.node1().boot()?;
            assert_eq!(first.node1().read_file("/root/mark")?, b"first", "what was written before a cut");
            assert_eq!(second.node1().read_file("/root/mark")?, b"second");
            ensure!(runs()?.len() >= 2);
            Ok(())
        })
    })
}

/// The binary, running `lab up`, and its lab as soon as it has one.
fn lab_up(keep: bool) -> Result<(Child, Run)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("up")
        .env("KEEP_LAB", if keep { "1" } else { "0" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let run = wait_until("the lab to be up", START, || {
        if !keep && let Some(status) = child.try_wait()? {
            bail!("`lab up` ended with {status}");
        }
        let run = runs()?.into_iter().find(|run| run.owner == child.id());
        Ok(run.filter(|run| processes_of(run).len() > 10))
    })?;
    Ok((child, run))
}

/// Everything in the network namespace of a lab.
fn processes_of(run: &Run) -> Vec<u32> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let Some(of_lab) = namespace(run.supervisor) else { return Vec::new() };
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| namespace(*pid).as_ref() == Some(&of_lab)).collect()
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn nothing_is_left_of_a_killed_owner() -> Result<()> {
    let (mut owner, run) = lab_up(false)?;
    let processes = processes_of(&run);
    let namespace = fs::read_link(format!("/proc/{}/ns/net", run.supervisor))?;
    owner.kill()?;
    owner.wait()?;
    wait_until("every process of the lab to be gone", SOON, || {
        let left: Vec<_> = processes
            .iter()
            .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|of| of == namespace))
            .collect();
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(Some(()))
    })?;
    ensure!(!runs()?.iter().any(|other| other.id == run.id));
    ensure!(run.directory.exists(), "its directory is for the next lab to remove");
    drop(Lab::start(LabOptions { boot: false, keep: false, ..LabOptions::default() })?);
    ensure!(!run.directory.exists(), "{} was not removed", run.directory.display());
    Ok(())
}

#[test]
#[ignore = "needs the lab: root and its image"]
fn a_lab_is_kept_on_request() -> Result<()> {
    let (mut owner, run) = lab_up(true)?;
    ensure!(owner.wait()?.success());
    let lab = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output();
    let output = lab(&["ssh", &run.id, "node2", "hostname"])?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "node2\n", "{output:?}");
    let processes = processes_of(&run);
    ensure!(lab(&["stop", &run.id])?.status.success());
    ensure!(!run.directory.exists());
    wait_until("every process of the lab to be gone", SOON, || {
        Ok((!processes.iter().any(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok())).then_some(()))
    })?;
    Ok(())
}
