//! File systems: fstab, names of the device, the mount point, room, and who could hold the device open.

use std::fs;
use std::path::{Path, PathBuf};

use super::mysqld::is_mounted;
use super::paths::{self, Question};
use crate::config::Config;
use crate::doctor::survey::{
    FilesystemSupport, Lvm, MountPoint, NamedRoom, RoomCheck, StorageSurvey, UnitSurvey,
};
use crate::foreign::fstab;
use crate::journal;
use crate::observation::Fact;

pub(super) fn look(config: &Config, unit: &UnitSurvey) -> StorageSurvey {
    let mounted = is_mounted(config);
    StorageSurvey {
        fstab: fs::read_to_string("/etc/fstab")
            .map(|text| fstab::parse(&text))
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(Vec::new()),
                _ => Err(format!("/etc/fstab can't be read: {error}")),
            })
            .into(),
        device_names: device_names(&config.mount.device),
        tags_unknown: None,
        mount_point: (!mounted).then(|| mount_point(&config.mount.directory)),
        filesystem_support: filesystem_support(&config.mount.filesystem),
        rooms: rooms(config, mounted),
        multipath_ignores_drbd: unit
            .unit("multipathd.service")
            .is_some_and(crate::doctor::survey::Unit::is_active)
            .then(multipath_ignores_drbd),
        lvm: lvm(),
    }
}

/// What fstab may call a device: every link below /dev that leads to it, and the tags that udev made links of.
fn device_names(device: &Path) -> Vec<String> {
    let real = fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
    let mut names = vec![device.to_string_lossy().into_owned(), real.to_string_lossy().into_owned()];
    let mut directories = vec![(PathBuf::from("/dev/disk"), 0), (PathBuf::from("/dev/drbd"), 0)];
    while let Some((directory, depth)) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type();
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) && depth < 3 {
                directories.push((path, depth + 1));
            } else if kind.is_ok_and(|kind| kind.is_symlink())
                && fs::canonicalize(&path).is_ok_and(|path| path == real)
            {
                names.push(path.to_string_lossy().into_owned());
                names.extend(tag(&directory, &entry.file_name().to_string_lossy()));
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// `/dev/disk/by-uuid/X` is `UUID=X` in fstab.
fn tag(directory: &Path, name: &str) -> Option<String> {
    let tag = match directory.file_name()?.to_str()? {
        "by-uuid" => "UUID",
        "by-label" => "LABEL",
        "by-partuuid" => "PARTUUID",
        "by-partlabel" => "PARTLABEL",
        _ => return None,
    };
    Some(format!("{tag}={name}"))
}

fn mount_point(directory: &Path) -> MountPoint {
    let question = Question {
        paths: vec![directory.to_owned()],
        directory: Some(directory.to_owned()),
        ..Question::default()
    };
    match paths::ask(&question) {
        Ok(mut answer) => {
            let path =
                answer.paths.pop().unwrap_or_else(|| paths::unseen(directory, Err("no answer".to_owned())));
            MountPoint { path, entries: answer.names }
        }
        Err(cause) => MountPoint { path: paths::unseen(directory, Err(cause)), entries: Vec::new() },
    }
}

fn filesystem_support(kind: &str) -> FilesystemSupport {
    let ready = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if ready.lines().any(|line| line.split_whitespace().last() == Some(kind)) {
        return FilesystemSupport::Ready;
    }
    let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
    let modules = Path::new("/lib/modules").join(release.unwrap_or_default());
    let index = ["modules.dep", "modules.builtin"].map(|file| fs::read_to_string(modules.join(file)));
    if index.iter().all(Result::is_err) {
        return FilesystemSupport::Unknown;
    }
    let module = format!("/{kind}.ko");
    let has = index
        .iter()
        .flatten()
        .any(|text| text.lines().any(|line| line.split(':').next().is_some_and(|m| m.contains(&module))));
    if has { FilesystemSupport::Module } else { FilesystemSupport::Missing }
}

fn rooms(config: &Config, mounted: bool) -> Vec<NamedRoom> {
    let mut places = Vec::new();
    if mounted {
        places.push((RoomCheck::Data, config.mount.directory.clone()));
    }
    let log = config.mysqld.error_log.as_deref().and_then(Path::parent);
    if let Some(log) = log.filter(|log| !log.starts_with(&config.mount.directory)) {
        places.push((RoomCheck::Log, log.to_owned()));
    }
    let state = journal::path(&config.name);
    places.push((RoomCheck::State, state.parent().unwrap_or(Path::new("/var/lib")).to_owned()));
    places.push((RoomCheck::Run, "/run".into()));
    let question =
        Question { rooms: places.iter().map(|(_, path)| path.clone()).collect(), ..Question::default() };
    let answer = paths::ask(&question);
    let room = |index: usize| match &answer {
        Ok(answer) => answer.rooms.get(index).cloned().unwrap_or_else(|| Err("no answer".to_owned())),
        Err(cause) => Err(cause.clone()),
    };
    let named = places.into_iter().enumerate();
    named.map(|(index, (check, path))| NamedRoom { check, path, room: room(index).into() }).collect()
}

fn multipath_ignores_drbd() -> bool {
    let mut files = vec![PathBuf::from("/etc/multipath.conf")];
    let more = fs::read_dir("/etc/multipath/conf.d").into_iter().flatten().flatten();
    files.extend(more.map(|entry| entry.path()));
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).any(|text| {
        text.lines().map(str::trim).any(|line| !line.starts_with(['#', '!']) && line.contains("drbd"))
    })
}

