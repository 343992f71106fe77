//! DRBD's settings: five commands, and the files that they do not show.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files;
use crate::config::Config;
use crate::doctor::survey::{Counters, DrbdSurvey, HandlerProgram, Helper, Source, Starter};
use crate::foreign::drbd_conf::{self, Resource, Running};
use crate::node::command::{self, Finished};
use crate::observation::Fact;

/// Each command. `drbdadm -d adjust`, the slowest, takes 0.5 s where a fork costs 25 ms.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);

/// The module's parameter.
const HELPER: &str = "/sys/module/drbd/parameters/usermode_helper";

/// What drbdsetup prints to standard error when the resource is not configured in the kernel (10) or the module is not
/// loaded (20 from 8.4's, 121 from 9's).
const NOT_CONFIGURED: [i32; 3] = [10, 20, 121];

/// Why nothing of DRBD's tools runs without the module: `drbdadm` and `drbdsetup` load it themselves, and a look changes
/// nothing; and `drbdadm` takes the files for those of another generation when there is none to load.
const NO_MODULE: &str = "DRBD's tools were not asked, because the kernel module is not loaded";

pub(super) fn look(config: &Config) -> DrbdSurvey {
    let module = module();
    if module == Fact::Known(None) { without_module(config) } else { with_module(config, module) }
}

fn without_module(config: &Config) -> DrbdSurvey {
    let unknown = || NO_MODULE.to_owned();
    let (starters, has_target) = starters(&config.resource);
    DrbdSurvey {
        module: Fact::Known(None),
        no_module_for: no_module_for(),
        utils: Fact::Unknown(unknown()),
        configured: Fact::Unknown(unknown()),
        running: Fact::Known(None),
        pending: Fact::Unknown(unknown()),
        counters: Fact::Unknown(unknown()),
        helper: Fact::Unknown(unknown()),
        starters,
        has_target,
        device: device(config),
        standin: files::this_program(),
        ..DrbdSurvey::default()
    }
}

/// The kernel's release, when modprobe(8) would find no module: it knows only what `modules.dep` lists.
fn no_module_for() -> Option<String> {
    let release = nix::sys::utsname::uname().ok()?.release().to_string_lossy().into_owned();
    let directory = Path::new("/lib/modules").join(&release);
    let index = match fs::read_to_string(directory.join("modules.dep")) {
        Ok(index) => index,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(_) => return None,
    };
    let there = modules(&index).any(|file| directory.join(file).exists());
    (!there).then_some(release)
}

/// DRBD's own module files in `modules.dep`, where every line is a file, a colon and what it needs.
fn modules(index: &str) -> impl Iterator<Item = &str> {
    let files = index.lines().filter_map(|line| line.split(':').next());
    files.filter(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("drbd.ko")))
}

fn device(config: &Config) -> PathBuf {
    fs::canonicalize(&config.mount.device).unwrap_or_else(|_| config.mount.device.clone())
}

fn with_module(config: &Config, module: Fact<Option<String>>) -> DrbdSurvey {
    let resource = &config.resource;
    let configured = configured(resource);
    let running = running(resource);
    let up = matches!(running, Fact::Known(Some(_)));
    let handlers = configured.known().map(handlers).unwrap_or_default();
    let sources = configured.known().map(sources).unwrap_or_default();
    let (starters, has_target) = starters(resource);
    DrbdSurvey {
        module,
        no_module_for: None,
        utils: utils(),
        pending: if up { pending(resource) } else { Fact::Unknown("the resource is down".to_owned()) },
        counters: if up { counters(resource) } else { Fact::Unknown("the resource is down".to_owned()) },
        configured,
        running,
        sources,
        helper: helper(),
        handlers,
        starters,
        has_target,
        device: device(config),
        standin: files::this_program(),
    }
}

fn run(words: &[&str]) -> Result<Finished, String> {
    let command: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    command::run(&command, COMMAND_LIMIT).map_err(|error| error.to_string())
}

fn output(words: &[&str]) -> Result<String, String> {
    let finished = run(words)?;
    if finished.succeeded() { Ok(finished.stdout) } else { Err(finished.describe()) }
}

