//! Both nodes at a glance, as this node sees them.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::forecast::look;
use super::operate::past;
use super::say::say_text;
use crate::config::Config;
use crate::decide::{self, Decision, Request};
use crate::failure::Outcome;
use crate::forecast::{self, Forecast};
use crate::node::Node;
use crate::node::real::RealNode;
use crate::observation::{AddressProbe, Fact, MysqldAnswer, Observation, Replication};

const EVERY: Duration = Duration::from_secs(2);
/// For the server's answer to what crash recovery would have to do.
const FORECAST_LIMIT: Duration = Duration::from_secs(2);

/// Prints the state once, or again and again.
pub(super) fn show(config: &Config, as_json: bool, watch: bool) -> anyhow::Result<Outcome> {
    let interrupted = Arc::new(AtomicBool::new(false));
    if watch {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
    }
    loop {
        let node = RealNode::new(config.clone(), past(config)?);
        let observation = node.observe();
        let forecast = serves(&observation).then(|| forecast::judge(&look(config, FORECAST_LIMIT)));
        let pause = super::pause::in_force(config);
        let text = if as_json {
            let node = &config.this_node.name;
            let mut state = json!({
                "cluster": config.name, "node": node, "observation": observation, "recovery_forecast": forecast,
            });
            if let Some(pause) = pause {
                state["pause"] = json!(pause);
            }
            format!("{state}\n")
        } else {
            let clear = if watch && std::io::stdout().is_terminal() { "\x1b[2J\x1b[H" } else { "" };
            let pause =
                pause.map(|pause| format!("pause         {}\n", pause.sentence())).unwrap_or_default();
            format!("{clear}{}{pause}", table(config, &observation, forecast.as_ref()))
        };
        if !say_text(text) {
            return Ok(Outcome::Done);
        }
        let next = Instant::now() + EVERY;
        while watch && !interrupted.load(Ordering::Relaxed) && Instant::now() < next {
            thread::sleep(Duration::from_millis(50));
        }
        if !watch || interrupted.load(Ordering::Relaxed) {
            return Ok(Outcome::Done);
        }
    }
}

/// Only the node whose server runs can have a crash to recover from.
fn serves(observation: &Observation) -> bool {
    observation
        .mysqld
        .known()
        .is_some_and(|mysqld| mysqld.processes.iter().any(|process| process.on_our_device))
}

fn forecast_lines(forecast: &Fact<Forecast>, budget: Duration) -> String {
    match forecast {
        Fact::Known(forecast) => {
            let warning = forecast.warning(budget).map(|text| format!("warning       {text}\n"));
            format!("recovery      {forecast}\n{}", warning.unwrap_or_default())
        }
        Fact::Unknown(cause) => format!("recovery      not forecast: {cause}\n"),
    }
}