fn lvm() -> Option<Fact<Lvm>> {
    if !["/usr/sbin/lvm", "/sbin/lvm", "/usr/bin/lvm"].iter().any(|program| Path::new(program).exists()) {
        return None;
    }
    Some(match fs::read_to_string("/etc/lvm/lvm.conf") {
        Ok(text) => Fact::Known(Lvm { devices_file: uses_devices_file(&text), ..parse_lvm(&text) }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Fact::Known(Lvm { devices_file: uses_devices_file(""), ..Lvm::default() })
        }
        Err(error) => Fact::Unknown(format!("/etc/lvm/lvm.conf can't be read: {error}")),
    })
}

/// LVM uses the file when it is there, unless its configuration says otherwise.
fn uses_devices_file(text: &str) -> bool {
    let refused = text.lines().map(str::trim).any(|line| {
        line.strip_prefix("use_devicesfile")
            .is_some_and(|rest| rest.trim().trim_start_matches('=').trim().starts_with('0'))
    });
    !refused && Path::new("/etc/lvm/devices/system.devices").exists()
}

fn parse_lvm(text: &str) -> Lvm {
    let mut lvm = Lvm::default();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let is =
            |name: &str| trimmed.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='));
        if is("filter") || is("global_filter") {
            lvm.filters.push((index + 1, line.to_owned()));
        }
        if lvm.devices_section.is_none()
            && trimmed.strip_prefix("devices").is_some_and(|rest| rest.trim_start().starts_with('{'))
        {
            lvm.devices_section = Some(index + 1);
        }
    }
    lvm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lvm_s_filters_are_found_and_comments_are_not() {
        let text = "# filter = [ \"a\" ]\ndevices {\n\tfilter = [ \"a|.*|\" ]\n\tfilter_x = 1\n\tglobal_filter=[ \"r|x|\" ]\n}\n";
        let lvm = parse_lvm(text);
        assert_eq!(lvm.devices_section, Some(2));
        assert_eq!(lvm.filters.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn the_kernel_s_own_file_systems_are_known() {
        assert_eq!(filesystem_support("tmpfs"), FilesystemSupport::Ready);
        assert_ne!(filesystem_support("no-such-fs"), FilesystemSupport::Ready);
    }

    #[test]
    fn links_of_udev_are_tags_of_fstab() {
        assert_eq!(tag(Path::new("/dev/disk/by-uuid"), "12-34"), Some("UUID=12-34".to_owned()));
        assert_eq!(tag(Path::new("/dev/drbd/by-res"), "r0"), None);
        assert!(device_names(Path::new("/dev/no-such-device")).contains(&"/dev/no-such-device".to_owned()));
    }
}
