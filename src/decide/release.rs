//! How this node gives everything up in order: the virtual IP first, DRBD last.

use super::takeover::pacemaker_does_not_own_it;
use super::{Decision, Refusal, RefusalKind, Request, asked_for, refuse};
use crate::config::{ClusterManager, Config};
use crate::observation::{Connection, Drbd, Fact, Observation, Role};
use crate::plan::{Action, Goal, Plan, Step};

/// Decides about a release. What can't be learnt does not stop it: each step looks for itself.
pub fn release(observation: &Observation, config: &Config, request: &Request) -> Decision {
    match judge(observation, config, request) {
        Ok(plan) => Decision::Plan(asked_for(plan, request)),
        Err(refusal) => Decision::Refusal(refusal),
    }
}

fn judge(observation: &Observation, config: &Config, request: &Request) -> Result<Plan, Refusal> {
    pacemaker_does_not_own_it(observation, config, request)?;
    only_ours_is_touched(observation, config)?;
    let name = &config.this_node.name;
    if already_released(observation) {
        return Ok(Plan {
            goal: Goal::Release,
            reason: format!("{name} holds nothing"),
            warnings: Vec::new(),
            steps: Vec::new(),
        });
    }
    let mut warnings = Vec::new();
    if let (ClusterManager::Heartbeat(_), Fact::Known(state)) =
        (config.cluster_manager, &observation.cluster_manager)
        && !state.pids.is_empty()
        && !request.from_cluster_manager
    {
        warnings
            .push("Heartbeat runs and may start the resource again; hb_standby moves it for good".to_owned());
    }
    Ok(Plan {
        goal: Goal::Release,
        reason: format!("{name} gives everything up"),
        warnings,
        steps: steps(observation, config, request),
    })
}

fn only_ours_is_touched(observation: &Observation, config: &Config) -> Result<(), Refusal> {
    let directory = config.mount.directory.display();
    if let Fact::Known(mount) = &observation.mount
        && let Some(mounted) = &mount.at_directory
        && !mounted.is_our_device
    {
        return Err(refuse(
            RefusalKind::MountOccupied,
            format!("{directory} holds {} and not {}", mounted.source, config.mount.device.display()),
            "what is mounted there does not belong to this cluster",
            format!("correct mount.device in the configuration, or unmount it yourself: umount {directory}"),
        ));
    }
    if let Fact::Known(mysqld) = &observation.mysqld
        && let Some(other) = mysqld.processes.iter().find(|process| !process.on_our_device)
    {
        return Err(refuse(
            RefusalKind::AnotherMysqld,
            format!(
                "{} with pid {} runs on {}, which is not this cluster's device",
                other.name,
                other.pid,
                other.directory.display()
            ),
            "stopping it would take down a database that does not belong to this cluster",
            format!("find out whose it is: ps -f {}", other.pid),
        ));
    }
    Ok(())
}

/// DRBD, when a broken takeover of ours disconnected it: cut off it would miss what the peer commits from now on.
fn left_alone(observation: &Observation) -> Option<&Drbd> {
    let ours = observation.past.we_disconnected_drbd;
    observation.drbd.known().filter(|drbd| ours && drbd.connection == Connection::StandAlone)
}

fn already_released(observation: &Observation) -> bool {
    let drbd = matches!(&observation.drbd, Fact::Known(drbd) if drbd.role == Role::Secondary || drbd.connection == Connection::Unconfigured);
    let mount = matches!(&observation.mount, Fact::Known(mount) if mount.at_directory.is_none() && mount.device_elsewhere.is_empty());
    let mysqld = matches!(&observation.mysqld, Fact::Known(mysqld) if mysqld.processes.is_empty());
    let vip = matches!(&observation.vip.here, Fact::Known(None));
    drbd && mount && mysqld && vip && left_alone(observation).is_none()
}

fn steps(observation: &Observation, config: &Config, request: &Request) -> Vec<Step> {
    let limits = &config.limits;
    let mysqld = &config.mysqld;
    let demote = match &observation.drbd {
        Fact::Known(drbd) => drbd.commands.demote.clone(),
        Fact::Unknown(_) => vec!["drbdadm".into(), "secondary".into(), config.resource.clone()],
    };
    let step = |action, deadline| Step { action, deadline, undo: None };
    let mut steps = Vec::new();
    if config.cluster_manager != ClusterManager::Keepalived {
        steps.push(step(
            Action::RemoveVip { vip: config.vip.address, interface: config.vip.interface.clone() },
            limits.vip,
        ));
    }
    steps.push(step(
        Action::StopMysqld {
            control: mysqld.control.clone(),
            datadir: mysqld.datadir.clone(),
            error_log: mysqld.error_log.clone(),
            kill_at_deadline: mysqld.kill_at_deadline || request.kill_mysqld_after.is_some(),
        },
        request.kill_mysqld_after.map_or(limits.stop_mysqld, |after| after.min(limits.stop_mysqld)),
    ));
    steps.push(step(
        Action::Unmount { device: config.mount.device.clone(), directory: config.mount.directory.clone() },
        limits.unmount,
    ));
    steps.push(step(Action::DemoteDrbd { resource: config.resource.clone(), command: demote }, limits.drbd));
    if let Some(drbd) = left_alone(observation) {
        let command = drbd.commands.connect.clone();
        steps.push(step(Action::ReconnectDrbd { resource: config.resource.clone(), command }, limits.drbd));
    }
    steps
}
