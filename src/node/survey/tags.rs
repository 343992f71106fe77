//! What fstab may call the device by what is on it. A Secondary's device can't be opened, so that udev has no links for it:
//! the disk below is read, which begins alike (internal meta-data is at its end).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;
use crate::doctor::survey::StorageSurvey;
use crate::foreign::drbd_conf::Resource;
use crate::foreign::fstab::Entry;
use crate::node::command;
use crate::observation::Fact;

/// A healthy disk answers blkid within milliseconds.
const BLKID_LIMIT: Duration = Duration::from_secs(3);

/// Adds the names. The disk is asked only when fstab has a tag that leads to no other device: a healthy node starts no process
/// for it.
pub(super) fn look(config: &Config, resource: &Fact<Resource>, storage: &mut StorageSurvey) {
    let Fact::Known(entries) = &storage.fstab else { return };
    let disk = disk(&config.this_node.name, &config.mount.device, resource);
    let real = disk.as_ref().ok().and_then(|disk| fs::canonicalize(disk).ok());
    let open = unresolved(entries, &storage.device_names, real.as_deref(), Path::new("/dev/disk"));
    let Some(first) = open.first() else { return };
    match disk.and_then(|disk| blkid(&disk)) {
        Ok(names) => storage.device_names.extend(names),
        Err(cause) => {
            storage.tags_unknown = Some(format!("/etc/fstab:{}: {}: {cause}", first.line, first.device));
        }
    }
}

/// The lines that are mounted by themselves, with a tag that is none of the device's names yet and leads to no other device. `disks` holds udev's links.
fn unresolved<'a>(
    entries: &'a [Entry],
    known: &[String],
    disk: Option<&Path>,
    disks: &Path,
) -> Vec<&'a Entry> {
    let leads_elsewhere = |device: &str| {
        link(disks, device)
            .and_then(|link| fs::canonicalize(link).ok())
            .is_some_and(|leads| Some(leads.as_path()) != disk)
    };
    entries
        .iter()
        .filter(|entry| {
            !entry.has("noauto") || entry.options.iter().any(|option| option.contains("automount"))
        })
        .filter(|entry| is_tag(&entry.device) && !known.contains(&entry.device))
        .filter(|entry| !leads_elsewhere(&entry.device))
        .collect()
}

fn is_tag(device: &str) -> bool {
    ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="].iter().any(|tag| device.starts_with(tag))
}

/// udev's link for a tag: none for a label with characters that udev encodes.
fn link(directory: &Path, device: &str) -> Option<PathBuf> {
    let (tag, name) = device.split_once('=')?;
    let directory = directory.join(format!("by-{}", tag.to_ascii_lowercase()));
    (!name.is_empty() && !name.contains('/')).then(|| directory.join(name))
}

/// The disk below `mount.device` on this node.
fn disk(node: &str, mounted: &Path, resource: &Fact<Resource>) -> Result<PathBuf, String> {
    let resource = match resource {
        Fact::Known(resource) => resource,
        Fact::Unknown(cause) => return Err(cause.clone()),
    };
    let host = resource.host(node);
    let volumes = host.map(|host| host.volumes.as_slice()).unwrap_or_default();
    let device = fs::canonicalize(mounted).unwrap_or_else(|_| mounted.to_owned());
    let ours = volumes.iter().find(|volume| {
        let by_minor = || volume.minor.map(|minor| PathBuf::from(format!("/dev/drbd{minor}")));
        volume.device.clone().or_else(by_minor).is_some_and(|own| own == device || own == mounted)
    });
    ours.or(volumes.first())
        .and_then(|volume| volume.disk.clone())
        .ok_or_else(|| format!("DRBD's files name no disk below {}", mounted.display()))
}

fn blkid(disk: &Path) -> Result<Vec<String>, String> {
    let disk = disk.to_string_lossy();
    // Without DRBD's own signature, which is at the end of such a disk.
    let command = ["blkid", "--probe", "--match-types", "nodrbd", "--output", "export", "--", &disk];
    let finished =
        command::run(&command.map(str::to_owned), BLKID_LIMIT).map_err(|error| error.to_string())?;
    match finished.code {
        // 2: nothing that it knows (blkid(8)).
        Some(0 | 2) => Ok(names(&finished.stdout)),
        _ => Err(finished.describe()),
    }
}

/// `UUID=…` and `LABEL=…` of what `blkid --output export` prints.
fn names(text: &str) -> Vec<String> {
    let tags = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "PART_ENTRY_UUID=", "PART_ENTRY_NAME="];
    text.lines()
        .filter(|line| tags.iter().any(|tag| line.starts_with(tag)))
        .map(|line| {
            line.replacen("PART_ENTRY_UUID", "PARTUUID", 1).replacen("PART_ENTRY_NAME", "PARTLABEL", 1)
        })
        // Characters that mean something to a shell stand behind a backslash.
        .map(|line| line.replace('\\', ""))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::foreign::drbd_conf::parse_dump;
    use crate::foreign::fstab;

    #[test]
    fn what_blkid_prints_is_what_fstab_says() {
        let text = "DEVNAME=/dev/ubdb\nLABEL=my\\ data\nUUID=12-34\nTYPE=ext4\nPART_ENTRY_UUID=ab\n";
        assert_eq!(names(text), ["LABEL=my data", "UUID=12-34", "PARTUUID=ab"]);
        assert!(is_tag("UUID=1") && !is_tag("/dev/sda1"));
        let found = link(Path::new("/dev/disk"), "PARTUUID=ab");
        assert_eq!(found, Some(PathBuf::from("/dev/disk/by-partuuid/ab")));
    }

    #[test]
    fn the_disk_below_is_known_from_drbds_files() {
        let dump =
            parse_dump(include_str!("../../../tests/captured/drbd-8.4/connected-primary-secondary/dump"))
                .unwrap();
        let resource = Fact::Known(dump.resource("r0").unwrap().clone());
        let found = disk("node1", Path::new("/dev/drbd0"), &resource);
        assert_eq!(found, Ok(PathBuf::from("/dev/ubdb")));
        assert!(disk("node7", Path::new("/dev/drbd0"), &resource).is_err());
    }

    #[test]
    fn only_a_tag_that_leads_nowhere_or_to_the_disk_is_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let links = directory.path().join("by-uuid");
        fs::create_dir(&links).unwrap();
        let files = ["root", "disk"].map(|name| directory.path().join(name));
        for file in &files {
            fs::write(file, []).unwrap();
            symlink(file, links.join(file.file_name().unwrap())).unwrap();
        }
        let real = fs::canonicalize(&files[1]).unwrap();
        let text = "UUID=root / ext4\nUUID=disk /a ext4\nUUID=gone /b ext4\nUUID=known /c ext4\n/dev/x /d ext4\nUUID=gone /e ext4 noauto\n";
        let entries = fstab::parse(text);
        let open = unresolved(&entries, &["UUID=known".to_owned()], Some(&real), directory.path());
        assert_eq!(open.iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 3]);
    }
}
