//! The reader of keepalived's notify FIFO. The newest word counts; what it led to goes on while the next is read.
//!
//! keepalived starts one with each of its VRRP processes, and never again when it ends. When that process is killed, or stops,
//! the kernel sends SIGTERM here and closes the other end: then there is a last look.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Attendant, ENDED, LOOK_AGAIN, Next, SETTLE};
use crate::failure::Outcome;
use crate::foreign::vrrp_notification::{VrrpState, state_in_line};
use crate::frontends::say::say_error;

/// Milliseconds while there is nothing to look at again: SIGTERM may come just before the wait.
const IDLE: u16 = 500;
/// The same while there is.
const BUSY: u16 = 100;
/// keepalived sends SIGTERM before it takes the addresses away.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Reads until keepalived is gone.
pub(super) fn attend(mut attendant: Attendant, path: &Path) -> Outcome {
    let terminated = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&terminated)) {
            say_error(format_args!("no handler for signal {signal}: {error}"));
            return Outcome::Failed;
        }
    }
    // Without waiting for a writer: keepalived may have ended already.
    let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).and_then(|file| {
        let is_fifo = file.metadata()?.file_type().is_fifo();
        if is_fifo { Ok(file) } else { Err(io::Error::other("it is no FIFO")) }
    });
    let mut fifo = match opened {
        Ok(file) => Lines { file, partial: Vec::new() },
        Err(error) => {
            say_error(format_args!(
                "the FIFO {} can't be opened: {error}\n  why it matters: this node does not hear what keepalived decides\n  \
                 what to do next: let notify_fifo name it, and restart keepalived",
                path.display()
            ));
            return Outcome::Failed;
        }
    };
    let mut again = false;
    let mut told_to_end: Option<Instant> = None;
    loop {
        let busy = again || attendant.works() || told_to_end.is_some();
        let heard = fifo.hear(PollTimeout::from(if busy { BUSY } else { IDLE })).unwrap_or_else(|error| {
            say_error(format_args!("{} can't be read: {error}", path.display()));
            Heard::End
        });
        if terminated.load(Ordering::Relaxed) {
            told_to_end.get_or_insert_with(Instant::now);
        }
        match heard {
            Heard::Word(word) => {
                attendant.hear(word);
                again = true;
            }
            Heard::Nothing => {}
            Heard::End => break,
        }
        again |= attendant.release_is_due();
        if again {
            again = attendant.attend() == Next::Again;
        }
        if told_to_end.is_some_and(|since| since.elapsed() >= LAST_WORDS) {
            break;
        }
    }
    last_look(&mut attendant);
    attendant.last_outcome
}

/// keepalived's VRRP process has ended or is about to. What is begun here goes on in a process of its own.
fn last_look(attendant: &mut Attendant) {
    attendant.hear(VrrpState::NotSaid);
    let begun = Instant::now();
    while attendant.attend() == Next::Again && begun.elapsed() < SETTLE + LOOK_AGAIN * 3 {
        std::thread::sleep(LOOK_AGAIN);
    }
    attendant.wait_until_apart(Instant::now() + ENDED);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Word(VrrpState),
    /// The last writer is gone.
    End,
}

struct Lines {
    file: File,
    partial: Vec<u8>,
}

impl Lines {
    /// The newest of the words that have come.
    fn hear(&mut self, timeout: PollTimeout) -> std::io::Result<Heard> {
        let mut waiting = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Heard::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut newest = None;
        let mut chunk = [0u8; 4096];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => return Ok(newest.map_or(Heard::End, Heard::Word)),
                Ok(count) => newest = self.words(&chunk[..count]).or(newest),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(newest.map_or(Heard::Nothing, Heard::Word));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn words(&mut self, bytes: &[u8]) -> Option<VrrpState> {
        self.partial.extend_from_slice(bytes);
        let end = self.partial.iter().rposition(|byte| *byte == b'\n')? + 1;
        let lines: Vec<u8> = self.partial.drain(..end).collect();
        String::from_utf8_lossy(&lines).lines().filter_map(state_in_line).next_back()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn fifo() -> (tempfile::TempDir, Lines, File) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&path).unwrap();
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        (directory, Lines { file, partial: Vec::new() }, writer)
    }

    fn heard(lines: &mut Lines) -> Heard {
        lines.hear(PollTimeout::from(50u8)).unwrap()
    }

    #[test]
    fn the_newest_word_wins_and_the_end_is_told() {
        let (_directory, mut lines, mut writer) = fifo();
        assert_eq!(heard(&mut lines), Heard::Nothing);
        writer.write_all(b"INSTANCE \"db\" MASTER 100\nINSTANCE \"db\" BACKUP 100\n").unwrap();
        assert_eq!(heard(&mut lines), Heard::Word(VrrpState::Backup));
        writer.write_all(b"INSTANCE \"db\" MASTER 100\nINSTANCE \"db\" MASTER_PRIORITY 150\n").unwrap();
        assert_eq!(heard(&mut lines), Heard::Word(VrrpState::Master), "a priority is no state");
        writer.write_all(b"INSTANCE \"db\" FAU").unwrap();
        assert_eq!(heard(&mut lines), Heard::Nothing);
        writer.write_all(b"LT 100\n").unwrap();
        assert_eq!(heard(&mut lines), Heard::Word(VrrpState::Fault));
        writer.write_all(b"INSTANCE \"db\" STOP 100\n").unwrap();
        drop(writer);
        assert_eq!(heard(&mut lines), Heard::Word(VrrpState::Stop), "what was said before the end counts");
        assert_eq!(heard(&mut lines), Heard::End);
    }
}
