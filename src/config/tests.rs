//! Every error by its message and by the token under its caret.

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"nodes:
  node1:
    address: 10.77.0.1
    replication_address: 10.77.1.1
  node2: {address: 10.77.0.2, replication_address: 10.77.1.2}
vip:
  address: 10.77.0.100/24
  interface: eth0
  misses: 4
  interval: 50ms
drbd:
  resource: r0
mount:
  device: /dev/drbd0
  directory: /var/lib/mysql
  type: ext4
  options: [noatime]
mysqld:
  unit: mariadb.service
  datadir: /var/lib/mysql/data
  socket: /run/mysqld/mysqld.sock
  port: 3307
  error_log: /var/log/mysql/error.log
  credentials: /etc/standin/r0.cnf
  read_only: true
  kill_at_deadline: true
cluster_manager: {heartbeat: stop}
fence: [/usr/local/sbin/power-off, "{peer}"]
witnesses: [10.77.0.254]
limits:
  start_mysqld: 5m
audit:
  refuse_myisam_above_percent: 10
"#;

fn host() -> Host {
    Host::fixed("node1")
}

fn parsed(text: &str, host: &Host) -> Result<Config, ConfigErrors> {
    parse(text, Path::new("r0.yaml"), host)
}

/// GOOD with one piece replaced.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    GOOD.replace(from, to)
}

fn token(text: &str, place: Place) -> String {
    Source::new(Path::new(""), text)
        .line(place.line)
        .chars()
        .skip(place.column - 1)
        .take(place.length)
        .collect()
}

/// `(message | token)` of each error.
fn errors(text: &str, host: &Host) -> Vec<(String, String)> {
    let errors = parsed(text, host).expect_err(text);
    errors
        .iter()
        .map(|error| {
            assert!(!error.help().is_empty(), "{error:?}");
            (error.message().to_owned(), error.place().map_or(String::new(), |place| token(text, place)))
        })
        .collect()
}

#[track_caller]
fn only_error(text: &str, message: &str, under: &str) {
    only_error_on(&host(), text, message, under);
}

#[track_caller]
fn only_error_on(host: &Host, text: &str, message: &str, under: &str) {
    let errors = errors(text, host);
    let [(found, token)] = errors.as_slice() else { panic!("not one error: {errors:#?}") };
    assert!(found.contains(message), "{found:?} does not contain {message:?}");
    assert_eq!(token, under, "{found}");
}

#[test]
fn a_cluster_has_its_name_without_its_file() {
    assert_eq!(super::name(Some("orders")).unwrap(), "orders");
    assert_eq!(super::name(Some("/nowhere/orders.yaml")).unwrap(), "orders");
    assert!(super::name(Some("/nowhere/.yaml")).is_err());
}

#[test]
fn every_value_arrives() {
    let seconds = Duration::from_secs;
    let node = |number: u8| NodeConfig {
        name: format!("node{number}"),
        address: Ipv4Addr::new(10, 77, 0, number),
        replication_address: Ipv4Addr::new(10, 77, 1, number),
    };
    let expected = Config {
        name: "r0".into(),
        file: "r0.yaml".into(),
        this_node: node(1),
        peer: node(2),
        vip: VipConfig {
            address: "10.77.0.100/24".parse().unwrap(),
            interface: "eth0".into(),
            misses: 4,
            interval: Duration::from_millis(50),
        },
        resource: "r0".into(),
        mount: MountConfig {
            device: "/dev/drbd0".into(),
            directory: "/var/lib/mysql".into(),
            filesystem: "ext4".into(),
            options: vec!["noatime".into()],
        },
        mysqld: MysqldConfig {
            control: MysqldControl::Unit("mariadb.service".into()),
            datadir: "/var/lib/mysql/data".into(),
            socket: "/run/mysqld/mysqld.sock".into(),
            port: 3307,
            error_log: Some("/var/log/mysql/error.log".into()),
            credentials: Some("/etc/standin/r0.cnf".into()),
            read_only: true,
            kill_at_deadline: true,
        },
        cluster_manager: ClusterManager::Heartbeat(Some(HeartbeatStop::Stop)),
        fence: Some(vec!["/usr/local/sbin/power-off".into(), "{peer}".into()]),
        witnesses: vec![Ipv4Addr::new(10, 77, 0, 254)],
        limits: Limits { start_mysqld: seconds(300), ..Limits::default() },
        refuse_myisam_above_percent: 10,
        agent: AgentConfig::default_for(ClusterManager::Heartbeat(Some(HeartbeatStop::Stop))),
    };
    assert_eq!(parsed(GOOD, &host()).unwrap(), expected);
    let seen_from_peer = parsed(GOOD, &Host::fixed("node2")).unwrap();
    assert_eq!((seen_from_peer.this_node, seen_from_peer.peer), (node(2), node(1)));
}

