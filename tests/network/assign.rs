//! Adding, announcing and removing the virtual IP.

use std::time::Duration;

use ipnet::Ipv4Net;
use standin::failure::FailureKind;
use standin::node::Change;
use standin::node::address::{add, announce, interface_of, remove};

use crate::namespaces::{
    HERE, HERE_IP, PEER, Peer, VIP, attempt, eventually, here, in_namespaces, ip, mac_of, sysctl,
};

const LIMIT: Duration = Duration::from_secs(10);
const STRANGER: &str = "02:00:00:00:00:99";

fn vip() -> Ipv4Net {
    format!("{VIP}/24").parse().unwrap()
}

fn holder() -> Option<String> {
    interface_of(VIP.parse().unwrap()).unwrap()
}

#[test]
#[ignore = "needs root"]
fn adding_and_removing_can_be_repeated() {
    in_namespaces(|_| {
        assert_eq!(holder(), None);
        let first = add(vip(), HERE, &attempt(LIMIT)).unwrap();
        assert_eq!((first.change, first.warning), (Change::Done, None));
        assert_eq!(holder().as_deref(), Some(HERE));
        assert!(here().addresses.contains(&vip()));
        assert!(ip(&format!("-o address show dev {HERE} to {VIP}/32")).contains("brd 192.0.2.255"));
        assert_eq!(add(vip(), HERE, &attempt(LIMIT)).unwrap().change, Change::AlreadySo);

        assert_eq!(remove(vip(), HERE, &attempt(LIMIT)).unwrap().change, Change::Done);
        assert_eq!(holder(), None);
        assert_eq!(remove(vip(), HERE, &attempt(LIMIT)).unwrap().change, Change::AlreadySo);
        assert_eq!(here().addresses, [format!("{HERE_IP}/24").parse().unwrap()]);
    });
}

#[test]
#[ignore = "needs root"]
fn a_duplicate_is_refused_with_its_hardware_address() {
    in_namespaces(|peer| {
        peer.ip(&format!("address add {VIP}/24 dev {PEER}"));
        peer.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
        let failure = add(vip(), HERE, &attempt(LIMIT)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.seen.contains(&peer.mac()), "{failure}");
        assert_eq!(holder(), None);
    });
}

#[test]
#[ignore = "needs root"]
fn the_wrong_place_is_told() {
    in_namespaces(|_| {
        ip(&format!("address add {VIP}/32 dev {HERE}"));
        let failure = add(vip(), HERE, &attempt(LIMIT)).unwrap_err();
        assert!(failure.seen.contains("192.0.2.100/32 is already on here0"), "{failure}");
        ip(&format!("address delete {VIP}/32 dev {HERE}"));

        ip(&format!("address add {VIP}/24 dev lo"));
        let failure = add(vip(), HERE, &attempt(LIMIT)).unwrap_err();
        assert!(failure.seen.contains("192.0.2.100/24 is already on lo"), "{failure}");

        let removed = remove(vip(), HERE, &attempt(LIMIT)).unwrap();
        assert!(removed.note.unwrap().contains("192.0.2.100/24 on lo"));
        assert_eq!(holder(), None);
    });
}

#[test]
#[ignore = "needs root"]
fn without_carrier_nothing_is_added() {
    in_namespaces(|peer| {
        peer.ip(&format!("link set {PEER} down"));
        let failure = add(vip(), HERE, &attempt(LIMIT)).unwrap_err();
        assert!(failure.seen.contains("no carrier"), "{failure}");
        ip(&format!("link set {HERE} down"));
        let failure = add(vip(), HERE, &attempt(LIMIT)).unwrap_err();
        assert!(failure.seen.contains("is down"), "{failure}");
        assert_eq!(holder(), None);
    });
}

#[test]
#[ignore = "needs root"]
fn a_cancelled_attempt_adds_nothing() {
    in_namespaces(|_| {
        let attempt = attempt(LIMIT);
        attempt.cancel();
        assert_eq!(add(vip(), HERE, &attempt).unwrap_err().kind, FailureKind::TimedOut);
        assert_eq!(holder(), None);
    });
}

fn neighbour(peer: &Peer) -> String {
    peer.ip(&format!("neigh show {VIP} dev {PEER}"))
}

fn poison(peer: &Peer) {
    peer.ip(&format!("neigh replace {VIP} lladdr {STRANGER} dev {PEER} nud stale"));
    assert!(neighbour(peer).contains(STRANGER));
}

#[test]
#[ignore = "needs root"]
fn the_neighbours_learn_where_the_address_is_now() {
    in_namespaces(|peer| {
        let mac = mac_of(HERE).to_string();
        poison(peer);
        add(vip(), HERE, &attempt(LIMIT)).unwrap();
        eventually("the neighbour learns it from add", || neighbour(peer).contains(&mac));

        // As after a kill between the address and its announcement.
        poison(peer);
        add(vip(), HERE, &attempt(LIMIT)).unwrap();
        eventually("the neighbour learns it from add again", || neighbour(peer).contains(&mac));

        poison(peer);
        announce(VIP.parse().unwrap(), HERE, 2, Duration::from_millis(10)).unwrap();
        eventually("the neighbour learns it from announce", || neighbour(peer).contains(&mac));
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_that_has_left_is_not_announced() {
    in_namespaces(|peer| {
        poison(peer);
        let warning = announce(VIP.parse().unwrap(), HERE, 2, Duration::ZERO).unwrap_err();
        assert!(warning.contains("not on here0 any more"), "{warning}");
        assert!(neighbour(peer).contains(STRANGER));
    });
}

#[test]
#[ignore = "needs root"]
fn an_announcement_that_could_not_be_sent_is_told() {
    in_namespaces(|peer| {
        add(vip(), HERE, &attempt(LIMIT)).unwrap();
        peer.ip(&format!("link set {PEER} down"));
        let warning = announce(VIP.parse().unwrap(), HERE, 1, Duration::ZERO).unwrap_err();
        assert!(warning.contains("no carrier"), "{warning}");
    });
}

#[test]
#[ignore = "needs root"]
fn removing_it_does_not_take_the_nodes_own_address_along() {
    in_namespaces(|_| {
        ip(&format!("address flush dev {HERE}"));
        sysctl("net.ipv4.conf.all.promote_secondaries", "0");
        sysctl(&format!("net.ipv4.conf.{HERE}.promote_secondaries"), "0");
        ip(&format!("address add {VIP}/24 dev {HERE}"));
        ip(&format!("address add {HERE_IP}/24 dev {HERE}"));
        ip("route add 198.51.100.0/24 via 192.0.2.2");
        remove(vip(), HERE, &attempt(LIMIT)).unwrap();
        assert_eq!(here().addresses, [format!("{HERE_IP}/24").parse().unwrap()]);
        assert!(ip("route show").contains("198.51.100.0/24 via 192.0.2.2"));
        let setting = format!("/proc/sys/net/ipv4/conf/{HERE}/promote_secondaries");
        assert_eq!(std::fs::read_to_string(setting).unwrap().trim(), "0");
    });
}
