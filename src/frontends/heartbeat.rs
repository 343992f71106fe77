//! standin as one of Heartbeat's resources: what `/etc/ha.d/resource.d/standin` calls.
//!
//! Heartbeat (3.0.6, `ResourceManager`) sets no time limit, ignores the exit code of `status` and reads its output alone, and
//! tries a failed `stop` ten more times before it asks for the status again and, at "running", resets the machine.

pub(super) mod drbddisk;
mod log;
mod marker;

use std::fmt;
use std::time::Duration;

use clap::Args;

use super::kept;
use super::managed::{self, Managed, Run};
use super::say::{say, say_error};
use crate::config::{self, ClusterManager, Config, ConfigErrors, Host};
use crate::decide::{self, Doings, HeartbeatStatus, Standing};
use crate::failure::Outcome;
use crate::node::address;
use crate::node::real::RealNode;
use crate::node::within::within;
use crate::observation::{Fact, Observation, Past, Peer, Vip};
use crate::plan::HeartbeatStop;

pub(super) const HELP: &str = "\
For /etc/ha.d/resource.d/standin, which Heartbeat calls for standin::NAME in haresources. NAME is the cluster's; it may be
left out when only one is configured.

  start   a takeover; waits for one that runs already
  stop    a release; interrupts a takeover that runs
  status  prints `running` or `stopped` and nothing else: what Heartbeat is to believe

Exit codes (LSB):
  start, stop  0 done; 1 failed or refused; 2 wrong arguments; 4 not root; 6 not configured
  status       0 running; 3 stopped; 4 not everything could be learnt";

/// A look that hangs must not hang Heartbeat.
const LOOK: Duration = Duration::from_secs(5);

const OK: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const STOPPED: u8 = 3;
/// Of start and stop.
const NOT_ROOT: u8 = 4;
/// Of status.
const NOT_KNOWN: u8 = 4;
const NOT_CONFIGURED: u8 = 6;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The cluster's name, and at the end start, stop or status
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start,
    Stop,
    Status,
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Action::Start => "started",
            Action::Stop => "stopped",
            Action::Status => "looked at",
        })
    }
}

/// The exit code of `standin heartbeat`.
pub(super) fn run(selector: Option<&str>, arguments: &Arguments) -> u8 {
    let (name, action) = match understand(&arguments.words) {
        Ok(understood) => understood,
        Err(wrong) => return wrong_arguments("standin::NAME", "standin heartbeat [NAME]", &wrong),
    };
    let selector = name.or(selector);
    if action == Action::Status {
        return status(selector);
    }
    let _told = log::Log::open(&format!("standin({})", selector.unwrap_or("default")));
    if !is_root() {
        return NOT_ROOT;
    }
    let config = match configuration(selector, action) {
        Ok(config) => config,
        Err(errors) => {
            say_error(format_args!("ERROR: {} is not {action}: {errors}", selector.unwrap_or("the cluster")));
            return NOT_CONFIGURED;
        }
    };
    match action {
        Action::Start => start(&config, selector),
        Action::Stop | Action::Status => stop(&config, selector),
    }
}

fn wrong_arguments(resource: &str, command: &str, wrong: &str) -> u8 {
    say_error(format_args!(
        "{command}: {wrong}\n  why it matters: nothing was done\n  what to do next: in haresources write {resource}, and by \
         hand: {command} start|stop|status"
    ));
    USAGE
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        say_error(
            "standin does not run as root\n  why it matters: DRBD, mounts and addresses can't be changed\n  what to do next: run \
             it as root; Heartbeat does",
        );
    }
    is_root
}

/// What Heartbeat calls: the resource's arguments, and the action at the end.
fn understand(words: &[String]) -> Result<(Option<&str>, Action), String> {
    let (action, arguments) = words.split_last().ok_or("an action is missing")?;
    let action = match action.as_str() {
        "start" => Action::Start,
        "stop" => Action::Stop,
        "status" => Action::Status,
        other => return Err(format!("{other} is no action: start, stop or status is")),
    };
    match arguments {
        [] => Ok((None, action)),
        [name] => Ok((Some(name), action)),
        more => Err(format!("one name is expected and not {}: {}", more.len(), more.join(", "))),
    }
}

fn configuration(selector: Option<&str>, action: Action) -> Result<Config, ConfigErrors> {
    match action {
        Action::Start => config::load(selector, &Host::this_machine()),
        Action::Stop | Action::Status => kept::load(selector),
    }
}

/// What gives up or only looks must not fail for want of credentials.
fn host_for(action: Action) -> Host {
    match action {
        Action::Start => Host::this_machine(),
        Action::Stop | Action::Status => Host::this_machine().unexamined(),
    }
}

/// Why Heartbeat can't run a cluster with this configuration.
fn not_for_heartbeat(config: &Config) -> Option<String> {
    let why = match config.cluster_manager {
        ClusterManager::None | ClusterManager::Heartbeat(None | Some(HeartbeatStop::Kill)) => return None,
        ClusterManager::Heartbeat(Some(HeartbeatStop::Stop)) => {
            "a takeover would wait for an orderly end of Heartbeat, which waits for this start: neither would come to its end"
        }
        ClusterManager::Pacemaker => "Pacemaker owns the resource, and would act against it",
        ClusterManager::Keepalived => "the virtual IP is keepalived's, and would not be added",
    };
    Some(format!(
        "Heartbeat calls standin for {}, and the configuration does not say so\n  why it matters: {why}\n  what to do next: write \
         cluster_manager: {{heartbeat: keep}} in {}, on both nodes, or take standin out of /etc/ha.d/haresources",
        config.name,
        config.file.display()
    ))
}

