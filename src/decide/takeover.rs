//! May this node step into the active one's place?

mod steps;

use super::evidence::{PeerStanding, peer_standing};
use super::{Decision, Refusal, RefusalKind, Request, asked_for, refuse};
use crate::config::{ClusterManager, Config};
use crate::observation::Answer;
use crate::observation::DrbdGeneration;
use crate::observation::{
    Connection, Disk, Drbd, Fact, Mysqld, MysqldAnswer, Observation, Replication, Role,
};
use crate::plan::{Goal, Plan};

/// Decides about a takeover. Lasting refusals come before those that waiting may cure.
pub fn takeover(observation: &Observation, config: &Config, request: &Request) -> Decision {
    match judge(observation, config, request) {
        Ok(plan) => Decision::Plan(asked_for(plan, request)),
        Err(refusal) => Decision::Refusal(refusal),
    }
}

fn judge(observation: &Observation, config: &Config, request: &Request) -> Result<Plan, Refusal> {
    pacemaker_does_not_own_it(observation, config, request)?;
    let drbd = settled_drbd(observation, config)?;
    mount_is_free_or_ours(observation, config)?;
    let mysqld = no_other_mysqld(observation, config)?;
    if already_active(observation, drbd, mysqld, config) {
        let warnings = if drbd.connection == Connection::StandAlone {
            let resource = &config.resource;
            vec![format!(
                "DRBD resource {resource} is StandAlone, so that the peer is not resynced: see dmesg | grep 'drbd \
                 {resource}'; if it is no split brain: drbdadm connect {resource}"
            )]
        } else {
            Vec::new()
        };
        return Ok(Plan {
            goal: Goal::Takeover,
            reason: format!("{} is already active", config.this_node.name),
            warnings,
            steps: Vec::new(),
        });
    }
    disk_is_current(drbd, config, request)?;
    stand_alone_is_ours(observation, drbd, config)?;
    keepalived_gave_the_vip(observation, config, request)?;
    let ground = ground(observation, drbd, config, request)?;
    Ok(steps::plan(observation, drbd, config, request, &ground))
}

/// Why a takeover would be refused whatever the peer does.
pub(super) fn refusal_of_this_node(observation: &Observation, config: &Config) -> Option<Refusal> {
    let judge = || {
        let request = Request::default();
        let drbd = settled_drbd(observation, config)?;
        mount_is_free_or_ours(observation, config)?;
        no_other_mysqld(observation, config)?;
        disk_is_current(drbd, config, &request)?;
        stand_alone_is_ours(observation, drbd, config)
    };
    judge().err()
}

/// On which ground the takeover stands.
struct Ground {
    reason: String,
    warnings: Vec<String>,
    /// The peer is Secondary and connected: neither fence nor disconnect is needed.
    yielded: bool,
    /// The peer still holds something after the wait: fence it first, then see the virtual IP go.
    fence_first: bool,
}

pub(super) fn pacemaker_does_not_own_it(
    observation: &Observation,
    config: &Config,
    request: &Request,
) -> Result<(), Refusal> {
    if config.cluster_manager != ClusterManager::Pacemaker || request.from_cluster_manager {
        return Ok(());
    }
    match &observation.cluster_manager {
        Fact::Known(state) if state.pids.is_empty() => Ok(()),
        _ => Err(refuse(
            RefusalKind::PacemakerOwns,
            "Pacemaker runs on this node and owns the resource",
            "Pacemaker would see the change as a failure and act against it",
            "move the resource with Pacemaker (crm resource move, pcs resource move), or stop Pacemaker first",
        )),
    }
}

/// keepalived may have given the address away again since it asked for the takeover.
fn keepalived_gave_the_vip(
    observation: &Observation,
    config: &Config,
    request: &Request,
) -> Result<(), Refusal> {
    let keepalived_asks =
        config.cluster_manager == ClusterManager::Keepalived && request.from_cluster_manager;
    if !keepalived_asks || observation.vip.here != Fact::Known(None) {
        return Ok(());
    }
    Err(refuse(
        RefusalKind::VipNotGiven,
        format!("the virtual IP {} is not here any more", config.vip.address.addr()),
        "keepalived has given it away since it asked for the takeover: the peer may be taking over",
        "see where it is: ip -br address (on both nodes); journalctl -u keepalived",
    ))
}

