//! What is left to do when the file is there, as commands to type.

use std::path::Path;

use super::{Draft, Found};
use crate::observation::Fact;

/// One thing to do: why, and what to type or write.
type Step = (String, Vec<String>);

/// The steps, in order, as text for people.
pub fn next_steps(draft: &Draft, found: &Found, file: &Path) -> String {
    let mut steps: Vec<Step> = Vec::new();
    let shown = file.display();
    if draft.credentials.is_none() {
        steps.push(credentials(&draft.cluster));
    }
    if !fences(draft, found) {
        steps.push(fencing(draft, found));
    }
    if draft.witnesses.is_empty() {
        let why = "Name a third machine under `witnesses` (the router, say), or a `fence` command: without either, a \
                   node that is cut off sees what a survivor sees, and takes over.";
        steps.push((why.to_owned(), Vec::new()));
    }
    if let Some(peer) = draft.nodes.iter().find(|node| node.name.value != draft.host) {
        let why = format!("Put the same file on {}, or run standin init there, too:", peer.name.value);
        steps.push((why, vec![format!("scp -p {shown} root@{}:{shown}", peer.address.value)]));
    }
    let config = if has_own_place(file, &draft.cluster) {
        format!("--config {}", draft.cluster)
    } else {
        format!("--config {shown}")
    };
    steps.push((
        "Check every precondition, on both nodes:".to_owned(),
        vec![format!("standin doctor {config}")],
    ));
    let why = "See what a takeover would do, on the standby:".to_owned();
    steps.push((why, vec![format!("standin plan {config}")]));
    let mut text = "what to do next:\n".to_owned();
    for (number, (why, lines)) in steps.iter().enumerate() {
        text += &format!("  {}. {}\n", number + 1, wrapped(why).join("\n     "));
        for line in lines {
            text += &format!("       {line}\n");
        }
    }
    text
}

/// Lines of at most 90 characters, unless a word is longer.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 90 => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn has_own_place(file: &Path, cluster: &str) -> bool {
    file == crate::config::directory().join(format!("{cluster}.yaml"))
}

fn credentials(cluster: &str) -> Step {
    let why = "Give standin an account, so that a takeover verifies a query; on the active node, in the mysql client, \
               and in the file on both nodes:";
    let lines = vec![
        "CREATE USER standin@'%' IDENTIFIED BY '…';  -- a takeover needs no privilege".to_owned(),
        "GRANT SUPER ON *.* TO standin@'%';  -- MySQL: SYSTEM_VARIABLES_ADMIN; only for a switchover that prepares its shutdown"
            .to_owned(),
        format!("install -m 600 /dev/null /etc/standin/{cluster}.cnf"),
        format!("editor /etc/standin/{cluster}.cnf   # [client], user=standin, password=…"),
        format!("then, in the configuration: credentials: /etc/standin/{cluster}.cnf"),
    ];
    (why.to_owned(), lines)
}

/// Whether DRBD freezes I/O when it loses the peer, until a handler has answered.
fn fences(draft: &Draft, found: &Found) -> bool {
    let Fact::Known(configuration) = &found.drbd else { return false };
    let Some(resource) = configuration.resource(&draft.resource.value) else { return false };
    let policy = resource.net.get("fencing").or_else(|| resource.disk.get("fencing"));
    policy.is_some_and(|policy| policy == "resource-and-stonith")
        && resource.handlers.contains_key("fence-peer")
}

fn fencing(draft: &Draft, found: &Found) -> Step {
    let resource = &draft.resource.value;
    // The option moved from `disk` to `net` with version 9; each takes it only there.
    let section = if found.drbd_version == Some(9) { "net" } else { "disk" };
    let why = format!(
        "Let DRBD freeze I/O when it loses the peer, until standin has judged: otherwise a node that was paused goes on \
         committing after the other one took over. In the resource {resource}, on both nodes:"
    );
    let lines = [
        &format!("{section} {{ fencing resource-and-stonith; }}"),
        "handlers {",
        "    fence-peer   \"/usr/sbin/standin fence-peer\";",
        "    unfence-peer \"/usr/sbin/standin unfence-peer\";",
        "}",
        &format!("then: drbdadm adjust {resource}"),
    ];
    (why, lines.map(str::to_owned).to_vec())
}
