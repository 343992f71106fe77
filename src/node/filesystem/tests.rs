#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use proptest::prelude::*;

use super::mountinfo::settled;
use super::*;

const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:21 / /proc rw,nosuid - proc proc rw
30 22 147:0 / /var/lib/mysql rw,noatime shared:5 master:2 - ext4 /dev/drbd0 rw
31 22 147:1 /sub /srv/with\\040blank\\134 rw - xfs /dev/drbd1 ro,attr2
32 22 0:40 / /srv/empty rw -  tmpfs rw
";

fn table(text: &str) -> Vec<MountEntry> {
    parse_table(text.as_bytes()).unwrap()
}

fn at(text: &str, directory: &str) -> Option<String> {
    visible_at(&table(text), Path::new(directory)).map(|entry| entry.source.clone())
}

fn seen(text: &str, number: (u64, u64), directory: &str) -> Mount {
    judge(&table(text), Some(number), Path::new("/dev/drbd0"), Path::new(directory)).unwrap()
}

#[test]
fn a_line_is_parsed_with_its_optional_fields_and_escapes() {
    let entries = table(&TABLE.replace("-  tmpfs", "- tmpfs "));
    assert_eq!(entries.len(), 5);
    assert_eq!(
        entries[2],
        MountEntry {
            id: 30,
            parent: 22,
            device: (147, 0),
            root: "/".into(),
            mount_point: "/var/lib/mysql".into(),
            filesystem: "ext4".into(),
            source: "/dev/drbd0".into(),
            read_only: false,
        }
    );
    assert_eq!(entries[3].mount_point, PathBuf::from("/srv/with blank\\"));
    assert_eq!(entries[3].root, PathBuf::from("/sub"));
    assert!(entries[3].read_only, "ro of the file system counts");
    assert_eq!(entries[4].source, "");
}

#[test]
fn ro_counts_as_an_option_only() {
    let entries = table(
        "30 22 147:0 / /a ro,noatime - ext4 /dev/drbd0 rw\n31 22 8:1 / /b rw - ext4 /x rw,errors=remount-ro\n",
    );
    assert!(entries[0].read_only);
    assert!(!entries[1].read_only);
}

#[test]
fn cut_off_lines_are_errors() {
    let line = "30 22 147:0 / /var/lib/mysql rw,noatime shared:5 - ext4 /dev/drbd0 rw";
    for end in 1..line.len() - 2 {
        assert!(parse_table(&line.as_bytes()[..end]).is_err(), "{:?}", &line[..end]);
    }
    assert!(parse_table(line.as_bytes()).is_ok());
}

#[test]
fn a_path_lies_on_the_last_of_the_longest_mounts() {
    let table = "27 1 254:0 / / rw - ext4 root rw\n40 27 147:0 / /srv/db rw - xfs below rw\n41 40 147:1 / /srv/db rw - ext4 above rw\n";
    let table = parse_table(table.as_bytes()).unwrap();
    let on = |path: &str| mount_of(&table, Path::new(path)).map(|entry| entry.device);
    assert_eq!(on("/srv/db/mysql"), Some((147, 1)));
    assert_eq!(on("/srv/dbx"), Some((254, 0)));
    assert_eq!(mount_of(&[], Path::new("/")), None);
}

#[test]
fn the_topmost_of_stacked_mounts_is_visible() {
    let stacked = "22 1 254:0 / / rw - ext4 root rw\n30 22 147:0 / /data rw - ext4 below rw\n31 30 147:1 / /data rw - ext4 above rw\n";
    assert_eq!(at(stacked, "/data").as_deref(), Some("above"));
    // Not by its place in the list: by what is mounted on what.
    let reordered = "22 1 254:0 / / rw - ext4 root rw\n31 30 147:1 / /data rw - ext4 above rw\n30 22 147:0 / /data rw - ext4 below rw\n";
    assert_eq!(at(reordered, "/data").as_deref(), Some("above"));
    assert_eq!(at(stacked, "/dat"), None);
    assert_eq!(at(stacked, "/data/sub"), None);
    assert_eq!(at(stacked, "/").as_deref(), Some("root"));
}

#[test]
fn a_mount_hidden_under_a_later_one_is_not_visible() {
    let hidden = "22 1 254:0 / / rw - ext4 root rw\n30 22 147:0 / /srv/data rw - ext4 hidden rw\n31 22 8:1 / /srv rw - ext4 cover rw\n";
    assert_eq!(at(hidden, "/srv/data"), None);
    assert_eq!(at(hidden, "/srv").as_deref(), Some("cover"));
}

#[test]
fn a_chroot_without_a_root_mount_falls_back_to_the_last() {
    let chroot = "30 22 147:0 / /data rw - ext4 below rw\n31 30 147:1 / /data rw - ext4 above rw\n";
    assert_eq!(at(chroot, "/data").as_deref(), Some("above"));
}

#[test]
fn a_mount_is_ours_by_its_device_number_not_by_its_name() {
    let mount = seen(TABLE.replace("-  tmpfs", "- tmpfs ").as_str(), (147, 0), "/var/lib/mysql");
    let mounted = mount.at_directory.unwrap();
    assert!(mounted.is_our_device);
    assert_eq!((mounted.filesystem.as_str(), mounted.read_only), ("ext4", false));
    assert_eq!(mount.device_elsewhere, Vec::<PathBuf>::new());
    let other = seen(TABLE.replace("-  tmpfs", "- tmpfs ").as_str(), (147, 7), "/var/lib/mysql");
    assert!(!other.at_directory.unwrap().is_our_device);
}