fn settled_drbd<'a>(observation: &'a Observation, config: &Config) -> Result<&'a Drbd, Refusal> {
    let resource = &config.resource;
    let drbd = match &observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => {
            return Err(refuse(
                RefusalKind::DrbdUnknown,
                format!("the state of DRBD resource {resource} could not be read: {cause}"),
                "without it nobody knows whether the local data is current",
                format!("load the module and bring the resource up: modprobe drbd; drbdadm up {resource}"),
            ));
        }
    };
    if drbd.connection == Connection::Unconfigured {
        return Err(refuse(
            RefusalKind::DrbdNotConfigured,
            match drbd.generation {
                DrbdGeneration::NotLoaded => {
                    format!("the drbd module is not loaded, so that resource {resource} is down")
                }
                _ => format!("DRBD resource {resource} is not configured in the kernel"),
            },
            "without it nobody knows whether the local data is current",
            format!(
                "bring it up and let it find its peer: drbdadm up {resource}; if it is up (drbdadm status {resource}), \
                 correct drbd.resource or mount.device"
            ),
        ));
    }
    if drbd.io_suspended {
        return Err(refuse(
            RefusalKind::IoSuspended,
            format!("DRBD holds back all I/O on {resource}"),
            "this node lost its peer while it was active, and the peer may have taken over; a mount or a mysqld would hang",
            format!(
                "look at the peer; if it is active, reset this machine; if it is off, or its disk Outdated: drbdadm resume-io {resource}"
            ),
        ));
    }
    if drbd.role == Role::Primary && drbd.peer_role == Role::Primary {
        return Err(refuse(
            RefusalKind::TwoPrimaries,
            format!("both nodes are Primary on {resource}"),
            "with ext4 or xfs two Primaries destroy the file system",
            "find out which node serves, release the other one by hand, and remove allow-two-primaries from DRBD's configuration",
        ));
    }
    Ok(drbd)
}

fn disk_is_current(drbd: &Drbd, config: &Config, request: &Request) -> Result<(), Refusal> {
    let resource = &config.resource;
    let peer_known_dead = config.fence.is_some() || request.peer_confirmed_inactive;
    match drbd.disk {
        Disk::UpToDate => {}
        Disk::Consistent if peer_known_dead => {}
        Disk::Consistent => {
            return Err(refuse(
                RefusalKind::DiskNotCurrent,
                format!(
                    "the local disk of {resource} is Consistent: whether it is current is not known without the peer"
                ),
                "the peer may hold newer commits, which a takeover would lose",
                "start the peer so that DRBD can compare, configure a fence command, or, when the peer is certainly off \
                 and was not active alone since: standin takeover --peer-confirmed-inactive",
            ));
        }
        disk if drbd.replication == Replication::SyncTarget => {
            let percent =
                drbd.resync_percent.map(|percent| format!(", {percent} % done")).unwrap_or_default();
            return Err(refuse(
                RefusalKind::DiskNotCurrent,
                format!("the local disk of {resource} is {disk:?}: a resync from the peer runs{percent}"),
                "half of the data here is older than the rest until the resync ends; a takeover would lose commits",
                format!("keep the peer running until the resync ends: drbdadm status {resource}"),
            ));
        }
        disk => {
            return Err(refuse(
                RefusalKind::DiskNotCurrent,
                format!("the local disk of {resource} is {disk:?}"),
                "the data here is older than the peer's or incomplete; a takeover would lose acknowledged commits",
                format!(
                    "start the peer and let it resync: drbdadm status {resource}; if its data is lost for good, restore a backup"
                ),
            ));
        }
    }
    if matches!(drbd.replication, Replication::SyncTarget | Replication::Other) {
        return Err(refuse(
            RefusalKind::Unsettled,
            format!(
                "DRBD resource {resource} is in the middle of a resync or a change of state ({:?})",
                drbd.replication
            ),
            "the local data is not complete until it ends",
            format!("wait until the resync ends: drbdadm status {resource}"),
        ));
    }
    Ok(())
}

