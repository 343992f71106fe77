//! How this side's data came apart from the peer's: the kernel's log, the generation identifiers, the bitmap.

use std::path::Path;
use std::time::{Duration, Instant};

use super::resync::out_of_sync_kib;
use super::{look, minor_of};
use crate::decide::Divergence;
use crate::node::command;
use crate::observation::{Connection, Fact};

/// What the kernel says when it gives a connection up (`drbd_sync_handshake` in `drbd_receiver.c`).
const SPLIT_BRAIN: &str = "Split-Brain detected but unresolved";

/// One look, within the limit.
pub fn divergence(resource: &str, device: &Path, limit: Duration) -> Divergence {
    let deadline = Instant::now() + limit;
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(500));
    let state = look(resource, device, left());
    let is_up = state.as_ref().is_ok_and(|state| state.connection != Connection::Unconfigured);
    let minor = minor_of(device).ok().flatten();
    Divergence {
        kernel_found_split_brain: kernel_log(left())
            .map(|log| found_split_brain(&log, resource, minor))
            .into(),
        generations: generations(resource, left()).into(),
        out_of_sync_kib: if is_up {
            out_of_sync_kib(resource, device, left()).into()
        } else {
            Fact::Unknown(format!("DRBD resource {resource} is down"))
        },
        role: state.map(|state| state.role).into(),
    }
}

fn kernel_log(limit: Duration) -> Result<String, String> {
    run(&["dmesg"], limit)
}

fn generations(resource: &str, limit: Duration) -> Result<Vec<u64>, String> {
    let text = run(&["drbdadm", "get-gi", resource], limit)?;
    parse_generations(&text).ok_or_else(|| format!("drbdadm get-gi {resource} printed {:?}", text.trim()))
}

fn run(words: &[&str], limit: Duration) -> Result<String, String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let finished = command::run(&words, limit).map_err(|error| error.to_string())?;
    if finished.succeeded() { Ok(finished.stdout) } else { Err(finished.describe()) }
}

/// "CURRENT:BITMAP:HISTORY:HISTORY:flags…", the identifiers with 16 hexadecimal digits, the flags with one.
pub(crate) fn parse_generations(text: &str) -> Option<Vec<u64>> {
    let line = text.lines().find(|line| line.contains(':'))?;
    let fields = line.trim().split(':').take_while(|field| field.len() == 16);
    let identifiers: Option<Vec<u64>> = fields.map(|field| u64::from_str_radix(field, 16).ok()).collect();
    // A slot that is not used is zero, and so is the current identifier of a disk without data.
    let mut identifiers = identifiers?;
    let current = *identifiers.first()?;
    identifiers.retain(|identifier| *identifier != 0);
    (current != 0).then_some(identifiers)
}

/// Whether the last thing that the log tells of a connection of this resource is that it broke on a split brain. Lines of 8.4
/// name the device (`block drbd0:`), those of 9 resource, volume and device (`drbd r0/0 drbd0 peer:`).
pub(crate) fn found_split_brain(log: &str, resource: &str, minor: Option<u32>) -> bool {
    let device = minor.map(|minor| format!("drbd{minor}"));
    let mut found = false;
    for line in log.lines() {
        let words = || line.split([' ', '/']).map(|word| word.trim_end_matches(':'));
        let ours = match &device {
            Some(device) => words().any(|word| word == device),
            None => words().any(|word| word == resource),
        };
        if !ours {
            continue;
        }
        if line.contains(SPLIT_BRAIN) {
            found = true;
        } else if line.contains("-> Connected )")
            || line.contains("-> SyncTarget )")
            || line.contains("-> SyncSource )")
            || line.contains("-> Established )")
        {
            found = false;
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_counts_until_the_next_connection() {
        let log = include_str!("../../../tests/captured/drbd-8.4/split-brain/kernel-log-node1");
        assert!(found_split_brain(log, "r0", Some(0)));
        assert!(!found_split_brain(log, "r0", Some(1)), "another device");
        let healed = format!(
            "{log}[  400.1] block drbd0: peer( Unknown -> Primary ) conn( WFReportParams -> WFBitMapT )\n\
             [  400.2] block drbd0: conn( WFSyncUUID -> SyncTarget ) disk( Outdated -> Inconsistent )\n"
        );
        assert!(!found_split_brain(&healed, "r0", Some(0)));
        let nine = "[1.0] drbd r0/0 drbd7 node2: Split-Brain detected but unresolved, dropping connection!\n";
        assert!(found_split_brain(nine, "r0", Some(7)) && found_split_brain(nine, "r0", None));
        assert!(!found_split_brain("", "r0", Some(0)));
    }

    #[test]
    fn generations_end_where_the_flags_begin() {
        let text = "B21CC1C61D4FEAB3:9D0E9FE144EC73B0:A5A7A5A5A5A5A5A4:0000000000000000:1:1:0:1:0:0:0\n";
        let parsed = parse_generations(text).unwrap();
        assert_eq!(parsed, [0xB21C_C1C6_1D4F_EAB3, 0x9D0E_9FE1_44EC_73B0, 0xA5A7_A5A5_A5A5_A5A4]);
        assert_eq!(parse_generations("0000000000000000:0000000000000000:1\n"), None);
        assert_eq!(parse_generations("no such resource"), None);
    }
}
