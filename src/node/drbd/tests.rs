#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use proptest::prelude::*;

use super::apply::{Change, Hands, apply_with};
use super::*;
use crate::failure::{Failure, FailureKind};
use crate::node::command::CommandError;
use crate::node::filesystem::{Holder, How};
use crate::node::{Applied, Attempt, Change as Changed, Progress};

mod apply_tests;
mod captured;

/// 8.4 while connected. The second line is there only with a device that is configured.
const CONNECTED: &str = "\
version: 8.4.11 (api:1/proto:86-101)
srcversion: 1FD11A39A1BFD3D1EF2A0A1 
 0: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----
    ns:0 nr:24 dw:24 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
";

const RESYNC: &str = "\
version: 8.4.11 (api:1/proto:86-101)
srcversion: 1FD11A39A1BFD3D1EF2A0A1 

 1: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----
    ns:0 nr:43008 dw:43008 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:219036
\t[==>.................] sync'ed: 16.9% (219036/262044)K
\tfinish: 0:00:05 speed: 43,008 (43,008) want: 43,480 K/sec
 2: cs:Unconfigured
 3: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s---F-
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:5 ua:0 ap:5 ep:1 wo:f oos:4
 4: cs:StandAlone ro:Secondary/Unknown ds:Outdated/DUnknown   r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
";

const SHOW: &str = "\
resource r0 {
    options {
    }
    net {
        fencing         \tresource-and-stonith;
        cram-hmac-alg   \t\"sha1\";
        shared-secret   \"with } brace; and \\\" quote\";
    }
    _remote_host {
        address\t\t\tipv4 10.77.1.2:7788;
    }
    _this_host {
        address\t\t\tipv4 10.77.1.1:7788;
        volume 0 {
            device\t\t\tminor 0;
            disk\t\t\t\"/dev/ubdb\";
            meta-disk\t\t\tinternal;
            disk {
                size            \t0s; # bytes
            }
        }
    }
}
";

fn minor(text: &str, minor: u32) -> State {
    parse_proc_drbd(text).unwrap().minors.get(&minor).unwrap().clone()
}

#[test]
fn proc_drbd_while_connected() {
    let parsed = parse_proc_drbd(CONNECTED).unwrap();
    assert_eq!((parsed.generation, parsed.version.as_str()), (DrbdGeneration::Eight, "8.4.11"));
    assert_eq!(
        minor(CONNECTED, 0),
        State {
            generation: DrbdGeneration::Eight,
            connection: Connection::Connected,
            replication: Replication::Established,
            role: Role::Secondary,
            peer_role: Role::Primary,
            disk: Disk::UpToDate,
            peer_disk: Disk::UpToDate,
            resync_percent: None,
            io_suspended: false,
            writes_wait_for_peer: false,
            peer_node_id: None,
        }
    );
}

#[test]
fn proc_drbd_with_several_minors() {
    let target = minor(RESYNC, 1);
    assert_eq!((target.connection, target.replication), (Connection::Connected, Replication::SyncTarget));
    assert_eq!((target.disk, target.resync_percent), (Disk::Inconsistent, Some(16)));
    assert_eq!(minor(RESYNC, 2), State::unconfigured(DrbdGeneration::Eight));
    let frozen = minor(RESYNC, 3);
    assert!(frozen.io_suspended);
    assert_eq!(
        (frozen.connection, frozen.role, frozen.peer_role),
        (Connection::Connecting, Role::Primary, Role::Unknown)
    );
    assert_eq!((frozen.resync_percent, frozen.peer_disk), (None, Disk::Unknown));
    let alone = minor(RESYNC, 4);
    assert_eq!(
        (alone.connection, alone.disk, alone.io_suspended),
        (Connection::StandAlone, Disk::Outdated, false)
    );
}

