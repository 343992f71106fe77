//! Every parameter of the agent: its name, where its value stands in a configuration, and what people read of it.

/// The parameter that names a configuration.
pub(super) const CONFIG: &str = "config";

/// What kind of value a parameter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// true or false, in any of the ways that Pacemaker writes it.
    Flag,
    /// Words with commas or blanks between them.
    List,
    /// A command line, split at blanks.
    Command,
    /// `NAME=ADDRESS[,REPLICATION_ADDRESS]` for each node.
    Nodes,
    /// `NAME=VALUE` for each.
    Pairs,
}

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// Where its value stands in a configuration: section and key; no key when the section is the value.
    pub(super) place: (&'static str, &'static str),
    pub(super) kind: Kind,
    pub(super) default: Option<&'static str>,
    pub(super) short: &'static str,
    pub(super) long: &'static str,
}

const fn parameter(
    name: &'static str,
    place: (&'static str, &'static str),
    kind: Kind,
    default: Option<&'static str>,
    short: &'static str,
    long: &'static str,
) -> Parameter {
    Parameter { name, place, kind, default, short, long }
}

/// Every parameter but `config`, those of one section side by side.
pub(super) const PARAMETERS: [Parameter; 23] = [
    parameter(
        "nodes",
        ("nodes", ""),
        Kind::Nodes,
        None,
        "The two nodes",
        "NAME=ADDRESS,REPLICATION_ADDRESS of each node with a blank between them, as in \"node1=10.77.0.1,10.77.1.1 \
         node2=10.77.0.2,10.77.1.2\": names as uname -n prints them, then the address on the clients' network, then that on \
         the replication network, which is left out when there is only one network.",
    ),
    parameter(
        "vip",
        ("vip", "address"),
        Kind::Text,
        None,
        "The virtual IP",
        "The address that clients use, with its prefix length, as in 10.77.0.100/24. The agent adds and removes it: no \
         IPaddr2 resource is needed, and none may be there.",
    ),
    parameter(
        "interface",
        ("vip", "interface"),
        Kind::Text,
        None,
        "The virtual IP's interface",
        "The interface that carries the virtual IP, as in eth0.",
    ),
    parameter(
        "resource",
        ("drbd", "resource"),
        Kind::Text,
        None,
        "The DRBD resource",
        "The DRBD resource's name, as drbdadm sh-resources prints it.",
    ),
    parameter(
        "device",
        ("mount", "device"),
        Kind::Text,
        None,
        "The DRBD device",
        "The block device that is mounted, as in /dev/drbd0.",
    ),
    parameter(
        "directory",
        ("mount", "directory"),
        Kind::Text,
        None,
        "The mount point",
        "The directory that the device is mounted at, as in /var/lib/mysql.",
    ),
    parameter(
        "fstype",
        ("mount", "type"),
        Kind::Text,
        None,
        "The file system",
        "The type of the file system on the device: ext4, xfs, …",
    ),
    parameter(
        "options",
        ("mount", "options"),
        Kind::List,
        None,
        "Mount options",
        "Mount options as in fstab, with commas between them.",
    ),
    parameter(
        "unit",
        ("mysqld", "unit"),
        Kind::Text,
        None,
        "The database server's unit",
        "The systemd unit that runs the database server, as in mariadb.service. It must not start at boot. Either this or \
         command.",
    ),
    parameter(
        "command",
        ("mysqld", "command"),
        Kind::Command,
        None,
        "The database server's command line",
        "The database server's command line, when no unit runs it: the program itself and not mysqld_safe.",
    ),
    parameter(
        "datadir",
        ("mysqld", "datadir"),
        Kind::Text,
        None,
        "The data directory",
        "The server's data directory. Without it: the mount point.",
    ),
    parameter(
        "socket",
        ("mysqld", "socket"),
        Kind::Text,
        None,
        "The database server's socket",
        "The Unix socket on which the server answers.",
    ),
    parameter(
        "port",
        ("mysqld", "port"),
        Kind::Number,
        Some("3306"),
        "The database server's port",
        "The TCP port on which the server answers at the virtual IP.",
    ),
    parameter(
        "error_log",
        ("mysqld", "error_log"),
        Kind::Text,
        None,
        "The error log",
        "The server's error log. It is followed during crash recovery; without it, a recovery that moves can't be told from \
         one that hangs.",
    ),
    parameter(
        "credentials",
        ("mysqld", "credentials"),
        Kind::Text,
        None,
        "File with user and password",
        "An option file with [client] user and password, mode 0600. Without it a takeover and a check of depth 20 see that the \
         server answers, and not whether it serves queries.",
    ),
    parameter(
        "read_only",
        ("mysqld", "read_only"),
        Kind::Flag,
        Some("false"),
        "What read_only must be",
        "What the server's read_only must be once it is active.",
    ),
    parameter(
        "kill_at_deadline",
        ("mysqld", "kill_at_deadline"),
        Kind::Flag,
        Some("false"),
        "Kill a server that does not stop",
        "Whether the server gets SIGKILL when its shutdown does not end within its limit. Crash recovery is needed then.",
    ),
    parameter(
        "fence",
        ("fence", ""),
        Kind::Command,
        None,
        "Fence command",
        "A command line whose exit code 0 confirms that the peer is off; {peer} stands for its name. Pacemaker's own fencing \
         needs none.",
    ),
    parameter(
        "witnesses",
        ("witnesses", ""),
        Kind::List,
        None,
        "Witnesses",
        "Addresses of third machines, such as the router: one must answer, or it is this node that is cut off.",
    ),
    parameter(
        "limits",
        ("limits", ""),
        Kind::Pairs,
        None,
        "Time limits",
        "Time limits of single steps as NAME=DURATION with blanks between them, as in \"wait_vip_gone=20s start_mysqld=300s\".",
    ),
    parameter(
        "vip_misses",
        ("vip", "misses"),
        Kind::Number,
        Some("3"),
        "Misses that count as gone",
        "How many probes of the virtual IP must be missed in a row.",
    ),
    parameter(
        "vip_interval",
        ("vip", "interval"),
        Kind::Text,
        Some("100ms"),
        "Time between two probes",
        "The time between two probes of the virtual IP.",
    ),
    parameter(
        "refuse_myisam_above_percent",
        ("audit", "refuse_myisam_above_percent"),
        Kind::Number,
        Some("50"),
        "MyISAM that is refused",
        "A takeover is refused when more than this share of the data is MyISAM, which has no crash recovery.",
    ),
];