#[test]
fn other_places_of_the_device_are_listed() {
    let bind = "22 1 254:0 / / rw - ext4 root rw\n30 22 147:0 / /data rw - ext4 d rw\n31 22 147:0 /sub /mnt rw - ext4 d rw\n";
    assert_eq!(seen(bind, (147, 0), "/data").device_elsewhere, vec![PathBuf::from("/mnt")]);
    let covered = format!("{bind}32 30 8:1 / /data rw - ext4 other rw\n");
    let mount = seen(&covered, (147, 0), "/data");
    assert!(!mount.at_directory.unwrap().is_our_device);
    assert_eq!(mount.device_elsewhere, vec![PathBuf::from("/data"), PathBuf::from("/mnt")]);
}

#[test]
fn a_mount_from_a_vanished_device_node_is_unknown() {
    let text = "22 1 254:0 / / rw - ext4 root rw\n30 22 147:0 / /data rw - ext4 /dev/drbd0 rw\n";
    let look = |directory: &str| judge(&table(text), None, Path::new("/dev/drbd0"), Path::new(directory));
    assert!(look("/data").unwrap_err().contains("does not exist"));
    assert_eq!(look("/else").unwrap(), Mount { at_directory: None, device_elsewhere: Vec::new() });
}

#[test]
fn a_table_is_read_until_two_reads_agree() {
    let mut reads = vec![b"a".to_vec(), b"a".to_vec(), b"ab".to_vec(), b"abc".to_vec()];
    let path = Path::new("table");
    assert_eq!(settled(path, || Ok(reads.pop().unwrap())).unwrap(), b"a");
    assert!(reads.is_empty());
    let mut number = 0_u32;
    let restless = settled(path, || {
        number += 1;
        Ok(number.to_be_bytes().to_vec())
    });
    assert!(matches!(restless, Err(MountTableError::Restless(_))));
}

#[test]
fn the_captured_table_of_a_serving_node() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captured/mountinfo-serving-ext4");
    let mount = seen(&fs::read_to_string(file).unwrap(), (147, 0), "/var/lib/mysql");
    let expected = Mounted {
        source: "/dev/drbd0".to_owned(),
        is_our_device: true,
        filesystem: "ext4".to_owned(),
        read_only: false,
    };
    assert_eq!(mount, Mount { at_directory: Some(expected), device_elsewhere: Vec::new() });
}

#[test]
fn our_own_table_has_a_root() {
    let table = read_table("self").unwrap();
    assert!(visible_at(&table, Path::new("/proc")).is_some_and(|entry| entry.filesystem == "proc"));
}

#[test]
fn options_are_split_into_flags_and_data() {
    let split = |list: &[&str]| split_options(&list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>());
    let options = split(&[
        "noatime",
        "nodev,nosuid",
        "noexec",
        "barrier=0",
        "noauto",
        "x-systemd.automount",
        "_netdev",
        "nofail",
        "data=ordered",
    ]);
    assert_eq!(
        options.flags,
        MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC
    );
    assert_eq!(options.data, "barrier=0,data=ordered");
    assert!(split(&["ro"]).read_only());
    assert!(!split(&["ro", "rw"]).read_only());
    assert_eq!(split(&["noatime", "defaults"]).flags, MsFlags::empty());
    assert_eq!(split(&[]), MountOptions { flags: MsFlags::empty(), data: String::new() });
    assert_eq!(
        split(&["relatime", "nodiratime", "lazytime", "sync"]).flags,
        MsFlags::MS_RELATIME | MsFlags::MS_NODIRATIME | MsFlags::MS_LAZYTIME | MsFlags::MS_SYNCHRONOUS
    );
}

#[test]
fn a_mapped_file_is_found_by_its_device() {
    let maps = "\
55d0-55d1 r--p 00000000 fe:00 1573 /usr/bin/sleep
7f00-7f01 rw-p 00000000 00:00 0
7f01-7f02 rw-s 00000000 93:0a 12   /var/lib/mysql/a b.MYD
";
    use super::holders::mapped_from;
    assert_eq!(mapped_from(maps, (147, 10)), Some(PathBuf::from("/var/lib/mysql/a b.MYD")));
    assert_eq!(mapped_from(maps, (147, 1)), None);
    assert_eq!(mapped_from(maps, (0, 0)), None);
}

#[test]
fn many_holders_are_counted() {
    let holder = |pid| Holder { pid, name: "mysqld".into(), how: How::OpenFile, path: "/data/f".into() };
    assert_eq!(name_holders(&[]), "nobody that /proc shows");
    assert_eq!(name_holders(&[holder(7)]), "mysqld (pid 7, open file /data/f)");
    assert!(
        name_holders(&(1..=12).map(holder).collect::<Vec<_>>()).ends_with("open file /data/f) and 2 more")
    );
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_table(&bytes);
    }

    /// Whatever loops garbage makes of parents, the walk ends.
    #[test]
    fn walking_ends(entries in proptest::collection::vec((0_u32..6, 0_u32..6, "(/[ab]){0,3}"), 0..8)) {
        let lines: String = entries
            .iter()
            .map(|(id, parent, point)| format!("{id} {parent} 8:1 / /{} rw - ext4 x rw\n", point.trim_start_matches('/')))
            .collect();
        let _ = visible_at(&table(&lines), Path::new("/a/b"));
    }
}

mod root;
