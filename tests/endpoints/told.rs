//! What each path tells.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use standin::failure::Outcome;
use standin::frontends::agent::peer_status;
use standin::frontends::agent::snapshot::{
    Check, CheckState, Decision, History, Judge, LastRun, Pause, Recovery, Running, Settling, Snapshot,
    StandingWord, Tally,
};
use standin::observation::{AddressProbe, Connection, Disk, Drbd, Fact, MysqldAnswer, Observation};
use standin::plan::Goal;

use crate::{Agent, look, look_ended, support};

/// What the serving node of a pair sees: as its peer's, this node's name is not in it.
fn active() -> Observation {
    support::seen_by(0)
}

fn drbd(observation: &mut Observation) -> &mut Drbd {
    match &mut observation.drbd {
        Fact::Known(drbd) => drbd,
        Fact::Unknown(cause) => panic!("{cause}"),
    }
}

/// A snapshot with something in every field.
fn full() -> Snapshot {
    let mut observation = active();
    drbd(&mut observation).resync_percent = Some(37);
    let answer = Fact::Known(None);
    observation.witnesses.push(AddressProbe { address: [10, 77, 0, 254].into(), answer });
    let check = |name, state, seconds| Check { name, state, seconds, failures: 1, of: 5, sentence: None };
    let tally = Tally {
        done: 3,
        refused: 1,
        done_seconds: 12.5,
        last: Some(LastRun {
            at: "2026-01-02T03:04:05.678Z".to_owned(),
            outcome: Outcome::Done,
            seconds: 4.25,
        }),
        ..Tally::default()
    };
    Snapshot {
        decision: Some(Decision {
            by: Judge::Guard,
            word: "suspicious",
            sentence: "mysqld did not answer".to_owned(),
            since: "2026-01-02T03:04:05.678Z".to_owned(),
            seconds: 2.5,
            began: Instant::now(),
        }),
        checks: vec![
            check("mysqld", CheckState::Failed, Some(5.0)),
            check("write", CheckState::Pending, Some(1.5)),
            check("mount", CheckState::Ok, None),
        ],
        running: Some(Running { goal: Some(Goal::Release), step: Some("unmount".to_owned()), seconds: 3.0 }),
        history: History { takeovers: tally.clone(), releases: tally },
        pause: Some(Pause { until: None, reason: Some("a \"new\" disk".to_owned()), by_peer: false }),
        gave_up: Some("the disk hung".to_owned()),
        settling: Some(Settling { until: "2026-01-02T03:14:05.678Z".to_owned() }),
        recovery: Some(Recovery { seconds: Some(17.5), sentence: "96 MiB of redo".to_owned() }),
        warnings: vec!["/var/lib/mysql is 91 % full".to_owned()],
        ..look(&observation)
    }
}

