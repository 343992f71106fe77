//! What a refusal must leave as it was, read from the kernel and not through standin.

use std::fmt;

use anyhow::Result;

use crate::node::Node;

/// One look at all that a takeover or release changes on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(Vec<(&'static str, String)>);

/// Each part with the shell commands that print it. A process id alone may come again: its start time may not.
const PARTS: [(&str, &str); 6] = [
    ("drbd", "sed -n 's/^ *0: //p' /proc/drbd"),
    ("mounts", "grep -e ' /var/lib/mysql ' -e ' 147:' /proc/self/mountinfo"),
    ("mysqld", "for pid in $(pidof mariadbd mysqld); do cut -d ' ' -f 1,22 /proc/$pid/stat; done"),
    ("addresses", "ip -oneline -4 address show | sed 's/ *valid_lft.*//; s/\\\\$//'"),
    ("heartbeat", "for pid in $(pidof heartbeat); do cut -d ' ' -f 1,22 /proc/$pid/stat; done"),
    ("units", "systemctl is-active mariadb.service heartbeat.service"),
];

impl State {
    /// Looks at a node.
    pub fn of(node: &Node) -> Result<Self> {
        let script: String =
            PARTS.iter().map(|(name, command)| format!("echo '=== {name}'\n{command}\n")).collect();
        // Each of the commands may find nothing, which is no error.
        let text = node.run_ok(&format!("{script}true"))?;
        let mut sections = text.split("=== ").skip(1);
        let parts = PARTS.map(|(name, _)| {
            let content = sections.next().and_then(|section| section.split_once('\n'));
            (name, content.map_or_else(String::new, |(_, content)| content.trim().to_owned()))
        });
        Ok(Self(parts.to_vec()))
    }

    /// One part of it.
    pub fn part(&self, name: &str) -> &str {
        self.0.iter().find(|(part, _)| *part == name).map_or("", |(_, content)| content)
    }

    /// The names of the parts that differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(ours, theirs)| ours != theirs).map(|((name, _), _)| *name).collect()
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, content) in &self.0 {
            writeln!(formatter, "{name}: {}", content.replace('\n', "; "))?;
        }
        Ok(())
    }
}
