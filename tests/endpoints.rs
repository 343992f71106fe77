//! The agent's endpoints over real sockets on loopback: what they tell, and what no client can do to them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "endpoints/attacks.rs"]
mod attacks;
#[path = "endpoints/listening.rs"]
mod listening;
#[path = "endpoints/told.rs"]
mod told;

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use standin::decide::Now;
use standin::failure::Failure;
use standin::frontends::agent::http::Endpoints;
use standin::frontends::agent::snapshot::{Look, Snapshot};
use standin::observation::Observation;

/// More than any answer takes, for a machine that does other things, too.
const LONG: Duration = Duration::from_secs(20);

/// Endpoints on a port of their own, and what they answer from.
struct Agent {
    endpoints: Endpoints,
    current: Arc<Mutex<Arc<Snapshot>>>,
}

impl Agent {
    fn telling(snapshot: Snapshot) -> Self {
        let current = Arc::new(Mutex::new(Arc::new(snapshot)));
        let endpoints = start(&["127.0.0.1:0".parse().unwrap()], &current).unwrap();
        Self { endpoints, current }
    }

    /// The agent of a standby.
    fn new() -> Self {
        Self::telling(look(&support::seen_by(1)))
    }

    fn address(&self) -> SocketAddr {
        self.endpoints.addresses()[0]
    }

    fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// All that comes back for these bytes until the other side is done.
    fn answer_to(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        rest(&mut stream).unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(self.address(), path)
    }
}

fn start(listen: &[SocketAddr], current: &Arc<Mutex<Arc<Snapshot>>>) -> Result<Endpoints, Failure> {
    Endpoints::start(listen, support::config().vip.address.addr().into(), Arc::clone(current))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

fn rest(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    Ok(String::from_utf8(received).unwrap())
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let answer = rest(&mut stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (status(head), body.to_owned())
}

fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest[..3].parse().ok())
        .unwrap_or_else(|| panic!("{answer:?}"))
}

/// A look that has just ended.
fn look(observation: &Observation) -> Snapshot {
    look_ended(observation, Instant::now())
}

fn look_ended(observation: &Observation, ended: Instant) -> Snapshot {
    Snapshot::of(&Look {
        config: &support::config(),
        observation,
        now: &Now::default(),
        at: SystemTime::now(),
        ended,
        took: Duration::from_millis(3),
        looks: 42,
        stale_after: Duration::from_secs(60),
    })
}

/// Waits for something that comes by itself.
fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !reached() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn end_of_request(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}
