//! The command line.

use std::io::{self, Write};
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use super::say::say_error;
use super::{
    agent, audit, check, doctor, heartbeat, history, init, keepalived, kept, managed, manual, operate, pause,
    rejoin, status, switchover,
};
use crate::config::{self, Config, Host};
use crate::decide::Request;
use crate::failure::Outcome;
use crate::plan::Goal;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or already so
  1  failed; everything that was done was undone
  2  the command line or the configuration is wrong; nothing was touched
  3  refused: going on would risk data or a second holder of the virtual IP
  4  stuck: an undo or a release failed, and a person is needed; the commands to type are printed

Files:
  /etc/standin/NAME.yaml         the configuration of cluster NAME
  /var/lib/standin/NAME.journal  what was done and when, as JSON lines
  /var/lib/standin/NAME.pause    a pause of the agents, until it ends
  /run/standin/RESOURCE.lock     held while a takeover or release runs

Environment:
  STANDIN_CONFIG_DIR  a directory in place of /etc/standin
  STANDIN_STATE_DIR   a directory in place of /var/lib/standin
  STANDIN_RUN_DIR     a directory in place of /run/standin
  STANDIN_HOST        act as the node of this name
  RUST_LOG            detail of the log on standard error: error, warn (the default), info, debug
  NO_COLOR            when it is set, nothing is coloured";

const HANDLER: &str = "\
For the handlers section of DRBD's configuration, which names the resource in DRBD_RESOURCE.
The answer is in the kernel's log and in the journal, with its reason.

Exit codes:
  1  not known: I/O stays frozen, a promotion is refused; an error of any kind is this, too
  4  the peer's disk is Outdated: I/O goes on
  5  the peer is dead by all evidence: I/O goes on if the local disk is UpToDate
  6  the peer is active: this node must not write
  7  the fence command (or the takeover that runs) confirmed that the peer is off: I/O goes on";

