//! The commands of the remedies: each does what it says when it is typed as printed, and nothing else.

use std::path::Path;

use crate::plan::shell_words;

/// Puts a text in the place of a line, whatever stood there. A symbolic link stays one.
pub(super) fn replace_line(file: &Path, line: usize, text: &str) -> String {
    let mut replacement = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Each means something to `s/…/…/`.
            '\\' | '/' | '&' => replacement.extend(['\\', c]),
            '\n' => replacement.push_str("\\n"),
            other => replacement.push(other),
        }
    }
    sed(file, &format!("{line}s/.*/{replacement}/"))
}

/// Takes a line out.
pub(super) fn delete_line(file: &Path, line: usize) -> String {
    sed(file, &format!("{line}d"))
}

/// Runs a script of sed on a file.
pub(super) fn sed(file: &Path, script: &str) -> String {
    words(&["sed", "-i", "--follow-symlinks", script, &file.to_string_lossy()])
}

/// Writes a file anew.
pub(super) fn write_file(file: &Path, lines: &[&str]) -> String {
    format!("{} > {}", printf(lines), words(&[&file.to_string_lossy()]))
}

/// Adds lines to the end of a file, and makes it when there is none.
pub(super) fn append_to_file(file: &Path, lines: &[&str]) -> String {
    format!("{} >> {}", printf(lines), words(&[&file.to_string_lossy()]))
}

/// Makes a directory and those above it; one that is there stays as it is.
pub(super) fn make_directory(directory: &Path) -> String {
    words(&["mkdir", "-p", &directory.to_string_lossy()])
}

/// A command line, quoted for the shell.
pub(super) fn words(command: &[&str]) -> String {
    shell_words(&command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

fn printf(lines: &[&str]) -> String {
    let mut command = vec!["printf", "%s\\n"];
    command.extend(lines);
    words(&command)
}

/// The commands that write settings into a drop-in of a unit, read after all others, and let systemd know.
pub(super) fn unit_drop_in(unit: &str, name: &str, lines: &[&str]) -> Vec<String> {
    let directory = Path::new("/etc/systemd/system").join(format!("{unit}.d"));
    vec![
        make_directory(&directory),
        write_file(&directory.join(format!("zz-standin-{name}.conf")), lines),
        "systemctl daemon-reload".to_owned(),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::node::command;

    fn shell(text: &str) {
        let words = ["sh", "-c", text].map(str::to_owned);
        let finished = command::run(&words, Duration::from_secs(10)).unwrap();
        assert!(finished.succeeded(), "{}", finished.describe());
    }

    #[test]
    fn a_line_is_replaced_by_exactly_the_text() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("it's a file"), directory.path().join("link"));
        fs::write(&file, "one\ntwo\nthree\n").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let text = r"a/b & \1 'quoted' $HOME";
        shell(&replace_line(&link, 2, text));
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("one\n{text}\nthree\n"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        shell(&delete_line(&link, 1));
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{text}\nthree\n"));
    }

    #[test]
    fn a_file_is_written_and_added_to() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("a b").join("c");
        let file = below.join("file.conf");
        shell(&make_directory(&below));
        shell(&write_file(&file, &["[Section]", "key = 100% 'x' \\n"]));
        shell(&append_to_file(&file, &["more"]));
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Section]\nkey = 100% 'x' \\n\nmore\n");
    }
}
