//! `authkeys` (authkeys(5)). The keys themselves are never kept.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::foreign::Place;

/// One line `NUMBER METHOD [KEY]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// Its number.
    pub number: u32,
    /// `sha1`, `md5` or `crc`.
    pub name: String,
    /// Whether a key follows; `crc` has none.
    pub has_key: bool,
    /// Where it stands.
    pub place: Place,
}

/// All of authkeys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthKeys {
    /// The number of the method that signs, and where that is said.
    pub signs_with: Option<(u32, Place)>,
    /// The methods that are understood.
    pub methods: Vec<Method>,
    /// Lines that are none of this.
    pub odd_lines: Vec<Place>,
}

impl AuthKeys {
    /// The method that signs, when it is there.
    pub fn signing_method(&self) -> Option<&Method> {
        let (number, _) = self.signs_with.as_ref()?;
        self.methods.iter().find(|method| method.number == *number)
    }
}

/// Parses authkeys. Every text is one.
pub fn authkeys(text: &str, file: &Path) -> AuthKeys {
    let mut keys = AuthKeys::default();
    for (index, line) in text.lines().enumerate() {
        let place = Place::new(file, index + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("auth"), Some(number), _) if number.parse::<u32>().is_ok() => {
                keys.signs_with = number.parse().ok().map(|number| (number, place));
            }
            (Some(number), Some(name), key) if number.parse::<u32>().is_ok() => {
                let number = number.parse().unwrap_or_default();
                keys.methods.push(Method { number, name: name.to_owned(), has_key: key.is_some(), place });
            }
            _ => keys.odd_lines.push(place),
        }
    }
    keys
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> AuthKeys {
        authkeys(text, Path::new("/etc/ha.d/authkeys"))
    }

    #[test]
    fn the_method_is_kept_and_the_key_is_not() {
        let keys = parsed("# x\nauth 2\n1 crc\n2 sha1 TopSecret!\n");
        let method = keys.signing_method().unwrap();
        assert_eq!((method.name.as_str(), method.has_key, method.place.line), ("sha1", true, 4));
        assert!(!keys.methods[0].has_key);
        assert!(!format!("{keys:?}").contains("TopSecret"));
        assert!(keys.odd_lines.is_empty());
    }

    #[test]
    fn a_method_that_is_missing_is_none() {
        assert!(parsed("auth 3\n1 crc\n").signing_method().is_none());
        assert!(parsed("1 crc\n").signing_method().is_none());
        let keys = parsed("auth sha1\nTopSecret\n2\n");
        assert_eq!(keys.odd_lines.len(), 3);
        assert!(!format!("{keys:?}").contains("TopSecret"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}") {
            parsed(&text);
        }

        #[test]
        fn no_key_is_ever_kept(key in "[a-z]{12,20}") {
            let keys = parsed(&format!("auth 1\n1 sha1 {key}\n{key}\nauth {key}\n"));
            let shown = format!("{keys:?}");
            prop_assert!(!shown.contains(&key));
        }
    }
}
