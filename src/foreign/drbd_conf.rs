//! DRBD's configuration language, which its files, `drbdadm dump` and `drbdsetup show` share: sections in braces and
//! statements that end in a semicolon. The same for 8.4 and 9.
//!
//! Source of the grammar: drbd.conf(5) and `user/v9/drbdadm_scanner.fl` of drbd-utils.
//!
//! | module | what it reads |
//! | --- | --- |
//! | `dump` | [`parse_dump`]: what the files say, as `drbdadm dump` prints it |
//! | `show` | [`parse_show`]: what the kernel runs, as `drbdsetup show` prints it |

mod dump;
mod show;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use dump::{Configuration, Host, Resource, Volume, parse_dump};
pub use show::{Running, parse_show};

use super::Place;

/// Sections lie four deep at most (`resource`, `connection`, `volume`, `disk`); deeper nesting is not DRBD's.
const DEEPEST: usize = 16;

/// The statement whose value is a password.
const SECRET: &str = "shared-secret";

/// Settings of one section by name, such as `ping-int` → `10`. A flag without a value is `yes`.
pub type Settings = BTreeMap<String, String>;

/// Why a text is not in DRBD's language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A quote or a section that never ends.
    #[error("line {line}: {what} begins here and does not end")]
    Unfinished {
        /// Where it begins, from 1.
        line: usize,
        /// What.
        what: &'static str,
    },
    /// A closing brace too many, or words before it without a semicolon.
    #[error("line {line}: `}}` where none is expected")]
    StrayBrace {
        /// The line, from 1.
        line: usize,
    },
    /// Sections nested far beyond what DRBD has.
    #[error("line {line}: sections are nested deeper than {DEEPEST}")]
    TooDeep {
        /// The line, from 1.
        line: usize,
    },
    /// The resource is not in it.
    #[error("there is no resource {0} in it")]
    NoSuchResource(String),
}

/// `words…;`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its words, without quotes. The value of a `shared-secret` is left out.
    pub words: Vec<String>,
    /// The line of its first word, from 1.
    pub line: usize,
    /// From its first word to its semicolon as it stands in the text; `None` when that spans lines, or holds a secret.
    pub text: Option<String>,
}

impl Statement {
    /// Its first word.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What follows its first word; `yes` when nothing does.
    pub fn value(&self) -> String {
        let values = self.words.get(1..).unwrap_or_default();
        if values.is_empty() { "yes".to_owned() } else { values.join(" ") }
    }
}

/// `words… { … }`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What stands before its brace; nothing for the whole text.
    pub words: Vec<String>,
    /// The line of its opening brace, from 1.
    pub line: usize,
    /// From its first word to its opening brace as it stands in the text; the brace alone when that spans lines.
    pub header: String,
    /// Where a comment `# defined at FILE:LINE` before it says that it comes from.
    pub defined_at: Option<Place>,
    /// Its statements.
    pub statements: Vec<Statement>,
    /// The sections in it.
    pub sections: Vec<Section>,
}

