//! `drbdadm dump` (without a resource, so that the section `common` is in it): what the configuration files say.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Malformed, Section, Settings, parse};
use crate::foreign::Place;

/// All that the files say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Every resource, with what it inherits from `common`.
    pub resources: Vec<Resource>,
}

impl Configuration {
    /// The resource of that name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }
}

/// One resource. The settings hold what it says itself and, where it says nothing, what `common` says; defaults are not
/// in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub defined_at: Option<Place>,
    /// Its `on HOST` sections (and `floating`, whose host has no name).
    pub hosts: Vec<Host>,
    /// Network settings; those of a connection of its own beat those of the resource.
    pub net: Settings,
    /// Disk settings of the resource; a volume's own ones are with the volume.
    pub disk: Settings,
    /// Handlers.
    pub handlers: Settings,
    /// Settings of the resource itself (`options`).
    pub options: Settings,
    /// Settings of its start.
    pub startup: Settings,
}

impl Resource {
    /// The section of that host.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.names.iter().any(|own| own == name))
    }

    /// The settings of a section that has settings: `net`, `disk`, `handlers`, `options`, `startup`.
    pub fn section(&self, kind: &str) -> Option<&Settings> {
        Some(match kind {
            "net" => &self.net,
            "disk" => &self.disk,
            "handlers" => &self.handlers,
            "options" => &self.options,
            "startup" => &self.startup,
            _ => return None,
        })
    }
}

/// One host of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its names: usually one.
    pub names: Vec<String>,
    /// Its replication address with the port, such as `10.0.0.1:7788`; the first, when there are several paths.
    pub address: Option<String>,
    /// 9: its number.
    pub node_id: Option<u32>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

/// One volume on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its number: 0 for the only one.
    pub number: u32,
    /// The DRBD device.
    pub device: Option<PathBuf>,
    /// Its minor number.
    pub minor: Option<u32>,
    /// The disk below.
    pub disk: Option<PathBuf>,
    /// Where the meta-data is: `internal`, or a device.
    pub meta_disk: Option<String>,
    /// Disk settings of its own.
    pub disk_settings: Settings,
}

/// Reads what `drbdadm dump` prints.
///
/// # Errors
/// It is cut off or not DRBD's language.
pub fn parse_dump(text: &str) -> Result<Configuration, Malformed> {
    let whole = parse(text)?;
    let common: Vec<&Section> = whole.of_kind("common").collect();
    let resources = whole.of_kind("resource").map(|section| resource(section, &common)).collect();
    Ok(Configuration { resources })
}

fn resource(section: &Section, common: &[&Section]) -> Resource {
    let with_common = |kind: &str| {
        let mut settings: Settings = common.iter().flat_map(|common| common.settings_of(kind)).collect();
        settings.extend(section.settings_of(kind));
        settings
    };
    let mut net = with_common("net");
    let mut hosts: Vec<Host> = section.sections.iter().filter_map(|inner| host(section, inner)).collect();
    for connection in section.of_kind("connection").chain(section.of_kind("connection-mesh")) {
        net.extend(connection.settings_of("net"));
        addresses_of(connection, &mut hosts);
        connection.of_kind("path").for_each(|path| addresses_of(path, &mut hosts));
    }
    Resource {
        name: section.words.get(1).cloned().unwrap_or_default(),
        defined_at: section.defined_at.clone(),
        hosts,
        net,
        disk: with_common("disk"),
        handlers: with_common("handlers"),
        options: with_common("options"),
        startup: with_common("startup"),
    }
}

/// `on NAME… { … }` or `floating FAMILY ADDRESS { … }`.
fn host(resource: &Section, section: &Section) -> Option<Host> {
    let mut host = match section.kind() {
        "on" => Host { names: section.words.get(1..)?.to_vec(), ..Host::default() },
        "floating" => Host { address: section.words.last().cloned(), ..Host::default() },
        _ => return None,
    };
    if let Some(address) = section.statement("address") {
        host.address = address.words.last().cloned();
    }
    host.node_id = section.statement("node-id").and_then(|id| id.value().parse().ok());
    // In files the volumes may stand outside of the hosts; a dump has them inside.
    let volumes: Vec<Volume> = section.of_kind("volume").map(|inner| volume(inner, resource)).collect();
    host.volumes = if volumes.is_empty() && section.statement("device").is_some() {
        vec![volume(section, resource)]
    } else {
        volumes
    };
    Some(host)
}

