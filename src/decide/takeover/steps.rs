//! The steps of a takeover, in their order, each with its undo.

use std::time::Duration;

use super::{Ground, Request};
use crate::config::{ClusterManager, Config};
use crate::observation::{Connection, Disk, Drbd, Observation, Role};
use crate::plan::{Action, Goal, Plan, Step, Undo};

/// How long a mysqld whose start is taken back may shut down in order before it is killed.
const UNDO_OF_START: Duration = Duration::from_secs(60);

/// The plan of a takeover that may be done.
///
/// What was so before has no undo, unless an unfinished takeover of ours made it so.
pub(super) fn plan(
    observation: &Observation,
    drbd: &Drbd,
    config: &Config,
    request: &Request,
    ground: &Ground,
) -> Plan {
    let limits = &config.limits;
    let resource = &config.resource;
    let mut warnings = ground.warnings.clone();
    let mut steps = Vec::new();
    let plain = |action, deadline| Step { action, deadline, undo: None };

    let wait = plain(
        Action::WaitVipGone {
            vip: config.vip.address.addr(),
            interface: config.vip.interface.clone(),
            misses: config.vip.misses,
            interval: config.vip.interval,
        },
        limits.wait_vip_gone,
    );
    let stop_manager = match config.cluster_manager {
        ClusterManager::Heartbeat(Some(how)) => {
            Some(plain(Action::StopClusterManager { how }, limits.stop_cluster_manager))
        }
        ClusterManager::Heartbeat(None)
        | ClusterManager::None
        | ClusterManager::Pacemaker
        | ClusterManager::Keepalived => None,
    };
    let fence = config.fence.as_ref().filter(|_| !ground.yielded).map(|command| {
        let command = command.iter().map(|word| word.replace("{peer}", &config.peer.name)).collect();
        plain(Action::FencePeer { command }, limits.fence_peer)
    });
    if ground.fence_first {
        steps.extend(stop_manager);
        steps.extend(fence);
        steps.push(wait);
    } else {
        steps.push(wait);
        steps.extend(stop_manager);
        steps.extend(fence);
    }

    let connect =
        Action::ReconnectDrbd { resource: resource.clone(), command: drbd.commands.connect.clone() };
    if !ground.yielded {
        steps.push(Step {
            action: Action::DisconnectDrbd {
                resource: resource.clone(),
                command: drbd.commands.disconnect.clone(),
                // A peer that was fenced can't be back.
                was_connected: matches!(drbd.connection, Connection::Connected | Connection::Handshake)
                    || config.fence.is_some(),
            },
            deadline: limits.drbd,
            undo: Some(Undo { action: connect.clone(), deadline: limits.drbd }),
        });
    }
    let mut promote = drbd.commands.promote.clone();
    if drbd.disk == Disk::Consistent && !ground.yielded {
        promote.push("--force".to_owned());
        let peer = &config.peer.name;
        // The promotion makes two generations at once, so that DRBD finds no common one with the peer any more.
        warnings.push(format!(
            "the local disk is only Consistent: commits that only {peer} took are lost with this takeover, and DRBD will call \
             the return of {peer} a split brain; then type on {peer}: drbdadm disconnect {resource}; drbdadm connect \
             --discard-my-data {resource}; and here, if it is StandAlone: drbdadm connect {resource}"
        ));
    }
    steps.push(Step {
        action: Action::PromoteDrbd { resource: resource.clone(), command: promote },
        // A connected peer that breaks off just then is fenced by DRBD's handler, within this step.
        deadline: match &config.fence {
            Some(_) if ground.yielded => limits.drbd + limits.fence_peer,
            _ => limits.drbd,
        },
        undo: Some(Undo {
            action: Action::DemoteDrbd { resource: resource.clone(), command: drbd.commands.demote.clone() },
            deadline: limits.drbd,
        }),
    });
    let mount = &config.mount;
    steps.push(Step {
        action: Action::Mount {
            device: mount.device.clone(),
            directory: mount.directory.clone(),
            filesystem: mount.filesystem.clone(),
            options: mount.options.clone(),
        },
        deadline: limits.mount,
        undo: Some(Undo {
            action: Action::Unmount { device: mount.device.clone(), directory: mount.directory.clone() },
            deadline: limits.unmount,
        }),
    });
    let mysqld = &config.mysqld;
    steps.push(plain(
        Action::AuditEngines {
            datadir: mysqld.datadir.clone(),
            refuse_above_percent: config.refuse_myisam_above_percent,
            accept_myisam: request.accept_myisam,
        },
        limits.audit_engines,
    ));
    steps.push(Step {
        action: Action::StartMysqld {
            control: mysqld.control.clone(),
            datadir: mysqld.datadir.clone(),
            socket: mysqld.socket.clone(),
            error_log: mysqld.error_log.clone(),
        },
        deadline: limits.start_mysqld,
        undo: Some(Undo {
            action: Action::StopMysqld {
                control: mysqld.control.clone(),
                datadir: mysqld.datadir.clone(),
                error_log: mysqld.error_log.clone(),
                // InnoDB recovers from a kill: what was committed stays.
                kill_at_deadline: true,
            },
            deadline: limits.stop_mysqld.min(UNDO_OF_START),
        }),
    });
    if config.cluster_manager != ClusterManager::Keepalived {
        let vip = config.vip.address;
        let interface = &config.vip.interface;
        steps.push(Step {
            action: Action::AddVip { vip, interface: interface.clone() },
            deadline: limits.vip,
            undo: Some(Undo {
                action: Action::RemoveVip { vip, interface: interface.clone() },
                deadline: limits.vip,
            }),
        });
    }
    steps.push(plain(
        Action::Verify {
            vip: config.vip.address.addr(),
            port: mysqld.port,
            read_only: mysqld.read_only,
            credentials: mysqld.credentials.clone(),
        },
        limits.verify,
    ));
    if !ground.yielded {
        steps.push(plain(connect, limits.drbd));
    }
    for step in &mut steps {
        let name = step.action.name();
        let began_before = observation.past.unfinished_takeover.iter().any(|begun| begun == name);
        if is_so(&step.action, observation, drbd) && !began_before {
            step.undo = None;
        }
    }
    Plan { goal: Goal::Takeover, reason: ground.reason.clone(), warnings, steps }
}

/// Whether the node was seen as the action would make it.
fn is_so(action: &Action, observation: &Observation, drbd: &Drbd) -> bool {
    match action {
        Action::PromoteDrbd { .. } => drbd.role == Role::Primary,
        Action::Mount { .. } => observation.mount.known().is_some_and(|mount| mount.at_directory.is_some()),
        Action::StartMysqld { .. } => {
            observation.mysqld.known().is_some_and(|mysqld| !mysqld.processes.is_empty())
        }
        Action::AddVip { .. } => observation.vip.here.known().is_some_and(Option::is_some),
        _ => false,
    }
}
