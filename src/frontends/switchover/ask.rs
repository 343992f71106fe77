//! What the peer would do, by its own plan.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::config::Config;
use crate::decide::{Decision, PeerReadiness, RefusalKind};
use crate::node::ssh;

/// For the peer's plan, over ssh.
const LIMIT: Duration = Duration::from_secs(15);

/// Asks it. Under a cluster manager it would only say who owns the resource.
pub(super) fn peer(config: &Config, unfinished: bool) -> PeerReadiness {
    let (address, finished) = match ssh::ask(config, &["plan", "--json"], LIMIT) {
        Ok(asked) => asked,
        Err(cause) => return PeerReadiness::NotAsked(cause),
    };
    let answer: Result<Decision, String> = match finished.code {
        Some(0 | 3) => understand(&finished.stdout),
        _ => return PeerReadiness::NotReady(finished.describe()),
    };
    match answer {
        Ok(decision) => judge(decision, address, unfinished),
        Err(cause) => PeerReadiness::NotAsked(format!("{address}: {cause}")),
    }
}

fn understand(text: &str) -> Result<Decision, String> {
    let wrong = |error: serde_json::Error| {
        format!("what it says is not understood ({error}); is the same version there?")
    };
    let mut value: Value = serde_json::from_str(text).map_err(wrong)?;
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| key == "plan" || key == "refusal");
    }
    serde_json::from_value(value).map_err(wrong)
}

/// While this node serves, the peer's only objection is that the virtual IP answers. `unfinished`: an earlier switchover may
/// have taken it away already.
fn judge(decision: Decision, address: Ipv4Addr, unfinished: bool) -> PeerReadiness {
    let asked = |reason: &str| format!("{reason} (asked there while this node serves)");
    match decision {
        Decision::Plan(_) if unfinished => PeerReadiness::Ready { address },
        Decision::Plan(plan) => PeerReadiness::NotReady(asked(&format!(
            "it does not see that the service runs here, and would begin at once: {}",
            plan.reason
        ))),
        Decision::Refusal(refusal) => match refusal.kind {
            // Pacemaker is told, not standin.
            RefusalKind::VipAnswers | RefusalKind::PacemakerOwns => PeerReadiness::Ready { address },
            RefusalKind::PeerPrimary if unfinished => PeerReadiness::Ready { address },
            // The virtual IP is asked for before the peer's role.
            RefusalKind::PeerPrimary => PeerReadiness::Deaf { address },
            _ => PeerReadiness::NotReady(asked(&refusal.reason)),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::decide::Refusal;
    use crate::plan::{Goal, Plan};

    fn refusal(kind: RefusalKind) -> String {
        let text = || "x".to_owned();
        let refusal = Refusal { kind, reason: "because".to_owned(), why: text(), next: text() };
        serde_json::to_string(&Decision::Refusal(refusal)).unwrap()
    }

    fn plan() -> String {
        let plan = Plan {
            goal: Goal::Takeover,
            reason: "because".to_owned(),
            warnings: Vec::new(),
            steps: Vec::new(),
        };
        serde_json::to_string(&Decision::Plan(plan)).unwrap()
    }

    #[test]
    fn only_who_hears_this_node_serve_is_ready() {
        use RefusalKind::{
            DiskNotCurrent, NoEvidence, PacemakerOwns, PeerPrimary, PeerUnseen, VipAnswers, VipUnknown,
        };
        let address = Ipv4Addr::new(10, 77, 1, 2);
        let of = |text: &str, unfinished| judge(understand(text).unwrap(), address, unfinished);
        let ready = PeerReadiness::Ready { address };
        for unfinished in [false, true] {
            assert_eq!(of(&refusal(VipAnswers), unfinished), ready);
            assert_eq!(of(&refusal(PacemakerOwns), unfinished), ready);
            // No carrier there, or another network.
            for kind in [VipUnknown, PeerUnseen, NoEvidence, DiskNotCurrent] {
                let PeerReadiness::NotReady(reason) = of(&refusal(kind), unfinished) else {
                    panic!("{kind:?}")
                };
                assert_eq!(reason, "because (asked there while this node serves)");
            }
        }
        // The address may have been given up already.
        assert_eq!((of(&refusal(PeerPrimary), true), of(&plan(), true)), (ready.clone(), ready));
        assert_eq!(of(&refusal(PeerPrimary), false), PeerReadiness::Deaf { address });
        let PeerReadiness::NotReady(reason) = of(&plan(), false) else { panic!() };
        assert!(reason.contains("does not see") && reason.contains("because"), "{reason}");
    }

    #[test]
    fn a_pause_beside_the_decision_is_no_matter_and_garbage_is_none() {
        let text = refusal(RefusalKind::VipAnswers).replacen('{', "{\"pause\":{\"until\":null},", 1);
        assert!(understand(&text).is_ok());
        assert!(understand("Permission denied").is_err() && understand("{}").is_err());
    }
}
