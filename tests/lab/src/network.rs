//! Three networks: the clients' (with the virtual address), the replication, and one that tests alone use.
//!
//! The third, a cable from the host to each node, is what a management processor is in a machine room: it stays when the
//! others are cut, carries the lab's commands, and no node can reach another over it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

/// The virtual address that clients use.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The prefix length of the clients' network.
pub const VIP_PREFIX: u8 = 24;

/// A network that can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// eth0, 10.77.0.0/24: the clients and the virtual address.
    Clients,
    /// eth1, 10.77.1.0/24: DRBD.
    Replication,
}

impl Network {
    fn bridge(self) -> &'static str {
        match self {
            Network::Clients => "clients",
            Network::Replication => "replication",
        }
    }

    fn tap(self, node: u8) -> String {
        format!("{}{node}", self.bridge())
    }

    /// The address of a node in this network.
    pub fn address(self, node: u8) -> Ipv4Addr {
        match self {
            Network::Clients => Ipv4Addr::new(10, 77, 0, node),
            Network::Replication => Ipv4Addr::new(10, 77, 1, node),
        }
    }
}

/// The address of a node on its cable to the host.
pub(crate) fn service_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 100 + node, 1)
}

/// The lab's network namespace.
#[derive(Debug)]
pub(crate) struct NetworkNamespace {
    file: File,
    path: String,
}

impl NetworkNamespace {
    pub(crate) fn of_process(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let file =
            File::open(&path).with_context(|| format!("the lab's network namespace {path} is gone"))?;
        Ok(Self { file, path })
    }

    /// Runs `work` in a thread of its own inside the namespace. A socket belongs to where it was made, so what `work`
    /// returns can be used from anywhere.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                    .context("cannot enter the lab's network namespace; the lab needs root")?;
                work()
            });
            inside.join().unwrap_or_else(|_| Err(anyhow!("a thread in the lab's network namespace panicked")))
        })
    }

    pub(crate) fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<TcpStream> {
        self.enter(|| {
            let stream = TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    /// Takes the cable of one node out of the network's switch. (The node's own interface keeps its carrier: a
    /// User-Mode-Linux kernel does not see that of its tap.)
    pub(crate) fn unplug(&self, network: Network, node: u8) -> Result<()> {
        self.ip(&["link", "set", "dev", &network.tap(node), "nomaster"])
    }

    pub(crate) fn plug(&self, network: Network, node: u8) -> Result<()> {
        self.ip(&["link", "set", "dev", &network.tap(node), "master", network.bridge()])?;
        self.isolate(network, node, false)
    }

    /// An isolated port reaches the host and every port that is not isolated, here: none.
    pub(crate) fn isolate(&self, network: Network, node: u8, isolated: bool) -> Result<()> {
        let state = if isolated { "on" } else { "off" };
        self.ip(&["link", "set", "dev", &network.tap(node), "type", "bridge_slave", "isolated", state])
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.path))
            .arg("ip")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("nsenter does not run")?;
        ensure!(
            output.status.success(),
            "`ip {}` in the lab's network namespace ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}
