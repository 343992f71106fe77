//! The files behind InnoDB's tables, as the server lists them.

use std::collections::{HashMap, HashSet};

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::Dialect;
use crate::audit::filename;
use crate::audit::offline::{is_full_text_part, table_of};

/// Sizes by table. Tables are known by their file names, `schema/table` with both encoded.
#[derive(Debug, Default)]
pub(super) struct Files {
    tables: HashMap<String, u64>,
    in_system_tablespace: HashSet<String>,
    /// Bytes of the files that hold several tables of users.
    pub(super) general_bytes: u64,
    /// Bytes of MySQL's dictionary, `mysql.ibd`.
    pub(super) dictionary_bytes: u64,
    /// Bytes of full-text indexes, which have files of their own.
    pub(super) full_text_bytes: u64,
    /// Bytes of `ibdata*`.
    pub(super) system_tablespace_bytes: u64,
    /// Bytes of `ibdata*` and the undo files.
    pub(super) shared_bytes: u64,
    is_known: bool,
}

/// Where a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In files of its own, with so many bytes.
    OwnFiles(u64),
    /// Inside `ibdata*`.
    SystemTablespace,
    /// In a file with others.
    Shared,
    /// The server does not list its files.
    Unknown,
}

impl Files {
    pub(super) fn read(connection: &mut Conn, dialect: Dialect) -> Result<Self, Error> {
        let prefix = if dialect == Dialect::MySql { "innodb" } else { "innodb_sys" };
        let mut spaces: HashMap<u64, (String, u64)> = HashMap::new();
        let listed = connection.query_iter(format!(
            "SELECT space, CAST(name AS BINARY), file_size FROM information_schema.{prefix}_tablespaces"
        ))?;
        for row in listed {
            let (space, name, bytes): (u64, Vec<u8>, u64) = mysql::from_row(row?);
            spaces.insert(space, (String::from_utf8_lossy(&name).into_owned(), bytes));
        }
        let mut files = Self { is_known: true, ..Self::default() };
        for (space, (name, bytes)) in &spaces {
            files.add_space(*space, name, *bytes);
        }
        if !spaces.contains_key(&0) {
            files.system_tablespace_bytes = connection
                .query_first(
                    "SELECT CAST(COALESCE(SUM(total_extents * extent_size), 0) AS UNSIGNED) \
                     FROM information_schema.files WHERE tablespace_name = 'innodb_system'",
                )?
                .unwrap_or_default();
            files.shared_bytes += files.system_tablespace_bytes;
        }
        let listed = connection.query_iter(format!(
            "SELECT CAST(name AS BINARY), space FROM information_schema.{prefix}_tables"
        ))?;
        for row in listed {
            let (name, space): (Vec<u8>, u64) = mysql::from_row(row?);
            files.add_table(&String::from_utf8_lossy(&name), space, spaces.get(&space));
        }
        Ok(files)
    }

    fn add_space(&mut self, space: u64, name: &str, bytes: u64) {
        if space == 0 {
            self.system_tablespace_bytes += bytes;
            self.shared_bytes += bytes;
        } else if name.starts_with("innodb_undo") {
            self.shared_bytes += bytes;
        } else if name == "mysql" {
            self.dictionary_bytes += bytes;
        } else if !name.contains('/') && !name.starts_with("innodb_") {
            self.general_bytes += bytes;
        }
    }

    fn add_table(&mut self, name: &str, space: u64, file: Option<&(String, u64)>) {
        let Some((schema, table)) = name.split_once('/') else { return };
        let whole = String::from_utf8_lossy(table_of(table.as_bytes()));
        let own = file.filter(|(space, _)| space.contains('/')).map(|(_, bytes)| *bytes);
        if space == 0 {
            self.in_system_tablespace.insert(format!("{schema}/{whole}"));
        } else if is_full_text_part(table.as_bytes()) {
            self.full_text_bytes += own.unwrap_or_default();
        } else if let Some(bytes) = own {
            *self.tables.entry(format!("{schema}/{whole}")).or_default() += bytes;
        } else if file.is_some() {
            self.tables.entry(format!("{schema}/{whole}")).or_default();
        }
    }

    pub(super) fn place(&self, schema: &str, table: &str) -> Place {
        if !self.is_known {
            return Place::Unknown;
        }
        let (Some(schema), Some(table)) = (filename::encode(schema), filename::encode(table)) else {
            return Place::Unknown;
        };
        let key = format!("{schema}/{table}");
        let reserved = format!("{key}@@@");
        match self.tables.get(&key).or_else(|| self.tables.get(&reserved)) {
            _ if self.in_system_tablespace.contains(&key) => Place::SystemTablespace,
            _ if self.in_system_tablespace.contains(&reserved) => Place::SystemTablespace,
            Some(0) => Place::Shared,
            Some(bytes) => Place::OwnFiles(*bytes),
            None => Place::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_encoded_names() {
        let mut files = Files { is_known: true, ..Files::default() };
        let own = |name: &str, bytes| Some((name.to_owned(), bytes));
        files.add_table("app/odd@0020@1o#P#p0", 5, own("app/odd@0020@1o#P#p0", 100).as_ref());
        files.add_table("app/odd@0020@1o#P#p1", 6, own("app/odd ü#P#p1", 50).as_ref());
        files.add_table("app/old", 0, None);
        files.add_table("app/g", 7, own("general", 1000).as_ref());
        files.add_table("app/FTS_0000000000000020_CONFIG", 8, own("app/FTS", 7).as_ref());
        files.add_table("app/CON@@@", 9, own("app/CON@@@", 70).as_ref());
        files.add_table("app/unopened", 10, None);
        files.add_table("SYS_FOREIGN", 0, None);
        assert_eq!(files.place("app", "odd ü"), Place::OwnFiles(150));
        assert_eq!(files.place("app", "old"), Place::SystemTablespace);
        assert_eq!(files.place("app", "g"), Place::Shared);
        assert_eq!(files.place("app", "CON"), Place::OwnFiles(70));
        assert_eq!(files.place("app", "unopened"), Place::Unknown);
        assert_eq!(files.place("app", "new"), Place::Unknown);
        assert_eq!(files.full_text_bytes, 7);
        assert_eq!(Files::default().place("app", "old"), Place::Unknown);
    }

    #[test]
    fn shared_files_are_told_apart() {
        let mut files = Files::default();
        for (space, name) in
            [(0, "innodb_system"), (3, "innodb_undo_001"), (4, "gts"), (5, "app/t"), (6, "mysql")]
        {
            files.add_space(space, name, 1 << space);
        }
        files.add_space(7, "innodb_temporary", 1 << 7);
        assert_eq!((files.shared_bytes, files.system_tablespace_bytes), (9, 1));
        assert_eq!((files.general_bytes, files.dictionary_bytes), (16, 64));
    }
}
