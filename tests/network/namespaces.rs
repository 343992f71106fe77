//! Two network namespaces joined by a virtual cable: this thread's, and the peer's. They end with the test's threads and
//! descriptors, so nothing is left behind however it ends.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use standin::node::address::{self, Interface, Mac};
use standin::node::{Attempt, Progress};

/// This node's end of the cable, and its address.
pub(crate) const HERE: &str = "here0";
pub(crate) const HERE_IP: &str = "192.0.2.1";
/// The peer's end.
pub(crate) const PEER: &str = "peer0";
pub(crate) const PEER_IP: &str = "192.0.2.2";
/// The virtual IP, and an address that nobody has.
pub(crate) const VIP: &str = "192.0.2.100";
pub(crate) const NOBODY: &str = "192.0.2.77";

/// How long any condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Peer {
    namespace: File,
}

/// Runs a test in the first of two fresh namespaces, on a thread of its own.
pub(crate) fn in_namespaces(test: impl FnOnce(&Peer) + Send) {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            let peer = Peer { namespace: fresh() };
            fresh();
            let path = format!("/proc/{}/fd/{}", std::process::id(), peer.namespace.as_raw_fd());
            ip("link set lo up");
            ip(&format!("link add {HERE} type veth peer name {PEER} netns {path}"));
            ip(&format!("address add {HERE_IP}/24 dev {HERE}"));
            ip(&format!("link set {HERE} up"));
            peer.ip("link set lo up");
            peer.ip(&format!("address add {PEER_IP}/24 dev {PEER}"));
            peer.ip(&format!("link set {PEER} up"));
            eventually("the cable carries", || here().carrier);
            test(&peer);
        });
        if let Err(panic) = run.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn fresh() -> File {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
    File::open("/proc/thread-self/ns/net").unwrap()
}

impl Peer {
    /// Runs something in the peer's namespace, on a thread of its own.
    pub(crate) fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
                    what()
                })
                .join()
                .unwrap()
        })
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        self.run(|| ip(arguments))
    }

    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        self.run(|| sysctl(name, value));
    }

    pub(crate) fn mac(&self) -> String {
        self.run(|| mac_of(PEER)).to_string()
    }

    /// Packets that the peer has received so far; /proc/net/dev counts them in its second column.
    pub(crate) fn received(&self) -> u64 {
        self.run(|| {
            let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let line = table.lines().find(|line| line.trim().starts_with(PEER)).unwrap();
            line.split_once(':').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
        })
    }
}

pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// /proc/sys/net shows the namespace of the thread that opens it.
pub(crate) fn sysctl(name: &str, value: &str) {
    fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value).unwrap();
}

pub(crate) fn here() -> Interface {
    address::interface(HERE).unwrap()
}

pub(crate) fn mac_of(interface: &str) -> Mac {
    address::interface(interface).unwrap().mac.unwrap()
}

/// Waits for a condition, and fails when it does not come true.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

struct Call<F>(Mutex<F>);

impl<F: FnMut(&str) + Send> Progress for Call<F> {
    fn report(&self, line: &str) {
        (self.0.lock().unwrap())(line);
    }
}

pub(crate) fn attempt(limit: Duration) -> Attempt {
    attempt_with(limit, |_| {})
}

pub(crate) fn attempt_with(limit: Duration, report: impl FnMut(&str) + Send + 'static) -> Attempt {
    Attempt::new(limit, Box::new(Call(Mutex::new(report))))
}
