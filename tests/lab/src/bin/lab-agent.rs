//! Runs the lab's commands inside a node.
//!
//! It is there instead of ssh because a fork costs 25 ms in a node: a command over an open ssh connection takes 120 ms,
//! one over this takes a quarter of that. `tests/lab/build-image` compiles this file by itself, with nothing but std.

#[path = "../protocol.rs"]
mod protocol;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::{COMMAND, ERRORS, EXIT, INPUT, LARGEST, OUTPUT, PORT, read_frame, write_frame};

/// How long output may still come after the end of the command: a daemon that it left behind may hold the pipe for ever.
const GRACE: Duration = Duration::from_millis(200);

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    for connection in listener.incoming() {
        thread::spawn(move || {
            if let Err(error) = connection.and_then(serve) {
                eprintln!("lab-agent: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    // Who hangs up at once only wanted to know whether the node is up.
    let Ok((kind, content)) = read_frame(&mut connection) else { return Ok(()) };
    if kind != COMMAND {
        return Err(std::io::Error::other("the first frame was not a command"));
    }
    let command = String::from_utf8_lossy(&content).into_owned();
    let mut child = match Command::new("/bin/sh")
        .args(["-c", &command])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            write_frame(&mut connection, ERRORS, error.to_string().as_bytes())?;
            return write_frame(&mut connection, EXIT, &126_i32.to_be_bytes());
        }
    };

    let group = child.id();
    let running = Arc::new(Mutex::new(true));
    let answers = Arc::new(Mutex::new(connection.try_clone()?));
    let (ended, ends) = channel();
    if let Some(pipe) = child.stdout.take() {
        forward(pipe, OUTPUT, answers.clone(), ended.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        forward(pipe, ERRORS, answers.clone(), ended);
    }
    if let Some(pipe) = child.stdin.take() {
        let running = running.clone();
        let requests = connection.try_clone()?;
        thread::spawn(move || {
            feed(requests, pipe);
            // The lab hung up: nobody waits for this command any more.
            if *running.lock().unwrap_or_else(PoisonError::into_inner) {
                let _ = Command::new("/bin/kill").args(["-KILL", "--", &format!("-{group}")]).status();
            }
        });
    }

    let status = child.wait()?;
    *running.lock().unwrap_or_else(PoisonError::into_inner) = false;
    let last = Instant::now() + GRACE;
    for _ in [OUTPUT, ERRORS] {
        let _ = ends.recv_timeout(last.saturating_duration_since(Instant::now()));
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    write_frame(&mut *answers, EXIT, &code.to_be_bytes())?;
    connection.shutdown(std::net::Shutdown::Both)
}

/// Passes a pipe on until its end, and goes on emptying it when the lab is gone, so that a daemon does not block on it.
fn forward(
    mut pipe: impl Read + Send + 'static,
    kind: u8,
    answers: Arc<Mutex<TcpStream>>,
    ended: Sender<()>,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; LARGEST];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = write_frame(&mut *answers, kind, &buffer[..length]);
        }
        let _ = ended.send(());
    });
}

/// Gives the command its input, and returns when the connection has ended.
fn feed(mut requests: TcpStream, pipe: impl Write) {
    let mut pipe = Some(pipe);
    while let Ok((kind, content)) = read_frame(&mut requests) {
        if kind != INPUT || content.is_empty() {
            pipe = None;
        } else if let Some(open) = &mut pipe
            && open.write_all(&content).is_err()
        {
            pipe = None;
        }
    }
}
