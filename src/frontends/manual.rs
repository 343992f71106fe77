//! The manual pages: the command line as clap knows it, and what an operator looks for besides.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

/// System administration.
const SECTION: &str = "8";
/// How help begins the section that is EXIT STATUS on a page.
const EXIT_CODES: &str = "Exit codes";

pub(super) const DOCTOR: &str = "\
Exit codes:
  0  nothing failed
  1  with --strict: something warned
  2  the command line or the configuration is wrong, or this is not root
  3  something failed: a takeover would refuse or fail";

pub(super) const AUDIT: &str = "\
Exit codes:
  0  a takeover may go on
  1  it could not be told
  2  the command line or the configuration is wrong
  3  a takeover would refuse";

pub(super) const UNFENCE_PEER: &str = "\
For the handlers section of DRBD's configuration, which names the resource in DRBD_RESOURCE. It only notes in the journal
that both disks are UpToDate again.

Exit codes:
  0  noted
  1  no answer in time";

pub(super) const OCF: &str = "\
Pacemaker calls it as /usr/lib/ocf/resource.d/standin/innodb ACTION, with its parameters in OCF_RESKEY_ variables;
meta-data tells which.

Exit codes (OCF):
  0    done, or it runs here
  1    failed or refused; everything that was done was undone
  2    the configuration of this node is wrong
  3    there is no such action
  4    not root
  5    what it needs is not installed here
  6    the parameters are wrong, on every node
  7    it does not run here
  8    it runs here, promoted
  9    it failed while promoted
  190  it runs here, degraded: the peer is not connected, or resyncs
  191  it runs here, promoted and degraded";

/// What a page says beyond the help of its command.
struct Words {
    /// `None` is `standin` itself.
    command: Option<&'static str>,
    description: &'static [&'static str],
    examples: &'static [(&'static str, &'static str)],
    see_also: &'static [&'static str],
}

const WORDS: &[Words] = &[
    Words {
        command: None,
        description: &[
            "Two nodes hold one InnoDB database on a DRBD device. One is active: its disk is Primary and mounted, \
             mysqld runs on it, and it has the virtual IP. standin makes the surviving node step into the failed \
             one's place: it waits for the virtual IP to drop, takes Heartbeat out of the way, disconnects and \
             promotes DRBD, mounts the data directory, starts mysqld so that InnoDB's crash recovery fills in what \
             was in flight, and adds the virtual IP.",
            "It refuses when that would lose data or make a second holder of the virtual IP: when the other side is \
             still Primary, when nothing proves that a silent peer is dead, when the local copy is not current, when \
             the tables are mostly MyISAM. What fails on the way is undone in reverse; what can't be undone is named, \
             with the commands to type. A rerun after a kill at any point ends in the same state as an undisturbed \
             run.",
            "One file per cluster, the same on both nodes, tells what there is; standin init writes it. Output goes \
             to standard output and standard error, so that under systemd it is in the journal; no log file is \
             written.",
        ],
        examples: &[
            ("standin init", "Look at this machine and write its configuration, on each node."),
            ("standin doctor", "See whether a takeover would work here, and what to mend."),
            ("standin plan", "On the standby: what a takeover would do now, with the commands behind it."),
            (
                "standin takeover",
                "Make this node active. The commands of a planned move are standin release on the \
              active node, then this on the other.",
            ),
            ("standin -c orders status --watch", "Watch both nodes of the cluster orders."),
            ("standin history --last 1", "How long each step of the latest takeover took."),
        ],
        see_also: &["drbdadm(8)", "drbd.conf(5)", "mariadbd(8)", "heartbeat(8)", "crm(8)", "keepalived(8)"],
    },
    Words {
        command: Some("takeover"),
        description: &[
            "Each step has a deadline and an undo, and is skipped when it is already so. After a failure past the \
             promotion mysqld is stopped, the mount released and DRBD demoted again. SIGINT and SIGTERM interrupt a \
             takeover, which then undoes what it did; a second signal changes nothing.",
        ],
        examples: &[
            ("standin takeover --plan", "Show the steps, with the commands behind them, and change nothing."),
            ("standin takeover --wait 5m", "Wait up to five minutes for the virtual IP to drop."),
        ],
        see_also: &["standin-plan(8)", "standin-release(8)"],
    },
    Words {
        command: Some("release"),
        description: &["The mirror image of a takeover: the virtual IP goes first, DRBD is demoted last."],
        examples: &[("standin release --plan", "Show the steps and change nothing.")],
        see_also: &["standin-takeover(8)"],
    },
    Words {
        command: Some("plan"),
        description: &["The same plan is what standin takeover would walk: there is no second description."],
        examples: &[("standin plan --json", "The plan as a value, for a program.")],
        see_also: &["standin-takeover(8)", "standin-release(8)"],
    },
    Words {
        command: Some("doctor"),
        description: &[],
        examples: &[("standin doctor --quiet", "Only what did not pass.")],
        see_also: &["standin-init(8)"],
    },
    Words {
        command: Some("heartbeat"),
        description: &[],
        examples: &[("standin heartbeat orders status", "What Heartbeat is told of the cluster orders.")],
        see_also: &["standin-ocf(8)", "heartbeat(8)"],
    },
    Words {
        command: Some("ocf"),
        description: &[],
        examples: &[("standin ocf meta-data", "The parameters, as Pacemaker reads them.")],
        see_also: &["standin-heartbeat(8)", "ocf-tester(8)", "crm(8)"],
    },
    Words {
        command: Some("fence-peer"),
        description: &[],
        examples: &[],
        see_also: &["standin-unfence-peer(8)", "drbd.conf(5)"],
    },
    Words {
        command: Some("unfence-peer"),
        description: &[],
        examples: &[],
        see_also: &["standin-fence-peer(8)", "drbd.conf(5)"],
    },
    Words {
        command: Some("completions"),
        description: &["The package installs those for bash, zsh and fish."],
        examples: &[],
        see_also: &[],
    },
];

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

/// A piece of what clap shows after the options.
#[derive(Debug, PartialEq)]
enum Block {
    /// `Exit codes:`
    Heading(String),
    /// `  0  done`
    Entry(String, String),
    Paragraph(String),
}

/// Reads the layout that this project writes its help in; lines of one paragraph, or of one entry, are joined.
fn blocks(help: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut joins = false;
    for line in help.lines() {
        let text = line.trim();
        let indented = line.starts_with(' ');
        match (text.strip_suffix(':'), text.split_once("  ")) {
            _ if text.is_empty() => {
                joins = false;
                continue;
            }
            (Some(heading), _) if !indented && !joins => blocks.push(Block::Heading(heading.to_owned())),
            (_, Some((term, told))) if indented => {
                blocks.push(Block::Entry(term.to_owned(), told.trim_start().to_owned()));
            }
            _ => match blocks.last_mut() {
                Some(Block::Entry(_, told) | Block::Paragraph(told)) if joins => {
                    told.push(' ');
                    told.push_str(text);
                }
                _ => blocks.push(Block::Paragraph(text.to_owned())),
            },
        }
        joins = !matches!(blocks.last(), Some(Block::Heading(_)));
    }
    blocks
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