fn volume(section: &Section, resource: &Section) -> Volume {
    let number =
        section.words.get(1).filter(|_| section.kind() == "volume").and_then(|word| word.parse().ok());
    let number = number.unwrap_or(0);
    let of_resource = resource
        .of_kind("volume")
        .filter(|outer| outer.words.get(1).and_then(|word| word.parse().ok()) == Some(number))
        .flat_map(|outer| outer.settings_of("disk"));
    let device = section.statement("device").map(|statement| statement.words.as_slice()).unwrap_or_default();
    let (device, minor) = match device {
        [_, minor_word, minor] if minor_word == "minor" => (None, minor.parse().ok()),
        [_, device, minor_word, minor] if minor_word == "minor" => (Some(device), minor.parse().ok()),
        [_, device] => (Some(device), None),
        _ => (None, None),
    };
    Volume {
        number,
        device: device.map(PathBuf::from),
        minor,
        disk: section.statement("disk").map(|disk| PathBuf::from(disk.value())),
        meta_disk: section.statement("meta-disk").map(super::Statement::value),
        disk_settings: of_resource.chain(section.settings_of("disk")).collect(),
    }
}

/// `host NAME [port N] [address FAMILY ADDRESS];` in a connection or a path of 9.
fn addresses_of(section: &Section, hosts: &mut [Host]) {
    for statement in section.statements.iter().filter(|statement| statement.name() == "host") {
        let Some(name) = statement.words.get(1) else { continue };
        let address = statement.words.iter().skip_while(|word| *word != "address").last();
        let host = hosts.iter_mut().find(|host| host.names.contains(name));
        if let (Some(host), Some(address)) = (host, address)
            && host.address.is_none()
        {
            host.address = Some(address.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    const EIGHT: &str = include_str!("../../../tests/captured/drbd-8.4/connected-primary-secondary/dump");
    const NINE: &str = r#"
# resource r0 on alpha: not ignored, not stacked
# defined at /etc/drbd.d/r0.res:1
resource r0 {
    on alpha {
        node-id 0;
        volume 0 {
            device       /dev/drbd0 minor 0;
            disk         /dev/vg/r0;
            meta-disk    internal;
            disk { on-io-error pass_on; }
        }
    }
    on beta {
        node-id 1;
        volume 0 {
            device       /dev/drbd0 minor 0;
            disk         /dev/vg/r0;
            meta-disk    internal;
        }
    }
    connection {
        host alpha address ipv4 192.0.2.1:7789;
        host beta address ipv4 192.0.2.2:7789;
        net { fencing resource-and-stonith; }
    }
    net { fencing dont-care; protocol C; }
    options { auto-promote no; quorum off; }
}
"#;

    fn get<'a>(settings: &'a Settings, name: &str) -> &'a str {
        settings.get(name).map_or("absent", String::as_str)
    }

    #[test]
    fn a_real_dump_of_8_4_is_understood() {
        let configuration = parse_dump(EIGHT).unwrap();
        let resource = configuration.resource("r0").unwrap();
        assert_eq!(resource.defined_at.as_ref().unwrap().to_string(), "/etc/drbd.d/r0.res:1");
        let host = resource.host("node2").unwrap();
        assert_eq!(host.address.as_deref(), Some("10.77.1.2:7788"));
        let volume = &host.volumes[0];
        assert_eq!(volume.device.as_deref(), Some(Path::new("/dev/drbd0")));
        assert_eq!((volume.minor, volume.disk.as_deref()), (Some(0), Some(Path::new("/dev/ubdb"))));
        assert_eq!(volume.meta_disk.as_deref(), Some("internal"));
        assert_eq!(get(&resource.net, "protocol"), "C");
        assert_eq!(get(&resource.disk, "fencing"), "resource-only");
        assert_eq!(configuration.resource("r1"), None);
    }

    #[test]
    fn a_resource_inherits_from_common_and_beats_it() {
        let configuration = parse_dump(EIGHT).unwrap();
        let resource = configuration.resource("r0").unwrap();
        assert_eq!((get(&resource.net, "ping-int"), get(&resource.disk, "on-io-error")), ("7", "pass_on"));
        assert_eq!(get(&resource.handlers, "fence-peer"), "/z");
        assert!(get(&resource.handlers, "split-brain").ends_with(" root"));
    }

    #[test]
    fn a_dump_of_9_is_understood() {
        let configuration = parse_dump(NINE).unwrap();
        let resource = configuration.resource("r0").unwrap();
        let host = resource.host("beta").unwrap();
        assert_eq!((host.node_id, host.address.as_deref()), (Some(1), Some("192.0.2.2:7789")));
        assert_eq!(get(&resource.net, "fencing"), "resource-and-stonith", "the connection's own");
        assert_eq!(get(&resource.options, "auto-promote"), "no");
        assert_eq!(get(&resource.hosts[0].volumes[0].disk_settings, "on-io-error"), "pass_on");
    }

    #[test]
    fn a_dump_that_is_cut_off_is_an_error() {
        let whole = EIGHT.trim_end();
        for length in [whole.len() - 1, whole.len() / 2] {
            assert!(parse_dump(&whole[..length]).is_err());
        }
        assert_eq!(parse_dump("").unwrap(), Configuration::default());
    }
}
