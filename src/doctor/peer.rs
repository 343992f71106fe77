//! Checks of what both nodes must have in common.

use super::survey::{PeerFacts, Survey, Values};
use super::{Finding, remedy};
use crate::config::Config;
use crate::observation::Fact;
use crate::plan::shell_words;

/// How far the clocks may be apart, in seconds. The answer over ssh is some tenths of a second old; both nodes' logs and
/// binary logs have a resolution of a second.
const CLOCKS: f64 = 1.0;

/// How many differences are shown.
const SHOWN: usize = 5;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let here = &survey.here;
    let there = match &survey.peer {
        Fact::Known(there) => there,
        Fact::Unknown(cause) => return vec![not_asked(cause, config)],
    };
    if there.node != config.peer.name {
        return vec![stranger(there, config)];
    }
    let how = there
        .came
        .as_ref()
        .map_or_else(|| "from a file".to_owned(), |came| format!("by ssh from {}", came.from));
    let mut findings = vec![Finding::pass("peer-facts", format!("of {}, {how}", there.node))];
    findings.push(standin(here, there));
    findings.push(configuration(here, there, config));
    findings.push(drbd_module(here, there));
    findings.push(drbd_files(here, there, survey, config));
    findings.push(mysqld(here, there));
    findings.push(unit(here, there));
    findings.push(account(here, there, survey, config));
    findings.push(options(here, there));
    findings.extend(clock(there, survey));
    findings
}

fn not_asked(cause: &str, config: &Config) -> Finding {
    let (name, address) = (&config.peer.name, config.peer.replication_address);
    let peers =
        shell_words(&["standin".to_owned(), "--config".to_owned(), config.file.display().to_string()]);
    let seen = cause.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let by_hand = format!(
        "compare by hand: ssh {address} {peers} doctor --facts > /tmp/{name}.json; {peers} doctor --peer-facts \
         /tmp/{name}.json"
    );
    // The words of a command that was given up (node::command).
    let advice = if cause.contains(" did not end within ") {
        format!("the peer took too long to answer: ask again, or {by_hand}")
    } else if cause.contains("ended with exit code") && !cause.contains("exit code 255") {
        let file = config.file.display();
        format!(
            "ssh works, standin fails there: see ssh {address} {peers} doctor; when its configuration is missing: scp -p {file} \
             root@{address}:{file}"
        )
    } else {
        format!(
            "let root log in to {address} with a key, its host key in /root/.ssh/known_hosts; or {by_hand}"
        )
    };
    Finding::warn(
        "peer-facts",
        format!("no facts of {name}: {seen}"),
        "whether both nodes have the same configuration, DRBD, server, unit and user numbers is not known",
    )
    .advice(advice)
}

fn stranger(there: &PeerFacts, config: &Config) -> Finding {
    Finding::fail(
        "peer-facts",
        format!("they are of {}, the peer is {}", there.node, config.peer.name),
        "what was compared would be another machine, or this one",
    )
    .advice(format!(
        "take those of {}; correct its addresses in {}",
        config.peer.name,
        config.file.display()
    ))
}

/// The two values of a fact when both are known; otherwise the finding that says which is not.
fn both<'a, T>(
    check: &'static str,
    here: &'a Fact<T>,
    there: &'a Fact<T>,
) -> Result<(&'a T, &'a T), Finding> {
    match (here, there) {
        (Fact::Known(here), Fact::Known(there)) => Ok((here, there)),
        (Fact::Unknown(cause), _) => Err(Finding::unknown(check, cause)),
        (_, Fact::Unknown(cause)) => Err(Finding::unknown(check, &format!("the peer: {cause}"))),
    }
}

/// What differs, as `key: VALUE here, VALUE there`; `None` when nothing does.
fn differences(here: &Values, there: &Values) -> Option<String> {
    let mut keys: Vec<&String> =
        here.keys().chain(there.keys()).filter(|key| here.get(*key) != there.get(*key)).collect();
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        return None;
    }
    let value = |values: &Values, key: &String| {
        values.get(key).map_or_else(|| "nothing".to_owned(), |value| value.replace('\n', " "))
    };
    let shown = keys
        .iter()
        .take(SHOWN)
        .map(|key| format!("{key}: {} here, {} there", value(here, key), value(there, key)));
    let mut shown: Vec<String> = shown.collect();
    if keys.len() > SHOWN {
        shown.push(format!("and {} more", keys.len() - SHOWN));
    }
    Some(shown.join("; "))
}

