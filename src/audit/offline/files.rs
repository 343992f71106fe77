//! What a file in a schema's directory is, by its name alone.

use crate::audit::Engine;

/// The engines that have files of their own, as indexes of [`Family::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    InnoDB,
    MyISAM,
    Aria,
    Csv,
    Archive,
    Merge,
}

impl Family {
    /// The engine; Aria's crash safety stands in its header.
    pub(super) fn engine(self) -> Engine {
        match self {
            Family::InnoDB => Engine::InnoDB,
            Family::MyISAM => Engine::MyISAM,
            Family::Aria => Engine::Aria,
            Family::Csv => Engine::Csv,
            Family::Archive => Engine::Archive,
            Family::Merge => Engine::Merge,
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A table's or view's definition.
    Definition,
    /// Rows (and in InnoDB their indexes).
    Data(Family),
    /// Indexes, and the header that tells what the table is.
    Index(Family),
    /// The path of an InnoDB file elsewhere.
    Link,
    /// MySQL's description of a table that is not InnoDB.
    Description,
}

/// Stem and kind of a table's file; none for a file that is no part of a table's data.
pub(super) fn classify(name: &[u8]) -> Option<(&[u8], Kind)> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let kind = match &name[dot + 1..] {
        b"frm" => Kind::Definition,
        b"ibd" => Kind::Data(Family::InnoDB),
        b"isl" => Kind::Link,
        b"sdi" => Kind::Description,
        b"MYD" => Kind::Data(Family::MyISAM),
        b"MYI" => Kind::Index(Family::MyISAM),
        b"MAD" => Kind::Data(Family::Aria),
        b"MAI" => Kind::Index(Family::Aria),
        b"CSV" => Kind::Data(Family::Csv),
        b"ARZ" => Kind::Data(Family::Archive),
        b"MRG" => Kind::Index(Family::Merge),
        _ => return None,
    };
    Some((&name[..dot], kind))
}

/// The table of a file's stem: `t#P#p0` and `t#P#p0#SP#s1` (MySQL 8: `t#p#p0`) are partitions of `t`. The server
/// encodes a `#` in a table's own name as `@0023`, so the marker is unambiguous.
pub fn table_of(stem: &[u8]) -> &[u8] {
    let mut from = 0;
    while let Some(at) = stem[from..].iter().position(|byte| *byte == b'#') {
        let at = from + at;
        if matches!(stem.get(at + 1..at + 3), Some(b"P#" | b"p#")) && at > 0 {
            return &stem[..at];
        }
        from = at + 1;
    }
    stem
}

/// The table of a description's stem, `NAME_ID`, as far as it was not cut off.
pub(super) fn described(stem: &[u8]) -> &[u8] {
    let digits = stem.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    stem[..stem.len() - digits].strip_suffix(b"_").unwrap_or(stem)
}

/// What an interrupted ALTER TABLE leaves behind.
pub(super) fn is_leftover(stem: &[u8]) -> bool {
    stem.starts_with(b"#sql") || stem.starts_with(b"#mysql50##sql")
}

/// A table that InnoDB keeps for itself, beside a table with a full-text index: `FTS_<16 hexadecimal digits>_…`.
pub fn is_full_text_part(stem: &[u8]) -> bool {
    stem.len() > 21
        && stem[..4].eq_ignore_ascii_case(b"FTS_")
        && stem[4..20].iter().all(u8::is_ascii_hexdigit)
        && stem[20] == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn partitions_belong_to_their_table() {
        for stem in ["t", "t#P#p0", "t#p#p0#sp#s1", "t#P#p0#SP#s1", "t#P#p0#TMP#"] {
            assert_eq!(table_of(stem.as_bytes()), b"t");
        }
        for stem in ["t@0023P@0023", "#sql-1f_3", "#P#", "t#Q#p", "t#"] {
            assert_eq!(table_of(stem.as_bytes()), stem.as_bytes());
        }
        assert_eq!(table_of(b"#sql-1f_3#P#p0"), b"#sql-1f_3");
    }

    #[test]
    fn descriptions_name_their_table() {
        assert_eq!(described(b"mm_378"), b"mm");
        assert_eq!(described(b"t_1_2"), b"t_1");
        assert_eq!(described(b"odd"), b"odd");
    }

    #[test]
    fn full_text_parts_are_known_by_their_number() {
        assert!(is_full_text_part(b"FTS_0000000000000020_000000000000002c_INDEX_1"));
        assert!(is_full_text_part(b"fts_0000000000000020_config"));
        for stem in
            ["FTS_notes", "FTS_000000000000002z_CONFIG", "FTS_0000000000000020", "fts_00000000000000201x"]
        {
            assert!(!is_full_text_part(stem.as_bytes()), "{stem}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = classify(&bytes);
            let _ = table_of(&bytes);
            let _ = is_full_text_part(&bytes);
        }
    }
}
