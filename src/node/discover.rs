//! One look at a machine that has no configuration of standin yet. Reads only; changes nothing.

mod managers;
mod network;
mod units;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command;
use super::drbd::parse_proc_drbd;
use super::filesystem::read_table;
use crate::config::{self, Host};
use crate::foreign::drbd_conf::{Configuration, parse_dump};
use crate::foreign::fstab;
use crate::init::{Found, Mounted};
use crate::observation::{DrbdGeneration, Fact};

/// A configuration file larger than this is something else, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// `drbdadm dump` reads files and starts nothing; a second is plenty, ten are for a machine that swaps.
const DRBDADM_LIMIT: Duration = Duration::from_secs(10);

/// A healthy disk answers blkid within milliseconds.
const BLKID_LIMIT: Duration = Duration::from_secs(5);

/// Looks at everything that a configuration is made of.
pub fn look(host: &Host) -> Found {
    let mut problems = Vec::new();
    let drbd = drbd();
    let managers = managers::look(&mut problems);
    let gateways = network::gateways();
    let pings = managers.ha_cf.iter().flat_map(|file| file.ping_addresses());
    let third: Vec<_> = gateways.iter().copied().chain(pings.map(|(address, _)| address)).collect();
    Found {
        filesystems: drbd
            .known()
            .map(|drbd| filesystems(drbd, &host.name, &mut problems))
            .unwrap_or_default(),
        drbd_version: drbd_version(),
        interfaces: network::interfaces(),
        answering: network::answering(&third),
        hosts: network::hosts(&read("/etc/hosts", &mut problems).unwrap_or_default()),
        fstab: read("/etc/fstab", &mut problems).map(|text| fstab::parse(&text)).unwrap_or_default(),
        mounts: mounts(&mut problems),
        units: units::look(&mut problems),
        credentials: credentials(),
        host: host.name.clone(),
        drbd,
        gateways,
        managers,
        problems,
    }
}

/// The text of a regular file; `None` when there is none.
fn read(file: &str, problems: &mut Vec<String>) -> Option<String> {
    let path = Path::new(file);
    // Opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).ok()?;
    let mut bytes = Vec::new();
    let result = match metadata.is_file() && metadata.len() <= LARGEST {
        true => File::open(path).and_then(|opened| opened.take(LARGEST).read_to_end(&mut bytes)).map(drop),
        false => Err(std::io::Error::other("it is not a regular file of at most 1 MiB")),
    };
    match result {
        Ok(()) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            problems.push(format!("{file} can't be read: {error}"));
            None
        }
    }
}

fn drbd() -> Fact<Configuration> {
    let command = ["drbdadm", "dump"].map(str::to_owned);
    let learn = || {
        let finished = command::run(&command, DRBDADM_LIMIT).map_err(|error| error.to_string())?;
        if !finished.succeeded() {
            return Err(finished.describe());
        }
        parse_dump(&finished.stdout).map_err(|error| format!("`drbdadm dump`: {error}"))
    };
    learn().into()
}

fn drbd_version() -> Option<u8> {
    let text = fs::read_to_string("/proc/drbd").ok()?;
    match parse_proc_drbd(&text).ok()?.generation {
        DrbdGeneration::Eight => Some(8),
        DrbdGeneration::Nine => Some(9),
        DrbdGeneration::NotLoaded => None,
    }
}

/// What blkid finds on this node's disks. The disk below is asked: a Secondary's own device can't be opened, and with
/// internal meta-data, which is at the end, both begin alike.
fn filesystems(
    configuration: &Configuration,
    host: &str,
    problems: &mut Vec<String>,
) -> BTreeMap<PathBuf, (String, String)> {
    let hosts = configuration.resources.iter().filter_map(|resource| resource.host(host));
    let mut found = BTreeMap::new();
    for volume in hosts.flat_map(|host| &host.volumes) {
        let by_minor = || volume.minor.map(|minor| PathBuf::from(format!("/dev/drbd{minor}")));
        let (Some(device), Some(disk)) = (volume.device.clone().or_else(by_minor), &volume.disk) else {
            continue;
        };
        match blkid(disk) {
            Ok(Some(filesystem)) => {
                found.insert(device, (filesystem, format!("blkid on {}", disk.display())));
            }
            Ok(None) => {}
            Err(cause) => problems.push(cause),
        }
    }
    found
}

fn blkid(disk: &Path) -> Result<Option<String>, String> {
    let disk = disk.to_string_lossy();
    // Without DRBD's own signature, which is at the end of such a disk.
    let command = [
        "blkid",
        "--probe",
        "--match-types",
        "nodrbd",
        "--match-tag",
        "TYPE",
        "--output",
        "value",
        "--",
        &disk,
    ];
    let finished =
        command::run(&command.map(str::to_owned), BLKID_LIMIT).map_err(|error| error.to_string())?;
    let name = finished.stdout.trim();
    match finished.code {
        Some(0) if !name.is_empty() => Ok(Some(name.to_owned())),
        // Nothing that it knows, or several signatures (blkid(8)).
        Some(0 | 2 | 8) => Ok(None),
        _ => Err(finished.describe()),
    }
}

fn mounts(problems: &mut Vec<String>) -> Vec<Mounted> {
    match read_table("self") {
        Ok(table) => table
            .into_iter()
            .filter(|mount| mount.root == Path::new("/"))
            .map(|mount| Mounted {
                device: mount.source.into(),
                directory: mount.mount_point,
                filesystem: mount.filesystem,
            })
            .collect(),
        Err(error) => {
            problems.push(error.to_string());
            Vec::new()
        }
    }
}

/// The option files beside the configurations that nobody but their owner may touch.
fn credentials() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(config::directory()) else { return Vec::new() };
    let private = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o077 == 0)
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "cnf") && private(path))
        .collect();
    files.sort();
    files
}
