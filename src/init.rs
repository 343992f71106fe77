//! The first configuration: what was found on this machine, and what a person answered, become a commented file.
//!
//! [`draft`] is pure. What it can't conclude from [`Found`] it asks for, and it never chooses between two equally good
//! candidates by itself.
//!
//! | module | what it decides |
//! | --- | --- |
//! | `resource` | the DRBD resource, its nodes and its device |
//! | `address` | virtual IP, interface and the nodes' own addresses |
//! | `data` | mount point, file system, mysqld and its files |
//! | `manager` | the cluster manager and the witnesses |
//! | `render` | the text of the file |
//! | `next` | what is left to do |

mod address;
mod data;
mod found;
mod manager;
mod next;
mod render;
mod resource;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

pub use self::found::{Found, HostsLine, Interface, Managers, Mounted, Unit};
pub use self::next::next_steps;
pub use self::render::render;
use crate::config::ClusterManager;
use crate::failure::Failure;

/// What a person said, on the command line or when asked. Every one wins over what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The cluster's name; otherwise the resource's.
    pub cluster: Option<String>,
    /// The DRBD resource.
    pub resource: Option<String>,
    /// The DRBD device, of a resource with several volumes.
    pub device: Option<PathBuf>,
    /// The virtual IP; without a prefix length that of its interface's network is meant.
    pub vip: Option<(Ipv4Addr, Option<u8>)>,
    /// The interface that carries it.
    pub interface: Option<String>,
    /// This node's own address on the clients' network.
    pub address: Option<Ipv4Addr>,
    /// The peer's.
    pub peer_address: Option<Ipv4Addr>,
    /// Where the data file system is mounted.
    pub directory: Option<PathBuf>,
    /// Its type.
    pub filesystem: Option<String>,
    /// The systemd service that runs mysqld.
    pub unit: Option<String>,
    /// Its Unix socket.
    pub socket: Option<PathBuf>,
    /// The option file with user and password.
    pub credentials: Option<PathBuf>,
    /// Who decides about failover.
    pub cluster_manager: Option<ClusterManager>,
    /// Third machines that must answer.
    pub witnesses: Vec<Ipv4Addr>,
}

/// Which of the [`Answers`] a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `--resource`
    Resource,
    /// `--device`
    Device,
    /// `--vip`
    Vip,
    /// `--interface`
    Interface,
    /// `--address`
    Address,
    /// `--peer-address`
    PeerAddress,
    /// `--directory`
    Directory,
    /// `--filesystem`
    Filesystem,
    /// `--unit`
    Unit,
    /// `--socket`
    Socket,
    /// `--cluster-manager`
    ClusterManager,
}

impl Topic {
    /// The option of the command line that answers it.
    pub fn flag(self) -> &'static str {
        match self {
            Topic::Resource => "--resource",
            Topic::Device => "--device",
            Topic::Vip => "--vip",
            Topic::Interface => "--interface",
            Topic::Address => "--address",
            Topic::PeerAddress => "--peer-address",
            Topic::Directory => "--directory",
            Topic::Filesystem => "--filesystem",
            Topic::Unit => "--unit",
            Topic::Socket => "--socket",
            Topic::ClusterManager => "--cluster-manager",
        }
    }
}

/// Something that could not be learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What about.
    pub topic: Topic,
    /// What is wanted, as a noun: "the virtual IP and its prefix length, as in 10.0.0.100/24".
    pub wanted: String,
    /// Why it could not be learnt.
    pub cause: String,
    /// What it may be, each with where it was found.
    pub candidates: Vec<Chosen<String>>,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<T> {
    /// The value.
    pub value: T,
    /// Where it was found, for a comment.
    pub from: String,
}

impl<T> Chosen<T> {
    pub(crate) fn new(value: T, from: impl Into<String>) -> Self {
        Self { value, from: from.into() }
    }

    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Chosen<U> {
        Chosen { value: convert(self.value), from: self.from }
    }
}

/// One node of the draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftNode {
    /// Its host name.
    pub name: Chosen<String>,
    /// Its address on the clients' network.
    pub address: Chosen<Ipv4Addr>,
    /// Its address on a replication network of its own.
    pub replication_address: Option<Chosen<Ipv4Addr>>,
}

