//! A line in the kernel's log, between those of DRBD. It reaches syslog and the journal from there.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// What the kernel takes of one line (`PRINTKRB_RECORD_MAX` less its own prefix).
const LONGEST: usize = 900;

/// Writes one line with priority "notice".
///
/// # Errors
/// As the kernel gives them: not root, or no such device in a container.
pub fn note(line: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open("/dev/kmsg")?.write_all(record(line).as_bytes())
}

/// One write is one record; a line break would end it.
fn record(line: &str) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = line.len().min(LONGEST);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("<5>standin: {}\n", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_that_the_kernel_takes_whole() {
        assert_eq!(record("a\nb"), "<5>standin: a b\n");
        let long = record(&"ä".repeat(1000));
        assert!(long.len() < 1000 && long.ends_with("ä\n"), "{}", long.len());
    }
}
