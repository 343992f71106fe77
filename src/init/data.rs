//! The data: mount point, file system, and the server on it.

use std::path::{Path, PathBuf};

use super::found::from_pacemaker;
use super::resource::Pair;
use super::{ANSWERED, Answers, Chosen, Found, Missing, Stop, Topic, Unit, only, shown};
use crate::failure::Failure;

/// Where the data file system goes.
pub(super) struct Mount {
    pub(super) directory: Chosen<PathBuf>,
    pub(super) filesystem: Chosen<String>,
    pub(super) options: Option<Chosen<Vec<String>>>,
}

/// What the configuration says of mysqld.
pub(super) struct Server {
    pub(super) unit: Chosen<String>,
    pub(super) datadir: Option<Chosen<PathBuf>>,
    pub(super) socket: Chosen<PathBuf>,
    pub(super) port: Option<Chosen<u16>>,
    pub(super) error_log: Option<Chosen<PathBuf>>,
    pub(super) read_only: Option<Chosen<bool>>,
}

/// A source that names mount point, type and options, each of which may be absent.
struct Source {
    directory: Option<PathBuf>,
    filesystem: Option<String>,
    options: Vec<String>,
    from: String,
}

/// The service; `None` when a question was asked.
pub(super) fn unit<'a>(
    found: &'a Found,
    answers: &Answers,
    missing: &mut Missing,
) -> Result<Option<&'a Unit>, Stop> {
    let impossible = |seen: String, next: &str| {
        let why = "a takeover starts the server through its unit";
        Stop::Impossible(Box::new(Failure::failed(seen, why, next)))
    };
    if found.units.is_empty() {
        let seen = "no systemd service of this machine runs mysqld or mariadbd".to_owned();
        return Err(impossible(
            seen,
            "install the server, or write mysqld.command by hand: docs/configuration.md",
        ));
    }
    if let Some(name) = &answers.unit {
        let full = if name.ends_with(".service") { name.clone() } else { format!("{name}.service") };
        let unit = found.units.iter().find(|unit| unit.name == full);
        let names: Vec<&str> = found.units.iter().map(|unit| unit.name.as_str()).collect();
        let seen =
            || format!("{full} is no service that runs mysqld or mariadbd; these do: {}", names.join(", "));
        return unit.map(Some).ok_or_else(|| impossible(seen(), "name one of them: --unit NAME"));
    }
    Ok(match found.units.as_slice() {
        [unit] => Some(unit),
        units => {
            let candidates =
                units.iter().map(|unit| Chosen::new(unit.name.clone(), unit.file.display().to_string()));
            let cause = format!("{} services run one", units.len());
            missing.ask(Topic::Unit, "the systemd service of the server", cause, candidates.collect())
        }
    })
}

/// Mount point and file system; `None` when a question was asked.
pub(super) fn mount(
    found: &Found,
    answers: &Answers,
    pair: &Pair<'_>,
    device: &Chosen<PathBuf>,
    unit: Option<&Unit>,
    missing: &mut Missing,
) -> Option<Mount> {
    let sources = sources(found, pair, &device.value);
    let directory = directory(answers, &sources, unit, missing);
    let filesystem = filesystem(found, answers, &sources, &device.value, missing);
    let options = sources.iter().find(|source| !source.options.is_empty());
    Some(Mount {
        directory: directory?,
        filesystem: filesystem?,
        options: options.map(|source| Chosen::new(source.options.clone(), source.from.clone())),
    })
}

/// Heartbeat's and Pacemaker's Filesystem resources, fstab, and what is mounted now, in this order.
fn sources(found: &Found, pair: &Pair<'_>, device: &Path) -> Vec<Source> {
    let resource = &pair.resource.value;
    let is_device = |path: &str| found.is_device(Path::new(path), device, resource);
    let of_heartbeat = found.managers.haresources.iter().flat_map(|file| file.all("Filesystem"));
    let of_heartbeat = of_heartbeat.filter_map(|(group, resource)| {
        let argument = |number: usize| resource.arguments.get(number).filter(|text| !text.is_empty());
        Some(Source {
            directory: argument(0).filter(|path| is_device(path)).and(argument(1)).map(PathBuf::from),
            filesystem: argument(2).cloned(),
            options: argument(3).map(|text| mount_options(text.split(','))).unwrap_or_default(),
            from: format!("{}: Filesystem", group.place),
        })
        .filter(|source| source.directory.is_some())
    });
    let of_pacemaker = found.managers.primitives(&["Filesystem"]).filter_map(|primitive| {
        let parameter = |name: &str| primitive.parameters.get(name);
        parameter("device").filter(|device| is_device(device))?;
        Some(Source {
            directory: parameter("directory").map(PathBuf::from),
            filesystem: parameter("fstype").cloned(),
            options: Vec::new(),
            from: from_pacemaker(primitive),
        })
    });
    let of_fstab = found.fstab.iter().filter(|entry| is_device(&entry.device)).map(|entry| Source {
        directory: Path::new(&entry.directory).is_absolute().then(|| PathBuf::from(&entry.directory)),
        filesystem: Some(entry.filesystem.clone()).filter(|name| name != "auto"),
        options: mount_options(entry.options.iter().map(String::as_str)),
        from: format!("/etc/fstab:{}", entry.line),
    });
    let mounted = found.mounts.iter().filter(|mount| mount.device == device).map(|mount| Source {
        directory: Some(mount.directory.clone()),
        filesystem: Some(mount.filesystem.clone()),
        options: Vec::new(),
        from: "mounted now".to_owned(),
    });
    of_heartbeat.chain(of_pacemaker).chain(of_fstab).chain(mounted).collect()
}

