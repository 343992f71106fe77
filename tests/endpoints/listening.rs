//! Where the agent listens.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use standin::frontends::agent::http::Endpoints;

use crate::{Agent, get, look, support, wait_until};

fn start(listen: &[&str]) -> Result<Endpoints, standin::failure::Failure> {
    let listen: Vec<SocketAddr> = listen.iter().map(|address| address.parse().unwrap()).collect();
    crate::start(&listen, &Arc::new(Mutex::new(Arc::new(look(&support::seen_by(1))))))
}

#[test]
fn a_port_that_is_taken_is_served_when_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let endpoints = start(&[&address.to_string(), "127.0.0.1:0"]).unwrap();
    let others = endpoints.addresses();
    assert_eq!((others.len(), get(others[0], "/health/fit").0), (1, 200), "the other address is served");
    drop(taken);
    wait_until("an answer at the port", || TcpStream::connect(address).is_ok());
    assert_eq!(get(address, "/health/fit").0, 200);
}

#[test]
fn the_end_of_the_endpoints_frees_their_port() {
    let agent = Agent::new();
    let address = agent.address();
    let _connected = agent.connect();
    drop(agent);
    assert!(TcpStream::connect(address).is_err());
    drop(start(&[&address.to_string()]).expect("what is left of old connections is not in the way"));
}

#[test]
fn several_addresses_are_served_ipv6_among_them() {
    let endpoints = start(&["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"]).unwrap();
    let addresses = endpoints.addresses();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for address in addresses {
        assert_eq!(get(*address, "/health/fit").0, 200, "{address}");
    }
}

#[test]
#[ignore = "needs root"]
fn all_addresses_of_both_families_may_have_one_port() {
    // In a network of its own nobody else has the port.
    in_a_network_of_its_own(|| {
        let endpoints = start(&["0.0.0.0:7780", "[::]:7780"]).unwrap();
        for address in ["127.0.0.1:7780", "[::1]:7780"] {
            assert_eq!(get(address.parse().unwrap(), "/health/fit").0, 200, "{address}");
        }
        assert!(endpoints.alive());
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_that_comes_later_is_served_then() {
    in_a_network_of_its_own(|| {
        let endpoints = start(&["192.0.2.1:7780", "127.0.0.1:7780"]).unwrap();
        assert_eq!(endpoints.addresses(), ["127.0.0.1:7780".parse().unwrap()]);
        let virtual_ip: SocketAddr = "192.0.2.1:7780".parse().unwrap();
        assert!(TcpStream::connect(virtual_ip).is_err());
        ip(&["address", "add", "192.0.2.1/32", "dev", "lo"]);
        wait_until("an answer at the new address", || TcpStream::connect(virtual_ip).is_ok());
        assert_eq!(get(virtual_ip, "/health/fit").0, 200);
        // It goes and comes back, and nobody has to listen anew.
        ip(&["address", "del", "192.0.2.1/32", "dev", "lo"]);
        ip(&["address", "add", "192.0.2.1/32", "dev", "lo"]);
        assert_eq!(get(virtual_ip, "/health/fit").0, 200);
    });
}

fn in_a_network_of_its_own(test: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip(&["link", "set", "lo", "up"]);
        test();
    })
    .join()
    .unwrap();
}

fn ip(arguments: &[&str]) {
    let output =
        Command::new("ip").args(arguments).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
