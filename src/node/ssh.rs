//! The peer's shell, over ssh and without a password: the only way to make the peer do something.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::command::{self, Finished, Piped};
use crate::config::Config;
use crate::plan::shell_words;

/// What the shell of the peer's root searches; that of a session without a terminal may be shorter.
const PEER_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the peer's shell says as soon as it can be told to begin.
const READY: &str = "ready";
/// What it is told then. Anything else, the end of the connection above all, ends it without a deed.
const GO: &str = "go";

/// The options of every connection. It never asks for anything, knows the host's key beforehand, and ends by itself when the other
/// side dies, which TCP notices after minutes.
const OPTIONS: [&str; 5] = [
    "BatchMode=yes",
    "ConnectTimeout=3",
    "ServerAliveInterval=2",
    "ServerAliveCountMax=3",
    "StrictHostKeyChecking=yes",
];

/// The command line that runs a shell command at an address.
pub fn command_line(address: Ipv4Addr, remote: &str) -> Vec<String> {
    let mut words = vec!["ssh".to_owned()];
    words.extend(OPTIONS.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
    words.extend(["--".to_owned(), address.to_string(), format!("{PEER_PATH} {remote}")]);
    words
}

/// Runs `standin ARGUMENTS` on the peer for the same configuration, at its replication address first.
///
/// # Errors
/// In one sentence why it could not be asked at any address; a command that ended with any code was asked.
pub fn ask(config: &Config, arguments: &[&str], limit: Duration) -> Result<(Ipv4Addr, Finished), String> {
    let deadline = Instant::now() + limit;
    let remote = shell_words(&standin(config, arguments));
    let mut addresses = vec![config.peer.replication_address, config.peer.address];
    addresses.dedup();
    let mut causes = Vec::new();
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        match command::run(&command_line(address, &remote), left) {
            // ssh's own failures, and a shell that finds no standin.
            Ok(finished) if matches!(finished.code, Some(255 | 126 | 127) | None) => {
                causes.push(finished.describe())
            }
            Ok(finished) => return Ok((address, finished)),
            Err(error) => causes.push(error.to_string()),
        }
    }
    Err(causes.join("; "))
}

/// `standin --config FILE ARGUMENTS`, as it is typed on either node.
pub fn standin(config: &Config, arguments: &[&str]) -> Vec<String> {
    let file = fs::canonicalize(&config.file).unwrap_or_else(|_| config.file.clone());
    let mut words = vec!["standin".to_owned(), "--config".to_owned(), file.display().to_string()];
    words.extend(arguments.iter().map(|word| (*word).to_owned()));
    words
}

/// A command that waits on the peer for the word to begin, so that not even the connection costs time when it is to begin.
#[derive(Debug)]
pub struct Line {
    process: Piped,
    lines: Receiver<String>,
}

impl Line {
    /// Opens it and waits until the peer's shell is ready.
    ///
    /// # Errors
    /// In one sentence why it is not.
    pub fn open(address: Ipv4Addr, remote: &[String], limit: Duration) -> Result<Self, String> {
        let waits = format!(
            "sh -c {}",
            shell_words(&[format!(
                "echo {READY}; read word; test \"$word\" = {GO} && exec {}",
                shell_words(remote)
            )])
        );
        let process = command::start_piped_as("ssh", &command_line(address, &waits))
            .map_err(|error| error.to_string())?;
        let (sender, lines) = mpsc::channel();
        let stdout = process.stdout.try_clone().map_err(|error| error.to_string())?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let line = Self { process, lines };
        match line.lines.recv_timeout(limit) {
            Ok(word) if word == READY => Ok(line),
            Ok(other) => Err(format!("the shell of {address} prints {other:?} before anything else")),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("{address} did not answer within {} s", limit.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(format!("ssh to {address} ended at once")),
        }
    }

    /// Gives the word to begin.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn go(&mut self) -> Result<(), String> {
        writeln!(self.process.stdin, "{GO}")
            .and_then(|()| self.process.stdin.flush())
            .map_err(|error| error.to_string())
    }

    /// The next line that it printed, if it has printed one by now.
    pub fn said(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Its exit code once it has ended.
    pub fn ended(&self) -> Option<Option<i32>> {
        self.process.handle.try_wait().ok().flatten().map(|output| output.status.code())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ssh_asks_nobody_trusts_no_new_host_and_outlives_no_dead_one() {
        let words = command_line(Ipv4Addr::new(10, 77, 1, 2), "standin plan");
        assert_eq!(words.last().unwrap(), &format!("{PEER_PATH} standin plan"));
        let text = words.join(" ");
        assert!(text.contains("BatchMode=yes") && text.contains("StrictHostKeyChecking=yes"), "{text}");
        assert!(text.contains("-o ServerAliveInterval=2 -o ServerAliveCountMax=3 "), "{text}");
        assert!(text.contains(" -- 10.77.1.2 "), "{text}");
    }
}
