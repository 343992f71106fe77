//! Where the network configuration of a distribution brings up an address at boot: ifupdown (interfaces(5)), netplan,
//! NetworkManager's keyfiles, systemd-networkd and Red Hat's ifcfg files.

use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Place;

/// Words that begin a part of ifupdown's file (interfaces(5)); `allow-…` does, too.
const IFUPDOWN_PARTS: [&str; 8] =
    ["iface", "auto", "mapping", "source", "source-directory", "no-auto-down", "no-scripts", "rename"];

/// What has to go for the address not to come up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mention {
    /// The first line.
    pub place: Place,
    /// The last line of what becomes a comment.
    pub last: usize,
    /// Not the whole line, but this text in it, and what it becomes.
    pub part: Option<(String, String)>,
}

/// Every line that names the address, outside comments.
pub fn mentions(text: &str, file: &Path, address: Ipv4Addr) -> Vec<Mention> {
    let lines: Vec<&str> = text.lines().collect();
    let ifupdown = file.starts_with("/etc/network");
    let mut found: Vec<Mention> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with(['#', ';']) || !names(line, address) {
            continue;
        }
        let number = index + 1;
        let mut mention = Mention { place: Place::new(file, number), last: number, part: None };
        if ifupdown && trimmed.split_whitespace().next() == Some("address") {
            let (first, last) = stanza(&lines, index);
            mention.place.line = first + 1;
            mention.last = last + 1;
            let interface =
                lines.get(first).and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
            found.extend(orphans(&lines, file, interface));
        } else {
            mention.part = shorter_list(line, address);
        }
        found.push(mention);
    }
    found
}

/// Every line outside comments on which a command gives the address to an interface: in units of systemd and in crontabs,
/// where an address alone says nothing (a client, a dump, a probe).
pub fn commands(text: &str, file: &Path, address: Ipv4Addr) -> Vec<Mention> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with(['#', ';']))
        .filter(|(_, line)| names(line, address) && gives_an_address(line))
        .map(|(index, _)| Mention { place: Place::new(file, index + 1), last: index + 1, part: None })
        .collect()
}

/// `ip … add|replace|change`, which ip(8) lets be abbreviated, or `ifconfig`.
fn gives_an_address(line: &str) -> bool {
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || "=;&|(){}'\"@-+".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    let program = |word: &&str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let gives = |word: &&str| ["add", "replace", "change"].contains(word);
    match words.iter().position(|word| ["ip", "ifconfig"].contains(&program(word).as_str())) {
        Some(at) if words.get(at).map(program).as_deref() == Some("ip") => {
            let mut arguments = words.iter().skip(at + 1);
            arguments.any(|word| !word.is_empty() && "address".starts_with(*word)) && arguments.any(gives)
        }
        found => found.is_some(),
    }
}

/// The address as a whole, with or without a prefix length.
fn names(text: &str, address: Ipv4Addr) -> bool {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').any(|word| word.parse() == Ok(address))
}

/// The part that begins with `iface` around a line: indices of its first and last line.
fn stanza(lines: &[&str], at: usize) -> (usize, usize) {
    let begins = |line: &&str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        IFUPDOWN_PARTS.contains(&word) || word.starts_with("allow-")
    };
    let first = lines.iter().take(at).rposition(begins).unwrap_or(at);
    let rest = lines.iter().skip(at + 1).position(begins).map_or(lines.len(), |offset| at + 1 + offset);
    let counts = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let last = lines.iter().take(rest).rposition(counts).unwrap_or(at);
    (first, last.max(at))
}

/// `auto NAME` of an interface that has no other part: without its `iface` it would be an error at boot.
fn orphans(lines: &[&str], file: &Path, interface: &str) -> Vec<Mention> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let parts =
        lines.iter().filter(|line| words(line).starts_with(&["iface".to_owned(), interface.to_owned()]));
    if parts.count() > 1 {
        return Vec::new();
    }
    let brings_up = |line: &str| matches!(words(line).as_slice(), [word, name] if (word == "auto" || word.starts_with("allow-")) && name == interface);
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| brings_up(line))
        .map(|(index, _)| Mention { place: Place::new(file, index + 1), last: index + 1, part: None })
        .collect()
}