#[test]
fn proc_drbd_of_9_has_only_the_version() {
    let text = "version: 9.1.18 (api:2/proto:86-121)\nGIT-hash: 8d5b1e2 build by root@alpha, 2023-12-01 10:00:00\nTransports (api:18): tcp (9.1.18)\n";
    let parsed = parse_proc_drbd(text).unwrap();
    assert_eq!((parsed.generation, parsed.minors.len()), (DrbdGeneration::Nine, 0));
    let old = parse_proc_drbd("version: 8.3.11 (api:88/proto:86-96)\n").unwrap_err();
    assert_eq!(old, ParseError::UnsupportedVersion("8.3.11".to_owned()));
}

#[test]
fn unknown_words_and_shapes_are_errors() {
    assert_eq!(parse_proc_drbd(CONNECTED.trim_end()), Err(ParseError::CutOff("/proc/drbd")));
    assert!(parse_proc_drbd("").is_err());
    for (from, to) in [
        ("Connected", "Conected"),
        ("Secondary/Primary", "Secondary/Primar"),
        ("UpToDate/UpToDate", "UpToDate"),
        ("r-----", "r---"),
        ("r-----", "x-----"),
        ("oos:0", "oos:"),
        ("version: 8.4.11", "version: "),
    ] {
        assert!(parse_proc_drbd(&CONNECTED.replace(from, to)).is_err(), "{from} → {to}");
    }
}

#[test]
fn show_has_addresses_and_minors() {
    let show = parse_show_84(SHOW, "r0").unwrap();
    assert_eq!(
        show,
        Show84 {
            local: Some("ipv4:10.77.1.1:7788".to_owned()),
            peer: Some("ipv4:10.77.1.2:7788".to_owned()),
            minors: vec![0],
        }
    );
    assert_eq!(parse_show_84(SHOW, "r1"), Err(ParseError::NoSuchResource("r1".to_owned())));
    let standalone = "resource r0 {\n    options {\n    }\n    _this_host {\n        volume 0 {\n            device\t\t\tminor 0;\n        }\n    }\n}\n";
    let alone = parse_show_84(standalone, "r0").unwrap();
    assert_eq!((alone.local, alone.peer, alone.minors), (None, None, vec![0]));
}

#[test]
fn show_of_ipv6_keeps_the_brackets() {
    let six = SHOW.replace("ipv4 10.77.1.2:7788", "ipv6 [fd00::2]:7788");
    assert_eq!(parse_show_84(&six, "r0").unwrap().peer.unwrap(), "ipv6:[fd00::2]:7788");
}

#[test]
fn commands_of_8_4() {
    let commands = commands_84("r0", 3, &parse_show_84(SHOW, "r0").unwrap());
    let line = |command: &[String]| command.join(" ");
    assert_eq!(
        line(&commands.disconnect),
        "drbdsetup disconnect ipv4:10.77.1.1:7788 ipv4:10.77.1.2:7788 --force"
    );
    assert_eq!(line(&commands.promote), "drbdsetup primary 3");
    assert_eq!(line(&commands.demote), "drbdsetup secondary 3");
    assert_eq!(line(&commands.connect), "drbdadm connect r0");
    assert_eq!(commands_84("r0", 3, &Show84::default()).disconnect, Vec::<String>::new());
}

#[test]
fn commands_of_9() {
    let commands = commands_9("r0", Some(1));
    let line = |command: &[String]| command.join(" ");
    assert_eq!(line(&commands.disconnect), "drbdsetup disconnect r0 1 --force");
    assert_eq!(line(&commands.promote), "drbdsetup primary r0");
    assert_eq!(line(&commands.demote), "drbdsetup secondary r0");
    assert_eq!(line(&commands.connect), "drbdadm connect r0");
    assert_eq!(commands_9("r0", None).disconnect, Vec::<String>::new());
}

fn nine(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captured/drbd-9/{name}.json"));
    fs::read_to_string(file).unwrap()
}

fn status(name: &str) -> State {
    parse_status_json(&nine(name), "r0").unwrap().state
}

