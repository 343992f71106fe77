//! `standin pause`, `resume` and `acknowledge`: what a person tells the agents.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::news::News;
use super::peer_agent::{self, PeerAgent};
use super::say::{say, say_error};
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::journal::{self, Event, Journal, Sink};
use crate::pause::{self, Active, Moment, Pause};
use crate::plan::shell_words;

/// How long the peer's agent may take to have seen a pause. It looks once a second.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Between two questions to it.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What `standin pause` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How long: it ends by itself, so that nobody forgets it
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = length)]
    length: Duration,
    /// Why, for whoever wonders: shown by status, check and plan on both nodes
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// At most a month: a pause that nobody remembers is a cluster without a guard.
fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let day = Duration::from_secs(24 * 60 * 60);
    match length {
        length if length < Duration::from_secs(1) => Err("is shorter than a second".to_owned()),
        length if length > 31 * day => Err("is longer than a month".to_owned()),
        length => Ok(length),
    }
}

fn reason(text: &str) -> Result<String, String> {
    const LONGEST: usize = 500;
    if text.chars().any(char::is_control) {
        return Err("holds a line break or another control character".to_owned());
    }
    if text.len() > LONGEST { Err(format!("is longer than {LONGEST} bytes")) } else { Ok(text.to_owned()) }
}

/// The pause that is in force on this node. One that can't be read is none, and said so in the log: once, although the agent asks
/// at each look.
pub(super) fn in_force(config: &Config) -> Option<Active> {
    static UNREADABLE: News = News::none();
    let file = pause::path(&config.name);
    match pause::active(&file, &Moment::now()) {
        Ok(active) => {
            UNREADABLE.is_over();
            active
        }
        Err(error) => {
            let line = format!(
                "the pause {} can't be read: {error}; it counts as no pause, and the agent acts; see what is wrong with its disk \
                 (dmesg), or end it: standin resume",
                file.display()
            );
            if UNREADABLE.is_news(&line) {
                log::warn!("{line}");
            }
            None
        }
    }
}

/// Who types this: the person behind sudo, as far as that is known, and the node.
fn who(config: &Config) -> String {
    let account = || {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
        user.map_or_else(|| nix::unistd::getuid().to_string(), |user| user.name)
    };
    let user = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(account);
    format!("{user}@{}", config.this_node.name)
}

/// Keeps the agents of both nodes from acting by themselves for a while.
pub(super) fn pause(config: &Config, arguments: &Arguments) -> Outcome {
    let file = pause::path(&config.name);
    let now = Moment::now();
    let by = who(config);
    let pause = Pause::beginning(&now, arguments.length, arguments.reason.clone(), by.clone());
    if let Err(error) = pause::write(&file, &pause) {
        return cannot(&format!("the pause can't be written to {}: {error}", file.display()), arguments.json);
    }
    let event = Event::Paused { until: pause.until.clone(), reason: arguments.reason.clone(), by };
    note(config, &event);
    let peer =
        peer_agent::address(config).and_then(|_| seen_by_peer(&|| peer_agent::ask(config), SEEN_WITHIN));
    let there = on_the_peer(config, arguments);
    if arguments.json {
        say(json!({
            "outcome": Outcome::Done,
            "pause": pause.active(&now),
            "seen_by_peer": peer.is_ok(),
            "peer": peer.as_ref().err(),
        }));
        return Outcome::Done;
    }
    if let Some(active) = pause.active(&now) {
        say(active.sentence());
    }
    say(
        "it holds back what the agents do by themselves; what you type goes on; it ends by itself, or with: standin resume",
    );
    match peer {
        Ok(()) => say(format_args!("the agent of {} has seen it", config.peer.name)),
        Err(cause) => say(format_args!(
            "the agent of {} has not seen it: {cause}\n  type there, too: {there}",
            config.peer.name
        )),
    }
    Outcome::Done
}

fn on_the_peer(config: &Config, arguments: &Arguments) -> String {
    let mut words = vec!["standin".to_owned(), "-c".to_owned(), config.name.clone(), "pause".to_owned()];
    words.extend([
        "--for".to_owned(),
        humantime::format_duration(arguments.length).to_string().replace(' ', ""),
    ]);
    words.extend(arguments.reason.iter().flat_map(|reason| ["--reason".to_owned(), reason.clone()]));
    shell_words(&words)
}

