//! The first packet that a server sends: proof that it serves, without an account.
//!
//! A packet is a length of 3 bytes (little endian), a sequence number and the payload. The payload of a greeting begins
//! with the protocol version, 10; that of an error with 0xff and the error number in 2 bytes. Source: "Connection Phase
//! Packets" in MySQL's internals documentation.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};

use crate::observation::MysqldAnswer;

const PROTOCOL_VERSION: u8 = 10;
const ERROR_PACKET: u8 = 0xff;

/// ER_CON_COUNT_ERROR, ER_HOST_IS_BLOCKED, ER_TOO_MANY_USER_CONNECTIONS: only a living server says these.
const BUSY: [u16; 3] = [1040, 1129, 1203];

/// A greeting has some 80 bytes, an error some 60; more is not needed to tell them apart.
const ENOUGH: usize = 5 + 2;

/// What the server on a Unix socket answers within `limit`.
pub fn handshake(path: &Path, limit: Duration) -> MysqldAnswer {
    ask(path, limit).0
}

/// The same, with the process that listens there, as the kernel recorded it.
pub(super) fn ask(path: &Path, limit: Duration) -> (MysqldAnswer, Option<i32>) {
    let deadline = Instant::now() + limit;
    let stream = match connect_now(path) {
        Ok(stream) => stream,
        // EAGAIN: the queue of connections that nobody accepts is full.
        Err(Errno::EAGAIN) => {
            return (MysqldAnswer::Stalled("its queue of unaccepted connections is full".into()), None);
        }
        Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTSOCK | Errno::ENOTDIR) => {
            return (MysqldAnswer::Silent, None);
        }
        Err(errno) => {
            let cause = format!("connecting to {} failed: {}", path.display(), errno.desc());
            return (MysqldAnswer::Stalled(cause), None);
        }
    };
    let listener = getsockopt(&stream, PeerCredentials).ok().map(|peer| peer.pid()).filter(|pid| *pid > 0);
    (greeting(stream, deadline), listener)
}

/// What the server on a TCP port answers within `limit`.
pub(super) fn handshake_tcp(address: Ipv4Addr, port: u16, limit: Duration) -> MysqldAnswer {
    let deadline = Instant::now() + limit;
    match TcpStream::connect_timeout(&SocketAddr::from((address, port)), limit) {
        Ok(stream) => greeting(stream, deadline),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => MysqldAnswer::Silent,
        Err(error) => MysqldAnswer::Stalled(format!("connecting to {address}:{port} failed: {error}")),
    }
}

/// std's connect to a Unix socket blocks for as long as the server's queue is full.
fn connect_now(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false).map_err(|_| Errno::last())?;
    Ok(stream)
}

/// Both stream types: reading with a time limit.
trait Timed: Read {
    fn limit(&self, limit: Duration) -> io::Result<()>;
}

impl Timed for UnixStream {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }
}

impl Timed for TcpStream {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }
}

fn greeting(mut stream: impl Timed, deadline: Instant) -> MysqldAnswer {
    let mut packet = Vec::with_capacity(128);
    let mut chunk = [0u8; 128];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return MysqldAnswer::Stalled("it accepts connections but sends no greeting".into());
        }
        if let Err(error) = stream.limit(left) {
            return MysqldAnswer::Stalled(format!("the socket can't be read: {error}"));
        }
        match stream.read(&mut chunk) {
            // A server that ends, or one that is not ready, closes without a word.
            Ok(0) => return MysqldAnswer::Stalled("it closed the connection without a greeting".into()),
            Ok(count) => packet.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return MysqldAnswer::Stalled(format!("reading its greeting failed: {error}")),
        }
        if let Some(answer) = parse(&packet) {
            return answer;
        }
    }
}

/// The answer in the bytes so far; none when more of them are needed.
pub(crate) fn parse(packet: &[u8]) -> Option<MysqldAnswer> {
    match *packet.get(4)? {
        PROTOCOL_VERSION => Some(MysqldAnswer::Ready),
        ERROR_PACKET if packet.len() < ENOUGH => None,
        ERROR_PACKET => {
            let number = u16::from_le_bytes([packet[5], packet[6]]);
            if BUSY.contains(&number) {
                return Some(MysqldAnswer::Busy);
            }
            let text: String = String::from_utf8_lossy(&packet[ENOUGH..])
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            Some(MysqldAnswer::Stalled(format!("it answered with error {number}: {text}")))
        }
        other => Some(MysqldAnswer::Stalled(format!(
            "what listens there does not speak the protocol (first byte {other:#04x})"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    /// The beginning of a real greeting of MariaDB 10.11.
    const GREETING: &[u8] = b"\x6a\x00\x00\x00\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\x00";

    fn error(number: u16) -> Vec<u8> {
        let mut packet = vec![0x17, 0, 0, 0, ERROR_PACKET];
        packet.extend(number.to_le_bytes());
        packet.extend(b"#08004Too many connections");
        packet
    }

    /// A server that sends these bytes to the first who connects, and hangs afterwards.
    fn served(bytes: &[u8]) -> MysqldAnswer {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let bytes = bytes.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&bytes).unwrap();
            stream
        });
        let (answer, listener) = ask(&path, Duration::from_millis(200));
        assert_eq!(listener, i32::try_from(std::process::id()).ok());
        drop(server.join());
        answer
    }

    #[test]
    fn a_greeting_is_ready_and_a_full_server_is_busy() {
        assert_eq!(served(GREETING), MysqldAnswer::Ready);
        for number in BUSY {
            assert_eq!(served(&error(number)), MysqldAnswer::Busy);
        }
    }

    #[test]
    fn silence_garbage_and_other_errors_are_stalled() {
        for bytes in [&b""[..], b"\x01", b"SSH-2.0-x\r\n", &error(1130), &error(1040)[..6]] {
            assert!(matches!(served(bytes), MysqldAnswer::Stalled(_)), "{bytes:?}");
        }
    }

    #[test]
    fn nobody_there_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        assert_eq!(handshake(&path, Duration::from_millis(100)), MysqldAnswer::Silent);
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(handshake(&path, Duration::from_millis(100)), MysqldAnswer::Silent);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(handshake(&path, Duration::from_millis(100)), MysqldAnswer::Silent);
    }

    #[test]
    fn a_full_queue_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = connect_now(&path) {
            queued.push(stream);
        }
        assert!(matches!(handshake(&path, Duration::from_millis(100)), MysqldAnswer::Stalled(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let answer = parse(&bytes);
            prop_assert_eq!(answer == Some(MysqldAnswer::Ready), bytes.get(4) == Some(&10));
        }
    }
}
