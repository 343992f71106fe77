//! `standin init`.

mod ask;
mod write;

use std::io::{self, IsTerminal};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::Ipv4Net;

use super::say::{deliver, say_error, say_text};
use crate::config::{self, ClusterManager, Host};
use crate::failure::{Failure, Outcome};
use crate::init::{self, Answers, Draft, Found, Question, Stop, Topic};
use crate::node::discover;
use crate::plan::HeartbeatStop;

/// More rounds of questions than there are topics.
const ROUNDS: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to write, - for standard output [default: /etc/standin/CLUSTER.yaml]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there; it is kept as FILE.bak
    #[arg(long)]
    force: bool,
    /// Ask nothing: what can't be learnt must be given by an option
    #[arg(long)]
    non_interactive: bool,
    /// Name of the cluster [default: the DRBD resource's]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// DRBD resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// DRBD device, of a resource with several volumes
    #[arg(long, value_name = "PATH")]
    device: Option<PathBuf>,
    /// Virtual IP, as in 10.0.0.100/24
    #[arg(long, value_name = "ADDRESS[/PREFIX]", value_parser = virtual_ip)]
    vip: Option<(Ipv4Addr, Option<u8>)>,
    /// Interface that carries the virtual IP, on both nodes
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// This node's own address on the clients' network
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// The peer's own address on the clients' network
    #[arg(long, visible_alias = "peer", value_name = "ADDRESS")]
    peer_address: Option<Ipv4Addr>,
    /// Mount point of the data
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// File system type of the data
    #[arg(long, value_name = "TYPE")]
    filesystem: Option<String>,
    /// systemd service that runs mysqld
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// mysqld's Unix socket
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Option file with user and password [default: /etc/standin/CLUSTER.cnf, if it is there]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// none, pacemaker, keepalived, heartbeat-keep, heartbeat-kill or heartbeat-stop
    #[arg(long, value_name = "WORD", value_parser = cluster_manager)]
    cluster_manager: Option<ClusterManager>,
    /// A third machine, such as the router; may be given several times [default: those found that answer]
    #[arg(long = "witness", value_name = "ADDRESS")]
    witnesses: Vec<Ipv4Addr>,
}

impl Arguments {
    fn answers(&self) -> Answers {
        Answers {
            cluster: self.cluster.clone().or_else(|| self.name_of_output()),
            resource: self.resource.clone(),
            device: self.device.clone(),
            vip: self.vip,
            interface: self.interface.clone(),
            address: self.address,
            peer_address: self.peer_address,
            directory: self.directory.clone(),
            filesystem: self.filesystem.clone(),
            unit: self.unit.clone(),
            socket: self.socket.clone(),
            credentials: self.credentials.clone(),
            cluster_manager: self.cluster_manager,
            witnesses: self.witnesses.clone(),
        }
    }

    /// A file's name is the cluster's.
    fn name_of_output(&self) -> Option<String> {
        let file = self.output.as_ref().filter(|_| !self.to_standard_output())?;
        Some(file.file_stem()?.to_string_lossy().into_owned())
    }

    fn to_standard_output(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }

    fn file(&self, cluster: &str) -> PathBuf {
        match &self.output {
            Some(file) if !self.to_standard_output() => file.clone(),
            _ => config::directory().join(format!("{cluster}.yaml")),
        }
    }
}

