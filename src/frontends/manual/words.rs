//! What the manual pages and the help say beyond the command line itself.

pub(in crate::frontends) const DOCTOR: &str = "\
Exit codes:
  0  nothing failed
  1  with --strict: something warned
  2  the command line or the configuration is wrong, or this is not root
  3  something failed: a takeover would refuse or fail";

pub(in crate::frontends) const AUDIT: &str = "\
Exit codes:
  0  a takeover may go on
  1  it could not be told
  2  the command line or the configuration is wrong
  3  a takeover would refuse";

pub(in crate::frontends) const UNFENCE_PEER: &str = "\
For the handlers section of DRBD's configuration, which names the resource in DRBD_RESOURCE. It only notes in the journal
that both disks are UpToDate again.

Exit codes:
  0  noted
  1  no answer in time";

pub(in crate::frontends) const AGENT: &str = "\
One process for each cluster on each node, started by standin-agent@NAME.service. What it looks at and what it may do by itself is
in the section `agent` of the configuration. Ending it leaves the database as it is.

On the active node: the mount, a write that is read back, the server's answer and a query, DRBD, the virtual IP and its link. When
that fails often enough, and the peer could step in, it releases in order and then stops the cluster manager.
On the standby: the virtual IP, the peer's addresses and DRBD. With agent.takeover automatic it steps up on evidence.

Exit codes:
  0  it was told to end
  2  the configuration is wrong, or it does not run as root
  3  another agent runs for the same resource";

pub(in crate::frontends) const OCF: &str = "\
Pacemaker calls it as /usr/lib/ocf/resource.d/standin/innodb ACTION, with its parameters in OCF_RESKEY_ variables;
meta-data tells which.

Exit codes (OCF):
  0    done, or it runs here
  1    failed or refused; everything that was done was undone
  2    the configuration of this node is wrong
  3    there is no such action
  4    not root
  5    what it needs is not installed here
  6    the parameters are wrong, on every node
  7    it does not run here
  8    it runs here, promoted
  9    it failed while promoted
  190  it runs here, degraded: the peer is not connected, or resyncs
  191  it runs here, promoted and degraded";

pub(in crate::frontends) const SWITCHOVER: &str = "\
Exit codes:
  0  the peer is active
  1  it failed and was undone: this node is active
  2  the command line or the configuration is wrong; nothing was touched
  3  refused: this node does not serve, or the peer could not take over; nothing was touched
  4  stuck: a person is needed; the commands to type are printed";

/// What a page says beyond the help of its command.
pub(super) struct Words {
    /// `None` is `standin` itself.
    pub(super) command: Option<&'static str>,
    pub(super) description: &'static [&'static str],
    /// What is typed, and what it does.
    pub(super) examples: &'static [(&'static str, &'static str)],
    pub(super) see_also: &'static [&'static str],
}

