//! `standin check`: one look at this node, an exit code and one line, for keepalived, load balancers and monitoring.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde_json::json;

use super::say::say;
use super::{kept, managed, operate};
use crate::config::{self, ClusterManager, Config, Host};
use crate::decide::{self, Health, Now};
use crate::journal;
use crate::node::real::RealNode;
use crate::observation::{Fact, Observation, Past};
use crate::pause::{self, Active, Moment};

/// How long a node whose takeover did not come to a good end counts as unfit under keepalived: so long it leaves the virtual
/// IP to others before it tries again.
const IN_VAIN: Duration = Duration::from_secs(30);
/// How much of the journal is read: many runs.
const JOURNAL_TAIL: u64 = 256 * 1024;

pub(super) const EXIT_CODES: &str = "\
By default a node is fit when it serves (Primary, mounted, mysqld answers, virtual IP here), when it holds nothing and could
take over (disk UpToDate, no split brain, nothing in the way), and while a takeover or release runs. Only this node is looked
at; no process is started with DRBD 8.4.

Exit codes:
  0  fit (with --active: it serves), although the peer may be missing
  1  not fit (with --active: it does not serve), or the look did not end in time
  2  the command line or the configuration is wrong

With --nagios they are:
  0  OK        fit
  1  WARNING   fit, but a second copy of the data is missing or behind
  2  CRITICAL  not fit
  3  UNKNOWN   the configuration is wrong, or the look did not end in time";

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Only a node that serves is good: for load balancers
    #[arg(long)]
    active: bool,
    /// The exit codes and the line of a Nagios plugin
    #[arg(long, conflicts_with = "json")]
    nagios: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The look is given up after this long
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What came of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Judged(Health),
    Misconfigured(String),
    NoEnd(Duration),
}

/// The exit code, after one line was printed.
pub(super) fn run(selector: Option<&str>, arguments: &Arguments) -> u8 {
    let begun = Instant::now();
    let (sender, receiver) = mpsc::channel();
    let (selector, active) = (selector.map(str::to_owned), arguments.active);
    // Left behind when it hangs: on a dead disk even the configuration may.
    thread::spawn(move || sender.send((judge(selector.as_deref(), active), pause(selector.as_deref()))));
    let looked = receiver.recv_timeout(arguments.timeout);
    let (verdict, paused) = looked.unwrap_or((Verdict::NoEnd(arguments.timeout), None));
    if arguments.nagios {
        say(format_args!("{} | time={:.3}s", plugin_line(&verdict), begun.elapsed().as_secs_f64()));
        return plugin_code(&verdict);
    }
    let code = code(&verdict);
    if arguments.json {
        say(json!({
            "health": word(&verdict),
            "exit": code,
            "sentence": verdict.sentence(),
            "seconds": begun.elapsed().as_secs_f64(),
            "pause": paused.map(|paused| paused.sentence()),
        }));
    } else {
        say(verdict.sentence());
    }
    code
}

fn pause(selector: Option<&str>) -> Option<Active> {
    let file = pause::path(&config::name(selector).ok()?);
    pause::active(&file, &Moment::now()).ok().flatten()
}

/// A standby must be able to take over with what is written; an active node serves whatever is written.
fn judge(selector: Option<&str>, active: bool) -> Verdict {
    match config::load(selector, &Host::this_machine()) {
        Ok(config) => judge_by(&config, active),
        Err(errors) => match kept::instead(selector, errors) {
            Ok(config) => worse_for_its_file(judge_by(&config, active)),
            Err(errors) => Verdict::Misconfigured(errors.to_string()),
        },
    }
}

fn worse_for_its_file(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Judged(Health::Good(text) | Health::Degraded(text)) => Verdict::Judged(Health::Degraded(
            format!("{text}, but its configuration can't be read any more (standin plan shows why)"),
        )),
        bad => bad,
    }
}

fn judge_by(config: &Config, active: bool) -> Verdict {
    let look = |past| RealNode::new(config.clone(), past).observe_local();
    let running = managed::running(config).map(|running| running.goal);
    if !active && let Some(goal) = running {
        let what = goal.map_or_else(|| "takeover or release".to_owned(), |goal| goal.to_string());
        return Verdict::Judged(Health::Good(format!("a {what} runs on {}", config.this_node.name)));
    }
    let mut observation = look(Past::default());
    if active {
        return Verdict::Judged(decide::serves(&observation, config));
    }
    if is_puzzling(&observation)
        && let Ok(past) = operate::past(config)
    {
        observation = look(past);
    }
    Verdict::Judged(decide::fitness(&observation, config, &now(config)))
}

