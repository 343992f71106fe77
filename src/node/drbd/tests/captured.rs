//! Output captured on two real 8.4 nodes. What `drbdadm` said in the same moment is the truth to compare with.

use super::*;

fn captures() -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captured/drbd-8.4");
    let mut captures: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("proc-drbd").exists())
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
        let words: Vec<&str> = said.lines().filter(|line| !line.contains(": exit code ")).collect();
        if said.contains("Unconfigured") || words.len() != 3 {
            assert_eq!(state.connection, Connection::Unconfigured, "{place}");
            continue;
        }
        let (role, peer_role) = words[0].split_once('/').unwrap();
        let (disk, peer_disk) = words[2].split_once('/').unwrap();
        assert_eq!(state.role, super::super::words::role(role).unwrap(), "{place}");
        assert_eq!(state.peer_role, super::super::words::role(peer_role).unwrap(), "{place}");
        assert_eq!(state.disk, super::super::words::disk(disk).unwrap(), "{place}");
        assert_eq!(state.peer_disk, super::super::words::disk(peer_disk).unwrap(), "{place}");
        let connection = super::super::words::connection(words[1]).unwrap();
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
        assert_eq!(commands.disconnect.is_empty(), state.connection == Connection::StandAlone, "{place}");
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
