//! `haresources`: one group of resources per line, as `ipres` of Heartbeat's ResourceManager reads it.

use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::foreign::Place;

/// One resource: a script and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The script's name; `IPaddr` for a bare address.
    pub script: String,
    /// Its arguments, which `::` separates.
    pub arguments: Vec<String>,
    /// As it is written.
    pub text: String,
}

/// An address that a resource brings up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Its prefix length, when it is written there.
    pub prefix: Option<u8>,
    /// Its interface, when it is written there.
    pub interface: Option<String>,
}

impl Resource {
    fn of(text: &str) -> Self {
        let bare = text.split('/').next().is_some_and(|first| first.parse::<Ipv4Addr>().is_ok());
        let (script, arguments) = match text.split_once("::") {
            _ if bare => ("IPaddr", vec![text.to_owned()]),
            Some((script, arguments)) => (script, arguments.split("::").map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        Self { script: script.to_owned(), arguments, text: text.to_owned() }
    }

    /// The address of an `IPaddr` or `IPaddr2` resource: `ADDRESS[/PREFIX[/INTERFACE[/BROADCAST]]]`, in which the
    /// broadcast address may also stand in the interface's place.
    pub fn address(&self) -> Option<ServiceAddress> {
        if !["IPaddr", "IPaddr2", "IPsrcaddr"].contains(&self.script.as_str()) {
            return None;
        }
        let mut parts = self.arguments.first()?.split('/');
        let address = parts.next()?.parse().ok()?;
        let prefix = parts.next().and_then(prefix_length);
        let interface = parts.find(|part| !part.is_empty() && part.parse::<Ipv4Addr>().is_err());
        // `eth0:0` names an alias of eth0.
        let interface = interface.and_then(|name| name.split(':').next()).map(str::to_owned);
        Some(ServiceAddress { address, prefix, interface })
    }
}

/// A prefix length, as a number or as a mask such as 255.255.255.0.
pub fn prefix_length(text: &str) -> Option<u8> {
    match text.parse::<u8>() {
        Ok(length) => (length <= 32).then_some(length),
        Err(_) => ipnet::ipv4_mask_to_prefix(text.parse().ok()?).ok(),
    }
}

/// The resources that move together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The preferred node, in lower case.
    pub node: String,
    /// Started from left to right, stopped from right to left.
    pub resources: Vec<Resource>,
    /// Its first line.
    pub place: Place,
}

/// All of haresources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaResources {
    /// The groups, in order.
    pub groups: Vec<Group>,
}

impl HaResources {
    /// Every resource of a script, with its group.
    pub fn all<'a, 's>(
        &'a self,
        script: &'s str,
    ) -> impl Iterator<Item = (&'a Group, &'a Resource)> + use<'a, 's> {
        self.groups
            .iter()
            .flat_map(|group| group.resources.iter().map(move |resource| (group, resource)))
            .filter(move |(_, resource)| resource.script == script)
    }
}

/// Parses haresources. Every text is one.
pub fn haresources(text: &str, file: &Path) -> HaResources {
    let mut groups = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        // As sed does it there: the comment goes before lines are joined, and a joined line keeps its `#`.
        let mut line = line.split('#').next().unwrap_or_default().to_owned();
        while line.ends_with('\\')
            && let Some((_, more)) = lines.next()
        {
            line.pop();
            line.push_str(more);
        }
        let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        if let Some(node) = words.next() {
            groups.push(Group {
                node: node.to_ascii_lowercase(),
                resources: words.map(Resource::of).collect(),
                place: Place::new(file, index + 1),
            });
        }
    }
    HaResources { groups }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> HaResources {
        haresources(text, Path::new("/etc/ha.d/haresources"))
    }

    fn address(text: &str) -> Option<(String, Option<u8>, Option<String>)> {
        let found = Resource::of(text).address()?;
        Some((found.address.to_string(), found.prefix, found.interface))
    }

    #[test]
    fn a_group_may_span_lines() {
        let file = parsed(
            "# preferred node first\n\nNode1 drbddisk::r0 \\\n  Filesystem::/dev/drbd0::/var/lib/mysql::ext4::noatime \\\n\
             \tmariadb 10.77.0.100/24/eth0\nnode2 x # y\n",
        );
        assert_eq!(file.groups.len(), 2);
        let group = &file.groups[0];
        assert_eq!((group.node.as_str(), group.place.line), ("node1", 3));
        let scripts: Vec<&str> = group.resources.iter().map(|resource| resource.script.as_str()).collect();
        assert_eq!(scripts, ["drbddisk", "Filesystem", "mariadb", "IPaddr"]);
        assert_eq!(group.resources[1].arguments, ["/dev/drbd0", "/var/lib/mysql", "ext4", "noatime"]);
        assert_eq!(file.groups[1].place.line, 6);
        assert_eq!(file.all("drbddisk").next().unwrap().1.arguments, ["r0"]);
        assert!(file.all("nobody").next().is_none());
    }

    #[test]
    fn a_comment_before_a_continuation_hides_the_backslash() {
        let file = parsed("node1 a # \\\nnode2 b\n");
        assert_eq!(file.groups.len(), 2);
        assert_eq!(parsed("node1 a \\").groups[0].resources.len(), 2, "nothing follows: the backslash stays");
    }

    #[test]
    fn addresses_in_every_form() {
        let eth0 = || Some("eth0".to_owned());
        assert_eq!(address("10.0.0.1"), Some(("10.0.0.1".into(), None, None)));
        assert_eq!(address("10.0.0.1/28/eth0/10.0.0.15"), Some(("10.0.0.1".into(), Some(28), eth0())));
        assert_eq!(address("IPaddr::10.0.0.1/28/10.0.0.15"), Some(("10.0.0.1".into(), Some(28), None)));
        assert_eq!(
            address("IPaddr2::10.0.0.1/255.255.255.0/eth0:0"),
            Some(("10.0.0.1".into(), Some(24), eth0()))
        );
        assert_eq!(address("IPaddr2::10.0.0.1/33"), Some(("10.0.0.1".into(), None, None)));
        assert_eq!(address("IPaddr2::nonsense"), None);
        assert_eq!(address("IPaddr2"), None);
        assert_eq!(address("Filesystem::10.0.0.1"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", word in "[IPadr0-9./:\\\\#]{0,30}") {
            parsed(&text);
            parsed(&format!("node {word}\\\n{word}"));
            address(&word);
        }
    }
}