/// Looks at this machine, asks what is missing, and writes the configuration. Exit 0; 1 when that can't be done here; 2
/// when an answer is missing or wrong, or the file is there already.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let host = Host::this_machine();
    // Before anybody has answered a dozen questions.
    if let Some(file) = arguments.output.as_ref().filter(|_| !arguments.to_standard_output())
        && let Err(failure) = write::may(file, arguments.force)
    {
        return Ok(usage(failure));
    }
    let found = discover::look(&host);
    for problem in &found.problems {
        log::warn!("{problem}");
    }
    let interactive = !arguments.non_interactive && io::stdin().is_terminal() && io::stderr().is_terminal();
    let draft = match complete(&found, arguments.answers(), interactive) {
        Ok(draft) => draft,
        Err(outcome) => return Ok(outcome),
    };
    let file = arguments.file(&draft.cluster);
    let text = init::render(&draft);
    if let Err(problem) = check(&text, &file, &draft.cluster, &host) {
        say_error(problem);
        return Ok(Outcome::Usage);
    }
    if arguments.to_standard_output() {
        let outcome = deliver(&text, Outcome::Done);
        say_error(init::next_steps(&draft, &found, &file));
        return Ok(outcome);
    }
    if let Err(failure) = write::may(&file, arguments.force) {
        return Ok(usage(failure));
    }
    match write::write(&file, &text, arguments.force) {
        Ok(kept) => {
            let kept = kept.map(|kept| format!("; the old one is {}", kept.display())).unwrap_or_default();
            say_text(format_args!(
                "wrote {}{kept}\n{}",
                file.display(),
                init::next_steps(&draft, &found, &file)
            ));
            Ok(Outcome::Done)
        }
        Err(failure) => {
            say_error(failure);
            Ok(Outcome::Failed)
        }
    }
}

/// What is written must be what every command reads.
fn check(text: &str, file: &Path, cluster: &str, host: &Host) -> Result<(), String> {
    let config = config::parse(text, file, host).map_err(|errors| {
        format!(
            "{errors}\nwhat was found and answered does not fit together, and nothing was written; correct it where \
             the comments of the lines say, or give the value by an option: standin init --help"
        )
    })?;
    if config.name == cluster {
        return Ok(());
    }
    let shown = file.display();
    Err(format!(
        "the cluster {} can't be described in {shown}: a file's name is the cluster's; nothing was written\n  \
         what to do next: leave --output or --cluster out",
        cluster.escape_debug()
    ))
}

fn usage(failure: Failure) -> Outcome {
    say_error(failure);
    Outcome::Usage
}

/// Asks until nothing is missing; without a terminal what is missing is an error.
fn complete(found: &Found, mut answers: Answers, interactive: bool) -> Result<Draft, Outcome> {
    for _ in 0..ROUNDS {
        match init::draft(found, &answers) {
            Ok(draft) => return Ok(draft),
            Err(Stop::Impossible(failure)) => {
                say_error(failure);
                return Err(Outcome::Failed);
            }
            Err(Stop::Missing(questions)) if interactive => {
                for question in &questions {
                    ask(question, &mut answers)?;
                }
            }
            Err(Stop::Missing(questions)) => {
                say_error(missing(&questions));
                return Err(Outcome::Usage);
            }
        }
    }
    say_error("the answers do not lead to a configuration; give them by options: standin init --help");
    Err(Outcome::Usage)
}

fn missing(questions: &[Question]) -> String {
    let mut text = "what could not be learnt here must be given:\n".to_owned();
    for question in questions {
        text += &format!("  {}: {} ({})\n", question.topic.flag(), question.wanted, question.cause);
        for candidate in &question.candidates {
            text += &format!("      {} ({})\n", candidate.value, candidate.from);
        }
    }
    text + "nothing was written; options: standin init --help"
}

/// Asks until the answer has the right form; an end of file gives up.
fn ask(question: &Question, answers: &mut Answers) -> Result<(), Outcome> {
    ask::until(question, &mut io::stdin().lock(), &mut io::stderr().lock(), |text| {
        take(question.topic, text, answers)
    })
    .map_err(|error| {
        usage(Failure::failed(
            format!("no answer for {}: {error}", question.topic.flag()),
            "the configuration can't be written without it; nothing was",
            "run it again, or give the answers by options: standin init --help",
        ))
    })
}

