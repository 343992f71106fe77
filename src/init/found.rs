//! What one look at this machine found, for [`draft`](super::draft). Plain data.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::config::ClusterManager;
use crate::foreign::Place;
use crate::foreign::cib::{Cib, Primitive};
use crate::foreign::corosync::Section;
use crate::foreign::drbd_conf::Configuration;
use crate::foreign::fstab::Entry;
use crate::foreign::heartbeat::{HaCf, HaResources};
use crate::foreign::keepalived::VrrpInstance;
use crate::foreign::option_file::{Found as Setting, Options};
use crate::observation::Fact;

/// A network interface with IPv4 addresses; the loopback is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<Ipv4Net>,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsLine {
    /// The address.
    pub address: Ipv4Addr,
    /// Its names.
    pub names: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// A mount of this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The device, as mountinfo has it.
    pub device: PathBuf,
    /// Where.
    pub directory: PathBuf,
    /// The file system's type.
    pub filesystem: String,
}

/// A systemd service that runs a MySQL or MariaDB server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its full name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// The program that it runs.
    pub program: PathBuf,
    /// The option files and the command line's options.
    pub options: Options,
    /// The groups of them that this server reads.
    pub groups: Vec<String>,
    /// Values that the program itself names, defaults included: of `--verbose --help`. Only what no option file says.
    pub built_in: BTreeMap<String, String>,
}

impl Unit {
    /// An option of the server: from its option files and command line, otherwise what it names itself.
    pub fn option(&self, name: &str) -> Option<(Setting, String)> {
        if let Some(setting) = self.options.get(&self.groups, name) {
            let from = match &setting.place {
                Some(place) => format!("{place}, [{}]", setting.group),
                None => format!("the command line in {}", self.file.display()),
            };
            return Some((setting, from));
        }
        let value = self.built_in.get(name)?.clone();
        let from = format!("what {} names with --verbose --help", self.program.display());
        Some((Setting { value: Some(value), place: None, group: String::new() }, from))
    }
}

/// What speaks for each cluster manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managers {
    /// Managers whose processes run or whose unit is enabled, with that in words.
    pub active: Vec<(ClusterManager, String)>,
    /// Heartbeat's configuration.
    pub ha_cf: Option<HaCf>,
    /// Its resources.
    pub haresources: Option<HaResources>,
    /// Pacemaker's resources.
    pub cib: Option<Cib>,
    /// corosync's configuration.
    pub corosync: Option<Section>,
    /// keepalived's instances.
    pub keepalived: Vec<VrrpInstance>,
}

impl Managers {
    /// Pacemaker's primitives of an agent.
    pub(super) fn primitives<'a, 'n>(
        &'a self,
        agents: &'n [&'n str],
    ) -> impl Iterator<Item = &'a Primitive> + use<'a, 'n> {
        let all = self.cib.iter().flat_map(|cib| &cib.primitives);
        all.filter(move |primitive| agents.contains(&primitive.agent.as_str()))
    }
}

/// What a comment says of a primitive.
pub(super) fn from_pacemaker(primitive: &Primitive) -> String {
    format!("Pacemaker's primitive {}", primitive.id)
}

/// Everything that one look found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// This node's name.
    pub host: String,
    /// The DRBD resources of the configuration.
    pub drbd: Fact<Configuration>,
    /// The kernel module's major version: 8 or 9.
    pub drbd_version: Option<u8>,
    /// Interfaces of this node.
    pub interfaces: Vec<Interface>,
    /// Gateways of default routes.
    pub gateways: Vec<Ipv4Addr>,
    /// `/etc/hosts`.
    pub hosts: Vec<HostsLine>,
    /// `/etc/fstab`.
    pub fstab: Vec<Entry>,
    /// What is mounted.
    pub mounts: Vec<Mounted>,
    /// File systems found on devices, with how.
    pub filesystems: BTreeMap<PathBuf, (String, String)>,
    /// Services that run a server.
    pub units: Vec<Unit>,
    /// Cluster managers.
    pub managers: Managers,
    /// Option files with user and password that nobody else can read.
    pub credentials: Vec<PathBuf>,
    /// Addresses that answered.
    pub answering: Vec<Ipv4Addr>,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

impl Found {
    /// The interface of that name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// Whether a path names the DRBD device: itself, or one of its links in `/dev/drbd`.
    pub(super) fn is_device(&self, path: &Path, device: &Path, resource: &str) -> bool {
        let by_resource = Path::new("/dev/drbd/by-res").join(resource);
        path == device || path == by_resource || path.starts_with(&by_resource)
    }
}
