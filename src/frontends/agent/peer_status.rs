//! What the peer's agent says of its node: the few fields of its `/status.json` that this node goes by.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use httparse::Status;
use serde::Deserialize;

use super::snapshot::{Pause, Settling, StandingWord};

const CONNECT: Duration = Duration::from_secs(1);
/// From the first packet to the last.
const WHOLE: Duration = Duration::from_secs(2);
/// Head and body; ten times what an agent sends.
const LARGEST: usize = 64 * 1024;
const MOST_FIELDS: usize = 32;

/// What the peer's agent says. Fields that this version does not know are left out; those that another version does not have are
/// empty.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeerStatus {
    /// Its standin's version.
    #[serde(default)]
    pub version: String,
    /// The cluster that it is an agent of.
    pub cluster: String,
    /// The node that it runs on.
    pub node: String,
    /// When its last look ended, by that node's clock (RFC 3339).
    #[serde(default)]
    pub at: String,
    /// What that node holds.
    pub standing: StandingWord,
    /// Its last look is too old to say anything.
    pub stale: bool,
    /// How old that is, in seconds.
    pub age_seconds: f64,
    /// Set while it is paused.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Why that node gave up by itself a short while ago, unless somebody has acknowledged it.
    #[serde(default)]
    pub gave_up: Option<String>,
    /// Set during the anti-flap window after it took over.
    #[serde(default)]
    pub settling: Option<Settling>,
}

/// Asks the agent of `node` in `cluster` that listens on an address. Takes two seconds at most.
///
/// # Errors
/// It does not answer in time, answers something else, or is another cluster's or node's, in one sentence.
pub fn ask(address: SocketAddr, cluster: &str, node: &str) -> Result<PeerStatus, String> {
    let received = exchange(address, Instant::now() + WHOLE)
        .map_err(|error| format!("the agent at {address} does not answer: {error}"))?;
    let status =
        parse(&received).map_err(|cause| format!("the agent at {address} is not understood: {cause}"))?;
    if status.cluster != cluster || status.node != node {
        return Err(format!(
            "the agent at {address} is of {} in cluster {}, not of {node} in {cluster}: the agents' ports are mixed up \
             (agent.listen)",
            status.node, status.cluster
        ));
    }
    Ok(status)
}

/// Sends the request and reads until the other side is done.
fn exchange(address: SocketAddr, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(
        format!("GET /status.json HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut received = Vec::new();
    let mut buffer = [0; 8 * 1024];
    loop {
        // Anew each time: the limit is for all of it, and each byte may take its time.
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(received),
            Ok(length) if received.len() + length > LARGEST => {
                let message = format!("it sends more than {LARGEST} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(error) => return Err(error),
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_late()) } else { Ok(left) }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("not within {}", humantime::format_duration(WHOLE)))
}

/// Reads a whole answer.
///
/// # Errors
/// It is cut off, not HTTP, not 200 or not such JSON, in one sentence.
pub(crate) fn parse(received: &[u8]) -> Result<PeerStatus, String> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(received) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Err("its answer is cut off".to_owned()),
        Err(error) => return Err(format!("its answer is not HTTP: {error}")),
    };
    let code = response.code.unwrap_or_default();
    if code != 200 {
        return Err(format!("it answers with status {code}"));
    }
    // One object: an answer that a broken connection cut off is none.
    serde_json::from_slice(&received[head..])
        .map_err(|error| format!("its answer is not the status of an agent: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const STATUS: &str = r#"{"version": "0.1.0", "cluster": "orders", "node": "node1", "at": "2026-01-02T03:04:05.678Z", "standing": "active", "stale": false,
        "age_seconds": 0.2, "pause": {"until": null, "reason": "disk swap"}, "gave_up": null, "more": {"of": ["later"]}}"#;

    fn answer(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn a_status_is_read_whatever_else_is_in_it() {
        let status = parse(&answer("200 OK", STATUS)).unwrap();
        assert_eq!((status.node.as_str(), status.standing), ("node1", StandingWord::Active));
        assert_eq!(status.at, "2026-01-02T03:04:05.678Z");
        assert_eq!(status.pause.unwrap().reason.as_deref(), Some("disk swap"));
        assert_eq!((status.gave_up, status.settling), (None, None));
    }

    #[test]
    fn whatever_is_no_status_is_an_error() {
        let whole = answer("200 OK", STATUS);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "cut off after {end}");
        }
        for (bytes, why) in [
            (answer("503 Service Unavailable", STATUS), "status 503"),
            (answer("200 OK", "<html>"), "not the status of an agent"),
            (answer("200 OK", r#"{"standing": "active"}"#), "missing field"),
            (answer("200 OK", &STATUS.replace("active", "leader")), "leader"),
            (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "not HTTP"),
        ] {
            let cause = parse(&bytes).unwrap_err();
            assert!(cause.contains(why), "{cause}");
        }
    }

    /// An agent that sends this, and then keeps the connection open for as long as it is asked.
    fn agent(bytes: Vec<u8>, close: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(&bytes);
            if !close {
                let _ = stream.read(&mut head);
            }
        });
        address
    }

    #[test]
    fn the_right_agent_is_asked() {
        let at = agent(answer("200 OK", STATUS), true);
        assert_eq!(ask(at, "orders", "node1").unwrap().standing, StandingWord::Active);
        let cause = ask(agent(answer("200 OK", STATUS), true), "orders", "node2").unwrap_err();
        assert!(cause.contains("is of node1 in cluster orders, not of node2"), "{cause}");
    }

    #[test]
    fn one_that_is_silent_slow_or_never_done_costs_two_seconds_at_most() {
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let begun = Instant::now();
        for (at, why) in [
            (refused, "refused"),
            (agent(Vec::new(), false), "not within 2s"),
            (agent(vec![b'a'; 2 * LARGEST], false), "more than 65536 bytes"),
        ] {
            let cause = ask(at, "orders", "node1").unwrap_err();
            assert!(cause.contains(why), "{cause}");
        }
        assert!(begun.elapsed() < 2 * WHOLE, "{:?}", begun.elapsed());
    }
}
