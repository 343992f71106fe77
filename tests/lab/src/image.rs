//! What the nodes boot: built by `tests/lab/build-image`, with the package installed in it by `tests/lab/install-package`,
//! kept under `target/lab`, never written to afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The file system of the replicated disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filesystem {
    /// ext4
    #[default]
    Ext4,
    /// XFS
    Xfs,
}

impl Filesystem {
    /// As `mount -t` wants it.
    pub fn name(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
        }
    }
}

/// A built image.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// The root file system of both nodes; each writes to a file of its own that lies above it.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root.img")
    }

    /// The replicated disk as each node gets it: in sync, with MariaDB's data directory, its users and the empty table.
    pub fn golden(&self, filesystem: Filesystem) -> PathBuf {
        self.directory.join(format!("golden-{}.img", filesystem.name()))
    }

    /// The key that root of both nodes accepts.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key")
    }
}

/// Where everything of the lab is kept: `lab` in cargo's target directory.
pub(crate) fn directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace.canonicalize().unwrap_or(workspace);
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => workspace.join(target).join("lab"),
        None => workspace.join("target/lab"),
    }
}

/// Makes sure that the image and the golden disks are there, with the package of the release binary as it is now
/// installed; at the first time that takes minutes, after a change of the binary seconds.
pub fn image() -> Result<Image> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lab = directory();
    let base = path_printed_by(&here.join("build-image"), &[&lab])?;
    let package = package()?;
    let directory = path_printed_by(&here.join("install-package"), &[&lab, &base, &package])?;
    Ok(Image { directory })
}

/// The package that is installed in the nodes.
pub fn package() -> Result<PathBuf> {
    path_printed_by(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/build-deb"), &[])
}

/// Runs a script, and returns the path that is the last line of its output.
fn path_printed_by(script: &Path, arguments: &[&Path]) -> Result<PathBuf> {
    let output = Command::new(script)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} does not run", script.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}; what it said above tells why", script.display(), output.status);
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let last = printed.lines().last().unwrap_or_default();
    let path = PathBuf::from(last);
    ensure!(path.is_absolute(), "{} printed {last:?} where an absolute path was due", script.display());
    Ok(path)
}