/// Puts an answer where it belongs.
fn take(topic: Topic, text: &str, answers: &mut Answers) -> Result<(), String> {
    let address = || text.parse().map_err(|_| "is not an IPv4 address".to_owned());
    let path = || match Path::new(text).is_absolute() {
        true => Ok(PathBuf::from(text)),
        false => Err("is not an absolute path".to_owned()),
    };
    match topic {
        Topic::Resource => answers.resource = Some(text.to_owned()),
        Topic::Device => answers.device = Some(path()?),
        Topic::Vip => answers.vip = Some(virtual_ip(text)?),
        Topic::Interface => answers.interface = Some(text.to_owned()),
        Topic::Address => answers.address = Some(address()?),
        Topic::PeerAddress => answers.peer_address = Some(address()?),
        Topic::Directory => answers.directory = Some(path()?),
        Topic::Filesystem => answers.filesystem = Some(text.to_owned()),
        Topic::Unit => answers.unit = Some(text.to_owned()),
        Topic::Socket => answers.socket = Some(path()?),
        Topic::ClusterManager => answers.cluster_manager = Some(cluster_manager(text)?),
    }
    Ok(())
}

fn virtual_ip(text: &str) -> Result<(Ipv4Addr, Option<u8>), String> {
    if let Ok(address) = text.parse() {
        return Ok((address, None));
    }
    let network: Ipv4Net =
        text.parse().map_err(|_| "is not an IPv4 address, as in 10.0.0.100/24".to_owned())?;
    Ok((network.addr(), Some(network.prefix_len())))
}

fn cluster_manager(text: &str) -> Result<ClusterManager, String> {
    Ok(match text {
        "none" => ClusterManager::None,
        "pacemaker" => ClusterManager::Pacemaker,
        "keepalived" => ClusterManager::Keepalived,
        "heartbeat-keep" => ClusterManager::Heartbeat(None),
        "heartbeat-kill" => ClusterManager::Heartbeat(Some(HeartbeatStop::Kill)),
        "heartbeat-stop" => ClusterManager::Heartbeat(Some(HeartbeatStop::Stop)),
        _ => {
            return Err(
                "is none of none, pacemaker, keepalived, heartbeat-keep, heartbeat-kill and heartbeat-stop"
                    .to_owned(),
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(words: &[&str]) -> Arguments {
        Cli::parse_from(std::iter::once(&"init").chain(words)).arguments
    }

    #[test]
    fn a_file_has_the_name_of_the_cluster() {
        let named = arguments(&["--output", "/tmp/orders.yaml"]);
        assert_eq!(named.answers().cluster.as_deref(), Some("orders"));
        assert_eq!(named.file("orders"), Path::new("/tmp/orders.yaml"));
        let shown = arguments(&["--output", "-"]);
        assert_eq!(shown.answers().cluster, None);
        assert!(shown.file("r0").ends_with("r0.yaml"));
        assert_eq!(
            arguments(&["--cluster", "a", "--output", "/b.yaml"]).answers().cluster.as_deref(),
            Some("a")
        );
    }

    #[test]
    fn a_cluster_and_a_file_of_other_names_are_refused() {
        let manual = include_str!("../../docs/configuration.md");
        let text =
            manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
        let host = Host::fixed("node1");
        let problem =
            |file: &str, cluster| check(text, Path::new(file), cluster, &host).err().unwrap_or_default();
        assert_eq!(problem("/etc/standin/r0.yaml", "r0"), "");
        assert!(problem("/etc/standin/r0.yaml", "r1").contains("can't be described"));
        assert!(problem("/etc/standin/../x.yaml", "../x").contains("can't be described"));
        assert!(check("nodes:", Path::new("/r0.yaml"), "r0", &host).is_err());
    }

    #[test]
    fn answers_must_have_the_right_form() {
        let mut answers = Answers::default();
        let wrong = [
            (Topic::Address, "node1"),
            (Topic::PeerAddress, "10.0.0"),
            (Topic::Vip, "10.0.0.1/33"),
            (Topic::Directory, "data"),
            (Topic::Socket, ""),
            (Topic::ClusterManager, "corosync"),
        ];
        for (topic, text) in wrong {
            assert!(take(topic, text, &mut answers).is_err(), "{text}");
        }
        assert_eq!(answers, Answers::default());
        assert_eq!(take(Topic::Vip, "10.0.0.1/24", &mut answers), Ok(()));
        assert_eq!(answers.vip, Some((Ipv4Addr::new(10, 0, 0, 1), Some(24))));
    }
}