#[test]
fn what_is_left_out_has_its_default() {
    let least = "nodes: {node1: {address: 10.0.0.1}, node2: {address: 10.0.0.2}}
vip: {address: 10.0.0.3/24, interface: eth0}
drbd: {resource: r0}
mount: {device: /dev/drbd0, directory: /srv/db/, type: xfs}
mysqld: {command: [/usr/sbin/mysqld], socket: /run/db.sock, error_log: }
limits:
";
    let config = parsed(least, &host()).unwrap();
    assert_eq!(config.peer.replication_address, config.peer.address);
    assert_eq!((config.vip.misses, config.vip.interval), (3, Duration::from_millis(100)));
    assert_eq!((config.mysqld.datadir.to_str(), config.mysqld.port), (Some("/srv/db"), 3306));
    assert_eq!((config.mysqld.error_log, config.mysqld.credentials), (None, None));
    assert!(!config.mysqld.read_only && !config.mysqld.kill_at_deadline);
    assert_eq!((config.cluster_manager, config.fence), (ClusterManager::None, None));
    assert_eq!((config.limits, config.refuse_myisam_above_percent), (Limits::default(), 50));
}

#[test]
fn every_limit_can_be_set() {
    let names = serde_json::to_value(Limits::default()).unwrap();
    for name in names.as_object().unwrap().keys() {
        let config = parsed(&changed("start_mysqld: 5m", &format!("{name}: 77s")), &host()).unwrap();
        assert_eq!(serde_json::to_value(config.limits).unwrap()[name]["secs"], 77, "{name}");
    }
}

