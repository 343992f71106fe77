//! Who answers, who is silent, and when silence proves nothing.

use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use standin::node::address::{Target, announce, probe, route_interface, second_holder};
use standin::observation::{Answer, Fact};

use crate::namespaces::{
    HERE, HERE_IP, NOBODY, PEER, PEER_IP, VIP, eventually, here, in_namespaces, ip, mac_of, sysctl,
};

const MISSES: u32 = 3;
const INTERVAL: Duration = Duration::from_millis(100);
const SILENCE: Duration = Duration::from_millis(300);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(250);

fn on_link(address: &str) -> Target {
    Target { address: address.parse().unwrap(), interface: Some(HERE.into()) }
}

fn routed(address: &str) -> Target {
    Target { address: address.parse().unwrap(), interface: None }
}

fn ask(target: Target) -> Fact<Option<Answer>> {
    probe(&[target], MISSES, INTERVAL).remove(0).answer
}

fn unknown(target: Target) -> String {
    match ask(target) {
        Fact::Unknown(cause) => cause,
        Fact::Known(answer) => panic!("known: {answer:?}"),
    }
}

fn answered(icmp: bool, arp: Option<String>) -> Fact<Option<Answer>> {
    Fact::Known(Some(Answer { icmp, arp }))
}

#[test]
#[ignore = "needs root"]
fn a_living_machine_answers_at_once() {
    in_namespaces(|peer| {
        for target in [on_link(PEER_IP), routed(PEER_IP)] {
            let start = Instant::now();
            let answer = probe(&[target], MISSES, Duration::from_secs(2)).remove(0).answer;
            assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
            assert_eq!(answer.known().unwrap().as_ref().unwrap().arp, Some(peer.mac()));
        }
    });
}

#[test]
#[ignore = "needs root"]
fn silence_takes_every_interval_and_all_targets_are_asked_at_once() {
    in_namespaces(|peer| {
        let start = Instant::now();
        let targets = [on_link(NOBODY), routed(PEER_IP), routed("192.0.2.78"), on_link("192.0.2.79")];
        let answers = probe(&targets, MISSES, INTERVAL);
        let took = start.elapsed();
        assert!(took >= SILENCE && took < SILENCE + SLACK, "{took:?}");
        for (target, answer) in targets.iter().zip(&answers) {
            assert_eq!(target.address, answer.address);
        }
        let silent: Vec<bool> = answers.iter().map(|each| each.answer == Fact::Known(None)).collect();
        assert_eq!(silent, [true, false, true, true]);
        assert_eq!(answers[1].answer.known().unwrap().as_ref().unwrap().arp, Some(peer.mac()));
    });
}

