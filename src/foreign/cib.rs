//! Pacemaker's cluster information base, as `cibadmin --query` prints it: properties, primitives, time limits.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};
use serde::{Deserialize, Serialize};

/// Parameters that say what a primitive acts on. Others may be passwords.
const KEPT: [&str; 11] = [
    "ip",
    "cidr_netmask",
    "nic",
    "device",
    "directory",
    "fstype",
    "datadir",
    "config",
    "cluster",
    "drbd_resource",
    "binary",
];

/// What matters of the cluster information base.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cib {
    /// Cluster properties, such as `stonith-enabled`.
    pub properties: BTreeMap<String, String>,
    /// Every primitive.
    pub primitives: Vec<Primitive>,
}

/// One primitive resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primitive {
    /// Its id.
    pub id: String,
    /// `ocf`, `systemd`, `stonith`, …
    pub class: String,
    /// `heartbeat`, `standin`, …; empty where the class has no providers.
    #[serde(default)]
    pub provider: String,
    /// The agent.
    pub agent: String,
    /// The parameters that name an address, a device, a directory or a configuration; no others, they may be passwords.
    pub parameters: BTreeMap<String, String>,
    /// The time limit of each operation, as it is written.
    pub timeouts: BTreeMap<String, String>,
}

/// Reads it.
///
/// # Errors
/// It is no well-formed XML, or of something else.
pub fn parse(text: &str) -> Result<Cib, String> {
    let document = Document::parse(text)
        .map_err(|error| format!("Pacemaker's configuration is not understood: {error}"))?;
    if !document.root_element().has_tag_name("cib") {
        return Err("Pacemaker's configuration is not understood: its root is no cib".to_owned());
    }
    let named = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
    let pairs = |node: Node<'_, '_>| {
        node.descendants()
            .filter(|inner| inner.has_tag_name("nvpair"))
            .map(|pair| (text_of(pair, "name"), text_of(pair, "value")))
            .collect::<Vec<_>>()
    };
    let properties = named("crm_config").flat_map(pairs).collect();
    let primitives = named("primitive").map(|primitive| Primitive {
        id: text_of(primitive, "id"),
        class: text_of(primitive, "class"),
        provider: text_of(primitive, "provider"),
        agent: text_of(primitive, "type"),
        parameters: primitive
            .children()
            .filter(|child| child.has_tag_name("instance_attributes"))
            .flat_map(pairs)
            .filter(|(name, _)| KEPT.contains(&name.as_str()))
            .collect(),
        timeouts: primitive
            .descendants()
            .filter(|operation| operation.has_tag_name("op") && operation.has_attribute("timeout"))
            .map(|operation| (text_of(operation, "name"), text_of(operation, "timeout")))
            .collect(),
    });
    Ok(Cib { properties, primitives: primitives.collect() })
}

fn text_of(node: Node<'_, '_>, attribute: &str) -> String {
    node.attribute(attribute).unwrap_or_default().to_owned()
}

impl Primitive {
    /// Whether it is standin's own.
    pub fn is_ours(&self) -> bool {
        self.provider == "standin" && self.agent == "innodb"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CIB: &str = r#"<cib epoch="5"><configuration>
<crm_config><cluster_property_set id="o"><nvpair id="a" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<resources><group id="g">
<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="i">
<nvpair id="b" name="ip" value="10.77.0.100"/><nvpair id="c" name="passwd" value="secret"/></instance_attributes></primitive>
<primitive id="db" class="ocf" provider="standin" type="innodb"><operations><op id="s" name="start" timeout="300s" interval="0"/></operations></primitive>
</group></resources></configuration></cib>"#;

    #[test]
    fn properties_and_primitives_are_found_and_no_passwords() {
        let cib = parse(CIB).unwrap();
        assert_eq!(cib.properties.get("stonith-enabled").map(String::as_str), Some("false"));
        let [vip, db] = cib.primitives.as_slice() else { panic!("{cib:?}") };
        assert_eq!(vip.parameters.get("ip").map(String::as_str), Some("10.77.0.100"));
        assert_eq!(db.timeouts.get("start").map(String::as_str), Some("300s"));
        assert!(!format!("{cib:?}").contains("secret"));
        assert!(db.is_ours() && !vip.is_ours());
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(parse("<cib>").is_err() && parse("<other/>").is_err() && parse("").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", language in "(</?(cib|op|nvpair|primitive) ?(name=\"a\")?/?>){0,9}") {
            let _ = (parse(&text), parse(&language));
        }
    }
}