fn stand_alone_is_ours(observation: &Observation, drbd: &Drbd, config: &Config) -> Result<(), Refusal> {
    if drbd.connection != Connection::StandAlone || observation.past.we_disconnected_drbd {
        return Ok(());
    }
    let resource = &config.resource;
    Err(refuse(
        RefusalKind::StandAlone,
        format!("DRBD resource {resource} is StandAlone, and not because of an earlier takeover of ours"),
        "someone disconnected it or DRBD found a split brain: the peer may hold commits that this node lacks",
        format!(
            "see whether it was a split brain: dmesg | grep -i split-brain; if not: drbdadm connect {resource}; if so, \
             find out first which node took the later commits, because only the data of one can be kept"
        ),
    ))
}

fn mount_is_free_or_ours(observation: &Observation, config: &Config) -> Result<(), Refusal> {
    let directory = config.mount.directory.display();
    let device = config.mount.device.display();
    let mount = match &observation.mount {
        Fact::Known(mount) => mount,
        Fact::Unknown(cause) => {
            return Err(refuse(
                RefusalKind::MountUnknown,
                format!("what is mounted could not be learnt: {cause}"),
                "mounting twice or over something else destroys data",
                "look at /proc/self/mountinfo",
            ));
        }
    };
    if let Some(mounted) = &mount.at_directory {
        if !mounted.is_our_device {
            return Err(refuse(
                RefusalKind::MountOccupied,
                format!("{directory} holds {} ({}) and not {device}", mounted.source, mounted.filesystem),
                "mysqld would start on the wrong data",
                format!("unmount it: umount {directory}"),
            ));
        }
        if mounted.read_only {
            return Err(refuse(
                RefusalKind::ReadOnly,
                format!("{device} is mounted read-only at {directory}"),
                "mysqld can't recover on it; the kernel may have remounted it after an error",
                format!("see why: dmesg | tail -50; then: umount {directory}"),
            ));
        }
    }
    if let Some(elsewhere) = mount.device_elsewhere.first() {
        return Err(refuse(
            RefusalKind::MountedElsewhere,
            format!("{device} is mounted at {}", elsewhere.display()),
            "something else writes or may write to the data",
            format!("find out what uses it (fuser -vm {device}), then: umount {}", elsewhere.display()),
        ));
    }
    Ok(())
}

fn no_other_mysqld<'a>(observation: &'a Observation, config: &Config) -> Result<&'a Mysqld, Refusal> {
    let datadir = config.mysqld.datadir.display();
    let mysqld = match &observation.mysqld {
        Fact::Known(mysqld) => mysqld,
        Fact::Unknown(cause) => {
            return Err(refuse(
                RefusalKind::MysqldUnknown,
                format!("which mysqld runs could not be learnt: {cause}"),
                "two mysqld on one data directory destroy it",
                "look for one by hand: ps -C mysqld,mariadbd -f",
            ));
        }
    };
    match mysqld.processes.iter().find(|process| !process.on_our_device) {
        None => Ok(mysqld),
        Some(other) => Err(refuse(
            RefusalKind::AnotherMysqld,
            format!(
                "{} with pid {} runs on {}, which is not on {}",
                other.name,
                other.pid,
                other.directory.display(),
                config.mount.device.display()
            ),
            format!("it serves other data under {datadir} and would clash with the one to be started"),
            format!(
                "shut it down and keep it from starting at boot: kill {}; systemctl disable its unit",
                other.pid
            ),
        )),
    }
}

fn already_active(observation: &Observation, drbd: &Drbd, mysqld: &Mysqld, config: &Config) -> bool {
    let mounted = matches!(&observation.mount, Fact::Known(mount) if mount.at_directory.is_some());
    drbd.role == Role::Primary
        && mounted
        && mysqld.answer == MysqldAnswer::Ready
        && !mysqld.processes.is_empty()
        && observation.vip.here.known() == Some(&Some(config.vip.interface.clone()))
        && !matches!(observation.vip.answer, Fact::Known(Some(_)))
        && !(drbd.connection == Connection::StandAlone && observation.past.we_disconnected_drbd)
}

