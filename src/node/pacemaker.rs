//! Pacemaker: whether it runs, and the promotion score of an instance. It is never stopped from here: where it owns the
//! resource, only its agent may act.

use std::fs;
use std::time::Duration;

use super::command;
use super::heartbeat::running;
use crate::config::Config;
use crate::foreign::cib_place::{Movable, movable};
use crate::observation::{ClusterManagerState, Fact};

/// Exit code of a command line that is not understood (sysexits(3)).
const EX_USAGE: i32 = 64;
/// `__SO_ACCEPTCON` in /proc/net/unix: a socket that listens.
const LISTENS: u32 = 0x10000;

/// Whether Pacemaker runs on this node, told by its daemon `pacemakerd` (pacemakerd(8)).
pub fn observe() -> Fact<ClusterManagerState> {
    running(&["pacemakerd"])
        .map(|found| ClusterManagerState { pids: found.iter().map(|process| process.pid).collect() })
        .into()
}

/// Sets the promotion score of an instance on this node until the node leaves the cluster; none takes it away, and without
/// one an instance is not promoted. Costs a process that takes some 0.2 s.
///
/// # Errors
/// Why it could not be set, in one sentence.
pub fn set_promotion_score(instance: &str, score: Option<i32>, limit: Duration) -> Result<(), String> {
    let change = match score {
        Some(score) => vec!["--update".to_owned(), score.to_string()],
        None => vec!["--delete".to_owned()],
    };
    let mut command: Vec<String> = ["crm_attribute", "--lifetime", "reboot"].map(str::to_owned).to_vec();
    command.push(format!("--promotion={instance}"));
    command.extend(change.iter().cloned());
    let finished = command::run(&command, limit).map_err(|error| error.to_string())?;
    if finished.code != Some(EX_USAGE) {
        return if finished.succeeded() { Ok(()) } else { Err(finished.describe()) };
    }
    // Before Pacemaker 2.1 the same is said by the attribute's name.
    command.retain(|word| !word.starts_with("--promotion"));
    command.push(format!("--name=master-{instance}"));
    let finished = command::run(&command, limit).map_err(|error| error.to_string())?;
    if finished.succeeded() { Ok(()) } else { Err(finished.describe()) }
}

/// Moves the cluster's resource to a node, and what takes out the constraint that the move makes.
///
/// # Errors
/// In one sentence why it is not known which resource that is.
pub fn move_commands(
    config: &Config,
    to: &str,
    limit: Duration,
) -> Result<(Vec<String>, Vec<String>), String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let finished =
        command::run(&words(&["cibadmin", "--query"]), limit).map_err(|error| error.to_string())?;
    if !finished.succeeded() {
        return Err(finished.describe());
    }
    let file = config.file.display().to_string();
    let Movable { id, promotable } = movable(&finished.stdout, &config.name, &file, &config.resource)?;
    let mut command = words(&["crm_resource", "--move", "--resource", &id, "--node", to]);
    if promotable {
        command.push("--promoted".to_owned());
    }
    Ok((command, words(&["crm_resource", "--clear", "--resource", &id])))
}

/// Which run of the daemon that keeps the scores this is, told by the inode of its socket: a new run has forgotten them.
pub fn run_of_score_keeper() -> Option<u64> {
    fs::read_to_string("/proc/net/unix").ok().and_then(|text| listening_inode(&text))
}

/// The inode of the attribute daemon's listening socket in /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path` (proc_net_unix(5)); libqb pads an abstract name with zeros, shown as `@`.
pub fn listening_inode(text: &str) -> Option<u64> {
    text.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, _, _, flags, _, _, inode, path] => {
            let name = path.strip_prefix('@')?.trim_end_matches('@');
            let listens = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & LISTENS != 0);
            (listens && ["attrd", "pacemaker-attrd"].contains(&name)).then(|| inode.parse().ok())?
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_among_its_connections() {
        let text = "\
Num       RefCount Protocol Flags    Type St Inode Path
00000000bc63f0dd: 00000003 00000000 00000000 0001 03  1129 @attrd@@@@@@@@
000000002ad78d0e: 00000002 00000000 00010000 0001 01  1032 @attrdx@@@@@@
0000000000000001: 00000002 00000000 00010000 0001 01  7 /run/attrd
000000002ad78d0d: 00000002 00000000 00010000 0001 01  1033 @attrd@@@@@@@@
0000000000000002: 00000003 00000000 00000000 0001 03  8
";
        assert_eq!(listening_inode(text), Some(1033));
        assert_eq!(listening_inode(&text.replace("00010000 0001 01  1033", "00000000 0001 03  1033")), None);
        assert_eq!(listening_inode(""), None);
    }
}
