//! standin on both nodes: its configuration, and its commands as an operator would type them. Its package is in the image.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::image::Filesystem;
use crate::lab::Lab;
use crate::node::Node;
use crate::remote::Output;
use crate::state::State;

/// Longer than any takeover of the tests, so that standin's own limits are what ends one.
const PATIENCE: Duration = Duration::from_secs(300);

/// No process id and no time in it. A worker that waits for requests has a pipe as its standard input, one that only
/// repeats gratuitous ARP has not.
const STATE: &str = r"
sed -n 's/^ 0: \(.*\)$/drbd: \1/p' /proc/drbd
sed -n '/ \/var\/lib\/mysql \|^\/dev\/drbd0 /s/^/mount: /p' /proc/mounts
for pid in $(pidof mariadbd); do
    echo mysqld: $(ps --no-headers -o user,args $pid) in $(readlink /proc/$pid/cwd), \
        session of its own: $(test $(ps --no-headers -o sess $pid) = $pid && echo yes || echo no), \
        answers: $(timeout 5 mariadb --defaults-file=/etc/standin/r0.cnf --skip-column-names --execute \
            'SELECT @@read_only' 2>&1)
done
echo unit: $(systemctl is-active mariadb)
ip -oneline -4 address show | sed -n 's/^[0-9]*: *\([^ ]*\) .*\( 10\.77\.0\.100[^ ]*\) .*/address: \1\2/p'
for pid in $(pgrep -f '[i]nternal-worker'); do
    readlink /proc/$pid/fd/0 | sed -n 's/^pipe:.*/worker: waits/p'
done
flock --nonblock /run/standin/r0.lock true || echo lock: taken
tail -n 1 /var/lib/standin/r0.journal | sed 's/.*\(\x22event.*\),\x22seconds.*/last entry: \1/'
";

/// How mysqld is started on the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mysqld {
    /// The distribution's systemd unit.
    #[default]
    Unit,
    /// mariadbd as a plain command line.
    Command,
}

/// How the cluster is configured.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Unit or command line.
    pub mysqld: Mysqld,
    /// Lines for the section `limits`, as `name: value`.
    pub limits: Vec<&'static str>,
    /// Further top-level lines.
    pub more: Vec<&'static str>,
    /// DRBD's fencing policy, with standin as the handlers; none leaves DRBD's configuration alone. The nodes must have
    /// booted with `drbd.usermode_helper=/sbin/drbdadm`.
    pub fencing: Option<&'static str>,
}

/// standin, installed on both nodes of a lab, as cluster `r0`.
#[derive(Debug)]
pub struct Cluster<'a> {
    lab: &'a Lab,
}

impl<'a> Cluster<'a> {
    /// Writes the configuration on both nodes.
    pub fn install(lab: &'a Lab, options: &ClusterOptions) -> Result<Self> {
        let text = configuration(lab.filesystem(), options);
        lab.on_both(|node| {
            node.write_file("/etc/standin/r0.yaml", &text, 0o644)?;
            options.fencing.map_or(Ok(()), |policy| configure_fencing(node, policy))
        })?;
        Ok(Self { lab })
    }

    /// Writes another configuration on the nodes that are on.
    pub fn configure(&self, options: &ClusterOptions) -> Result<()> {
        let text = configuration(self.lab.filesystem(), options);
        self.nodes_on().try_for_each(|node| {
            node.write_file("/etc/standin/r0.yaml", &text, 0o644)?;
            options.fencing.map_or(Ok(()), |policy| configure_fencing(node, policy))
        })
    }