/// A list in brackets of which the address is not the only member: the list, and the list without it.
fn shorter_list(line: &str, address: Ipv4Addr) -> Option<(String, String)> {
    let open = line.find('[')?;
    let close = open + line.get(open..)?.find(']')?;
    let list = line.get(open..=close)?;
    let members: Vec<&str> = list.trim_matches(['[', ']']).split(',').map(str::trim).collect();
    let others: Vec<&str> = members.iter().copied().filter(|member| !names(member, address)).collect();
    (!others.is_empty()).then(|| (list.to_owned(), format!("[{}]", others.join(", "))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

    fn found(text: &str, file: &str) -> Vec<(usize, usize, Option<String>)> {
        mentions(text, Path::new(file), VIP)
            .into_iter()
            .map(|mention| (mention.place.line, mention.last, mention.part.map(|(_, new)| new)))
            .collect()
    }

    #[test]
    fn ifupdowns_whole_part_goes_and_what_brings_it_up() {
        let text = "\
auto eth0
iface eth0 inet static
    address 10.77.0.1/24
    up ip address add 10.77.0.100/24 dev eth0
auto eth0:0
iface eth0:0 inet static
    address 10.77.0.100
    netmask 255.255.255.0

# the end
source /etc/network/interfaces.d/*
";
        assert_eq!(found(text, "/etc/network/interfaces"), [(4, 4, None), (5, 5, None), (6, 8, None)]);
    }

    #[test]
    fn the_others_lose_a_line_or_a_member_of_a_list() {
        assert_eq!(
            found("addresses:\n - 10.77.0.100/24\n - 10.77.0.1/24\n", "/etc/netplan/a.yaml"),
            [(2, 2, None)]
        );
        assert_eq!(
            found("addresses: [\"10.77.0.1/24\", 10.77.0.100/24]\n", "/etc/netplan/a.yaml"),
            [(1, 1, Some("[\"10.77.0.1/24\"]".to_owned()))]
        );
        assert_eq!(
            found("[Network]\nAddress=10.77.0.100/24\n", "/etc/systemd/network/a.network"),
            [(2, 2, None)]
        );
        assert_eq!(found("address2=10.77.0.100/24,10.77.0.254\n", "/etc/NetworkManager/x"), [(1, 1, None)]);
    }

    #[test]
    fn commands_that_give_the_address_are_told_from_those_that_use_it() {
        let counts = |line: &str| !commands(line, Path::new("/etc/crontab"), VIP).is_empty();
        for line in [
            "ExecStart=/sbin/ip addr add 10.77.0.100/24 dev eth0",
            "ExecStart=-/bin/sh -c 'ip -4 a replace 10.77.0.100/24 dev eth0'",
            "@reboot root ip address add 10.77.0.100/24 dev eth0",
            "@reboot root sleep 9 && /sbin/ifconfig eth0:0 10.77.0.100 up",
        ] {
            assert!(counts(line), "{line}");
        }
        for line in [
            "#ExecStart=/sbin/ip addr add 10.77.0.100/24 dev eth0",
            "ExecStart=/sbin/ip addr add 10.77.0.10/24 dev eth0",
            "5 3 * * * root mysqldump --host=10.77.0.100 --add-locks data",
            "* * * * * root ip addr show to 10.77.0.100",
            "* * * * * root ip route add default via 10.77.0.100",
        ] {
            assert!(!counts(line), "{line}");
        }
    }

    #[test]
    fn other_addresses_and_comments_do_not_count() {
        for text in [
            "address 10.77.0.10",
            "address 110.77.0.100",
            "address 10.77.0.1000",
            "# 10.77.0.100",
            ";10.77.0.100",
        ] {
            assert_eq!(found(text, "/etc/network/interfaces"), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", lines in "((auto|iface|address) ?(10\\.77\\.0\\.100)?[\\[\\],#]?\n){0,9}") {
            for text in [text, lines] {
                let _ = mentions(&text, Path::new("/etc/network/interfaces"), VIP);
                let _ = mentions(&text, Path::new("/etc/netplan/x.yaml"), VIP);
            }
        }
    }
}
