//! Checks of DRBD: its state, and the settings that decide whether a takeover is safe.

use super::Finding;
use super::survey::Survey;
use crate::config::Config;
use crate::observation::{Disk, Drbd, Fact};

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    match &survey.observation.drbd {
        Fact::Known(drbd) => vec![disk(drbd, config)],
        Fact::Unknown(cause) => vec![Finding::unknown("drbd-state", cause)],
    }
}

fn disk(drbd: &Drbd, config: &Config) -> Finding {
    let check = "drbd-disk";
    match drbd.disk {
        Disk::UpToDate => Finding::pass(check, "UpToDate"),
        other => Finding::fail(
            check,
            format!("{other:?}"),
            "only an UpToDate copy can be promoted without losing data",
        )
        .remedy(format!("drbdadm attach {}", config.resource))
        .advice("when it is a resynchronisation that runs, wait for its end: standin status --watch"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Status, sample};
    use super::*;

    #[test]
    fn only_an_up_to_date_disk_passes() {
        let mut survey = sample::survey();
        let status = |survey: &Survey| sample::status(&examine(survey, &sample::config()), "drbd-disk");
        assert_eq!(status(&survey), Some(Status::Pass));
        survey.observation.drbd = Fact::Known(Drbd { disk: Disk::Outdated, ..sample::drbd() });
        assert_eq!(status(&survey), Some(Status::Fail));
    }
}