#[test]
fn every_path_has_its_answer() {
    let agent = Agent::new();
    for (path, status, content) in [
        ("/health/active", 503, "text/plain; charset=utf-8"),
        ("/health/fit", 200, "text/plain; charset=utf-8"),
        ("/status.json", 200, "application/json"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/", 404, "text/plain; charset=utf-8"),
    ] {
        let get = agent.answer_to(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(crate::status(&get), status, "{path}");
        let (head, body) = get.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Type: {content}\r\n")), "{head}");
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        let head_only = agent.answer_to(format!("HEAD {path} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!((crate::status(&head_only), head_only.split_once("\r\n\r\n").unwrap().1), (status, ""));
    }
    let (_, paths) = agent.get("/help");
    assert_eq!(
        paths,
        "there is nothing here: /health/active, /health/fit, /status.json and /metrics are served\n"
    );
}

#[test]
fn what_is_not_served_is_refused_in_a_sentence() {
    let agent = Agent::new();
    let answer = agent.answer_to(b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(crate::status(&answer), 405);
    assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    assert!(answer.ends_with("POST is not served here, only GET and HEAD\n"), "{answer}");
    assert_eq!(crate::status(&agent.answer_to(b"GET /metrics HTTP/3.0\r\n\r\n")), 400);
}

#[test]
fn a_load_balancer_learns_who_serves() {
    let agent = Agent::telling(look(&active()));
    let (status, body) = agent.get("/health/active");
    assert_eq!((status, body.as_str()), (200, "node2 is active\n"));

    let tell = |snapshot| *agent.current.lock().unwrap() = std::sync::Arc::new(snapshot);
    let mut alone = active();
    drbd(&mut alone).connection = Connection::Connecting;
    tell(look(&alone));
    let (status, body) = agent.get("/health/active");
    assert_eq!(status, 200, "it serves, alone as it is");
    assert!(body.contains("there is no second copy"), "{body}");

    let mut stalled = active();
    match &mut stalled.mysqld {
        Fact::Known(mysqld) => mysqld.answer = MysqldAnswer::Stalled("no handshake within 5 s".to_owned()),
        Fact::Unknown(cause) => panic!("{cause}"),
    }
    tell(look(&stalled));
    let (status, body) = agent.get("/health/active");
    assert_eq!(status, 503);
    assert!(body.contains("no handshake within 5 s"), "{body}");

    tell(look(&support::seen_by(1)));
    assert_eq!(agent.get("/health/active"), (503, "node2 is standby\n".to_owned()));
    assert_eq!(agent.get("/health/fit"), (200, "node2 is standby and could take over\n".to_owned()));
    let mut outdated = support::seen_by(1);
    drbd(&mut outdated).disk = Disk::Outdated;
    tell(look(&outdated));
    assert_eq!(agent.get("/health/fit").0, 503);
}

#[test]
fn an_agent_that_hangs_is_no_good() {
    let old =
        Instant::now().checked_sub(Duration::from_secs(61)).expect("the machine runs longer than a minute");
    let agent = Agent::telling(look_ended(&active(), old));
    for path in ["/health/active", "/health/fit"] {
        let (status, body) = agent.get(path);
        assert_eq!(status, 503, "{path}");
        assert!(body.starts_with("the last look at this node ended 61."), "{body}");
    }
    let status: serde_json::Value = serde_json::from_str(&agent.get("/status.json").1).unwrap();
    assert_eq!(status["stale"], true);
    assert!(status["age_seconds"].as_f64().unwrap() > 61.0);
    let (_, metrics) = agent.get("/metrics");
    for (metric, value) in [("stale", 1), ("serves", 0), ("fit", 0)] {
        let sample = format!("\nstandin_{metric}{{cluster=\"orders\",node=\"node2\"}} {value}\n");
        assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
    }
}

#[test]
fn before_the_first_look_nothing_is_good() {
    let agent = Agent::telling(Snapshot::before_the_first_look(
        &support::config(),
        SystemTime::now(),
        Instant::now(),
    ));
    for path in ["/health/active", "/health/fit"] {
        assert_eq!(agent.get(path), (503, "no look at this node has ended yet\n".to_owned()));
    }
    let (_, metrics) = agent.get("/metrics");
    assert!(metrics.contains("standin_looks_total{cluster=\"orders\",node=\"node2\"} 0\n"), "{metrics}");
    assert!(
        !metrics.contains("standin_drbd") && !metrics.contains("standin_mysqld_up"),
        "not known is not 0"
    );
    assert!(metrics.contains("standin_stale{cluster=\"orders\",node=\"node2\"} 0\n"), "it has just begun");
}

#[test]
fn a_first_look_that_never_ends_is_told() {
    let ended = Instant::now() - Duration::from_secs(3600);
    let agent = Agent::telling(Snapshot::before_the_first_look(&support::config(), SystemTime::now(), ended));
    for path in ["/health/active", "/health/fit"] {
        let (status, body) = agent.get(path);
        assert_eq!(status, 503, "{path}");
        assert!(body.starts_with("no look at this node has ended for 3600."), "{body}");
    }
    let status: serde_json::Value = serde_json::from_str(&agent.get("/status.json").1).unwrap();
    assert_eq!(status["stale"], true);
    assert!(status["stale_after_seconds"].as_f64().unwrap() > 0.0);
    let (_, metrics) = agent.get("/metrics");
    assert!(metrics.contains("standin_stale{cluster=\"orders\",node=\"node2\"} 1\n"), "{metrics}");
}

#[test]
fn the_status_tells_everything() {
    let agent = Agent::telling(full());
    let status: serde_json::Value = serde_json::from_str(&agent.get("/status.json").1).unwrap();
    for (pointer, value) in [
        ("/cluster", "orders".into()),
        ("/node", "node2".into()),
        ("/peer", "node1".into()),
        ("/standing", "active".into()),
        ("/serves/degree", "good".into()),
        ("/serves/sentence", "node2 is active".into()),
        ("/drbd/role", "primary".into()),
        ("/drbd/resync_percent", 37.into()),
        ("/mount/mounted", true.into()),
        ("/mysqld/answer", "ready".into()),
        ("/vip/interface", "eth0".into()),
        ("/peer_addresses/0/address", "10.77.1.1".into()),
        ("/decision/by", "guard".into()),
        ("/decision/word", "suspicious".into()),
        ("/checks/1/state", "pending".into()),
        ("/running/goal", "release".into()),
        ("/history/takeovers/done", 3.into()),
        ("/history/releases/last/seconds", 4.25.into()),
        ("/pause/reason", "a \"new\" disk".into()),
        ("/recovery/seconds", 17.5.into()),
        ("/warnings/0", "/var/lib/mysql is 91 % full".into()),
        ("/looks", 42.into()),
        ("/stale", false.into()),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer} in {status:#}");
    }
    let mut unseen = active();
    unseen.drbd = Fact::Unknown("drbdsetup did not end within 2 s".to_owned());
    let agent = Agent::telling(look(&unseen));
    let status: serde_json::Value = serde_json::from_str(&agent.get("/status.json").1).unwrap();
    assert_eq!(status["drbd"]["unknown"], "drbdsetup did not end within 2 s");
}

#[test]
fn the_peer_understands_it() {
    let agent = Agent::telling(full());
    let status = peer_status::ask(agent.address(), "orders", "node2").unwrap();
    assert_eq!((status.standing, status.stale), (StandingWord::Active, false));
    assert_eq!(status.pause.unwrap().reason.as_deref(), Some("a \"new\" disk"));
    assert_eq!(status.gave_up.as_deref(), Some("the disk hung"));
    assert_eq!(status.settling.unwrap().until, "2026-01-02T03:14:05.678Z");
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn metrics_have_a_sample_for_what_is_known() {
    let agent = Agent::telling(full());
    let (_, metrics) = agent.get("/metrics");
    for sample in [
        "standin_standing{cluster=\"orders\",node=\"node2\",standing=\"active\"} 1",
        "standin_standing{cluster=\"orders\",node=\"node2\",standing=\"standby\"} 0",
        "standin_serves{cluster=\"orders\",node=\"node2\"} 1",
        "standin_drbd_role{cluster=\"orders\",node=\"node2\",role=\"primary\"} 1",
        "standin_drbd_disk{cluster=\"orders\",node=\"node2\",state=\"up-to-date\"} 1",
        "standin_drbd_resync_ratio{cluster=\"orders\",node=\"node2\"} 0.37",
        "standin_decision{cluster=\"orders\",node=\"node2\",by=\"guard\",decision=\"suspicious\"} 1",
        "standin_check_ok{cluster=\"orders\",node=\"node2\",check=\"mysqld\"} 0",
        "standin_check_pending{cluster=\"orders\",node=\"node2\",check=\"write\"} 1",
        "standin_check_duration_seconds{cluster=\"orders\",node=\"node2\",check=\"write\"} 1.5",
        "standin_takeovers_total{cluster=\"orders\",node=\"node2\",outcome=\"refused\"} 1",
        "standin_takeover_duration_seconds_sum{cluster=\"orders\",node=\"node2\"} 12.5",
        "standin_takeover_duration_seconds_count{cluster=\"orders\",node=\"node2\"} 3",
        "standin_last_takeover_timestamp_seconds{cluster=\"orders\",node=\"node2\"} 1767323045.678",
        "standin_recovery_forecast_seconds{cluster=\"orders\",node=\"node2\"} 17.5",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} is not in\n{metrics}");
    }
    assert!(
        !metrics.contains("standin_check_ok{cluster=\"orders\",node=\"node2\",check=\"write\"}"),
        "not known yet"
    );
    let states = metrics.lines().filter(|line| line.starts_with("standin_drbd_connection{"));
    assert_eq!(states.clone().filter(|line| line.ends_with(" 1")).count(), 1, "one state at a time");
    assert_eq!(states.count(), 6);
}

#[test]
fn every_metric_is_in_the_guide_and_nothing_else() {
    let guide =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agent-endpoints.md")).unwrap();
    let mut described: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `standin_"))
        .filter_map(|rest| rest.split(['`', '{']).next())
        .collect();
    let (_, metrics) = Agent::telling(full()).get("/metrics");
    let mut told: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP standin_"))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    described.sort_unstable();
    told.sort_unstable();
    assert_eq!(described, told);
}

#[test]
#[ignore = "needs promtool: tests/setup"]
fn promtool_finds_nothing_wrong() {
    let check = |metrics: &str| promtool("metrics", metrics);
    let before = Snapshot::before_the_first_look(&support::config(), SystemTime::now(), Instant::now());
    let odd = Snapshot { node: "a\\b\"c\nd".to_owned(), ..full() };
    for snapshot in [before, look(&support::seen_by(1)), full(), odd] {
        let (_, metrics) = Agent::telling(snapshot).get("/metrics");
        assert_eq!(check(&metrics), (Some(0), String::new()), "{metrics}");
    }
    let (code, said) = check("# TYPE bad_milliseconds gauge\nbad_milliseconds 1\n");
    assert_eq!(code, Some(3), "it would tell: {said}");
}

#[test]
#[ignore = "needs promtool: tests/setup"]
fn the_alerts_in_the_guide_are_good() {
    let guide = guide();
    let rules = guide.split("```yaml\n").find_map(|block| block.strip_prefix("groups:")).unwrap();
    let rules = format!("groups:{}", rules.split("```").next().unwrap());
    let (code, said) = promtool("rules", &rules);
    assert_eq!(code, Some(0), "{said}");
    let (_, metrics) = Agent::telling(full()).get("/metrics");
    let mut names = 0;
    for name in rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|name| name.starts_with("standin_"))
    {
        assert!(
            metrics.contains(&format!("\n{name}{{")) || metrics.starts_with(&format!("{name}{{")),
            "{name}"
        );
        names += 1;
    }
    assert!(names > 5, "{names}");
}

/// Its exit code and what it says.
fn promtool(what: &str, text: &str) -> (Option<i32>, String) {
    let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/programs/promtool"))
        .args(["check", what])
        .args((what == "rules").then_some("/dev/stdin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn guide() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agent-endpoints.md")).unwrap()
}