#[test]
fn status_of_9_while_connected() {
    assert_eq!(
        status("secondary-connected"),
        State {
            generation: DrbdGeneration::Nine,
            connection: Connection::Connected,
            replication: Replication::Established,
            role: Role::Secondary,
            peer_role: Role::Primary,
            disk: Disk::UpToDate,
            peer_disk: Disk::UpToDate,
            resync_percent: None,
            io_suspended: false,
            writes_wait_for_peer: false,
            peer_node_id: Some(1),
        }
    );
    assert_eq!(status("primary-connected").role, Role::Primary);
    assert_eq!(status("older-utils").connection, Connection::Connected);
}

#[test]
fn writes_that_wait_for_the_peer_alone() {
    let waits_84 = |counts: &str| {
        let text = RESYNC.replace("lo:0 pe:5", counts);
        parse_proc_drbd(&text).unwrap().minors[&3].writes_wait_for_peer
    };
    assert!(waits_84("lo:0 pe:5"));
    assert!(!waits_84("lo:1 pe:5") && !waits_84("lo:0 pe:0") && !waits_84("lo:? pe:5"));
    let waits_9 = |local: &str, peer: u64| {
        let text = std::fs::read_to_string("tests/captured/drbd-9/primary-connected.json").unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json[0]["devices"][0]["lower-pending"] = serde_json::from_str(local).unwrap();
        json[0]["connections"][0]["peer_devices"][0]["pending"] = peer.into();
        parse_status_json(&json.to_string(), "r0").unwrap().state.writes_wait_for_peer
    };
    assert!(waits_9("0", 3));
    assert!(!waits_9("1", 3) && !waits_9("0", 0) && !waits_9("null", 3));
}

#[test]
fn status_of_9_in_other_states() {
    let connecting = status("primary-connecting");
    assert_eq!((connecting.connection, connecting.replication), (Connection::Connecting, Replication::Off));
    assert_eq!((connecting.peer_role, connecting.peer_disk), (Role::Unknown, Disk::Unknown));
    assert_eq!(status("standalone").connection, Connection::StandAlone);
    assert_eq!(status("no-connection").connection, Connection::StandAlone);
    assert_eq!(status("no-connection").peer_node_id, None);
    assert_eq!(status("handshake").connection, Connection::Handshake);
    let target = status("sync-target");
    assert_eq!(
        (target.replication, target.disk, target.resync_percent),
        (Replication::SyncTarget, Disk::Inconsistent, Some(5))
    );
    let source = status("sync-source");
    assert_eq!((source.replication, source.peer_disk), (Replication::SyncSource, Disk::Inconsistent));
    assert_eq!(source.resync_percent, Some(99), "100 means all of it");
    assert!(status("fencing").io_suspended);
    assert!(status("no-quorum").io_suspended);
}

#[test]
fn the_worst_volume_counts() {
    let parsed = parse_status_json(&nine("two-volumes"), "r0").unwrap();
    assert_eq!(parsed.minors, vec![0, 1]);
    assert_eq!(parsed.state.disk, Disk::Inconsistent);
    assert_eq!(parsed.state.replication, Replication::SyncTarget);
    assert_eq!(parsed.state.resync_percent, Some(40));
}

#[test]
fn status_of_9_that_cannot_be_served() {
    let several = parse_status_json(&nine("two-peers"), "r0").unwrap_err();
    assert_eq!(several, ParseError::SeveralPeers(vec!["beta".to_owned(), "gamma".to_owned()]));
    assert_eq!(parse_status_json(&nine("down"), "r0"), Err(ParseError::NoSuchResource("r0".to_owned())));
    let strange = nine("secondary-connected").replace("\"UpToDate\"", "\"Shiny\"");
    assert!(parse_status_json(&strange, "r0").is_err());
}

fn finished(code: i32, stdout: &str, stderr: &str) -> Finished {
    Finished {
        command: argv(&["drbdsetup", "status", "r0", "--json"]),
        code: Some(code),
        signal: None,
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        took: Duration::ZERO,
    }
}

