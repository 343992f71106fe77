//! `keepalived.conf` (keepalived.conf(5)): nested blocks of words. Only what a failover meets is given a meaning.
//!
//! Lines that hold for one host only (`@name …`) and included files are kept as they stand, and not followed.

use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Place, SyntaxError};

/// Deeper than any real file.
const DEPTH_LIMIT: usize = 20;

/// A line, with the block that it opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its words, without quotes.
    pub words: Vec<String>,
    /// What stands between its braces; `None` without braces.
    pub block: Option<Vec<Statement>>,
    /// Where it stands.
    pub place: Place,
}

impl Statement {
    /// The word by its number; the empty text when there are fewer.
    pub fn word(&self, number: usize) -> &str {
        self.words.get(number).map_or("", String::as_str)
    }

    /// The statements of its block.
    pub fn inner(&self) -> &[Statement] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// An address of `virtual_ipaddress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Its prefix length; 32 when it is not written there.
    pub prefix: u8,
    /// Its interface: `dev`, otherwise the instance's.
    pub interface: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// A `vrrp_instance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpInstance {
    /// Its name.
    pub name: String,
    /// `MASTER` or `BACKUP`, as it is written.
    pub state: Option<String>,
    /// The interface that VRRP runs on.
    pub interface: Option<String>,
    /// The priority.
    pub priority: Option<u8>,
    /// The IPv4 addresses that it carries.
    pub addresses: Vec<VirtualAddress>,
    /// Whether a returning master leaves the address where it is.
    pub nopreempt: bool,
    /// The names of its `track_script`.
    pub track_scripts: Vec<String>,
    /// The commands of `notify`, `notify_master`, `notify_backup`, `notify_fault` and `notify_stop`: keyword, command.
    pub notify: Vec<(String, String)>,
    /// Where it begins.
    pub place: Place,
}

/// Every `vrrp_instance` of a file that [`parse`] has read.
pub fn vrrp_instances(file: &[Statement]) -> Vec<VrrpInstance> {
    file.iter().filter(|statement| statement.word(0) == "vrrp_instance").map(vrrp_instance).collect()
}

fn vrrp_instance(statement: &Statement) -> VrrpInstance {
    let inner = statement.inner();
    let all = |word: &'static str| inner.iter().filter(move |line| line.word(0) == word);
    let last = |word| all(word).next_back().map(|line| line.word(1).to_owned());
    let interface = last("interface");
    let addresses = all("virtual_ipaddress").chain(all("virtual_ipaddress_excluded"));
    let notify = inner.iter().filter(|line| line.word(0).starts_with("notify"));
    VrrpInstance {
        name: statement.word(1).to_owned(),
        state: last("state"),
        priority: last("priority").and_then(|priority| priority.parse().ok()),
        addresses: addresses
            .flat_map(Statement::inner)
            .filter_map(|line| virtual_address(line, interface.as_deref()))
            .collect(),
        nopreempt: all("nopreempt").next().is_some(),
        track_scripts: all("track_script")
            .flat_map(Statement::inner)
            .map(|line| line.word(0).to_owned())
            .collect(),
        notify: notify.map(|line| (line.word(0).to_owned(), line.word(1).to_owned())).collect(),
        place: statement.place.clone(),
        interface,
    }
}

fn virtual_address(line: &Statement, interface: Option<&str>) -> Option<VirtualAddress> {
    let (address, prefix) = line.word(0).split_once('/').unwrap_or((line.word(0), "32"));
    let device = line.words.iter().position(|word| word == "dev").map(|at| line.word(at + 1));
    Some(VirtualAddress {
        address: address.parse().ok()?,
        prefix: prefix.parse().ok().filter(|length| *length <= 32)?,
        interface: device.or(interface).map(str::to_owned),
        place: line.place.clone(),
    })
}

/// Parses keepalived.conf.
///
/// # Errors
/// A brace too many or too few, or blocks nested deeper than 20.
pub fn parse(text: &str, file: &Path) -> Result<Vec<Statement>, SyntaxError> {
    let wrong =
        |line: usize, what: &str| SyntaxError { place: Place::new(file, line), what: what.to_owned() };
    // The statements of each open block; the statement that opened one is the last of the block around it.
    let mut open: Vec<Vec<Statement>> = vec![Vec::new()];
    let mut last = 1;
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        let mut words = Vec::new();
        for token in tokens(line) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    if open.len() > DEPTH_LIMIT {
                        return Err(wrong(last, "blocks are nested too deep"));
                    }
                    if let Some(block) = open.last_mut() {
                        open_block(block, std::mem::take(&mut words), Place::new(file, last));
                    }
                    open.push(Vec::new());
                }
                Token::Close => {
                    if let Some(block) = open.last_mut() {
                        end_line(block, std::mem::take(&mut words), Place::new(file, last));
                    }
                    let closed = open.pop().filter(|_| !open.is_empty());
                    let closed = closed.ok_or_else(|| wrong(last, "a `}` without its `{`"))?;
                    if let Some(statement) = open.last_mut().and_then(|block| block.last_mut()) {
                        statement.block = Some(closed);
                    }
                }
            }
        }
        if let Some(block) = open.last_mut() {
            end_line(block, words, Place::new(file, last));
        }
    }
    let whole = open.pop().filter(|_| open.is_empty());
    whole.ok_or_else(|| wrong(last, "a block without its `}`"))
}

