//! `standin doctor`.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::operate::past;
use super::say::{deliver, say_error};
use crate::config::Config;
use crate::doctor::survey::PeerFacts;
use crate::doctor::{self, Area, Finding, Status};
use crate::failure::Outcome;
use crate::node::survey;

/// Larger than any facts that a peer prints, in bytes.
const FACTS_LIMIT: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Exit 1 when there are warnings, too
    #[arg(long)]
    strict: bool,
    /// Show only what did not pass
    #[arg(long, short)]
    quiet: bool,
    /// Print this node's facts as JSON, for --peer-facts on the other node, and check nothing
    #[arg(long, conflicts_with_all = ["strict", "quiet", "json", "peer_facts"])]
    facts: bool,
    /// The peer's facts: a file, or - for standard input; without it the peer is asked over ssh
    #[arg(long, value_name = "FILE")]
    peer_facts: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Examines this node. Exit 0, 1 for warnings when strict, 3 when anything failed.
pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Outcome> {
    if !nix::unistd::geteuid().is_root() {
        say_error(
            "standin doctor does not run as root\n  why it matters: most of what it looks at only root can see\n  what to do next: run it as root, or with sudo",
        );
        return Ok(Outcome::Usage);
    }
    if arguments.facts {
        let facts = serde_json::to_string_pretty(&survey::facts(config))?;
        return Ok(deliver(format_args!("{facts}\n"), Outcome::Done));
    }
    let peer = match arguments.peer_facts.as_ref().map(read_facts).transpose() {
        Ok(peer) => peer,
        Err(error) => {
            say_error(error);
            return Ok(Outcome::Usage);
        }
    };
    let survey = survey::look(config, past(config)?, peer);
    let areas = doctor::examine(&survey, config);
    let worst = doctor::worst(&areas);
    let outcome = match worst {
        Status::Fail => Outcome::Refused,
        Status::Warn if arguments.strict => Outcome::Failed,
        Status::Warn | Status::Pass => Outcome::Done,
    };
    let text = if arguments.json {
        let node = &config.this_node.name;
        let report =
            json!({"cluster": config.name, "node": node, "worst": worst, "areas": areas, "survey": survey});
        format!("{report}\n")
    } else {
        report(config, &areas, arguments.quiet, colours())
    };
    Ok(deliver(text, outcome))
}

fn read_facts(file: &PathBuf) -> Result<PeerFacts, String> {
    let shown = file.display();
    let problem = |error: &dyn std::fmt::Display| {
        format!(
            "the peer's facts in {shown} can't be used: {error}\n  why it matters: the two nodes can't be compared\n  \
             what to do next: on the peer, with the same version of standin: standin doctor --facts > {shown}"
        )
    };
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        io::stdin().lock().take(FACTS_LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(FACTS_LIMIT).read_to_string(&mut text))
    };
    read.map_err(|error| problem(&error))?;
    serde_json::from_str(&text).map_err(|error| problem(&error))
}

fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn report(config: &Config, areas: &[Area], quiet: bool, colours: bool) -> String {
    let mut text = format!("cluster {} on {}\n", config.name, config.this_node.name);
    let findings = || areas.iter().flat_map(|area| &area.findings);
    let width = findings().map(|finding| finding.check.len()).max().unwrap_or(0);
    for area in areas {
        let shown: Vec<&Finding> =
            area.findings.iter().filter(|finding| !quiet || finding.status != Status::Pass).collect();
        if shown.is_empty() {
            continue;
        }
        text += &format!("\n{}\n", area.name);
        for finding in shown {
            text += &lines(finding, width, colours);
        }
    }
    let count = |status| findings().filter(|finding| finding.status == status).count();
    text += &format!(
        "\n{} passed, {} warned, {} failed\n",
        count(Status::Pass),
        count(Status::Warn),
        count(Status::Fail)
    );
    text
}

fn lines(finding: &Finding, width: usize, colours: bool) -> String {
    let (word, colour) = match finding.status {
        Status::Pass => ("pass", "32"),
        Status::Warn => ("WARN", "33"),
        Status::Fail => ("FAIL", "31"),
    };
    let word = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
    let mut text = format!("  {word}  {:width$}  {}\n", finding.check, finding.seen);
    if !finding.why.is_empty() {
        text += &format!("        why it matters: {}\n", finding.why);
    }
    if let Some(advice) = &finding.advice {
        text += &format!("        what to know: {advice}\n");
    }
    if !finding.remedy.is_empty() {
        text += "        remedy:\n";
        for command in &finding.remedy {
            text += &format!("          {command}\n");
        }
    }
    text
}