#[test]
#[ignore = "needs root"]
fn our_own_dead_network_card_is_no_evidence() {
    in_namespaces(|peer| {
        let cause = unknown(Target { interface: Some("absent0".into()), ..on_link(PEER_IP) });
        assert!(cause.contains("no network interface absent0"), "{cause}");
        let cause = unknown(routed("203.0.113.1"));
        assert!(cause.contains("no route to 203.0.113.1"), "{cause}");

        peer.ip(&format!("link set {PEER} down"));
        for target in [on_link(PEER_IP), routed(PEER_IP)] {
            let cause = unknown(target);
            assert!(cause.contains("no carrier"), "{cause}");
        }
        ip(&format!("link set {HERE} down"));
        let cause = unknown(on_link(PEER_IP));
        assert!(cause.contains("is down"), "{cause}");
        let cause = unknown(routed(PEER_IP));
        assert!(cause.contains("no route"), "{cause}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_link_that_goes_away_in_between_is_no_evidence() {
    in_namespaces(|peer| {
        thread::scope(|scope| {
            let before = peer.received();
            scope.spawn(move || {
                eventually("the first question has arrived", || peer.received() > before);
                peer.ip(&format!("link set {PEER} down"));
                peer.ip(&format!("link set {PEER} up"));
            });
            let answer = probe(&[on_link(NOBODY)], MISSES, Duration::from_millis(500)).remove(0).answer;
            assert!(
                matches!(&answer, Fact::Unknown(cause) if cause.contains("went away and came back")),
                "{answer:?}"
            );
        });
    });
}

#[test]
#[ignore = "needs root"]
fn an_own_address_is_noticed() {
    in_namespaces(|_| {
        for target in [on_link(HERE_IP), routed(HERE_IP)] {
            let cause = unknown(target);
            assert!(cause.contains("of this node itself, on here0"), "{cause}");
        }
    });
}

#[test]
#[ignore = "needs root"]
fn behind_a_gateway_an_echo_reply_counts_and_silence_does_not() {
    in_namespaces(|peer| {
        peer.ip("address add 198.51.100.1/32 dev lo");
        ip(&format!("route add 198.51.100.0/24 via {PEER_IP}"));
        assert_eq!(ask(routed("198.51.100.1")), answered(true, None));
        let cause = unknown(routed("198.51.100.9"));
        assert!(cause.contains("behind a gateway"), "{cause}");

        let route = route_interface("198.51.100.1".parse().unwrap()).unwrap();
        assert_eq!((route.interface.as_str(), route.gateway, route.local), (HERE, true, false));
        assert_eq!(route.source, Some(HERE_IP.parse().unwrap()));
        assert!(!route_interface(PEER_IP.parse().unwrap()).unwrap().gateway);
    });
}

#[test]
#[ignore = "needs root"]
fn a_firewalled_machine_answers_arp() {
    in_namespaces(|peer| {
        peer.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        assert_eq!(ask(on_link(PEER_IP)), answered(false, Some(peer.mac())));
    });
}

#[test]
#[ignore = "needs root"]
fn a_machine_that_ignores_arp_answers_echo() {
    in_namespaces(|peer| {
        ip(&format!("neigh replace {PEER_IP} lladdr {} dev {HERE} nud permanent", peer.mac()));
        peer.sysctl(&format!("net.ipv4.conf.{PEER}.arp_ignore"), "8");
        // Before its echo reply the peer asks who we are: a request from that address shows its machine as well.
        let answer = ask(on_link(PEER_IP));
        assert_eq!(answer, answered(true, Some(peer.mac())));

        peer.ip(&format!("neigh replace {HERE_IP} lladdr {} dev {PEER} nud permanent", mac_of(HERE)));
        assert_eq!(ask(on_link(PEER_IP)), answered(true, None));
    });
}

#[test]
#[ignore = "needs root"]
fn the_probe_is_answered_where_our_own_address_is_not() {
    in_namespaces(|peer| {
        peer.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        // The peer's answer to a request from 192.0.2.1 would leave by another interface, so arp_filter forbids it.
        peer.ip(&format!("route add {HERE_IP}/32 dev lo"));
        peer.sysctl(&format!("net.ipv4.conf.{PEER}.arp_filter"), "1");
        assert_eq!(ask(on_link(PEER_IP)), answered(false, Some(peer.mac())));
    });
}

#[test]
#[ignore = "needs root"]
fn an_interface_without_an_address_asks_by_arp_alone() {
    in_namespaces(|peer| {
        ip(&format!("address flush dev {HERE}"));
        assert_eq!(ask(on_link(PEER_IP)), answered(false, Some(peer.mac())));
        assert_eq!(ask(on_link(NOBODY)), Fact::Known(None));
    });
}

#[test]
#[ignore = "needs root"]
fn arp_from_another_address_is_no_answer() {
    in_namespaces(|peer| {
        peer.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        thread::scope(|scope| {
            // Requests and replies whose sender is the peer's own address, all the while.
            scope.spawn(|| peer.run(|| announce(PEER_IP.parse().unwrap(), PEER, 50, INTERVAL / 10)).unwrap());
            assert_eq!(ask(on_link(NOBODY)), Fact::Known(None));
        });
    });
}

#[test]
#[ignore = "needs root"]
fn two_nodes_that_ask_at_the_same_time_do_not_take_each_other_for_an_answer() {
    in_namespaces(|peer| {
        thread::scope(|scope| {
            let theirs = scope.spawn(|| {
                let target = Target { interface: Some(PEER.into()), ..on_link(VIP) };
                peer.run(|| ask(target))
            });
            assert_eq!(ask(on_link(VIP)), Fact::Known(None));
            assert_eq!(theirs.join().unwrap(), Fact::Known(None));
        });
    });
}

#[test]
#[ignore = "needs root"]
fn our_own_hardware_address_is_no_answer() {
    in_namespaces(|peer| {
        peer.ip(&format!("link set {PEER} address {}", mac_of(HERE)));
        peer.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        assert_eq!(ask(on_link(PEER_IP)), Fact::Known(None));
    });
}

#[test]
#[ignore = "needs root"]
fn without_permission_silence_is_no_evidence() {
    in_namespaces(|_| {
        drop_privileges_of_this_thread();
        let cause = unknown(on_link(PEER_IP));
        assert!(cause.contains("AF_PACKET") && cause.contains("not permitted"), "{cause}");
    });
    in_namespaces(|_| {
        sysctl("net.ipv4.ping_group_range", "0 2147483647");
        drop_privileges_of_this_thread();
        assert_eq!(ask(on_link(PEER_IP)), answered(true, None));
        let cause = unknown(on_link(NOBODY));
        assert!(cause.contains("AF_PACKET"), "{cause}");
    });
}

fn drop_privileges_of_this_thread() {
    const NOBODY: libc::uid_t = 65534;
    #[allow(unsafe_code)]
    // SAFETY: takes no pointers. The system call changes this thread alone, unlike the C library's function.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    assert_eq!(result, 0);
}

#[test]
#[ignore = "needs root"]
fn a_second_holder_of_an_address_that_is_here_is_named() {
    in_namespaces(|peer| {
        let vip = VIP.parse().unwrap();
        ip(&format!("address add {VIP}/24 dev {HERE}"));
        assert_eq!(second_holder(vip, HERE), Ok(None));
        peer.ip(&format!("address add {VIP}/24 dev {PEER}"));
        let answer = second_holder(vip, HERE).unwrap().unwrap();
        assert_eq!(answer.arp, Some(peer.mac()));
        peer.ip(&format!("link set {PEER} down"));
        eventually("the cable is dead", || !here().carrier);
        second_holder(vip, HERE).unwrap_err();
    });
}