/// How a file is copied either way. No command of it is a remedy: a difference does not tell which side is right, and taking
/// the peer's file may undo what was just mended here.
fn copy(finding: Finding, there: &PeerFacts, files: &[String], then: Option<&str>) -> Finding {
    let (file, where_it_stands) = match files {
        [] => {
            return finding.advice("find the side that is right, and make the files the same on both nodes");
        }
        [file] => (file.as_str(), String::new()),
        several => ("FILE", format!(" (FILE is the one of {} where it stands)", several.join(", "))),
    };
    let first =
        "see first which side is right: what the doctor finds in the settings of a node alone, mend there";
    let Some(came) = &there.came else {
        return finding.advice(format!("{first}; then make {file} the same on both nodes{where_it_stands}"));
    };
    let from = format!("{}:{file}", came.from);
    let keep = remedy::words(&["cp", "-p", file, &format!("{file}.before")]);
    let take = remedy::words(&["scp", "-p", "-o", "BatchMode=yes", &from, file]);
    let give = remedy::words(&["scp", "-p", "-o", "BatchMode=yes", file, &from]);
    let then =
        then.map_or_else(String::new, |then| format!("; then, on the node whose file changed: {then}"));
    finding.advice(format!(
        "{first}. Where the peer's file is right: {keep} && {take}. Where this node's is: {give}{where_it_stands}{then}"
    ))
}

fn standin(here: &PeerFacts, there: &PeerFacts) -> Finding {
    let check = "peer-standin";
    let seen = format!("standin {} here, {} there", here.standin, there.standin);
    if here.standin == there.standin {
        return Finding::pass(check, seen);
    }
    Finding::warn(check, seen, "the nodes may decide differently in the same situation")
        .advice("install the same version on both")
}

fn configuration(here: &PeerFacts, there: &PeerFacts, config: &Config) -> Finding {
    let check = "peer-configuration";
    let (own, other) = match both(check, &here.configuration, &there.configuration) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    let Some(differ) = differences(own, other) else {
        return Finding::pass(check, format!("{} keys, all the same", own.len()));
    };
    let why = "the nodes act on different addresses, devices or limits: what works on one fails on the other";
    copy(Finding::fail(check, differ, why), there, &[config.file.display().to_string()], None)
}

fn drbd_module(here: &PeerFacts, there: &PeerFacts) -> Finding {
    let check = "peer-drbd-module";
    let (own, other) = match both(check, &here.drbd_module, &there.drbd_module) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    let shown = |version: &Option<String>| version.clone().unwrap_or_else(|| "not loaded".to_owned());
    let seen = format!("{} here, {} there", shown(own), shown(other));
    let generation =
        |version: &Option<String>| version.as_deref().and_then(|v| v.split('.').next().map(str::to_owned));
    if own == other {
        Finding::pass(check, seen)
    } else if own.is_some() && other.is_some() && generation(own) != generation(other) {
        Finding::fail(
            check,
            seen,
            "the generations have different settings and commands: one file can't be right for both",
        )
        .advice("run the same module on both nodes")
    } else {
        Finding::warn(check, seen, "the newer one may switch on what the older does not know")
            .advice("run the same module on both nodes")
    }
}

fn drbd_files(here: &PeerFacts, there: &PeerFacts, survey: &Survey, config: &Config) -> Finding {
    let check = "peer-drbd-files";
    let (own, other) = match both(check, &here.drbd_files, &there.drbd_files) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    let Some(differ) = differences(own, other) else {
        return Finding::pass(check, format!("{} settings, all the same", own.len()));
    };
    let why = "DRBD refuses to connect nodes whose settings contradict each other, and each node acts on its own otherwise";
    let finding = Finding::fail(check, differ, why);
    let files: Vec<String> =
        survey.drbd.sources.iter().map(|source| source.file.display().to_string()).collect();
    copy(finding, there, &files, Some(&format!("drbdadm adjust {}", config.resource)))
}

fn mysqld(here: &PeerFacts, there: &PeerFacts) -> Finding {
    let check = "peer-mysqld";
    let (own, other) = match both(check, &here.mysqld, &there.mysqld) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    let seen = format!("{own} here, {other} there");
    let series = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    if own == other {
        return Finding::pass(check, own.clone());
    }
    let advice = "install the same version on both, the standby first";
    if series(own) == series(other) {
        return Finding::warn(check, seen, "the newer may write what the older can't read").advice(advice);
    }
    Finding::fail(
        check,
        seen,
        "the older can't open data that the newer has written, and the newer converts what it opens: there is no way back",
    )
    .advice(advice)
}

fn unit(here: &PeerFacts, there: &PeerFacts) -> Finding {
    let check = "peer-unit";
    let (own, other) = match both(check, &here.unit, &there.unit) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    match differences(own, other) {
        None => Finding::pass(check, format!("{} settings, all the same", own.len())),
        Some(differ) => Finding::warn(check, differ, "mysqld is started differently on the two nodes")
            .advice(
                "compare `systemctl cat` of the unit on both, and copy the drop-ins in /etc/systemd/system",
            ),
    }
}