fn table(config: &Config, observation: &Observation, forecast: Option<&Fact<Forecast>>) -> String {
    let (mut here, mut peer) = (Vec::new(), Vec::new());
    match &observation.drbd {
        Fact::Known(drbd) => {
            let percent = drbd.resync_percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
            let replication = match drbd.replication {
                Replication::Off | Replication::Established => String::new(),
                other => format!(", {other:?}{percent}"),
            };
            let suspended = if drbd.io_suspended { ", I/O SUSPENDED" } else { "" };
            here.push(("DRBD", format!("{:?} {:?}{suspended}", drbd.role, drbd.disk)));
            peer.push(("DRBD", format!("{:?} {:?}", drbd.peer_role, drbd.peer_disk)));
            here.push(("connection", format!("{:?}{replication}", drbd.connection)));
            peer.push(("connection", String::new()));
        }
        Fact::Unknown(cause) => {
            here.push(("DRBD", format!("unknown: {cause}")));
            peer.push(("DRBD", "unknown".to_owned()));
        }
    }
    here.push((
        "mount",
        match &observation.mount {
            Fact::Known(mount) => match &mount.at_directory {
                None => "not mounted".to_owned(),
                Some(mounted) => format!(
                    "{} {}{}",
                    mounted.source,
                    if mounted.read_only { "READ-ONLY" } else { "read-write" },
                    if mounted.is_our_device { "" } else { " (NOT OURS)" }
                ),
            },
            Fact::Unknown(cause) => format!("unknown: {cause}"),
        },
    ));
    peer.push(("mount", String::new()));
    here.push((
        "mysqld",
        match &observation.mysqld {
            Fact::Known(mysqld) => match (mysqld.processes.first(), &mysqld.answer) {
                (None, _) => "not running".to_owned(),
                (Some(process), MysqldAnswer::Ready) => format!("ready (pid {})", process.pid),
                (Some(process), MysqldAnswer::Busy) => {
                    format!("alive (pid {}), but takes no more connections", process.pid)
                }
                (Some(process), MysqldAnswer::Silent) => {
                    format!("pid {}, NOTHING ANSWERS on its socket", process.pid)
                }
                (Some(process), MysqldAnswer::Stalled(cause)) => {
                    format!("pid {}, STALLED: {cause}", process.pid)
                }
            },
            Fact::Unknown(cause) => format!("unknown: {cause}"),
        },
    ));
    peer.push(("mysqld", String::new()));
    let (vip_here, vip_there) = match (&observation.vip.here, &observation.vip.answer) {
        (Fact::Known(Some(interface)), Fact::Known(Some(answer))) => (
            format!("here, on {interface}"),
            format!("ALSO ANSWERED by {}", answer.arp.as_deref().unwrap_or("ping only")),
        ),
        (Fact::Known(Some(interface)), Fact::Known(None)) => {
            (format!("here, on {interface}"), "no".to_owned())
        }
        (Fact::Known(Some(interface)), Fact::Unknown(_)) => {
            (format!("here, on {interface}"), "unknown".to_owned())
        }
        (_, Fact::Known(Some(answer))) => {
            ("no".to_owned(), format!("answered by {}", answer.arp.as_deref().unwrap_or("ping only")))
        }
        (Fact::Known(None), Fact::Known(None)) => ("no".to_owned(), "NOBODY ANSWERS".to_owned()),
        (_, Fact::Unknown(cause)) | (Fact::Unknown(cause), _) => (format!("unknown: {cause}"), String::new()),
    };
    here.push(("virtual IP", vip_here));
    peer.push(("virtual IP", vip_there));
    here.push(("network", config.this_node.address.to_string()));
    peer.push(("network", observation.peer.addresses.iter().map(answers).collect::<Vec<_>>().join(", ")));

    let width = here.iter().map(|(_, value)| value.len()).max().unwrap_or(0).max(config.this_node.name.len());
    let mut text = format!("cluster {} (virtual IP {})\n", config.name, config.vip.address);
    text += &format!("{:12}  {:width$}  {}\n", "", config.this_node.name, config.peer.name);
    for ((label, value), (_, other)) in here.iter().zip(&peer) {
        text += format!("{label:12}  {value:width$}  {other}").trim_end();
        text.push('\n');
    }
    if let Some(forecast) = forecast {
        text += &forecast_lines(forecast, config.agent.recovery_budget);
    }
    for witness in &observation.witnesses {
        text += &format!("witness       {}\n", answers(witness));
    }
    for probe in observation.peer.addresses.iter().chain(&observation.witnesses) {
        if let Fact::Unknown(cause) = &probe.answer {
            text += &format!("unknown       {cause}\n");
        }
    }
    match decide::takeover(observation, config, &Request::default()) {
        Decision::Plan(plan) => {
            text += &format!("takeover      possible: {}\n", plan.reason);
            for warning in &plan.warnings {
                text += &format!("warning       {warning}\n");
            }
        }
        Decision::Refusal(refusal) => {
            text += &format!("takeover      would be refused: {}\n", refusal.reason)
        }
    }
    text
}

fn answers(probe: &AddressProbe) -> String {
    match &probe.answer {
        Fact::Known(Some(_)) => format!("{} answers", probe.address),
        Fact::Known(None) => format!("{} SILENT", probe.address),
        Fact::Unknown(_) => format!("{} unknown", probe.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Backlog;

    const BUDGET: Duration = Duration::from_secs(60);

    #[test]
    fn a_long_recovery_is_shown_with_a_warning() {
        let backlog = Backlog {
            redo_bytes: 3 << 30,
            dirty_pages: Some(90_000),
            buffer_pool_bytes: None,
            only_files_because: None,
        };
        let forecast = Forecast { seconds: 81.0, is_upper_bound: false, measured: 3, backlog };
        let lines = forecast_lines(&Fact::Known(forecast.clone()), BUDGET);
        assert!(lines.starts_with("recovery      about 81 s if the power failed now: 3072.0 MiB"), "{lines}");
        assert!(lines.contains("\nwarning       crash recovery would take about 81 s"), "{lines}");
        let short = Forecast { seconds: 8.0, ..forecast };
        assert_eq!(forecast_lines(&Fact::Known(short), BUDGET).lines().count(), 1);
        let unknown = forecast_lines(&Fact::Unknown("no redo log".to_owned()), BUDGET);
        assert_eq!(unknown, "recovery      not forecast: no redo log\n");
    }
}
