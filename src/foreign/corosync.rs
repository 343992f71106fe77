//! `corosync.conf` (corosync.conf(5)): nested sections of `key: value`.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Place, SyntaxError};

/// Deeper than any real file, whose sections are two deep.
const DEPTH_LIMIT: usize = 10;

/// One `key: value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where.
    pub place: Place,
}

/// A section, or the whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Its name; empty for the whole file.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Its own values, in order.
    pub values: Vec<Value>,
    /// The sections in it, in order.
    pub sections: Vec<Section>,
}

impl Section {
    fn new(name: &str, place: Place) -> Self {
        Self { name: name.to_owned(), place, values: Vec::new(), sections: Vec::new() }
    }

    /// The last value of a key, which wins.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.iter().rfind(|value| value.key == key)
    }

    /// Every section of a name directly in this one: a section may stand more than once.
    pub fn all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a Section> + use<'a, 'n> {
        self.sections.iter().filter(move |section| section.name == name)
    }

    /// The last value of `SECTION.key`, over all sections of that name.
    pub fn setting(&self, section: &str, key: &str) -> Option<&Value> {
        self.all(section).rev().find_map(|section| section.get(key))
    }

    /// The nodes of the nodelist.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        self.all("nodelist")
            .flat_map(|list| list.all("node"))
            .map(|node| Node {
                name: node.get("name").map(|value| value.value.as_str()),
                // ring0_addr to ring7_addr, the links of knet.
                addresses: (0..8)
                    .filter_map(|ring| node.get(&format!("ring{ring}_addr")))
                    .map(|value| value.value.as_str())
                    .collect(),
                place: &node.place,
            })
            .collect()
    }

    /// How long a silent node goes unnoticed, when `totem.token` is set and a number of milliseconds.
    pub fn token(&self) -> Option<Duration> {
        self.setting("totem", "token")?.value.parse().ok().map(Duration::from_millis)
    }

    /// `quorum.two_node`.
    pub fn two_node(&self) -> bool {
        self.setting("quorum", "two_node").is_some_and(|value| value.value == "1")
    }
}

/// A node of the nodelist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its name, when it has one.
    pub name: Option<&'a str>,
    /// Its addresses or host names, link by link.
    pub addresses: Vec<&'a str>,
    /// Where it stands.
    pub place: &'a Place,
}

/// Parses corosync.conf.
///
/// # Errors
/// A brace too many or too few, a line that is no `key: value`, or sections nested deeper than 10.
pub fn parse(text: &str, file: &Path) -> Result<Section, SyntaxError> {
    let wrong =
        |line: usize, what: &str| SyntaxError { place: Place::new(file, line), what: what.to_owned() };
    let mut open = vec![Section::new("", Place::new(file, 1))];
    let mut last = 1;
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // As coroparse.c: a brace anywhere opens a section, then a colon anywhere makes a value, then a brace closes.
        if let Some((name, _)) = line.split_once('{') {
            if open.len() > DEPTH_LIMIT {
                return Err(wrong(last, "sections are nested too deep"));
            }
            open.push(Section::new(name.trim(), Place::new(file, last)));
        } else if let Some((key, value)) = line.split_once(':') {
            let place = Place::new(file, last);
            let value = Value { key: key.trim().to_owned(), value: value.trim().to_owned(), place };
            if let Some(section) = open.last_mut() {
                section.values.push(value);
            }
        } else if line.contains('}') {
            let closed = open.pop().filter(|_| !open.is_empty());
            let closed = closed.ok_or_else(|| wrong(last, "a `}` without its `{`"))?;
            if let Some(section) = open.last_mut() {
                section.sections.push(closed);
            }
        } else {
            return Err(wrong(last, "neither a section nor `key: value`"));
        }
    }
    let whole = open.pop().filter(|_| open.is_empty());
    whole.ok_or_else(|| wrong(last, "a section without its `}`"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Section, SyntaxError> {
        parse(text, Path::new("/c"))
    }

    const TEXT: &str = "\
totem {
    version: 2
    token: 5000
    interface {
        ringnumber: 0
    }
}
# token: 1
quorum {
  provider: corosync_votequorum
  two_node: 1
}
nodelist {
  node {
    name: node1
    ring0_addr: 10.77.0.1
    ring1_addr: 10.77.1.1
  }
  node {
    ring0_addr: node2
  }
}
totem {
  secauth: on
}
";

    #[test]
    fn sections_and_values_have_their_lines() {
        let file = parsed(TEXT).unwrap();
        assert_eq!(file.token(), Some(Duration::from_secs(5)));
        assert_eq!(file.setting("totem", "token").unwrap().place, Place::new("/c", 3));
        assert_eq!(file.setting("totem", "secauth").unwrap().value, "on");
        assert!(file.two_node());
        let nodes = file.nodes();
        assert_eq!(
            (nodes[0].name, nodes[0].addresses.as_slice()),
            (Some("node1"), &["10.77.0.1", "10.77.1.1"][..])
        );
        assert_eq!((nodes[1].name, nodes[1].place.line), (None, 19));
        assert_eq!(file.all("totem").next().unwrap().sections[0].name, "interface");
        assert!(file.setting("totem", "nothing").is_none() && file.setting("nowhere", "token").is_none());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let wrong = |text: &str| parsed(text).unwrap_err().to_string();
        assert_eq!(wrong("totem {\n"), "/c:1: a section without its `}`");
        assert_eq!(wrong("a: b\n}\n"), "/c:2: a `}` without its `{`");
        assert_eq!(wrong("\ntoken 5\n"), "/c:2: neither a section nor `key: value`");
        assert!(wrong(&"a {\n".repeat(100_000)).ends_with("nested too deep"));
        assert!(!parsed("").unwrap().two_node());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", lines in "([a-c]{0,3}[{}:#]?[ a]{0,2}\n){0,20}") {
            let _ = parsed(&text);
            if let Ok(file) = parsed(&lines) {
                let _ = (file.nodes(), file.token());
            }
        }

        #[test]
        fn values_come_back(key in "[a-z_0-9]{1,10}", value in "[A-Za-z0-9_./:-]{1,20}") {
            let file = parsed(&format!("totem {{\n {key}: {value}\n}}\n")).unwrap();
            prop_assert_eq!(&file.setting("totem", &key).unwrap().value, &value);
        }
    }
}