fn account(here: &PeerFacts, there: &PeerFacts, survey: &Survey, config: &Config) -> Finding {
    let check = "peer-account";
    let (own, other) = match both(check, &here.account, &there.account) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    let shown =
        |account: &super::survey::Account| format!("{} {}:{}", account.name, account.uid, account.gid);
    if own == other {
        return Finding::pass(check, shown(own));
    }
    let finding = Finding::fail(
        check,
        format!("{} here, {} there", shown(own), shown(other)),
        "the data's files belong to numbers: mysqld can't open the files that the other node's mysqld made",
    );
    let runs = survey.observation.mysqld.known().is_none_or(|mysqld| !mysqld.processes.is_empty());
    if runs || own.name != other.name {
        return finding.advice(
            "give the user the same numbers on the node where mysqld does not run; see there: standin doctor",
        );
    }
    let name = &own.name;
    let mut finding = finding
        .remedy(format!("groupmod --gid {} $(id -gn {name})", other.gid))
        .remedy(format!("usermod --uid {} --gid {} {name}", other.uid, other.gid));
    if let Some(directory) = config.mysqld.error_log.as_ref().and_then(|log| log.parent()) {
        finding = finding.remedy(format!(
            "chown -R --from={} {name} {}",
            own.uid,
            shell_words(&[directory.display().to_string()])
        ));
    }
    finding.advice("before that, see that nobody else has these numbers: getent passwd; getent group")
}

fn options(here: &PeerFacts, there: &PeerFacts) -> Finding {
    let check = "peer-options";
    let (own, other) = match both(check, &here.options, &there.options) {
        Ok(both) => both,
        Err(finding) => return finding,
    };
    match differences(own, other) {
        None => Finding::pass(check, format!("{} options, all the same", own.len())),
        Some(differ) => {
            Finding::warn(check, differ, "after a takeover the server behaves differently, or does not start")
                .advice("make the option files the same on both nodes")
        }
    }
}

