//! One client, from its first byte to its last: never a wait, and never more memory than a head and an answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::request::{self, Head, LARGEST_HEAD};

/// For the whole head, from the accept on.
const HEAD: Duration = Duration::from_secs(2);
/// For the whole answer.
const ANSWER: Duration = Duration::from_secs(2);
/// For what the client still sends after its answer.
const REST: Duration = Duration::from_secs(1);
/// As much of that is taken.
const LARGEST_REST: usize = 4 * 1024 * 1024;
/// Taken from one client at a time, so that a fast one does not keep the others waiting.
const AT_A_TIME: usize = 64 * 1024;

/// What the thread needs of a socket.
pub(super) trait Socket: Read + Write {
    /// Says that nothing more will be sent.
    fn end_of_answer(&mut self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn end_of_answer(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// For bytes.
    ToRead,
    /// For room.
    ToWrite,
    /// For nothing: it is over.
    Over,
}

/// What a client asks of its server.
pub(super) trait Serve {
    /// The answer to a head that is whole or wrong.
    fn answer(&mut self, head: Head) -> Option<Vec<u8>>;
    /// To one that did not come in time.
    fn too_late(&mut self) -> Vec<u8>;
    /// To one that was cut off.
    fn cut_off(&mut self) -> Vec<u8>;
}

/// A client.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: S,
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    Head {
        received: Vec<u8>,
    },
    Answer {
        bytes: Vec<u8>,
        sent: usize,
    },
    /// The answer is sent. Closing at once would have the kernel reset a connection with unread bytes, and the client would lose
    /// the answer with it.
    Rest {
        taken: usize,
    },
    Over,
}

impl<S: Socket> Connection<S> {
    pub(super) fn new(socket: S, now: Instant) -> Self {
        Self { socket, state: State::Head { received: Vec::new() }, deadline: now + HEAD }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn waits(&self) -> Waits {
        match self.state {
            State::Head { .. } | State::Rest { .. } => Waits::ToRead,
            State::Answer { .. } => Waits::ToWrite,
            State::Over => Waits::Over,
        }
    }

    /// When it has to be gone on with although nothing has come.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Goes as far as it can without waiting.
    pub(super) fn go_on(&mut self, now: Instant, serve: &mut impl Serve) {
        if now >= self.deadline {
            match &self.state {
                // Who has said nothing is told nothing: it may be no client of HTTP.
                State::Head { received } if !received.is_empty() => self.begin_answer(serve.too_late(), now),
                _ => self.state = State::Over,
            }
        }
        let done = match &self.state {
            State::Head { .. } => self.read_head(now, serve),
            _ => Ok(()),
        };
        let done = done.and_then(|()| match &self.state {
            State::Answer { .. } => self.write_answer(now),
            _ => Ok(()),
        });
        let done = done.and_then(|()| match &self.state {
            State::Rest { .. } => self.read_rest(),
            _ => Ok(()),
        });
        match done {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.state = State::Over,
            Ok(()) => {}
        }
    }

    fn read_head(&mut self, now: Instant, serve: &mut impl Serve) -> io::Result<()> {
        let State::Head { received } = &mut self.state else { return Ok(()) };
        let mut buffer = [0; LARGEST_HEAD];
        loop {
            let room = LARGEST_HEAD - received.len();
            let length = match self.socket.read(&mut buffer[..room]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if length == 0 {
                if received.is_empty() {
                    self.state = State::Over;
                } else {
                    self.begin_answer(serve.cut_off(), now);
                }
                return Ok(());
            }
            received.extend_from_slice(&buffer[..length]);
            if let Some(answer) = serve.answer(request::head(received)) {
                self.begin_answer(answer, now);
                return Ok(());
            }
        }
    }

    fn begin_answer(&mut self, bytes: Vec<u8>, now: Instant) {
        self.state = State::Answer { bytes, sent: 0 };
        self.deadline = now + ANSWER;
    }

    fn write_answer(&mut self, now: Instant) -> io::Result<()> {
        let State::Answer { bytes, sent } = &mut self.state else { return Ok(()) };
        while *sent < bytes.len() {
            match self.socket.write(&bytes[*sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => *sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.socket.end_of_answer()?;
        self.state = State::Rest { taken: 0 };
        self.deadline = now + REST;
        Ok(())
    }

    fn read_rest(&mut self) -> io::Result<()> {
        let State::Rest { taken } = &mut self.state else { return Ok(()) };
        let mut buffer = [0; LARGEST_HEAD];
        let until = *taken + AT_A_TIME;
        while *taken < until {
            match self.socket.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(length) if length > 0 && *taken + length <= LARGEST_REST => *taken += length,
                Ok(_) => {
                    self.state = State::Over;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Gives and takes what the test says, one piece at a time.
    #[derive(Default)]
    struct Fake {
        incoming: VecDeque<io::Result<Vec<u8>>>,
        room: usize,
        sent: Vec<u8>,
        ended: bool,
    }

    impl Read for Fake {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut bytes = self.incoming.pop_front().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))?;
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            if length < bytes.len() {
                self.incoming.push_front(Ok(bytes.split_off(length)));
            }
            Ok(length)
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= length;
            self.sent.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Socket for Fake {
        fn end_of_answer(&mut self) -> io::Result<()> {
            self.ended = true;
            Ok(())
        }
    }

    struct Server;

    impl Serve for Server {
        fn answer(&mut self, head: Head) -> Option<Vec<u8>> {
            match head {
                Head::Part => None,
                Head::Whole(request) => Some(request.path.into_bytes()),
                Head::TooLarge => Some(b"too large".to_vec()),
                Head::Malformed(_) => Some(b"malformed".to_vec()),
            }
        }

        fn too_late(&mut self) -> Vec<u8> {
            b"too late".to_vec()
        }

        fn cut_off(&mut self) -> Vec<u8> {
            b"cut off".to_vec()
        }
    }

    fn with(incoming: &[&[u8]], room: usize) -> (Connection<Fake>, Instant) {
        let now = Instant::now();
        let incoming = incoming.iter().map(|bytes| Ok(bytes.to_vec())).collect();
        (Connection::new(Fake { incoming, room, ..Fake::default() }, now), now)
    }

    fn said(connection: &Connection<Fake>) -> String {
        String::from_utf8_lossy(&connection.socket.sent).into_owned()
    }

    #[test]
    fn a_request_in_pieces_gets_its_answer_in_pieces() {
        let (mut connection, now) = with(&[b"GET /a", b"bc HTTP/1.1\r", b"\n\r\n"], 2);
        connection.go_on(now, &mut Server);
        assert_eq!((said(&connection).as_str(), connection.waits()), ("/a", Waits::ToWrite));
        connection.socket.room = 100;
        connection.go_on(now, &mut Server);
        assert_eq!((said(&connection).as_str(), connection.waits()), ("/abc", Waits::ToRead));
        assert!(connection.socket.ended);
        connection.socket.incoming.push_back(Ok(Vec::new()));
        connection.go_on(now, &mut Server);
        assert_eq!(connection.waits(), Waits::Over);
    }

    #[test]
    fn the_time_for_a_head_does_not_begin_anew_with_each_byte() {
        let (mut connection, now) = with(&[b"GET"], 100);
        connection.go_on(now, &mut Server);
        let deadline = connection.deadline();
        connection.socket.incoming.push_back(Ok(b" ".to_vec()));
        connection.go_on(now + HEAD / 2, &mut Server);
        assert_eq!((connection.deadline(), connection.waits()), (deadline, Waits::ToRead));
        connection.go_on(now + HEAD, &mut Server);
        assert_eq!(said(&connection), "too late");
        connection.go_on(now + HEAD + REST, &mut Server);
        assert_eq!(connection.waits(), Waits::Over);
    }

    #[test]
    fn who_says_nothing_is_told_nothing() {
        let (mut connection, now) = with(&[], 100);
        connection.go_on(now + HEAD, &mut Server);
        assert_eq!((said(&connection).as_str(), connection.waits()), ("", Waits::Over));
    }

    #[test]
    fn an_answer_that_is_not_taken_ends_the_connection() {
        let (mut connection, now) = with(&[b"GET /abc HTTP/1.1\r\n\r\n"], 1);
        connection.go_on(now, &mut Server);
        connection.go_on(now + ANSWER, &mut Server);
        assert_eq!((said(&connection).as_str(), connection.waits()), ("/", Waits::Over));
    }

    #[test]
    fn a_request_that_was_cut_off_is_told_so() {
        let (mut connection, now) = with(&[b"GET /", b""], 100);
        connection.go_on(now, &mut Server);
        assert_eq!(said(&connection), "cut off");
    }

    #[test]
    fn no_more_is_kept_than_a_head_and_no_more_taken_than_a_limit() {
        let megabyte = vec![b'a'; 1024 * 1024];
        let (mut connection, now) =
            with(&[b"GET /", &megabyte, &megabyte, &megabyte, &megabyte, &megabyte], 100);
        connection.go_on(now, &mut Server);
        assert_eq!(said(&connection), "too large");
        let mut rounds = 0;
        while connection.waits() != Waits::Over {
            connection.go_on(now, &mut Server);
            rounds += 1;
        }
        assert!((40..80).contains(&rounds), "{rounds} rounds of {AT_A_TIME} bytes");
    }

    #[test]
    fn a_broken_connection_is_over() {
        let (mut connection, now) = with(&[b"GET"], 100);
        connection.socket.incoming.push_back(Err(io::ErrorKind::ConnectionReset.into()));
        connection.go_on(now, &mut Server);
        assert_eq!((said(&connection).as_str(), connection.waits()), ("", Waits::Over));
    }
}
