//! Standard error for a program that was started with none: keepalived gives its scripts /dev/null.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::thread;

use nix::sys::stat::makedev;

const JOURNAL: &str = "/run/systemd/journal/stdout";
const SYSLOG: &str = "/dev/log";
/// Facility daemon, priority notice (RFC 5424, 6.2.1).
const PRIORITY: &str = "<29>";

/// Sends standard error to the system's log from now on, one entry a line, if it goes to /dev/null now.
///
/// # Errors
/// When neither the journal nor syslog takes it; nothing has changed then.
pub fn instead_of_null() -> io::Result<()> {
    if !is_null(Path::new("/proc/self/fd/2")) {
        return Ok(());
    }
    match journal() {
        Ok(stream) => Ok(nix::unistd::dup2_stderr(stream)?),
        Err(_) => to_syslog(),
    }
}

/// `mem` device 3 (Documentation/admin-guide/devices.txt of the kernel).
fn is_null(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.rdev() == makedev(1, 3))
}

/// The journal's stream for one program: a header of seven lines, then a line for each entry (sd_journal_stream_fd(3)).
fn journal() -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(JOURNAL)?;
    stream.write_all(b"standin\n\n5\n1\n0\n0\n0\n")?;
    Ok(stream)
}

/// Syslog takes datagrams, and several writes make one line.
fn to_syslog() -> io::Result<()> {
    let log = UnixDatagram::unbound()?;
    log.connect(SYSLOG)?;
    let (reader, writer) = io::pipe()?;
    nix::unistd::dup2_stderr(writer)?;
    let id = std::process::id();
    thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            // A log that is full or gone must not hold up a takeover.
            let _ = log.send(format!("{PRIORITY}standin[{id}]: {line}").as_bytes());
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_device_is_told_from_others() {
        assert!(is_null(Path::new("/dev/null")));
        assert!(!is_null(Path::new("/dev/zero")));
        assert!(!is_null(Path::new("/proc/self/cmdline")));
        assert!(!is_null(Path::new("/no/such/file")));
    }
}