fn clock(there: &PeerFacts, survey: &Survey) -> Option<Finding> {
    let check = "peer-clock";
    let came = there.came.as_ref()?;
    let ahead = there.at - came.at;
    if ahead.abs() <= CLOCKS {
        return Some(Finding::pass(check, "the clocks agree within a second"));
    }
    let seen =
        format!("the peer's clock is {:.1} s {}", ahead.abs(), if ahead > 0.0 { "ahead" } else { "behind" });
    let why = "after a takeover time jumps for every client, and the nodes' logs can't be put in one order";
    let finding =
        Finding::warn(check, seen, why).advice("let both nodes follow the same time servers (chrony)");
    if survey.observation.vip.here == Fact::Known(None) {
        return Some(
            finding
                .remedy(format!("date --set \"$(ssh -o BatchMode=yes {} date --iso-8601=ns)\"", came.from)),
        );
    }
    Some(finding)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::super::survey::{Account, Came};
    use super::super::{Status, sample};
    use super::*;

    /// The facts of node2 of the lab, or of its peer.
    pub(in crate::doctor) fn facts(node: &str) -> PeerFacts {
        let values = |pairs: &[(&str, &str)]| {
            Fact::Known(
                pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<Values>(),
            )
        };
        PeerFacts {
            node: node.to_owned(),
            standin: "0.1.0".to_owned(),
            configuration: values(&[("drbd.resource", "r0"), ("mount.type", "ext4")]),
            drbd_module: Fact::Known(Some("8.4.11".to_owned())),
            drbd_files: values(&[("net protocol", "C")]),
            mysqld: Fact::Known("10.11.6-MariaDB".to_owned()),
            unit: values(&[("Service.User", "mysql")]),
            account: Fact::Known(Account { name: "mysql".to_owned(), uid: 101, gid: 102 }),
            options: values(&[("datadir", "/var/lib/mysql")]),
            at: 1000.0,
            came: (node == "node1").then(|| Came { from: "10.77.1.1".parse().unwrap(), at: 1000.2 }),
        }
    }

    fn judged(change: impl FnOnce(&mut PeerFacts), check: &str) -> Option<Finding> {
        let mut survey = sample::survey();
        let mut there = facts("node1");
        change(&mut there);
        survey.peer = Fact::Known(there);
        examine(&survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(change: impl FnOnce(&mut PeerFacts), check: &str) -> Option<Status> {
        judged(change, check).map(|finding| finding.status)
    }

    #[test]
    fn two_equal_nodes_pass() {
        let findings = examine(&sample::survey(), &sample::config());
        assert!(
            findings.len() == 10 && findings.iter().all(|found| found.status == Status::Pass),
            "{findings:#?}"
        );
    }

    #[test]
    fn a_peer_that_was_not_asked_or_is_another_is_told() {
        let mut survey = sample::survey();
        survey.peer = Fact::Unknown("Host key verification failed.".to_owned());
        let findings = examine(&survey, &sample::config());
        assert_eq!((findings.len(), sample::status(&findings, "peer-facts")), (1, Some(Status::Warn)));
        assert_eq!(status(|there| there.node = "node2".to_owned(), "peer-facts"), Some(Status::Fail));
    }

    #[test]
    fn each_difference_is_found() {
        let put = |values: &mut Fact<Values>, key: &str, value: &str| {
            if let Fact::Known(values) = values {
                values.insert(key.to_owned(), value.to_owned());
            }
        };
        assert_eq!(status(|there| there.standin = "0.2.0".to_owned(), "peer-standin"), Some(Status::Warn));
        assert_eq!(
            status(|there| put(&mut there.configuration, "mount.type", "xfs"), "peer-configuration"),
            Some(Status::Fail)
        );
        assert_eq!(
            status(|there| there.drbd_module = Fact::Known(Some("9.1.0".to_owned())), "peer-drbd-module"),
            Some(Status::Fail)
        );
        assert_eq!(
            status(|there| there.drbd_module = Fact::Known(Some("8.4.7".to_owned())), "peer-drbd-module"),
            Some(Status::Warn)
        );
        assert_eq!(
            status(|there| put(&mut there.drbd_files, "net ping-int", "5"), "peer-drbd-files"),
            Some(Status::Fail)
        );
        assert_eq!(
            status(|there| there.mysqld = Fact::Known("10.6.1-MariaDB".to_owned()), "peer-mysqld"),
            Some(Status::Fail)
        );
        assert_eq!(
            status(|there| there.mysqld = Fact::Known("10.11.5-MariaDB".to_owned()), "peer-mysqld"),
            Some(Status::Warn)
        );
        assert_eq!(
            status(|there| put(&mut there.unit, "Service.Nice", "5"), "peer-unit"),
            Some(Status::Warn)
        );
        assert_eq!(
            status(|there| put(&mut there.options, "max_connections", "5"), "peer-options"),
            Some(Status::Warn)
        );
        assert_eq!(
            status(|there| there.mysqld = Fact::Unknown("x".to_owned()), "peer-mysqld"),
            Some(Status::Warn)
        );
    }

    #[test]
    fn differing_keys_are_named_and_no_side_is_overwritten() {
        let found = judged(
            |there| {
                if let Fact::Known(values) = &mut there.configuration {
                    values.remove("mount.type");
                }
            },
            "peer-configuration",
        )
        .unwrap();
        assert_eq!(found.seen, "mount.type: ext4 here, nothing there");
        assert!(found.remedy.is_empty(), "{found:?}");
        let advice = found.advice.unwrap();
        for copy in ["scp -p -o BatchMode=yes 10.77.1.1:r0.yaml r0.yaml", "r0.yaml 10.77.1.1:r0.yaml"] {
            assert!(advice.contains(copy), "{advice}");
        }
    }

    #[test]
    fn differing_files_of_drbd_are_all_named_and_none_is_overwritten() {
        let mut survey = sample::survey();
        let mut there = facts("node1");
        there.drbd_files = Fact::Known(Values::new());
        survey.peer = Fact::Known(there);
        let mut common = survey.drbd.sources[0].clone();
        common.file = "/etc/drbd.d/global_common.conf".into();
        survey.drbd.sources.push(common);
        let findings = examine(&survey, &sample::config());
        let found = findings.iter().find(|finding| finding.check == "peer-drbd-files").unwrap();
        assert_eq!((found.status, found.remedy.len()), (Status::Fail, 0));
        let advice = found.advice.as_deref().unwrap();
        for part in ["/etc/drbd.d/r0.res, /etc/drbd.d/global_common.conf", "drbdadm adjust r0"] {
            assert!(advice.contains(part), "{advice}");
        }
    }

    #[test]
    fn user_numbers_are_changed_where_no_server_runs() {
        let other = Account { name: "mysql".to_owned(), uid: 999, gid: 998 };
        let found = judged(|there| there.account = Fact::Known(other), "peer-account").unwrap();
        assert_eq!(found.status, Status::Fail);
        assert_eq!(found.remedy.get(1).map(String::as_str), Some("usermod --uid 999 --gid 998 mysql"));
    }

    #[test]
    fn clocks_that_are_apart_are_told_and_by_how_much() {
        let found = judged(|there| there.at = 1004.0, "peer-clock").unwrap();
        assert_eq!((found.status, found.seen.as_str()), (Status::Warn, "the peer's clock is 3.8 s ahead"));
        assert_eq!(status(|there| there.came = None, "peer-clock"), None);
    }
}
