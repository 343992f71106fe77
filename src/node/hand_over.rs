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
    let kept = match by {
        HandOverBy::Manager { afterwards, .. } if !afterwards.is_empty() => HandOverBy::CLEAN_UP,
        _ => Duration::ZERO,
    };
    let time = Time { attempt, kept };
    let result = match by {
        HandOverBy::Agent => wait(sight, time, &format!("the agent of {}", sight.peer), || Word::None),
        HandOverBy::Person { remote } => {
            attempt.report(&format!("TYPE NOW on {}: {}", sight.peer, shell_words(remote)));
            let whom = format!("somebody to type on {}: {}", sight.peer, shell_words(remote));
            wait(sight, time, &whom, || Word::None)
        }
        HandOverBy::Ssh { address, remote } => over_ssh(*address, remote, line, sight, time),
        HandOverBy::Manager { command, .. } => by_manager(command, sight, time),
    };
    if let HandOverBy::Manager { afterwards, .. } = by
        && !afterwards.is_empty()
    {
        return clean_up(afterwards, result, attempt);
    }
    result
}

fn over_ssh(
    address: Ipv4Addr,
    remote: &[String],
    line: Option<Line>,
    sight: Sight<'_>,
    time: Time<'_>,
) -> Result<Applied, Failure> {
    let opened = match line {
        Some(line) => Ok(line),
        None => Line::open(address, remote, time.remaining()),
    };
    let told = opened.and_then(|mut line| line.go().map(|()| line));
    let line = told.map_err(|cause| not_active(sight, format!("it could not be told over ssh ({cause})")))?;
    let mut last = String::new();
    let mut ended_at = None;
    wait(sight, time, &format!("standin takeover on {}", sight.peer), || {
        while let Some(said) = line.said() {
            time.attempt.report(&format!("{}: {}", sight.peer, said.trim()));
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

/// The time of a hand-over: that of its step, without what is kept for cleaning up.
#[derive(Clone, Copy)]
struct Time<'a> {
    attempt: &'a Attempt,
    kept: Duration,
}

impl Time<'_> {
    fn remaining(self) -> Duration {
        self.attempt.remaining().saturating_sub(self.kept)
    }
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

/// What one look shows of the peer.
struct Look {
    primary: bool,
    /// Primary, and the virtual IP answers.
    active: bool,
    seen: String,
}

/// What word and look mean together.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Active,
    NotYet,
    GivenUp(String),
}

fn verdict(word: &Word, look: &Look) -> Verdict {
    match word {
        Word::None | Word::GivenUp(_) if look.active => Verdict::Active,
        // Somebody else makes it active, its agent for one: that takes as long as mysqld needs to start.
        Word::GivenUp(_) if look.primary => Verdict::NotYet,
        Word::GivenUp(cause) => Verdict::GivenUp(cause.clone()),
        Word::None | Word::Busy => Verdict::NotYet,
    }
}

fn by_manager(words: &[String], sight: Sight<'_>, time: Time<'_>) -> Result<Applied, Failure> {
    // One that comes back only when all is done may take as long as the move; one that hangs must not be waited for beyond it.
    let finished = match command::run(words, time.remaining()) {
        Ok(finished) if finished.succeeded() => None,
        Ok(finished) => Some(finished.describe()),
        Err(error) => Some(error.to_string()),
    };
    match finished {
        None => wait(sight, time, "the cluster manager", || Word::None),
        Some(cause) => Err(not_active(sight, format!("the cluster manager did not move it: {cause}"))),
    }
}

/// Whatever came of the move: a constraint that is left behind would keep the resource where it is for ever.
fn clean_up(
    words: &[String],
    result: Result<Applied, Failure>,
    attempt: &Attempt,
) -> Result<Applied, Failure> {
    let cause = match command::run(words, HandOverBy::CLEAN_UP) {
        Ok(finished) if finished.succeeded() => return result,
        Ok(finished) => finished.describe(),
        Err(error) => error.to_string(),
    };
    let warning =
        format!("what the move left behind could not be taken out ({cause}); type: {}", shell_words(words));
    // Of what a step says that was interrupted only the beginning is told.
    if attempt.is_cancelled() {
        attempt.report(&warning);
    }
    result.map(|applied| applied.warning(warning.clone())).map_err(|failure| Failure {
        next: format!("{}; and: {}", failure.next, shell_words(words)),
        seen: format!("{}; {warning}", failure.seen),
        ..failure
    })
}

fn wait(
    sight: Sight<'_>,
    time: Time<'_>,
    whom: &str,
    mut word: impl FnMut() -> Word,
) -> Result<Applied, Failure> {
    let begun = Instant::now();
    let mut told = Instant::now();
    loop {
        // Asked before the look: what is said then is no older than what is seen.
        let said = word();
        let look = look(sight);
        match verdict(&said, &look) {
            Verdict::Active => {
                let note = format!("{} is Primary, and {} answers there", sight.peer, sight.vip);
                return Ok(Applied::done().note(note));
            }
            Verdict::GivenUp(cause) => return Err(not_active(sight, cause)),
            Verdict::NotYet => {}
        }
        if time.attempt.is_cancelled() || time.remaining().is_zero() {
            let waited = begun.elapsed().as_secs_f64();
            let cause = match said {
                Word::GivenUp(cause) => format!("; {cause}"),
                Word::None | Word::Busy => String::new(),
            };
            let seen = format!("{whom} was waited for {waited:.0} s; at last: {}{cause}", look.seen);
            return Err(not_active(sight, seen));
        }
        if told.elapsed() >= REPORT {
            time.attempt.report(&format!("waits for {whom}: {}", look.seen));
            told = Instant::now();
        }
        thread::sleep(LOOK_AGAIN.min(time.remaining()));
    }
}

fn look(sight: Sight<'_>) -> Look {
    let (primary, seen) = match drbd::observe_state(sight.resource, sight.device, DRBD_LOOK) {
        Fact::Known(drbd) => {
            let is = drbd.connection == Connection::Connected && drbd.peer_role == Role::Primary;
            (is, format!("{} is {:?} ({:?})", sight.peer, drbd.peer_role, drbd.connection))
        }
        Fact::Unknown(cause) => (false, cause),
    };
    // The address comes last; before that nobody needs to be asked for it.
    if !primary {
        return Look { primary, active: false, seen };
    }
    let target = Target { address: sight.vip, interface: Some(sight.interface.to_owned()) };
    match address::probe(&[target], 1, PROBE).pop().map(|probe| probe.answer) {
        Some(Fact::Known(Some(_))) => Look { primary, active: true, seen },
        Some(Fact::Unknown(cause)) => Look { primary, active: false, seen: format!("{seen}; {cause}") },
        _ => Look { primary, active: false, seen: format!("{seen}; {} is not answered yet", sight.vip) },
    }
}

fn not_active(sight: Sight<'_>, seen: String) -> Failure {
    Failure::failed(
        format!("{} did not become active: {seen}", sight.peer),
        "nobody serves until one of the nodes does",
        format!("see on {}: standin history --last 1; standin plan", sight.peer),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::node::Progress;

    struct Silent;

    impl Progress for Silent {
        fn report(&self, _: &str) {}
    }

    fn seen(primary: bool, active: bool) -> Look {
        Look { primary, active, seen: String::new() }
    }

    #[test]
    fn a_primary_that_starts_is_waited_for_whatever_became_of_the_command() {
        let given_up = || Word::GivenUp("it ended with exit code 3".to_owned());
        assert_eq!(verdict(&given_up(), &seen(true, false)), Verdict::NotYet);
        assert_eq!(verdict(&given_up(), &seen(true, true)), Verdict::Active);
        assert_eq!(
            verdict(&given_up(), &seen(false, false)),
            Verdict::GivenUp("it ended with exit code 3".to_owned())
        );
        assert_eq!(verdict(&Word::Busy, &seen(true, true)), Verdict::NotYet, "it may still undo that");
        assert_eq!(verdict(&Word::None, &seen(true, true)), Verdict::Active);
        assert_eq!(verdict(&Word::None, &seen(false, false)), Verdict::NotYet);
    }

    #[test]
    fn a_move_that_takes_too_long_leaves_the_time_to_clean_up() {
        let directory = tempfile::tempdir().unwrap();
        let cleaned = directory.path().join("cleaned");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let by = HandOverBy::Manager {
            command: words(&["sleep", "5"]),
            afterwards: words(&["touch", &cleaned.display().to_string()]),
        };
        let sight = Sight {
            resource: "none",
            device: "/dev/drbd99".as_ref(),
            vip: Ipv4Addr::new(10, 77, 0, 100),
            interface: "none",
            peer: "node2",
        };
        let begun = Instant::now();
        let limit = HandOverBy::CLEAN_UP + Duration::from_millis(300);
        let failure = hand_over(&by, None, sight, &Attempt::new(limit, Box::new(Silent))).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(failure.seen.contains("did not move it") && cleaned.exists(), "{}", failure.seen);
    }
}
