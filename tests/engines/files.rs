//! The sizes of the users' files, by the plainest of means.

use std::collections::BTreeMap;
use std::fs;

use crate::corpus::Corpus;
use crate::server::Server;

/// The bytes of each engine whose files are in the schemas' directories (or linked from there).
pub(crate) fn bytes_by_engine(server: &Server, corpus: &Corpus) -> BTreeMap<&'static str, u64> {
    let schemas = corpus.schemas().len();
    let mut engines = BTreeMap::new();
    let mut found = 0;
    for schema in fs::read_dir(server.datadir()).unwrap().map(Result::unwrap) {
        let name = schema.file_name().into_string().unwrap();
        if !fs::metadata(schema.path()).unwrap().is_dir()
            || name.starts_with('#')
            || ["mysql", "sys", "performance_schema", "lost+found"].contains(&&*name)
        {
            continue;
        }
        found += 1;
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
                *engines.entry(engine).or_default() += fs::metadata(file.path()).unwrap().len();
            }
        }
    }
    assert_eq!(found, schemas);
    engines
}
