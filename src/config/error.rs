//! What is wrong with a configuration, drawn under the token that is wrong.

use std::fmt;
use std::path::PathBuf;

use super::place::{Place, Source};

/// The widest piece of a line that is shown; a longer line is cut around the token.
const SHOWN_WIDTH: usize = 120;

/// So many errors are one mistake, such as the wrong file: more would only scroll the first one away.
const SHOWN_ERRORS: usize = 50;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    message: String,
    help: String,
    file: Option<PathBuf>,
    token: Option<Token>,
}

/// The wrong token and the line around it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    place: Place,
    line: String,
}

impl ConfigError {
    /// Something about the file as a whole, or about the search for it.
    pub(super) fn about_file(
        file: Option<PathBuf>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { message: one_line(&message.into()), help: one_line(&help.into()), file, token: None }
    }

    /// Something about one token.
    pub(super) fn at(
        source: &Source,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let place = source.clamp(place);
        let token = Token { place, line: source.line(place.line).to_owned() };
        Self {
            message: one_line(&message.into()),
            help: one_line(&help.into()),
            file: Some(source.file().to_owned()),
            token: Some(token),
        }
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Where in the file; `None` when it is about the file as a whole.
    pub fn place(&self) -> Option<Place> {
        self.token.as_ref().map(|token| token.place)
    }

    fn draw(&self, out: &mut fmt::Formatter<'_>, paint: &Paint) -> fmt::Result {
        let Paint { red, blue, bold, plain } = paint;
        writeln!(out, "{red}error{plain}{bold}: {}{plain}", self.message)?;
        let number = self.token.as_ref().map_or(String::new(), |token| token.place.line.to_string());
        let gutter = " ".repeat(number.len().max(1));
        if let Some(file) = &self.file {
            write!(out, "{gutter}{blue}-->{plain} {}", file.display())?;
            if let Some(token) = &self.token {
                write!(out, ":{}:{}", token.place.line, token.place.column)?;
            }
            writeln!(out)?;
        }
        if let Some(token) = &self.token {
            let (line, before, width) = token.excerpt();
            writeln!(out, "{gutter} {blue}|{plain}")?;
            writeln!(out, "{blue}{number} |{plain}{}{line}", if line.is_empty() { "" } else { " " })?;
            let (space, carets) = (" ".repeat(before), "^".repeat(width));
            writeln!(out, "{gutter} {blue}|{plain} {space}{red}{carets}{plain}")?;
        }
        write!(out, "{gutter} {blue}={plain} {bold}help{plain}: {}", self.help)
    }
}

impl Token {
    /// The line as it can be printed, the width before the token and the width of the token.
    fn excerpt(&self) -> (String, usize, usize) {
        let line = without_secrets(&self.line);
        let chars: Vec<char> = line.chars().collect();
        let start = (self.place.column - 1).min(chars.len());
        let end = (start + self.place.length).min(chars.len());
        let first = if chars.len() > SHOWN_WIDTH { start.saturating_sub(SHOWN_WIDTH / 3) } else { 0 };
        let last = chars.len().min(first + SHOWN_WIDTH);
        let mut shown = String::new();
        if first > 0 {
            shown.push('…');
        }
        let mut before = shown.chars().count();
        let mut width = 0;
        for (index, &c) in chars.iter().enumerate().take(last).skip(first) {
            let piece = printable(c);
            let columns = piece.chars().count();
            if index < start {
                before += columns;
            } else if index < end {
                width += columns;
            }
            shown.push_str(&piece);
        }
        if last < chars.len() {
            shown.push('…');
        }
        (shown.trim_end().to_owned(), before, width.max(1))
    }
}

/// A sentence that quotes the file: without its control characters, and not much longer than a sentence.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 400;
    let mut line: String = text.chars().take(LONGEST).map(printable).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// A tab would shift the caret, a control character could reprogram the terminal.
fn printable(c: char) -> String {
    match c {
        '\t' => "    ".to_owned(),
        c if c.is_control() => "\u{fffd}".to_owned(),
        c => c.to_string(),
    }
}

/// Hides what follows a password key: a misplaced one must not travel on into a log.
fn without_secrets(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let word = ["passw", "secret"].iter().filter_map(|word| lower.find(word)).min();
    let mark = word.and_then(|start| lower[start..].find([':', '=']).map(|offset| start + offset));
    match mark {
        Some(mark) => format!("{} ***", &line[..=mark]),
        None => line.to_owned(),
    }
}

/// Everything that is wrong with a configuration, in the order of the file. Never empty.
///
/// `Display` draws each error with its line and a caret, without colour; [`ConfigErrors::coloured`] is for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| error.place());
        errors.dedup();
        Self(errors)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// The same text with colours for a terminal.
    pub fn coloured(&self) -> impl fmt::Display + '_ {
        Coloured(self)
    }

    fn draw(&self, out: &mut fmt::Formatter<'_>, paint: &Paint) -> fmt::Result {
        for (index, error) in self.0.iter().take(SHOWN_ERRORS).enumerate() {
            if index > 0 {
                out.write_str("\n\n")?;
            }
            error.draw(out, paint)?;
        }
        match self.0.len().saturating_sub(SHOWN_ERRORS) {
            0 => Ok(()),
            more => write!(out, "\n\nand {more} more errors"),
        }
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draw(out, &Paint { red: "", blue: "", bold: "", plain: "" })
    }
}

