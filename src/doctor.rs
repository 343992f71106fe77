//! Every precondition of a takeover on this node, each with what was seen and the remedy to type.
//!
//! A look at the machine ([`survey::Survey`], filled by `node::survey`) and pure checks on it: one file per area, one
//! file-local function per check. Most failed failovers were lost weeks before, in a setting: these are those settings.

mod agent;
mod cluster_manager;
mod drbd;
mod edit;
pub mod mysqld;
mod network;
mod peer;
mod remedy;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod sample;
pub mod storage;
pub mod survey;
pub mod system;
mod unit;

use serde::{Deserialize, Serialize};

use crate::config::{ClusterManager, Config};
use survey::Survey;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it must be.
    Pass,
    /// A takeover works, but something will be slower, riskier or unknown until it is too late.
    Warn,
    /// A takeover would fail, be refused, or lose data.
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name: `drbd-protocol`, `vip-duplicate`. Stable, for scripts.
    pub check: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was seen, in one sentence without a full stop.
    pub seen: String,
    /// Why it matters; empty for a pass.
    pub why: String,
    /// Commands to type in a root shell of this node, in order; after them the check passes.
    pub remedy: Vec<String>,
    /// What to do where no command can be given, or what to know before typing the remedy.
    pub advice: Option<String>,
}

impl Finding {
    fn pass(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Pass,
            seen: seen.into(),
            why: String::new(),
            remedy: Vec::new(),
            advice: None,
        }
    }

    fn warn(check: &'static str, seen: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Warn, why: why.into(), ..Self::pass(check, seen) }
    }

    fn fail(check: &'static str, seen: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Fail, why: why.into(), ..Self::pass(check, seen) }
    }

    /// What could not be learnt is a warning: nobody knows whether a takeover would work.
    fn unknown(check: &'static str, cause: &str) -> Self {
        Self::warn(check, format!("unknown: {cause}"), "what can't be seen now may be what fails at 03:00")
    }

    /// Adds a command of the remedy.
    #[must_use]
    fn remedy(mut self, command: impl Into<String>) -> Self {
        self.remedy.push(command.into());
        self
    }

    /// Adds what completes an active node that lacks something: a takeover by the node that is Primary already. Under
    /// Pacemaker only its agent may act.
    #[must_use]
    fn completed_by_takeover(self, config: &Config) -> Self {
        if config.cluster_manager == ClusterManager::Pacemaker {
            return self
                .advice("Pacemaker owns it: see `crm_mon -1`, and let it try again: crm_resource --cleanup");
        }
        let file = config.file.to_string_lossy();
        self.remedy(remedy::words(&["standin", "--config", &file, "takeover"])).advice(
            "it is Primary already, and the takeover completes what is missing; not while somebody took it away on purpose, \
             for maintenance",
        )
    }

    /// Adds advice.
    #[must_use]
    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The findings of one part of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Area {
    /// Its heading.
    pub name: &'static str,
    /// In the order of the checks; a check that does not apply here is absent.
    pub findings: Vec<Finding>,
}

/// All checks, on what the survey saw.
pub fn examine(survey: &Survey, config: &Config) -> Vec<Area> {
    let area = |name, findings| Area { name, findings };
    vec![
        area("DRBD", drbd::examine(survey, config)),
        area("storage", storage::examine(survey, config)),
        area("mysqld", mysqld::examine(survey, config)),
        area("mysqld's start", unit::examine(survey, config)),
        area("network", network::examine(survey, config)),
        area("cluster manager", cluster_manager::examine(survey, config)),
        area("agent", agent::examine(survey, config)),
        area("peer", peer::examine(survey, config)),
        area("system", system::examine(survey, config)),
    ]
}

/// The worst status among the findings.
pub fn worst(areas: &[Area]) -> Status {
    areas.iter().flat_map(|area| &area.findings).map(|finding| finding.status).max().unwrap_or(Status::Pass)
}
