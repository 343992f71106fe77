use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{self, Host};
use crate::foreign::drbd_conf::parse_dump;
use crate::foreign::option_file::{Files, Options, Server, Startup, Unread};
use crate::foreign::{Place, cib, corosync, fstab, heartbeat, keepalived};
use crate::observation::Fact;

const DUMP: &str = include_str!("../../tests/captured/drbd-8.4/connected-primary-secondary/dump");

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, Unread> {
        Err(Unread::Absent)
    }

    fn names(&self, _: &Path) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn unit(name: &str, arguments: &str) -> Unit {
    let command: Vec<String> = std::iter::once("/usr/sbin/mariadbd")
        .chain(arguments.split_whitespace())
        .map(str::to_owned)
        .collect();
    let startup = Startup::of(Server::MariaDb(Some((10, 11))), &command);
    Unit {
        name: name.to_owned(),
        file: PathBuf::from("/lib/systemd/system").join(name),
        program: command[0].clone().into(),
        options: Options::of(&startup, &NoFiles),
        groups: startup.groups,
        built_in: BTreeMap::from([
            ("socket".to_owned(), "/run/mysqld/mysqld.sock".to_owned()),
            ("datadir".to_owned(), "/var/lib/mysql/".to_owned()),
        ]),
    }
}

fn networks(addresses: &[&str]) -> Vec<ipnet::Ipv4Net> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

/// node1 of a pair with two networks, on which nothing but DRBD and a server is configured.
fn found() -> Found {
    let interface =
        |name: &str, addresses: &[&str]| Interface { name: name.to_owned(), addresses: networks(addresses) };
    let hosts = [("127.0.0.1", "localhost"), ("10.77.0.1", "node1"), ("10.77.0.2", "node2")];
    Found {
        host: "node1".to_owned(),
        drbd: Fact::Known(parse_dump(DUMP).unwrap()),
        drbd_version: Some(8),
        interfaces: vec![
            interface("eth0", &["10.77.0.1/24"]),
            interface("eth1", &["10.77.1.1/24"]),
            interface("eth2", &["10.77.101.1/24"]),
        ],
        gateways: vec![Ipv4Addr::new(10, 77, 0, 254)],
        hosts: hosts
            .iter()
            .enumerate()
            .map(|(index, (address, name))| HostsLine {
                address: address.parse().unwrap(),
                names: vec![(*name).to_owned()],
                place: Place::new("/etc/hosts", index + 1),
            })
            .collect(),
        fstab: Vec::new(),
        mounts: Vec::new(),
        filesystems: BTreeMap::from([(
            "/dev/drbd0".into(),
            ("ext4".to_owned(), "blkid on /dev/ubdb".to_owned()),
        )]),
        units: vec![unit("mariadb.service", "")],
        managers: Managers::default(),
        credentials: vec!["/etc/standin/r0.cnf".into()],
        answering: vec![Ipv4Addr::new(10, 77, 0, 254)],
        problems: Vec::new(),
    }
}

fn with_vip() -> Answers {
    Answers { vip: Some((Ipv4Addr::new(10, 77, 0, 100), None)), ..Answers::default() }
}

fn haresources(found: &mut Found, text: &str) {
    found.managers.haresources = Some(heartbeat::haresources(text, Path::new("/etc/ha.d/haresources")));
    found.managers.ha_cf = Some(heartbeat::ha_cf(
        "deadtime 5\nucast eth0 10.77.0.1\nucast eth0 10.77.0.2\n",
        Path::new("/etc/ha.d/ha.cf"),
    ));
}

fn missing(found: &Found, answers: &Answers) -> Vec<Question> {
    match draft(found, answers) {
        Err(Stop::Missing(questions)) => questions,
        other => panic!("{other:#?}"),
    }
}

fn topics(found: &Found, answers: &Answers) -> Vec<Topic> {
    missing(found, answers).into_iter().map(|question| question.topic).collect()
}

fn impossible(found: &Found) -> String {
    match draft(found, &with_vip()) {
        Err(Stop::Impossible(failure)) => failure.to_string(),
        other => panic!("{other:#?}"),
    }
}

