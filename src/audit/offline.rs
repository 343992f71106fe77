//! Engine totals from the files of a data directory, for a standby whose mysqld does not run.
//!
//! An engine is known by the extension of its data files. A `.frm` without a data file of its own carries the engine
//! in its fourth byte (`legacy_db_type` in the server's `handler.h`: 12 is InnoDB); InnoDB there means that the table
//! lives in the system tablespace. MySQL 8 has no `.frm` and does not show such tables.
//!
//! Links of DATA DIRECTORY are followed for MyISAM (symbolic links), not for InnoDB's `.isl`.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rayon::prelude::*;

use super::{Engine, EngineTotals, Totals};
use crate::failure::Failure;

const SYSTEM_SCHEMAS: [&str; 4] = ["mysql", "sys", "performance_schema", "information_schema"];

/// Directories in a data directory that are not schemas.
const NOT_SCHEMAS: [&str; 3] = ["lost+found", "#innodb_redo", "#innodb_temp"];

/// Adds up what each engine holds under `datadir`.
///
/// # Errors
/// It is not a data directory, or some of it can't be read: a partial sum would make MyISAM look smaller than it is.
pub fn scan(datadir: &Path) -> Result<EngineTotals, Failure> {
    let shown = datadir.display();
    let unreadable = |error: io::Error| {
        Failure::failed(
            format!("the data directory {shown} can't be read completely: {error}"),
            "a partial count could hide MyISAM tables",
            format!("check that {shown} is mounted and readable: ls -la {shown}"),
        )
    };
    let mut files = Vec::new();
    let mut schemas = Vec::new();
    for entry in fs::read_dir(datadir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Follows links: a schema may be a symbolic link to a directory elsewhere.
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => schemas.push((name, entry.path())),
            Ok(metadata) => files.push((name, metadata.len())),
            // A name whose file is gone: a temporary table that ended while we looked, or a dangling link.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let has_file = |wanted: &str| files.iter().any(|(name, _)| name == wanted);
    if !has_file("ibdata1") && !has_file("mysql.ibd") && !schemas.iter().any(|(name, _)| name == "mysql") {
        return Err(Failure::failed(
            format!("{shown} is not a data directory: it has neither ibdata1 nor a mysql schema"),
            "without the data nothing can be said about its storage engines",
            "check that the data file system is mounted there and that datadir is right in the configuration",
        ));
    }

    let scanned: Vec<(bool, Schema)> = schemas
        .par_iter()
        .filter(|(name, _)| !NOT_SCHEMAS.contains(&name.as_str()))
        .map(|(name, path)| Ok((SYSTEM_SCHEMAS.contains(&name.as_str()), Schema::scan(path)?)))
        .collect::<io::Result<_>>()
        .map_err(unreadable)?;

    let mut totals = EngineTotals::default();
    let mut system_tablespace = 0u64;
    for (name, bytes) in files {
        let table = Totals { tables: 1, empty_tables: 0, bytes };
        if name.starts_with("ibdata") {
            system_tablespace += bytes;
            totals.innodb_shared_bytes += bytes;
        } else if name.starts_with("undo") {
            totals.innodb_shared_bytes += bytes;
        } else if name == "mysql.ibd" {
            totals.system.entry(Engine::InnoDB).or_default().add(table);
        } else if name.ends_with(".ibd") {
            // A general tablespace: how many tables it holds can't be seen from outside.
            totals.user.entry(Engine::InnoDB).or_default().add(table);
        }
    }
    for (is_system, schema) in scanned {
        let side = if is_system { &mut totals.system } else { &mut totals.user };
        for (engine, engine_totals) in schema.engines {
            side.entry(engine).or_default().add(engine_totals);
        }
        totals.leftovers.add(schema.leftovers);
        if !is_system {
            totals.user_tables_in_system_tablespace += schema.in_system_tablespace;
        }
    }
    if totals.user_tables_in_system_tablespace > 0 {
        totals.user.entry(Engine::InnoDB).or_default().bytes += system_tablespace;
    }
    Ok(totals)
}

/// What one schema's directory holds.
#[derive(Default)]
struct Schema {
    engines: BTreeMap<Engine, Totals>,
    leftovers: Totals,
    in_system_tablespace: u64,
}

/// The files of one table in one engine.
#[derive(Default)]
struct TableFiles {
    bytes: u64,
    data_bytes: u64,
}

impl Schema {
    fn scan(directory: &Path) -> io::Result<Self> {
        let mut tables: BTreeMap<(String, Engine), TableFiles> = BTreeMap::new();
        let mut definitions = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some((stem, extension)) = file.rsplit_once('.') else { continue };
            if extension == "frm" {
                definitions.push((stem.to_owned(), entry.path()));
                continue;
            }
            let Some((engine, holds_rows)) = engine_of(extension) else { continue };
            let length = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let table = tables.entry((table_name(stem), engine)).or_default();
            table.bytes += length;
            if holds_rows {
                table.data_bytes += length;
            }
        }

        let mut schema = Self::default();
        let with_files: HashSet<String> = tables.keys().map(|(table, _)| table.clone()).collect();
        for (name, path) in definitions {
            let has_files = with_files.contains(&name);
            if !has_files && !name.starts_with("#sql") && is_innodb_frm(&path)? {
                schema.in_system_tablespace += 1;
                tables.insert((name, Engine::InnoDB), TableFiles::default());
            }
        }
        for ((name, engine), files) in tables {
            let totals = Totals {
                tables: 1,
                empty_tables: u64::from(engine == Engine::MyISAM && files.data_bytes == 0),
                bytes: files.bytes,
            };
            if name.starts_with("#sql") {
                schema.leftovers.add(totals);
            } else {
                schema.engines.entry(engine).or_default().add(totals);
            }
        }
        Ok(schema)
    }
}

