//! Schema and table names as the server writes them into file names: its character set `filename`.
//!
//! ASCII letters, digits and `_` stand for themselves. Every other character of the basic plane is `@` and four hexadecimal
//! digits, or `@` and two characters for the letters in [`compact`]. Source: `my_mb_wc_filename` in the server's
//! `strings/ctype-utf8.c`, and a server's own answers.

mod compact;

use std::collections::HashMap;
use std::sync::LazyLock;

/// What the server appends to a name that Windows reserves, such as `CON`.
const RESERVED: &[u8] = b"@@@";

/// What the server puts before a name that it can't decode.
const UNDECODED: &str = "#mysql50#";

static BY_CODE: LazyLock<HashMap<[u8; 2], char>> = LazyLock::new(|| rows().collect());
static BY_CHARACTER: LazyLock<HashMap<char, [u8; 2]>> =
    LazyLock::new(|| rows().map(|(code, character)| (character, code)).collect());

fn rows() -> impl Iterator<Item = ([u8; 2], char)> {
    compact::ROWS.iter().flat_map(|(first, codes)| {
        let codes = codes.as_bytes().chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        codes.zip(u32::from(*first)..).filter_map(|(code, point)| Some((code, char::from_u32(point)?)))
    })
}

/// The name that a file or directory name stands for. One that is no such name is shown as the server shows it: with
/// `#mysql50#` before it, which is also how a statement must write it.
pub fn decode(name: &[u8]) -> String {
    parse(name).unwrap_or_else(|NotEncoded| format!("{UNDECODED}{}", String::from_utf8_lossy(name)))
}

/// The bytes are not in the character set `filename`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name in the character set `filename`")]
pub struct NotEncoded;

/// The name that the bytes encode.
///
/// # Errors
/// A character that the server would have encoded, or a code that stands for nothing.
pub fn parse(bytes: &[u8]) -> Result<String, NotEncoded> {
    let mut name = String::with_capacity(bytes.len());
    let mut rest = bytes.strip_suffix(RESERVED).filter(|name| !name.is_empty()).unwrap_or(bytes);
    while let Some((first, after)) = rest.split_first() {
        if first.is_ascii_alphanumeric() || *first == b'_' {
            name.push(char::from(*first));
            rest = after;
        } else if *first == b'@' {
            let (character, length) = code(after).ok_or(NotEncoded)?;
            name.push(character);
            rest = &after[length..];
        } else {
            return Err(NotEncoded);
        }
    }
    Ok(name)
}

/// The character after an `@`, and how many bytes its code has.
fn code(after: &[u8]) -> Option<(char, usize)> {
    if let Some(pair) = after.first_chunk::<2>()
        && let Some(character) = BY_CODE.get(pair)
    {
        return Some((*character, 2));
    }
    let mut point = 0;
    for digit in after.first_chunk::<4>()? {
        // Upper-case digits are other letters' compact codes.
        let digit = if digit.is_ascii_uppercase() { None } else { char::from(*digit).to_digit(16) };
        point = point * 16 + digit?;
    }
    Some((char::from_u32(point)?, 4))
}

/// The file name of a schema or table, without the `@@@` after a reserved one; none for a name with characters beyond the basic plane, which no server has.
pub fn encode(name: &str) -> Option<String> {
    if let Some(raw) = name.strip_prefix(UNDECODED) {
        return Some(raw.to_owned());
    }
    let mut encoded = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || character == '_' {
            encoded.push(character);
        } else if let Some([one, two]) = BY_CHARACTER.get(&character) {
            encoded.extend(['@', char::from(*one), char::from(*two)]);
        } else {
            let point = u16::try_from(u32::from(character)).ok()?;
            encoded.push_str(&format!("@{point:04x}"));
        }
    }
    Some(encoded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pairs that MariaDB 10.11 itself made.
    const PAIRS: [(&str, &str); 9] = [
        ("plain_1", "plain_1"),
        ("weird #name.ü/日本 \"x\"", "weird@0020@0023name@002e@1o@002f@65e5@672c@0020@0022x@0022"),
        ("bt`q", "bt@0060q"),
        ("odd ü-schema", "odd@0020@1o@002dschema"),
        ("Àß", "@0G@1j"),
        ("a@b", "a@0040b"),
        ("АГωж€", "@G0@J0@7p@m0@20ac"),
        ("$", "@0024"),
        ("CON@@@", "CON@0040@0040@0040"),
    ];

    #[test]
    fn decodes_and_encodes_as_the_server() {
        for (name, file) in PAIRS {
            assert_eq!(decode(file.as_bytes()), name);
            assert_eq!(encode(name).unwrap(), file);
        }
    }

    #[test]
    fn reserved_names_have_a_mark() {
        assert_eq!(decode(b"CON@@@"), "CON");
        assert_eq!(decode(b"@@@"), "#mysql50#@@@");
    }

    #[test]
    fn what_is_not_encoded_keeps_its_bytes() {
        assert_eq!(decode(b"my-schema"), "#mysql50#my-schema");
        assert_eq!(decode(b"a@00e"), "#mysql50#a@00e");
        assert_eq!(decode(b"a@d800"), "#mysql50#a@d800");
        assert_eq!(encode("#mysql50#my-schema").unwrap(), "my-schema");
        assert_eq!(encode("\u{1f600}"), None);
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "[\u{1}-\u{d7ff}\u{e000}-\u{ffff}]{0,20}") {
            let encoded = encode(&name).unwrap();
            prop_assert!(name.starts_with(UNDECODED) || parse(encoded.as_bytes()) == Ok(name));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&bytes);
            if let Ok(name) = parse(&bytes) {
                prop_assert_eq!(parse(encode(&name).unwrap().as_bytes()), Ok(name));
            }
        }
    }
}
