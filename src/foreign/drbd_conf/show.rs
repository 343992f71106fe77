//! `drbdsetup show RESOURCE`, also with `--show-defaults`: what the kernel runs.

use serde::{Deserialize, Serialize};

use super::{Malformed, Section, Settings, parse};

/// One resource as the kernel runs it. Values are DRBD's own: a `timeout` in tenths of seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Our address with the port; `None` while there is no connection.
    pub local: Option<String>,
    /// The peer's.
    pub remote: Option<String>,
    /// The minors of its volumes.
    pub minors: Vec<u32>,
    /// Network settings of the (only) connection. Empty while there is none, on 8.4 that is while StandAlone.
    pub net: Settings,
    /// Disk settings of its volumes, the later ones before the earlier.
    pub disk: Settings,
    /// Settings of the resource.
    pub options: Settings,
}

impl Running {
    /// The settings of a section that the kernel has: `net`, `disk`, `options`.
    pub fn section(&self, kind: &str) -> Option<&Settings> {
        Some(match kind {
            "net" => &self.net,
            "disk" => &self.disk,
            "options" => &self.options,
            _ => return None,
        })
    }
}

/// Reads what `drbdsetup show` prints, of 8.4 and of 9.
///
/// # Errors
/// It is cut off or not DRBD's language, or the resource is not in it.
pub fn parse_show(text: &str, resource: &str) -> Result<Running, Malformed> {
    let whole = parse(text)?;
    let section = whole
        .of_kind("resource")
        .find(|section| section.words.get(1).is_some_and(|name| name == resource))
        .ok_or_else(|| Malformed::NoSuchResource(resource.to_owned()))?;
    let mut running = Running {
        net: section.settings_of("net"),
        options: section.settings_of("options"),
        ..Running::default()
    };
    for host in section.of_kind("_this_host") {
        running.local = address(host).or(running.local);
        for volume in host.of_kind("volume") {
            let device =
                volume.statement("device").filter(|device| device.words.get(1).is_some_and(|w| w == "minor"));
            running.minors.extend(device.and_then(|device| device.words.get(2)?.parse::<u32>().ok()));
            running.disk.extend(volume.settings_of("disk"));
        }
    }
    for host in section.of_kind("_remote_host") {
        running.remote = address(host).or(running.remote);
    }
    for connection in section.of_kind("connection") {
        running.net.extend(connection.settings_of("net"));
        for path in connection.of_kind("path") {
            let end = |name| path.statement(name).and_then(|end| end.words.last().cloned());
            running.local = running.local.or_else(|| end("_this_host"));
            running.remote = running.remote.or_else(|| end("_remote_host"));
        }
        for volume in connection.of_kind("volume") {
            running.disk.extend(volume.settings_of("disk"));
        }
    }
    Ok(running)
}

fn address(host: &Section) -> Option<String> {
    host.statement("address").and_then(|address| address.words.last().cloned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EIGHT: &str =
        include_str!("../../../tests/captured/drbd-8.4/connected-primary-secondary/show-defaults");
    const STANDALONE: &str = include_str!("../../../tests/captured/drbd-8.4/standalone-outdated/show");
    // Layout of `show_or_get_gi_cmd` in `user/v9/drbdsetup.c` of drbd-utils.
    const NINE: &str = r#"
resource "r0" {
    options {
        auto-promote    	yes; # default
        quorum          	off; # default
    }
    _this_host {
        node-id			0;
        volume 0 {
            device			minor 3;
            disk			"/dev/vg/r0";
            meta-disk			internal;
            disk {
                on-io-error     	detach; # default
            }
        }
    }
    connection {
        _peer_node_id 1;
        path {
            _this_host ipv4 192.0.2.1:7789;
            _remote_host ipv4 192.0.2.2:7789;
        }
        net {
            fencing         	resource-and-stonith;
            ping-int        	10; # seconds, default
            _name           	"beta";
        }
        volume 0 {
            disk {
                resync-rate     	250k; # bytes/second, default
            }
        }
    }
}
"#;

    fn get<'a>(settings: &'a Settings, name: &str) -> &'a str {
        settings.get(name).map_or("absent", String::as_str)
    }

    #[test]
    fn what_an_8_4_kernel_runs_is_understood() {
        let running = parse_show(EIGHT, "r0").unwrap();
        assert_eq!(running.local.as_deref(), Some("10.77.1.1:7788"));
        assert_eq!(running.remote.as_deref(), Some("10.77.1.2:7788"));
        assert_eq!(running.minors, [0]);
        assert_eq!((get(&running.net, "timeout"), get(&running.net, "ping-int")), ("60", "10"));
        assert_eq!(
            (get(&running.disk, "fencing"), get(&running.disk, "resync-rate")),
            ("dont-care", "409600k")
        );
    }

    #[test]
    fn without_a_connection_there_are_no_addresses() {
        let running = parse_show(STANDALONE, "r0").unwrap();
        assert_eq!((running.local, running.remote, running.minors), (None, None, vec![0]));
    }

    #[test]
    fn what_a_9_kernel_runs_is_understood() {
        let running = parse_show(NINE, "r0").unwrap();
        assert_eq!(running.remote.as_deref(), Some("192.0.2.2:7789"));
        assert_eq!(
            (get(&running.net, "fencing"), get(&running.net, "ping-int")),
            ("resource-and-stonith", "10")
        );
        assert_eq!(
            (get(&running.options, "auto-promote"), get(&running.disk, "on-io-error")),
            ("yes", "detach")
        );
        assert_eq!((get(&running.disk, "resync-rate"), running.minors), ("250k", vec![3]));
    }

    #[test]
    fn another_resource_and_a_cut_off_listing_are_errors() {
        assert_eq!(parse_show(EIGHT, "r1"), Err(Malformed::NoSuchResource("r1".to_owned())));
        assert!(parse_show(&EIGHT[..EIGHT.len() - 2], "r0").is_err());
    }
}
