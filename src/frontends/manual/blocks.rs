//! Reads help that is written for a terminal, for the manual pages.

/// A piece of what clap shows after the options.
#[derive(Debug, PartialEq)]
pub(super) enum Block {
    /// `Exit codes:`
    Heading(String),
    /// `  0  done`
    Entry(String, String),
    /// Indented lines that are not entries: what to type or to write somewhere.
    Verbatim(Vec<String>),
    Paragraph(String),
}

/// Reads the layout that this project writes its help in; lines of one paragraph, or of one entry, are joined.
pub(super) fn blocks(help: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = help.lines().peekable();
    let mut joins = false;
    while let Some(line) = lines.next() {
        let text = line.trim();
        if line.starts_with(' ') {
            let mut group = vec![line];
            while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                group.push(line);
            }
            blocks.extend(indented(&group));
            joins = false;
        } else if text.is_empty() {
            joins = false;
        } else if let Some(title) = text.strip_suffix(':').filter(|title| !joins && is_title(title)) {
            blocks.push(Block::Heading(title.to_owned()));
        } else if let Some(Block::Paragraph(told)) = blocks.last_mut().filter(|_| joins) {
            told.push(' ');
            told.push_str(text);
        } else {
            blocks.push(Block::Paragraph(text.to_owned()));
            joins = true;
        }
    }
    blocks
}

/// One or two words; what is in brackets does not count.
fn is_title(text: &str) -> bool {
    text.split(" (").next().unwrap_or_default().split(' ').count() <= 2
}

/// Entries have two spaces or more between their term and what is told of it, and are told further on lines with a deeper
/// indent.
fn indented(lines: &[&str]) -> Vec<Block> {
    let continues = |line: &str| line.starts_with("   ");
    let split = |line: &str| {
        line.trim().split_once("  ").map(|(term, told)| (term.to_owned(), told.trim().to_owned()))
    };
    if lines.iter().any(|line| !continues(line) && split(line).is_none()) {
        return vec![Block::Verbatim(lines.iter().map(|line| line.trim().to_owned()).collect())];
    }
    let mut entries = Vec::new();
    for line in lines {
        match entries.last_mut() {
            Some(Block::Entry(_, told)) if continues(line) => {
                told.push(' ');
                told.push_str(line.trim());
            }
            _ => entries.extend(split(line).map(|(term, told)| Block::Entry(term, told))),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_read_as_blocks() {
        let help = "One line\nand another.\n\nExit codes:\n  0  done\n     or so\n  10  more\n\nFiles:\n  /a/b   c\n\nEnd.";
        let entry = |term: &str, text: &str| Block::Entry(term.into(), text.into());
        assert_eq!(
            blocks(help),
            [
                Block::Paragraph("One line and another.".into()),
                Block::Heading("Exit codes".into()),
                entry("0", "done or so"),
                entry("10", "more"),
                Block::Heading("Files".into()),
                entry("/a/b", "c"),
                Block::Paragraph("End.".into()),
            ]
        );
        assert_eq!(blocks(""), []);
        let help = "In its\nfile:\n  first   one\n  second two\nAs a sentence that ends so:\n  a  b\n\nCodes (LSB):\n  0  c";
        assert_eq!(
            blocks(help),
            [
                Block::Paragraph("In its file:".into()),
                Block::Verbatim(vec!["first   one".into(), "second two".into()]),
                Block::Paragraph("As a sentence that ends so:".into()),
                entry("a", "b"),
                Block::Heading("Codes (LSB)".into()),
                entry("0", "c"),
            ]
        );
    }
}