#[test]
fn one_wrong_value_is_one_error_under_that_value() {
    for (from, to, message, under) in [
        // Keys.
        ("audit:\n  refuse", "audit:\n  colour: blue\n  refuse", "unknown key `colour` in `audit`", "colour"),
        ("limits:", "color: blue\nlimits:", "unknown key `color` at the top level", "color"),
        ("  resource: r0", "  resource:", "`drbd.resource` has no value", "resource"),
        ("drbd:\n  resource: r0", "drbd: {}", "`drbd.resource` is missing", "drbd"),
        ("drbd:\n  resource: r0", "drbd:", "`drbd` has no value", "drbd"),
        ("drbd:\n  resource: r0", "drbd: r0", "`drbd` must be a mapping, not the text `r0`", "r0"),
        ("drbd:\n  resource: r0", "drbd: {resource: r0, 7: x}", "a key must be text, not the number 7", "7"),
        // Types.
        ("port: 3307", "port: '3307'", "a whole number from 1 to 65535, not the text `3307`", "'3307'"),
        ("port: 3307", "port: 0", "from 1 to 65535, not the number 0", "0"),
        ("port: 3307", "port: [3307]", "not a list", "port"),
        ("interface: eth0", "interface: 7", "the name of an interface, not the number 7", "7"),
        (
            "read_only: true",
            "read_only: yes",
            "`mysqld.read_only` must be true or false, not the text `yes`",
            "yes",
        ),
        ("unit: mariadb.service", "unit: !x mariadb", "not a value tagged !x", "!x mariadb"),
        ("[10.77.0.254]", "10.77.0.254", "`witnesses` must be a list", "10.77.0.254"),
        ("[10.77.0.254]", "[router]", "`witnesses[0]` is not an IPv4 address: `router`", "router"),
        // Ranges.
        ("misses: 4", "misses: 0", "from 1 to 100", "0"),
        ("misses: 4", "misses: 101", "from 1 to 100", "101"),
        ("interval: 50ms", "interval: 0s", "`vip.interval` is out of range: 0s", "0s"),
        ("interval: 50ms", "interval: 11s", "out of range", "11s"),
        ("interval: 50ms", "interval: 10s", "longer than `limits.wait_vip_gone` allows: 30s", "4"),
        ("start_mysqld: 5m", "start_mysqld: 300", "`limits.start_mysqld` has no unit: 300", "300"),
        ("start_mysqld: 5m", "start_mysqld: '300'", "`limits.start_mysqld` has no unit: 300", "'300'"),
        ("start_mysqld: 5m", "start_mysqld: 5 metres", "is not a duration: `5 metres`", "5 metres"),
        ("start_mysqld: 5m", "start_mysqld: 0s", "out of range", "0s"),
        ("start_mysqld: 5m", "start_mysqld: 25h", "out of range", "25h"),
        ("percent: 10", "percent: 101", "a whole number from 0 to 100", "101"),
        ("percent: 10", "percent: 50.5", "a whole number from 0 to 100", "50.5"),
        // Addresses.
        (
            "address: 10.77.0.100/24",
            "address: 10.77.0.100",
            "`vip.address` has no prefix length",
            "10.77.0.100",
        ),
        ("10.77.0.100/24", "fd00::100/64", "is an IPv6 address", "fd00::100/64"),
        ("10.77.0.100/24", "10.77.0.100/33", "is not an IPv4 address with a prefix length", "10.77.0.100/33"),
        ("10.77.0.100/24", "10.77.0.255/24", "its broadcast address", "10.77.0.255/24"),
        ("10.77.0.100/24", "10.77.0.0/24", "the network's own", "10.77.0.0/24"),
        ("10.77.0.100/24", "10.77.0.2/24", "the VIP is `node2`'s own address", "10.77.0.2/24"),
        (
            "10.77.0.100/24",
            "10.78.0.100/24",
            "does not contain the address of `node1` (10.77.0.1) and",
            "10.78.0.100/24",
        ),
        (
            "address: 10.77.0.1\n",
            "address: 10.77.0.300\n",
            "is not an IPv4 address: `10.77.0.300`",
            "10.77.0.300",
        ),
        ("address: 10.77.0.1\n", "address: 10.77.0.1/24\n", "has a prefix length", "10.77.0.1/24"),
        ("address: 10.77.0.1\n", "address: 127.0.0.1\n", "no address that one host can have", "127.0.0.1"),
        (
            "{address: 10.77.0.2,",
            "{address: 10.77.0.1,",
            "both nodes have the address 10.77.0.1",
            "10.77.0.1",
        ),
        (
            "    replication_address: 10.77.1.1\n",
            "",
            "`node2` has a replication address of its own, `node1` has none",
            "10.77.1.2",
        ),
        (
            "address: 10.77.1.1\n",
            "address: 10.77.1.2\n",
            "both nodes have the replication address",
            "10.77.1.2",
        ),
        (
            "address: 10.77.1.1\n",
            "address: 10.77.0.2\n",
            "the replication address of `node1` is the address of `node2`",
            "10.77.0.2",
        ),
        ("10.77.0.254", "10.77.1.2", "the witness 10.77.1.2 is `node2` itself", "10.77.1.2"),
        ("10.77.0.254", "10.77.0.100", "is the VIP", "10.77.0.100"),
        ("10.77.0.254", "10.77.0.9, 10.77.0.9", "is listed twice", "10.77.0.9"),
        // Nodes.
        ("  node2: {", "  node2: {address: 10.77.0.3}\n  node3: {", "exactly two nodes, not 3", "nodes"),
        // Paths.
        ("/dev/drbd0", "drbd0", "`mount.device` must be an absolute path, not `drbd0`", "drbd0"),
        ("directory: /var/lib/mysql", "directory: /", "is the root directory", "/"),
        ("/run/mysqld/mysqld.sock", "mysqld.sock", "must be an absolute path", "mysqld.sock"),
        ("/run/mysqld/mysqld.sock", "/run/../x", "contains `..`", "/run/../x"),
        ("/var/log/mysql/error.log", "error.log", "must be an absolute path", "error.log"),
        (
            "datadir: /var/lib/mysql/data",
            "datadir: /srv/db",
            "/srv/db is not on the mount /var/lib/mysql",
            "/srv/db",
        ),
        (
            "datadir: /var/lib/mysql/data",
            "datadir: /var/lib/mysql2",
            "is not on the mount",
            "/var/lib/mysql2",
        ),
        // The rest.
        ("resource: r0", "resource: all", "keep for themselves", "all"),
        ("resource: r0", "resource: r 0", "is not the name of a DRBD resource", "r 0"),
        ("interface: eth0", "interface: lo", "is the loopback interface", "lo"),
        ("interface: eth0", "interface: eth0:1", "is not the name of an interface", "eth0:1"),
        ("[noatime]", "[\"noatime,ro\"]", "holds several options", "\"noatime,ro\""),
        ("[noatime]", "[noatime, ro]", "would mount the data read-only", "ro"),
        ("[noatime]", "noatime", "`mount.options` must be a list", "noatime"),
        (
            "unit: mariadb.service",
            "unit: mariadb.socket",
            "is not the name of a service unit",
            "mariadb.socket",
        ),
        ("  unit: mariadb.service\n", "", "neither `mysqld.unit` nor `mysqld.command`", "mysqld"),
        ("unit: mariadb.service", "unit: a\n  command: [/b]", "`mysqld.unit` exclude each other", "command"),
        ("unit: mariadb.service", "command: [mysqld]", "must be the absolute path of a program", "mysqld"),
        ("unit: mariadb.service", "command: []", "`mysqld.command` is empty", "command"),
        ("unit: mariadb.service", "command: /usr/sbin/mysqld", "must be a list", "/usr/sbin/mysqld"),
        (
            "unit: mariadb.service",
            "command: [/usr/bin/mysqld_safe]",
            "starts mysqld again",
            "/usr/bin/mysqld_safe",
        ),
        ("unit: mariadb.service", "command: [/m, --port=1]", "but `mysqld.port` is 3307", "--port=1"),
        (
            "unit: mariadb.service",
            "command: [/m, --log-error=/x]",
            "but `mysqld.error_log` is /var",
            "--log-error=/x",
        ),
        ("{heartbeat: stop}", "heartbeat", "does not say how", "heartbeat"),
        ("{heartbeat: stop}", "{heartbeat: pause}", "is none of the known words: `pause`", "pause"),
        ("{heartbeat: stop}", "corosync", "is none of the known words: `corosync`", "corosync"),
        ("/usr/local/sbin/power-off", "power-off", "must be the absolute path", "power-off"),
        ("\"{peer}\"", "--password=x", "is a password", "--password=x"),
        ("\"{peer}\"", "--password, x", "is a password", "--password"),
        ("\"{peer}\"", "''", "`fence[1]` is empty", "''"),
    ] {
        only_error(&changed(from, to), message, under);
    }
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let text = changed("  interface: eth0", "  interfaces: eth0")
        .replace("port: 3307", "port: many")
        .replace("  node1:", "  node9:")
        .replace("percent: 10", "percent: 200");
    let found: Vec<String> = errors(&text, &host()).into_iter().map(|(message, _)| message).collect();
    assert_eq!(
        found,
        [
            "none of the nodes is this host: it is called `node1`, the nodes are `node9`, `node2`",
            "`vip.interface` is missing",
            "unknown key `interfaces` in `vip`",
            "`mysqld.port` must be a whole number from 1 to 65535, not the text `many`",
            "`audit.refuse_myisam_above_percent` must be a whole number from 0 to 100, not the number 200",
        ]
    );
}

