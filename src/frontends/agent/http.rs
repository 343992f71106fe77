//! The agent's endpoints: plain HTTP/1.1, GET and HEAD, one request a connection.
//!
//! One thread serves all clients and waits for all of them at once, so that a slow one costs a file descriptor and not a thread.
//! It has nothing to do with the loop but a lock that either holds for as long as it takes to copy a pointer.
//!
//! | limit | value |
//! | --- | --- |
//! | clients at a time | 32; for one more the oldest is dropped |
//! | head of a request | 8 KiB, 2 s in all |
//! | answer | 2 s in all |
//! | what comes after the answer | 4 MiB, 1 s in all; it is thrown away |

mod connection;
mod listener;
pub(crate) mod request;
mod response;
mod routes;

use std::io::{self, PipeWriter};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::connection::{Connection, Serve, Waits};
use self::listener::{Listening, Wanted};
use self::request::Head;
use super::snapshot::Snapshot;
use crate::failure::Failure;

/// Clients at a time. A scrape, two load balancers and the peer are four.
const MOST_CLIENTS: usize = 32;
/// New clients between two rounds over those that are there: each gets its turn before it can be the oldest of all.
const MOST_NEW: usize = 8;
/// Between two tries to listen on an address.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How long no client is taken when there is no file descriptor for one: the kernel would go on telling of it.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings of that.
const WARN_AGAIN: Duration = Duration::from_secs(60);
/// More than formatting and the buffers need.
const STACK: usize = 256 * 1024;

/// The running endpoints; dropping them ends them.
#[derive(Debug)]
pub struct Endpoints {
    thread: Option<JoinHandle<()>>,
    /// Closed to end the thread.
    end: Option<PipeWriter>,
    addresses: Vec<SocketAddr>,
}

impl Endpoints {
    /// Listens on every address and answers from whatever `current` holds at the moment. An address that can't be listened on is
    /// told in the log, unless it is the virtual IP and not here, and tried again every second.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        listen: &[SocketAddr],
        virtual_ip: IpAddr,
        current: Arc<Mutex<Arc<Snapshot>>>,
    ) -> Result<Self, Failure> {
        let wanted =
            |address: &SocketAddr| Wanted { address: *address, is_virtual: address.ip() == virtual_ip };
        let mut listening: Vec<Listening> =
            listen.iter().map(|address| Listening::NotYet(wanted(address), None)).collect();
        listening.iter_mut().for_each(Listening::try_again);
        let addresses = listening.iter().filter_map(|one| match one {
            Listening::Here(listener) => listener.local_addr().ok(),
            Listening::NotYet(..) => None,
        });
        let addresses = addresses.collect();
        let cannot = |error: io::Error| {
            Failure::failed(
                format!("the thread of the agent's endpoints can't be started: {error}"),
                "nobody could ask the agent for this node's health",
                "see what the machine has run out of (ulimit -a; cat /proc/loadavg), and start the agent again",
            )
        };
        let (ended, end) = io::pipe().map_err(cannot)?;
        let now = Instant::now();
        let server = Server {
            listening,
            clients: Vec::new(),
            current,
            pause_until: None,
            next_warning: now,
            next_listen: now,
        };
        let thread = thread::Builder::new()
            .name("endpoints".to_owned())
            .stack_size(STACK)
            .spawn(move || server.run(ended.as_fd()))
            .map_err(cannot)?;
        Ok(Self { thread: Some(thread), end: Some(end), addresses })
    }

    /// The addresses that were there at the start, with the ports that the kernel chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether it still answers.
    pub fn alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but the poll that the pipe has just ended.
            let _ = thread.join();
        }
    }
}

struct Server {
    listening: Vec<Listening>,
    /// The oldest first.
    clients: Vec<Connection<TcpStream>>,
    current: Arc<Mutex<Arc<Snapshot>>>,
    /// No clients are taken until then.
    pause_until: Option<Instant>,
    next_warning: Instant,
    next_listen: Instant,
}

/// What a round has to look at.
struct Ready {
    listeners: bool,
    clients: Vec<bool>,
}

impl Server {
    fn run(mut self, ended: BorrowedFd<'_>) {
        while let Some(ready) = self.wait(ended) {
            let now = Instant::now();
            self.listen_again(now);
            self.serve(now, &ready.clients);
            if ready.listeners {
                self.accept(now);
            }
            self.clients.retain(|client| client.waits() != Waits::Over);
        }
    }