impl std::error::Error for ConfigErrors {}

struct Coloured<'a>(&'a ConfigErrors);

impl fmt::Display for Coloured<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paint = Paint { red: "\x1b[1;31m", blue: "\x1b[1;34m", bold: "\x1b[1m", plain: "\x1b[0m" };
        self.0.draw(out, &paint)
    }
}

struct Paint {
    red: &'static str,
    blue: &'static str,
    bold: &'static str,
    plain: &'static str,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::Path;

    use super::*;

    fn drawn(text: &str, line: usize, column: usize, length: usize) -> String {
        let source = Source::new(Path::new("r0.yaml"), text);
        let error = ConfigError::at(&source, Place { line, column, length }, "wrong", "right it");
        ConfigErrors::from(error).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_token() {
        assert_eq!(
            drawn("a: 1\nkey: value\n", 2, 6, 5),
            "error: wrong\n --> r0.yaml:2:6\n  |\n2 | key: value\n  |      ^^^^^\n  = help: right it"
        );
    }

    #[test]
    fn the_caret_stands_under_the_token_after_a_tab() {
        assert!(drawn("\tkey: 1", 1, 2, 3).contains("1 |     key: 1\n  |     ^^^\n"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_token() {
        let text = format!("{}token{}", "a".repeat(5000), "b".repeat(5000));
        let drawn = drawn(&text, 1, 5001, 5);
        let lines: Vec<&str> = drawn.lines().collect();
        let at = lines[4].find('^').unwrap();
        let shown: String = lines[3].chars().skip(at).take(5).collect();
        assert_eq!(shown, "token");
        assert!(lines[3].chars().count() < 140, "{}", lines[3]);
    }

    #[test]
    fn a_place_outside_the_file_is_moved_inside() {
        assert!(drawn("a: 1\n", 99, 99, 99).contains(" --> r0.yaml:1:5\n"));
    }

    #[test]
    fn a_password_in_the_line_is_not_shown() {
        for line in ["  password: hunter2", "fence: [x, --Password=hunter2]", "MYSQL_SECRET: hunter2"] {
            let drawn = drawn(line, 1, 3, 8);
            assert!(!drawn.contains("hunter2"), "{drawn}");
            assert!(drawn.contains("***"), "{drawn}");
        }
    }

    #[test]
    fn a_file_full_of_errors_does_not_flood_the_terminal() {
        let error = |number: usize| ConfigError::about_file(None, format!("number {number}"), "");
        let drawn = ConfigErrors::new((0..60).map(error).collect()).to_string();
        assert!(drawn.contains("number 49\n") && !drawn.contains("number 50\n"), "{drawn}");
        assert!(drawn.ends_with("and 10 more errors"), "{drawn}");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert!(!drawn("a: \x1b[2J", 1, 1, 1).contains('\x1b'));
        let error = ConfigError::about_file(None, "\x1b[2J".repeat(1000), "\x1b[2J");
        let drawn = ConfigErrors::from(error).to_string();
        assert!(!drawn.contains('\x1b') && drawn.len() < 2000, "{drawn}");
    }

    #[test]
    fn colour_comes_only_when_asked_for() {
        let error = ConfigErrors::from(ConfigError::about_file(None, "wrong", "right it"));
        assert_eq!(error.to_string(), "error: wrong\n  = help: right it");
        assert!(error.coloured().to_string().contains("\x1b[1;31merror"));
    }
}
