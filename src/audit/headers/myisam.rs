//! The header of a MyISAM index file (`.MYI`).
//!
//! Big endian; the first 24 bytes are `MI_STATE_INFO::header` in the server's `storage/myisam/myisamdef.h`. An index file is
//! made of blocks of 1024 bytes, and a new one has one block at least for its header.

use super::{HeaderError, slice, u16_be};

const MAGIC: [u8; 3] = [0xfe, 0xfe, 0x07];
const HEADER_LENGTH: usize = 6;
const OPEN_COUNT: usize = 24;
const RECORDS: usize = 28;

/// No whole index file is shorter, in bytes.
pub const SHORTEST: u64 = 1024;

/// What the header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MyIsam {
    /// Rows.
    pub records: u64,
    /// The file was open for writing when it was last written: after a crash the table must be checked.
    pub open: bool,
}

/// Reads the header; `bytes` may be longer than it.
///
/// # Errors
/// When they are not a MyISAM header, or only a part of one.
pub fn parse(bytes: &[u8]) -> Result<MyIsam, HeaderError> {
    if !slice(bytes, 0, RECORDS + 8)?.starts_with(&MAGIC) {
        return Err(HeaderError::Foreign);
    }
    slice(bytes, 0, u16_be(bytes, HEADER_LENGTH)?)?;
    let records = slice(bytes, RECORDS, 8)?.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    Ok(MyIsam { records, open: u16_be(bytes, OPEN_COUNT)? != 0 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = include_bytes!("../../../tests/captured/tables/mariadb-10.11/one-row.MYI");

    #[test]
    fn reads_a_servers_own_file_taken_while_it_was_open() {
        assert_eq!(parse(TABLE), Ok(MyIsam { records: 1, open: true }));
    }

    #[test]
    fn a_header_that_was_cut_off_is_an_error() {
        let whole = u16_be(TABLE, HEADER_LENGTH).unwrap();
        for length in 0..whole {
            assert!(matches!(parse(&TABLE[..length]), Err(HeaderError::Truncated { .. })), "{length}");
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