#[test]
fn node_names_are_text_and_host_names() {
    // YAML 1.1 took these for booleans.
    for odd in ["no", "on", "y"] {
        let text = GOOD.replace("  node1:", &format!("  {odd}:"));
        assert_eq!(parsed(&text, &Host::fixed(odd)).unwrap().this_node.name, odd);
    }
    let found = errors(&GOOD.replace("  node1:", "  2:"), &Host::fixed("node2"));
    assert!(found.contains(&("a key must be text, not the number 2".into(), "2".into())), "{found:?}");
    let found = errors(&GOOD.replace("  node1:", "  'no de':"), &Host::fixed("no de"));
    assert_eq!(found, [("`nodes.no de` is not a host name".to_owned(), "'no de'".to_owned())]);
}

#[test]
fn the_vip_must_be_in_a_network_of_its_interface() {
    let on = |network: &str| host().with_network("eth0", network.parse().unwrap());
    parsed(GOOD, &on("10.77.0.1/24")).unwrap();
    parsed(GOOD, &on("192.0.2.1/24").with_network("eth0", "10.77.0.1/16".parse().unwrap())).unwrap();
    let message = "the VIP 10.77.0.100 is outside the networks of eth0 on this host: 192.0.2.0/24";
    only_error_on(&on("192.0.2.1/24"), GOOD, message, "10.77.0.100/24");
    // The VIP being up is no proof that it belongs there.
    let up = on("192.0.2.1/24").with_network("eth0", "10.77.0.100/24".parse().unwrap());
    only_error_on(&up, GOOD, message, "10.77.0.100/24");
}

#[test]
fn credentials_that_others_can_read_are_refused() {
    let with = |mode| host().with_file("/etc/standin/r0.cnf", mode);
    parsed(GOOD, &with(0o400)).unwrap();
    for mode in [0o640, 0o604, 0o644, 0o620] {
        let message = format!("can be read by others: /etc/standin/r0.cnf has mode {mode:04o}");
        only_error_on(&with(mode), GOOD, &message, "/etc/standin/r0.cnf");
    }
}