    fn nodes_on(&self) -> impl Iterator<Item = &'a Node> {
        self.lab.nodes().into_iter().filter(|node| node.is_on())
    }

    /// Runs `standin ARGUMENTS` on a node; any exit code is fine.
    pub fn standin(&self, node: &Node, arguments: &str) -> Result<Output> {
        node.run_with_deadline(&format!("standin {arguments}"), PATIENCE)
    }

    /// The same, and it must exit with this code.
    pub fn expect(&self, node: &Node, arguments: &str, code: i32) -> Result<Output> {
        let output = self.standin(node, arguments)?;
        ensure!(
            output.code == code,
            "standin {arguments} on {}: expected exit code {code}: {output}",
            node.name()
        );
        Ok(output)
    }

    /// The journal of a node, a value per entry.
    pub fn journal(&self, node: &Node) -> Result<Vec<Value>> {
        let text = node.run_ok("cat /var/lib/standin/r0.journal 2> /dev/null || true")?;
        // A power cut leaves zeros where the last lines had not reached the disk, or cuts a line short.
        let lines = text.lines().filter(|line| !line.contains('\0'));
        lines
            .map(serde_json::from_str)
            .filter(|entry| !entry.as_ref().is_err_and(serde_json::Error::is_eof))
            .map(|entry| entry.context("a line of the journal"))
            .collect()
    }

    /// `standin plan` must refuse on a node, then so must `standin takeover`, and nothing may change on either node but
    /// one entry in the journal. Returns what the operator read.
    pub fn expect_refusal(&self, node: &Node, arguments: &str, reason: &[&str]) -> Result<String> {
        self.forget()?;
        let before = self.states()?;
        let planned = self.expect(node, "plan", 3)?;
        let refused = self.expect(node, &format!("takeover {arguments}"), 3)?;
        for (command, output) in [("plan", &planned), ("takeover", &refused)] {
            for part in reason.iter().chain(&["why it matters: ", "what to do next: "]) {
                ensure!(output.stderr.contains(part), "standin {command} does not say {part:?}: {output}");
            }
        }
        let after = self.states()?;
        ensure!(before == after, "a refusal changed something:\n{before:#?}\n{after:#?}");
        let journal = self.journal(node)?;
        ensure!(
            journal.len() == 1 && journal[0]["event"] == "refused" && journal[0]["goal"] == "takeover",
            "the journal of a refusal: {journal:#?}"
        );
        let text = journal[0]["reason"].as_str().unwrap_or_default();
        ensure!(refused.stderr.contains(text), "journal {text:?}, operator: {}", refused.stderr);
        Ok(refused.stderr)
    }

    /// The state of each node that is on, as the kernel and as `standin status --json` have it.
    pub fn states(&self) -> Result<Vec<(State, Value)>> {
        self.nodes_on().map(|node| self.state_and_status(node)).collect()
    }

    fn state_and_status(&self, node: &Node) -> Result<(State, Value)> {
        let mut status = serde_json::from_str(&self.expect(node, "status --json", 0)?.stdout)?;
        forget_volatile(&mut status);
        Ok((State::of(node)?, status))
    }

    /// All that a takeover or a release is to leave on a node, in lines that two runs can be compared by.
    pub fn state(&self, node: &Node) -> Result<String> {
        node.run_ok(STATE)
    }

    /// Forgets the journals of the nodes that are on.
    pub fn forget(&self) -> Result<()> {
        self.nodes_on().try_for_each(|node| node.run_ok("rm -f /var/lib/standin/r0.journal").map(drop))
    }
}

impl Lab {
    /// The hardware address that the clients' machine has in its neighbour table for an address.
    pub fn neighbour(&self, address: Ipv4Addr) -> Result<Option<String>> {
        let table = self.network().enter(|| Ok(std::fs::read_to_string("/proc/thread-self/net/arp")?))?;
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let entry = lines.find(|fields| fields.first() == Some(&&*address.to_string()));
        Ok(entry.and_then(|fields| fields.get(3).map(ToString::to_string)))
    }
}

/// What may differ between two looks at the same state: how far a resync is, how long a recovery would take, and whether the answer to the echo came
/// within the moment that it is waited for after the answer to ARP.
fn forget_volatile(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| {
                !["resync_percent", "icmp", "recovery_forecast", "writes_wait_for_peer"]
                    .contains(&key.as_str())
            });
            map.values_mut().for_each(forget_volatile);
        }
        Value::Array(list) => list.iter_mut().for_each(forget_volatile),
        _ => {}
    }
}

/// A binary of this workspace, built beside the program that runs now.
pub fn binary(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("there is no {name} beside {}; build it: cargo build --release --bins", program.display())
        })
}

/// With an 8.4 kernel `drbdadm` takes `fencing` in the section `disk` alone.
fn configure_fencing(node: &Node, policy: &str) -> Result<()> {
    node.run_ok(&format!(
        "sed -i -e '/^ *fencing /d' -e '/^ *handlers {{/,/^ *}}/d' \
             -e 's|^    disk {{|    handlers {{\\n\
         fence-peer \"/usr/sbin/standin fence-peer\";\\n\
         unfence-peer \"/usr/sbin/standin unfence-peer\";\\n    }}\\n&\\n        fencing {policy};|' \
             /etc/drbd.d/r0.res && drbdadm adjust r0 && sync"
    ))
    .map(drop)
}

fn configuration(filesystem: Filesystem, options: &ClusterOptions) -> String {
    let mysqld = match options.mysqld {
        Mysqld::Unit => "unit: mariadb.service",
        Mysqld::Command => "command: [/usr/sbin/mariadbd, --user=mysql]",
    };
    let mut text = format!(
        "\
nodes:
  node1: {{address: 10.77.0.1, replication_address: 10.77.1.1}}
  node2: {{address: 10.77.0.2, replication_address: 10.77.1.2}}
vip:
  address: 10.77.0.100/24
  interface: eth0
drbd:
  resource: r0
mount:
  device: /dev/drbd0
  directory: /var/lib/mysql
  type: {}
mysqld:
  {mysqld}
  socket: /run/mysqld/mysqld.sock
  error_log: /var/log/mysql/error.log
  credentials: /etc/standin/r0.cnf
witnesses: [10.77.0.254]
",
        filesystem.name()
    );
    if !options.limits.is_empty() {
        text += "limits:\n";
    }
    for limit in &options.limits {
        text += &format!("  {limit}\n");
    }
    for line in &options.more {
        text += line;
        text.push('\n');
    }
    text
}
