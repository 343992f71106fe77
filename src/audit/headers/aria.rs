//! The header of an Aria index file (`.MAI`): whether the table is crash-safe.
//!
//! Big endian. A fixed part of 24 bytes (`MARIA_STATE_INFO::header` in the server's `storage/maria/maria_def.h`) names the
//! length of the whole header and where the base information begins. In the base information, as `_ma_base_info_write` in
//! `ma_open.c` writes it, the block size is at 100 and `born_transactional` at 106. Only a transactional table is logged,
//! and so recovered after a crash.

use super::{HeaderError, slice, u16_be};

const MAGIC: [u8; 3] = [0xfe, 0xfe, 0x09];
const FIXED: usize = 24;
const HEADER_LENGTH: usize = 6;
const BASE_POSITION: usize = 12;
const DATA_FILE_TYPE: usize = 22;
const BLOCK_RECORD: u8 = 3;
const BLOCK_SIZE_IN_BASE: usize = 100;
const BORN_TRANSACTIONAL_IN_BASE: usize = 106;

/// What the header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aria {
    /// Changes are logged, so that the table survives a crash.
    pub transactional: bool,
    /// Bytes of a data file without rows: one bitmap page in the page format, none in the others.
    pub empty_data_bytes: u64,
}

/// The length of the whole header in bytes, from its first 24.
///
/// # Errors
/// When these are not the beginning of an Aria index file.
pub fn header_length(bytes: &[u8]) -> Result<usize, HeaderError> {
    if !slice(bytes, 0, FIXED)?.starts_with(&MAGIC) {
        return Err(HeaderError::Foreign);
    }
    u16_be(bytes, HEADER_LENGTH)
}

/// Reads the header; `bytes` may be longer than it.
///
/// # Errors
/// When they are not an Aria header, or only a part of one.
pub fn parse(bytes: &[u8]) -> Result<Aria, HeaderError> {
    slice(bytes, 0, header_length(bytes)?)?;
    let base = u16_be(bytes, BASE_POSITION)?;
    let transactional = slice(bytes, base + BORN_TRANSACTIONAL_IN_BASE, 1)?[0];
    let block_size = u16_be(bytes, base + BLOCK_SIZE_IN_BASE)?;
    let in_pages = slice(bytes, DATA_FILE_TYPE, 1)?[0] == BLOCK_RECORD;
    match transactional {
        0 | 1 => Ok(Aria {
            transactional: transactional == 1,
            empty_data_bytes: if in_pages { block_size as u64 } else { 0 },
        }),
        // The server writes a truth value there: the offsets are another version's.
        _ => Err(HeaderError::Foreign),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRANSACTIONAL: &[u8] =
        include_bytes!("../../../tests/captured/tables/mariadb-10.11/transactional.MAI");
    const NOT: &[u8] = include_bytes!("../../../tests/captured/tables/mariadb-10.11/transactional-0.MAI");
    const DYNAMIC: &[u8] = include_bytes!("../../../tests/captured/tables/mariadb-10.11/dynamic.MAI");

    #[test]
    fn tells_crash_safe_tables_from_others() {
        assert_eq!(parse(TRANSACTIONAL), Ok(Aria { transactional: true, empty_data_bytes: 8192 }));
        assert_eq!(parse(NOT), Ok(Aria { transactional: false, empty_data_bytes: 8192 }));
        assert_eq!(parse(DYNAMIC), Ok(Aria { transactional: false, empty_data_bytes: 0 }));
    }

    #[test]
    fn a_header_that_was_cut_off_is_an_error() {
        for length in 0..TRANSACTIONAL.len() {
            let truncated = parse(&TRANSACTIONAL[..length]);
            assert!(matches!(truncated, Err(HeaderError::Truncated { .. })), "{length}: {truncated:?}");
        }
        assert_eq!(parse(&[0; 448]), Err(HeaderError::Foreign));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let mut header = MAGIC.to_vec();
            header.extend(&bytes);
            let _ = parse(&header);
        }
    }
}