/// The engine that a file extension belongs to, and whether rows are in that file (rather than an index).
fn engine_of(extension: &str) -> Option<(Engine, bool)> {
    Some(match extension {
        "MYD" => (Engine::MyISAM, true),
        "MYI" => (Engine::MyISAM, false),
        "MAD" => (Engine::Aria, true),
        "MAI" => (Engine::Aria, false),
        "ibd" => (Engine::InnoDB, true),
        "CSV" => (Engine::Csv, true),
        "ARZ" => (Engine::Archive, true),
        "MRG" => (Engine::Merge, false),
        _ => return None,
    })
}

/// The table of a file's stem: `t#P#p0` and `t#P#p0#SP#s1` (MySQL 8: `t#p#p0`) are partitions of `t`. The server
/// encodes a `#` in a table's own name as `@0023`, so the marker is unambiguous.
fn table_name(stem: &str) -> String {
    let cut = stem.find("#P#").or_else(|| stem.find("#p#")).unwrap_or(stem.len());
    stem[..cut].to_owned()
}

fn is_innodb_frm(path: &Path) -> io::Result<bool> {
    let mut header = [0u8; 4];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        // A view's file is text that begins with TYPE=VIEW; a table's begins with fe 01.
        Ok(()) => Ok(header[..2] == [0xfe, 0x01] && header[3] == 12),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Datadir(tempfile::TempDir);

    impl Datadir {
        fn new() -> Self {
            let datadir = Self(tempfile::tempdir().unwrap());
            datadir.file("ibdata1", 12 << 20).file("mysql/db.MAD", 8192).file("mysql/db.MAI", 8192);
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

        fn scan(&self) -> EngineTotals {
            scan(self.0.path()).unwrap()
        }
    }

    fn totals(tables: u64, empty_tables: u64, bytes: u64) -> Totals {
        Totals { tables, empty_tables, bytes }
    }

    #[test]
    fn a_fresh_server_has_no_user_data() {
        let found = Datadir::new().scan();
        assert!(found.user.is_empty());
        assert_eq!(found.system[&Engine::Aria], totals(1, 0, 16384));
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
            .file("app/a.MAI", 100)
            .file("app/c.CSV", 5)
            .file("app/c.CSM", 35)
            .file("app/z.ARZ", 88)
            .file("app/u.MRG", 12)
            .file("app/db.opt", 67)
            .file("other/t.ibd", 98304);
        let user = datadir.scan().user;
        assert_eq!(user[&Engine::InnoDB], totals(2, 0, 196_608));
        assert_eq!(user[&Engine::MyISAM], totals(2, 1, 2055));
        assert_eq!(user[&Engine::Aria], totals(1, 0, 200));
        assert_eq!(user[&Engine::Csv], totals(1, 0, 5));
        assert_eq!(user[&Engine::Archive], totals(1, 0, 88));
        assert_eq!(user[&Engine::Merge], totals(1, 0, 12));
    }

    #[test]
    fn partitions_are_one_table_and_leftovers_none() {
        let datadir = Datadir::new();
        for partition in ["p#P#p0", "p#P#p1", "q#p#p0#sp#s0", "q#p#p0#sp#s1"] {
            datadir.file(&format!("app/{partition}.MYD"), 10).file(&format!("app/{partition}.MYI"), 10);
        }
        datadir.file("app/#sql-1f_3.MYD", 500);
        let found = datadir.scan();
        assert_eq!(found.user[&Engine::MyISAM], totals(2, 0, 80));
        assert_eq!(found.leftovers, totals(1, 0, 500));
    }

    #[test]
    fn a_definition_without_files_lives_in_the_system_tablespace() {
        let datadir = Datadir::new();
        fs::write(datadir.path("app/old.frm"), [0xfe, 0x01, 0x0a, 12, 0]).unwrap();
        fs::write(datadir.path("app/view.frm"), "TYPE=VIEW\n").unwrap();
        fs::write(datadir.path("app/short.frm"), "").unwrap();
        let found = datadir.scan();
        assert_eq!(found.user_tables_in_system_tablespace, 1);
        assert_eq!(found.user[&Engine::InnoDB], totals(1, 0, 12 << 20));
    }

    #[test]
    fn what_is_no_data_directory_fails() {
        let empty = tempfile::tempdir().unwrap();
        assert!(scan(empty.path()).unwrap_err().seen.contains("not a data directory"));
        fs::create_dir(empty.path().join("lost+found")).unwrap();
        assert!(scan(empty.path()).is_err());
        assert!(scan(&empty.path().join("missing")).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(scan(file.path()).is_err());
    }
}
