//! DRBD on a healthy node of the lab, for the tests of the checks.

use std::path::PathBuf;

use super::super::survey::{Counters, DrbdSurvey, HandlerProgram, Helper, Source, Starter};
use crate::foreign::drbd_conf::{parse, parse_dump, parse_show};
use crate::observation::Fact;

/// The resource's file.
pub(in crate::doctor) const FILE: &str = "\
resource r0 {
    net {
        protocol C;
    }
    disk {
        fencing resource-and-stonith;
    }
    handlers {
        fence-peer \"/usr/sbin/standin fence-peer\";
        unfence-peer \"/usr/sbin/standin unfence-peer\";
    }
    device /dev/drbd0 minor 0;
    disk /dev/ubdb;
    meta-disk internal;
    on node1 { address 10.77.1.1:7788; }
    on node2 { address 10.77.1.2:7788; }
}
";

const DUMP: &str = "\
# defined at /etc/drbd.d/r0.res:1
resource r0 {
    on node1 { device /dev/drbd0 minor 0; disk /dev/ubdb; meta-disk internal; address ipv4 10.77.1.1:7788; }
    on node2 { device /dev/drbd0 minor 0; disk /dev/ubdb; meta-disk internal; address ipv4 10.77.1.2:7788; }
    net { protocol C; }
    disk { fencing resource-and-stonith; }
    handlers {
        fence-peer \"/usr/sbin/standin fence-peer\";
        unfence-peer \"/usr/sbin/standin unfence-peer\";
    }
}
";

/// On node2.
pub(in crate::doctor) fn survey() -> DrbdSurvey {
    let shown = include_str!("../../../tests/captured/drbd-8.4/connected-primary-secondary/show-defaults")
        .replace("10.77.1.1", "10.77.1.0")
        .replace("10.77.1.2", "10.77.1.1")
        .replace("10.77.1.0", "10.77.1.2")
        .replace("dont-care", "resource-and-stonith");
    let runnable = |command: &str| HandlerProgram { command: command.to_owned(), problem: None };
    let handler = |name: &str| (name.to_owned(), runnable(&format!("/usr/sbin/standin {name}")));
    DrbdSurvey {
        module: Fact::Known(Some("8.4.11".to_owned())),
        no_module_for: None,
        utils: Fact::Known("9.22.0".to_owned()),
        configured: Fact::Known(parse_dump(DUMP).unwrap().resource("r0").unwrap().clone()),
        running: Fact::Known(Some(parse_show(&shown, "r0").unwrap())),
        pending: Fact::Known(Vec::new()),
        sources: vec![Source { file: PathBuf::from("/etc/drbd.d/r0.res"), text: parse(FILE).unwrap() }],
        counters: Fact::Known(Counters::default()),
        helper: Fact::Known(Helper {
            program: runnable("/sbin/drbdadm"),
            lines: Vec::new(),
            on_command_line: false,
        }),
        handlers: ["fence-peer", "unfence-peer"].into_iter().map(handler).collect(),
        starters: vec![Starter { unit: "drbd.service".to_owned(), promotes: false }],
        has_target: true,
        device: PathBuf::from("/dev/drbd0"),
        standin: PathBuf::from("/usr/sbin/standin"),
    }
}

/// One setting as the kernel runs it and as the files say it.
pub(in crate::doctor) fn set(survey: &mut DrbdSurvey, section: &str, name: &str, value: &str) {
    if let Fact::Known(Some(running)) = &mut survey.running {
        let settings = match section {
            "net" => &mut running.net,
            "disk" => &mut running.disk,
            _ => &mut running.options,
        };
        settings.insert(name.to_owned(), value.to_owned());
    }
    set_in_files(survey, section, name, value);
}

/// The resource's file as the remedies find it.
pub(in crate::doctor) fn set_source(survey: &mut DrbdSurvey, text: &str) {
    survey.sources = vec![Source { file: PathBuf::from("/etc/drbd.d/r0.res"), text: parse(text).unwrap() }];
}

/// One setting as the files alone say it.
pub(in crate::doctor) fn set_in_files(survey: &mut DrbdSurvey, section: &str, name: &str, value: &str) {
    if let Fact::Known(resource) = &mut survey.configured {
        let settings = match section {
            "net" => &mut resource.net,
            "disk" => &mut resource.disk,
            "handlers" => &mut resource.handlers,
            "startup" => &mut resource.startup,
            _ => &mut resource.options,
        };
        settings.insert(name.to_owned(), value.to_owned());
    }
}
