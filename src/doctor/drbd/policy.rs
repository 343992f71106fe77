//! Settings that let DRBD lose or discard data by itself, or act by itself.

use super::super::Finding;
use super::super::survey::{DrbdSurvey, Survey};
use super::setting::Setting;
use crate::config::Config;
use crate::observation::DrbdGeneration;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let drbd = &survey.drbd;
    let resource = &config.resource;
    let mut findings: Vec<Finding> = [
        protocol(drbd, resource),
        two_primaries(drbd, resource),
        split_brain(drbd, resource),
        io_error(drbd, resource),
    ]
    .into_iter()
    .flatten()
    .collect();
    let nine = survey.observation.drbd.known().is_some_and(|drbd| drbd.generation == DrbdGeneration::Nine);
    if nine {
        findings.extend(auto_promote(drbd, resource));
        findings.extend(quorum(drbd, resource));
    }
    findings
}

fn protocol(drbd: &DrbdSurvey, resource: &str) -> Option<Finding> {
    let check = "drbd-protocol";
    let setting = Setting::of(drbd, "net", "protocol");
    setting.value()?;
    if setting.values().all(|value| value == "C") {
        return Some(Finding::pass(check, setting.shown()));
    }
    let why = "with A or B a commit is acknowledged before the peer has written it: a takeover loses it";
    Some(Finding::fail(check, setting.shown(), why).settings(
        setting.remedy(drbd, resource, "C"),
        "net { protocol C; }",
        resource,
    ))
}

fn two_primaries(drbd: &DrbdSurvey, resource: &str) -> Option<Finding> {
    let check = "drbd-two-primaries";
    let setting = Setting::of(drbd, "net", "allow-two-primaries");
    setting.value()?;
    if setting.values().all(|value| value == "no") {
        return Some(Finding::pass(check, setting.shown()));
    }
    let why = "nothing then keeps both nodes from mounting the same file system, which destroys it";
    Some(Finding::fail(check, setting.shown(), why).settings(
        setting.remedy(drbd, resource, "no"),
        "net { allow-two-primaries no; }",
        resource,
    ))
}

/// The policies after a split brain, with the values that throw nothing away (drbd.conf(5)): `discard-zero-changes` takes
/// the side that wrote nothing, and `consensus` does what `after-sb-0pri` says.
pub(super) const SPLIT_BRAIN: [(&str, &[&str]); 4] = [
    ("after-sb-0pri", &["disconnect", "discard-zero-changes"]),
    ("after-sb-1pri", &["disconnect", "consensus"]),
    ("after-sb-2pri", &["disconnect"]),
    ("rr-conflict", &["disconnect", "retry-connect", "call-pri-lost"]),
];

fn split_brain(drbd: &DrbdSurvey, resource: &str) -> Option<Finding> {
    let check = "drbd-split-brain";
    let settings = SPLIT_BRAIN.map(|(name, safe)| (Setting::of(drbd, "net", name), safe));
    settings.iter().find_map(|(setting, _)| setting.value())?;
    let bad: Vec<&Setting> = settings
        .iter()
        .filter(|(setting, safe)| setting.values().any(|value| !safe.contains(&value)))
        .map(|(s, _)| s)
        .collect();
    if bad.is_empty() {
        let seen: Vec<String> = settings.iter().map(|(setting, _)| setting.shown()).collect();
        return Some(Finding::pass(check, seen.join(", ")));
    }
    let seen: Vec<String> = bad.iter().map(|setting| setting.shown()).collect();
    let why =
        "after a split brain DRBD throws away one side's acknowledged commits by itself, and asks nobody";
    let mut commands: Vec<String> = Vec::new();
    for setting in bad {
        // Each remedy ends with the same adjust: one at the end will do.
        commands.retain(|command| !command.starts_with("drbdadm "));
        commands.extend(setting.remedy(drbd, resource, "disconnect"));
    }
    Some(Finding::fail(check, seen.join(", "), why).settings(
        commands,
        "these as disconnect in net { }",
        resource,
    ))
}

fn io_error(drbd: &DrbdSurvey, resource: &str) -> Option<Finding> {
    let check = "drbd-on-io-error";
    let setting = Setting::of(drbd, "disk", "on-io-error");
    setting.value()?;
    if setting.values().all(|value| value == "detach") {
        return Some(Finding::pass(check, setting.shown()));
    }
    let why = "when a local disk fails, detach lets the database go on with the peer's copy; with anything else the file \
               system goes read-only or the node goes down";
    Some(Finding::warn(check, setting.shown(), why).settings(
        setting.remedy(drbd, resource, "detach"),
        "disk { on-io-error detach; }",
        resource,
    ))
}

fn auto_promote(drbd: &DrbdSurvey, resource: &str) -> Option<Finding> {
    let check = "drbd-auto-promote";
    // 9 promotes by itself unless it is told not to (drbd.conf(5) of 9).
    let mut setting = Setting::of(drbd, "options", "auto-promote");
    if setting.in_files.is_none() && drbd.configured.known().is_some() {
        setting.in_files = Some("yes".to_owned());
    }
    setting.value()?;
    if setting.values().all(|value| value == "no") {
        return Some(Finding::pass(check, setting.shown()));
    }
    let why = "whoever opens the device for writing, a mount by hand or a tool that probes, makes this node Primary \
               without any of the takeover's checks";
    Some(Finding::fail(check, setting.shown(), why).settings(
        setting.remedy(drbd, resource, "no"),
        "options { auto-promote no; }",
        resource,
    ))
}