/// A brace that stands on a line of its own belongs to the line before.
fn open_block(block: &mut Vec<Statement>, words: Vec<String>, place: Place) {
    let continues = words.is_empty() && block.last().is_some_and(|statement| statement.block.is_none());
    if !continues {
        block.push(Statement { words, block: None, place });
    }
}

fn end_line(block: &mut Vec<Statement>, words: Vec<String>, place: Place) {
    if !words.is_empty() {
        block.push(Statement { words, block: None, place });
    }
}

enum Token {
    Word(String),
    Open,
    Close,
}

/// The tokens of a line up to a comment, which `!` and `#` begin outside quotes.
fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => word.get_or_insert_default().extend(chars.by_ref().take_while(|c| *c != '"')),
            _ if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            '!' | '#' => break,
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Statement>, SyntaxError> {
        parse(text, Path::new("/k"))
    }

    const TEXT: &str = r#"
! Configuration File for keepalived
global_defs {
    router_id node1
}
vrrp_script chk {
    script "/usr/sbin/standin check"   # quoted
    interval 2
}
vrrp_instance db {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    nopreempt
    virtual_ipaddress {
        10.77.0.100/24
        10.77.0.101 dev eth2 label eth2:1
        2001:db8::1/64
    }
    track_script { chk }
    notify_master "/usr/local/sbin/promote now"
    notify
    {
    }
}
"#;

    #[test]
    fn an_instance_is_understood() {
        let file = parsed(TEXT).unwrap();
        let instances = vrrp_instances(&file);
        let [instance] = instances.as_slice() else { panic!("{instances:?}") };
        assert_eq!((instance.name.as_str(), instance.state.as_deref()), ("db", Some("BACKUP")));
        assert_eq!((instance.interface.as_deref(), instance.priority), (Some("eth0"), Some(100)));
        assert!(instance.nopreempt);
        let addresses: Vec<String> = instance
            .addresses
            .iter()
            .map(|held| format!("{}/{} {:?} {}", held.address, held.prefix, held.interface, held.place))
            .collect();
        assert_eq!(
            addresses,
            [r#"10.77.0.100/24 Some("eth0") /k:17"#, r#"10.77.0.101/32 Some("eth2") /k:18"#]
        );
        assert_eq!(instance.track_scripts, ["chk"]);
        assert_eq!(
            instance.notify[0],
            ("notify_master".to_owned(), "/usr/local/sbin/promote now".to_owned())
        );
        assert_eq!(instance.place, Place::new("/k", 10));
        assert_eq!(file[1].inner()[0].words, ["script", "/usr/sbin/standin check"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let wrong = |text: &str| parsed(text).unwrap_err().to_string();
        assert_eq!(wrong("a {\n"), "/k:1: a block without its `}`");
        assert_eq!(wrong("a\n}\n"), "/k:2: a `}` without its `{`");
        assert!(wrong(&"{".repeat(100_000)).ends_with("nested too deep"));
        assert!(vrrp_instances(&parsed("vrrp_instance\n").unwrap())[0].addresses.is_empty());
        assert!(vrrp_instances(&parsed("# vrrp_instance x {\n").unwrap()).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", lines in "([a-c\"!#{} ]{0,8}\n){0,20}") {
            let _ = parsed(&text);
            if let Ok(file) = parsed(&format!("vrrp_instance x {{\nvirtual_ipaddress {{\n{lines}\n}}\n}}")) {
                vrrp_instances(&file);
            }
        }

        #[test]
        fn addresses_come_back(octets: [u8; 4], prefix in 0u8..=32) {
            let address = Ipv4Addr::from(octets);
            let text = format!("vrrp_instance x {{\nvirtual_ipaddress {{\n{address}/{prefix} dev eth9\n}}\n}}");
            let instance = vrrp_instances(&parsed(&text).unwrap()).remove(0);
            prop_assert_eq!((instance.addresses[0].address, instance.addresses[0].prefix), (address, prefix));
        }
    }
}