#[test]
fn status_of_9_is_judged_with_its_exit_code_and_device() {
    let device = Path::new("/dev/drbd0");
    let judge = |code, text: &str, minor| {
        status_9(&finished(code, text, "r0: No such resource"), "r0", device, minor)
    };
    assert_eq!(judge(0, &nine("standalone"), Some(0)).unwrap().connection, Connection::StandAlone);
    assert_eq!(judge(10, &nine("down"), None).unwrap().connection, Connection::Unconfigured);
    assert!(judge(20, &nine("standalone"), Some(0)).unwrap_err().contains("exit code 20"));
    assert!(judge(20, "", None).unwrap_err().contains("exit code 20"));
    assert!(judge(0, "[", None).unwrap_err().contains("not understood"));
    assert!(judge(0, &nine("standalone"), Some(7)).unwrap_err().contains("do not belong together"));
    assert!(judge(0, &nine("standalone"), None).unwrap_err().contains("does not exist"));
}

#[test]
fn a_device_that_is_none_of_drbd_is_an_error() {
    assert_eq!(minor_of(Path::new("/dev/no-such-device")), Ok(None));
    assert!(minor_of(Path::new("/dev/null")).unwrap_err().contains("not a DRBD device"));
}

#[test]
fn without_the_module_nothing_is_known() {
    // Where the module is loaded the resource is not: it is never Known to be in use.
    match observe("no-such-resource", Path::new("/dev/no-such-device"), Duration::from_secs(5)) {
        Fact::Unknown(cause) => assert!(!cause.is_empty()),
        Fact::Known(drbd) => assert_eq!(drbd.connection, Connection::Unconfigured),
    }
}

/// Every parsed state of a text that was cut off: the same as in the whole text, or none.
fn assert_cut_is_safe(whole: &str, cut: &str) {
    let Ok(parsed) = parse_proc_drbd(cut) else { return };
    let full = parse_proc_drbd(whole).unwrap();
    for (minor, state) in parsed.minors {
        let mut expected = full.minors[&minor].clone();
        // The progress line comes last and may be missing; it decides nothing.
        if state.resync_percent.is_none() {
            expected.resync_percent = None;
        }
        assert_eq!(state, expected, "{cut:?}");
    }
}

#[test]
fn cut_off_texts_never_show_another_state() {
    for text in [CONNECTED, RESYNC] {
        (0..text.len()).for_each(|end| assert_cut_is_safe(text, &text[..end]));
    }
    for end in 0..SHOW.trim_end().len() {
        assert!(parse_show_84(&SHOW[..end], "r0").is_err(), "{:?}", &SHOW[..end]);
    }
    let json = nine("two-volumes");
    for end in 0..json.trim_end().len() {
        assert!(parse_status_json(&json[..end], "r0").is_err(), "{:?}", &json[..end]);
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "\\PC{0,200}", lines in "(version: [89]\\.[0-9.]{0,4} \n)?( [0-9]: cs:[A-Za-z]* ro:[A-Z/a-z]* ds:[A-Z/a-z]* C? [rs]-*\n){0,3}") {
        for text in [&text, &lines] {
            let _ = parse_proc_drbd(text);
            let _ = parse_show_84(text, "r0");
            let _ = parse_status_json(text, "r0");
        }
    }

    /// A flipped byte may be unnoticed in a counter, but never turns a poor disk into a good one.
    #[test]
    fn a_flipped_byte_never_makes_a_disk_current(at in 0..RESYNC.len(), byte in 0x20_u8..0x7f) {
        let mut bytes = RESYNC.as_bytes().to_vec();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(parsed) = parse_proc_drbd(&text) {
            let promotable = parsed.minors.iter().filter(|(_, state)| state.disk == Disk::UpToDate).count();
            prop_assert!(promotable <= 1);
        }
    }
}
