//! A healthy standby for the tests of the checks: each test changes one thing of it.

use std::path::Path;

use super::survey::paths::{Kind, Room, SeenPath};
use super::survey::{
    Account, Clock, Credentials, FilesystemSupport, Flavour, MountPoint, MysqldSurvey, NamedRoom, Program,
    RoomCheck, Running, StorageSurvey, Survey, SystemSurvey, Unit, UnitSurvey,
};
use super::{Finding, Status};
use crate::config::{self, Config, Host};
use crate::foreign::Place;
use crate::foreign::option_file::{Options, Setting};
use crate::observation::{
    AddressProbe, Answer, ClusterManagerState, Connection, Disk, Drbd, DrbdCommands, DrbdGeneration, Fact,
    Mount, Mounted, Mysqld, MysqldAnswer, MysqldProcess, Observation, Past, Peer, Replication, Role, Vip,
};

pub(super) const CONFIGURATION: &str = "
nodes:
  node1: {address: 10.77.0.1, replication_address: 10.77.1.1}
  node2: {address: 10.77.0.2, replication_address: 10.77.1.2}
vip: {address: 10.77.0.100/24, interface: eth0}
drbd: {resource: r0}
mount: {device: /dev/drbd0, directory: /var/lib/mysql, type: ext4}
mysqld:
  unit: mariadb.service
  socket: /run/mysqld/mysqld.sock
  error_log: /var/log/mysql/error.log
  credentials: /etc/standin/r0.cnf
witnesses: [10.77.0.254]
";

/// The cluster of the lab, seen from node2.
pub(super) fn config() -> Config {
    config_with("")
}

/// The same with further top-level lines.
pub(super) fn config_with(more: &str) -> Config {
    config::parse(&format!("{CONFIGURATION}{more}"), Path::new("r0.yaml"), &Host::fixed("node2")).unwrap()
}

/// A standby that could take over.
pub(super) fn survey() -> Survey {
    Survey {
        observation: observation(),
        drbd: super::drbd::sample::survey(),
        storage: storage(),
        mysqld: mysqld(),
        unit: unit_survey(),
        network: super::network::sample::survey(),
        cluster_manager: super::cluster_manager::sample(),
        here: super::peer::tests::facts("node2"),
        peer: Fact::Known(super::peer::tests::facts("node1")),
        system: system(),
    }
}

/// The same node as the active one: Primary, mounted, serving, with the virtual IP.
pub(super) fn active() -> Survey {
    let mut survey = survey();
    survey.observation.drbd = Fact::Known(Drbd { role: Role::Primary, peer_role: Role::Secondary, ..drbd() });
    let mounted = Mounted {
        source: "/dev/drbd0".to_owned(),
        is_our_device: true,
        filesystem: "ext4".to_owned(),
        read_only: false,
    };
    survey.observation.mount =
        Fact::Known(Mount { at_directory: Some(mounted), device_elsewhere: Vec::new() });
    let process = MysqldProcess {
        pid: 7,
        name: "mariadbd".to_owned(),
        directory: "/var/lib/mysql".into(),
        on_our_device: true,
    };
    survey.observation.mysqld = Fact::Known(Mysqld { processes: vec![process], answer: MysqldAnswer::Ready });
    survey.observation.vip = Vip { here: Fact::Known(Some("eth0".to_owned())), answer: Fact::Known(None) };
    survey.network.vip_places = Fact::Known(vec![("eth0".to_owned(), config().vip.address)]);
    survey.network.vip_holders = Fact::Known(Vec::new());
    survey
}

fn observation() -> Observation {
    let answer = || Fact::Known(Some(Answer { icmp: true, arp: Some("02:00:00:00:00:01".to_owned()) }));
    let probe = |address: &str| AddressProbe { address: address.parse().unwrap(), answer: answer() };
    Observation {
        drbd: Fact::Known(drbd()),
        mount: Fact::Known(Mount { at_directory: None, device_elsewhere: Vec::new() }),
        mysqld: Fact::Known(Mysqld { processes: Vec::new(), answer: MysqldAnswer::Silent }),
        vip: Vip { here: Fact::Known(None), answer: answer() },
        peer: Peer { addresses: vec![probe("10.77.1.1"), probe("10.77.0.1")] },
        witnesses: vec![probe("10.77.0.254")],
        cluster_manager: Fact::Known(ClusterManagerState { pids: Vec::new() }),
        past: Past::default(),
    }
}

/// Connected, Secondary, in sync, with an active peer.
pub(super) fn drbd() -> Drbd {
    Drbd {
        generation: DrbdGeneration::Eight,
        connection: Connection::Connected,
        replication: Replication::Established,
        role: Role::Secondary,
        peer_role: Role::Primary,
        disk: Disk::UpToDate,
        peer_disk: Disk::UpToDate,
        resync_percent: None,
        io_suspended: false,
        writes_wait_for_peer: false,
        commands: DrbdCommands {
            disconnect: Vec::new(),
            promote: Vec::new(),
            demote: Vec::new(),
            connect: Vec::new(),
        },
    }
}

