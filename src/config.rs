//! One YAML file per cluster → [`Config`]. Every value is checked once, here.
//!
//! [`load`] finds and reads the file of a cluster, [`parse`] checks its text. What is wrong comes back all at once as
//! [`ConfigErrors`], each error with its line and a caret under the wrong token.
//!
//! | module | what it does |
//! | --- | --- |
//! | `file` | name or path → text |
//! | `place` | where each key and value stands |
//! | `reader` | walks the YAML value, collecting errors |
//! | `sections` | each value by itself: type, range, form |
//! | `agent` | the same for the agent's section |
//! | `check` | the values against each other and against this host |
//! | `error` | draws an error under its token |

mod agent;
mod check;
mod error;
mod file;
mod host;
mod place;
mod reader;
mod sections;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Serialize;
use serde_yaml::Value;

pub use self::agent::{AgentConfig, AutomaticTakeover, PORT as AGENT_PORT};
pub use self::error::{ConfigError, ConfigErrors};
pub use self::file::{DIRECTORY_VARIABLE, directory};
pub use self::host::{HOST_VARIABLE, Host};
pub use self::place::Place;
use self::place::{Places, Source};
use self::reader::Reader;
use crate::plan::{HeartbeatStop, MysqldControl};

/// The configuration that `selector` names: a cluster's NAME, whose file is `/etc/standin/NAME.yaml`; a PATH, which
/// contains a `/` or ends in `.yaml` or `.yml`; or, without one, the only cluster in `/etc/standin`.
/// `STANDIN_CONFIG_DIR` in the environment stands in for `/etc/standin`.
///
/// # Errors
/// No such file, none or several to choose from, unreadable, larger than 64 KiB, not UTF-8, or whatever [`parse`] finds.
pub fn load(selector: Option<&str>, host: &Host) -> Result<Config, ConfigErrors> {
    let file = file::select(selector, &file::directory())?;
    parse(&file::read(&file)?, &file, host)
}

/// The name of the cluster that `selector` names as in [`load`], whether or not its file is there and can be read.
///
/// # Errors
/// None or several to choose from, or a file that is not named like a cluster's.
pub fn name(selector: Option<&str>) -> Result<String, ConfigErrors> {
    let file = match selector {
        Some(name_or_path) => name_or_path.into(),
        None => file::select(None, &file::directory())?,
    };
    Ok(file::cluster_name(&file)?)
}

/// The configuration of the cluster on a DRBD resource: the one that `selector` names as in [`load`], or else the only one
/// in the directory with that resource. Broken files of other clusters are not in the way.
///
/// # Errors
/// As [`load`]; and none or several with that resource.
pub fn load_for_resource(
    resource: &str,
    selector: Option<&str>,
    host: &Host,
) -> Result<Config, ConfigErrors> {
    let directory = file::directory();
    if selector.is_some() {
        let config = parse_file(&file::select(selector, &directory)?, host)?;
        return file::the_one_with(resource, vec![Ok(config)], &directory);
    }
    let read = file::all(&directory).iter().map(|file| parse_file(file, host)).collect();
    file::the_one_with(resource, read, &directory)
}

fn parse_file(path: &Path, host: &Host) -> Result<Config, ConfigErrors> {
    parse(&file::read(path)?, path, host)
}

/// The configuration that `text` holds; `file` names it in errors and names the cluster.
///
/// # Errors
/// Everything that is wrong: the syntax alone when it is not YAML, otherwise unknown and missing keys, wrong types and
/// ranges, and contradictions between the values and with `host`.
pub fn parse(text: &str, file: &Path, host: &Host) -> Result<Config, ConfigErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(file, text);
    let places = Places::of(text);
    let value = well_formed(text, &source, &places)?;
    let reader = Reader::new(&source, &places);
    let name = file::cluster_name(file);
    let config = read(&reader, &value, file, host);
    let mut errors = reader.into_errors();
    let name = name.map_err(|error| errors.push(error)).unwrap_or_default();
    match config {
        Some(config) if errors.is_empty() => Ok(Config { name, ..config }),
        _ => Err(ConfigErrors::new(errors)),
    }
}

