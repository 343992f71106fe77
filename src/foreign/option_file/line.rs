//! One line of an option file.

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Empty or a comment.
    Nothing,
    /// `[group]`
    Group(String),
    /// `[group` without its end.
    OpenGroup,
    /// `!include FILE`
    Include(String),
    /// `!includedir DIRECTORY`
    IncludeDirectory(String),
    /// Another line that begins with `!`.
    Directive(String),
    /// `name` or `name = value`
    Option { name: String, value: Option<String> },
}

/// Blank, tab, newline, vertical tab, form feed, carriage return, and Latin-1's no-break space, which a UTF-8 file has
/// only by accident: the white space of `my_isspace(&my_charset_latin1)` without that one.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

pub(crate) fn parse(line: &str) -> Line {
    // C's end of string.
    let line = line.split('\0').next().unwrap_or_default().trim_matches(is_space);
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Line::Nothing;
    }
    if let Some(directive) = line.strip_prefix('!') {
        return directive_of(directive.trim_start_matches(is_space), line);
    }
    if let Some(group) = line.strip_prefix('[') {
        return match group.split_once(']') {
            Some((name, _)) => Line::Group(name.trim_end_matches(is_space).to_owned()),
            None => Line::OpenGroup,
        };
    }
    let line = without_comment(line);
    match line.split_once('=') {
        Some((name, value)) => {
            let name = name.trim_end_matches(is_space).to_owned();
            Line::Option { name, value: Some(unescaped(unquoted(value.trim_matches(is_space)))) }
        }
        None => Line::Option { name: line.trim_end_matches(is_space).to_owned(), value: None },
    }
}

fn directive_of(directive: &str, line: &str) -> Line {
    let (word, rest) = directive.split_once(is_space).unwrap_or((directive, ""));
    let rest = rest.trim_matches(is_space);
    match word {
        "include" if !rest.is_empty() => Line::Include(rest.to_owned()),
        "includedir" if !rest.is_empty() => Line::IncludeDirectory(rest.to_owned()),
        _ => Line::Directive(line.to_owned()),
    }
}

/// Cuts at the first `#` outside quotes. A backslash protects only inside quotes; a quote that is never closed protects
/// the rest of the line.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if matches!(c, '\'' | '"') && !escaped {
            match quote {
                None => quote = Some(c),
                Some(open) if open == c => quote = None,
                Some(_) => {}
            }
        }
        if quote.is_none() && c == '#' {
            return &line[..at];
        }
        escaped = quote.is_some() && c == '\\' && !escaped;
    }
    line
}

/// Without the quotes around the whole value; a lone quote is no pair.
fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('s') => out.push(' '),
            Some(itself @ ('"' | '\'' | '\\')) => out.push(itself),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}
