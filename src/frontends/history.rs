//! Past takeovers and releases, with a time per step.

use anyhow::Context;

use super::say::say;
use crate::config::Config;
use crate::failure::Outcome;
use crate::journal;

/// Prints the latest runs, the newest last.
pub(super) fn show(config: &Config, as_json: bool, last: usize) -> anyhow::Result<Outcome> {
    let path = journal::path(&config.name);
    let entries = journal::read(&path)
        .with_context(|| format!("the journal {} can't be read (see: ls -ld {0}; id)", path.display()))?;
    let runs = journal::runs(&entries);
    let latest = &runs[runs.len().saturating_sub(last)..];
    if as_json {
        say(serde_json::to_string_pretty(latest)?);
        return Ok(Outcome::Done);
    }
    if latest.is_empty() {
        say(format_args!("no takeover and no release of {} on {} yet", config.name, config.this_node.name));
    }
    for run in latest {
        let outcome = match run.outcome {
            Some(Outcome::Done) => "done",
            Some(Outcome::Failed) => "FAILED and undone",
            Some(Outcome::Refused) => "refused",
            Some(Outcome::Stuck) => "STUCK",
            Some(Outcome::Usage) => "wrong usage",
            None => "CUT SHORT (killed, or still running)",
        };
        let took = run.seconds.map(|seconds| format!(" in {seconds:.3} s")).unwrap_or_default();
        say(format_args!("{}  {} {outcome}{took}: {}", run.at, run.goal, run.reason));
        for step in &run.steps {
            let seconds =
                step.seconds.map_or_else(|| format!("{:>8}", "-"), |seconds| format!("{seconds:>8.3}"));
            say(format_args!(
                "    {:22} {seconds} s  {}",
                step.step,
                step.result.lines().next().unwrap_or_default()
            ));
        }
    }
    Ok(Outcome::Done)
}