impl Section {
    /// Its kind: its first word.
    pub fn kind(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The sections in it of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Section> {
        self.sections.iter().filter(move |section| section.kind() == kind)
    }

    /// The last statement of that name.
    pub fn statement(&self, name: &str) -> Option<&Statement> {
        self.statements.iter().rev().find(|statement| statement.name() == name)
    }

    /// Its statements by name.
    pub fn settings(&self) -> Settings {
        self.statements.iter().map(|statement| (statement.name().to_owned(), statement.value())).collect()
    }

    /// The settings of all sections in it of one kind.
    fn settings_of(&self, kind: &str) -> Settings {
        self.of_kind(kind).flat_map(Section::settings).collect()
    }
}

/// Reads a text in DRBD's language; the section that is returned is the whole of it.
///
/// # Errors
/// The first place where it is not in that language.
pub fn parse(text: &str) -> Result<Section, Malformed> {
    let mut scanner = Scanner::new(text);
    let mut open: Vec<Section> = vec![Section::default()];
    let mut words: Vec<String> = Vec::new();
    let mut begin = 0;
    let mut line = 1;
    let mut defined_at = None;
    while let Some(token) = scanner.next()? {
        let Some(current) = open.last_mut() else { break };
        match token {
            Token::Word { word, offset } => {
                if words.is_empty() {
                    begin = offset;
                    line = scanner.line;
                }
                words.push(word);
            }
            Token::Comment(comment) => defined_at = place_in(comment).or(defined_at),
            Token::Open => {
                if open.len() > DEEPEST {
                    return Err(Malformed::TooDeep { line: scanner.line });
                }
                let header =
                    text.get(begin..scanner.offset).filter(|raw| !words.is_empty() && !raw.contains('\n'));
                open.push(Section {
                    words: std::mem::take(&mut words),
                    line: scanner.line,
                    header: header.unwrap_or("{").to_owned(),
                    defined_at: defined_at.take(),
                    ..Section::default()
                });
            }
            Token::Close => {
                let closed = open.pop().filter(|_| words.is_empty());
                let (Some(closed), Some(parent)) = (closed, open.last_mut()) else {
                    return Err(Malformed::StrayBrace { line: scanner.line });
                };
                parent.sections.push(closed);
            }
            Token::End if words.is_empty() => {}
            Token::End => {
                let mut words = std::mem::take(&mut words);
                let secret = words.first().is_some_and(|name| name == SECRET);
                words.truncate(if secret { 1 } else { usize::MAX });
                let raw = text.get(begin..scanner.offset).filter(|raw| !secret && !raw.contains('\n'));
                current.statements.push(Statement { words, line, text: raw.map(str::to_owned) });
            }
        }
    }
    if !words.is_empty() {
        return Err(Malformed::Unfinished { line, what: "a statement" });
    }
    match open.pop() {
        Some(whole) if open.is_empty() => Ok(whole),
        other => {
            Err(Malformed::Unfinished { line: other.map_or(1, |section| section.line), what: "a section" })
        }
    }
}

/// `# defined at FILE:LINE`, as `drbdadm dump` puts it before each resource.
fn place_in(comment: &str) -> Option<Place> {
    let (file, line) = comment.trim().strip_prefix("defined at ")?.rsplit_once(':')?;
    Some(Place::new(file, line.parse().ok()?))
}

enum Token<'a> {
    Word { word: String, offset: usize },
    Open,
    Close,
    End,
    Comment(&'a str),
}

struct Scanner<'a> {
    text: &'a str,
    /// Byte behind the last token.
    offset: usize,
    /// Line of the last token, from 1.
    line: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, offset: 0, line: 1 }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.offset..)?.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.offset += character.len_utf8();
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn next(&mut self) -> Result<Option<Token<'a>>, Malformed> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.take();
        }
        let offset = self.offset;
        let Some(character) = self.take() else { return Ok(None) };
        Ok(Some(match character {
            '{' => Token::Open,
            '}' => Token::Close,
            ';' => Token::End,
            '#' => {
                while self.peek().is_some_and(|next| next != '\n') {
                    self.take();
                }
                Token::Comment(self.text.get(offset + 1..self.offset).unwrap_or_default())
            }
            '"' => Token::Word { word: self.quoted()?, offset },
            other => {
                let mut word = String::from(other);
                while let Some(next) = self
                    .peek()
                    .filter(|next| !next.is_whitespace() && !matches!(next, '{' | '}' | ';' | '"' | '#'))
                {
                    word.push(next);
                    self.take();
                }
                Token::Word { word, offset }
            }
        }))
    }

    fn quoted(&mut self) -> Result<String, Malformed> {
        let unfinished = Malformed::Unfinished { line: self.line, what: "a quoted string" };
        let mut word = String::new();
        loop {
            match self.take() {
                Some('"') => return Ok(word),
                Some('\\') => word.push(self.take().ok_or_else(|| unfinished.clone())?),
                Some(other) => word.push(other),
                None => return Err(unfinished),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "\
# r0
resource r0 { net { protocol C; } # {
    disk
    {
        fencing resource-and-stonith; c-plan-ahead
            0;
    }
    handlers { fence-peer \"/usr/sbin/standin fence-peer\"; }
    net2 { shared-secret \"a b\"; allow-two-primaries; }
}
";

    #[test]
    fn statements_and_sections_have_their_places() {
        let whole = parse(FILE).unwrap();
        let resource = &whole.sections[0];
        assert_eq!((resource.line, &*resource.header, resource.words.len()), (2, "resource r0 {", 2));
        let net = resource.of_kind("net").next().unwrap();
        assert_eq!((net.line, &*net.header), (2, "net {"));
        assert_eq!(net.statement("protocol").unwrap().text.as_deref(), Some("protocol C;"));
        let disk = resource.of_kind("disk").next().unwrap();
        assert_eq!((disk.line, &*disk.header), (4, "{"));
        let statement = disk.statement("c-plan-ahead").unwrap();
        assert_eq!((statement.line, statement.text.as_deref(), &*statement.value()), (5, None, "0"));
        let handler = resource.of_kind("handlers").next().unwrap().statement("fence-peer").unwrap();
        assert_eq!(handler.value(), "/usr/sbin/standin fence-peer");
    }

    #[test]
    fn a_password_is_not_kept_and_a_flag_is_yes() {
        let whole = parse(FILE).unwrap();
        let net = whole.sections[0].of_kind("net2").next().unwrap();
        assert!(!format!("{net:?}").contains("a b"));
        assert_eq!(net.settings().get("allow-two-primaries").map(String::as_str), Some("yes"));
    }

    #[test]
    fn what_does_not_end_or_begin_is_an_error_with_its_line() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error("a;\nb {\n c;\n"), Malformed::Unfinished { line: 2, what: "a section" });
        assert_eq!(error("a\nb \"c"), Malformed::Unfinished { line: 2, what: "a quoted string" });
        assert_eq!(error("a;\n\n b c"), Malformed::Unfinished { line: 3, what: "a statement" });
        assert_eq!(error("a {}\n}"), Malformed::StrayBrace { line: 2 });
        assert_eq!(error("a { b }"), Malformed::StrayBrace { line: 1 });
        assert_eq!(error(&"{".repeat(1_000_000)), Malformed::TooDeep { line: 1 });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", language in "[a-z {}\";#\\\\\n]*") {
            for text in [text, language] {
                let _ = parse(&text);
                let _ = parse_dump(&text);
                let _ = parse_show(&text, "r0");
            }
        }

        #[test]
        fn what_is_written_is_read(words in prop::collection::vec("[a-z0-9/:. -]+", 1..4)) {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let whole = parse(&format!("a {{ {}; }}", quoted.join(" "))).unwrap();
            prop_assert_eq!(&whole.sections[0].statements[0].words, &words);
        }
    }
}
