//! Which storage engines hold the data: of a server, of a directory, or of this node's cluster.

mod report;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use self::report::Report;
use super::say::{deliver, say, say_error};
use crate::audit::EngineTotals;
use crate::audit::offline::{Settings, TOP};
use crate::audit::verdict::{REFUSE_ABOVE_PERCENT, verdict};
use crate::config::{self, Config, Host};
use crate::failure::{Failure, Outcome};
use crate::node::mysqld::engines::{self, Account, Server};
use crate::node::{filesystem, mysqld, worker};
use crate::observation::{Fact, MysqldAnswer};

/// A scan that finishes no schema for so long has met a disk that does not answer.
const NO_PROGRESS: Duration = Duration::from_secs(600);

/// What is audited, and how it is shown.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Scan this data directory; needs no server and no configuration
    #[arg(long, value_name = "DIR", conflicts_with_all = ["online", "host", "port", "credentials"])]
    datadir: Option<PathBuf>,
    /// Ask the server on this node, over the socket in the configuration
    #[arg(long)]
    online: bool,
    /// Ask the server on this host over TCP; needs no configuration
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Its port [default: that of the configuration, or 3306]
    #[arg(long, value_name = "N", requires = "host", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// An option file with [client], user and password, mode 0600 [default: mysqld.credentials]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Print JSON, with sizes in bytes
    #[arg(long)]
    json: bool,
    /// How many of the largest tables that are not crash-safe to show
    #[arg(long, value_name = "N", default_value_t = TOP)]
    top: usize,
}

/// Prints the report. Refused when a takeover would be.
///
/// # Errors
/// The output can't be made.
pub(super) fn run(selector: Option<&str>, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let needs_none = arguments.datadir.is_some() || arguments.host.is_some();
    let config = if needs_none && selector.is_none() {
        None
    } else {
        match config::load(selector, &Host::this_machine()) {
            Ok(config) => Some(config),
            Err(errors) => {
                say_error(&errors);
                return Ok(Outcome::Usage);
            }
        }
    };
    let seen = match look(config.as_ref(), arguments) {
        Ok(seen) => seen,
        Err(failure) => {
            if arguments.json {
                say(json!({"outcome": Outcome::Failed, "failure": failure}));
            } else {
                say_error(&failure);
            }
            return Ok(Outcome::Failed);
        }
    };
    let limit = config.as_ref().map_or(REFUSE_ABOVE_PERCENT, |config| config.refuse_myisam_above_percent);
    let verdict = verdict(&seen.totals, limit);
    let outcome = if verdict.refused { Outcome::Refused } else { Outcome::Done };
    let report = Report::new(seen, verdict);
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&report.json())?)
    } else {
        report.text()
    };
    Ok(deliver(text, outcome))
}

/// Where the totals come from, and what they are.
struct Seen {
    method: &'static str,
    source: String,
    server: Option<String>,
    totals: EngineTotals,
}

fn look(config: Option<&Config>, arguments: &Arguments) -> Result<Seen, Failure> {
    if let Some(datadir) = &arguments.datadir {
        return offline(datadir.clone(), arguments);
    }
    if let Some(host) = &arguments.host {
        let port = arguments.port.or(config.map(|config| config.mysqld.port)).unwrap_or(3306);
        return online(&Server::Tcp { host: host.clone(), port }, config, arguments);
    }
    let Some(config) = config else {
        return Err(nothing_here("no configuration names a server or a data directory"));
    };
    let mysqld = &config.mysqld;
    let serves = || mysqld::handshake(&mysqld.socket, Duration::from_secs(2)) != MysqldAnswer::Silent;
    if arguments.online || serves() {
        return online(&Server::Socket(mysqld.socket.clone()), Some(config), arguments);
    }
    match filesystem::observe(&config.mount) {
        Fact::Known(seen) if seen.at_directory.as_ref().is_some_and(|mounted| mounted.is_our_device) => {
            offline(mysqld.datadir.clone(), arguments)
        }
        Fact::Known(_) => Err(nothing_here(&format!(
            "mysqld does not answer at {}, and {} is not mounted at {}",
            mysqld.socket.display(),
            config.mount.device.display(),
            config.mount.directory.display()
        ))),
        Fact::Unknown(cause) => Err(nothing_here(&format!(
            "mysqld does not answer at {}, and what is mounted at {} can't be learnt: {cause}",
            mysqld.socket.display(),
            config.mount.directory.display()
        ))),
    }
}

fn nothing_here(seen: &str) -> Failure {
    Failure::failed(
        seen,
        "there is nothing here to count: a standby does not see the data",
        "run it on the active node, or name what to audit: --datadir DIR, or --host ADDRESS",
    )
}

fn online(server: &Server, config: Option<&Config>, arguments: &Arguments) -> Result<Seen, Failure> {
    let file =
        arguments.credentials.clone().or_else(|| config.and_then(|config| config.mysqld.credentials.clone()));
    let account = Account::from_file(file.as_deref())?;
    let found = engines::totals(server, &account, arguments.top)?;
    Ok(Seen {
        method: "online",
        source: server.to_string(),
        server: Some(found.version),
        totals: found.totals,
    })
}

/// In the worker, so that a dead disk does not keep this process from ending.
fn offline(datadir: PathBuf, arguments: &Arguments) -> Result<Seen, Failure> {
    let absolute = std::path::absolute(&datadir).unwrap_or(datadir);
    let settings = Settings { datadir: absolute, top: arguments.top, tolerate_damage: false };
    let source = settings.datadir.display().to_string();
    let bar = bar();
    let request = worker::Request::Audit { settings };
    let scanned = worker::call_following(&request, NO_PROGRESS, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    Ok(Seen { method: "offline", source, server: None, totals: scanned? })
}

/// On standard error, when that is a terminal.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} schemas, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style)
}