/// The YAML value, with merge keys resolved.
fn well_formed(text: &str, source: &Source, places: &Places) -> Result<Value, ConfigErrors> {
    let at = |place, message: String, help: &str| ConfigError::at(source, place, message, help);
    // serde_yaml stops at the first one and does not say where it is.
    let twice: Vec<ConfigError> = places
        .duplicates
        .iter()
        .map(|duplicate| {
            let message = format!(
                "`{}` stands twice: first on line {}, column {}",
                duplicate.path, duplicate.first.line, duplicate.first.column
            );
            at(duplicate.second, message, "remove one of the two")
        })
        .collect();
    if !twice.is_empty() {
        return Err(ConfigErrors::new(twice));
    }
    if let Some(place) = places.second_document {
        let message = "a second document begins here".to_owned();
        return Err(at(place, message, "move it to a file of its own: each cluster has one").into());
    }
    let mut value: Value = serde_yaml::from_str(text).map_err(|error| syntax(&error, text, source))?;
    value.apply_merge().map_err(|error| syntax(&error, text, source))?;
    if value.is_null() {
        let help = "describe the cluster, starting from the example in docs/configuration.md";
        return Err(at(source.end(), "the configuration is empty".to_owned(), help).into());
    }
    Ok(value)
}

fn syntax(error: &serde_yaml::Error, text: &str, source: &Source) -> ConfigErrors {
    let Problem { what, begin } = Problem::of(&error.to_string());
    let mut place = error.location().map(|location| Source::at_byte(text, location.index()));
    if what.starts_with("found unexpected end of stream") {
        // A quote that is never closed: its beginning tells more than the end of the file.
        place = begin.or(place);
    }
    let place = source.clamp(place.unwrap_or(Place { line: 1, column: 1, length: 1 }));
    let line = source.line(place.line);
    let indentation = &line[..line.len() - line.trim_start().len()];
    let tab = indentation.find('\t').map(|offset| indentation[..offset].chars().count() + 1);
    if let Some(column) = tab {
        let place = Place { column, length: 1, ..place };
        let message = "a tab in the indentation, which YAML does not allow";
        return ConfigError::at(source, place, message, "indent with spaces").into();
    }
    let help = match begin {
        Some(begin) if begin < place => format!(
            "check quotes, colons, brackets and indentation from line {}, column {} to here",
            begin.line, begin.column
        ),
        _ => "check quotes, colons, brackets and indentation, here and on the line before".to_owned(),
    };
    ConfigError::at(source, place, format!("not valid YAML: {what}"), help).into()
}

/// libyaml's message taken apart: "WHAT at PLACE, while DOING at BEGIN".
struct Problem {
    what: String,
    begin: Option<Place>,
}

impl Problem {
    fn of(message: &str) -> Self {
        let (what, rest) = message.split_once(" at line ").unwrap_or((message, ""));
        let doing = rest.split_once(", while ").and_then(|(_, doing)| doing.split_once(" at line "));
        let Some((doing, begin)) = doing else { return Self { what: what.to_owned(), begin: None } };
        let numbers = begin.split_once(" column ");
        let begin = numbers.and_then(|(line, column)| {
            Some(Place { line: line.parse().ok()?, column: column.parse().ok()?, length: 1 })
        });
        Self { what: format!("{what} while {doing}"), begin }
    }
}

/// Reads everything that can be read, so that all errors are found; `None` only after an error. The name is left empty.
fn read(reader: &Reader<'_>, value: &Value, file: &Path, host: &Host) -> Option<Config> {
    let root = reader.root(value)?;
    let nodes = sections::nodes(&root);
    let vip = sections::vip(&root);
    let resource = sections::resource(&root);
    let mount = sections::mount(&root);
    let mysqld = sections::mysqld(&root, mount.as_ref(), host);
    let cluster_manager = sections::cluster_manager(&root);
    let fence = sections::fence(&root);
    let witnesses = sections::witnesses(&root);
    let limits = sections::limits(&root);
    let refuse_myisam_above_percent = sections::refuse_myisam_above_percent(&root);
    let agent = agent::agent(&root, cluster_manager);

    let addresses = nodes.as_ref().map_or(&[][..], |nodes| &nodes.read);
    if let Some(nodes) = &nodes {
        check::this_host(&root, nodes, host);
        check::nodes(&root, nodes);
    }
    if let Some(vip) = &vip {
        check::vip(&root, vip, addresses, host, &limits);
    }
    if let Some(mysqld) = &mysqld {
        check::mysqld(&root, mysqld, mount.as_ref());
    }
    check::witnesses(&root, &witnesses, addresses, vip.as_ref());
    agent::agrees(&root, &agent, &limits);
    root.finish();

    let mut nodes = nodes?.read;
    let this_node = nodes.remove(nodes.iter().position(|node| node.name == host.name)?);
    Some(Config {
        name: String::new(),
        file: file.to_owned(),
        this_node,
        peer: nodes.pop()?,
        vip: vip?,
        resource: resource?,
        mount: mount?,
        mysqld: mysqld?,
        cluster_manager,
        fence,
        witnesses,
        limits,
        refuse_myisam_above_percent,
        agent,
    })
}

