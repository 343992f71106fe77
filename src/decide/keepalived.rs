//! What is to be done when keepalived says something, or ends.
//!
//! What it says may be old: scripts run side by side and out of order, lines of a FIFO get lost between two readers. So a
//! word is a reason to look, and what is seen decides: the virtual IP is here and a keepalived runs that put it here, or not.

use super::standing::Standing;
use crate::foreign::vrrp_notification::VrrpState;
use crate::observation::Fact;
use crate::plan::Goal;

/// What was seen after keepalived spoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// The virtual IP is on this node.
    pub vip_here: Fact<bool>,
    /// A keepalived runs on this node: without one nobody takes the address away.
    pub keepalived_runs: bool,
    /// What this node holds.
    pub standing: Standing,
    /// The takeover or release that runs now.
    pub running: Option<Goal>,
    /// Word and sight have had the time to agree: keepalived moves the address and speaks within a moment.
    pub settled: bool,
    /// A takeover that was waited for since has ended and did not make this node active.
    pub in_vain: bool,
}

/// What is to be done, each with its reason in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attendance {
    /// Nothing.
    Leave(String),
    /// Nothing yet.
    LookAgain(String),
    /// This node becomes active.
    TakeOver(String),
    /// This node gives everything up; a takeover that runs is interrupted.
    Release(String),
    /// The same, and the virtual IP too: nobody else will take it away.
    ReleaseWithVip(String),
}

/// Decides what a word of keepalived leads to.
pub fn keepalived(word: VrrpState, scene: &Scene) -> Attendance {
    let mine = match &scene.vip_here {
        Fact::Known(here) => *here,
        Fact::Unknown(cause) if !scene.settled => {
            return Attendance::LookAgain(format!("whether the virtual IP is here is not known: {cause}"));
        }
        Fact::Unknown(cause) if word == VrrpState::Master => {
            return Attendance::Leave(format!(
                "no takeover: whether the virtual IP is here is not known: {cause}"
            ));
        }
        Fact::Unknown(_) => false,
    };
    if mine && !scene.keepalived_runs {
        return leftover(word, scene);
    }
    let agrees = match word {
        VrrpState::NotSaid => true,
        VrrpState::Master => mine,
        VrrpState::Backup | VrrpState::Fault | VrrpState::Stop => !mine,
    };
    if !agrees && !scene.settled {
        let seen = if mine { "is still here" } else { "is not here" };
        return Attendance::LookAgain(format!("it said {word}, and the virtual IP {seen}"));
    }
    if mine { with_vip(scene) } else { without_vip(scene) }
}

fn leftover(word: VrrpState, scene: &Scene) -> Attendance {
    if !scene.settled && word != VrrpState::Stop {
        // One that is just starting may still see to it.
        return Attendance::LookAgain("the virtual IP is here, and no keepalived runs".to_owned());
    }
    Attendance::ReleaseWithVip("keepalived ended and left the virtual IP behind".to_owned())
}

fn with_vip(scene: &Scene) -> Attendance {
    match (scene.running, &scene.standing) {
        (Some(goal), _) => Attendance::LookAgain(format!("the virtual IP is here, and a {goal} runs")),
        (None, Standing::Active) => Attendance::Leave("the virtual IP is here, and this node serves".to_owned()),
        (None, _) if scene.in_vain => Attendance::Leave(
            "the takeover has not come to a good end; `standin check` fails, so that keepalived gives the virtual IP away"
                .to_owned(),
        ),
        (None, _) => Attendance::TakeOver("keepalived put the virtual IP here".to_owned()),
    }
}

