//! Nothing but a takeover may start the server: not the boot, not a socket, not a second unit.

use crate::doctor::survey::{Survey, Unit, UnitSurvey};
use crate::doctor::{Finding, remedy};

/// Units that start this one, or others that would be in its way.
const SOCKETS: [&str; 3] = ["mariadb.socket", "mariadb-extra.socket", "mysql.socket"];

/// The configured unit under each of its names.
pub(super) fn unit(survey: &UnitSurvey, name: &str, unit: &Unit) -> Finding {
    let check = "unit-not-at-boot";
    let why = "a server that starts at boot runs on the wrong node, and on the empty directory below the mount point";
    let state = unit.get("UnitFileState");
    let is_ours = |other: &str| other == name || unit.names().any(|own| own == other);
    let links: Vec<_> = survey.at_boot.iter().filter(|link| is_ours(&link.name)).collect();
    let mut finding = match (state, links.first()) {
        ("enabled" | "enabled-runtime", _) => Finding::fail(check, format!("{name} is {state}"), why)
            .remedy(remedy::words(&["systemctl", "disable", name])),
        (_, None) => {
            return Finding::pass(
                check,
                format!("{name} is {}", if state.is_empty() { "disabled" } else { state }),
            );
        }
        (_, Some(link)) => Finding::fail(check, format!("{} starts {}", link.link.display(), link.name), why),
    };
    // An alias' link is left by `systemctl disable` of another name, and it can't know those of rcN.d.
    for link in &links {
        finding = finding.remedy(remedy::words(&["rm", "-f", &link.link.to_string_lossy()]));
    }
    finding.remedy("systemctl daemon-reload")
}

/// Other servers, and sockets that start this one.
pub(super) fn servers(survey: &Survey, unit: Option<&Unit>) -> Option<Finding> {
    let check = "unit-others-at-boot";
    let is_ours = |name: &str| unit.is_some_and(|unit| unit.names().any(|own| own == name));
    let links: Vec<_> = survey.unit.at_boot.iter().filter(|link| !is_ours(&link.name)).collect();
    let Some(first) = links.first() else {
        return Some(Finding::pass(check, "no other unit starts a server at boot"));
    };
    let starts_this = SOCKETS.contains(&first.name.as_str());
    let why = if starts_this {
        "systemd starts the server as soon as anybody connects, also on the node that does not have the data"
    } else {
        "a second server may take the port, the socket or the data directory before this one"
    };
    let mut finding = Finding::fail(check, format!("{} starts {}", first.link.display(), first.name), why);
    for link in links {
        finding = finding.remedy(remedy::words(&["rm", "-f", &link.link.to_string_lossy()]));
    }
    Some(
        finding
            .remedy("systemctl daemon-reload")
            .advice("stop what runs already: systemctl stop, when it is not the active node's"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::survey::BootLink;
    use crate::doctor::{Status, sample, unit::examine};

    fn finding(survey: &Survey, check: &str) -> Finding {
        let findings = examine(survey, &sample::config());
        findings.into_iter().find(|finding| finding.check == check).unwrap()
    }

    fn link(name: &str) -> BootLink {
        BootLink {
            link: format!("/etc/systemd/system/multi-user.target.wants/{name}").into(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn an_enabled_unit_fails() {
        let mut survey = sample::survey();
        assert_eq!(finding(&survey, "unit-not-at-boot").status, Status::Pass);
        sample::unit(&mut survey, "UnitFileState", "enabled");
        let finding = finding(&survey, "unit-not-at-boot");
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.remedy[0], "systemctl disable mariadb.service");
    }

    #[test]
    fn an_alias_counts_as_the_unit() {
        let mut survey = sample::survey();
        survey.unit.at_boot.push(link("mysql.service"));
        let finding = finding(&survey, "unit-not-at-boot");
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.remedy[0], "rm -f /etc/systemd/system/multi-user.target.wants/mysql.service");
    }

    #[test]
    fn other_servers_and_sockets_are_found() {
        let mut survey = sample::survey();
        assert_eq!(finding(&survey, "unit-others-at-boot").status, Status::Pass);
        survey.unit.at_boot.push(link("mariadb.socket"));
        assert_eq!(finding(&survey, "unit-others-at-boot").status, Status::Fail);
    }
}