/// Without what is for fstab's readers only, what is a default, and what would keep mysqld from writing.
fn mount_options<'a>(options: impl Iterator<Item = &'a str>) -> Vec<String> {
    const NOT_FOR_MOUNT: [&str; 12] = [
        "auto", "noauto", "defaults", "nofail", "_netdev", "owner", "group", "user", "users", "nouser", "rw",
        "ro",
    ];
    options
        .filter(|option| !option.is_empty() && !NOT_FOR_MOUNT.contains(option))
        .filter(|option| !option.starts_with("x-") && !option.starts_with("comment="))
        .map(str::to_owned)
        .collect()
}

fn directory(
    answers: &Answers,
    sources: &[Source],
    unit: Option<&Unit>,
    missing: &mut Missing,
) -> Option<Chosen<PathBuf>> {
    if let Some(directory) = &answers.directory {
        return Some(Chosen::new(directory.clone(), ANSWERED));
    }
    let named = |source: &Source| Some(Chosen::new(source.directory.clone()?, source.from.clone()));
    let candidates: Vec<_> = sources.iter().filter_map(named).collect();
    let none = candidates.is_empty();
    only(candidates).map_or_else(
        |candidates| {
            // Nothing mounts it yet: then the data directory is a whole file system, as the servers' packages have it.
            if none && let Some((datadir, from)) = unit.and_then(|unit| path_option(unit, "datadir")) {
                return Some(Chosen::new(datadir, format!("the data directory: {from}")));
            }
            // Which server it is was asked already; its data directory may tell.
            if none && unit.is_none() {
                return None;
            }
            let cause = match candidates.len() {
                0 => "neither haresources, fstab nor the server's data directory tells it".to_owned(),
                count => format!("there are {count} to choose from"),
            };
            let candidates =
                candidates.into_iter().map(|candidate| candidate.map(|path| path.display().to_string()));
            missing.ask(Topic::Directory, "the mount point of the data", cause, shown(candidates.collect()))
        },
        Some,
    )
}

fn filesystem(
    found: &Found,
    answers: &Answers,
    sources: &[Source],
    device: &Path,
    missing: &mut Missing,
) -> Option<Chosen<String>> {
    if let Some(filesystem) = &answers.filesystem {
        return Some(Chosen::new(filesystem.clone(), ANSWERED));
    }
    // What is on the disk is the truth; what files say may be old.
    if let Some((filesystem, from)) = found.filesystems.get(device) {
        return Some(Chosen::new(filesystem.clone(), from.clone()));
    }
    let named = |source: &Source| Some(Chosen::new(source.filesystem.clone()?, source.from.clone()));
    only(sources.iter().filter_map(named).collect()).map_or_else(
        |candidates| {
            let cause = match candidates.len() {
                0 => format!("{} could not be looked at, and no file names it", device.display()),
                count => format!("there are {count} to choose from"),
            };
            missing.ask(Topic::Filesystem, "the data's file system type, ext4 or xfs, say", cause, candidates)
        },
        Some,
    )
}

/// A path that an option names. A relative one is below the data directory.
fn path_option(unit: &Unit, name: &str) -> Option<(PathBuf, String)> {
    let (setting, from) = unit.option(name)?;
    let value = setting.value.filter(|value| !value.is_empty())?;
    let path = Path::new(&value);
    if path.is_absolute() {
        return Some((path.components().collect(), from));
    }
    let (datadir, _) = unit.option("datadir")?;
    let datadir = datadir.value.filter(|datadir| Path::new(datadir).is_absolute())?;
    // Removes a `./` as well.
    let path = Path::new(&datadir).join(path);
    Some((path.components().collect(), from))
}

/// What the configuration says of the server; `None` when a question was asked.
pub(super) fn server(
    answers: &Answers,
    unit: &Unit,
    mount: Option<&Mount>,
    missing: &mut Missing,
) -> Option<Server> {
    let socket = match (&answers.socket, path_option(unit, "socket")) {
        (Some(socket), _) => Chosen::new(socket.clone(), ANSWERED),
        (None, Some((socket, from))) => Chosen::new(socket, from),
        (None, None) => {
            let cause = "no option file names it, and the server could not be asked";
            return missing.ask(Topic::Socket, "the server's Unix socket", cause, vec![]);
        }
    };
    let chosen = |name: &str| path_option(unit, name).map(|(path, from)| Chosen::new(path, from));
    let directory = mount.map(|mount| &mount.directory.value);
    let port =
        unit.option("port").and_then(|(setting, from)| Some(Chosen::new(setting.text().parse().ok()?, from)));
    let read_only = unit.option("read_only");
    let read_only = read_only.map(|(setting, from)| Chosen::new(setting.boolean().unwrap_or(false), from));
    Some(Server {
        unit: Chosen::new(unit.name.clone(), unit.file.display().to_string()),
        datadir: chosen("datadir").filter(|datadir| Some(&datadir.value) != directory),
        socket,
        port: port.filter(|port| port.value != 3306),
        error_log: chosen("log_error"),
        read_only: read_only.filter(|read_only| read_only.value),
    })
}

/// The cluster's own option file, when it is there already.
pub(super) fn credentials(found: &Found, answers: &Answers, cluster: &str) -> Option<Chosen<PathBuf>> {
    if let Some(file) = &answers.credentials {
        return Some(Chosen::new(file.clone(), ANSWERED));
    }
    let name = format!("{cluster}.cnf");
    let own = found.credentials.iter().find(|path| path.file_name().is_some_and(|file| *file == *name));
    own.map(|path| Chosen::new(path.clone(), "it is there, and nobody else can read it"))
}
