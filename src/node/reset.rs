//! Resetting this machine: the last means of a node that can't give up what another one must have.
//!
//! Nothing is flushed and no disk is waited for, on purpose: what would be waited for is what hangs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::kernel_log;
use super::within::within;

/// For the watchdog to take the order.
const ARM: Duration = Duration::from_secs(1);

/// The devices that reset a machine.
#[derive(Debug, Clone)]
pub struct Reset {
    watchdog: PathBuf,
    sysrq: PathBuf,
    wait: Duration,
}

impl Default for Reset {
    fn default() -> Self {
        Self {
            watchdog: "/dev/watchdog".into(),
            sysrq: "/proc/sysrq-trigger".into(),
            wait: Duration::from_secs(5),
        }
    }
}

impl Reset {
    /// Resets the machine. The watchdog is armed first, and never fed: it works even when the kernel does not act on the second,
    /// an immediate reboot by sysrq (`b`, see sysrq.rst of the kernel's documentation).
    ///
    /// # Errors
    /// What kept both from working. Nothing comes back when it succeeds.
    pub fn now(&self, reason: &str) -> Result<(), String> {
        // The log may be on the disk that hangs: the kernel's own is in memory, and goes to a console.
        let _ = kernel_log::note(&format!("resets this machine: {reason}"));
        let armed = arm_in_time(&self.watchdog);
        let rebooted = trigger(&self.sysrq);
        // A kernel that does it does not come back here.
        thread::sleep(self.wait);
        match (armed, rebooted) {
            (Ok(()), Err(error)) => Err(format!(
                "{} does not take the order ({error}); {} is armed, and resets the machine when its time is over",
                self.sysrq.display(),
                self.watchdog.display()
            )),
            (Err(watchdog), Err(error)) => Err(format!(
                "{} can't be armed ({watchdog}), and {} does not take the order ({error})",
                self.watchdog.display(),
                self.sysrq.display()
            )),
            (_, Ok(())) => {
                Err(format!("{} took the order, and the machine still runs", self.sysrq.display()))
            }
        }
    }
}

/// A driver that waits for a management controller which hangs must not keep the other way from being tried.
fn arm_in_time(device: &Path) -> io::Result<()> {
    let device = device.to_owned();
    // Many drivers stop the clock when the device is closed.
    within(ARM, move || arm(&device).map(std::mem::forget))
        .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Opening it starts its clock (watchdog-api.rst of the kernel's documentation).
fn arm(device: &Path) -> io::Result<File> {
    let mut watchdog = OpenOptions::new().write(true).open(device)?;
    watchdog.write_all(b"\0")?;
    Ok(watchdog)
}

fn trigger(sysrq: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(sysrq)?.write_all(b"b")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_armed_and_sysrq_is_told_to_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let reset = Reset {
            watchdog: directory.path().join("watchdog"),
            sysrq: directory.path().join("sysrq"),
            wait: Duration::ZERO,
        };
        let neither = reset.now("test").unwrap_err();
        assert!(
            neither.contains("can't be armed") && neither.contains("does not take the order"),
            "{neither}"
        );
        std::fs::write(&reset.watchdog, "").unwrap();
        assert!(reset.now("test").unwrap_err().contains("is armed"));
        std::fs::write(&reset.sysrq, "").unwrap();
        assert!(reset.now("test").unwrap_err().contains("still runs"));
        assert_eq!(std::fs::read(&reset.sysrq).unwrap(), b"b");
        assert_eq!(std::fs::read(&reset.watchdog).unwrap(), b"\0");
    }
}
