//! Which refusals justify that nobody serves when every fault is mended: an explicit list, and nothing else does.

/// A sentence that may stand in a refusal, and the rule that it states.
const RULES: [(&str, &[&str]); 12] = [
    (
        "the local data is not known to be current",
        &[
            "is Outdated",
            "is Inconsistent",
            "is Diskless",
            "is Failed",
            "is Attaching",
            "is DUnknown",
            "is Consistent: whether it is current is not known",
            "a resync from the peer runs",
        ],
    ),
    ("this node is isolated", &["no witness answers"]),
    (
        "the peer is Primary",
        &["the peer is Primary and answers", "both nodes are Primary", "is active: it holds"],
    ),
    (
        "the peer lives and can't be seen into",
        &[
            "but DRBD is not connected to it",
            "but not at its replication address",
            "DRBD does not show its role yet",
        ],
    ),
    (
        "nothing shows that the peer is dead",
        &["not every address of the peer could be asked", "replication address answers could not be learnt"],
    ),
    ("the peer may have committed alone", &["was not in step with"]),
    ("the other node still holds the virtual IP", &["is still answered by"]),
    (
        "I/O is frozen until it is settled which node serves",
        &["holds back all I/O", "I/O stays frozen", "I/O is frozen"],
    ),
    ("DRBD disconnected by itself: a split brain", &["is StandAlone, and not because of"]),
    ("a person has paused it", &["paused"]),
    (
        "it took over a moment ago, and moving back would make the database flap",
        &["would make the database flap"],
    ),
    ("it gave up by itself, and nobody has acknowledged that", &["this node gave up by itself"]),
];

/// What one node says of why it does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its name.
    pub node: String,
    /// The refusals, each as the operator reads it.
    pub refusals: Vec<String>,
}

/// One node's refusal, and the rule that justifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Justified {
    /// The node's name.
    pub node: String,
    /// The rule.
    pub rule: &'static str,
    /// The refusal's first line.
    pub text: String,
}

/// Whether nobody serves for good reasons.
///
/// # Errors
/// What is missing: a node that refused nothing, or for a reason that is in no rule.
pub fn justify(said: &[Said]) -> Result<Vec<Justified>, String> {
    said.iter().map(justify_one).collect()
}

fn justify_one(said: &Said) -> Result<Justified, String> {
    let node = said.node.clone();
    for text in &said.refusals {
        let first = text.lines().next().unwrap_or_default();
        let rule = RULES.iter().find(|(_, parts)| parts.iter().any(|part| first.contains(part)));
        if let Some((rule, _)) = rule {
            return Ok(Justified { node, rule, text: first.to_owned() });
        }
    }
    Err(match said.refusals.last() {
        None => format!("{node} does not serve and refused nothing"),
        Some(text) => format!("{node} refused for a reason that no rule knows: {text}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(node: &str, refusals: &[&str]) -> Said {
        Said { node: node.to_owned(), refusals: refusals.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn both_nodes_need_a_reason() {
        let outdated = "refused: the local disk of r0 is Outdated\n  why it matters: …";
        let isolated = "refused: no witness answers (10.77.0.254)";
        let found = justify(&[said("node1", &[outdated]), said("node2", &[isolated])]).unwrap();
        assert_eq!(found[0].rule, "the local data is not known to be current");
        assert_eq!(found[1].rule, "this node is isolated");
        assert!(justify(&[said("node1", &[outdated]), said("node2", &[])]).is_err());
    }

    #[test]
    fn any_of_a_nodes_refusals_may_be_the_reason() {
        let found = justify(&[said(
            "node1",
            &["refused: Pacemaker runs on this node", "the local disk of r0 is Diskless"],
        )]);
        assert_eq!(found.unwrap()[0].text, "the local disk of r0 is Diskless");
    }

    /// Words of advice are in later lines, and justify nothing.
    #[test]
    fn what_is_in_no_rule_justifies_nothing() {
        let text = "refused: another mysqld runs\n  why it matters: the local disk is Outdated";
        assert!(justify(&[said("node2", &[text])]).unwrap_err().contains("no rule"));
    }
}