fn ground(
    observation: &Observation,
    drbd: &Drbd,
    config: &Config,
    request: &Request,
) -> Result<Ground, Refusal> {
    let may_fence = request.waited_out && config.fence.is_some();
    let vip = vip_is_free(observation, config);
    let fence_for_vip = match vip {
        Err(refusal) if refusal.kind == RefusalKind::VipAnswers && may_fence && !request.from_agent => true,
        Err(refusal) => return Err(refusal),
        Ok(()) => false,
    };
    let mut warnings = Vec::new();
    let promoted_before = drbd.role == Role::Primary
        && observation.past.unfinished_takeover.iter().any(|step| step == "promote-drbd");
    let peer = &config.peer.name;
    let standing = peer_standing(observation, drbd);
    let dead = matches!(standing, PeerStanding::Dead(_));
    let (reason, yielded, fence_first) = match standing {
        PeerStanding::Yielded if fence_for_vip => (
            format!(
                "{peer} is Secondary but something still answers for the virtual IP, so that {peer} is fenced first"
            ),
            false,
            true,
        ),
        PeerStanding::Yielded => (format!("{peer} is Secondary and the virtual IP is free"), true, false),
        PeerStanding::Dead(evidence) => (format!("{peer} is dead: {evidence}"), false, fence_for_vip),
        // The evidence was weighed before that takeover promoted; the peer may meanwhile be back as Secondary.
        PeerStanding::Unseen(_) | PeerStanding::NoEvidence(_) if promoted_before && !fence_for_vip => {
            ("an earlier takeover was broken off after it had promoted".to_owned(), false, false)
        }
        PeerStanding::Primary(seen) | PeerStanding::Unseen(seen) | PeerStanding::NoEvidence(seen)
            if may_fence =>
        {
            (format!("{seen}; it did not yield in time and is fenced first"), false, true)
        }
        PeerStanding::Unseen(seen) | PeerStanding::NoEvidence(seen) if request.peer_confirmed_inactive => {
            warnings.push(format!("{seen}; a person confirmed that {peer} is inactive"));
            (format!("a person confirmed that {peer} is inactive"), false, false)
        }
        PeerStanding::Primary(seen) => {
            return Err(refuse(
                RefusalKind::PeerPrimary,
                seen,
                "two Primaries that both take writes are a split brain: one side's commits would be lost",
                format!("release it there: standin release (on {peer}); or power {peer} off"),
            ));
        }
        PeerStanding::Unseen(seen) => {
            return Err(refuse(
                RefusalKind::PeerUnseen,
                seen,
                "it may be Primary and take writes; a takeover would make a split brain",
                format!(
                    "repair the replication link or run standin release on {peer}; when {peer} is certainly Secondary \
                     and without mysqld: standin takeover --peer-confirmed-inactive"
                ),
            ));
        }
        PeerStanding::NoEvidence(seen) => {
            return Err(refuse(
                RefusalKind::NoEvidence,
                seen,
                "an unreachable peer may still be Primary and take writes",
                format!(
                    "look at this node's own links (ip -br link), and configure witnesses: one that answers settles it; \
                     when {peer} is certainly off: standin takeover --peer-confirmed-inactive"
                ),
            ));
        }
    };
    if dead && !matches!(drbd.connection, Connection::Connected | Connection::Handshake) {
        let resource = &config.resource;
        warnings.push(format!(
            "DRBD had lost its connection before, and for how long can't be told (see: dmesg | grep 'drbd {resource}'): what \
             {peer} committed alone since then is not here, unless DRBD's fencing marked this disk Outdated"
        ));
    }
    // An isolated node that fences would take down a peer that serves.
    if dead || fence_first {
        witness_answers(observation, config, request, &mut warnings)?;
    }
    if fence_first && drbd.disk == Disk::Consistent && !request.peer_confirmed_inactive {
        let resource = &config.resource;
        return Err(refuse(
            RefusalKind::DiskNotCurrent,
            format!(
                "the local disk of {resource} is Consistent, and {peer} is not known to be dead ({reason})"
            ),
            "the peer may have served alone since this node last saw it: fencing it would lose its commits",
            format!("connect the nodes and let this one resync: drbdadm status {resource}"),
        ));
    }
    Ok(Ground { reason, warnings, yielded, fence_first })
}

