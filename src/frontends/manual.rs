//! The manual pages: the command line as clap knows it, and what an operator looks for besides.

mod blocks;
mod words;

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use self::blocks::{Block, blocks};
use self::words::WORDS;
pub(super) use self::words::{AGENT, AUDIT, DOCTOR, OCF, SWITCHOVER, UNFENCE_PEER};

/// System administration.
const SECTION: &str = "8";
/// How help begins the section that is EXIT STATUS on a page.
const EXIT_CODES: &str = "Exit codes";

/// The page of `standin`, or of one of its commands, as roff.
///
/// # Errors
/// There is no such command.
pub(super) fn page(root: Command, command: Option<&str>) -> Result<Vec<u8>, String> {
    let root = documented(root);
    let page = match command {
        None => &root,
        Some(name) => shown(&root)
            .find(|command| command.get_name() == name)
            .ok_or_else(|| format!("standin has no command {name:?}; standin --help names them"))?,
    };
    render(page, command).map_err(|error| error.to_string())
}

/// Writes a page for `standin` and one for each of its commands.
///
/// # Errors
/// What could not be written.
pub(super) fn write_all(root: Command, directory: &Path) -> io::Result<()> {
    let root = documented(root);
    fs::write(directory.join(format!("standin.{SECTION}")), render(&root, None)?)?;
    for command in shown(&root) {
        let file = directory.join(format!("standin-{}.{SECTION}", command.get_name()));
        fs::write(file, render(command, Some(command.get_name()))?)?;
    }
    Ok(())
}

/// The command line in the form that the pages show.
fn documented(root: Command) -> Command {
    let mut root = root
        .disable_help_subcommand(true)
        .override_usage("standin [-c NAME|PATH] COMMAND [OPTIONS]\nstandin --help | --version")
        .subcommand_help_heading("COMMANDS");
    root.build();
    root.mut_subcommands(|command| {
        let usage = command.get_overridden_usage().map_or_else(|| usage(&command), ToString::to_string);
        command.override_usage(usage)
    })
}

/// With the values that the options take, which a page would leave out.
fn usage(command: &Command) -> String {
    let mut usage = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        if argument.is_positional() {
            usage += &format!(" {argument}");
        } else if argument.get_id() != "help" {
            usage += &format!(" [{argument}]");
        }
    }
    usage
}

fn shown(root: &Command) -> impl Iterator<Item = &Command> {
    root.get_subcommands().filter(|command| !command.is_hide_set())
}

fn render(command: &Command, name: Option<&str>) -> io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone())
        .title(command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase())
        .section(SECTION)
        // An argument that is empty would not be one.
        .date("\"\"")
        .source(format!("standin {version}"))
        .manual("System administration");
    let words = WORDS.iter().find(|words| words.command == name);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut description = Roff::new();
    for paragraph in words.iter().flat_map(|words| words.description) {
        description.control("PP", []);
        description.text([roman(*paragraph)]);
    }
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let blocks = blocks(&help);
    let (introduction, sections) = blocks
        .split_at(blocks.iter().position(|block| matches!(block, Block::Heading(_))).unwrap_or(blocks.len()));
    render_blocks(&mut description, introduction);
    description.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    if shown(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    render_blocks(&mut rest, sections);
    if name.is_some() && !help.contains(EXIT_CODES) {
        rest.control("SH", ["EXIT STATUS"]);
        rest.text([roman("As all commands: see "), bold("standin"), roman("(8).")]);
    }
    if let Some(words) = words {
        render_examples(&mut rest, words.examples);
    }
    render_see_also(&mut rest, command, words.map_or(&[], |words| words.see_also));
    rest.to_writer(&mut page)?;
    Ok(page)
}

fn render_blocks(roff: &mut Roff, blocks: &[Block]) {
    for block in blocks {
        match block {
            Block::Heading(text) if text.starts_with(EXIT_CODES) => {
                roff.control("SH", ["EXIT STATUS"]);
            }
            Block::Heading(text) => {
                roff.control("SH", [&*text.to_uppercase()]);
            }
            Block::Entry(term, text) => {
                roff.control("TP", []);
                roff.text([bold(term.as_str())]);
                roff.text([roman(text.as_str())]);
            }
            Block::Verbatim(lines) => {
                roff.control("RS", ["4"]).control("nf", []);
                for line in lines {
                    roff.text([roman(line.as_str())]);
                }
                roff.control("fi", []).control("RE", []);
            }
            Block::Paragraph(text) => {
                roff.control("PP", []);
                roff.text([roman(text.as_str())]);
            }
        }
    }
}

fn render_examples(roff: &mut Roff, examples: &[(&str, &str)]) {
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
    }
    for (typed, told) in examples {
        roff.control("TP", []);
        roff.text([bold(*typed)]);
        roff.text([roman(*told)]);
    }
}

fn render_see_also(roff: &mut Roff, command: &Command, others: &[&str]) {
    roff.control("SH", ["SEE ALSO"]);
    let own = if command.get_name() == "standin" { None } else { Some("standin(8)") };
    let mut pages = own.iter().chain(others).peekable();
    while let Some(page) = pages.next() {
        let (name, section) = page.split_at(page.find('(').unwrap_or(page.len()));
        let comma = if pages.peek().is_some() { "," } else { "" };
        roff.text([bold(name), roman(format!("{section}{comma}"))]);
    }
    roff.control("PP", []);
    roff.text([
        roman("The guides are in "),
        italic("/usr/share/doc/standin/docs"),
        roman(", samples in "),
        italic("/usr/share/doc/standin/examples"),
        roman("."),
    ]);
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::cli::Cli;
    use super::*;

    fn text(command: Option<&str>) -> String {
        String::from_utf8(page(Cli::command(), command).unwrap()).unwrap()
    }

    #[test]
    fn the_main_page_has_every_section_once_and_in_order() {
        let page = text(None);
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert_eq!(
            sections,
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "COMMANDS",
                "\"EXIT STATUS\"",
                "FILES",
                "ENVIRONMENT",
                "EXAMPLES",
                "\"SEE ALSO\""
            ]
        );
        assert!(page.contains("standin\\-takeover(8)"), "{page}");
        assert!(!page.contains("internal"), "{page}");
    }

    #[test]
    fn every_command_has_a_page_with_its_exit_codes() {
        let root = documented(Cli::command());
        let directory = tempfile::tempdir().unwrap();
        write_all(Cli::command(), directory.path()).unwrap();
        let mut expected: Vec<String> =
            shown(&root).map(|command| format!("standin-{}.8", command.get_name())).collect();
        assert!(expected.len() > 5, "{expected:?}");
        expected.push("standin.8".to_owned());
        expected.sort();
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut found: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, expected);
        for command in shown(&root) {
            let page = text(Some(command.get_name()));
            assert_eq!(page.matches("EXIT STATUS").count(), 1, "{page}");
        }
    }

    #[test]
    fn words_are_for_commands_that_exist() {
        let root = documented(Cli::command());
        for name in WORDS.iter().filter_map(|words| words.command) {
            assert!(shown(&root).any(|command| command.get_name() == name), "{name}");
        }
        assert!(page(Cli::command(), Some("failover")).unwrap_err().contains("standin --help"));
    }
}
