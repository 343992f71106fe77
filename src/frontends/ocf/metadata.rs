//! What the agent says of itself: XML by the 1.0 DTD of the resource agent API, which also readers of 1.1 understand.

use std::fmt::Write;

use super::table::{CONFIG, Kind, PARAMETERS, Parameter};

const HEAD: &str = r#"<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="innodb" version="VERSION">
<version>1.0</version>
<longdesc lang="en">
A database on InnoDB whose data is on DRBD, with its file system, its server and its virtual IP: one agent in place of
drbd, Filesystem, mysql and IPaddr2.

As a primitive, start takes over and stop releases; DRBD must be up on both nodes from boot on. As a promotable clone, start
brings DRBD up, promote takes over, demote releases, and stop brings DRBD down; the promotion score follows the disk's state.

A takeover refuses what would lose data: a peer that may still be Primary, a local disk that is not current, tables that are
mostly MyISAM. Crash recovery that lasts longer than the operation's timeout goes on in a scope of its own: the monitor
answers 190 or 191 (degraded) meanwhile.

Depths of the monitor: 0 looks at DRBD, the mount, the server's handshake and the address, and starts no process; 10 also
writes through the mount; 20 also sends a query through the virtual IP.
</longdesc>
<shortdesc lang="en">Failover of InnoDB on DRBD</shortdesc>
<parameters>
"#;

const ACTIONS: &str = r#"</parameters>
<actions>
<action name="start" timeout="300s"/>
<action name="stop" timeout="360s"/>
<action name="promote" timeout="300s"/>
<action name="demote" timeout="360s"/>
<action name="notify" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s" depth="0"/>
<action name="monitor" timeout="20s" interval="10s" depth="0" role="Promoted"/>
<action name="monitor" timeout="20s" interval="11s" depth="0" role="Unpromoted"/>
<action name="monitor" timeout="30s" interval="60s" depth="10"/>
<action name="monitor" timeout="30s" interval="60s" depth="20"/>
<action name="validate-all" timeout="20s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
"#;

/// The whole document.
pub(super) fn metadata() -> String {
    let mut text = HEAD.replace("VERSION", env!("CARGO_PKG_VERSION"));
    element(
        &mut text,
        CONFIG,
        "string",
        None,
        "The configuration",
        "The cluster's name (its configuration is /etc/standin/NAME.yaml) or the path of its configuration, the same on both \
         nodes. Without it and without any other parameter: the only configuration in /etc/standin. All other parameters are \
         for those who keep no such file; then nodes, vip, interface, resource, device, directory, fstype, socket and either \
         unit or command are needed. DRBD's fence-peer handler and the commands for people need the file.",
    );
    for Parameter { name, kind, default, short, long, .. } in &PARAMETERS {
        let content = match kind {
            Kind::Number => "integer",
            Kind::Flag => "boolean",
            Kind::Text | Kind::List | Kind::Command | Kind::Nodes | Kind::Pairs => "string",
        };
        element(&mut text, name, content, *default, short, long);
    }
    text += ACTIONS;
    text
}

fn element(text: &mut String, name: &str, content: &str, default: Option<&str>, short: &str, long: &str) {
    let default = default.map(|default| format!(" default=\"{}\"", escaped(default))).unwrap_or_default();
    // Writing to text can't fail.
    let _ = write!(
        text,
        "<parameter name=\"{name}\" unique=\"0\" required=\"0\">\n<longdesc lang=\"en\">\n{}\n</longdesc>\n\
         <shortdesc lang=\"en\">{}</shortdesc>\n<content type=\"{content}\"{default}/>\n</parameter>\n",
        escaped(long),
        escaped(short)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use roxmltree::{Document, ParsingOptions};

    #[test]
    fn every_parameter_and_action_is_described() {
        let text = metadata();
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document = Document::parse_with_options(&text, options).unwrap();
        let names = |tag| {
            let found = document.descendants().filter(move |node| node.has_tag_name(tag));
            found.map(|node| node.attribute("name").unwrap().to_owned()).collect::<Vec<_>>()
        };
        let parameters = names("parameter");
        assert!(parameters.contains(&CONFIG.to_owned()));
        for parameter in &PARAMETERS {
            assert_eq!(
                parameters.iter().filter(|name| *name == parameter.name).count(),
                1,
                "{}",
                parameter.name
            );
        }
        for action in names("action") {
            assert!(super::super::call::Action::parse(&action).is_some(), "{action}");
        }
    }
}
