//! The headers of table files, as far as they tell what a table is.

pub mod aria;
pub mod frm;
pub mod myisam;
pub mod sdi;

/// Why a file's header tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends before its header does, so that it was cut off.
    #[error("it is truncated: its header needs {needed} bytes, and it has {length}")]
    Truncated {
        /// Bytes that the header needs, as far as that could be told.
        needed: usize,
        /// Bytes that there are.
        length: usize,
    },
    /// It begins with other bytes than such a file.
    #[error("it does not begin like such a file")]
    Foreign,
}

/// `count` bytes from `at`.
fn slice(bytes: &[u8], at: usize, count: usize) -> Result<&[u8], HeaderError> {
    let needed = at.saturating_add(count);
    bytes.get(at..needed).ok_or(HeaderError::Truncated { needed, length: bytes.len() })
}

fn u16_le(bytes: &[u8], at: usize) -> Result<usize, HeaderError> {
    slice(bytes, at, 2).map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])))
}

fn u32_le(bytes: &[u8], at: usize) -> Result<usize, HeaderError> {
    slice(bytes, at, 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize)
}

fn u16_be(bytes: &[u8], at: usize) -> Result<usize, HeaderError> {
    slice(bytes, at, 2).map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])))
}