/// Failover of a two-node InnoDB cluster on DRBD: the surviving node steps into the failed one's place.
#[derive(Debug, Parser)]
#[command(name = "standin", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The cluster: a name (/etc/standin/NAME.yaml) or a path; needed when several are configured
    #[arg(short, long, global = true, value_name = "NAME|PATH")]
    config: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a takeover (or a release) would do now, or why it would be refused; changes nothing
    Plan {
        /// Plan a release instead of a takeover
        #[arg(long)]
        release: bool,
        #[command(flatten)]
        overrides: Overrides,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make this node active: wait for the virtual IP to drop, promote, mount, start mysqld, add the virtual IP
    Takeover {
        /// Show what would be done and change nothing
        #[arg(long)]
        plan: bool,
        #[command(flatten)]
        overrides: Overrides,
        /// Wait at most this long for the virtual IP to drop and the peer to yield [default: limits.wait_vip_gone]
        #[arg(long, value_name = "DURATION", value_parser = wait)]
        wait: Option<Duration>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        caller: Caller,
    },
    /// Give everything up in order: virtual IP, mysqld, mount, DRBD; succeeds only when each is verified gone
    Release {
        /// Show what would be done and change nothing
        #[arg(long)]
        plan: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        caller: Caller,
    },
    /// Move the active role to the peer, as planned; typed on the active node
    #[command(after_help = manual::SWITCHOVER)]
    Switchover(switchover::Arguments),
    /// Make this node, which returns, a standby again, and follow its resync; diagnoses a split brain
    Rejoin(rejoin::Arguments),
    /// Keep the agents of both nodes from acting by themselves for a while; commands that are typed go on
    Pause(pause::Arguments),
    /// End a pause before its time
    Resume,
    /// Say that the last takeover was seen to: the agent need not hold back any longer
    Acknowledge,
    /// Look at this machine and write a commented configuration; asks for what it can't learn
    Init(Box<init::Arguments>),
    /// Check every precondition of a takeover on this node; each problem comes with its remedy
    #[command(after_help = manual::DOCTOR)]
    Doctor(doctor::Arguments),
    /// Show which storage engines hold the data, and whether a takeover would be refused for it
    #[command(after_help = manual::AUDIT)]
    Audit(audit::Arguments),
    /// Show both nodes at a glance, as this node sees them
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Repeat every two seconds until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// The daemon: guards the active node, and watches from the standby
    #[command(after_help = manual::AGENT)]
    Agent,
    /// Show past takeovers and releases, with a time per step
    History {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// How many of the latest to show
        #[arg(long, value_name = "N", default_value_t = 10)]
        last: usize,
    },
    /// Heartbeat's resource script: start is a takeover, stop a release; its exit codes are LSB's
    #[command(after_help = heartbeat::HELP, override_usage = "standin heartbeat [NAME] start|stop|status")]
    Heartbeat(heartbeat::Arguments),
    /// Heartbeat's drbddisk: DRBD alone, for groups that keep the other scripts
    #[command(hide = true, after_help = heartbeat::drbddisk::HELP)]
    #[command(override_usage = "standin drbddisk [RESOURCE] start|stop|status")]
    Drbddisk(heartbeat::Arguments),
    /// Is this node fit for its role? An exit code and one line, for keepalived, load balancers and monitoring
    #[command(after_help = check::EXIT_CODES)]
    Check(check::Arguments),
    /// keepalived's notify script and the reader of its notify FIFO: takes over and releases as the virtual IP comes and goes
    #[command(after_help = keepalived::NOTES)]
    KeepalivedNotify(keepalived::Arguments),
    /// DRBD's fence-peer handler: may this node write without its peer? Its exit codes are DRBD's
    #[command(after_help = HANDLER)]
    FencePeer,
    /// DRBD's unfence-peer handler: notes that both disks are UpToDate again
    #[command(after_help = manual::UNFENCE_PEER)]
    UnfencePeer,
    /// Pacemaker's resource agent ocf:standin:innodb: what it is asked is in the environment, its exit codes are OCF's
    #[command(disable_help_flag = true, after_help = manual::OCF)]
    Ocf {
        /// start, stop, monitor, promote, demote, notify, validate-all, meta-data
        #[arg(allow_hyphen_values = true)]
        action: Option<String>,
        /// Ignored, as the API wants it
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page (roff)
    Man {
        /// The page of this command instead of that of standin itself
        command: Option<String>,
        /// Write all pages to this directory
        #[arg(long, hide = true, conflicts_with = "command")]
        directory: Option<PathBuf>,
    },
    /// Works for a parent standin process; not for people
    #[command(hide = true)]
    InternalWorker,
}

#[derive(Debug, Args)]
struct Overrides {
    /// Start mysqld although most of the data is MyISAM: crashed tables need a slow repair and may lose rows
    #[arg(long)]
    accept_myisam: bool,
    /// I have checked that the peer is off, or Secondary and without mysqld: if it is not, both sides take writes and
    /// one side's commits are lost
    #[arg(long)]
    peer_confirmed_inactive: bool,
}

#[derive(Debug, Args)]
struct Caller {
    /// The call comes from the cluster manager's own agent
    #[arg(long = managed::FROM_CLUSTER_MANAGER, hide = true)]
    from_cluster_manager: bool,
    /// DRBD alone: the cluster manager's other resources do the rest
    #[arg(long = managed::DRBD_ONLY, hide = true)]
    drbd_only: bool,
    /// The call comes from this node's agent
    #[arg(long = managed::FROM_AGENT, hide = true)]
    from_agent: bool,
    /// The agent has waited for the virtual IP to drop
    #[arg(long = managed::WAITED_OUT, hide = true, requires = "from_agent")]
    waited_out: bool,
    /// The agent has seen the peer silent for so long
    #[arg(long = managed::SILENT_FOR, hide = true, requires = "from_agent", value_parser = humantime::parse_duration)]
    silent_for: Option<Duration>,
    /// A server that stands still for so long while it shuts down is killed
    #[arg(long = managed::KILL_MYSQLD_AFTER, hide = true, requires = "from_agent", value_parser = humantime::parse_duration)]
    kill_mysqld_after: Option<Duration>,
}

impl Caller {
    fn request(&self, request: Request) -> Request {
        Request {
            from_cluster_manager: self.from_cluster_manager,
            drbd_only: self.drbd_only,
            from_agent: self.from_agent,
            waited_out: self.waited_out,
            silent_for: self.silent_for,
            kill_mysqld_after: self.kill_mysqld_after,
            ..request
        }
    }
}

impl Overrides {
    fn request(&self) -> Request {
        Request {
            accept_myisam: self.accept_myisam,
            peer_confirmed_inactive: self.peer_confirmed_inactive,
            ..Request::default()
        }
    }
}

/// Answers when another program sets what the exit codes mean: to DRBD's handlers 3 and 4 of [`Outcome`] would say that it may
/// go on, Heartbeat's scripts follow LSB, the resource agent follows OCF, and a check those of monitoring.
pub fn run_for_program(cli: &Cli) -> Option<u8> {
    let selector = anchored(cli.config.as_deref());
    let selector = selector.as_deref();
    match &cli.command {
        Command::Heartbeat(arguments) => Some(heartbeat::run(selector, arguments)),
        Command::Drbddisk(arguments) => Some(heartbeat::drbddisk::run(selector, arguments)),
        Command::FencePeer => Some(super::fence_peer::fence(selector)),
        Command::UnfencePeer => Some(super::fence_peer::unfence(selector)),
        Command::Ocf { action, .. } => Some(super::ocf::run(action.as_deref())),
        Command::Check(arguments) => Some(check::run(selector, arguments)),
        _ => None,
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// What could not be done at all (a journal that can't be read, an output that is gone).
pub fn run(cli: &Cli) -> anyhow::Result<Outcome> {
    match &cli.command {
        Command::Completions { shell } => {
            // It panics when it can't write.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "standin", &mut script);
            io::stdout().write_all(&script)?;
            return Ok(Outcome::Done);
        }
        Command::Man { directory: Some(directory), .. } => {
            manual::write_all(Cli::command(), directory)?;
            return Ok(Outcome::Done);
        }
        Command::Man { command, .. } => {
            return Ok(match manual::page(Cli::command(), command.as_deref()) {
                Ok(page) => {
                    io::stdout().write_all(&page)?;
                    Outcome::Done
                }
                Err(error) => {
                    say_error(&error);
                    Outcome::Usage
                }
            });
        }
        Command::InternalWorker => {
            crate::node::worker::serve()?;
            return Ok(Outcome::Done);
        }
        Command::Init(arguments) => return init::run(arguments),
        Command::Audit(arguments) => return audit::run(cli.config.as_deref(), arguments),
        Command::KeepalivedNotify(_) => keepalived::find_the_log(),
        _ => {}
    }
    let selector = cli.config.as_deref();
    let loaded = match cli.command {
        // keepalived's takeovers look at everything, in processes of their own.
        Command::Release { .. }
        | Command::Status { .. }
        | Command::Agent
        | Command::KeepalivedNotify(_)
        | Command::Pause(_)
        | Command::Resume
        | Command::Acknowledge => kept::load(selector),
        _ => config::load(selector, &Host::this_machine()),
    };
    let config = match loaded {
        Ok(config) => Config { file: path::absolute(&config.file).unwrap_or(config.file), ..config },
        Err(errors) => {
            say_error(&errors);
            return Ok(Outcome::Usage);
        }
    };
    let selector = anchored(selector);
    if let Command::KeepalivedNotify(arguments) = &cli.command {
        return Ok(keepalived::run(selector.as_deref(), config, arguments));
    }
    if let Command::Agent = &cli.command {
        return agent::run(selector.as_deref(), config);
    }
    with_config(&cli.command, config)
}

fn with_config(command: &Command, config: Config) -> anyhow::Result<Outcome> {
    match command {
        Command::Plan { release, overrides, json } => {
            let goal = if *release { Goal::Release } else { Goal::Takeover };
            operate::show_plan(&config, goal, overrides.request(), *json)
        }
        Command::Takeover { plan: true, overrides, json, .. } => {
            operate::show_plan(&config, Goal::Takeover, overrides.request(), *json)
        }
        Command::Takeover { overrides, wait, json, caller, .. } => {
            let wait = wait.unwrap_or(config.limits.wait_vip_gone);
            let request = caller.request(overrides.request());
            operate::operate(config, Goal::Takeover, request, wait, *json)
        }
        Command::Release { plan: true, json, .. } => {
            operate::show_plan(&config, Goal::Release, Request::default(), *json)
        }
        Command::Release { json, caller, .. } => {
            let request = caller.request(Request::default());
            operate::operate(config, Goal::Release, request, Duration::ZERO, *json)
        }
        Command::Switchover(arguments) => switchover::run(&config, arguments),
        Command::Rejoin(arguments) => rejoin::run(&config, arguments),
        Command::Pause(arguments) => Ok(pause::pause(&config, arguments)),
        Command::Resume => Ok(pause::resume(&config)),
        Command::Acknowledge => Ok(pause::acknowledge(&config)),
        Command::Doctor(arguments) => doctor::run(&config, arguments),
        Command::Status { json, watch } => status::show(&config, *json, *watch),
        Command::History { json, last } => history::show(&config, *json, *last),
        Command::Audit(_)
        | Command::Agent
        | Command::Init(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::InternalWorker
        | Command::Heartbeat(_)
        | Command::Drbddisk(_)
        | Command::Check(_)
        | Command::KeepalivedNotify(_)
        | Command::FencePeer
        | Command::Ocf { .. }
        | Command::UnfencePeer => Ok(Outcome::Done),
    }
}

/// A path as it is found from any working directory: that of a run that acts is "/" from then on, and so is that of its children.
fn anchored(selector: Option<&str>) -> Option<String> {
    let selector = selector?;
    // As the configuration tells a path from a name.
    let ending = Path::new(selector).extension();
    let is_path = selector.contains('/') || ending.is_some_and(|ending| ending == "yaml" || ending == "yml");
    let absolute = is_path.then(|| path::absolute(selector).ok()).flatten();
    Some(absolute.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| selector.to_owned()))
}

/// As long as the longest limit of a configuration.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let wait = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if wait <= Duration::from_secs(24 * 60 * 60) { Ok(wait) } else { Err("is longer than a day".to_owned()) }
}

/// A directory that the environment may name, for state that is not configuration.
pub(super) fn directory(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_from_any_directory_and_a_name_stays_one() {
        let here =
            std::env::current_dir().map(|directory| directory.display().to_string()).unwrap_or_default();
        let anchored = |selector| anchored(Some(selector));
        assert_eq!(anchored("x.yaml"), Some(format!("{here}/x.yaml")));
        assert_eq!(anchored("x.yml"), Some(format!("{here}/x.yml")));
        assert_eq!(anchored("./conf/orders"), Some(format!("{here}/conf/orders")));
        assert_eq!(anchored("/etc/standin/orders.yaml"), Some("/etc/standin/orders.yaml".to_owned()));
        assert_eq!(anchored("orders"), Some("orders".to_owned()));
        assert_eq!(super::anchored(None), None);
    }
}
