//! What state DRBD is in.

use super::super::Finding;
use super::super::survey::{DrbdSurvey, Survey};
use super::setting::Setting;
use crate::config::Config;
use crate::observation::{Connection, Disk, Drbd, DrbdGeneration, Fact, Replication, Role};

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = vec![module(survey, config)];
    let drbd = match &survey.observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => {
            findings.push(Finding::unknown("drbd-state", cause));
            return findings;
        }
    };
    if drbd.generation == DrbdGeneration::NotLoaded {
        return findings;
    }
    findings.push(connection(drbd, &survey.drbd, config));
    if drbd.connection == Connection::Unconfigured {
        return findings;
    }
    findings.push(disk(drbd, config));
    findings.extend(peer_disk(drbd));
    findings.push(roles(drbd, survey, config));
    findings.extend(out_of_sync(drbd, &survey.drbd));
    findings.push(held_io(drbd, &survey.drbd, config));
    findings
}

/// drbd-utils 8.9.0 is the first that speaks to a kernel module of version 9 (its ChangeLog).
const FIRST_UTILS_FOR_9: [u32; 2] = [8, 9];

/// Loaded in both looks: it may have come or gone between them.
fn module(survey: &Survey, config: &Config) -> Finding {
    let check = "drbd-module";
    let drbd = &survey.drbd;
    let not_loaded =
        survey.observation.drbd.known().is_some_and(|drbd| drbd.generation == DrbdGeneration::NotLoaded);
    let version = match &drbd.module {
        Fact::Known(Some(version)) if !not_loaded => version,
        Fact::Known(_) => return no_module(check, drbd, config),
        Fact::Unknown(cause) => return Finding::unknown(check, cause),
    };
    let utils = match &drbd.utils {
        Fact::Known(utils) => utils,
        Fact::Unknown(cause) => return Finding::unknown(check, cause),
    };
    let seen = format!("kernel module {version}, drbd-utils {utils}");
    let numbers: Vec<u32> = utils.split('.').map_while(|number| number.parse().ok()).take(2).collect();
    if version.starts_with("9.") && numbers.as_slice() < FIRST_UTILS_FOR_9.as_slice() {
        return Finding::fail(check, seen, "these tools can't control a module of version 9")
            .advice("install drbd-utils 9 on both nodes");
    }
    Finding::pass(check, seen)
}

fn no_module(check: &'static str, drbd: &DrbdSurvey, config: &Config) -> Finding {
    let why = "without it there is no replication, and nothing to take over";
    let load = "modprobe drbd";
    let up = format!("drbdadm up {}", config.resource);
    match &drbd.no_module_for {
        Some(kernel) => Finding::fail(check, format!("there is no module drbd for the kernel {kernel}"), why)
            .advice(format!(
                "install it for this kernel, of the same version as on the peer, or boot the kernel that has it; then: \
                 {load} && {up}"
            )),
        None => Finding::fail(check, "DRBD's kernel module is not loaded", why).remedy(load).remedy(up),
    }
}

fn connection(drbd: &Drbd, survey: &DrbdSurvey, config: &Config) -> Finding {
    let check = "drbd-connection";
    let resource = &config.resource;
    let why = "what this cluster commits now is on one node only, and a takeover would be refused or start from old data";
    match drbd.connection {
        Connection::Connected => Finding::pass(check, "Connected"),
        Connection::Unconfigured if matches!(survey.running, Fact::Known(Some(_))) => Finding::unknown(
            check,
            &format!("{resource} is up, but {} is not its device", config.mount.device.display()),
        )
        .advice("see drbd-device first"),
        Connection::Unconfigured => {
            Finding::fail(check, format!("the resource {resource} is down"), why).remedy(format!("drbdadm up {resource}"))
        }
        Connection::StandAlone => {
            let finding = Finding::fail(check, "StandAlone: this node does not try to reach its peer", why);
            if discards(survey) {
                return finding.advice(
                    "it may be a split brain, and the after-sb policies let DRBD throw away one side's commits at the next \
                     connection: correct them first (see drbd-split-brain)",
                );
            }
            finding.remedy(format!("drbdadm connect {resource}")).advice(
                "should it drop the connection again, it is a split brain (see the kernel log): nothing was lost, and a \
                 person has to choose a side",
            )
        }
        Connection::Connecting => Finding::fail(check, "this node tries to reach its peer and does not", why).advice(format!(
            "see on {} whether it is on and what `drbdadm status {resource}` says; where it is StandAlone, there: \
             drbdadm connect {resource}",
            config.peer.name
        )),
        Connection::Broken | Connection::Handshake => Finding::warn(check, format!("{:?}: it is changing right now", drbd.connection), why)
            .advice("look again in a few seconds"),
    }
}