fn quorum(drbd: &DrbdSurvey, resource: &str) -> Option<Finding> {
    let check = "drbd-quorum";
    let setting = Setting::of(drbd, "options", "quorum");
    setting.value()?;
    if setting.values().all(|value| value == "off" || value == "1") {
        return Some(Finding::pass(check, setting.shown()));
    }
    let why = "of two nodes the survivor has no majority: DRBD would refuse to promote it";
    Some(Finding::fail(check, setting.shown(), why).settings(
        setting.remedy(drbd, resource, "off"),
        "options { quorum off; }",
        resource,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Status, sample};
    use super::super::sample::{FILE, set, set_in_files, set_source};
    use super::*;
    use crate::observation::{Drbd, Fact};

    fn judged(section: &str, name: &str, value: &str, check: &str) -> Option<Finding> {
        let mut survey = sample::survey();
        if section == "options" {
            survey.observation.drbd =
                Fact::Known(Drbd { generation: DrbdGeneration::Nine, ..sample::drbd() });
        }
        set(&mut survey.drbd, section, name, value);
        examine(&survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(section: &str, name: &str, value: &str, check: &str) -> Option<Status> {
        judged(section, name, value, check).map(|finding| finding.status)
    }

    #[test]
    fn each_setting_passes_and_fails() {
        for (section, name, good, bad, check) in [
            ("net", "protocol", "C", "A", "drbd-protocol"),
            ("net", "allow-two-primaries", "no", "yes", "drbd-two-primaries"),
            ("net", "after-sb-0pri", "discard-zero-changes", "discard-least-changes", "drbd-split-brain"),
            ("net", "after-sb-1pri", "consensus", "discard-secondary", "drbd-split-brain"),
            ("net", "after-sb-2pri", "disconnect", "violently-as0p", "drbd-split-brain"),
            ("net", "rr-conflict", "disconnect", "violently", "drbd-split-brain"),
            ("options", "auto-promote", "no", "yes", "drbd-auto-promote"),
            ("options", "quorum", "off", "majority", "drbd-quorum"),
        ] {
            assert_eq!(status(section, name, good, check), Some(Status::Pass), "{name} {good}");
            assert_eq!(status(section, name, bad, check), Some(Status::Fail), "{name} {bad}");
        }
        assert_eq!(status("disk", "on-io-error", "pass_on", "drbd-on-io-error"), Some(Status::Warn));
    }

    #[test]
    fn what_stands_in_the_files_counts_before_the_kernel_runs_it() {
        let mut survey = sample::survey();
        set_in_files(&mut survey.drbd, "net", "protocol", "A");
        set_source(&mut survey.drbd, &FILE.replace("protocol C", "protocol A"));
        let finding = protocol(&survey.drbd, "r0").filter(|finding| finding.status == Status::Fail);
        assert_eq!(
            finding.as_ref().map(|finding| finding.seen.as_str()),
            Some("protocol C (in the files: A)")
        );
        let commands = finding.map(|finding| finding.remedy).unwrap_or_default();
        assert_eq!((commands.len(), commands.last().map(String::as_str)), (2, Some("drbdadm adjust r0")));
    }

    #[test]
    fn what_only_the_kernel_runs_is_adjusted() {
        let mut survey = sample::survey();
        set(&mut survey.drbd, "net", "protocol", "A");
        set_in_files(&mut survey.drbd, "net", "protocol", "C");
        let commands = protocol(&survey.drbd, "r0").map(|finding| finding.remedy).unwrap_or_default();
        assert_eq!(commands, ["drbdadm adjust r0"]);
    }

    #[test]
    fn several_bad_policies_are_one_finding_with_one_adjust() {
        let mut survey = sample::survey();
        set(&mut survey.drbd, "net", "after-sb-0pri", "discard-younger-primary");
        set(&mut survey.drbd, "net", "after-sb-1pri", "discard-secondary");
        let finding = split_brain(&survey.drbd, "r0");
        let commands = finding.map(|finding| finding.remedy).unwrap_or_default();
        assert_eq!(commands.len(), 3, "{commands:?}");
        assert_eq!(commands.iter().filter(|command| *command == "drbdadm adjust r0").count(), 1);
    }

    #[test]
    fn nine_promotes_by_itself_unless_told_otherwise() {
        let mut survey = sample::survey();
        assert!(
            examine(&survey, &sample::config()).iter().all(|finding| finding.check != "drbd-auto-promote"),
            "8.4 does not"
        );
        survey.observation.drbd = Fact::Known(Drbd { generation: DrbdGeneration::Nine, ..sample::drbd() });
        assert_eq!(
            sample::status(&examine(&survey, &sample::config()), "drbd-auto-promote"),
            Some(Status::Fail)
        );
    }
}
