//! What the checks of a configuration need to know of this machine, and nothing else of it.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;

/// Acts as the node of this name instead of the one that `uname -n` names.
pub const HOST_VARIABLE: &str = "STANDIN_HOST";

/// This machine, as far as a configuration must agree with it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name, as `uname -n` prints it.
    pub name: String,
    networks: BTreeMap<String, Vec<Ipv4Net>>,
    files: Files,
}

#[derive(Debug, Clone)]
enum Files {
    OfThisMachine,
    /// Mode by path; every other file is there with mode 0600.
    Fixed(BTreeMap<PathBuf, u32>),
}

impl Host {
    /// The machine we run on. `STANDIN_HOST` in the environment stands in for its host name.
    pub fn this_machine() -> Self {
        let name = std::env::var(HOST_VARIABLE).ok().filter(|name| !name.is_empty()).unwrap_or_else(uname);
        Self { name, networks: interface_networks(), files: Files::OfThisMachine }
    }

    /// A machine of this name for tests: no interfaces are known, and every file is there with mode 0600.
    pub fn fixed(name: &str) -> Self {
        Self { name: name.to_owned(), networks: BTreeMap::new(), files: Files::Fixed(BTreeMap::new()) }
    }

    /// The same name and nothing else of the machine to agree with: what gives up or only looks must work, too, when an
    /// interface or the credentials have gone.
    #[must_use]
    pub fn unexamined(self) -> Self {
        Self { name: self.name, networks: BTreeMap::new(), files: Files::Fixed(BTreeMap::new()) }
    }

    /// The same machine with this interface address.
    pub fn with_network(mut self, interface: &str, network: Ipv4Net) -> Self {
        self.networks.entry(interface.to_owned()).or_default().push(network);
        self
    }

    /// The same machine with this file's permission bits.
    pub fn with_file(mut self, file: impl Into<PathBuf>, mode: u32) -> Self {
        if let Files::Fixed(files) = &mut self.files {
            files.insert(file.into(), mode);
        }
        self
    }

    /// The addresses and networks of an interface; `None` when it has none or is not known here, which may pass: a
    /// configuration does not become wrong because a link is down.
    pub fn networks(&self, interface: &str) -> Option<Vec<Ipv4Net>> {
        self.networks.get(interface).cloned()
    }

    /// Permission bits of a regular file.
    ///
    /// # Errors
    /// The file is missing, is not a regular file, or may not be looked at.
    pub(super) fn file_mode(&self, file: &Path) -> io::Result<u32> {
        match &self.files {
            Files::Fixed(files) => Ok(files.get(file).copied().unwrap_or(0o600)),
            Files::OfThisMachine => {
                let metadata = std::fs::metadata(file)?;
                if !metadata.is_file() {
                    return Err(io::Error::other("it is not a regular file"));
                }
                Ok(metadata.permissions().mode() & 0o7777)
            }
        }
    }
}

fn uname() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.nodename().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn interface_networks() -> BTreeMap<String, Vec<Ipv4Net>> {
    let mut networks: BTreeMap<String, Vec<Ipv4Net>> = BTreeMap::new();
    let Ok(addresses) = getifaddrs() else { return networks };
    for address in addresses {
        let ip = |storage: Option<nix::sys::socket::SockaddrStorage>| -> Option<Ipv4Addr> {
            storage?.as_sockaddr_in().map(|address| address.ip())
        };
        if let (Some(ip), Some(mask)) = (ip(address.address), ip(address.netmask))
            && let Ok(network) = Ipv4Net::with_netmask(ip, mask)
        {
            networks.entry(address.interface_name).or_default().push(network);
        }
    }
    networks
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_its_loopback_network() {
        let host = Host::this_machine();
        assert!(!host.name.is_empty());
        if let Some(networks) = host.networks("lo") {
            assert!(networks.iter().any(|network| network.contains(&Ipv4Addr::LOCALHOST)), "{networks:?}");
        }
        assert_eq!(host.networks("no-such-interface"), None);
    }

    #[test]
    fn a_directory_is_no_credentials_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Host::this_machine().file_mode(directory.path()).is_err());
    }
}
