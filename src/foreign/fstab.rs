//! `/etc/fstab` (fstab(5)).

use serde::{Deserialize, Serialize};

/// One line that names a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The line, from 1.
    pub line: usize,
    /// The device as it is written: a path, `UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`, or another name.
    pub device: String,
    /// The mount point, or `none`.
    pub directory: String,
    /// File system type.
    pub filesystem: String,
    /// Mount options; `defaults` when the line has none.
    pub options: Vec<String>,
    /// What follows: the fields for dump and fsck, as they are written.
    pub rest: String,
}

impl Entry {
    /// Whether an option stands there.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }
}

/// Every line that names a device and a directory. Lines that say less are left out, as mount(8) does.
pub fn parse(text: &str) -> Vec<Entry> {
    text.lines().enumerate().filter_map(|(index, line)| entry(index + 1, line)).collect()
}

fn entry(line: usize, text: &str) -> Option<Entry> {
    let text = text.trim_start();
    if text.starts_with('#') {
        return None;
    }
    let mut fields = text.split([' ', '\t']).filter(|field| !field.is_empty());
    let device = unescape(fields.next()?).trim_matches('"').to_owned();
    // A value may be quoted after its tag: UUID="…".
    let device = match device.split_once('=') {
        Some((tag, value)) => format!("{tag}={}", value.trim_matches('"')),
        None => device,
    };
    let directory = unescape(fields.next()?);
    let filesystem = fields.next().unwrap_or("auto").to_owned();
    let options = unescape(fields.next().unwrap_or("defaults"));
    let rest = fields.take_while(|field| !field.starts_with('#')).collect::<Vec<_>>().join(" ");
    let options = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    Some(Entry { line, device, directory, filesystem, options, rest })
}

/// Blanks, tabs, newlines and backslashes stand there as a backslash and three octal digits.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A field as it must be written.
pub fn escape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    for c in field.chars() {
        match c {
            ' ' => out.push_str("\\040"),
            '\t' => out.push_str("\\011"),
            '\n' => out.push_str("\\012"),
            '\\' => out.push_str("\\134"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_form_of_a_line() {
        let text = "# a comment\n\nUUID=\"0b1c\" / ext4 errors=remount-ro 0 1\n\
                    /dev/drbd0\t/srv/my\\040data xfs noauto,noatime\n  proc /proc\nlonely\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 3);
        assert_eq!((entries[0].line, entries[0].device.as_str()), (3, "UUID=0b1c"));
        assert_eq!(entries[0].rest, "0 1");
        assert_eq!(entries[1].directory, "/srv/my data");
        assert!(entries[1].has("noauto") && !entries[1].has("auto"));
        assert_eq!((entries[2].filesystem.as_str(), entries[2].has("defaults")), ("auto", true));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_field_comes_back(field in "[ -~\t]{1,40}") {
            prop_assert_eq!(unescape(&escape(&field)), field);
        }
    }
}