fn discards(survey: &DrbdSurvey) -> bool {
    super::policy::SPLIT_BRAIN
        .iter()
        .any(|(name, safe)| Setting::of(survey, "net", name).values().any(|value| !safe.contains(&value)))
}

fn disk(drbd: &Drbd, config: &Config) -> Finding {
    let check = "drbd-disk";
    let why = "only an UpToDate copy can be promoted without losing data";
    let finding = |seen: &str| Finding::fail(check, seen, why);
    let wait = "wait for the end of the resynchronisation: standin status --watch";
    match drbd.disk {
        Disk::UpToDate => Finding::pass(check, "UpToDate"),
        Disk::Diskless => finding("Diskless: no local copy is in use")
            .remedy(format!("drbdadm attach {}", config.resource))
            .advice(
                "if the disk failed (see the kernel log), replace it first; the peer's copy then comes over",
            ),
        Disk::Inconsistent if drbd.replication == Replication::SyncTarget => {
            let percent =
                drbd.resync_percent.map_or_else(String::new, |percent| format!(", {percent} % in sync"));
            finding(&format!("Inconsistent: a resynchronisation from the peer runs{percent}")).advice(wait)
        }
        Disk::Inconsistent => finding("Inconsistent: a resynchronisation did not end")
            .advice("connect to the peer, which then sends the rest"),
        Disk::Outdated => {
            finding("Outdated: the peer has newer data").advice("connect to the peer, which then sends it")
        }
        Disk::Consistent => finding("Consistent: whether it is current is not known without the peer")
            .advice("connect to the peer, which knows"),
        Disk::Changing => {
            Finding::warn(check, "it is changing right now", why).advice("look again in a few seconds")
        }
        Disk::Unknown => Finding::unknown(check, "DRBD does not tell the state of this node's disk"),
    }
}

/// While connected: what the peer could take over with.
fn peer_disk(drbd: &Drbd) -> Option<Finding> {
    let check = "drbd-peer-disk";
    if drbd.connection != Connection::Connected {
        return None;
    }
    let percent = drbd.resync_percent.map_or_else(String::new, |percent| format!(", {percent} % in sync"));
    Some(match drbd.peer_disk {
        Disk::UpToDate => Finding::pass(check, "UpToDate"),
        other if drbd.replication == Replication::SyncSource => Finding::warn(
            check,
            format!("{other:?}: a resynchronisation to the peer runs{percent}"),
            "until it ends, the peer can't take over",
        )
        .advice("wait for its end: standin status --watch"),
        other => {
            Finding::fail(check, format!("{other:?}"), "the peer has no copy that it could take over with")
                .advice("see the peer's own doctor: standin doctor")
        }
    })
}

fn roles(drbd: &Drbd, survey: &Survey, config: &Config) -> Finding {
    let check = "drbd-role";
    let resource = &config.resource;
    let mount = survey.observation.mount.known();
    let mounted =
        mount.and_then(|mount| mount.at_directory.as_ref()).is_some_and(|mounted| mounted.is_our_device);
    let elsewhere = mount.map_or(&[][..], |mount| &mount.device_elsewhere);
    let servers = survey.observation.mysqld.known().map_or(0, |mysqld| mysqld.processes.len());
    let seen = format!("{:?}, the peer {:?}", drbd.role, drbd.peer_role);
    if drbd.role == Role::Primary && drbd.peer_role == Role::Primary {
        return Finding::fail(check, seen, "two Primaries write over each other's file system and destroy it")
            .advice(format!("stop mysqld and unmount on the node that clients do not use, then there: drbdadm secondary {resource}"));
    }
    match (drbd.role, mount) {
        (Role::Primary, Some(_)) if !mounted => {
            let finding = Finding::fail(
                check,
                format!(
                    "{seen}, but {} is not mounted at {}",
                    config.mount.device.display(),
                    config.mount.directory.display()
                ),
                "no database runs on it, and DRBD keeps the peer from being promoted",
            );
            match elsewhere {
                [] if servers == 0 => finding.remedy(format!("drbdadm secondary {resource}")),
                [] => finding
                    .advice("a mysqld runs all the same, on other data: see what it is before anything else"),
                [at, ..] => {
                    finding.advice(format!("it is mounted at {}: unmount it there first", at.display()))
                }
            }
        }
        (Role::Secondary, Some(_)) if servers > 0 => Finding::fail(
            check,
            format!("{seen}, but a mysqld has the data directory"),
            "it runs on local data that is not replicated, and a takeover would be refused",
        )
        .advice("stop it: its data is none of this cluster's"),
        (Role::Primary, Some(_)) => match &survey.observation.mysqld {
            Fact::Known(mysqld) if mysqld.processes.is_empty() => Finding::fail(
                check,
                format!("{seen}, and {} is mounted, but no mysqld runs", config.mount.directory.display()),
                "clients reach no database, and the peer can't be promoted",
            )
            .completed_by_takeover(config),
            Fact::Known(_) => Finding::pass(check, seen),
            Fact::Unknown(cause) => Finding::unknown(check, &format!("whether mysqld runs: {cause}")),
        },
        (_, None) => Finding::unknown(check, "what is mounted could not be learnt"),
        _ => Finding::pass(check, seen),
    }
}

