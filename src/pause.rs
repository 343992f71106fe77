//! A pause: the agents of both nodes look on, and do nothing by themselves. What a person types goes on.
//!
//! `/var/lib/standin/NAME.pause` holds it, as JSON, written in one step. It ends by itself:
//! - In the boot in which it began, by the time since the boot, so that a clock that jumps neither ends nor prolongs it.
//! - After a reboot by the clock, which is all that is left. A clock that is behind the pause's beginning (a dead battery)
//!   leaves it in force until the clock is right.
//!
//! A file that is there and can't be understood counts as a pause that lasts until a person mends or resumes it: somebody
//! wanted the agent to keep still, and an agent that acts against that is worse than one that waits. A file that can't be read
//! at all (a dead disk) is no pause: an active node whose disks are dead must still be able to give up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::journal;

/// Nobody writes more; a larger file is something else.
const LARGEST: u64 = 16 * 1024;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// When it ends by the clock (RFC 3339, UTC).
    pub until: String,
    /// When it began by the clock (RFC 3339, UTC).
    pub since: String,
    /// The boot in which it began, as the kernel names it.
    pub boot: String,
    /// When it ends, in seconds since that boot.
    pub until_uptime: f64,
    /// Why, as it was typed.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who: user and host.
    pub by: String,
}

/// The moment at which a pause is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// By the clock.
    pub clock: SystemTime,
    /// The boot, as the kernel names it.
    pub boot: String,
    /// Since the boot; times asleep count.
    pub uptime: Duration,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self {
            clock: SystemTime::now(),
            boot: journal::boot_id(),
            uptime: clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from),
        }
    }
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Active {
    /// What is left of it; none: until a person ends it.
    #[serde(skip)]
    pub left: Option<Duration>,
    /// Its end (RFC 3339, UTC), by the clock as it is now.
    pub until: Option<String>,
    /// Why, as it was typed; or what is wrong with the file.
    pub reason: Option<String>,
    /// Who: user and host.
    pub by: Option<String>,
}

impl Active {
    /// One sentence for people, without a capital and without a full stop.
    pub fn sentence(&self) -> String {
        let until = self.until.as_ref().map_or_else(|| "somebody resumes it".to_owned(), Clone::clone);
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("the agents are paused until {until}{by}{reason}")
    }
}

impl Pause {
    /// A pause that begins now.
    pub fn beginning(now: &Moment, length: Duration, reason: Option<String>, by: String) -> Self {
        let rfc3339 = |time| humantime::format_rfc3339_seconds(time).to_string();
        Self {
            until: rfc3339(now.clock + length),
            since: rfc3339(now.clock),
            boot: now.boot.clone(),
            until_uptime: (now.uptime + length).as_secs_f64(),
            reason,
            by,
        }
    }

    /// The pause, as long as it is in force.
    pub fn active(&self, now: &Moment) -> Option<Active> {
        let left = if !self.boot.is_empty() && self.boot == now.boot {
            Duration::try_from_secs_f64(self.until_uptime - now.uptime.as_secs_f64())
                .unwrap_or(Duration::ZERO)
        } else {
            match humantime::parse_rfc3339(&self.until) {
                Ok(until) => until.duration_since(now.clock).unwrap_or(Duration::ZERO),
                Err(error) => return Some(broken(format!("{:?} is no time: {error}", self.until))),
            }
        };
        (!left.is_zero()).then(|| Active {
            left: Some(left),
            until: now.clock.checked_add(left).map(|end| humantime::format_rfc3339_seconds(end).to_string()),
            reason: self.reason.clone(),
            by: Some(self.by.clone()),
        })
    }
}

fn broken(cause: String) -> Active {
    let reason = Some(format!("its file is not understood ({cause}); standin resume removes it"));
    Active { left: None, until: None, reason, by: None }
}

/// The pause's file: `STANDIN_STATE_DIR` (default `/var/lib/standin`) `/NAME.pause`.
pub fn path(cluster: &str) -> PathBuf {
    journal::state_directory().join(format!("{cluster}.pause"))
}

/// The pause of this node that is in force.
///
/// # Errors
/// The file is there and can't be read: see the module for what that means.
pub fn active(file: &Path, now: &Moment) -> io::Result<Option<Active>> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(judge(&bytes, now))
}

