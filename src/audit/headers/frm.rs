//! A table's definition file (`.frm`; MariaDB, MySQL up to 5.7): its engine, and whether it is a table at all.
//!
//! Little endian. Byte 3 is the engine's number (`legacy_db_type` in the server's `sql/handler.h`), byte 39 holds in its
//! bits 4 and 5 whether it is a sequence, byte 61 the engine of a partitioned table's partitions. The engine's name follows
//! the default row: after the connection string, each with a length of two bytes (`dd_frm_type` in `sql/table.cc`). A view's
//! file is text that begins with `TYPE=VIEW`.

use super::{HeaderError, slice, u16_le, u32_le};
use crate::audit::Engine;

/// Bytes of the fixed header.
pub const HEADER: usize = 64;
const VIEW: &[u8] = b"TYPE=VIEW\n";
const MAGIC: [u8; 2] = [0xfe, 0x01];
const ENGINE: usize = 3;
const SEQUENCE: usize = 39;
const PARTITION_ENGINE: usize = 61;
/// `HA_CHOICE_YES`.
const YES: u8 = 2;
const PARTITIONED: u8 = 20;

/// What a definition file defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// A table.
    Table {
        /// The engine, or that of its partitions.
        engine: Engine,
        /// As the server names the engine; in capitals where only its number is known.
        name: String,
        /// It is divided into partitions.
        partitioned: bool,
    },
    /// A sequence, which looks like a table with one row.
    Sequence,
    /// A view, which has no data.
    View,
}

/// Whether the fixed header is that of a sequence.
///
/// # Errors
/// When it is shorter than the header, or the header of something else.
pub fn is_sequence(bytes: &[u8]) -> Result<bool, HeaderError> {
    if bytes.starts_with(VIEW) {
        return Ok(false);
    }
    if !slice(bytes, 0, HEADER)?.starts_with(&MAGIC) {
        return Err(HeaderError::Foreign);
    }
    Ok(bytes[SEQUENCE] >> 4 & 3 == YES)
}

/// Reads a whole definition file, or as much of it as goes to the engine's name.
///
/// # Errors
/// When it is shorter than its header says, or something else.
pub fn parse(bytes: &[u8]) -> Result<Definition, HeaderError> {
    if bytes.starts_with(VIEW) {
        return Ok(Definition::View);
    }
    if is_sequence(bytes)? {
        return Ok(Definition::Sequence);
    }
    let partitioned = bytes[ENGINE] == PARTITIONED;
    let number = if partitioned { bytes[PARTITION_ENGINE] } else { bytes[ENGINE] };
    let written = engine_name(bytes)?.filter(|_| !partitioned);
    let name = written
        .or_else(|| by_number(number).map(str::to_owned))
        .unwrap_or_else(|| format!("engine {number}"));
    Ok(Definition::Table { engine: Engine::by_name(&name), name, partitioned })
}

/// The name after the default row; none where an old server wrote none.
fn engine_name(bytes: &[u8]) -> Result<Option<String>, HeaderError> {
    let extra = u32_le(bytes, 55)?;
    let keys = match u16_le(bytes, 14)? {
        0xffff => u32_le(bytes, 47)?,
        short => short,
    };
    let start = u16_le(bytes, 6)? + keys + u16_le(bytes, 16)?;
    let extra = slice(bytes, start, extra)?;
    let at = |at: usize| Some(usize::from(u16::from_le_bytes([*extra.get(at)?, *extra.get(at + 1)?])));
    let name = at(0).and_then(|connection| {
        let length = at(connection + 2)?;
        extra.get(connection + 4..connection + 4 + length)
    });
    Ok(name.filter(|name| !name.is_empty()).map(|name| String::from_utf8_lossy(name).into_owned()))
}

fn by_number(number: u8) -> Option<&'static str> {
    Some(match number {
        6 => "MEMORY",
        9 => "MyISAM",
        10 => "MRG_MyISAM",
        12 => "InnoDB",
        14 => "ndbcluster",
        15 => "EXAMPLE",
        16 => "ARCHIVE",
        17 => "CSV",
        18 => "FEDERATED",
        19 => "BLACKHOLE",
        28 => "PERFORMANCE_SCHEMA",
        41 => "S3",
        42 => "Aria",
        // From 45 on (MySQL: 42) numbers are given out at run time, and the name alone counts.
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! captured {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/captured/tables/mariadb-10.11/", $name))
        };
    }

    fn table(bytes: &[u8]) -> (Engine, String, bool) {
        match parse(bytes).unwrap() {
            Definition::Table { engine, name, partitioned } => (engine, name, partitioned),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_servers_own_files() {
        assert_eq!(table(captured!("innodb.frm")), (Engine::InnoDB, "InnoDB".into(), false));
        assert_eq!(table(captured!("memory.frm")), (Engine::Memory, "MEMORY".into(), false));
        assert_eq!(table(captured!("innodb-partitioned.frm")), (Engine::InnoDB, "InnoDB".into(), true));
        assert_eq!(table(captured!("aria-partitioned.frm")), (Engine::Aria, "Aria".into(), true));
        assert_eq!(parse(captured!("sequence.frm")), Ok(Definition::Sequence));
        assert_eq!(parse(captured!("view.frm")), Ok(Definition::View));
    }

    #[test]
    fn an_engine_of_a_plugin_is_known_by_its_name() {
        let mut bytes = captured!("innodb.frm").to_vec();
        bytes[ENGINE] = 60;
        let at = bytes.windows(6).position(|window| window == b"InnoDB").unwrap();
        bytes[at..at + 6].copy_from_slice(b"SPIDER");
        assert_eq!(table(&bytes), (Engine::OtherCrashSafe, "SPIDER".into(), false));
        bytes[at - 2] = 0;
        assert_eq!(table(&bytes).1, "engine 60");
        bytes[ENGINE] = 18;
        assert_eq!(table(&bytes).1, "FEDERATED");
    }

    #[test]
    fn a_file_that_was_cut_off_is_an_error() {
        let whole: &[u8] = captured!("memory.frm");
        for length in 0..=HEADER {
            assert!(matches!(parse(&whole[..length]), Err(HeaderError::Truncated { .. })), "{length}");
        }
        assert_eq!(parse(&[0; 4096]), Err(HeaderError::Foreign));
        assert!(is_sequence(&whole[..HEADER - 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let mut header = MAGIC.to_vec();
            header.extend(&bytes);
            let _ = parse(&header);
            let _ = is_sequence(&header);
        }
    }
}
