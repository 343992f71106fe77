//! Running a command inside a node: a connection to the agent there, and a deadline that really ends both.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::network::{NetworkNamespace, service_address};
use crate::protocol::{COMMAND, ERRORS, EXIT, INPUT, LARGEST, OUTPUT, PORT, read_frame, write_frame};

/// How long a node may take to answer the connection at all.
const CONNECT: Duration = Duration::from_secs(2);

/// What a command did.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// The exit code; 128 and the number when a signal ended the command.
    pub code: i32,
    /// What it wrote to standard output, byte by byte.
    pub bytes: Vec<u8>,
    /// The same as text.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From the connection to the exit code.
    pub took: Duration,
}

impl Output {
    /// Whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` ended with {} after {:.2?}", self.command, self.code, self.took)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(formatter, "\n{name}: {}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// The way into one node.
#[derive(Debug)]
pub(crate) struct Remote {
    network: Arc<NetworkNamespace>,
    node: u8,
    /// The connections of the commands that run now: nothing arrives from a node without power, not even an end.
    open: Mutex<HashMap<u64, TcpStream>>,
    next: AtomicU64,
}

impl Remote {
    pub(crate) fn new(network: Arc<NetworkNamespace>, node: u8) -> Self {
        Self { network, node, open: Mutex::default(), next: AtomicU64::new(0) }
    }

    fn connect(&self, timeout: Duration) -> Result<TcpStream> {
        self.network.connect(SocketAddr::from((service_address(self.node), PORT)), timeout)
    }

    /// Whether the node's agent answers.
    pub(crate) fn answers(&self, timeout: Duration) -> bool {
        self.connect(timeout).is_ok()
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every command that runs now fail.
    pub(crate) fn hang_up(&self) {
        for stream in self.connections().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Runs a command, with this standard input.
    pub(crate) fn execute(
        &self,
        command: &str,
        input: impl Read + Send,
        deadline: Duration,
    ) -> Result<Output> {
        let node = self.node;
        let start = Instant::now();
        let mut stream = self
            .connect(CONNECT.min(deadline))
            .with_context(|| format!("node{node} does not answer, so `{command}` was not run there"))?;
        stream.set_write_timeout(Some(deadline))?;
        let sending = stream.try_clone()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections().insert(number, stream.try_clone()?);

        let mut output = Output { command: command.to_owned(), ..Output::default() };
        let mut errors = Vec::new();
        let received = thread::scope(|scope| {
            let sender = scope.spawn(move || send(sending, command, input));
            let code = receive(&mut stream, &mut output.bytes, &mut errors, start + deadline);
            // Ends a sender that still waits for room, and the command in the node if it has not ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
            let sent =
                sender.join().unwrap_or_else(|_| Err(anyhow!("the thread that sends the input panicked")));
            code.and_then(|code| sent.map(|()| code))
        });
        self.connections().remove(&number);

        output.took = start.elapsed();
        output.stdout = String::from_utf8_lossy(&output.bytes).into_owned();
        output.stderr = String::from_utf8_lossy(&errors).into_owned();
        output.code = received.with_context(|| {
            format!(
                "`{command}` on node{node} did not come to its end in {:.1?}\nstdout so far: {}\nstderr so far: {}",
                output.took,
                output.stdout.trim_end(),
                output.stderr.trim_end()
            )
        })?;
        Ok(output)
    }
}

fn send(mut stream: TcpStream, command: &str, mut input: impl Read) -> Result<()> {
    write_frame(&mut stream, COMMAND, command.as_bytes()).context("sending the command")?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = input.read(&mut buffer).context("reading the command's input")?;
        match write_frame(&mut stream, INPUT, &buffer[..length]) {
            Ok(()) => {}
            // A command may end without having read all of its input, or none.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("sending the command's input"),
        }
        if length == 0 {
            return Ok(());
        }
    }
}

fn receive(stream: &mut TcpStream, bytes: &mut Vec<u8>, errors: &mut Vec<u8>, end: Instant) -> Result<i32> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the deadline has passed");
        }
        stream.set_read_timeout(Some(left))?;
        let (kind, content) = match read_frame(stream) {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the deadline has passed")
            }
            Err(error) => return Err(error).context("the connection to the node broke"),
        };
        match kind {
            OUTPUT => bytes.extend(content),
            ERRORS => errors.extend(content),
            EXIT => {
                let code = content.try_into().map_err(|_| anyhow!("the agent sent a broken exit code"))?;
                return Ok(i32::from_be_bytes(code));
            }
            other => bail!("the agent sent a frame of the unknown kind {other}"),
        }
    }
}
