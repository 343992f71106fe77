//! What keepalived is to run: standin when the virtual IP comes and goes, its check, and what takes the address away when
//! keepalived dies. The sample in `keepalived/` has all of it.

use std::collections::BTreeMap;

use super::super::Finding;
use crate::foreign::keepalived::{Statement, VrrpInstance};

const SAMPLE: &str = "/usr/share/doc/standin/examples/keepalived";

/// Whoever moves the address calls standin.
pub(super) fn notified(file: &[Statement], instance: &VrrpInstance) -> Finding {
    let check = "keepalived-notify";
    let globals = || file.iter().filter(|block| block.word(0) == "global_defs").flat_map(Statement::inner);
    let calls_standin = |command: &str| command.contains("standin") && command.contains("keepalived-notify");
    let reader =
        globals().find(|line| line.word(0).ends_with("notify_fifo_script") && calls_standin(line.word(1)));
    if let Some(reader) = reader {
        let fifo = reader.word(0).trim_end_matches("_script");
        if globals().any(|line| line.word(0) == fifo && !line.word(1).is_empty()) {
            return Finding::pass(check, reader.word(0));
        }
        return Finding::fail(
            check,
            format!("{} is set, {fifo} is not", reader.word(0)),
            "keepalived does not start the reader: the address moves, and the database stays where it is",
        )
        .advice(format!("name a path in {fifo}, as in {SAMPLE}/keepalived.conf"));
    }
    if instance.notify.iter().any(|(word, command)| word == "notify" && calls_standin(command)) {
        return Finding::pass(check, "notify");
    }
    Finding::fail(
        check,
        format!("nothing calls standin when vrrp_instance {} gets the virtual IP or loses it", instance.name),
        "the address moves, and the database stays where it is",
    )
    .advice(format!("set notify_fifo and notify_fifo_script as in {SAMPLE}/keepalived.conf"))
}

/// A check without a weight takes the address from a node that is not fit.
pub(super) fn tracked(file: &[Statement], instance: &VrrpInstance) -> Finding {
    let check = "keepalived-script";
    let runs_check = |name: &str| {
        let script = |block: &&Statement| block.word(0) == "vrrp_script" && block.word(1) == name;
        let has = |block: &Statement, word: &str| block.inner().iter().any(|line| line.word(0) == word);
        file.iter().filter(script).any(|block| {
            let command = block.inner().iter().rfind(|line| line.word(0) == "script");
            let command = command.map_or("", |line| line.word(1));
            command.contains("standin") && command.contains("check") && !has(block, "weight")
        })
    };
    let names = instance.track_scripts.join(", ");
    if instance.track_scripts.iter().any(|name| runs_check(name)) {
        return Finding::pass(check, names);
    }
    let seen = if names.is_empty() {
        "the instance tracks no script".to_owned()
    } else {
        format!("none of {names} runs standin check, without a weight")
    };
    Finding::warn(check, seen, "a node whose database does not answer keeps the virtual IP")
        .advice(format!("track a vrrp_script that runs standin check, as in {SAMPLE}/keepalived.conf"))
}

/// systemd's settings of keepalived's unit. None when it has no unit.
pub(super) fn unit(settings: &BTreeMap<String, String>) -> Option<Finding> {
    let check = "keepalived-unit";
    if settings.is_empty() {
        return None;
    }
    let all = |key: &str| settings.get(key).map_or("", String::as_str);
    let last = |key: &str| all(key).lines().last().unwrap_or_default();
    let cleans = all("Service.ExecStopPost").lines().any(|line| line.contains("keepalived-notify --ended"));
    let restarts = last("Service.Restart") == "always";
    if cleans && restarts {
        return Some(Finding::pass(
            check,
            "takes the virtual IP away when keepalived ends, and starts it again",
        ));
    }
    let seen = match (cleans, restarts) {
        (false, false) => "neither takes the virtual IP away when keepalived dies nor starts it again",
        (false, true) => "does not take the virtual IP away when keepalived dies",
        (true, _) => "does not start keepalived again when it dies",
    };
    Some(
        Finding::fail(
            check,
            seen,
            "a killed keepalived leaves the virtual IP here, and the peer adds it, too",
        )
        .remedy(format!(
            "install -D -m 644 {SAMPLE}/keepalived.service.conf \
                 /etc/systemd/system/keepalived.service.d/standin.conf"
        ))
        .remedy("systemctl daemon-reload"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::super::Status;
    use super::*;
    use crate::foreign::keepalived::{parse, vrrp_instances};
    use crate::foreign::unit_file;

    const CONFIGURATION: &str = include_str!("../../../keepalived/keepalived.conf");
    const DROP_IN: &str = include_str!("../../../keepalived/keepalived.service.conf");
    const UNIT: &str = "[Service]\nType=notify\nExecStart=/usr/sbin/keepalived --dont-fork $DAEMON_ARGS\n";

    fn judged(text: &str, examine: fn(&[Statement], &VrrpInstance) -> Finding) -> Status {
        let file = parse(text, Path::new("/k")).unwrap();
        examine(&file, &vrrp_instances(&file)[0]).status
    }

    #[test]
    fn standin_hears_when_the_address_moves() {
        assert_eq!(judged(CONFIGURATION, notified), Status::Pass);
        let without = CONFIGURATION.replace("notify_fifo_script", "# ");
        assert_eq!(judged(&without, notified), Status::Fail);
        let no_fifo = CONFIGURATION.replace("notify_fifo /run", "# /run");
        assert_eq!(judged(&no_fifo, notified), Status::Fail);
        let script = "    notify \"/usr/sbin/standin --config r0 keepalived-notify\"\n    state BACKUP\n";
        assert_eq!(judged(&without.replace("    state BACKUP\n", script), notified), Status::Pass);
        let other = script.replace("notify \"", "notify_master \"");
        assert_eq!(judged(&without.replace("    state BACKUP\n", &other), notified), Status::Fail);
    }

    #[test]
    fn the_check_is_tracked_without_a_weight() {
        assert_eq!(judged(CONFIGURATION, tracked), Status::Pass);
        let only_weighted = CONFIGURATION.replace("        standin_fit\n", "");
        assert_eq!(judged(&only_weighted, tracked), Status::Warn);
        let other = CONFIGURATION.replace("standin check --timeout", "other check --timeout");
        assert_eq!(judged(&other.replace("/usr/sbin/standin", "/usr/bin/other"), tracked), Status::Warn);
    }

    #[test]
    fn a_dead_keepalived_leaves_nothing_behind() {
        let status =
            |texts: &[&str]| unit(&unit_file::settings(texts.iter().copied())).map(|found| found.status);
        assert_eq!(status(&[UNIT, DROP_IN]), Some(Status::Pass));
        assert_eq!(status(&[UNIT]), Some(Status::Fail));
        assert_eq!(status(&[UNIT, &DROP_IN.replace("Restart=always", "Restart=no")]), Some(Status::Fail));
        assert_eq!(status(&[UNIT, &DROP_IN.replace("ExecStopPost", "ExecStop")]), Some(Status::Fail));
        assert_eq!(status(&[]), None, "no unit");
    }
}
