//! systemd units, with as few processes as can be: the state is asked for only when something went wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::command::{self, CommandError, Detached, DetachedOptions};
use crate::doctor::survey::Unit;

/// What `systemctl show` says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`, …
    pub active: String,
    /// The finer state: `running`, `start-pre`, `auto-restart`, `dead`, …
    pub sub: String,
    /// How it last ended: `success`, `exit-code`, `timeout`, `start-limit-hit`, …
    pub result: String,
}

impl UnitState {
    /// Neither runs nor will by itself.
    pub fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }

    /// It waits to start what has just ended once more.
    pub fn is_restarting(&self) -> bool {
        self.sub.starts_with("auto-restart")
    }

    fn parse(text: &str) -> Self {
        let mut state = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let field = match key {
                "LoadState" => &mut state.load,
                "ActiveState" => &mut state.active,
                "SubState" => &mut state.sub,
                "Result" => &mut state.result,
                _ => continue,
            };
            *field = value.trim().to_owned();
        }
        state
    }
}

impl std::fmt::Display for UnitState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({}), result {}", self.active, self.sub, self.result)?;
        if self.load != "loaded" { write!(out, ", {}", self.load) } else { Ok(()) }
    }
}

/// Starts a unit. The process that is returned ends when the unit is up or has failed, scripts after the start included;
/// whoever knows earlier that the unit serves need not wait for it.
///
/// # Errors
/// systemctl could not be run.
pub fn start(unit: &str) -> Result<Detached, String> {
    let command = ["systemctl", "start", "--", unit].map(str::to_owned);
    command::start_detached(&command, &DetachedOptions::default()).map_err(|error| error.to_string())
}

/// Queues a stop, which also cancels a queued or running start, and does not wait for it.
///
/// # Errors
/// systemctl could not be run or refused; the text holds what it printed.
pub fn stop_no_block(unit: &str, limit: Duration) -> Result<(), String> {
    systemctl(&["stop", "--no-block", "--", unit], limit).map(drop)
}

/// The state of a unit; a unit that does not exist is `not-found` and `inactive`.
///
/// # Errors
/// systemctl could not be run, or systemd does not answer.
pub fn show(unit: &str, limit: Duration) -> Result<UnitState, String> {
    systemctl(&["show", "--property=LoadState,ActiveState,SubState,Result", "--", unit], limit)
        .map(|text| UnitState::parse(&text))
}

/// Properties that the doctor judges.
const PROPERTIES: &str = "Id,Names,LoadState,LoadError,ActiveState,SubState,Result,FragmentPath,DropInPaths,UnitFileState,\
                          NeedDaemonReload,Type,Restart,SendSIGKILL,TimeoutStartUSec,TimeoutStopUSec,\
                          StartLimitIntervalUSec,StartLimitBurst,User,Group,ExecStart,Environment,EnvironmentFiles,\
                          ProtectHome,ProtectSystem,PrivateTmp,ReadWritePaths,ReadOnlyPaths,InaccessiblePaths,\
                          RootDirectory,RootImage,RuntimeDirectory,StateDirectory,LogsDirectory";

/// What systemd knows of several units, by one process: by the names that were asked.
///
/// # Errors
/// systemctl could not be run, systemd does not answer, or answers for another number of units.
pub fn show_all(units: &[String], limit: Duration) -> Result<BTreeMap<String, Unit>, String> {
    let property = format!("--property={PROPERTIES}");
    let mut arguments = vec!["show", property.as_str(), "--"];
    arguments.extend(units.iter().map(String::as_str));
    parse_all(units, &systemctl(&arguments, limit)?)
}

/// One block for each unit, in the order of the question, with an empty line between two.
fn parse_all(units: &[String], text: &str) -> Result<BTreeMap<String, Unit>, String> {
    let blocks: Vec<&str> = text.split("\n\n").filter(|block| !block.trim().is_empty()).collect();
    if blocks.len() != units.len() {
        return Err(format!("systemd was asked for {} units and answered for {}", units.len(), blocks.len()));
    }
    let unit = |block: &str| {
        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            // A property of several values, such as EnvironmentFiles, has a line for each.
            let all = properties.entry(key.to_owned()).or_default();
            if !all.is_empty() {
                all.push('\n');
            }
            all.push_str(value);
        }
        Unit::of(properties)
    };
    Ok(units.iter().cloned().zip(blocks.into_iter().map(unit)).collect())
}

/// Whether a process belongs to a unit, by its control group and without starting a process.
pub fn owns(unit: &str, pid: i32) -> bool {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    in_cgroup(&cgroup, unit)
}

fn in_cgroup(cgroup: &str, unit: &str) -> bool {
    let unit = full_name(unit);
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|path| Path::new(path).iter().any(|part| part == unit.as_str()))
}

/// systemctl completes a bare name to a service.
fn full_name(unit: &str) -> String {
    const SUFFIXES: [&str; 4] = [".service", ".scope", ".target", ".slice"];
    if SUFFIXES.iter().any(|suffix| unit.ends_with(suffix)) { unit.into() } else { format!("{unit}.service") }
}

fn systemctl(arguments: &[&str], limit: Duration) -> Result<String, String> {
    let command: Vec<String> =
        std::iter::once("systemctl").chain(arguments.iter().copied()).map(str::to_owned).collect();
    let finished = command::run(&command, limit).map_err(|error: CommandError| error.to_string())?;
    if finished.succeeded() { Ok(finished.stdout) } else { Err(finished.describe()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_state_whatever_the_order() {
        let state = UnitState::parse(
            "Result=exit-code\nLoadState=loaded\nActiveState=failed\nSubState=failed\nOther=x\ngarbage",
        );
        assert!(state.is_down() && !state.is_restarting());
        assert_eq!(state.to_string(), "failed (failed), result exit-code");
        let state = UnitState::parse("ActiveState=activating\nSubState=auto-restart\n");
        assert!(!state.is_down() && state.is_restarting());
    }

    #[test]
    fn blocks_belong_to_the_names_that_were_asked() {
        let names = ["a.service", "b.mount"].map(str::to_owned);
        let text = "Id=a.service\nEnvironmentFiles=/x (ignore_errors=yes)\nEnvironmentFiles=/y (ignore_errors=no)\n\nId=b.mount\n";
        let units = parse_all(&names, text).unwrap();
        assert_eq!(units["a.service"].get("EnvironmentFiles").lines().count(), 2);
        assert_eq!(units["b.mount"].get("Id"), "b.mount");
        assert!(parse_all(&names, "Id=a.service\n").is_err());
    }

    #[test]
    fn a_process_is_known_by_its_control_group() {
        let hybrid =
            "11:cpu:/system.slice\n1:name=systemd:/system.slice/mariadb.service\n0::/system.slice/x\n";
        assert!(in_cgroup(hybrid, "mariadb") && in_cgroup(hybrid, "mariadb.service"));
        assert!(!in_cgroup(hybrid, "mysql"));
        let templated = "0::/system.slice/system-mariadb.slice/mariadb@a.service\n";
        assert!(in_cgroup(templated, "mariadb@a") && !in_cgroup(templated, "mariadb@b"));
    }
}
