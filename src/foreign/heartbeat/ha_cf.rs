//! `ha.cf` (ha.cf(5)): one directive per line.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::foreign::Place;

/// One directive: `NAME ARGUMENT…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// The words after it.
    pub arguments: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

impl Directive {
    /// The first argument, the empty text for none.
    pub fn argument(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

/// All of ha.cf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaCf {
    /// The directives, in order.
    pub directives: Vec<Directive>,
}

impl HaCf {
    /// Every directive of a name, in order.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &Directive> {
        self.directives.iter().filter(move |directive| directive.name == name)
    }

    /// The last directive of a name, which wins where one value is wanted.
    pub fn last(&self, name: &str) -> Option<&Directive> {
        self.all(name).next_back()
    }

    /// A time such as `deadtime`, with where it stands; `None` when it is absent or no time.
    pub fn time(&self, name: &str) -> Option<(Duration, &Place)> {
        let directive = self.last(name)?;
        Some((time(directive.argument())?, &directive.place))
    }

    /// A switch such as `auto_failback`: `on`, `true`, `yes`, `y`, `1` or their opposites. Not `legacy`.
    pub fn switch(&self, name: &str) -> Option<(bool, &Place)> {
        let directive = self.last(name)?;
        let argument = directive.argument().to_ascii_lowercase();
        let on = match argument.as_str() {
            "on" | "true" | "yes" | "y" | "1" => true,
            "off" | "false" | "no" | "n" | "0" => false,
            _ => return None,
        };
        Some((on, &directive.place))
    }

    /// The names of the nodes: `node` takes several, and may stand several times.
    pub fn nodes(&self) -> Vec<&str> {
        self.all("node").flat_map(|directive| &directive.arguments).map(String::as_str).collect()
    }

    /// The peer's address on each interface that `ucast` names. Both nodes may share a file that lists both: an
    /// address of this node is then among them.
    pub fn unicasts(&self) -> Vec<(&str, Ipv4Addr, &Place)> {
        let unicast = |directive: &'_ Directive| match directive.arguments.as_slice() {
            [_, address, ..] => address.parse().ok(),
            _ => None,
        };
        self.all("ucast")
            .filter_map(|directive| Some((directive.argument(), unicast(directive)?, &directive.place)))
            .collect()
    }

    /// Addresses that must answer for a node to count itself connected: `ping`, and the members of `ping_group`.
    pub fn ping_addresses(&self) -> Vec<(Ipv4Addr, &Place)> {
        let pings = self.all("ping").map(|directive| (directive, &directive.arguments[..]));
        let groups = self
            .all("ping_group")
            .map(|directive| (directive, directive.arguments.get(1..).unwrap_or_default()));
        pings
            .chain(groups)
            .flat_map(|(directive, hosts)| hosts.iter().map(move |host| (directive, host)))
            .filter_map(|(directive, host)| Some((host.parse().ok()?, &directive.place)))
            .collect()
    }
}

/// Parses ha.cf. Every text is one: a `#` begins a comment anywhere.
pub fn ha_cf(text: &str, file: &Path) -> HaCf {
    let mut directives = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned);
        if let Some(name) = words.next() {
            directives.push(Directive {
                name,
                arguments: words.collect(),
                place: Place::new(file, index + 1),
            });
        }
    }
    HaCf { directives }
}

/// A time as ha.cf has it: a number, perhaps with a fraction, and a unit; without one, seconds (`cl_get_msec` in
/// cluster-glue).
pub fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "s" | "sec" => 1.0,
        "ms" | "msec" => 1e-3,
        "us" | "usec" => 1e-6,
        "m" | "min" => 60.0,
        "h" | "hr" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# comment
logfile /var/log/ha-log   # where
keepalive 500ms
deadtime 30
deadtime 5
auto_failback off
ucast eth0 10.77.0.2
ucast eth1 10.77.1.2
node node1 node2
node\tnode3
ping 10.77.0.254
ping_group routers 10.77.0.253 10.77.0.252
respawn hacluster /usr/lib/heartbeat/ipfail
";

    fn parsed(text: &str) -> HaCf {
        ha_cf(text, Path::new("/etc/ha.d/ha.cf"))
    }

    #[test]
    fn directives_have_values_and_lines() {
        let file = parsed(TEXT);
        let (deadtime, place) = file.time("deadtime").unwrap();
        assert_eq!((deadtime, place.to_string().as_str()), (Duration::from_secs(5), "/etc/ha.d/ha.cf:5"));
        assert_eq!(file.time("keepalive").unwrap().0, Duration::from_millis(500));
        assert!(!file.switch("auto_failback").unwrap().0);
        assert_eq!(file.nodes(), ["node1", "node2", "node3"]);
        let unicasts: Vec<String> = file.unicasts().iter().map(|(i, a, _)| format!("{i} {a}")).collect();
        assert_eq!(unicasts, ["eth0 10.77.0.2", "eth1 10.77.1.2"]);
        let pings: Vec<String> =
            file.ping_addresses().iter().map(|(address, _)| address.to_string()).collect();
        assert_eq!(pings, ["10.77.0.254", "10.77.0.253", "10.77.0.252"]);
        assert_eq!(file.last("respawn").unwrap().arguments, ["hacluster", "/usr/lib/heartbeat/ipfail"]);
        assert!(file.last("stonith").is_none() && file.time("initdead").is_none());
    }

    #[test]
    fn odd_values_are_no_values() {
        let file = parsed(
            "auto_failback legacy\ndeadtime soon\nucast eth0\nucast eth0 peer\nping\nping_group\n#x\n",
        );
        assert_eq!(file.switch("auto_failback"), None);
        assert_eq!(file.time("deadtime"), None);
        assert!(file.unicasts().is_empty() && file.ping_addresses().is_empty());
        assert_eq!(file.directives.len(), 6);
    }

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in
            [("2", 2000), ("1.5", 1500), ("200ms", 200), ("1min", 60_000), ("1h", 3_600_000)]
        {
            assert_eq!(time(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "1 s", "1.2.3", "9e99", &"9".repeat(400)] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", value in ".{0,20}") {
            parsed(&text);
            let file = parsed(&format!("deadtime {value}\nping {value}\nping_group {value}\nucast {value}"));
            let _ = (file.time("deadtime"), file.ping_addresses(), file.unicasts(), file.switch("deadtime"));
        }
    }
}
