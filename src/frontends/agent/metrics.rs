//! `/metrics`: a snapshot in Prometheus' text format, version 0.0.4.
//!
//! Written by hand: the client library keeps every series in registers of its own between two scrapes, and here all of them come
//! from one value that is at hand.

mod text;

use std::time::{Instant, SystemTime};

use serde::Serialize;

use self::text::{Kind, Text};
use super::snapshot::{
    CheckState, Degree, DrbdSeen, History, Judge, Judged, MysqldSeen, Snapshot, StandingWord, Tally,
};
use crate::observation::{Connection, Disk, Role};

const ROLES: [Role; 3] = [Role::Primary, Role::Secondary, Role::Unknown];
const CONNECTIONS: [Connection; 6] = [
    Connection::Unconfigured,
    Connection::StandAlone,
    Connection::Connecting,
    Connection::Broken,
    Connection::Handshake,
    Connection::Connected,
];
const DISKS: [Disk; 7] = [
    Disk::UpToDate,
    Disk::Consistent,
    Disk::Outdated,
    Disk::Inconsistent,
    Disk::Diskless,
    Disk::Changing,
    Disk::Unknown,
];
const STANDINGS: [StandingWord; 4] =
    [StandingWord::Active, StandingWord::Standby, StandingWord::Partial, StandingWord::Unknown];

/// What a scrape gets. What is not known has no sample, and is never told as 0.
pub(super) fn metrics(snapshot: &Snapshot, now: Instant) -> String {
    let mut text = Text::new(&[("cluster", &snapshot.cluster), ("node", &snapshot.node)]);
    agent(&mut text, snapshot, now);
    node(&mut text, snapshot, snapshot.stale(now).is_some());
    if let Some(drbd) = snapshot.drbd.known() {
        drbd_resource(&mut text, drbd);
    }
    network(&mut text, snapshot);
    judgements(&mut text, snapshot);
    checks(&mut text, snapshot);
    history(&mut text, &snapshot.history);
    text.finish()
}

fn agent(text: &mut Text, snapshot: &Snapshot, now: Instant) {
    text.family("standin_build_info", Kind::Gauge, "The agent's version.")
        .sample(&[("version", snapshot.version)], 1.0);
    text.family("standin_looks_total", Kind::Counter, "Looks at this node since the agent started.")
        .sample(&[], snapshot.looks as f64);
    if snapshot.looks > 0 {
        text.family("standin_look_timestamp_seconds", Kind::Gauge, "When the last look ended, in Unix time.")
            .sample(&[], unix_time(snapshot.ended_at));
        text.family("standin_look_duration_seconds", Kind::Gauge, "How long the last look took.")
            .sample(&[], snapshot.look_seconds);
    }
    text.family(
        "standin_stale",
        Kind::Gauge,
        "1 when the last look is too old to say anything: the agent hangs, or the machine is overloaded.",
    )
    .sample(&[], truth(snapshot.stale(now).is_some()));
}

fn node(text: &mut Text, snapshot: &Snapshot, stale: bool) {
    states(
        text,
        "standin_standing",
        "What this node holds of the cluster.",
        "standing",
        &STANDINGS,
        snapshot.standing,
    );
    judged(text, "standin_serves", "1 when this node serves the database.", &snapshot.serves, stale);
    judged(
        text,
        "standin_fit",
        "1 when this node is fit for its role, active or standby.",
        &snapshot.fit,
        stale,
    );
    text.family(
        "standin_degraded",
        Kind::Gauge,
        "1 when this node is fit for its role, but something that protects the data is missing.",
    )
    .sample(&[], truth(snapshot.fit.degree == Degree::Degraded));
    if let Some(mount) = snapshot.mount.known() {
        text.family("standin_mounted", Kind::Gauge, "1 when the data file system is mounted here.")
            .sample(&[], truth(mount.mounted));
        text.family("standin_mount_read_only", Kind::Gauge, "1 when it is mounted read-only.")
            .sample(&[], truth(mount.read_only));
    }
    if let Some(mysqld) = snapshot.mysqld.known() {
        text.family("standin_mysqld_up", Kind::Gauge, "1 when mysqld runs here and answers.")
            .sample(&[], truth(MysqldSeen::is_up(mysqld)));
    }
}

