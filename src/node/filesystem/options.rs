//! Mount options as in fstab → flags and data of mount(2).

use nix::mount::MsFlags;

/// What mount(2) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Options that the kernel handles for every file system.
    pub flags: MsFlags,
    /// Options for the file system itself, comma-separated.
    pub data: String,
}

impl MountOptions {
    /// Whether a read-only mount is asked for.
    pub fn read_only(&self) -> bool {
        self.flags.contains(MsFlags::MS_RDONLY)
    }
}

/// Splits options as mount(8) does; each may be a comma-separated list itself. What only fstab and its readers use
/// (`noauto`, `nofail`, `_netdev`, `x-…`) is left out. Later options win over earlier ones.
pub fn split_options(options: &[String]) -> MountOptions {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in options.iter().flat_map(|list| list.split(',')).map(str::trim) {
        match option {
            "" | "auto" | "noauto" | "nofail" | "_netdev" | "nouser" => {}
            "defaults" => flags = MsFlags::empty(),
            fstab if fstab.starts_with("x-") || fstab.starts_with("X-") || fstab.starts_with("comment=") => {}
            _ => match flag(option) {
                Some((flag, on)) => flags.set(flag, on),
                None => data.push(option),
            },
        }
    }
    MountOptions { flags, data: data.join(",") }
}

fn flag(option: &str) -> Option<(MsFlags, bool)> {
    Some(match option {
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "sync" => (MsFlags::MS_SYNCHRONOUS, true),
        "async" => (MsFlags::MS_SYNCHRONOUS, false),
        "dirsync" => (MsFlags::MS_DIRSYNC, true),
        "noatime" => (MsFlags::MS_NOATIME, true),
        "atime" => (MsFlags::MS_NOATIME, false),
        "nodiratime" => (MsFlags::MS_NODIRATIME, true),
        "diratime" => (MsFlags::MS_NODIRATIME, false),
        "relatime" => (MsFlags::MS_RELATIME, true),
        "norelatime" => (MsFlags::MS_RELATIME, false),
        "strictatime" => (MsFlags::MS_STRICTATIME, true),
        "nostrictatime" => (MsFlags::MS_STRICTATIME, false),
        "lazytime" => (MsFlags::MS_LAZYTIME, true),
        "nolazytime" => (MsFlags::MS_LAZYTIME, false),
        "iversion" => (MsFlags::MS_I_VERSION, true),
        "noiversion" => (MsFlags::MS_I_VERSION, false),
        "silent" => (MsFlags::MS_SILENT, true),
        "loud" => (MsFlags::MS_SILENT, false),
        _ => return None,
    })
}
