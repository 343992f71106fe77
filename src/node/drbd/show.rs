//! `drbdsetup show RESOURCE` of 8.4: the addresses of the connection and the resource's minors.
//!
//! Source of the format: `show_scmd` in `user/v84/drbdsetup.c` of drbd-utils.

use super::ParseError;

/// What `drbdsetup show` tells of one resource on 8.4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Show84 {
    /// Our end of the connection, such as `ipv4:10.0.0.1:7788`; absent after a disconnect.
    pub local: Option<String>,
    /// The peer's end; absent after a disconnect.
    pub peer: Option<String>,
    /// The minors of its volumes.
    pub minors: Vec<u32>,
}

/// Parses the output of `drbdsetup show RESOURCE` of 8.4.
///
/// # Errors
/// When `resource` is not in it, or it is cut off or malformed.
pub fn parse_show_84(text: &str, resource: &str) -> Result<Show84, ParseError> {
    let malformed = |line: &[String]| ParseError::Malformed { what: "drbdsetup show", line: line.join(" ") };
    let mut show = Show84::default();
    let mut found = false;
    let mut sections: Vec<Vec<String>> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text).ok_or(ParseError::CutOff("drbdsetup show"))? {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                let section = std::mem::take(&mut words);
                found |= sections.is_empty() && section == ["resource", resource];
                sections.push(section);
            }
            Token::Close => {
                sections.pop().filter(|_| words.is_empty()).ok_or_else(|| malformed(&words))?;
            }
            Token::End => {
                let statement = std::mem::take(&mut words);
                if sections.first().is_none_or(|section| *section != ["resource", resource]) {
                    continue;
                }
                let host = sections.get(1).and_then(|section| section.first()).map(String::as_str);
                match (host, statement.iter().map(String::as_str).collect::<Vec<_>>().as_slice()) {
                    (Some("_this_host"), ["device", "minor", minor]) => {
                        show.minors.push(minor.parse().map_err(|_| malformed(&statement))?);
                    }
                    (Some("_this_host"), ["address", family, address]) => {
                        show.local = Some(format!("{family}:{address}"));
                    }
                    (Some("_remote_host"), ["address", family, address]) => {
                        show.peer = Some(format!("{family}:{address}"));
                    }
                    _ => {}
                }
            }
        }
    }
    if !sections.is_empty() || !words.is_empty() {
        return Err(ParseError::CutOff("drbdsetup show"));
    }
    if !found {
        return Err(ParseError::NoSuchResource(resource.to_owned()));
    }
    Ok(show)
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Words, quoted strings, braces and semicolons; comments are left out. `None` when a quoted string does not end.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            ';' => tokens.push(Token::End),
            '#' => while characters.next_if(|c| *c != '\n').is_some() {},
            '"' => {
                let mut word = String::new();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => word.push(characters.next()?),
                        other => word.push(other),
                    }
                }
                tokens.push(Token::Word(word));
            }
            space if space.is_whitespace() => {}
            other => {
                let mut word = String::from(other);
                while let Some(next) =
                    characters.next_if(|c| !c.is_whitespace() && !matches!(c, '{' | '}' | ';' | '"'))
                {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}