fn vip_is_free(observation: &Observation, config: &Config) -> Result<(), Refusal> {
    let vip = config.vip.address.addr();
    let cannot_ask = |cause: &str| {
        refuse(
            RefusalKind::VipUnknown,
            format!("whether someone holds the virtual IP {vip} could not be learnt: {cause}"),
            "two holders of one address send clients to both databases",
            format!("see to the interface (ip link show {}), or correct vip.interface", config.vip.interface),
        )
    };
    match (&observation.vip.here, &observation.vip.answer) {
        (Fact::Known(Some(interface)), Fact::Known(Some(answer))) => Err(refuse(
            RefusalKind::VipAnswers,
            format!("the virtual IP {vip} is on {interface} here, and {} answers for it too", holder(answer)),
            "clients reach one or the other of two holders",
            remove_it_there(answer, observation, config),
        )),
        (Fact::Known(Some(interface)), _) if *interface == config.vip.interface => Ok(()),
        (Fact::Known(Some(interface)), _) => Err(refuse(
            RefusalKind::VipMisplaced,
            format!("the virtual IP {vip} is on {interface} and not on {}", config.vip.interface),
            "clients can't reach it there, and a second copy would make two routes",
            format!("remove it, or correct vip.interface: ip address delete {vip} dev {interface}"),
        )),
        (Fact::Unknown(cause), _) | (_, Fact::Unknown(cause)) => Err(cannot_ask(cause)),
        (Fact::Known(None), Fact::Known(None)) => Ok(()),
        (Fact::Known(None), Fact::Known(Some(answer))) => Err(refuse(
            RefusalKind::VipAnswers,
            format!("the virtual IP {vip} is still answered by {}", holder(answer)),
            "whoever holds it serves clients; a second holder would split them between two databases",
            remove_it_there(answer, observation, config),
        )),
    }
}

fn holder(answer: &Answer) -> &str {
    answer.arp.as_deref().unwrap_or("a host that answers ping but not ARP")
}

/// What to do about a holder of the virtual IP: it need not be the peer.
fn remove_it_there(answer: &Answer, observation: &Observation, config: &Config) -> String {
    let peer = &config.peer.name;
    let of_peer = observation
        .peer
        .addresses
        .iter()
        .filter_map(|probe| probe.answer.known()?.as_ref()?.arp.as_ref())
        .collect::<Vec<_>>();
    match &answer.arp {
        Some(mac) if !of_peer.is_empty() && !of_peer.contains(&mac) => format!(
            "{peer} answers from another hardware address ({}): either another interface of {peer} holds it (there: ip -br \
             address), or a third host does; find {mac} in the switch and take the address away there",
            of_peer.iter().map(|mac| mac.as_str()).collect::<Vec<_>>().join(", ")
        ),
        _ => format!("release it there: standin release (on {peer}); or power that machine off"),
    }
}

fn witness_answers(
    observation: &Observation,
    config: &Config,
    request: &Request,
    warnings: &mut Vec<String>,
) -> Result<(), Refusal> {
    let witnesses = &observation.witnesses;
    if witnesses.is_empty() && config.fence.is_none() {
        warnings.push(
            "neither a witness nor a fence command is configured: that it is this node which is cut off can't be told"
                .to_owned(),
        );
    }
    if witnesses.is_empty() || witnesses.iter().any(|probe| matches!(probe.answer, Fact::Known(Some(_)))) {
        return Ok(());
    }
    let names = witnesses.iter().map(|probe| probe.address.to_string()).collect::<Vec<_>>().join(", ");
    if request.peer_confirmed_inactive {
        warnings.push(format!("no witness answers ({names}); a person confirmed that the peer is inactive"));
        return Ok(());
    }
    Err(refuse(
        RefusalKind::Isolated,
        format!("no witness answers ({names})"),
        "it may be this node that is cut off, while the peer still serves",
        "see to this node's network; when the peer is certainly off: standin takeover --peer-confirmed-inactive",
    ))
}
