//! What Pacemaker moves when it moves a primitive: the primitive itself, or the group or clone that it is in.

use roxmltree::{Document, Node};

/// What `crm_resource --move` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movable {
    /// The id of the primitive, the group or the clone.
    pub id: String,
    /// It is a promotable clone: its promoted role moves.
    pub promotable: bool,
}

/// Finds what holds standin's primitive for a cluster: the one whose parameters name it (`config` by name or path, or
/// `drbd_resource`), or else the only one of standin's.
///
/// # Errors
/// In one sentence why there is none, or not one alone.
pub fn movable(cib: &str, cluster: &str, file: &str, resource: &str) -> Result<Movable, String> {
    let document = Document::parse(cib)
        .map_err(|error| format!("Pacemaker's configuration is not understood: {error}"))?;
    let ours: Vec<Node<'_, '_>> = document
        .descendants()
        .filter(|node| {
            node.has_tag_name("primitive")
                && node.attribute("provider") == Some("standin")
                && node.attribute("type") == Some("innodb")
        })
        .collect();
    let names_it = |node: &&Node<'_, '_>| {
        pairs(**node).any(|(name, value)| match name {
            "config" | "cluster" => value == cluster || value == file,
            "drbd_resource" => value == resource,
            _ => false,
        })
    };
    let named: Vec<Node<'_, '_>> = ours.iter().filter(names_it).copied().collect();
    let one = match (named.as_slice(), ours.as_slice()) {
        ([one], _) | ([], [one]) => *one,
        ([], []) => return Err("Pacemaker has no resource ocf:standin:innodb".to_owned()),
        _ => {
            return Err(format!(
                "Pacemaker has several resources ocf:standin:innodb, and not one of them alone names {cluster}"
            ));
        }
    };
    let holder = one
        .ancestors()
        .skip(1)
        .filter(|node| ["group", "clone", "master"].iter().any(|tag| node.has_tag_name(*tag)))
        .last();
    let id = |node: Node<'_, '_>| node.attribute("id").unwrap_or_default().to_owned();
    Ok(match holder {
        None => Movable { id: id(one), promotable: false },
        Some(holder) => {
            let says = holder
                .children()
                .filter(|child| child.has_tag_name("meta_attributes"))
                .flat_map(pairs)
                .any(|(name, value)| name == "promotable" && value == "true");
            Movable { id: id(holder), promotable: says || holder.has_tag_name("master") }
        }
    })
}

fn pairs<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    node.descendants()
        .filter(|inner| inner.has_tag_name("nvpair"))
        .map(|pair| (pair.attribute("name").unwrap_or_default(), pair.attribute("value").unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn primitive(id: &str, config: &str) -> String {
        format!(
            r#"<primitive id="{id}" class="ocf" provider="standin" type="innodb"><instance_attributes id="{id}-i">
               <nvpair id="{id}-c" name="config" value="{config}"/></instance_attributes></primitive>"#
        )
    }

    fn of(resources: &str) -> Result<Movable, String> {
        let cib = format!("<cib><configuration><resources>{resources}</resources></configuration></cib>");
        movable(&cib, "orders", "/etc/standin/orders.yaml", "r0")
    }

    #[test]
    fn the_outermost_holder_is_moved() {
        let moves = |id: &str, promotable| Ok(Movable { id: id.to_owned(), promotable });
        let db = primitive("db", "orders");
        assert_eq!(of(&db), moves("db", false));
        assert_eq!(of(&format!("<group id=\"g\">{db}</group>")), moves("g", false));
        let meta =
            r#"<meta_attributes id="m"><nvpair id="n" name="promotable" value="true"/></meta_attributes>"#;
        assert_eq!(of(&format!("<clone id=\"c\">{meta}{db}</clone>")), moves("c", true));
        assert_eq!(of(&format!("<master id=\"c\">{db}</master>")), moves("c", true));
    }

    #[test]
    fn the_cluster_is_found_among_several() {
        let two = primitive("a", "/etc/standin/orders.yaml") + &primitive("b", "invoices");
        assert_eq!(of(&two).unwrap().id, "a");
        assert!(of(&(primitive("a", "x") + &primitive("b", "y"))).unwrap_err().contains("several"));
        assert_eq!(of(&primitive("a", "")).unwrap().id, "a", "the only one");
        assert!(of("").unwrap_err().contains("no resource"));
        assert!(movable("<cib>", "orders", "", "r0").is_err());
    }
}