/// The pause that these bytes hold, as far as it is in force.
pub fn judge(bytes: &[u8], now: &Moment) -> Option<Active> {
    if bytes.len() as u64 > LARGEST {
        return Some(broken("it is too large".to_owned()));
    }
    match serde_json::from_slice::<Pause>(bytes) {
        Ok(pause) => pause.active(now),
        Err(error) => Some(broken(error.to_string())),
    }
}

/// Writes it in one step, and through to the disk: a power cut leaves either the old one or the new one.
///
/// # Errors
/// As the file system gives them.
pub fn write(file: &Path, pause: &Pause) -> io::Result<()> {
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(directory)?;
    let part = file.with_extension("pause.part");
    let mut bytes = serde_json::to_vec(pause).map_err(io::Error::other)?;
    bytes.push(b'\n');
    let mut opened = OpenOptions::new().create(true).truncate(true).write(true).mode(0o644).open(&part)?;
    opened.write_all(&bytes)?;
    opened.sync_all()?;
    fs::rename(&part, file)?;
    File::open(directory)?.sync_all()
}

/// Removes it, and whether there was one.
///
/// # Errors
/// As the file system gives them.
pub fn remove(file: &Path) -> io::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()?;
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(clock: u64, boot: &str, uptime: u64) -> Moment {
        Moment {
            clock: SystemTime::UNIX_EPOCH + Duration::from_secs(clock),
            boot: boot.to_owned(),
            uptime: Duration::from_secs(uptime),
        }
    }

    fn pause() -> Pause {
        Pause::beginning(
            &at(1_000_000, "a", 500),
            HOUR,
            Some("new cables".to_owned()),
            "root@node1".to_owned(),
        )
    }

    #[test]
    fn it_ends_by_itself() {
        let pause = pause();
        assert_eq!(pause.active(&at(1_000_000, "a", 500)).unwrap().left, Some(HOUR));
        assert!(pause.active(&at(1_003_599, "a", 4099)).is_some());
        assert_eq!(pause.active(&at(1_003_600, "a", 4100)), None);
    }

    #[test]
    fn a_clock_that_jumps_changes_nothing_until_a_reboot() {
        let pause = pause();
        assert_eq!(
            pause.active(&at(9_000_000, "a", 600)).unwrap().left,
            Some(HOUR - Duration::from_secs(100))
        );
        assert_eq!(pause.active(&at(1, "a", 4100)), None, "its hour is over");
        // Then the clock is all that is left.
        assert_eq!(pause.active(&at(1_000_060, "b", 9)).unwrap().left, Some(HOUR - Duration::from_secs(60)));
        assert_eq!(pause.active(&at(1_003_600, "b", 9)), None);
        assert!(pause.active(&at(5, "b", 9)).is_some(), "a dead battery prolongs it");
    }

    #[test]
    fn what_is_not_understood_is_a_pause_without_an_end() {
        let now = at(1_000_000, "a", 500);
        for bytes in [&b""[..], b"{", b"null", b"{\"until\":3}", &[b'x'; 20_000]] {
            let active = judge(bytes, &now).unwrap();
            assert_eq!(active.left, None);
            assert!(active.sentence().contains("standin resume"), "{}", active.sentence());
        }
        let no_time = Pause { until: "tomorrow".to_owned(), boot: String::new(), ..pause() };
        assert_eq!(no_time.active(&now).unwrap().left, None);
    }

    #[test]
    fn it_is_written_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/orders.pause");
        let now = Moment::now();
        assert_eq!(active(&file, &now).unwrap(), None);
        assert!(!remove(&file).unwrap());
        let pause = Pause::beginning(&now, HOUR, None, "root@node1".to_owned());
        write(&file, &pause).unwrap();
        write(&file, &pause).unwrap();
        let sentence = active(&file, &now).unwrap().unwrap().sentence();
        assert!(
            sentence.starts_with("the agents are paused until 2") && sentence.ends_with("by root@node1"),
            "{sentence}"
        );
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        assert!(remove(&file).unwrap());
        assert_eq!(active(&file, &now).unwrap(), None);
        // A directory in its place can be opened and not be read.
        fs::create_dir(&file).unwrap();
        assert!(active(&file, &now).is_err());
    }
}