fn out_of_sync(drbd: &Drbd, survey: &DrbdSurvey) -> Option<Finding> {
    let check = "drbd-out-of-sync";
    if drbd.connection != Connection::Connected || drbd.replication != Replication::Established {
        return None;
    }
    Some(match &survey.counters {
        Fact::Known(counters) if counters.out_of_sync == 0 => Finding::pass(check, "no block differs"),
        Fact::Known(counters) => Finding::fail(
            check,
            format!("{} KiB are known to differ between the copies, and no resynchronisation runs", counters.out_of_sync),
            "a takeover would serve the other node's version of these blocks",
        )
        .advice("a verify run found them: see the kernel log, and DRBD's manual on resynchronising after a verify"),
        Fact::Unknown(cause) => Finding::unknown(check, cause),
    })
}

fn held_io(drbd: &Drbd, survey: &DrbdSurvey, config: &Config) -> Finding {
    let check = "drbd-held-io";
    let reasons: &[String] = survey.counters.known().map_or(&[], |counters| &counters.suspended);
    if !drbd.io_suspended && reasons.is_empty() {
        return Finding::pass(check, "I/O is not held back");
    }
    let because = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    let finding = Finding::fail(
        check,
        format!("DRBD holds back all I/O{because}"),
        "nothing is written, and the file system can't be unmounted",
    );
    if matches!(reasons, [reason] if reason == "user") {
        return finding.remedy(format!("drbdadm resume-io {}", config.resource));
    }
    finding.advice(
        "when a fence handler asked for it, this node may have lost its role: see standin status and the kernel log; never \
         resume it by force while the peer may be active",
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::super::{Status, sample};
    use super::super::sample::set;
    use super::*;
    use crate::observation::{Mysqld, MysqldAnswer, MysqldProcess};

    fn finding(survey: &Survey, check: &str) -> Option<Finding> {
        examine(survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        finding(survey, check).map(|finding| finding.status)
    }

    fn with(drbd: Drbd) -> Survey {
        let mut survey = sample::survey();
        survey.observation.drbd = Fact::Known(drbd);
        survey
    }

    #[test]
    fn the_module_must_be_loaded_and_the_tools_of_its_generation() {
        let mut survey = sample::survey();
        survey.drbd.utils = Fact::Known("8.4.4".to_owned());
        assert_eq!(status(&survey, "drbd-module"), Some(Status::Pass));
        survey.drbd.module = Fact::Known(Some("9.1.7".to_owned()));
        assert_eq!(status(&survey, "drbd-module"), Some(Status::Fail));
        survey.drbd.utils = Fact::Known("9.22.0".to_owned());
        assert_eq!(status(&survey, "drbd-module"), Some(Status::Pass));
        survey.drbd.module = Fact::Known(None);
        assert_eq!(finding(&survey, "drbd-module").map(|finding| finding.remedy.len()), Some(2));
        survey.drbd.no_module_for = Some("6.1.0-40-amd64".to_owned());
        let found = finding(&survey, "drbd-module");
        assert_eq!(found.map(|found| (found.status, found.remedy)), Some((Status::Fail, Vec::new())));
        let survey = with(Drbd { generation: DrbdGeneration::NotLoaded, ..sample::drbd() });
        assert_eq!(status(&survey, "drbd-module"), Some(Status::Fail), "it was gone a moment before");
    }

    #[test]
    fn a_connection_that_is_not_there_fails_and_split_brain_policies_forbid_the_easy_way() {
        let mut survey = with(Drbd { connection: Connection::StandAlone, ..sample::drbd() });
        let found = finding(&survey, "drbd-connection");
        assert_eq!(found.map(|finding| finding.remedy), Some(vec!["drbdadm connect r0".to_owned()]));
        set(&mut survey.drbd, "net", "after-sb-1pri", "discard-secondary");
        let found = finding(&survey, "drbd-connection");
        assert_eq!(found.map(|finding| (finding.status, finding.remedy)), Some((Status::Fail, Vec::new())));
        let down = with(Drbd { connection: Connection::Unconfigured, ..sample::drbd() });
        assert_eq!(
            status(&down, "drbd-connection"),
            Some(Status::Warn),
            "another device than its own is asked for"
        );
        let mut down = down;
        down.drbd.running = Fact::Known(None);
        assert_eq!(status(&down, "drbd-connection"), Some(Status::Fail));
        assert_eq!(status(&down, "drbd-disk"), None, "of a resource that is down nothing else is judged");
        let changing = with(Drbd { connection: Connection::Handshake, ..sample::drbd() });
        assert_eq!(status(&changing, "drbd-connection"), Some(Status::Warn));
    }

    #[test]
    fn only_up_to_date_disks_pass() {
        for disk in [Disk::Outdated, Disk::Consistent, Disk::Inconsistent, Disk::Diskless] {
            assert_eq!(
                status(&with(Drbd { disk, ..sample::drbd() }), "drbd-disk"),
                Some(Status::Fail),
                "{disk:?}"
            );
            let survey = with(Drbd { peer_disk: disk, ..sample::drbd() });
            assert_eq!(status(&survey, "drbd-peer-disk"), Some(Status::Fail), "{disk:?}");
        }
        let syncing =
            Drbd { peer_disk: Disk::Inconsistent, replication: Replication::SyncSource, ..sample::drbd() };
        assert_eq!(status(&with(syncing), "drbd-peer-disk"), Some(Status::Warn));
    }

    #[test]
    fn a_role_must_fit_what_is_mounted_and_runs() {
        let survey = with(Drbd { role: Role::Primary, peer_role: Role::Secondary, ..sample::drbd() });
        let found = finding(&survey, "drbd-role");
        assert_eq!(found.map(|finding| finding.remedy), Some(vec!["drbdadm secondary r0".to_owned()]));
        let mut survey = sample::active();
        assert_eq!(status(&survey, "drbd-role"), Some(Status::Pass));
        survey.observation.mysqld =
            Fact::Known(Mysqld { processes: Vec::new(), answer: MysqldAnswer::Silent });
        let found = finding(&survey, "drbd-role").map(|found| (found.status, found.remedy));
        let remedy = vec!["standin --config r0.yaml takeover".to_owned()];
        assert_eq!(found, Some((Status::Fail, remedy)), "the database is down");
        let both = with(Drbd { role: Role::Primary, peer_role: Role::Primary, ..sample::drbd() });
        assert_eq!(status(&both, "drbd-role"), Some(Status::Fail));
        let mut survey = sample::survey();
        let process = MysqldProcess {
            pid: 7,
            name: "mariadbd".to_owned(),
            directory: PathBuf::from("/var/lib/mysql"),
            on_our_device: false,
        };
        survey.observation.mysqld =
            Fact::Known(Mysqld { processes: vec![process], answer: MysqldAnswer::Ready });
        assert_eq!(status(&survey, "drbd-role"), Some(Status::Fail));
    }

    #[test]
    fn differing_blocks_and_held_io_fail() {
        let mut survey = sample::survey();
        survey.drbd.counters = Fact::Known(super::super::super::survey::Counters {
            suspended: vec!["user".to_owned()],
            out_of_sync: 4,
        });
        assert_eq!(status(&survey, "drbd-out-of-sync"), Some(Status::Fail));
        assert_eq!(finding(&survey, "drbd-held-io").map(|finding| finding.remedy.len()), Some(1));
        let frozen = with(Drbd { io_suspended: true, ..sample::drbd() });
        let found = finding(&frozen, "drbd-held-io");
        assert_eq!(found.map(|finding| (finding.status, finding.remedy)), Some((Status::Fail, Vec::new())));
    }
}
