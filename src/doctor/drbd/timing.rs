//! How long a dead or hanging peer goes unnoticed by DRBD.

use super::super::Finding;
use super::super::survey::{DrbdSurvey, Survey};
use super::setting::Setting;
use crate::config::Config;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    [dead_peer(&survey.drbd, config), hanging_peer(&survey.drbd, config), order(&survey.drbd, config)]
        .into_iter()
        .flatten()
        .collect()
}

/// Seconds; `ping-timeout` and `timeout` are in tenths of seconds (drbd.conf(5)).
fn seconds(drbd: &DrbdSurvey, name: &'static str) -> Option<f64> {
    let scale = if matches!(name, "ping-timeout" | "timeout") { 10.0 } else { 1.0 };
    let setting = Setting::of(drbd, "net", name);
    setting.values().filter_map(|value| value.parse::<f64>().ok()).map(|value| value / scale).reduce(f64::max)
}

/// An idle connection to a dead peer breaks after `ping-int` and `ping-timeout`. A takeover looks again for
/// `limits.wait_vip_gone`, and then its refusal is final: where it needs DRBD's own word (an own link that went down with
/// the peer, no answer from the network), that word has to come before.
fn dead_peer(drbd: &DrbdSurvey, config: &Config) -> Option<Finding> {
    let check = "drbd-dead-peer";
    let idle = seconds(drbd, "ping-int")? + seconds(drbd, "ping-timeout")?;
    let busy = seconds(drbd, "timeout")?;
    let limit = config.limits.wait_vip_gone.as_secs_f64();
    let seen = format!("a dead peer is noticed after {idle:.1} s, with writes pending after {busy:.1} s");
    if idle.max(busy) < limit {
        return Some(Finding::pass(check, seen));
    }
    let why = format!(
        "a takeover waits limits.wait_vip_gone, {limit:.0} s, for DRBD to notice: a refusal would be final before that"
    );
    let mut commands: Vec<String> = Vec::new();
    let mut by_hand = Vec::new();
    // DRBD's own defaults (drbd.conf(5)), or less where the limit is shorter than they are.
    let fitting = |default: f64| if default + 1.0 < limit { default } else { (limit / 3.0).floor().max(1.0) };
    for (name, default, scale) in
        [("ping-int", 10.0, 1.0), ("ping-timeout", 0.5, 10.0), ("timeout", 6.0, 10.0)]
    {
        if seconds(drbd, name).is_some_and(|value| value > fitting(default)) {
            let value = format!("{:.0}", fitting(default) * scale);
            commands.retain(|command| !command.starts_with("drbdadm "));
            commands.extend(Setting::of(drbd, "net", name).remedy(drbd, &config.resource, &value));
            by_hand.push(format!("{name} {value};"));
        }
    }
    let by_hand = format!("net {{ {} }}", by_hand.join(" "));
    Some(Finding::fail(check, seen, why).settings(commands, &by_hand, &config.resource))
}

/// A peer that is alive but does not complete a write is dropped after `ko-count` × `timeout`; 0 switches that off, and
/// with it every commit hangs as long as the peer's disk does (drbd.conf(5)).
fn hanging_peer(drbd: &DrbdSurvey, config: &Config) -> Option<Finding> {
    let check = "drbd-hanging-peer";
    let setting = Setting::of(drbd, "net", "ko-count");
    let count = seconds(drbd, "ko-count")?;
    if setting.values().all(|value| value != "0") {
        let after = count * seconds(drbd, "timeout")?;
        return Some(Finding::pass(check, format!("a peer that hangs is dropped after {after:.0} s")));
    }
    let why = "a peer whose disk hangs then stops every commit on the active node, for as long as it hangs";
    Some(Finding::warn(check, setting.shown(), why).settings(
        setting.remedy(drbd, &config.resource, "7"),
        "net { ko-count 7; }",
        &config.resource,
    ))
}

/// `timeout` must be lower than `connect-int` and `ping-int` (drbd.conf(5)).
fn order(drbd: &DrbdSurvey, config: &Config) -> Option<Finding> {
    let check = "drbd-timeout";
    let timeout = seconds(drbd, "timeout")?;
    let (connect, ping) = (seconds(drbd, "connect-int")?, seconds(drbd, "ping-int")?);
    let seen = format!("timeout {timeout:.1} s, connect-int {connect:.0} s, ping-int {ping:.0} s");
    if timeout < connect && timeout < ping {
        return Some(Finding::pass(check, seen));
    }
    let why = "DRBD's manual wants timeout below both: otherwise living connections break";
    let value = format!("{:.0}", (connect.min(ping) * 6.0).max(1.0));
    let by_hand = format!("net {{ timeout {value}; }}");
    let commands = Setting::of(drbd, "net", "timeout").remedy(drbd, &config.resource, &value);
    Some(Finding::warn(check, seen, why).settings(commands, &by_hand, &config.resource))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Status, sample};
    use super::super::sample::set;
    use super::*;

    fn finding(settings: &[(&str, &str)], check: &str) -> Finding {
        let mut survey = sample::survey();
        for (name, value) in settings {
            set(&mut survey.drbd, "net", name, value);
        }
        let mut found = examine(&survey, &sample::config());
        found.retain(|finding| finding.check == check);
        found.remove(0)
    }

    #[test]
    fn the_defaults_are_short_enough_and_a_minute_is_not() {
        let healthy = finding(&[], "drbd-dead-peer");
        assert_eq!(healthy.status, Status::Pass);
        assert!(healthy.seen.contains("10.5 s") && healthy.seen.contains("6.0 s"), "{}", healthy.seen);
        let slow = finding(&[("ping-int", "60")], "drbd-dead-peer");
        assert_eq!(slow.status, Status::Fail);
        assert!(slow.remedy.iter().any(|command| command.contains("ping-int 10;")), "{:?}", slow.remedy);
    }

    #[test]
    fn a_hanging_peer_must_be_dropped_some_day() {
        assert_eq!(finding(&[], "drbd-hanging-peer").status, Status::Pass);
        assert_eq!(finding(&[("ko-count", "0")], "drbd-hanging-peer").status, Status::Warn);
    }

    #[test]
    fn the_timeout_stays_below_the_intervals() {
        assert_eq!(finding(&[], "drbd-timeout").status, Status::Pass);
        let odd = finding(&[("timeout", "120")], "drbd-timeout");
        assert_eq!(odd.status, Status::Warn);
        assert!(odd.remedy.iter().any(|command| command.contains("timeout 60;")), "{:?}", odd.remedy);
    }
}