fn storage() -> StorageSurvey {
    let room = Room { bytes: 1 << 34, bytes_free: 1 << 33, inodes: 0, inodes_free: 0, read_only: false };
    let named = |check, path: &str| NamedRoom { check, path: path.into(), room: Fact::Known(room) };
    StorageSurvey {
        fstab: Fact::Known(Vec::new()),
        device_names: vec!["/dev/drbd0".to_owned()],
        tags_unknown: None,
        mount_point: Some(MountPoint { path: directory("/var/lib/mysql"), entries: Vec::new() }),
        filesystem_support: FilesystemSupport::Ready,
        rooms: vec![
            named(RoomCheck::Log, "/var/log/mysql"),
            named(RoomCheck::State, "/var/lib/standin"),
            named(RoomCheck::Run, "/run"),
        ],
        multipath_ignores_drbd: None,
        lvm: None,
    }
}

fn mysqld() -> MysqldSurvey {
    let mut survey = MysqldSurvey {
        program: Fact::Known(Program {
            path: "/usr/sbin/mariadbd".into(),
            flavour: Flavour::MariaDB,
            version: (10, 11, 19),
            text: "10.11.19-MariaDB-0+deb12u1".to_owned(),
        }),
        options: Options { files: vec![OPTION_FILE.into()], ..Options::default() },
        groups: vec!["mysqld".to_owned(), "mariadbd".to_owned()],
        include_directory: Some("/etc/mysql/mariadb.conf.d".into()),
        persisted: [].into(),
        running: None,
        runs_in_unit: true,
        user: Fact::Known(Some(Account { name: "mysql".to_owned(), uid: 100, gid: 101 })),
        paths: ["/var/log/mysql", "/run/mysqld", "/tmp"]
            .map(|path| SeenPath { uid: 100, gid: 101, ..directory(path) })
            .to_vec(),
        port_listeners: Vec::new(),
        nonlocal_bind: false,
        credentials: Some(Credentials { problem: None, login: None, mode: Some(0o600), uid: Some(0) }),
        engines: None,
    };
    set(&mut survey, "socket", "/run/mysqld/mysqld.sock");
    set(&mut survey, "log_error", "/var/log/mysql/error.log");
    survey
}

const OPTION_FILE: &str = "/etc/mysql/my.cnf";

/// Adds a line to the server's option file, and returns its number. An empty value is a lone name.
pub(super) fn set(survey: &mut MysqldSurvey, name: &str, value: &str) -> usize {
    let line = survey.options.settings.len() + 2;
    survey.options.settings.push(Setting {
        group: "mysqld".to_owned(),
        name: name.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        place: Some(Place::new(OPTION_FILE, line)),
    });
    line
}

/// Adds an argument to the server's command line.
pub(super) fn set_argument(survey: &mut MysqldSurvey, name: &str, value: &str) {
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    survey.options.settings.push(Setting { group: String::new(), name, value, place: None });
}

/// Lets the server run here, with these variables.
pub(super) fn run(survey: &mut MysqldSurvey, variables: &[(&str, &str)]) {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    survey.running = Some(Fact::Known(Running { variables, ..Running::default() }));
}

/// A directory of root that everybody may read.
pub(super) fn directory(path: &str) -> SeenPath {
    SeenPath {
        path: path.into(),
        kind: Ok(Kind::Directory),
        resolved: path.into(),
        uid: 0,
        gid: 0,
        mode: 0o755,
    }
}

fn unit_survey() -> UnitSurvey {
    let properties = [
        ("Id", "mariadb.service"),
        ("Names", "mariadb.service mysql.service mysqld.service"),
        ("LoadState", "loaded"),
        ("ActiveState", "inactive"),
        ("SubState", "dead"),
        ("FragmentPath", "/lib/systemd/system/mariadb.service"),
        ("UnitFileState", "disabled"),
        ("NeedDaemonReload", "no"),
        ("Type", "notify"),
        ("Restart", "on-abnormal"),
        ("SendSIGKILL", "no"),
        ("TimeoutStartUSec", "15min"),
        ("TimeoutStopUSec", "15min"),
        ("StartLimitIntervalUSec", "10s"),
        ("StartLimitBurst", "5"),
        ("ProtectHome", "yes"),
        ("ProtectSystem", "full"),
        ("PrivateTmp", "no"),
    ];
    let unit = Unit::of(properties.map(|(property, value)| (property.to_owned(), value.to_owned())));
    UnitSurvey {
        units: Fact::Known([("mariadb.service".to_owned(), unit)].into()),
        at_boot: Vec::new(),
        command: vec!["/usr/sbin/mariadbd".to_owned()],
        program: None,
    }
}

/// Changes a property of the server's unit.
pub(super) fn unit(survey: &mut Survey, property: &str, value: &str) {
    if let Fact::Known(units) = &mut survey.unit.units
        && let Some(unit) = units.get_mut("mariadb.service")
    {
        *unit = unit.clone().with(property, value);
    }
}

fn system() -> SystemSurvey {
    SystemSurvey {
        clock: Fact::Known(Clock { synchronised: true, maximum_error: std::time::Duration::from_millis(20) }),
        apparmor: None,
        selinux: None,
        state_directory: directory("/var/lib/standin"),
        journal_bytes: None,
        program: "/usr/sbin/standin".into(),
        program_in_path: Some("/usr/sbin/standin".into()),
        environment: Vec::new(),
    }
}

/// The status of one check among findings; `None` when it is not among them.
pub(super) fn status(findings: &[Finding], check: &str) -> Option<Status> {
    findings.iter().find(|finding| finding.check == check).map(|finding| finding.status)
}
