//! The database with bare commands: becoming active, and the floor that a takeover is measured against.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysql::{Conn, OptsBuilder};

use crate::client::Client;
use crate::lab::Lab;
use crate::network::{Network, NetworkNamespace, VIP, VIP_PREFIX};
use crate::node::Node;
use crate::wait::wait_until;

/// MariaDB's port.
const PORT: u16 = 3306;
/// Longer than a crash recovery of the largest redo log that fits on the disk.
const READY: Duration = Duration::from_secs(120);
/// How long to wait before looking whether it still runs.
const LOOK: Duration = Duration::from_secs(3);
/// Longer than a full synchronisation of the disk.
const IN_SYNC: Duration = Duration::from_secs(120);

/// A database user of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Credentials {
    /// The name.
    pub user: &'static str,
    /// The password.
    pub password: &'static str,
}

impl Credentials {
    /// Checks health; also in `/etc/standin/r0.cnf` of both nodes.
    pub const HEALTH: Self = Self { user: "standin", password: "lab-health" };
    /// Writes the rows.
    pub const CLIENT: Self = Self { user: "client", password: "lab-client" };
}

/// Options for a connection; it must be opened in the lab's network namespace.
pub(crate) fn options(address: Ipv4Addr, credentials: Credentials) -> OptsBuilder {
    OptsBuilder::new()
        .ip_or_hostname(Some(address.to_string()))
        .tcp_port(PORT)
        .user(Some(credentials.user))
        .pass(Some(credentials.password))
        .prefer_socket(false)
        // A connection to a node that is gone must not delay the attempt that reaches its successor.
        .tcp_connect_timeout(Some(Duration::from_millis(250)))
        .read_timeout(Some(Duration::from_secs(2)))
        .write_timeout(Some(Duration::from_secs(2)))
}

/// Whether a server greets whoever connects.
fn greets(network: &NetworkNamespace, address: Ipv4Addr) -> Result<bool> {
    let mut stream = network.connect(SocketAddr::from((address, PORT)), Duration::from_millis(250))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(stream.read(&mut [0; 5])? > 0)
}

impl Node {
    /// Makes this node the active one: DRBD Primary, the disk mounted, MariaDB running, the virtual address added. The
    /// other node must be Secondary.
    pub fn serve(&self) -> Result<()> {
        self.run_ok("drbdsetup primary 0 && mount /dev/drbd0 /var/lib/mysql")?;
        self.start_database()?;
        self.run_ok(&format!(
            "ip address add {VIP}/{VIP_PREFIX} dev eth0
            arping -q -U -c 2 -I eth0 {VIP} > /dev/null 2>&1 < /dev/null &"
        ))?;
        Ok(())
    }

    /// Starts MariaDB as a plain command, and waits until it greets.
    pub fn start_database(&self) -> Result<()> {
        self.run_ok("setsid mariadbd --user=mysql > /dev/null 2>&1 < /dev/null &")?;
        let start = Instant::now();
        while let Err(error) = self.wait_for_database(LOOK) {
            let died = !self.run("pidof mariadbd")?.success();
            if died || start.elapsed() > READY {
                let log = self.run("tail -n 20 /var/log/mysql/error.log")?.stdout;
                let how = if died { "has ended" } else { "does not get ready" };
                return Err(
                    error.context(format!("MariaDB on {} {how}. The end of its log:\n{log}", self.name()))
                );
            }
        }
        Ok(())
    }

    /// Waits until MariaDB greets on this node's own address.
    pub fn wait_for_database(&self, deadline: Duration) -> Result<()> {
        let address = Network::Clients.address(self.number());
        wait_until(&format!("MariaDB on {}", self.name()), deadline, || {
            Ok(greets(&self.network, address)?.then_some(()))
        })
    }

    /// Gives everything up in order: the reverse of [`Node::serve`].
    pub fn stop_serving(&self) -> Result<()> {
        self.run_ok(&format!(
            "set -e; ip address delete {VIP}/{VIP_PREFIX} dev eth0; killall -w mariadbd
            umount /var/lib/mysql; drbdsetup secondary 0"
        ))?;
        Ok(())
    }

    /// What `/proc/drbd` says of the resource, without the lines on the module.
    pub fn drbd(&self) -> Result<String> {
        let text = self.run_ok("cat /proc/drbd")?;
        Ok(text
            .lines()
            .skip_while(|line| !line.trim_start().starts_with("0:"))
            .collect::<Vec<_>>()
            .join("\n"))
    }
}

impl Lab {
    /// Opens a connection, from the clients' network.
    pub fn connect(&self, address: Ipv4Addr, credentials: Credentials) -> Result<Conn> {
        self.network().enter(|| {
            Conn::new(options(address, credentials))
                .with_context(|| format!("connecting to MariaDB at {address}"))
        })
    }

    /// Waits until DRBD is connected and both copies are up to date, as both nodes see it.
    pub fn wait_in_sync(&self) -> Result<()> {
        for node in self.nodes() {
            let mut last = String::new();
            wait_until("DRBD to be in sync", IN_SYNC, || {
                last = node.drbd()?;
                Ok((last.contains("cs:Connected") && last.contains("ds:UpToDate/UpToDate")).then_some(()))
            })
            .with_context(|| format!("{} saw at last: {last}", node.name()))?;
        }
        Ok(())
    }

    /// Takes over on `node` with the bare commands of `floor.sh`, the other one being without power. Returns the time
    /// from the start of the script to the next row that the client was given an acknowledgement for.
    pub fn floor_takeover(&self, node: &Node, client: &Client) -> Result<Duration> {
        ensure!(!self.peer(node).is_on(), "the floor is for a node whose peer has no power");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor.sh");
        node.copy_in(script, "/root/floor.sh", 0o755)?;
        let local = Network::Replication.address(node.number());
        let peer = Network::Replication.address(self.peer(node).number());
        let start = Instant::now();
        node.run_ok(&format!("/root/floor.sh {local} {peer} {VIP} {VIP_PREFIX}"))?;
        let acknowledged = client.wait_for_row_after(start, READY)?;
        Ok(acknowledged - start)
    }
}
