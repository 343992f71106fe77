//! Whether a node that lost its peer freezes until it knows who is active.

use super::super::survey::{DrbdSurvey, HandlerProgram, Helper, Survey};
use super::super::{Finding, edit};
use super::ON_BOTH;
use super::setting::{Setting, set_all};
use crate::config::{ClusterManager, Config};
use crate::observation::{DrbdGeneration, Fact};

/// What DRBD runs for a handler unless told otherwise (`usermode_helper` in drbd_main.c).
const HELPER: &str = "/sbin/drbdadm";

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let nine = survey.observation.drbd.known().is_some_and(|drbd| drbd.generation == DrbdGeneration::Nine);
    let drbd = &survey.drbd;
    // In the order in which they are to be mended: the policy without a handler that answers freezes the database.
    [Some(helper(drbd)), handler(drbd, config), policy(drbd, config, nine)].into_iter().flatten().collect()
}

/// 8.4 has it in `disk`, 9 in `net`.
fn policy(drbd: &DrbdSurvey, config: &Config, nine: bool) -> Option<Finding> {
    let check = "drbd-fencing";
    let section = if nine { "net" } else { "disk" };
    let setting = Setting::of(drbd, section, "fencing");
    setting.value()?;
    if setting.values().all(|value| value == "resource-and-stonith") {
        return Some(Finding::pass(check, setting.shown()));
    }
    let why = "an active node that was paused (a hang, a stopped virtual machine) and resumes after a takeover goes on \
               acknowledging commits that the new active does not have; resource-and-stonith freezes its I/O first";
    let by_hand = format!("{section} {{ fencing resource-and-stonith; }}");
    let commands = setting.remedy(drbd, &config.resource, "resource-and-stonith");
    let finding = Finding::fail(check, setting.shown(), why);
    let finding = finding.settings(commands, &by_hand, &config.resource);
    Some(
        if handler(drbd, config).is_some_and(|handler| handler.remedy.is_empty() && handler.advice.is_none())
        {
            finding
        } else {
            // Without a handler, a node that loses its peer would stay frozen.
            Finding { advice: Some(format!("put drbd-fence-handler in order first; {ON_BOTH}")), ..finding }
        },
    )
}

fn handler(drbd: &DrbdSurvey, config: &Config) -> Option<Finding> {
    let check = "drbd-fence-handler";
    drbd.configured.known()?;
    let why = "it is what tells DRBD whether the peer is dead or has taken over: without an answer I/O stays frozen when \
               the peer is lost, or is never frozen at all";
    let standin = drbd.standin.display();
    let values = ["fence-peer", "unfence-peer"].map(|name| (name, format!("{standin} {name}")));
    let commands = set_all(&drbd.sources, &config.resource, "handlers", &values);
    let by_hand = format!(
        "handlers {{ fence-peer \"{standin} fence-peer\"; unfence-peer \"{standin} unfence-peer\"; }}"
    );
    let corrected = |finding: Finding| match commands.is_empty() {
        true => finding.advice(format!("write {by_hand} in the resource's file, on both nodes")),
        false => Finding { remedy: commands.clone(), ..finding }.advice("do the same on the peer"),
    };
    Some(match drbd.handlers.get("fence-peer") {
        None => corrected(Finding::fail(check, "no fence-peer handler is configured", why)),
        Some(HandlerProgram { command, problem: Some(problem) }) => {
            corrected(Finding::fail(check, format!("fence-peer \"{command}\": {problem}"), why))
        }
        Some(HandlerProgram { command, .. }) if is_ours(command) || is_pacemakers(command, config) => {
            Finding::pass(check, format!("fence-peer \"{command}\""))
        }
        Some(HandlerProgram { command, .. }) => corrected(Finding::warn(
            check,
            format!("fence-peer \"{command}\" is not standin's"),
            "what it answers must agree with what a takeover decides, or both nodes may write, or neither",
        )),
    })
}

fn is_ours(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let program = words.next().and_then(|program| program.rsplit('/').next());
    program == Some("standin") && words.any(|word| word == "fence-peer")
}

/// Those of drbd-utils that put a constraint into Pacemaker's configuration.
fn is_pacemakers(command: &str, config: &Config) -> bool {
    config.cluster_manager == ClusterManager::Pacemaker && command.contains("crm-fence-peer")
}