pub(super) fn module() -> Fact<Option<String>> {
    match fs::read_to_string("/sys/module/drbd/version") {
        Ok(version) => Fact::Known(Some(version.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fact::Known(None),
        Err(error) => Fact::Unknown(format!("/sys/module/drbd/version can't be read: {error}")),
    }
}

fn utils() -> Fact<String> {
    output(&["drbdadm", "--version"])
        .and_then(|text| {
            let version = text.lines().find_map(|line| line.strip_prefix("DRBDADM_VERSION="));
            version.map(str::to_owned).ok_or_else(|| "drbdadm --version names no DRBDADM_VERSION".to_owned())
        })
        .into()
}

pub(super) fn configured(resource: &str) -> Fact<Resource> {
    if module() == Fact::Known(None) {
        return Fact::Unknown(NO_MODULE.to_owned());
    }
    output(&["drbdadm", "dump"])
        .and_then(|text| drbd_conf::parse_dump(&text).map_err(|error| format!("drbdadm dump: {error}")))
        .and_then(|dump| {
            let found = dump.resource(resource).cloned();
            found.ok_or_else(|| format!("DRBD's configuration files have no resource {resource}"))
        })
        .into()
}

fn running(resource: &str) -> Fact<Option<Running>> {
    run(&["drbdsetup", "show", "--show-defaults", resource])
        .and_then(|finished| match drbd_conf::parse_show(&finished.stdout, resource) {
            Ok(running) if finished.succeeded() => Ok(Some(running)),
            Err(drbd_conf::Malformed::NoSuchResource(_))
                if finished.succeeded()
                    || finished.code.is_some_and(|code| NOT_CONFIGURED.contains(&code)) =>
            {
                Ok(None)
            }
            Err(error) if finished.succeeded() => Err(format!("drbdsetup show: {error}")),
            _ => Err(finished.describe()),
        })
        .into()
}

fn pending(resource: &str) -> Fact<Vec<String>> {
    output(&["drbdadm", "--dry-run", "adjust", resource])
        .map(|text| text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
        .into()
}

fn counters(resource: &str) -> Fact<Counters> {
    output(&["drbdsetup", "status", resource, "--verbose", "--statistics"]).map(|text| count(&text)).into()
}

/// `suspended:user,fencing` stands on the resource's line, `out-of-sync:KiB` on one line per volume and peer.
fn count(text: &str) -> Counters {
    let mut counters = Counters::default();
    for (name, value) in text.split_whitespace().filter_map(|word| word.split_once(':')) {
        match name {
            "suspended" if value != "no" => {
                counters.suspended = value.split(',').map(str::to_owned).collect();
            }
            "out-of-sync" => counters.out_of_sync += value.parse().unwrap_or(0),
            _ => {}
        }
    }
    counters
}

fn handlers(resource: &Resource) -> BTreeMap<String, HandlerProgram> {
    resource.handlers.iter().map(|(name, command)| (name.clone(), program(command))).collect()
}

/// DRBD gives a handler to the shell: its first word is the program, where nothing cleverer stands there.
fn program(command: &str) -> HandlerProgram {
    let word = command.split_whitespace().next().unwrap_or_default();
    HandlerProgram { command: command.to_owned(), problem: files::why_not_runnable(Path::new(word)) }
}

/// Where the resource is defined, and where packages put the section `common`.
fn sources(resource: &Resource) -> Vec<Source> {
    let mut wanted: Vec<PathBuf> = resource.defined_at.iter().map(|place| place.file.clone()).collect();
    wanted.extend(["/etc/drbd.d/global_common.conf", "/etc/drbd.conf"].map(PathBuf::from));
    wanted.dedup();
    let read = |file: PathBuf| {
        let text = files::text(&file).ok().flatten()?;
        Some(Source { text: drbd_conf::parse(&text).ok()?, file })
    };
    wanted.into_iter().filter_map(read).collect()
}

fn helper() -> Fact<Helper> {
    let value = match fs::read_to_string(HELPER) {
        // The kernel appends one line break; another one is a part of the name.
        Ok(value) => value.strip_suffix('\n').unwrap_or(&value).to_owned(),
        Err(error) => return Fact::Unknown(format!("{HELPER} can't be read: {error}")),
    };
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let lines = files::lines_of_directory("/etc/modprobe.d", ".conf");
    Fact::Known(Helper {
        program: HandlerProgram { problem: helper_problem(&value), command: value },
        lines: lines.into_iter().filter_map(|(place, line)| Some((place, helper_value(&line)?))).collect(),
        on_command_line: command_line
            .split_whitespace()
            .any(|word| word.starts_with("drbd.usermode_helper=")),
    })
}

fn helper_problem(value: &str) -> Option<String> {
    if value == "disabled" {
        return Some("the kernel runs no handler at all".to_owned());
    }
    if value.contains('\n') {
        return Some("a line break follows the name, so that the kernel finds no such program".to_owned());
    }
    files::why_not_runnable(Path::new(value))
}

/// The value in `options drbd … usermode_helper=VALUE …` of modprobe.d(5).
fn helper_value(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    if words.next()? != "options" || words.next()? != "drbd" {
        return None;
    }
    words.find_map(|word| word.strip_prefix("usermode_helper=")).map(str::to_owned)
}

/// Enabled units that run drbdadm, and whether the package has a unit for one resource.
fn starters(resource: &str) -> (Vec<Starter>, bool) {
    let units = files::enabled_units();
    let found = units.iter().filter_map(|(unit, text)| starter(unit, text, resource)).collect();
    let has_target =
        files::unit_directories().iter().any(|directory| directory.join("drbd@.target").exists());
    (found, has_target)
}

fn starter(unit: &str, text: &str, resource: &str) -> Option<Starter> {
    let packaged = unit == "drbd.service"
        || [".target", ".service"].iter().any(|kind| unit == format!("drbd@{resource}{kind}"));
    let promoting = unit == format!("drbd-promote@{resource}.service")
        || unit == format!("drbd-services@{resource}.target");
    let commands: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("Exec")).collect();
    let runs = |program: &str, word: &str| {
        commands
            .iter()
            .any(|line| line.contains(program) && line.split_whitespace().any(|argument| argument == word))
    };
    let starts = packaged || runs("drbdadm", "up") || runs("drbdadm", "adjust");
    let promotes = promoting || runs("drbdadm", "primary") || runs("drbdsetup", "primary");
    (starts || promotes).then(|| Starter { unit: unit.to_owned(), promotes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_a_real_status() {
        let captured =
            include_str!("../../../tests/captured/drbd-8.4/fencing-connected-primary/status-verbose");
        assert_eq!(count(captured), Counters::default());
        let held = captured
            .replace("suspended:no", "suspended:user,fencing")
            .replace("out-of-sync:0", "out-of-sync:12");
        let counters = count(&held);
        assert_eq!((counters.suspended.join("+").as_str(), counters.out_of_sync), ("user+fencing", 12));
    }

    #[test]
    fn the_module_is_found_in_the_kernels_index() {
        let index = "kernel/drivers/block/drbd/drbd.ko.xz: kernel/lib/lru_cache.ko.xz\n\
                     updates/drbd_transport_tcp.ko: updates/drbd.ko\n";
        assert_eq!(modules(index).collect::<Vec<_>>(), ["kernel/drivers/block/drbd/drbd.ko.xz"]);
    }

    #[test]
    fn a_helper_that_an_echo_has_written_is_none() {
        assert_eq!(helper_problem("/bin/sh"), None);
        assert!(helper_problem("/bin/sh\n").is_some_and(|problem| problem.contains("line break")));
    }

    #[test]
    fn the_parameter_is_found_among_others() {
        assert_eq!(
            helper_value("options drbd minor_count=2 usermode_helper=disabled").as_deref(),
            Some("disabled")
        );
        assert_eq!(helper_value("#options drbd usermode_helper=disabled"), None);
        assert_eq!(helper_value("options loop usermode_helper=x"), None);
    }

    #[test]
    fn a_unit_that_brings_drbd_up_is_known_by_its_name_or_its_commands() {
        let starts = |unit: &str, text: &str| starter(unit, text, "r0").map(|starter| starter.promotes);
        assert_eq!(starts("drbd.service", ""), Some(false));
        assert_eq!(starts("drbd@r0.target", ""), Some(false));
        assert_eq!(starts("drbd@r1.target", ""), None);
        assert_eq!(starts("own.service", "[Service]\nExecStart=/sbin/drbdadm up r0\n"), Some(false));
        assert_eq!(starts("own.service", "ExecStart=/sbin/drbdadm primary r0"), Some(true));
        assert_eq!(starts("own.service", "# drbdadm up\nExecStart=/bin/true"), None);
    }
}