fn parsed(draft: &Draft) -> config::Config {
    let host = Host::fixed(&draft.host).with_network("eth0", "10.77.0.1/24".parse().unwrap());
    let text = render(draft);
    config::parse(&text, Path::new("/etc/standin/r0.yaml"), &host)
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

#[test]
fn a_plain_pair_needs_only_the_virtual_ip() {
    let found = found();
    assert_eq!(topics(&found, &Answers::default()), [Topic::Vip]);
    let draft = draft(&found, &with_vip()).unwrap();
    let config = parsed(&draft);
    assert_eq!(config.vip.address, "10.77.0.100/24".parse().unwrap());
    assert_eq!(config.vip.interface, "eth0");
    assert_eq!(config.this_node.address, Ipv4Addr::new(10, 77, 0, 1));
    assert_eq!(config.peer.address, Ipv4Addr::new(10, 77, 0, 2));
    assert_eq!(config.peer.replication_address, Ipv4Addr::new(10, 77, 1, 2));
    assert_eq!((config.resource.as_str(), config.mount.filesystem.as_str()), ("r0", "ext4"));
    assert_eq!(config.mount.directory, Path::new("/var/lib/mysql"));
    assert_eq!(config.mysqld.socket, Path::new("/run/mysqld/mysqld.sock"));
    assert_eq!(config.mysqld.credentials.as_deref(), Some(Path::new("/etc/standin/r0.cnf")));
    assert_eq!(config.witnesses, [Ipv4Addr::new(10, 77, 0, 254)]);
    assert_eq!(config.cluster_manager, ClusterManager::None);
    assert_eq!(config.limits, config::Limits::default());
    let text = render(&draft);
    assert!(
        text.contains("# /etc/hosts:3") && text.contains("drbdadm dump: on node2, /etc/drbd.d/r0.res:1"),
        "{text}"
    );
}

/// Seen from either node, serving or not, the files say the same.
#[test]
fn both_nodes_write_the_same_cluster() {
    let mut peer = found();
    peer.host = "node2".to_owned();
    peer.interfaces[0].addresses = networks(&["10.77.0.2/24", "10.77.0.100/24"]);
    peer.interfaces[1].addresses = networks(&["10.77.1.2/24"]);
    peer.mounts = vec![Mounted {
        device: "/dev/drbd0".into(),
        directory: "/var/lib/mysql".into(),
        filesystem: "ext4".to_owned(),
    }];
    let without_comments = |found: &Found| -> Vec<String> {
        let text = render(&draft(found, &with_vip()).unwrap());
        text.lines().map(|line| line.split('#').next().unwrap().trim_end().to_owned()).collect()
    };
    assert_eq!(without_comments(&found()), without_comments(&peer));
}

#[test]
fn a_node_s_own_address_is_no_virtual_ip() {
    let answers = Answers { vip: Some(("10.77.0.1".parse().unwrap(), Some(24))), ..Answers::default() };
    let Err(Stop::Missing(questions)) = draft(&found(), &answers) else { panic!("it must be asked again") };
    assert_eq!(questions[0].topic, Topic::Vip);
    assert!(questions[0].cause.contains("/etc/hosts:2"), "{}", questions[0].cause);
}

#[test]
fn heartbeat_tells_nearly_all() {
    let mut found = found();
    haresources(
        &mut found,
        "node1 drbddisk::r0 Filesystem::/dev/drbd0::/srv/mysql::xfs::noatime,rw mariadb IPaddr2::10.77.0.99/24/eth0\n",
    );
    found.hosts.clear();
    found.filesystems.clear();
    found.units = vec![unit(
        "mariadb.service",
        "--datadir=/srv/mysql/data --socket=s.sock --port=3307 --log-error=e.log --read-only",
    )];
    let draft = draft(&found, &Answers::default()).unwrap();
    let config = parsed(&draft);
    assert_eq!(config.vip.address, "10.77.0.99/24".parse().unwrap());
    assert_eq!(config.cluster_manager, manager::HEARTBEAT);
    assert_eq!(
        (config.mount.directory.to_str(), config.mount.filesystem.as_str()),
        (Some("/srv/mysql"), "xfs")
    );
    assert_eq!(config.mount.options, ["noatime"]);
    assert_eq!(config.mysqld.datadir, Path::new("/srv/mysql/data"));
    assert_eq!(config.mysqld.socket, Path::new("/srv/mysql/data/s.sock"));
    assert_eq!(config.mysqld.error_log.as_deref(), Some(Path::new("/srv/mysql/data/e.log")));
    assert_eq!((config.mysqld.port, config.mysqld.read_only), (3307, true));
    assert_eq!(config.peer.address, Ipv4Addr::new(10, 77, 0, 2));
    assert!(draft.nodes[1].address.from.contains("ucast"), "{draft:#?}");
}

#[test]
fn heartbeat_that_calls_standin_is_kept() {
    let mut found = found();
    found.managers.active.push((manager::HEARTBEAT, "heartbeat.service is active".to_owned()));
    haresources(&mut found, "node1 standin::r0\n");
    let answers = Answers { vip: Some((Ipv4Addr::new(10, 77, 0, 99), Some(24))), ..Answers::default() };
    let draft = draft(&found, &answers).unwrap_or_else(|stop| panic!("{stop:#?}"));
    assert_eq!(draft.cluster_manager.value, ClusterManager::Heartbeat(None));
}

#[test]
fn none_of_this_nodes_addresses_is_the_peers() {
    let mut found = found();
    haresources(&mut found, "node1 drbddisk::r0 10.77.0.100\n");
    found.interfaces[0].addresses = networks(&["10.77.0.1/24", "10.77.0.5/24"]);
    found.hosts.clear();
    assert_eq!(topics(&found, &Answers::default()), [Topic::Address]);
    let answers = Answers { address: Some(Ipv4Addr::new(10, 77, 0, 5)), ..Answers::default() };
    assert_eq!(draft(&found, &answers).unwrap().nodes[1].address.value, Ipv4Addr::new(10, 77, 0, 2));
}

#[test]
fn keepalived_fstab_and_corosync_are_sources_too() {
    let mut found = found();
    found.hosts.clear();
    found.filesystems.clear();
    let text = "vrrp_instance db {\n interface eth0\n virtual_ipaddress {\n  10.77.0.98\n }\n}\n";
    found.managers.keepalived = keepalived::vrrp_instances(
        &keepalived::parse(text, Path::new("/etc/keepalived/keepalived.conf")).unwrap(),
    );
    let text = "nodelist {\nnode {\nname: node2\nring0_addr: 10.77.1.2\nring1_addr: 10.77.0.2\n}\n}\n";
    found.managers.corosync = Some(corosync::parse(text, Path::new("/etc/corosync/corosync.conf")).unwrap());
    found.units = vec![unit("mariadb.service", "--datadir=/data")];
    found.fstab = fstab::parse("/dev/drbd/by-res/r0/0 /data xfs noauto,x-systemd.automount,nodev 0 0\n");
    let config = parsed(&draft(&found, &Answers::default()).unwrap_or_else(|stop| panic!("{stop:#?}")));
    assert_eq!(config.vip.address, "10.77.0.98/24".parse().unwrap());
    assert_eq!(config.cluster_manager, ClusterManager::Keepalived);
    assert_eq!((config.mount.directory.to_str(), config.mount.filesystem.as_str()), (Some("/data"), "xfs"));
    assert_eq!(config.mount.options, ["nodev"]);
    assert_eq!(config.peer.address, Ipv4Addr::new(10, 77, 0, 2));
}

#[test]
fn pacemaker_is_a_source() {
    let mut found = found();
    found.filesystems.clear();
    found.units = vec![unit("mariadb.service", "--datadir=/data")];
    found.managers.cib = Some(
        cib::parse(
            r#"<cib><primitive id="vip" type="IPaddr2"><instance_attributes><nvpair name="ip" value="10.77.0.97"/>
            <nvpair name="cidr_netmask" value="24"/><nvpair name="nic" value="eth0"/></instance_attributes></primitive>
            <primitive id="fs" type="Filesystem"><instance_attributes><nvpair name="device" value="/dev/drbd0"/>
            <nvpair name="directory" value="/data"/><nvpair name="fstype" value="xfs"/></instance_attributes></primitive></cib>"#,
        )
        .unwrap(),
    );
    let config = parsed(&draft(&found, &Answers::default()).unwrap_or_else(|stop| panic!("{stop:#?}")));
    assert_eq!(
        (config.vip.address.to_string().as_str(), config.vip.interface.as_str()),
        ("10.77.0.97/24", "eth0")
    );
    assert_eq!((config.mount.directory.to_str(), config.mount.filesystem.as_str()), (Some("/data"), "xfs"));
    assert_eq!(config.cluster_manager, ClusterManager::Pacemaker);
}

#[test]
fn one_network_needs_no_replication_addresses() {
    let mut found = found();
    found.interfaces = vec![Interface { name: "eth1".to_owned(), addresses: networks(&["10.77.1.1/24"]) }];
    found.hosts.clear();
    let answers = Answers { vip: Some((Ipv4Addr::new(10, 77, 1, 100), None)), ..Answers::default() };
    let draft = draft(&found, &answers).unwrap();
    assert!(draft.nodes.iter().all(|node| node.replication_address.is_none()));
    let config = config::parse(&render(&draft), Path::new("/r0.yaml"), &Host::fixed("node1")).unwrap();
    assert_eq!(config.peer.address, Ipv4Addr::new(10, 77, 1, 2));
}

#[test]
fn nothing_is_guessed_between_two_candidates() {
    let mut found = found();
    found.units.push(unit("mysql.service", ""));
    assert_eq!(topics(&found, &with_vip()), [Topic::Unit]);
    let answers = Answers { unit: Some("mysql".to_owned()), ..with_vip() };
    assert_eq!(draft(&found, &answers).unwrap().unit.value, "mysql.service");
    let answers = Answers { unit: Some("other".to_owned()), ..with_vip() };
    assert!(matches!(draft(&found, &answers), Err(Stop::Impossible(_))));

    found.units.truncate(1);
    let two = DUMP.replace("resource r0", "resource r1");
    found.drbd = Fact::Known(parse_dump(&format!("{DUMP}{two}")).unwrap());
    let questions = missing(&found, &with_vip());
    assert_eq!(questions[0].topic, Topic::Resource);
    assert_eq!(questions[0].candidates.len(), 2);
    haresources(&mut found, "node1 drbddisk::r1 10.77.0.100\n");
    assert_eq!(draft(&found, &Answers::default()).unwrap().resource.value, "r1");

    haresources(&mut found, "node1 drbddisk::r1 10.77.0.100 10.77.0.101\n");
    assert_eq!(topics(&found, &Answers::default()), [Topic::Vip]);
    found.managers.active = vec![(ClusterManager::Pacemaker, "pacemakerd runs here".to_owned())];
    let questions = missing(&found, &with_vip());
    assert_eq!(questions[0].topic, Topic::ClusterManager);
    assert_eq!(questions[0].candidates[1].value, "heartbeat-kill", "a word that the option takes");
}

#[test]
fn what_is_missing_is_asked_for_all_at_once() {
    let mut found = found();
    found.hosts.clear();
    found.filesystems.clear();
    found.units[0].built_in.clear();
    let topics = topics(&found, &with_vip());
    assert_eq!(topics, [Topic::PeerAddress, Topic::Directory, Topic::Filesystem, Topic::Socket]);
    let answers = Answers {
        peer_address: Some(Ipv4Addr::new(10, 77, 0, 2)),
        directory: Some("/var/lib/mysql".into()),
        filesystem: Some("ext4".to_owned()),
        socket: Some("/run/mysqld/mysqld.sock".into()),
        ..with_vip()
    };
    parsed(&draft(&found, &answers).unwrap());
    let elsewhere = Answers { vip: Some((Ipv4Addr::new(192, 0, 2, 1), Some(24))), ..answers };
    let questions = missing(&found, &elsewhere);
    assert_eq!(questions[0].topic, Topic::Interface);
    assert_eq!(questions[0].candidates.len(), 3);
}

#[test]
fn a_machine_without_a_pair_is_refused() {
    let mut other = found();
    other.host = "node3".to_owned();
    assert!(impossible(&other).contains("between node1 and node2"));
    let mut none = found();
    none.drbd = Fact::Unknown("no such program".to_owned());
    assert!(impossible(&none).contains("no such program"));
    none.drbd = Fact::Known(parse_dump("").unwrap());
    assert!(impossible(&none).contains("no resource"));
    let mut serverless = found();
    serverless.units.clear();
    assert!(impossible(&serverless).contains("no systemd service"));
    let mut six = found();
    six.drbd = Fact::Known(parse_dump(&DUMP.replace("ipv4 10.77.1.1", "ipv6 [fd00::1]")).unwrap());
    assert!(impossible(&six).contains("replication address"));
}

#[test]
fn a_silent_gateway_is_no_witness() {
    let mut found = found();
    found.answering.clear();
    let draft = draft(&found, &with_vip()).unwrap();
    assert!(parsed(&draft).witnesses.is_empty());
    assert!(render(&draft).contains("# witnesses: [10.77.0.254]"));
    let next = next_steps(&draft, &found, Path::new("/etc/standin/r0.yaml"));
    for part in [
        "`witnesses`",
        "disk { fencing resource-and-stonith; }",
        "scp -p /etc/standin/r0.yaml root@10.77.0.2:",
    ] {
        assert!(next.contains(part), "{part}: {next}");
    }
    assert!(!next.contains("CREATE USER"), "{next}");
    let answers = Answers { witnesses: vec![Ipv4Addr::new(10, 77, 0, 253)], ..with_vip() };
    let draft = super::draft(&found, &answers).unwrap();
    assert_eq!(parsed(&draft).witnesses, answers.witnesses);
}

#[test]
fn fencing_that_is_there_is_not_asked_for() {
    let mut found = found();
    let fenced = DUMP.replace("fencing          resource-only", "fencing resource-and-stonith");
    found.drbd = Fact::Known(parse_dump(&fenced).unwrap());
    found.credentials.clear();
    let draft = draft(&found, &with_vip()).unwrap();
    let next = next_steps(&draft, &found, Path::new("/tmp/x.yaml"));
    assert!(!next.contains("resource-and-stonith"), "{next}");
    assert!(next.contains("CREATE USER") && next.contains("--config /tmp/x.yaml"), "{next}");
}

/// Every key of the manual stands in the file, and each works when the # before it is taken away.
#[test]
fn every_key_is_there() {
    let mut bare = found();
    bare.credentials.clear();
    bare.gateways.clear();
    for found in [found(), bare] {
        let draft = draft(&found, &with_vip()).unwrap();
        let text = render(&draft);
        let is_key = |line: &str| {
            let key = line.split(": ").next().unwrap_or_default();
            line.contains(": ") && !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let uncommented: String = text
            .lines()
            .map(|line| match line.split_once("# ") {
                Some((indent, rest)) if indent.trim().is_empty() && is_key(rest) => {
                    format!("{indent}{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let value: serde_yaml::Value = serde_yaml::from_str(&uncommented).unwrap();
        let manual = include_str!("../../docs/configuration.md");
        let example = manual.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let example: serde_yaml::Value = serde_yaml::from_str(example).unwrap();
        for (section, keys) in example.as_mapping().unwrap() {
            let own = value.get(section).unwrap_or_else(|| panic!("{section:?} is missing:\n{uncommented}"));
            for (key, _) in keys.as_mapping().into_iter().flatten() {
                assert!(own.get(key).is_some(), "{section:?}.{key:?} is missing:\n{uncommented}");
            }
        }
        let host = Host::fixed("node1");
        config::parse(&uncommented, Path::new("/etc/standin/r0.yaml"), &host)
            .unwrap_or_else(|errors| panic!("{errors}\n{uncommented}"));
    }
}

#[test]
fn odd_names_are_quoted_and_comments_stay_in_their_line() {
    let mut found = found();
    found.filesystems.insert("/dev/drbd0".into(), ("ext4".to_owned(), "a\nfile: x".to_owned()));
    let answers = Answers { directory: Some("/srv/my: data # 1".into()), ..with_vip() };
    let mut draft = draft(&found, &answers).unwrap();
    draft.datadir = None;
    assert_eq!(parsed(&draft).mount.directory, Path::new("/srv/my: data # 1"));
}
