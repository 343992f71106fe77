//! Heartbeat's log: what standin says on standard error goes there, too, in the form of its other lines.
//!
//! Heartbeat hands its scripts' standard error to its debug file, which is /dev/null when ha.cf names none, and tells them in
//! the environment where its log is (`HA_LOGFILE`, `HA_LOGFACILITY`; seen on 3.0.6).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long the last lines may take to be written when the log's disk does not answer.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Where syslogd or journald listens.
const SYSLOG: &str = "/dev/log";
/// `info` of syslog(3).
const INFO: u8 = 6;

/// While it lives, standard error goes through it.
pub(super) struct Log {
    through: Option<(OwnedFd, Receiver<()>)>,
}

impl Log {
    /// Lines of this process go to Heartbeat's log from here on, under this name. Called by hand, and when it can't be done,
    /// they go to standard error alone.
    pub(super) fn open(name: &str) -> Self {
        let started = Destinations::of_environment(name).map(start).transpose();
        Self {
            through: started.unwrap_or_else(|error| {
                log::warn!("Heartbeat's log is not written: {error}");
                None
            }),
        }
    }
}

fn start(mut destinations: Destinations) -> io::Result<(OwnedFd, Receiver<()>)> {
    let before = io::stderr().as_fd().try_clone_to_owned()?;
    let also = File::from(before.try_clone()?);
    // Where both are the same file, each line would be there twice.
    if !destinations.file.as_ref().is_some_and(|file| same_file(file, &also)) {
        destinations.stderr = Some(also);
    }
    let (reader, writer) = io::pipe()?;
    nix::unistd::dup2_stderr(&writer)?;
    let (sender, written) = mpsc::channel();
    thread::spawn(move || {
        destinations.copy(reader);
        // Nobody waits any more when the disk took too long.
        let _ = sender.send(());
    });
    Ok((before, written))
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some((before, written)) = self.through.take()
            // With this the last writer of the pipe is gone.
            && nix::unistd::dup2_stderr(before).is_ok()
        {
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

fn same_file(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Where a line goes.
struct Destinations {
    name: String,
    file: Option<File>,
    stderr: Option<File>,
    syslog: Option<(UnixDatagram, u8)>,
}

impl Destinations {
    fn of_environment(name: &str) -> Option<Self> {
        let set = |variable: &str| {
            std::env::var(variable).ok().filter(|value| !value.is_empty() && value != "none")
        };
        let (file, facility) = (set("HA_LOGFILE"), set("HA_LOGFACILITY"));
        // Where Heartbeat writes through its own logging daemon, no file is named.
        let facility = facility.or_else(|| set("HA_LOGD").filter(|logd| logd == "yes"));
        if file.is_none() && facility.is_none() {
            return None;
        }
        let open = |path: String| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .inspect_err(|error| log::warn!("Heartbeat's log {path} can't be written: {error}"))
                .ok()
        };
        Some(Self {
            name: name.to_owned(),
            file: file.and_then(open),
            stderr: None,
            syslog: facility.and_then(|facility| Some((syslog().ok()?, number(&facility)))),
        })
    }

    fn copy(mut self, reader: PipeReader) {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let now = jiff::Zoned::now().strftime("%Y/%m/%d_%T").to_string();
            // A log that can't be written keeps no takeover from going on.
            if let Some(file) = &mut self.file {
                let _ = file.write_all(in_log(&now, &self.name, &line).as_bytes());
            }
            if let Some(stderr) = &mut self.stderr {
                let _ = writeln!(stderr, "{line}");
            }
            if let Some((socket, facility)) = &self.syslog {
                let text = format!("<{}>{}[{}]: {line}", facility * 8 + INFO, self.name, std::process::id());
                let _ = socket.send(text.as_bytes());
            }
        }
    }
}

/// As ResourceManager's own lines are.
fn in_log(now: &str, name: &str, line: &str) -> String {
    let level = if line.starts_with("ERROR") { "" } else { "info: " };
    format!("{now}\t{name}[{}]:\t{level}{line}\n", std::process::id())
}

fn syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The number of a facility (syslog.h); one that is not known, `daemon`.
fn number(facility: &str) -> u8 {
    match facility {
        "user" => 1,
        _ => facility
            .strip_prefix("local")
            .and_then(|digit| digit.parse::<u8>().ok())
            .filter(|digit| *digit < 8)
            .map_or(3, |digit| 16 + digit),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_resource_managers() {
        let line = in_log("2026/11/20_12:01:56", "standin(r0)", "  mount 0.1 s  done");
        let pid = std::process::id();
        assert_eq!(line, format!("2026/11/20_12:01:56\tstandin(r0)[{pid}]:\tinfo:   mount 0.1 s  done\n"));
        assert!(in_log("", "", "ERROR: r0").ends_with(":\tERROR: r0\n"), "a level is not said twice");
    }

    #[test]
    fn facilities_have_their_numbers() {
        assert_eq!([number("daemon"), number("local7"), number("user"), number("local9")], [3, 23, 1, 3]);
    }

    #[test]
    fn every_line_goes_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ha-log");
        let file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let to =
            Destinations { name: "standin(r0)".to_owned(), file: Some(file), stderr: None, syslog: None };
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"one\ntwo\nthe last").unwrap();
        drop(writer);
        to.copy(reader);
        let text = std::fs::read_to_string(path).unwrap();
        let said: Vec<&str> = text.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
        assert_eq!(said, ["info: one", "info: two", "info: the last"]);
    }
}