/// Only the journal tells whether a disconnected resource is one that a takeover of ours left so.
fn is_puzzling(observation: &Observation) -> bool {
    let alone =
        |drbd: &crate::observation::Drbd| drbd.connection == crate::observation::Connection::StandAlone;
    matches!(&observation.drbd, Fact::Known(drbd) if alone(drbd))
}

/// What the journal says of the last minutes. One that can't be read takes no part.
pub(super) fn now(config: &Config) -> Now {
    let entries = journal::read_tail(&journal::path(&config.name), JOURNAL_TAIL).unwrap_or_default();
    let clock = SystemTime::now();
    let in_vain = (config.cluster_manager == ClusterManager::Keepalived)
        .then(|| journal::in_vain(&entries, clock, IN_VAIN))
        .flatten();
    let booted = crate::node::booted_at(clock);
    Now {
        running: None,
        fence_answer: journal::chronicle(&entries, &journal::boot_id(), booted).fence_answer,
        in_vain,
    }
}

impl Verdict {
    fn sentence(&self) -> String {
        match self {
            Verdict::Judged(health) => health.sentence().to_owned(),
            Verdict::Misconfigured(errors) => errors.clone(),
            Verdict::NoEnd(limit) => {
                format!(
                    "the look at this node did not end within {} (a disk that hangs: dmesg; or a loaded machine: --timeout)",
                    humantime::format_duration(*limit)
                )
            }
        }
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Judged(Health::Good(_)) => "good",
        Verdict::Judged(Health::Degraded(_)) => "degraded",
        Verdict::Judged(Health::Bad(_)) => "bad",
        Verdict::Misconfigured(_) | Verdict::NoEnd(_) => "unknown",
    }
}

fn code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Judged(Health::Good(_) | Health::Degraded(_)) => 0,
        Verdict::Judged(Health::Bad(_)) | Verdict::NoEnd(_) => 1,
        Verdict::Misconfigured(_) => 2,
    }
}

fn plugin_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Judged(Health::Good(_)) => 0,
        Verdict::Judged(Health::Degraded(_)) => 1,
        Verdict::Judged(Health::Bad(_)) => 2,
        Verdict::Misconfigured(_) | Verdict::NoEnd(_) => 3,
    }
}

/// One line: a bar would begin the performance data (Monitoring Plugins Development Guidelines).
fn plugin_line(verdict: &Verdict) -> String {
    let status = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::from(plugin_code(verdict))];
    let sentence = verdict.sentence();
    let line = sentence.lines().next().unwrap_or_default().replace('|', "/");
    format!("{status} - {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_broken_under_a_node_that_serves_is_a_warning() {
        let serves = worse_for_its_file(Verdict::Judged(Health::Good("it serves".to_owned())));
        assert_eq!((code(&serves), plugin_code(&serves)), (0, 1));
        let not = worse_for_its_file(Verdict::Judged(Health::Bad("it does not".to_owned())));
        assert_eq!((code(&not), plugin_code(&not)), (1, 2));
    }

    #[test]
    fn every_verdict_has_its_codes() {
        let text = || "x | y\nz".to_owned();
        let cases = [
            (Verdict::Judged(Health::Good(text())), 0, 0, "good", "OK - x / y"),
            (Verdict::Judged(Health::Degraded(text())), 0, 1, "degraded", "WARNING - x / y"),
            (Verdict::Judged(Health::Bad(text())), 1, 2, "bad", "CRITICAL - x / y"),
            (Verdict::Misconfigured(text()), 2, 3, "unknown", "UNKNOWN - x / y"),
            (
                Verdict::NoEnd(Duration::from_secs(1)),
                1,
                3,
                "unknown",
                "UNKNOWN - the look at this node did not end within 1s (a disk that hangs: dmesg; or a loaded machine: --timeout)",
            ),
        ];
        for (verdict, exit, plugin, name, line) in cases {
            assert_eq!(code(&verdict), exit, "{verdict:?}");
            assert_eq!(plugin_code(&verdict), plugin, "{verdict:?}");
            assert_eq!(word(&verdict), name, "{verdict:?}");
            assert_eq!(plugin_line(&verdict), line, "{verdict:?}");
        }
    }
}
