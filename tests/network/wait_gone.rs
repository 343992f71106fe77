//! Waiting for the virtual IP to go.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use standin::failure::FailureKind;
use standin::node::Change;
use standin::node::address::{Target, wait_gone};

use crate::namespaces::{HERE, PEER, VIP, attempt, attempt_with, in_namespaces, ip};

const MISSES: u32 = 3;
const INTERVAL: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

fn vip() -> Target {
    Target { address: VIP.parse().unwrap(), interface: Some(HERE.into()) }
}

#[test]
#[ignore = "needs root"]
fn ends_when_the_peer_drops_the_address() {
    in_namespaces(|peer| {
        peer.ip(&format!("address add {VIP}/24 dev {PEER}"));
        let (seen, was_seen) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let line: String = was_seen.recv().unwrap();
                assert!(line.contains(&peer.mac()), "{line}");
                peer.ip(&format!("address delete {VIP}/24 dev {PEER}"));
            });
            let attempt = attempt_with(LONG, move |line| seen.send(line.to_owned()).unwrap());
            let applied = wait_gone(&vip(), MISSES, INTERVAL, &attempt).unwrap();
            assert_eq!(applied.change, Change::Done);
        });
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_that_nobody_has_takes_the_misses_and_no_more() {
    in_namespaces(|_| {
        let start = Instant::now();
        let applied = wait_gone(&vip(), MISSES, INTERVAL, &attempt(LONG)).unwrap();
        let took = start.elapsed();
        assert_eq!(applied.change, Change::AlreadySo);
        assert!(
            took >= INTERVAL * MISSES && took < INTERVAL * MISSES + Duration::from_millis(250),
            "{took:?}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn is_refused_with_the_hardware_address_when_it_does_not_go() {
    in_namespaces(|peer| {
        peer.ip(&format!("address add {VIP}/24 dev {PEER}"));
        peer.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        let limit = Duration::from_millis(300);
        let start = Instant::now();
        let failure = wait_gone(&vip(), MISSES, INTERVAL, &attempt(limit)).unwrap_err();
        let took = start.elapsed();
        assert!(took >= limit && took < limit + Duration::from_millis(250), "{took:?}");
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.seen.contains(&format!("still answered by {}", peer.mac())), "{failure}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_limit_below_the_misses_proves_nothing() {
    in_namespaces(|_| {
        let failure = wait_gone(&vip(), MISSES, INTERVAL, &attempt(INTERVAL * 2)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut, "{failure}");
    });
}

#[test]
#[ignore = "needs root"]
fn our_own_dead_network_card_fails_it() {
    in_namespaces(|peer| {
        peer.ip(&format!("link set {PEER} down"));
        let failure = wait_gone(&vip(), MISSES, INTERVAL, &attempt(LONG)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Failed);
        assert!(failure.seen.contains("no carrier"), "{failure}");
    });
}

#[test]
#[ignore = "needs root"]
fn with_the_address_here_it_looks_for_a_second_holder() {
    in_namespaces(|peer| {
        ip(&format!("address add {VIP}/24 dev {HERE}"));
        let applied = wait_gone(&vip(), MISSES, INTERVAL, &attempt(LONG)).unwrap();
        assert_eq!(applied.change, Change::AlreadySo);

        peer.ip(&format!("address add {VIP}/24 dev {PEER}"));
        let failure = wait_gone(&vip(), MISSES, INTERVAL, &attempt(LONG)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.seen.contains(&peer.mac()), "{failure}");
    });
}