fn without_vip(scene: &Scene) -> Attendance {
    match (scene.running, &scene.standing) {
        (Some(goal @ (Goal::Release | Goal::Rejoin)), _) => {
            Attendance::Leave(format!("a {goal} runs already"))
        }
        (Some(goal @ (Goal::Takeover | Goal::Switchover)), _) => {
            Attendance::Release(format!("the virtual IP is not here any more: the {goal} is interrupted"))
        }
        (None, Standing::Standby) => Attendance::Leave("this node holds nothing".to_owned()),
        (None, Standing::Active | Standing::Partial { .. }) => {
            Attendance::Release("the virtual IP is not here".to_owned())
        }
        (None, Standing::Unknown { reason }) => Attendance::Release(format!(
            "the virtual IP is not here, and what this node holds is not known: {reason}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Goal::{Release, Takeover};
    use VrrpState::{Backup, Fault as Faulty, Master, NotSaid, Stop};

    /// Every word × what is seen → the beginning of what is done.
    type Row = (&'static [VrrpState], Option<bool>, bool, Option<Goal>, &'static str, bool, &'static str);

    const ALL: &[VrrpState] = &[Master, Backup, Faulty, Stop, NotSaid];
    const NOT_MASTER: &[VrrpState] = &[Backup, Faulty, Stop];

    fn scene(here: Option<bool>, alive: bool, running: Option<Goal>, standing: &str, settled: bool) -> Scene {
        let reason = "r".to_owned();
        Scene {
            vip_here: here.map_or_else(|| Fact::Unknown("c".to_owned()), Fact::Known),
            keepalived_runs: alive,
            standing: match standing {
                "active" => Standing::Active,
                "standby" => Standing::Standby,
                "partial" => Standing::Partial { holds: Vec::new(), reason },
                _ => Standing::Unknown { reason },
            },
            running,
            settled,
            in_vain: false,
        }
    }

    fn name(attendance: &Attendance) -> &'static str {
        match attendance {
            Attendance::Leave(_) => "leave",
            Attendance::LookAgain(_) => "look",
            Attendance::TakeOver(_) => "take-over",
            Attendance::Release(_) => "release",
            Attendance::ReleaseWithVip(_) => "release-with-vip",
        }
    }

    /// Words, VIP here, keepalived runs, running, standing, settled → what is done.
    const TABLE: &[Row] = &[
        // Word and sight agree.
        (&[Master, NotSaid], Some(true), true, None, "partial", false, "take-over"),
        (&[Master, NotSaid], Some(true), true, None, "active", false, "leave"),
        (&[Master, NotSaid], Some(true), true, None, "unknown", false, "take-over"),
        (&[Master, NotSaid], Some(true), true, Some(Takeover), "partial", false, "look"),
        (&[Master, NotSaid], Some(true), true, Some(Release), "partial", false, "look"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, None, "active", false, "release"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, None, "partial", false, "release"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, None, "unknown", false, "release"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, None, "standby", false, "leave"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, Some(Takeover), "partial", false, "release"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, Some(Takeover), "standby", false, "release"),
        (&[Backup, Faulty, Stop, NotSaid], Some(false), true, Some(Release), "partial", false, "leave"),
        // They disagree: first the time to agree, then what is seen counts.
        (&[Master], Some(false), true, None, "active", false, "look"),
        (&[Master], Some(false), true, Some(Takeover), "partial", false, "look"),
        (&[Master], Some(false), true, None, "active", true, "release"),
        (&[Master], Some(false), true, None, "standby", true, "leave"),
        (NOT_MASTER, Some(true), true, None, "active", false, "look"),
        (NOT_MASTER, Some(true), true, None, "active", true, "leave"),
        (NOT_MASTER, Some(true), true, None, "partial", true, "take-over"),
        (NOT_MASTER, Some(true), true, Some(Release), "partial", true, "look"),
        // Nobody is left who would take the address away.
        (&[Stop], Some(true), false, None, "active", false, "release-with-vip"),
        (&[Master, Backup, Faulty, NotSaid], Some(true), false, None, "active", false, "look"),
        (ALL, Some(true), false, None, "active", true, "release-with-vip"),
        (ALL, Some(true), false, None, "partial", true, "release-with-vip"),
        (ALL, Some(true), false, Some(Takeover), "partial", true, "release-with-vip"),
        (ALL, Some(true), false, Some(Release), "partial", true, "release-with-vip"),
        // keepalived ended and took it away.
        (&[Backup, Faulty, Stop, NotSaid], Some(false), false, None, "active", false, "release"),
        (ALL, Some(false), false, None, "active", true, "release"),
        // The kernel does not say.
        (ALL, None, true, None, "active", false, "look"),
        (&[Master], None, true, None, "partial", true, "leave"),
        (&[Backup, Faulty, Stop, NotSaid], None, true, None, "partial", true, "release"),
    ];

    #[test]
    fn what_is_seen_decides() {
        for (row, (words, here, alive, running, standing, settled, expected)) in TABLE.iter().enumerate() {
            for word in *words {
                let scene = scene(*here, *alive, *running, standing, *settled);
                assert_eq!(name(&keepalived(*word, &scene)), *expected, "row {row}, {word:?}: {scene:?}");
            }
        }
    }

    #[test]
    fn a_takeover_in_vain_is_not_tried_again_and_again() {
        let mut vain = scene(Some(true), true, None, "partial", true);
        vain.in_vain = true;
        for word in ALL {
            assert_eq!(name(&keepalived(*word, &vain)), "leave", "{word:?}");
        }
        vain.vip_here = Fact::Known(false);
        assert_eq!(name(&keepalived(NotSaid, &vain)), "release");
    }

    /// Whatever the word and whatever runs: no takeover without the address, no release under it while keepalived lives.
    #[test]
    fn the_address_is_the_truth() {
        for word in ALL {
            for running in [None, Some(Takeover), Some(Release)] {
                for standing in ["active", "standby", "partial", "unknown"] {
                    for settled in [false, true] {
                        let without = scene(Some(false), true, running, standing, settled);
                        assert_ne!(name(&keepalived(*word, &without)), "take-over", "{word:?} {without:?}");
                        let with = scene(Some(true), true, running, standing, settled);
                        let answer = name(&keepalived(*word, &with));
                        assert!(!answer.starts_with("release"), "{word:?} {with:?}");
                    }
                }
            }
        }
    }
}