fn start(config: &Config, selector: Option<&str>) -> u8 {
    if let Err(error) = marker::clear(&config.resource) {
        say_error(format_args!("warning: a failed stop can't be forgotten: {error}"));
    }
    if let Some(why) = not_for_heartbeat(config) {
        say_error(format_args!("ERROR: {} is not started: {why}", config.name));
        return NOT_CONFIGURED;
    }
    match (Managed { config, selector }).take_over(None) {
        Run::Ended { outcome: Outcome::Done, .. } => OK,
        Run::Ended { outcome, reason } => {
            say_error(format_args!(
                "ERROR: {} is not started on {} ({outcome:?}): {}",
                config.name,
                config.this_node.name,
                reason.unwrap_or_default()
            ));
            FAILED
        }
        Run::GoesOn { progress } => {
            say_error(format_args!("ERROR: the takeover has not ended: {progress}"));
            FAILED
        }
    }
}

fn stop(config: &Config, selector: Option<&str>) -> u8 {
    let why = match (Managed { config, selector }).release(None) {
        Run::Ended { outcome: Outcome::Done, .. } => still_held(config),
        Run::Ended { outcome, reason } => Some(format!("{outcome:?}: {}", reason.unwrap_or_default())),
        Run::GoesOn { progress } => Some(progress),
    };
    let noted = match why {
        None => marker::clear(&config.resource),
        Some(_) => marker::set(&config.resource),
    };
    if let Err(error) = noted {
        say_error(format_args!("warning: how the stop ended can't be kept for the next status: {error}"));
    }
    match why {
        None => OK,
        Some(why) => {
            say_error(format_args!(
                "ERROR: {} is not stopped on {}: {why}",
                config.name, config.this_node.name
            ));
            FAILED
        }
    }
}

/// What is here after a release that saw everything go.
fn still_held(config: &Config) -> Option<String> {
    match decide::standing(&look(config), config) {
        Standing::Standby => None,
        Standing::Active => Some("another takeover has made this node active again".to_owned()),
        Standing::Partial { reason, .. } => Some(format!("not everything is gone: {reason}")),
        Standing::Unknown { reason } => Some(format!("whether everything is gone is not known: {reason}")),
    }
}

fn status(selector: Option<&str>) -> u8 {
    let config = match configuration(selector, Action::Status) {
        Ok(config) => config,
        Err(errors) => {
            say_error(&errors);
            // "running" would reset a machine for a slip in a file, again after each boot.
            say("stopped");
            return NOT_KNOWN;
        }
    };
    let HeartbeatStatus { running, certain, reason } = {
        let doings = Doings {
            under_way: managed::running(&config).is_some(),
            stop_failed: marker::is_set(&config.resource),
        };
        decide::heartbeat_status(&look(&config), &config, doings)
    };
    say_error(format_args!("{}: {reason}", config.name));
    say(if running { "running" } else { "stopped" });
    match (certain, running) {
        (false, _) => NOT_KNOWN,
        (true, true) => OK,
        (true, false) => STOPPED,
    }
}

/// What this node holds; what hangs counts as not known.
fn look(config: &Config) -> Observation {
    let node = RealNode::new(config.clone(), Past::default());
    within(LOOK, move || node.observe_local()).unwrap_or_else(|| vip_alone(config))
}

/// No disk and no process is behind an address.
fn vip_alone(config: &Config) -> Observation {
    let hangs = || format!("the look at it has not ended within {} s", LOOK.as_secs());
    Observation {
        drbd: Fact::Unknown(hangs()),
        mount: Fact::Unknown(hangs()),
        mysqld: Fact::Unknown(hangs()),
        vip: Vip {
            here: address::interface_of(config.vip.address.addr()).into(),
            answer: Fact::Unknown("not asked".to_owned()),
        },
        peer: Peer { addresses: Vec::new() },
        witnesses: Vec::new(),
        cluster_manager: Fact::Unknown("not asked".to_owned()),
        past: Past::default(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_action_is_the_last_word() {
        assert_eq!(understand(&words("start")), Ok((None, Action::Start)));
        assert_eq!(understand(&words("r0 stop")), Ok((Some("r0"), Action::Stop)));
        assert_eq!(understand(&words("status status")), Ok((Some("status"), Action::Status)));
        for wrong in ["", "r0", "r0 restart", "r0 eth0 start", "start r0"] {
            assert!(understand(&words(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_configuration_of_another_manager_is_not_started() {
        let config = |line: &str| {
            let text = include_str!("../../docs/examples/command-line.yaml");
            let kept = text.lines().filter(|held| !held.starts_with("cluster_manager:"));
            let text = kept.chain([line]).collect::<Vec<_>>().join("\n");
            config::parse(&text, "orders.yaml".as_ref(), &Host::fixed("db1.example.com")).unwrap()
        };
        for (line, fits) in [
            ("cluster_manager: {heartbeat: keep}", true),
            ("cluster_manager: {heartbeat: kill}", true),
            ("cluster_manager: none", true),
            ("cluster_manager: {heartbeat: stop}", false),
            ("cluster_manager: pacemaker", false),
            ("cluster_manager: keepalived", false),
        ] {
            let why = not_for_heartbeat(&config(line));
            assert_eq!(why.is_none(), fits, "{line}: {why:?}");
        }
    }
}
