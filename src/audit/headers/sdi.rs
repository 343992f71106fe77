//! Serialized dictionary information (`NAME_ID.sdi`, MySQL 8 and later): JSON beside a table that is not InnoDB.

use serde::Deserialize;

use super::HeaderError;

/// What the file defines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Table {
    /// The table's name, decoded. The file's own name holds only the beginning of a long one.
    pub name: String,
    /// As the server names the engine.
    pub engine: String,
}

#[derive(Deserialize)]
struct File {
    dd_object: Table,
}

/// Reads a whole file.
///
/// # Errors
/// When it is not such JSON, or not all of it.
pub fn parse(bytes: &[u8]) -> Result<Table, HeaderError> {
    serde_json::from_slice(bytes).map(|File { dd_object }| dd_object).map_err(|error| {
        match error.classify() {
            serde_json::error::Category::Eof => {
                HeaderError::Truncated { needed: bytes.len() + 1, length: bytes.len() }
            }
            _ => HeaderError::Foreign,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMORY: &[u8] = include_bytes!("../../../tests/captured/tables/mysql-9.7/memory.sdi");

    #[test]
    fn reads_a_servers_own_file() {
        assert_eq!(parse(MEMORY), Ok(Table { name: "mm".into(), engine: "MEMORY".into() }));
    }

    #[test]
    fn a_file_that_was_cut_off_is_an_error() {
        for length in [0, 1, 100, MEMORY.len() - 1] {
            assert!(matches!(parse(&MEMORY[..length]), Err(HeaderError::Truncated { .. })), "{length}");
        }
        assert_eq!(parse(b"\0\0\0\0"), Err(HeaderError::Foreign));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