fn drbd_resource(text: &mut Text, drbd: &DrbdSeen) {
    states(text, "standin_drbd_role", "DRBD role of this node.", "role", &ROLES, drbd.role);
    states(
        text,
        "standin_drbd_peer_role",
        "DRBD role of the peer, as last heard.",
        "role",
        &ROLES,
        drbd.peer_role,
    );
    states(
        text,
        "standin_drbd_connection",
        "DRBD connection to the peer.",
        "state",
        &CONNECTIONS,
        drbd.connection,
    );
    states(text, "standin_drbd_disk", "DRBD disk of this node.", "state", &DISKS, drbd.disk);
    states(
        text,
        "standin_drbd_peer_disk",
        "DRBD disk of the peer, as last heard.",
        "state",
        &DISKS,
        drbd.peer_disk,
    );
    text.family("standin_drbd_io_suspended", Kind::Gauge, "1 while DRBD holds back all I/O.")
        .sample(&[], truth(drbd.io_suspended));
    if let Some(percent) = drbd.resync_percent {
        text.family(
            "standin_drbd_resync_ratio",
            Kind::Gauge,
            "What is in sync while a resync runs, from 0 to 1.",
        )
        .sample(&[], f64::from(percent) / 100.0);
    }
}

fn network(text: &mut Text, snapshot: &Snapshot) {
    if let Some(interface) = snapshot.vip.interface.known() {
        text.family("standin_vip_here", Kind::Gauge, "1 when the virtual IP is on this node.")
            .sample(&[], truth(interface.is_some()));
    }
    if let Some(answered) = snapshot.vip.answered_elsewhere.known() {
        text.family(
            "standin_vip_answered_elsewhere",
            Kind::Gauge,
            "1 when another host answers for the virtual IP.",
        )
        .sample(&[], truth(*answered));
    }
    let asked = [
        (
            "standin_peer_address_answers",
            "1 when this address of the peer answers ICMP or ARP.",
            &snapshot.peer_addresses,
        ),
        ("standin_witness_answers", "1 when this witness answers ICMP or ARP.", &snapshot.witnesses),
    ];
    for (name, help, addresses) in asked {
        let known: Vec<(String, bool)> = addresses
            .iter()
            .filter_map(|seen| Some((seen.address.to_string(), *seen.answers.known()?)))
            .collect();
        let mut family = text.family(name, Kind::Gauge, help);
        for (address, answers) in &known {
            family.sample(&[("address", address)], truth(*answers));
        }
    }
}

fn judgements(text: &mut Text, snapshot: &Snapshot) {
    if let Some(decision) = &snapshot.decision {
        let by = match decision.by {
            Judge::Guard => "guard",
            Judge::Watch => "watch",
        };
        text.family("standin_decision", Kind::Gauge, "What the guard or the watch decided last; always 1.")
            .sample(&[("by", by), ("decision", decision.word)], 1.0);
        text.family(
            "standin_decision_age_seconds",
            Kind::Gauge,
            "For how long it has been the same decision.",
        )
        .sample(&[], decision.seconds);
    }
    text.family("standin_paused", Kind::Gauge, "1 while the agent is paused: it looks, and does nothing.")
        .sample(&[], truth(snapshot.pause.is_some()));
    text.family(
        "standin_gave_up",
        Kind::Gauge,
        "1 when this node gave up by itself a short while ago and nobody has acknowledged it.",
    )
    .sample(&[], truth(snapshot.gave_up.is_some()));
    text.family("standin_settling", Kind::Gauge, "1 during the anti-flap window after a takeover.")
        .sample(&[], truth(snapshot.settling.is_some()));
    text.family("standin_warnings", Kind::Gauge, "How many warnings /status.json lists.")
        .sample(&[], snapshot.warnings.len() as f64);
    if let Some(seconds) = snapshot.recovery.as_ref().and_then(|recovery| recovery.seconds) {
        text.family(
            "standin_recovery_forecast_seconds",
            Kind::Gauge,
            "How long crash recovery would take if this node failed now.",
        )
        .sample(&[], seconds);
    }
}