/// Everything that the file will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The cluster's name.
    pub cluster: String,
    /// The node that this is.
    pub host: String,
    /// In the order of the DRBD resource, which is the same on both nodes.
    pub nodes: [DraftNode; 2],
    /// Virtual IP.
    pub vip: Chosen<Ipv4Net>,
    /// Its interface.
    pub interface: Chosen<String>,
    /// DRBD resource.
    pub resource: Chosen<String>,
    /// DRBD device.
    pub device: Chosen<PathBuf>,
    /// Mount point.
    pub directory: Chosen<PathBuf>,
    /// File system type.
    pub filesystem: Chosen<String>,
    /// Mount options.
    pub options: Option<Chosen<Vec<String>>>,
    /// mysqld's unit.
    pub unit: Chosen<String>,
    /// Data directory, when it is not the mount point.
    pub datadir: Option<Chosen<PathBuf>>,
    /// Unix socket.
    pub socket: Chosen<PathBuf>,
    /// TCP port, when it is not 3306.
    pub port: Option<Chosen<u16>>,
    /// Error log.
    pub error_log: Option<Chosen<PathBuf>>,
    /// Option file with user and password.
    pub credentials: Option<Chosen<PathBuf>>,
    /// Whether the server is started read-only.
    pub read_only: Option<Chosen<bool>>,
    /// Who decides about failover.
    pub cluster_manager: Chosen<ClusterManager>,
    /// Third machines that answered, or that a person named.
    pub witnesses: Vec<Chosen<Ipv4Addr>>,
    /// Third machines that would do but did not answer.
    pub silent_witnesses: Vec<Chosen<Ipv4Addr>>,
}

/// Why there is no draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// These answers are missing; others may follow once they are there.
    Missing(Vec<Question>),
    /// No answer would help.
    Impossible(Box<Failure>),
}

/// Collects what is missing, so that a person is told all of it at once.
#[derive(Debug, Default)]
struct Missing(Vec<Question>);

impl Missing {
    fn ask<T>(
        &mut self,
        topic: Topic,
        wanted: impl Into<String>,
        cause: impl Into<String>,
        candidates: Vec<Chosen<String>>,
    ) -> Option<T> {
        self.0.push(Question { topic, wanted: wanted.into(), cause: cause.into(), candidates });
        None
    }
}

const ANSWERED: &str = "as answered";

/// The one candidate, when all candidates say the same; otherwise `Err` with the distinct ones.
fn only<T: PartialEq + Clone>(candidates: Vec<Chosen<T>>) -> Result<Chosen<T>, Vec<Chosen<T>>> {
    let mut distinct: Vec<Chosen<T>> = Vec::new();
    for candidate in candidates {
        if !distinct.iter().any(|known| known.value == candidate.value) {
            distinct.push(candidate);
        }
    }
    if distinct.len() == 1 { Ok(distinct.remove(0)) } else { Err(distinct) }
}

fn shown<T: ToString>(candidates: Vec<Chosen<T>>) -> Vec<Chosen<String>> {
    candidates.into_iter().map(|candidate| candidate.map(|value| value.to_string())).collect()
}

/// The configuration that fits what was found and answered.
///
/// # Errors
/// Answers are missing, or this machine has no pair that standin could serve.
pub fn draft(found: &Found, answers: &Answers) -> Result<Draft, Stop> {
    let mut missing = Missing::default();
    let pair = resource::choose(found, answers, &mut missing)?;
    let Some(pair) = pair else { return Err(Stop::Missing(missing.0)) };
    let unit = data::unit(found, answers, &mut missing)?;
    let clients = address::choose(found, answers, &pair, &mut missing);
    let device = resource::device(found, answers, &pair, &mut missing);
    let mount =
        device.as_ref().and_then(|device| data::mount(found, answers, &pair, device, unit, &mut missing));
    let server = unit.and_then(|unit| data::server(answers, unit, mount.as_ref(), &mut missing));
    let cluster_manager = manager::choose(found, answers, &mut missing);
    let (Some(clients), Some(device), Some(mount), Some(server), Some(cluster_manager)) =
        (clients, device, mount, server, cluster_manager)
    else {
        return Err(Stop::Missing(missing.0));
    };
    let cluster = answers.cluster.clone().unwrap_or_else(|| pair.resource.value.clone());
    let (witnesses, silent_witnesses) = manager::witnesses(found, answers, &clients);
    Ok(Draft {
        credentials: data::credentials(found, answers, &cluster),
        cluster,
        host: found.host.clone(),
        nodes: clients.nodes,
        vip: clients.vip,
        interface: clients.interface,
        resource: pair.resource,
        device,
        directory: mount.directory,
        filesystem: mount.filesystem,
        options: mount.options,
        unit: server.unit,
        datadir: server.datadir,
        socket: server.socket,
        port: server.port,
        error_log: server.error_log,
        read_only: server.read_only,
        cluster_manager,
        witnesses,
        silent_witnesses,
    })
}
