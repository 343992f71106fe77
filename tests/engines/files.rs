//! The sizes of files in a data directory, by the plainest of means.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::corpus::Corpus;
use crate::report::Report;
use crate::server::{Product, Server};

/// The bytes of each engine whose files are in the users' schemas, or linked from there.
pub(crate) fn bytes_by_engine(server: &Server, corpus: &Corpus) -> BTreeMap<&'static str, u64> {
    let mut engines = BTreeMap::new();
    let mut schemas = 0;
    for schema in fs::read_dir(server.datadir()).unwrap().map(Result::unwrap) {
        let name = schema.file_name().into_string().unwrap();
        if !fs::metadata(schema.path()).unwrap().is_dir()
            || name.starts_with('#')
            || ["mysql", "sys", "performance_schema", "lost+found"].contains(&&*name)
        {
            continue;
        }
        schemas += 1;
        for file in fs::read_dir(schema.path()).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            let engine = match name.rsplit_once('.').unwrap().1 {
                "MYD" | "MYI" => "MyISAM",
                "MAD" | "MAI" => "Aria",
                "CSV" => "CSV",
                "ARZ" => "ARCHIVE",
                _ => continue,
            };
            if !name.starts_with("#sql") {
                *engines.entry(engine).or_default() += bytes(&file.path());
            }
        }
    }
    assert_eq!(schemas, corpus.schemas().len());
    engines
}

/// What the offline audit of MySQL can't know to be InnoDB's tables: its system tablespace, if SQL says that tables are in
/// there, and the files outside.
pub(crate) fn unseen_innodb_bytes(server: &Server, online: &Report) -> u64 {
    if server.product == Product::MariaDb {
        return 0;
    }
    assert!(online.innodb_shared_bytes > 0);
    let mut unseen = bytes(&server.datadir().join("ibdata1"));
    for place in fs::read_dir(server.outside()).unwrap().map(Result::unwrap) {
        for schema in fs::read_dir(place.path()).unwrap().map(Result::unwrap) {
            if schema.path().is_dir() {
                let files = fs::read_dir(schema.path()).unwrap().map(Result::unwrap);
                unseen += files.map(|file| bytes(&file.path())).sum::<u64>();
            }
        }
    }
    unseen
}

/// The bytes of what looks like the rest of an ALTER TABLE.
pub(crate) fn leftover_bytes(server: &Server) -> u64 {
    let shop = server.datadir().join("shop");
    ["MYD", "MYI"].iter().map(|extension| bytes(&shop.join(format!("#sql-alter-1f-3.{extension}")))).sum()
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