#[test]
fn what_is_no_yaml_is_an_error_where_it_breaks() {
    only_error("", "the configuration is empty", "");
    only_error("# nothing yet\n", "the configuration is empty", "");
    only_error("- a\n- b\n", "the configuration must be a mapping, not a list", "-");
    only_error("vip:\n\tinterface: eth0\n", "a tab in the indentation", "\t");
    only_error("vip: {interface: eth0\n", "not valid YAML", "");
    only_error("vip: 'eth0\n", "end of stream while scanning a quoted scalar", "'");
    only_error(
        &changed("misses: 4", "interface: eth1"),
        "`vip.interface` stands twice: first on line 8, column 3",
        "interface",
    );
    only_error("a: *b\n", "unknown anchor", "*");
    only_error("a: 1\n---\nb: 2\n", "a second document begins here", "---");
}

#[test]
fn anchors_and_merge_keys_are_resolved_and_errors_stand_where_the_value_is_written() {
    let text = changed("mysqld:\n", "mysqld:\n  <<: {port: 99999}\n").replace("  port: 3307\n", "");
    only_error(&text, "`mysqld.port` must be a whole number", "99999");
    let text = changed("socket: /run/mysqld/mysqld.sock", "socket: *log")
        .replace("unit: mariadb.service", "unit: &log mariadb.service");
    only_error(&text, "`mysqld.socket` must be an absolute path", "&log mariadb.service");
}

#[test]
fn line_ends_and_byte_order_marks_of_other_systems_are_accepted() {
    parsed(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n")), &host()).unwrap();
    only_error(&changed("misses: 4", "misses: 0").replace('\n', "\r\n"), "from 1 to 100", "0");
}

/// Never a panic, never an empty list, every error inside the file.
fn survives(text: &str) {
    if let Err(errors) = parsed(text, &host()) {
        let source = Source::new(Path::new("r0.yaml"), text.strip_prefix('\u{feff}').unwrap_or(text));
        assert!(errors.iter().count() > 0);
        for error in errors.iter() {
            if let Some(place) = error.place() {
                assert_eq!(source.clamp(place), place, "{error:?}");
            }
            assert!(!error.help().is_empty());
        }
        assert!(!errors.coloured().to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn text_made_of_what_yaml_is_made_of_never_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "nodes", "vip", "address", "mysqld", ": ", ":", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ",", "\t",
            "'", "\"", "|", ">", "&a", "*a", "<<", "!x ", "?", "#", "---", "...", "~", "ä", "\r", "\u{85}", "\u{2028}",
            "10.77.0.1", "0", "%", "@", "`", "\0", "\u{1f600}",
        ]), 0..60)
    ) {
        survives(&pieces.concat());
    }

    #[test]
    fn a_good_file_with_some_bytes_changed_never_panics(
        at in any::<prop::sample::Index>(), length in 0..30usize, piece in "[ -~\n\t\r\u{e4}\u{2028}]{0,6}"
    ) {
        let start = at.index(GOOD.len());
        let end = (start + length).min(GOOD.len());
        survives(&format!("{}{piece}{}", &GOOD[..start], &GOOD[end..]));
    }
}

#[test]
fn the_agents_section_agrees_with_itself_and_with_the_cluster_manager() {
    let with = |manager: &str, agent: &str| {
        let text = GOOD.replace("cluster_manager: {heartbeat: stop}", &format!("cluster_manager: {manager}"));
        parsed(&format!("{text}\nagent: {{{agent}}}\n"), &host())
    };
    let config = with("none", "takeover: automatic, failures: 2, of: 3, self_fence: true").unwrap();
    let agent = config.agent;
    assert_eq!((agent.takeover, agent.failures, agent.of), (AutomaticTakeover::Automatic, 2, 3));
    assert!(agent.self_fence);
    assert_eq!(with("none", "").unwrap().agent.takeover, AutomaticTakeover::Never);
    for (manager, agent, words) in [
        ("none", "takeover: with-cluster-manager", "needs a cluster manager"),
        ("pacemaker", "takeover: automatic", "against each other"),
        ("keepalived", "takeover: automatic", "against each other"),
        ("none", "takeover: sometimes", "none of the known words"),
        ("none", "failures: 6", "asks for 6 failures of 5 looks"),
        ("none", "silence: 500ms", "out of range"),
        ("none", "takeover: automatic, silence: 40s", "not shorter than"),
        ("none", "listen: [localhost]", "not an address and a port"),
        ("none", "listen: ['127.0.0.1:0']", "port 0"),
        ("none", "takeovr: never", "did you mean `takeover`"),
    ] {
        let errors = with(manager, agent).unwrap_err().to_string();
        assert!(errors.contains(words), "{agent}: {errors}");
    }
}
