//! Output captured on two real 8.4 nodes. What `drbdadm` said in the same moment is the truth to compare with.

use super::super::words;
use super::*;

fn captures() -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captured/drbd-8.4");
    let mut captures: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Without the module there is no such file, and the capture holds the error instead.
        .filter(|path| {
            fs::read_to_string(path.join("proc-drbd")).is_ok_and(|text| text.starts_with("version: "))
        })
        .collect();
    captures.sort();
    assert!(!captures.is_empty());
    captures
}

fn text(capture: &Path, name: &str) -> String {
    fs::read_to_string(capture.join(name)).unwrap()
}

#[test]
fn proc_drbd_agrees_with_drbdadm() {
    for capture in captures() {
        let place = capture.display();
        let proc_drbd =
            parse_proc_drbd(&text(&capture, "proc-drbd")).unwrap_or_else(|e| panic!("{place}: {e}"));
        assert_eq!(proc_drbd.generation, DrbdGeneration::Eight);
        let state = proc_drbd.minors.get(&0).cloned();
        let state = state.unwrap_or_else(|| State::unconfigured(DrbdGeneration::Eight));
        // Each word is followed by a line with the exit code.
        let said = text(&capture, "drbdadm");
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains(": exit code ")).collect();
        if said.contains("Unconfigured") || lines.len() != 3 {
            assert_eq!(state.connection, Connection::Unconfigured, "{place}");
            continue;
        }
        let (role, peer_role) = lines[0].split_once('/').unwrap();
        let (disk, peer_disk) = lines[2].split_once('/').unwrap();
        assert_eq!(state.role, words::role(role).unwrap(), "{place}");
        assert_eq!(state.peer_role, words::role(peer_role).unwrap(), "{place}");
        assert_eq!(state.disk, words::disk(disk).unwrap(), "{place}");
        assert_eq!(state.peer_disk, words::disk(peer_disk).unwrap(), "{place}");
        let connection = words::connection(lines[1]).unwrap();
        assert_eq!((state.connection, state.replication), connection, "{place}");
    }
}

#[test]
fn show_has_an_address_pair_unless_standalone() {
    for capture in captures() {
        let place = capture.display();
        let proc_drbd = parse_proc_drbd(&text(&capture, "proc-drbd")).unwrap();
        let Some(state) = proc_drbd.minors.get(&0) else { continue };
        let show = parse_show_84(&text(&capture, "show"), "r0").unwrap_or_else(|e| panic!("{place}: {e}"));
        assert_eq!(show.minors, vec![0], "{place}");
        let commands = commands_84("r0", 0, &show);
        assert!(!commands.disconnect.is_empty() || state.connection == Connection::StandAlone, "{place}");
        if let [_, _, local, peer, _] = &commands.disconnect[..] {
            assert!(local.starts_with("ipv4:10.77.1.") && peer.starts_with("ipv4:10.77.1."), "{place}");
            assert_ne!(local, peer, "{place}");
        }
    }
}

#[test]
fn cut_off_captures_never_show_another_state() {
    for capture in captures() {
        let whole = text(&capture, "proc-drbd");
        (0..whole.len()).for_each(|end| super::assert_cut_is_safe(&whole, &whole[..end]));
    }
}

#[test]
fn a_resync_shows_how_far_it_is() {
    let target = captures().into_iter().find(|capture| capture.ends_with("synctarget")).unwrap();
    let state = parse_proc_drbd(&text(&target, "proc-drbd")).unwrap().minors[&0].clone();
    assert_eq!((state.replication, state.resync_percent), (Replication::SyncTarget, Some(1)));
}