fn checks(text: &mut Text, snapshot: &Snapshot) {
    let checks = &snapshot.checks;
    let mut family =
        text.family("standin_check_ok", Kind::Gauge, "1 when the last look of this check was well.");
    for check in checks.iter().filter(|check| check.state != CheckState::Pending) {
        family.sample(&[("check", check.name)], truth(check.state != CheckState::Failed));
    }
    let mut family =
        text.family("standin_check_pending", Kind::Gauge, "1 while a look of this check has not ended.");
    for check in checks {
        family.sample(&[("check", check.name)], truth(check.state == CheckState::Pending));
    }
    let mut family = text.family(
        "standin_check_duration_seconds",
        Kind::Gauge,
        "How long the last look of this check took; of one that has not ended, how long it has taken.",
    );
    for check in checks {
        if let Some(seconds) = check.seconds {
            family.sample(&[("check", check.name)], seconds);
        }
    }
    let mut family = text.family(
        "standin_check_recent_failures",
        Kind::Gauge,
        "How many of this check's last looks failed.",
    );
    for check in checks {
        family.sample(&[("check", check.name)], f64::from(check.failures));
    }
}

fn history(text: &mut Text, history: &History) {
    runs(
        text,
        &history.takeovers,
        ["standin_takeovers_total", "Takeovers in this node's journal, by how they ended."],
        ["standin_takeover_duration_seconds", "Takeovers in this node's journal that made it active."],
        ["standin_last_takeover_duration_seconds", "How long the latest takeover took, however it ended."],
        ["standin_last_takeover_timestamp_seconds", "When the latest takeover began, in Unix time."],
    );
    runs(
        text,
        &history.releases,
        ["standin_releases_total", "Releases in this node's journal, by how they ended."],
        ["standin_release_duration_seconds", "Releases in this node's journal that gave everything up."],
        ["standin_last_release_duration_seconds", "How long the latest release took, however it ended."],
        ["standin_last_release_timestamp_seconds", "When the latest release began, in Unix time."],
    );
}

fn runs(
    text: &mut Text,
    tally: &Tally,
    total: [&str; 2],
    duration: [&str; 2],
    last_duration: [&str; 2],
    last_begun: [&str; 2],
) {
    let mut family = text.family(total[0], Kind::Counter, total[1]);
    for (outcome, count) in tally.by_outcome() {
        family.sample(&[("outcome", outcome)], count as f64);
    }
    // Without quantiles: over a handful of takeovers a year they would say nothing that the last one does not.
    let mut family = text.family(duration[0], Kind::Summary, duration[1]);
    family.part("_sum", tally.done_seconds);
    family.part("_count", tally.done as f64);
    if let Some(last) = &tally.last {
        text.family(last_duration[0], Kind::Gauge, last_duration[1]).sample(&[], last.seconds);
        if let Ok(at) = humantime::parse_rfc3339(&last.at) {
            text.family(last_begun[0], Kind::Gauge, last_begun[1]).sample(&[], unix_time(at));
        }
    }
}

/// As the health paths tell it.
fn judged(text: &mut Text, name: &str, help: &str, judged: &Judged, stale: bool) {
    text.family(name, Kind::Gauge, help).sample(&[], truth(judged.degree != Degree::Bad && !stale));
}

/// One series for each word that there is, 1 for the one that holds: so a graph shows when which one held.
fn states<T: Serialize + PartialEq + Copy>(
    text: &mut Text,
    name: &str,
    help: &str,
    label: &str,
    all: &[T],
    current: T,
) {
    let mut family = text.family(name, Kind::Gauge, help);
    for state in all {
        family.sample(&[(label, &word(*state))], truth(*state == current));
    }
}

/// The word that JSON has for it, too.
fn word(state: impl Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn unix_time(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