    /// Waits until there is something to do; none when that is to end.
    fn wait(&self, ended: BorrowedFd<'_>) -> Option<Ready> {
        let mut watched = vec![PollFd::new(ended, PollFlags::POLLIN)];
        let takes_clients = self.pause_until.is_none_or(|until| Instant::now() >= until);
        let listeners = self.listening.iter().filter_map(|one| match one {
            Listening::Here(listener) if takes_clients => Some(listener),
            _ => None,
        });
        watched.extend(listeners.map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        let first_client = watched.len();
        watched.extend(self.clients.iter().map(|client| {
            let flags = if client.waits() == Waits::ToWrite { PollFlags::POLLOUT } else { PollFlags::POLLIN };
            PollFd::new(client.socket().as_fd(), flags)
        }));
        match poll(&mut watched, self.timeout()) {
            // Whatever it is, it passes, or each client's own call shows it; but not in a loop without a pause.
            Err(error) if error != nix::errno::Errno::EINTR => thread::sleep(PAUSE),
            _ => {}
        }
        let is_ready = |watched: &PollFd<'_>| watched.revents().is_some_and(|events| !events.is_empty());
        (!is_ready(&watched[0])).then(|| Ready {
            listeners: watched[1..first_client].iter().any(is_ready),
            clients: watched[first_client..].iter().map(is_ready).collect(),
        })
    }

    fn timeout(&self) -> PollTimeout {
        let missing = self.listening.iter().any(|one| matches!(one, Listening::NotYet(..)));
        let next = self
            .clients
            .iter()
            .map(Connection::deadline)
            .chain(missing.then_some(self.next_listen))
            .chain(self.pause_until.filter(|until| *until > Instant::now()))
            .min();
        let Some(next) = next else { return PollTimeout::NONE };
        // Rounded up: a moment too early would be a round for nothing.
        let left = next.saturating_duration_since(Instant::now()).as_millis() + 1;
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn listen_again(&mut self, now: Instant) {
        if now < self.next_listen {
            return;
        }
        self.next_listen = now + LISTEN_AGAIN;
        self.listening.iter_mut().for_each(Listening::try_again);
    }

    fn serve(&mut self, now: Instant, ready: &[bool]) {
        let mut answers = Answers { current: &self.current };
        for (client, ready) in self.clients.iter_mut().zip(ready) {
            if *ready || now >= client.deadline() {
                client.go_on(now, &mut answers);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for index in 0..self.listening.len() {
            for _ in 0..MOST_NEW {
                let Listening::Here(listener) = &self.listening[index] else { break };
                match accept(listener) {
                    Ok(socket) => self.welcome(socket, now),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_of_that_client(&error) => {}
                    Err(error) => {
                        if now >= self.next_warning {
                            log::warn!("the agent can't take a client for its endpoints: {error}");
                            self.next_warning = now + WARN_AGAIN;
                        }
                        // Whoever has waited longest makes room.
                        if !self.clients.is_empty() {
                            self.clients.remove(0);
                        }
                        self.pause_until = Some(now + PAUSE);
                        return;
                    }
                }
            }
        }
    }

    /// Most clients have sent their request by now, and are served at once.
    fn welcome(&mut self, socket: TcpStream, now: Instant) {
        let mut client = Connection::new(socket, now);
        client.go_on(now, &mut Answers { current: &self.current });
        self.clients.retain(|client| client.waits() != Waits::Over);
        if self.clients.len() >= MOST_CLIENTS {
            // Not the new one: who keeps connections open would keep everybody else out. A client that means it is served within
            // milliseconds, and so is not among the oldest.
            self.clients.remove(0);
        }
        self.clients.push(client);
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (socket, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// It went away before it was taken, or its network reported an error (accept(2), "Error handling").
fn is_of_that_client(error: &io::Error) -> bool {
    use nix::libc;
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

struct Answers<'a> {
    current: &'a Mutex<Arc<Snapshot>>,
}

impl Serve for Answers<'_> {
    fn answer(&mut self, head: Head) -> Option<Vec<u8>> {
        if head == Head::Part {
            return None;
        }
        let snapshot = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner));
        let response = routes::answer(head, &snapshot, Instant::now())?;
        Some(response.into_bytes(SystemTime::now()))
    }

    fn too_late(&mut self) -> Vec<u8> {
        routes::too_late().into_bytes(SystemTime::now())
    }

    fn cut_off(&mut self) -> Vec<u8> {
        routes::cut_off().into_bytes(SystemTime::now())
    }
}
