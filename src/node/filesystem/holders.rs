//! Who holds a device or the file system on it, from `/proc` alone: nothing on the file system itself is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::device_number;
use super::mountinfo::{MountEntry, mount_of, read_table};

/// How a process holds a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Its working directory.
    WorkingDirectory,
    /// Its root directory.
    Root,
    /// A file that it has open, or the device itself.
    OpenFile,
    /// A file that it has mapped, such as the program that it runs.
    Mapped,
    /// Its mount namespace, which has the file system mounted apart from ours.
    MountNamespace,
}

impl fmt::Display for How {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            How::WorkingDirectory => "working directory",
            How::Root => "root directory",
            How::OpenFile => "open file",
            How::Mapped => "mapped file",
            How::MountNamespace => "its own mount namespace",
        })
    }
}

/// A process that keeps a file system or a device busy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Process id.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// How it holds it.
    pub how: How,
    /// The path by which it does.
    pub path: PathBuf,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (pid {}, {} {})", self.name, self.pid, self.how, self.path.display())
    }
}

/// The holders in one line; the first ten by name.
pub fn name_holders(holders: &[Holder]) -> String {
    const SHOWN: usize = 10;
    if holders.is_empty() {
        return "nobody that /proc shows".to_owned();
    }
    let names: Vec<String> = holders.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = holders.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Who holds a block device: users of the file system on it, whoever has the device itself open, and other mount
/// namespaces that have it mounted. Needs root to see everyone. Each process is named once for each way.
pub fn holders_of_device(device: &Path) -> Vec<Holder> {
    holders(device, true)
}

/// Who keeps the device's file system from being unmounted here. Other mount namespaces don't: systemd gives many daemons
/// one of their own, from which the mount goes together with ours, and whoever reads this must not kill them.
pub fn holders_of_mount(device: &Path) -> Vec<Holder> {
    holders(device, false)
}

fn holders(device: &Path, namespaces: bool) -> Vec<Holder> {
    let Ok(Some(number)) = device_number(device) else { return Vec::new() };
    let mut scan = Scan { number, namespaces, tables: BTreeMap::new(), holders: Vec::new() };
    let own = fs::read_link("/proc/self/ns/mnt").ok();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    for process in processes.flatten() {
        // A process that ends meanwhile holds nothing any more: what can't be read of it is passed over.
        if let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) {
            scan.process(pid, own.as_deref());
        }
    }
    // maps needs a lock of the process that it reads, which a process stuck on a dead disk may hold: only when nothing
    // else explains why the device is busy.
    if scan.holders.is_empty() {
        scan.mappings();
    }
    scan.holders.sort();
    scan.holders.dedup_by(|a, b| (a.pid, a.how) == (b.pid, b.how));
    scan.holders
}

struct Scan {
    number: (u64, u64),
    /// Whether another mount namespace counts as a holder.
    namespaces: bool,
    /// The mounts of each mount namespace, read once.
    tables: BTreeMap<PathBuf, Vec<MountEntry>>,
    holders: Vec<Holder>,
}

impl Scan {
    fn process(&mut self, pid: i32, own_namespace: Option<&Path>) {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let Ok(namespace) = fs::read_link(directory.join("ns/mnt")) else { return };
        if !self.tables.contains_key(&namespace) {
            let Ok(table) = read_table(&pid.to_string()) else { return };
            if self.namespaces
                && own_namespace.is_some_and(|own| own != namespace)
                && let Some(entry) = table.iter().find(|entry| entry.device == self.number)
            {
                self.add(pid, How::MountNamespace, entry.mount_point.clone());
            }
            self.tables.insert(namespace.clone(), table);
        }
        for (link, how) in [("cwd", How::WorkingDirectory), ("root", How::Root), ("exe", How::Mapped)] {
            if let Ok(target) = fs::read_link(directory.join(link))
                && self.is_on_device(&namespace, &target)
            {
                self.add(pid, how, target);
            }
        }
        for file in fs::read_dir(directory.join("fd")).into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(file.path())
                && (self.is_on_device(&namespace, &target) || self.is_device(&target))
            {
                self.add(pid, How::OpenFile, target);
            }
        }
    }

    fn mappings(&mut self) {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            if let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
                && let Ok(maps) = fs::read(process.path().join("maps"))
                && let Some(path) = mapped_from(&String::from_utf8_lossy(&maps), self.number)
            {
                self.add(pid, How::Mapped, path);
            }
        }
    }

    fn add(&mut self, pid: i32, how: How, path: PathBuf) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.holders.push(Holder { pid, name: name.trim_end().to_owned(), how, path });
    }

    fn is_on_device(&self, namespace: &Path, path: &Path) -> bool {
        let table = self.tables.get(namespace);
        path.is_absolute()
            && table.and_then(|table| mount_of(table, path)).is_some_and(|entry| entry.device == self.number)
    }

    /// Only nodes under /dev are looked at: a stat on the data file system could hang.
    fn is_device(&self, path: &Path) -> bool {
        path.starts_with("/dev/")
            && fs::symlink_metadata(path).is_ok_and(|metadata| {
                let number = metadata.rdev();
                metadata.file_type().is_block_device()
                    && (nix::sys::stat::major(number), nix::sys::stat::minor(number)) == self.number
            })
    }
}

/// The first file of the device in /proc/PID/maps, which has device numbers in hexadecimal (proc_pid_maps(5)).
pub(super) fn mapped_from(maps: &str, number: (u64, u64)) -> Option<PathBuf> {
    let wanted = format!("{:02x}:{:02x}", number.0, number.1);
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        (fields.nth(3)? == wanted && fields.next()? != "0")
            .then(|| PathBuf::from(fields.collect::<Vec<_>>().join(" ")))
    })
}
