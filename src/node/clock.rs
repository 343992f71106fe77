//! The kernel's clock discipline: adjtimex(2), read only.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::doctor::survey::Clock;

/// What the kernel says of its clock. Whoever keeps it in step (chrony, ntpd, systemd-timesyncd) tells the kernel.
///
/// # Errors
/// The system's own.
pub(super) fn look() -> Result<Clock, String> {
    // SAFETY: timex is plain integers, for which zeros are valid; with `modes` 0 the call only fills the structure in.
    #[allow(unsafe_code)]
    let (state, seen) = unsafe {
        let mut seen: nix::libc::timex = std::mem::zeroed();
        (nix::libc::adjtimex(&mut seen), seen)
    };
    if state < 0 {
        return Err(format!(
            "the kernel does not tell the state of its clock: {}",
            std::io::Error::last_os_error()
        ));
    }
    let unsynchronised = seen.status & nix::libc::STA_UNSYNC != 0 || state == nix::libc::TIME_ERROR;
    let microseconds = u64::try_from(seen.maxerror).unwrap_or(u64::MAX);
    Ok(Clock { synchronised: !unsynchronised, maximum_error: Duration::from_micros(microseconds) })
}

/// When this kernel started; times asleep count.
pub fn booted_at(now: SystemTime) -> SystemTime {
    let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    now.checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_started_in_the_past() {
        let now = std::time::SystemTime::now();
        assert!(super::booted_at(now) < now);
    }

    #[test]
    fn the_kernel_answers() {
        assert!(super::look().is_ok());
    }
}
