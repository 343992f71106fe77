//! The section `agent`: what `standin agent` looks at, how long it hesitates, and what it may do by itself.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::reader::{Node, Section, fault};
use super::sections::DAY;
use super::{ClusterManager, Limits};

/// What the agent does by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentConfig {
    /// Who makes a standby active.
    pub takeover: AutomaticTakeover,
    /// Time between two looks.
    pub interval: Duration,
    /// This many of the last [`of`](Self::of) looks must have failed before the active node gives up.
    pub failures: u32,
    /// How many looks count.
    pub of: u32,
    /// A server that has not answered for this long counts as failed.
    pub mysqld_limit: Duration,
    /// A write to the data file system that has not come back for this long counts as failed.
    pub write_limit: Duration,
    /// How long nothing of the peer may answer before that counts as its death.
    pub silence: Duration,
    /// A release that takes longer counts as stuck.
    pub release_limit: Duration,
    /// Reset this machine when a release is stuck, or when DRBD's I/O stays frozen because the peer is active.
    pub self_fence: bool,
    /// Where the endpoints listen.
    pub listen: Vec<SocketAddr>,
    /// A crash recovery that would take longer is warned of.
    pub recovery_budget: Duration,
    /// For so long after a takeover the node does not give up again, and a node that gave up does not take over again, unless a
    /// person acknowledges.
    pub settle: Duration,
}

/// Who makes a standby active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutomaticTakeover {
    /// A person.
    Never,
    /// The cluster manager; the agent guards the active node and reports on the standby.
    WithClusterManager,
    /// The agent, on evidence.
    Automatic,
}

impl fmt::Display for AutomaticTakeover {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Never => "never",
            Self::WithClusterManager => "with-cluster-manager",
            Self::Automatic => "automatic",
        })
    }
}

/// The port of the endpoints. Not registered with IANA.
pub const PORT: u16 = 7780;

impl AgentConfig {
    /// What counts where nothing is written.
    pub fn default_for(cluster_manager: ClusterManager) -> Self {
        let seconds = Duration::from_secs;
        Self {
            takeover: match cluster_manager {
                ClusterManager::None => AutomaticTakeover::Never,
                _ => AutomaticTakeover::WithClusterManager,
            },
            interval: seconds(1),
            failures: 3,
            of: 5,
            mysqld_limit: seconds(5),
            write_limit: seconds(10),
            silence: Duration::from_millis(1500),
            release_limit: seconds(60),
            self_fence: false,
            listen: vec![(Ipv4Addr::LOCALHOST, PORT).into()],
            recovery_budget: seconds(60),
            settle: seconds(600),
        }
    }
}

/// Reads the section; what is wrong in it falls back to its default, and its error keeps the file from being used.
pub(super) fn agent(root: &Section<'_>, cluster_manager: ClusterManager) -> AgentConfig {
    let default = AgentConfig::default_for(cluster_manager);
    let Some(section) = root.optional("agent").and_then(|node| node.section()) else { return default };
    let milliseconds = Duration::from_millis;
    let duration = |key, least: u64, most: Duration, default| {
        section.optional(key).and_then(|node| node.duration(milliseconds(least)..=most)).unwrap_or(default)
    };
    let minute = Duration::from_secs(60);
    let count = |key, range, default: u32| {
        let read = section.optional(key).and_then(|node| node.whole(range));
        read.and_then(|number| number.try_into().ok()).unwrap_or(default)
    };
    let of = count("of", 1..=60, default.of);
    let failures_node = section.optional("failures");
    let failures = count("failures", 1..=60, default.failures);
    if failures > of
        && let Some(node) = failures_node.or_else(|| section.optional("of"))
    {
        let help =
            "`failures` of the last `of` looks must have failed: choose at most as many as looks count";
        node.error(format_args!("asks for {failures} failures of {of} looks"), help);
    }
    let agent = AgentConfig {
        takeover: section
            .optional("takeover")
            .and_then(|node| takeover(&node, cluster_manager))
            .unwrap_or(default.takeover),
        interval: duration("interval", 100, minute, default.interval),
        failures,
        of,
        mysqld_limit: duration("mysqld_limit", 500, 10 * minute, default.mysqld_limit),
        write_limit: duration("write_limit", 500, 10 * minute, default.write_limit),
        silence: duration("silence", 1000, 10 * minute, default.silence),
        release_limit: duration("release_limit", 1000, DAY, default.release_limit),
        self_fence: section.optional("self_fence").and_then(|node| node.flag()).unwrap_or(default.self_fence),
        listen: section.optional("listen").and_then(|node| listen(&node)).unwrap_or(default.listen),
        recovery_budget: duration("recovery_budget", 1000, DAY, default.recovery_budget),
        settle: duration("settle", 0, DAY, default.settle),
    };
    section.finish();
    agent
}

fn takeover(node: &Node<'_>, cluster_manager: ClusterManager) -> Option<AutomaticTakeover> {
    node.text_as("text", |word| match (word, cluster_manager) {
        ("never", _) => Ok(AutomaticTakeover::Never),
        ("with-cluster-manager", ClusterManager::None) => {
            fault("needs a cluster manager, and cluster_manager is none", "write `never` or `automatic`")
        }
        ("with-cluster-manager", _) => Ok(AutomaticTakeover::WithClusterManager),
        ("automatic", ClusterManager::Pacemaker | ClusterManager::Keepalived) => fault(
            "is `automatic`, and the cluster manager decides about takeovers, too: the two would act against each other",
            "write `with-cluster-manager`",
        ),
        ("automatic", _) => Ok(AutomaticTakeover::Automatic),
        _ => fault(
            format!("is none of the known words: `{}`", word.escape_debug()),
            "write `never`, `with-cluster-manager` or `automatic`",
        ),
    })
}

fn listen(node: &Node<'_>) -> Option<Vec<SocketAddr>> {
    let items = node.items("[\"127.0.0.1:7780\"]")?;
    let addresses: Vec<SocketAddr> = items
        .iter()
        .filter_map(|item| {
            item.text_as("an address and a port", |text| match text.parse::<SocketAddr>() {
                Ok(address) if address.port() == 0 => {
                    fault("has port 0", format!("choose a port, such as {PORT}"))
                }
                Ok(address) => Ok(address),
                Err(_) => fault(
                    format!("is not an address and a port: `{}`", text.escape_debug()),
                    format!("write them with a colon between: `127.0.0.1:{PORT}`, `[::1]:{PORT}`"),
                ),
            })
        })
        .collect();
    (addresses.len() == items.len()).then_some(addresses)
}

/// `limits` and the agent's own have to leave room for each other.
pub(super) fn agrees(root: &Section<'_>, agent: &AgentConfig, limits: &Limits) {
    if agent.takeover == AutomaticTakeover::Automatic && agent.silence >= limits.wait_vip_gone {
        let path = super::place::YamlPath::default().key("agent").key("silence");
        root.error(
            &path,
            "`agent.silence` is not shorter than `limits.wait_vip_gone`",
            "an automatic takeover would be given up before the silence counts: make it shorter",
        );
    }
}
