//! Checks of DRBD: its state, and the settings that decide whether a takeover is safe.
//!
//! | module | what it checks |
//! | --- | --- |
//! | `state` | module, connection, disks, roles, held I/O |
//! | `layout` | files against kernel and configuration, the start at boot |
//! | `policy` | protocol, Primaries, split brain, I/O errors, quorum |
//! | `timing` | how long a dead or hanging peer goes unnoticed |
//! | `fencing` | the policy, the handlers, and the program that runs them |

mod fencing;
mod layout;
mod policy;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod sample;
mod setting;
mod state;
mod timing;

use super::Finding;
use super::survey::Survey;
use crate::config::Config;

/// Both nodes read their own copy of DRBD's files, and DRBD compares some settings when it connects.
const ON_BOTH: &str =
    "do the same on the peer: DRBD refuses to connect nodes whose settings contradict each other";

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = state::examine(survey, config);
    findings.extend(layout::examine(survey, config));
    findings.extend(policy::examine(survey, config));
    findings.extend(timing::examine(survey, config));
    findings.extend(fencing::examine(survey, config));
    findings
}

impl Finding {
    /// Adds commands that change a setting of DRBD; where the place can't be told, says what to write instead.
    #[must_use]
    fn settings(mut self, commands: Vec<String>, by_hand: &str, resource: &str) -> Self {
        if commands.is_empty() {
            return self.advice(format!(
                "write {by_hand} in the resource's file, then: drbdadm adjust {resource}; {ON_BOTH}"
            ));
        }
        self.remedy.extend(commands);
        self.advice(ON_BOTH)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Status, sample as whole};
    use super::*;

    #[test]
    fn a_healthy_active_node_passes_everything() {
        let findings = examine(&whole::active(), &whole::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:#?}");
    }

    #[test]
    fn a_healthy_standby_passes_everything() {
        let findings = examine(&whole::survey(), &whole::config());
        let odd: Vec<&Finding> = findings.iter().filter(|finding| finding.status != Status::Pass).collect();
        assert!(odd.is_empty(), "{odd:#?}");
        assert!(findings.len() > 15, "{}", findings.len());
    }

    #[test]
    fn what_is_not_known_warns_and_does_not_pass() {
        let mut survey = whole::survey();
        let starters = std::mem::take(&mut survey.drbd.starters);
        survey.drbd = super::super::survey::DrbdSurvey { starters, ..Default::default() };
        survey.observation.drbd = crate::observation::Fact::Unknown("drbdsetup hangs".to_owned());
        let findings = examine(&survey, &whole::config());
        assert!(findings.iter().all(|finding| finding.status != Status::Fail), "{findings:#?}");
        assert!(
            findings.iter().filter(|finding| finding.status == Status::Warn).count() >= 4,
            "{findings:#?}"
        );
    }
}