fn helper(drbd: &DrbdSurvey) -> Finding {
    let check = "drbd-usermode-helper";
    let helper = match &drbd.helper {
        Fact::Known(helper) => helper,
        Fact::Unknown(cause) => return Finding::unknown(check, cause),
    };
    let command = &helper.program.command;
    let lasting = lasting(helper);
    if let Some(problem) = &helper.program.problem {
        let why = "DRBD runs its handlers through it: without it the fence-peer handler is never asked";
        let mut finding = Finding::fail(check, format!("usermode_helper {command}: {problem}"), why)
            // DRBD would take the line break of an echo for a part of the name.
            .remedy(format!("printf %s {HELPER} > /sys/module/drbd/parameters/usermode_helper"));
        finding.remedy.extend(lasting);
        return if helper.on_command_line {
            finding.advice(
                "the kernel's command line sets it: correct that, too, or it comes back with the next boot",
            )
        } else {
            finding
        };
    }
    if helper.on_command_line || lasting.is_empty() {
        return Finding::pass(check, format!("usermode_helper {command}"));
    }
    let why = "after the next boot the fence-peer handler is never asked";
    let seen = format!("usermode_helper {command}, but the files of /etc/modprobe.d switch it off");
    let mut finding = Finding::fail(check, seen, why);
    finding.remedy.extend(lasting);
    finding
}

/// Commands that correct the files for the next boot.
fn lasting(helper: &Helper) -> Vec<String> {
    let bad = helper.lines.iter().filter(|(_, value)| value == "disabled");
    bad.map(|(place, value)| {
        edit::replace(place, &format!("usermode_helper={value}"), &format!("usermode_helper={HELPER}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::{Status, sample};
    use super::super::sample::{FILE, set, set_source};
    use super::*;
    use crate::foreign::Place;
    use crate::observation::Drbd;

    fn finding(survey: &Survey, check: &str) -> Option<Finding> {
        examine(survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        finding(survey, check).map(|finding| finding.status)
    }

    #[test]
    fn nothing_less_than_resource_and_stonith_passes_in_its_own_section() {
        let mut survey = sample::survey();
        assert_eq!(status(&survey, "drbd-fencing"), Some(Status::Pass));
        for value in ["dont-care", "resource-only"] {
            set(&mut survey.drbd, "disk", "fencing", value);
            assert_eq!(status(&survey, "drbd-fencing"), Some(Status::Fail));
        }
        survey.observation.drbd = Fact::Known(Drbd { generation: DrbdGeneration::Nine, ..sample::drbd() });
        let remedy = finding(&survey, "drbd-fencing").map(|finding| finding.remedy).unwrap_or_default();
        assert!(
            remedy.iter().any(|command| command.contains("net {#") && command.contains("net { fencing")),
            "{remedy:?}"
        );
    }

    #[test]
    fn the_handler_must_be_there_and_be_one_that_agrees_with_a_takeover() {
        let mut survey = sample::survey();
        assert_eq!(status(&survey, "drbd-fence-handler"), Some(Status::Pass));
        let mut put = |command: &str, problem: Option<&str>| {
            let program = HandlerProgram { command: command.to_owned(), problem: problem.map(str::to_owned) };
            survey.drbd.handlers.insert("fence-peer".to_owned(), program);
            status(&survey, "drbd-fence-handler")
        };
        assert_eq!(put("/usr/sbin/standin fence-peer", Some("there is no such file")), Some(Status::Fail));
        assert_eq!(put("/bin/true", None), Some(Status::Warn));
        assert_eq!(put("/usr/lib/drbd/crm-fence-peer.sh", None), Some(Status::Warn), "no Pacemaker here");
        survey.drbd.handlers.clear();
        set_source(&mut survey.drbd, &FILE.replace("fence-peer \"", "other \""));
        let found =
            finding(&survey, "drbd-fence-handler").map(|finding| (finding.status, finding.remedy.len()));
        assert_eq!(found, Some((Status::Fail, 2)));
    }

    #[test]
    fn the_kernel_must_run_handlers_now_and_after_a_boot() {
        let mut survey = sample::survey();
        let mut with = |value: &str, problem: Option<&str>, line: Option<&str>, on_command_line| {
            let place = Place::new("/etc/modprobe.d/drbd.conf", 3);
            survey.drbd.helper = Fact::Known(Helper {
                program: HandlerProgram { command: value.to_owned(), problem: problem.map(str::to_owned) },
                lines: line.map(|value| (place, value.to_owned())).into_iter().collect(),
                on_command_line,
            });
            finding(&survey, "drbd-usermode-helper").map(|finding| (finding.status, finding.remedy.len()))
        };
        assert_eq!(with("/sbin/drbdadm", None, None, false), Some((Status::Pass, 0)));
        assert_eq!(with("disabled", Some("none"), Some("disabled"), false), Some((Status::Fail, 2)));
        assert_eq!(with("/sbin/drbdadm", None, Some("disabled"), false), Some((Status::Fail, 1)));
        assert_eq!(with("/sbin/drbdadm", None, Some("disabled"), true), Some((Status::Pass, 0)));
    }
}
