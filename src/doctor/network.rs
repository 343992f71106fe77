//! Checks of the network: the virtual IP, the paths to the peer, and who tells whether it is we who are cut off.
//!
//! | module | what it checks |
//! | --- | --- |
//! | `vip` | its interface, its prefix, who else has it, whether it comes up at boot |
//! | `paths` | this node's addresses, the two ways to the peer, ARP, the witnesses |

mod paths;
#[cfg(test)]
pub(super) mod sample;
mod vip;

pub(super) use paths::why_not_here;

use super::Finding;
use super::survey::Survey;
use crate::config::Config;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = vip::examine(survey, config);
    findings.extend(paths::examine(survey, config));
    findings
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
        assert!(odd.is_empty() && findings.len() >= 9, "{findings:#?}");
    }
}