pub(super) const WORDS: &[Words] = &[
    Words {
        command: None,
        description: &[
            "Two nodes hold one InnoDB database on a DRBD device. One is active: its disk is Primary and mounted, \
             mysqld runs on it, and it has the virtual IP. standin makes the surviving node step into the failed \
             one's place: it waits for the virtual IP to drop, takes Heartbeat out of the way, disconnects and \
             promotes DRBD, mounts the data directory, starts mysqld so that InnoDB's crash recovery fills in what \
             was in flight, and adds the virtual IP.",
            "It refuses when that would lose data or make a second holder of the virtual IP: when the other side is \
             still Primary, when nothing proves that a silent peer is dead, when the local copy is not current, when \
             the tables are mostly MyISAM. What fails on the way is undone in reverse; what can't be undone is named, \
             with the commands to type. A rerun after a kill at any point ends in the same state as an undisturbed \
             run.",
            "One file per cluster, the same on both nodes, tells what there is; standin init writes it. Output goes \
             to standard output and standard error, so that under systemd it is in the journal; no log file is \
             written.",
        ],
        examples: &[
            ("standin init", "Look at this machine and write its configuration, on each node."),
            ("standin doctor", "See whether a takeover would work here, and what to mend."),
            ("standin plan", "On the standby: what a takeover would do now, with the commands behind it."),
            (
                "standin takeover",
                "Make this node active. A planned move is standin switchover, typed on the active node.",
            ),
            ("standin -c orders status --watch", "Watch both nodes of the cluster orders."),
            ("standin history --last 1", "How long each step of the latest takeover took."),
        ],
        see_also: &["drbdadm(8)", "drbd.conf(5)", "mariadbd(8)", "heartbeat(8)", "crm(8)", "keepalived(8)"],
    },
    Words {
        command: Some("takeover"),
        description: &[
            "Each step has a deadline and an undo, and is skipped when it is already so. After a failure past the \
             promotion mysqld is stopped, the mount released and DRBD demoted again. SIGINT and SIGTERM interrupt a \
             takeover, which then undoes what it did; a second signal changes nothing.",
        ],
        examples: &[
            ("standin takeover --plan", "Show the steps, with the commands behind them, and change nothing."),
            ("standin takeover --wait 5m", "Wait up to five minutes for the virtual IP to drop."),
        ],
        see_also: &["standin-plan(8)", "standin-release(8)"],
    },
    Words {
        command: Some("release"),
        description: &["The mirror image of a takeover: the virtual IP goes first, DRBD is demoted last."],
        examples: &[("standin release --plan", "Show the steps and change nothing.")],
        see_also: &["standin-takeover(8)"],
    },
    Words {
        command: Some("plan"),
        description: &["The same plan is what standin takeover would walk: there is no second description."],
        examples: &[("standin plan --json", "The plan as a value, for a program.")],
        see_also: &["standin-takeover(8)", "standin-release(8)"],
    },
    Words {
        command: Some("switchover"),
        description: &[
            "First everything that could keep the peer from taking over is asked, over ssh when it may log in without a \
             password. Then InnoDB writes its dirty pages while the clients are still served, so that the shutdown is \
             short; for that the account in mysqld.credentials needs SYSTEM_VARIABLES_ADMIN (MySQL) or SUPER (MariaDB), \
             and without it the shutdown takes longer. Then the node gives everything up in order, and the peer takes \
             over: told by the cluster manager's own command where there is one, else over ssh, else by its agent, else by \
             a person who is told what to type.",
            "When the peer is not active in time, or this is interrupted, the node takes over again, by the rules of any \
             takeover.",
        ],
        examples: &[
            (
                "standin switchover --plan",
                "Show both halves, with the commands behind them, and change nothing.",
            ),
            ("standin switchover --wait 30s", "Take over again when the peer is not active within 30 s."),
        ],
        see_also: &["standin-takeover(8)", "standin-release(8)", "standin-rejoin(8)"],
    },
    Words {
        command: Some("rejoin"),
        description: &[
            "For a node that was repaired or has lost its peer: with nothing mounted, no mysqld and DRBD Secondary. It brings \
             the resource up, connects it when a takeover of its own had disconnected it, and follows the resync with its \
             speed and the time that is left, until both copies are equal.",
            "When both sides took writes apart from each other (a split brain), it says what shows it and how much each side \
             has changed alone, and prints the commands of both choices. Data is given up only with --discard-my-data, typed \
             on the node that loses it.",
        ],
        examples: &[(
            "standin rejoin --plan",
            "Show what would be done, or the diagnosis, and change nothing.",
        )],
        see_also: &["standin-switchover(8)", "drbdadm(8)"],
    },
    Words {
        command: Some("pause"),
        description: &[
            "Both agents look on and do nothing by themselves: no release of an active node that fails, no takeover by a \
             standby. What a person or a cluster manager asks for goes on. It ends by itself; a clock that jumps does not \
             matter, except after a reboot. A pause file that is broken counts as a pause until it is resumed.",
        ],
        examples: &[
            ("standin pause --for 30m --reason 'new switch'", "Half an hour."),
            ("standin resume", "End it before its time."),
        ],
        see_also: &["standin-resume(8)", "standin-status(8)"],
    },
    Words {
        command: Some("doctor"),
        description: &[],
        examples: &[("standin doctor --quiet", "Only what did not pass.")],
        see_also: &["standin-init(8)"],
    },
    Words {
        command: Some("heartbeat"),
        description: &[],
        examples: &[("standin heartbeat orders status", "What Heartbeat is told of the cluster orders.")],
        see_also: &["standin-ocf(8)", "heartbeat(8)"],
    },
    Words {
        command: Some("ocf"),
        description: &[],
        examples: &[("standin ocf meta-data", "The parameters, as Pacemaker reads them.")],
        see_also: &["standin-heartbeat(8)", "ocf-tester(8)", "crm(8)"],
    },
    Words {
        command: Some("fence-peer"),
        description: &[],
        examples: &[],
        see_also: &["standin-unfence-peer(8)", "drbd.conf(5)"],
    },
    Words {
        command: Some("unfence-peer"),
        description: &[],
        examples: &[],
        see_also: &["standin-fence-peer(8)", "drbd.conf(5)"],
    },
    Words {
        command: Some("check"),
        description: &[],
        examples: &[("standin check --active", "Exit code 0 on the node that serves, for a load balancer.")],
        see_also: &["standin-status(8)", "keepalived.conf(5)"],
    },
    Words {
        command: Some("keepalived-notify"),
        description: &[],
        examples: &[],
        see_also: &["standin-check(8)", "keepalived.conf(5)"],
    },
    Words {
        command: Some("completions"),
        description: &["The package installs those for bash, zsh and fish."],
        examples: &[],
        see_also: &[],
    },
];