/// A checked configuration, seen from this host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The cluster's name: the file's name without `.yaml`.
    pub name: String,
    /// Where it was read.
    pub file: PathBuf,
    /// This host.
    pub this_node: NodeConfig,
    /// The other one.
    pub peer: NodeConfig,
    /// The virtual IP.
    pub vip: VipConfig,
    /// The DRBD resource's name.
    pub resource: String,
    /// The data file system.
    pub mount: MountConfig,
    /// The database server.
    pub mysqld: MysqldConfig,
    /// Who decides about failover on these nodes.
    pub cluster_manager: ClusterManager,
    /// The fence command, whose exit 0 confirms that the peer is off; `{peer}` stands for the peer's name.
    pub fence: Option<Vec<String>>,
    /// Addresses of which at least one must answer for us to be sure that it is not we who are cut off.
    pub witnesses: Vec<Ipv4Addr>,
    /// Time limits.
    pub limits: Limits,
    /// Refuse a takeover when more than this share of the data is MyISAM, in percent, by bytes or by tables.
    pub refuse_myisam_above_percent: u8,
    /// What the agent does by itself.
    pub agent: AgentConfig,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeConfig {
    /// Its host name, as `uname -n` prints it.
    pub name: String,
    /// Its own address on the clients' network.
    pub address: Ipv4Addr,
    /// Its address on the replication network; the same as `address` when there is only one network.
    pub replication_address: Ipv4Addr,
}

/// The virtual IP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VipConfig {
    /// Address and prefix length.
    pub address: Ipv4Net,
    /// The interface that carries it.
    pub interface: String,
    /// Misses in a row, of ICMP echo and ARP, that count as gone.
    pub misses: u32,
    /// Time between two probes.
    pub interval: Duration,
}

/// The data file system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MountConfig {
    /// The DRBD block device.
    pub device: PathBuf,
    /// Mount point.
    pub directory: PathBuf,
    /// File system type.
    pub filesystem: String,
    /// Mount options as in fstab.
    pub options: Vec<String>,
}

/// The database server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MysqldConfig {
    /// Unit or command.
    pub control: MysqldControl,
    /// Data directory.
    pub datadir: PathBuf,
    /// Unix socket.
    pub socket: PathBuf,
    /// TCP port on the VIP.
    pub port: u16,
    /// Error log, followed during crash recovery and shutdown.
    pub error_log: Option<PathBuf>,
    /// An option file with `[client]` user and password, mode 0600; without it only the handshake is verified.
    pub credentials: Option<PathBuf>,
    /// What `read_only` must be once active.
    pub read_only: bool,
    /// SIGKILL when an orderly shutdown does not end within its limit.
    pub kill_at_deadline: bool,
}

/// Who decides about failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterManager {
    /// Nobody but the person who types the command.
    None,
    /// Heartbeat, and how a takeover takes it out of the way; none: it is left alone.
    Heartbeat(Option<HeartbeatStop>),
    /// Pacemaker owns the resource: only its agent may act.
    Pacemaker,
    /// keepalived owns the VIP.
    Keepalived,
}

/// Time limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// How long a takeover waits for the VIP to drop and the peer to yield.
    pub wait_vip_gone: Duration,
    /// Stopping the cluster manager.
    pub stop_cluster_manager: Duration,
    /// The fence command.
    pub fence_peer: Duration,
    /// Each DRBD command.
    pub drbd: Duration,
    /// Mounting.
    pub mount: Duration,
    /// The offline scan for MyISAM.
    pub audit_engines: Duration,
    /// Starting mysqld; starts again whenever crash recovery is seen to move.
    pub start_mysqld: Duration,
    /// Adding or removing the VIP.
    pub vip: Duration,
    /// The query through the VIP.
    pub verify: Duration,
    /// Shutting mysqld down.
    pub stop_mysqld: Duration,
    /// Unmounting.
    pub unmount: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            wait_vip_gone: seconds(30),
            stop_cluster_manager: seconds(30),
            fence_peer: seconds(60),
            drbd: seconds(15),
            mount: seconds(60),
            audit_engines: seconds(60),
            start_mysqld: seconds(120),
            vip: seconds(10),
            verify: seconds(10),
            stop_mysqld: seconds(300),
            unmount: seconds(30),
        }
    }
}
