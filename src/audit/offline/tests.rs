#![allow(clippy::unwrap_used)]

use std::fs::File;

use super::*;

macro_rules! captured {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/captured/tables/mariadb-10.11/", $name))
    };
}

const TRANSACTIONAL: &[u8] = captured!("transactional.MAI");
const NOT_TRANSACTIONAL: &[u8] = captured!("transactional-0.MAI");

struct Datadir(tempfile::TempDir);

impl Datadir {
    fn new() -> Self {
        let datadir = Self(tempfile::tempdir().unwrap());
        datadir.file("ibdata1", 12 << 20).file("mysql/db.MAD", 8192).bytes("mysql/db.MAI", TRANSACTIONAL);
        datadir
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, name: &str, bytes: u64) -> &Self {
        File::create(self.path(name)).unwrap().set_len(bytes).unwrap();
        self
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> &Self {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    fn link(&self, name: &str, target: &Path) -> &Self {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
        self
    }

    fn scan(&self) -> EngineTotals {
        scan(self.0.path()).unwrap()
    }

    fn tolerant(&self) -> EngineTotals {
        let settings = Settings { datadir: self.0.path().to_owned(), top: 3, tolerate_damage: true };
        scan_with(&settings, &|_, _| {}).unwrap()
    }
}

fn totals(tables: u64, empty_tables: u64, bytes: u64) -> Totals {
    Totals { tables, empty_tables, bytes }
}

#[test]
fn a_fresh_server_has_no_user_data() {
    let found = Datadir::new().scan();
    assert!(found.user.is_empty());
    assert_eq!(found.system[&Engine::Aria], totals(1, 0, 8192 + 448));
    assert_eq!(found.innodb_shared_bytes, 12 << 20);
}

#[test]
fn every_engine_is_counted_by_table() {
    let datadir = Datadir::new();
    datadir
        .file("app/t.ibd", 98304)
        .file("app/m.MYD", 7)
        .file("app/m.MYI", 1024)
        .file("app/empty.MYD", 0)
        .file("app/empty.MYI", 1024)
        .file("app/a.MAD", 100)
        .bytes("app/a.MAI", TRANSACTIONAL)
        .file("app/n.MAD", 8193)
        .bytes("app/n.MAI", NOT_TRANSACTIONAL)
        .file("app/n0.MAD", 8192)
        .bytes("app/n0.MAI", NOT_TRANSACTIONAL)
        .file("app/c.CSV", 5)
        .file("app/c.CSM", 35)
        .file("app/z.ARZ", 88)
        .file("app/u.MRG", 12)
        .file("app/db.opt", 67)
        .file("other/t.ibd", 98304);
    let user = datadir.scan().user;
    assert_eq!(user[&Engine::InnoDB], totals(2, 0, 196_608));
    assert_eq!(user[&Engine::MyISAM], totals(2, 1, 2055));
    assert_eq!(user[&Engine::Aria], totals(1, 0, 548));
    assert_eq!(user[&Engine::AriaNotCrashSafe], totals(2, 1, 8193 + 8192 + 2 * 448));
    assert_eq!(user[&Engine::Csv], totals(1, 0, 5));
    assert_eq!(user[&Engine::Archive], totals(1, 0, 88));
    assert_eq!(user[&Engine::Merge], totals(1, 0, 0));
}

#[test]
fn partitions_are_one_table_and_leftovers_none() {
    let datadir = Datadir::new();
    for partition in ["p#P#p0", "p#P#p1", "q#p#p0#sp#s0", "q#p#p0#sp#s1"] {
        datadir.file(&format!("app/{partition}.MYD"), 10).file(&format!("app/{partition}.MYI"), 1024);
    }
    datadir.file("app/#sql-1f_3.MYD", 500);
    let found = datadir.scan();
    assert_eq!(found.user[&Engine::MyISAM], totals(2, 0, 4 * 1034));
    assert_eq!(found.leftovers, totals(1, 0, 500));
}

#[test]
fn a_definition_without_files_lives_in_the_system_tablespace() {
    let datadir = Datadir::new();
    datadir
        .bytes("app/old.frm", captured!("innodb.frm"))
        .bytes("app/parts.frm", captured!("innodb-partitioned.frm"))
        .bytes("app/view.frm", captured!("view.frm"))
        .bytes("app/counter.frm", captured!("sequence.frm"))
        .bytes("app/quick.frm", captured!("memory.frm"))
        .file("app/#sql-1f_3.frm", 0);
    let found = datadir.scan();
    assert_eq!(found.user_tables_in_system_tablespace, 2);
    assert_eq!(found.user[&Engine::InnoDB], totals(2, 0, 12 << 20));
    assert_eq!(found.user[&Engine::Memory], totals(1, 0, 0));
    assert_eq!(found.leftovers, totals(1, 0, 0));
}

#[test]
fn a_sequence_is_no_table() {
    let datadir = Datadir::new();
    for (name, definition) in [("s", &captured!("sequence.frm")[..]), ("t", captured!("innodb.frm"))] {
        datadir.bytes(&format!("inno/{name}.frm"), definition).file(&format!("inno/{name}.ibd"), 65536);
        datadir.bytes(&format!("my/{name}.frm"), definition).file(&format!("my/{name}.MYD"), 58);
        datadir.file(&format!("my/{name}.MYI"), 1024);
    }
    let found = datadir.scan();
    assert_eq!(found.user[&Engine::InnoDB], totals(1, 0, 65536));
    assert_eq!(found.user[&Engine::MyISAM], totals(1, 0, 1082));
    assert_eq!(found.offenders.len(), 1);
}

#[test]
fn an_unknown_engine_is_told() {
    let mut spider = captured!("innodb.frm").to_vec();
    let at = spider.windows(6).position(|window| window == b"InnoDB").unwrap();
    spider[at..at + 6].copy_from_slice(b"SPHINX");
    let datadir = Datadir::new();
    datadir.bytes("app/x.frm", &spider).file("#rocksdb/000001.sst", 500).file("lost+found/t.MYD", 9);
    let found = datadir.scan();
    assert_eq!(found.user[&Engine::Other], totals(1, 0, 0));
    assert_eq!(found.user[&Engine::OtherCrashSafe], totals(0, 0, 500));
    assert!(found.notes[0].contains("SPHINX"), "{:?}", found.notes);
    assert!(!found.user.contains_key(&Engine::MyISAM));
}

#[test]
fn links_are_followed_and_dangling_ones_told() {
    let elsewhere = tempfile::tempdir().unwrap();
    let there = |name: &str| elsewhere.path().join(name);
    fs::create_dir(there("schema")).unwrap();
    for (name, bytes) in [("m.MYD", 500), ("m.MYI", 1024), ("i.ibd", 65536), ("schema/t.ibd", 98304)] {
        File::create(there(name)).unwrap().set_len(bytes).unwrap();
    }
    let datadir = Datadir::new();
    datadir
        .link("app/m.MYD", &there("m.MYD"))
        .link("app/m.MYI", &there("m.MYI"))
        .link("app/gone.MYD", &there("gone.MYD"))
        .bytes("app/i.isl", there("i.ibd").to_str().unwrap().as_bytes())
        .bytes("app/lost.isl", b"/nonexistent/lost.ibd\n")
        .link("linked", &there("schema"));
    let found = datadir.scan();
    assert_eq!(found.user[&Engine::MyISAM], totals(1, 0, 1524));
    assert_eq!(found.user[&Engine::InnoDB], totals(3, 0, 65536 + 98304));
    let notes = found.notes.join("\n");
    assert!(notes.contains("symbolic links (is the target on the replicated disk?): linked"), "{notes}");
    assert!(notes.contains("/gone.MYD") && notes.contains("/nonexistent/lost.ibd"), "{notes}");
    assert!(notes.contains("3 tables have files elsewhere"), "{notes}");
}

#[test]
fn full_text_parts_are_bytes_of_no_table() {
    let datadir = Datadir::new();
    datadir.file("app/t.ibd", 81920).file("app/FTS_0000000000000020_CONFIG.ibd", 65536);
    assert_eq!(datadir.scan().user[&Engine::InnoDB], totals(1, 0, 81920 + 65536));
}

#[test]
fn a_damaged_header_fails_and_a_takeover_warns() {
    let cut = |bytes: &'static [u8]| &bytes[..20];
    for (file, bytes) in [
        ("app/x.frm", &b""[..]),
        ("app/x.frm", cut(captured!("innodb.frm"))),
        ("app/x.frm", &[0; 4096]),
        ("app/x.MAI", b""),
        ("app/x.MAI", cut(TRANSACTIONAL)),
        ("app/x.MAI", &[0; 8192]),
        ("app/x.MYI", cut(captured!("one-row.MYI"))),
    ] {
        let datadir = Datadir::new();
        datadir.file("app/i.ibd", 65536).bytes(file, bytes);
        let failure = scan(datadir.0.path()).unwrap_err();
        assert!(failure.seen.contains(file) && failure.seen.contains("is damaged"), "{failure}");
        let found = datadir.tolerant();
        assert!(found.damaged[0].contains(file), "{:?}", found.damaged);
        let fragile = if file.ends_with("MAI") { Engine::AriaNotCrashSafe } else { Engine::MyISAM };
        assert_eq!(found.user.contains_key(&fragile), !file.ends_with("frm"), "{file}");
    }
}

#[test]
fn a_damaged_definition_beside_its_data_hides_nothing() {
    let datadir = Datadir::new();
    datadir.file("app/i.ibd", 65536).file("app/i.frm", 0).file("app/m.MYD", 58).file("app/m.frm", 3);
    let found = datadir.scan();
    assert_eq!(found.user[&Engine::InnoDB], totals(1, 0, 65536));
    assert_eq!(found.user[&Engine::MyISAM], totals(1, 0, 58));
}

#[test]
fn the_largest_are_kept_with_decoded_names() {
    let datadir = Datadir::new();
    for number in 0..5 {
        datadir.file(&format!("odd@0020@1o/t@0060{number}.MYD"), 100 * number);
        datadir.file(&format!("two/t{number}.CSV"), 100 * number + 1);
    }
    let found = datadir.tolerant();
    let names: Vec<(&str, &str, u64)> = found
        .offenders
        .iter()
        .map(|offender| (offender.schema.as_str(), offender.table.as_str(), offender.bytes))
        .collect();
    assert_eq!(names, [("two", "t4", 401), ("odd ü", "t`4", 400), ("two", "t3", 301)]);
}

#[test]
fn what_can_not_be_read_fails() {
    use std::os::unix::fs::PermissionsExt;
    let datadir = Datadir::new();
    datadir.file("app/t.MYD", 10);
    // A loop of links can't be looked up, by root either.
    datadir.link("app/loop.MYD", Path::new("loop.MYD"));
    let failure = scan(datadir.0.path()).unwrap_err();
    assert!(failure.seen.contains("app/loop.MYD"), "{failure}");
    fs::remove_file(datadir.path("app/loop.MYD")).unwrap();
    fs::set_permissions(datadir.path("app"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(scan(datadir.0.path()).is_err() || nix::unistd::geteuid().is_root());
}

#[test]
fn what_is_no_data_directory_fails() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join("mysql")).unwrap();
    assert!(scan(parent.path()).unwrap_err().seen.contains("not a data directory"));
    fs::write(parent.path().join("mysql/ibdata1"), "").unwrap();
    assert!(scan(parent.path()).unwrap_err().next.contains("mysql looks like one"));
    let empty = tempfile::tempdir().unwrap();
    assert!(scan(empty.path()).unwrap_err().seen.contains("not a data directory"));
    fs::create_dir(empty.path().join("lost+found")).unwrap();
    assert!(scan(empty.path()).is_err());
    assert!(scan(&empty.path().join("missing")).is_err());
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(scan(file.path()).is_err());
}
