//! Making the peer take over, and seeing that it did: DRBD shows it as Primary, and the virtual IP answers from elsewhere.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::address::{self, Target};
use super::ssh::Line;
use super::{Applied, Attempt, command, drbd};
use crate::failure::Failure;
use crate::observation::{Connection, Fact, Role};
use crate::plan::{HandOverBy, shell_words};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// For one look at DRBD.
const DRBD_LOOK: Duration = Duration::from_secs(2);
/// For one probe of the virtual IP.
const PROBE: Duration = Duration::from_millis(100);
/// A manager's command that comes back only when all is done may take as long as the move; one that hangs must not be waited
/// for beyond it. What cleans up after it is quick.
const CLEAN_UP: Duration = Duration::from_secs(20);
/// A peer that has ended its takeover without becoming active gets so long to be seen active all the same: its agent may have
/// been quicker.
const SECOND_CHANCE: Duration = Duration::from_secs(5);
/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(10);

/// Where the peer is seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) resource: &'a str,
    pub(crate) device: &'a Path,
    pub(crate) vip: Ipv4Addr,
    pub(crate) interface: &'a str,
    pub(crate) peer: &'a str,
}

/// Tells whoever is to make the peer active, and waits until it is.
///
/// # Errors
/// The peer is not active by the deadline, or has said that it won't be.
pub(crate) fn hand_over(
    by: &HandOverBy,
    line: Option<Line>,
    sight: Sight<'_>,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let result = match by {
        HandOverBy::Agent => wait(sight, attempt, &format!("the agent of {}", sight.peer), || Word::None),
        HandOverBy::Person { remote } => {
            attempt.report(&format!("TYPE NOW on {}: {}", sight.peer, shell_words(remote)));
            let whom = format!("somebody to type on {}: {}", sight.peer, shell_words(remote));
            wait(sight, attempt, &whom, || Word::None)
        }
        HandOverBy::Ssh { address, remote } => over_ssh(*address, remote, line, sight, attempt),
        HandOverBy::Manager { command, .. } => by_manager(command, sight, attempt),
    };
    if let HandOverBy::Manager { afterwards, .. } = by
        && !afterwards.is_empty()
    {
        return clean_up(afterwards, result);
    }
    result
}

fn over_ssh(
    address: Ipv4Addr,
    remote: &[String],
    line: Option<Line>,
    sight: Sight<'_>,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let opened = match line {
        Some(line) => Ok(line),
        None => Line::open(address, remote, attempt.remaining()),
    };
    let told = opened.and_then(|mut line| line.go().map(|()| line));
    let line = told.map_err(|cause| not_active(sight, format!("it could not be told over ssh ({cause})")))?;
    let mut last = String::new();
    let mut ended_at = None;
    wait(sight, attempt, &format!("standin takeover on {}", sight.peer), || {
        while let Some(said) = line.said() {
            attempt.report(&format!("{}: {}", sight.peer, said.trim()));
            if !said.trim().is_empty() {
                last = said;
            }
        }
        let Some(code) = line.ended() else { return Word::Busy };
        let since = *ended_at.get_or_insert_with(Instant::now);
        if code == Some(0) || since.elapsed() < SECOND_CHANCE {
            return Word::None;
        }
        let code =
            code.map_or_else(|| "without an exit code".to_owned(), |code| format!("with exit code {code}"));
        Word::GivenUp(format!(
            "its takeover ended {code}; it said last: {:?} (standin history there tells more)",
            last.trim()
        ))
    })
}

/// What whoever makes the peer active says of it.
enum Word {
    /// Nothing: what is seen counts.
    None,
    /// It is not done yet, and may still undo what is seen.
    Busy,
    /// It failed.
    GivenUp(String),
}

fn by_manager(words: &[String], sight: Sight<'_>, attempt: &Attempt) -> Result<Applied, Failure> {
    let finished = match command::run(words, attempt.remaining()) {
        Ok(finished) if finished.succeeded() => None,
        Ok(finished) => Some(finished.describe()),
        Err(error) => Some(error.to_string()),
    };
    match finished {
        None => wait(sight, attempt, "the cluster manager", || Word::None),
        Some(cause) => Err(not_active(sight, format!("the cluster manager did not move it: {cause}"))),
    }
}

/// Whatever came of the move: a constraint that is left behind would keep the resource where it is for ever.
fn clean_up(words: &[String], result: Result<Applied, Failure>) -> Result<Applied, Failure> {
    let cause = match command::run(words, CLEAN_UP) {
        Ok(finished) if finished.succeeded() => return result,
        Ok(finished) => finished.describe(),
        Err(error) => error.to_string(),
    };
    let warning =
        format!("what the move left behind could not be taken out ({cause}); type: {}", shell_words(words));
    result.map(|applied| applied.warning(warning.clone())).map_err(|failure| Failure {
        next: format!("{}; and: {}", failure.next, shell_words(words)),
        seen: format!("{}; {warning}", failure.seen),
        ..failure
    })
}

fn wait(
    sight: Sight<'_>,
    attempt: &Attempt,
    whom: &str,
    mut word: impl FnMut() -> Word,
) -> Result<Applied, Failure> {
    let begun = Instant::now();
    let mut told = Instant::now();
    loop {
        // Asked before the look: what is said then is no older than what is seen.
        let said = word();
        let (is_active, seen) = look(sight);
        if is_active && !matches!(said, Word::Busy) {
            return Ok(
                Applied::done().note(format!("{} is Primary, and {} answers there", sight.peer, sight.vip))
            );
        }
        if let Word::GivenUp(cause) = said {
            return Err(not_active(sight, cause));
        }
        if attempt.is_cancelled() || attempt.remaining().is_zero() {
            let waited = begun.elapsed().as_secs_f64();
            return Err(not_active(sight, format!("{whom} was waited for {waited:.0} s; at last: {seen}")));
        }
        if told.elapsed() >= REPORT {
            attempt.report(&format!("waits for {whom}: {seen}"));
            told = Instant::now();
        }
        thread::sleep(LOOK_AGAIN.min(attempt.remaining()));
    }
}

fn look(sight: Sight<'_>) -> (bool, String) {
    let primary = match drbd::observe_state(sight.resource, sight.device, DRBD_LOOK) {
        Fact::Known(drbd) => {
            let is = drbd.connection == Connection::Connected && drbd.peer_role == Role::Primary;
            (is, format!("{} is {:?} ({:?})", sight.peer, drbd.peer_role, drbd.connection))
        }
        Fact::Unknown(cause) => (false, cause),
    };
    // The address comes last; before that nobody needs to be asked for it.
    if !primary.0 {
        return primary;
    }
    let target = Target { address: sight.vip, interface: Some(sight.interface.to_owned()) };
    match address::probe(&[target], 1, PROBE).pop().map(|probe| probe.answer) {
        Some(Fact::Known(Some(_))) => (true, primary.1),
        Some(Fact::Unknown(cause)) => (false, format!("{}; {cause}", primary.1)),
        _ => (false, format!("{}; {} is not answered yet", primary.1, sight.vip)),
    }
}

fn not_active(sight: Sight<'_>, seen: String) -> Failure {
    Failure::failed(
        format!("{} did not become active: {seen}", sight.peer),
        "nobody serves until one of the nodes does",
        format!("see on {}: standin history --last 1; standin plan", sight.peer),
    )
}