/// Asks the peer's agent until it shows a pause: that of its own node or of this one.
fn seen_by_peer(ask: &dyn Fn() -> Result<PeerAgent, String>, limit: Duration) -> Result<(), String> {
    let until = Instant::now() + limit;
    loop {
        let cause = match ask() {
            Ok(agent) if agent.paused => return Ok(()),
            Ok(_) => "it answers and shows no pause".to_owned(),
            Err(cause) => cause,
        };
        if Instant::now() + ASK_AGAIN >= until {
            return Err(cause);
        }
        thread::sleep(ASK_AGAIN);
    }
}

/// Ends a pause before its time.
pub(super) fn resume(config: &Config) -> Outcome {
    let file = pause::path(&config.name);
    let was = in_force(config);
    let removed = match pause::remove(&file) {
        Ok(removed) => removed,
        Err(error) => return cannot(&format!("{} can't be removed: {error}", file.display()), false),
    };
    // Also when this node has none: a pause of a peer that is silent by now ends with it.
    note(config, &Event::Resumed { by: who(config) });
    match was {
        Some(was) => say(format_args!("resumed; until now: {}", was.sentence())),
        None if removed => say("the pause was over already"),
        None => say(format_args!(
            "{} has no pause of its own; one of {} counts no longer here, unless that lives and is still paused",
            config.this_node.name, config.peer.name
        )),
    }
    hint_at_the_peer(config);
    Outcome::Done
}

/// A pause of the peer holds back both agents, and only the peer can end it.
fn hint_at_the_peer(config: &Config) {
    let until = Instant::now() + SEEN_WITHIN;
    while let Ok(agent) = peer_agent::ask(config) {
        if !agent.paused {
            return;
        }
        if Instant::now() + ASK_AGAIN >= until {
            let peer = &config.peer.name;
            say(format_args!(
                "{peer} is paused, too, which holds back both agents; type there: standin -c {} resume",
                config.name
            ));
            return;
        }
        thread::sleep(ASK_AGAIN);
    }
}

/// Ends the time in which the agent holds back after a takeover, or after it gave up.
pub(super) fn acknowledge(config: &Config) -> Outcome {
    let path = journal::path(&config.name);
    let event = Event::Acknowledged { by: who(config) };
    match Journal::open(&path).and_then(|mut journal| journal.append(&event)) {
        Ok(()) => {
            say(format_args!(
                "acknowledged: the agent of {} may act again; the peer's holds back on its own account (type it there, too, if \
                 that one gave up)",
                config.this_node.name
            ));
            Outcome::Done
        }
        Err(error) => cannot(&format!("the journal {} can't be written: {error}", path.display()), false),
    }
}

fn note(config: &Config, event: &Event) {
    let path = journal::path(&config.name);
    if let Err(error) = Journal::open(&path).and_then(|mut journal| journal.append(event)) {
        say_error(format_args!("warning: the journal {} can't be written: {error}", path.display()));
    }
}

fn cannot(seen: &str, as_json: bool) -> Outcome {
    let failure = Failure::failed(
        seen,
        "the agents go on as before",
        "run it as root, or with sudo, and see that the disk is writable and not full: df /var/lib/standin",
    );
    if as_json {
        say(json!({"outcome": Outcome::Failed, "failure": failure}));
    } else {
        say_error(&failure);
    }
    Outcome::Failed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn lengths_and_reasons_have_bounds() {
        assert_eq!(length("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(length("3days"), Ok(Duration::from_secs(3 * 86_400)), "typed, so meant");
        assert!(length("0s").is_err() && length("5weeks").is_err() && length("for ever").is_err());
        assert!(
            reason("new cables").is_ok()
                && reason("two\nlines").is_err()
                && reason(&"x".repeat(501)).is_err()
        );
    }

    #[test]
    fn the_peer_is_asked_until_it_has_seen_it() {
        let asked = Cell::new(0);
        let answers = |paused_at: u32| {
            asked.set(0);
            move |asked: &Cell<u32>| {
                asked.set(asked.get() + 1);
                Ok(PeerAgent { paused: asked.get() >= paused_at, holds_back: None })
            }
        };
        let soon = answers(3);
        assert_eq!(seen_by_peer(&|| soon(&asked), SEEN_WITHIN), Ok(()));
        assert_eq!(asked.get(), 3);
        let never = answers(u32::MAX);
        let limit = ASK_AGAIN * 2;
        assert!(seen_by_peer(&|| never(&asked), limit).unwrap_err().contains("shows no pause"));
        assert_eq!(
            seen_by_peer(&|| Err("nobody listens".to_owned()), limit),
            Err("nobody listens".to_owned())
        );
    }
}
