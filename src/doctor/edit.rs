//! Commands that edit a line of a file in place. They keep the number of lines, so that several of them, printed by one
//! run of the doctor, may be typed one after another.

use super::remedy;
use crate::foreign::Place;

/// Replaces `old`, which stands on that line, by `new`. A name that `old` begins with is a whole one: `timeout 60;` is not
/// found in `ping-timeout 60;`.
pub(super) fn replace(place: &Place, old: &str, new: &str) -> String {
    let (line, old_pattern, new) = (place.line, pattern(old), replacement(new));
    if old.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return sed(place, &format!("{line}s#\\(^\\|[^-A-Za-z0-9_]\\){old_pattern}#\\1{new}#"));
    }
    sed(place, &format!("{line}s#{old_pattern}#{new}#"))
}

/// Replaces everything on that line.
pub(super) fn whole_line(place: &Place, new: &str) -> String {
    sed(place, &format!("{}s#.*#{}#", place.line, replacement(new)))
}

/// Puts a line of its own behind that one. What stands below moves: only for files of which one line is edited.
pub(super) fn line_after(place: &Place, new: &str) -> String {
    sed(place, &format!("{}s#$#\\n{}#", place.line, replacement(new)))
}

/// Makes comments of the lines from `place` to `last`.
pub(super) fn comment_out(place: &Place, last: usize) -> String {
    let lines = if last > place.line { format!("{},{last}", place.line) } else { place.line.to_string() };
    sed(place, &format!("{lines}s/^/# /"))
}

fn sed(place: &Place, script: &str) -> String {
    remedy::sed(&place.file, script)
}

/// As a basic regular expression that matches itself.
fn pattern(text: &str) -> String {
    escaped(text, &['\\', '.', '*', '[', ']', '^', '$', '#'])
}

fn replacement(text: &str) -> String {
    escaped(text, &['\\', '&', '#'])
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if special.contains(&character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::node::command;

    /// What `sh -c` makes of a file with a command that names `/file`.
    pub(in crate::doctor) fn after(text: &str, command: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, text).unwrap();
        let command = command.replace("/file", file.to_str().unwrap());
        let words = ["sh".to_owned(), "-c".to_owned(), command];
        let finished = command::run(&words, std::time::Duration::from_secs(10)).unwrap();
        assert!(finished.succeeded(), "{}", finished.describe());
        fs::read_to_string(&file).unwrap()
    }

    #[test]
    fn special_characters_stand_for_themselves() {
        let text = "a\nx it's [a.b]* & \\|$^ y\n";
        let command = replace(&Place::new("/file", 2), "it's [a.b]* & \\|$^", "& \\1 'q' | # r");
        assert_eq!(after(text, &command), "a\nx & \\1 'q' | # r y\n");
        let command = replace(&Place::new("/file", 1), "b.b", "never");
        assert_eq!(after("bab\n", &command), "bab\n", "a dot is a dot");
    }

    #[test]
    fn a_name_is_found_as_a_whole() {
        let command = replace(&Place::new("/file", 1), "timeout 60;", "timeout 50;");
        assert_eq!(
            after("{ ping-timeout 60; timeout 60; }\n", &command),
            "{ ping-timeout 60; timeout 50; }\n"
        );
        assert_eq!(after("timeout 60;\n", &command), "timeout 50;\n");
    }

    #[test]
    fn comments_are_made_of_whole_lines() {
        let command = comment_out(&Place::new("/file", 2), 3);
        assert_eq!(after("a\nb\n c\nd\n", &command), "a\n# b\n#  c\nd\n");
    }
}
