//! DRBD's handlers `fence-peer` and `unfence-peer`.
//!
//! `drbdadm` runs them for the kernel, as root, with the resource's name in `DRBD_RESOURCE` and little else. While
//! `fence-peer` runs, all I/O of the resource is frozen, and a takeover may hold the lock and wait for the promotion: so it
//! neither takes the lock nor touches the data, and whatever goes wrong ends in an answer that lets nobody write.

use std::thread;
use std::time::{Duration, Instant};

use super::contact;
use super::lock;
use super::say::say_error;
use crate::config::{self, Config, Host};
use crate::decide::{self, FenceAnswer, FenceDecision, FenceRequest};
use crate::journal::{self, Event, Journal, Sink};
use crate::node::real::RealNode;
use crate::node::within::within;
use crate::node::{command, kernel_log};
use crate::observation::{Observation, OwnTakeover, Past, Role};

/// Environment variable in which drbdadm names the resource.
const RESOURCE: &str = "DRBD_RESOURCE";
/// After this long a handler gives up: drbdadm gives it 600 s, and DRBD does not ask again.
const GIVE_UP: Duration = Duration::from_secs(9 * 60);
/// How long a peer that lives may take to connect again before it is fenced.
const RECONNECT: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two runs of a fence command that did not confirm.
const FENCE_AGAIN: Duration = Duration::from_secs(5);
/// What a look may take beyond its probes of the network.
const LOOK: Duration = Duration::from_secs(3);
/// Writing down the answer must not hold it up for longer, whatever the root file system does.
const RECORD: Duration = Duration::from_millis(500);

/// The exit code of `standin fence-peer`.
pub(super) fn fence(selector: Option<&str>) -> u8 {
    let selector = selector.map(str::to_owned);
    // In a thread of its own: the root file system, too, may hang.
    let answer = within(GIVE_UP, move || answer(selector.as_deref())).unwrap_or_else(|| {
        say_error("fence-peer did not come to an end");
        FenceAnswer::NotKnown
    });
    answer.exit_code()
}

/// The exit code of `standin unfence-peer`: nothing was forbidden that would have to be allowed again.
pub(super) fn unfence(selector: Option<&str>) -> u8 {
    let selector = selector.map(str::to_owned);
    let noted = within(LOOK, move || match this_cluster(selector.as_deref()) {
        Ok(config) => {
            note(&format!("unfence-peer of {}: both disks are UpToDate again", config.resource));
            append(&config, &Event::PeerUnfenced);
        }
        Err(error) => note(&format!("unfence-peer: {error}")),
    });
    u8::from(noted.is_none())
}

fn answer(selector: Option<&str>) -> FenceAnswer {
    let begun = Instant::now();
    let config = match this_cluster(selector) {
        Ok(config) => config,
        Err(error) => {
            note(&format!("fence-peer: {}: {error}", FenceAnswer::NotKnown.meaning()));
            return FenceAnswer::NotKnown;
        }
    };
    let (answer, reason) = settle(&config, begun);
    let resource = config.resource.clone();
    let recorded = within(RECORD, move || {
        let (code, meaning) = (answer.exit_code(), answer.meaning());
        note(&format!("fence-peer of {resource} answers {code} ({meaning}): {reason}"));
        let seconds = begun.elapsed().as_secs_f64();
        append(&config, &Event::FencePeerAnswered { answer, reason, seconds });
    });
    if recorded.is_none() {
        say_error("the answer could not be written down in time");
    }
    answer
}

fn this_cluster(selector: Option<&str>) -> Result<Config, String> {
    let resource = std::env::var(RESOURCE).ok().filter(|name| !name.is_empty()).ok_or_else(|| {
        format!("{RESOURCE} is not in the environment: this command is for the handlers section of DRBD's configuration")
    })?;
    config::load_for_resource(&resource, selector, &Host::this_machine()).map_err(|errors| errors.to_string())
}

/// Looks until something is proven, or until it gives up.
fn settle(config: &Config, begun: Instant) -> (FenceAnswer, String) {
    let (resource, peer) = (&config.resource, &config.peer.name);
    let mut own = own_takeover(config);
    let mut told = String::new();
    let mut io_was_suspended = false;
    let mut was_cut_off = false;
    let mut silent_since = None;
    let mut was_held = false;
    loop {
        let looked = Instant::now();
        // The agent may come to it a moment later than this process.
        was_held |= contact::was_held(config);
        let seen = look(config, own.as_ref());
        if let Some(seen) = &seen {
            silent_since = if decide::answers(seen) { None } else { silent_since.or(Some(looked)) };
            was_cut_off |= own.is_none() && decide::hears_nobody(seen);
        }
        let request = FenceRequest {
            own: own.as_ref(),
            reconnect_waited: begun.elapsed() >= RECONNECT,
            io_was_suspended,
            silent_for: silent_since.map_or(Duration::ZERO, |since| since.elapsed()),
            was_cut_off,
            was_held,
        };
        let (pending, pause) = match seen.as_ref().map(|seen| decide::fence_peer(seen, config, request)) {
            // This node may have been paused in between, and have been taken over from.
            Some(FenceDecision::Answer(answer, reason))
                if answer.lets_write() && looked.elapsed() > look_limit(config) =>
            {
                (format!("{reason}; but that look is too old by now"), LOOK_AGAIN)
            }
            Some(FenceDecision::Answer(answer, reason)) => return (answer, reason),
            Some(FenceDecision::Fence { command, reason }) => {
                note(&format!("fence-peer of {resource} fences {peer}: {reason}"));
                let left = GIVE_UP.saturating_sub(begun.elapsed() + FENCE_AGAIN);
                match run_fence(&command, config.limits.fence_peer.min(left)) {
                    Ok(()) => {
                        let confirmed = format!("{reason}; the fence command confirmed that it is off");
                        return (FenceAnswer::PeerFenced, confirmed);
                    }
                    Err(error) => {
                        let reason = format!("{reason}; the fence command did not confirm: {error}");
                        // Whoever promotes waits for the answer.
                        if !seen.as_ref().is_some_and(is_active) {
                            return (FenceAnswer::NotKnown, reason);
                        }
                        (reason, FENCE_AGAIN)
                    }
                }
            }
            Some(FenceDecision::LookAgain(reason)) => (reason, LOOK_AGAIN),
            Some(FenceDecision::Listen(reason)) => (reason, Duration::ZERO),
            None => ("a look at DRBD and the network did not end in time".to_owned(), LOOK_AGAIN),
        };
        let suspended = |seen: &Observation| seen.drbd.known().is_some_and(|drbd| drbd.io_suspended);
        io_was_suspended |= seen.as_ref().is_some_and(suspended);
        // A takeover that has promoted meanwhile looked at another state than this.
        own = None;
        if begun.elapsed() + pause + LOOK + RECORD >= GIVE_UP {
            let next = format!(
                "make sure that {peer} is off or Outdated (there: drbdadm outdate {resource}; drbdadm dstate {resource}), \
                 then type here: drbdadm resume-io {resource}"
            );
            return (FenceAnswer::NotKnown, format!("{pending}; {next}"));
        }
        if !pause.is_zero() && pending != told {
            note(&format!("fence-peer of {resource} looks again, I/O stays frozen: {pending}"));
            told = pending;
        }
        thread::sleep(pause);
    }
}

fn is_active(seen: &Observation) -> bool {
    seen.drbd.known().is_some_and(|drbd| drbd.role == Role::Primary)
}

/// One look. A takeover of our own has asked the network already.
fn look(config: &Config, own: Option<&OwnTakeover>) -> Option<Observation> {
    let ask_network = !own.is_some_and(|own| own.peer_judged);
    let node = RealNode::new(config.clone(), Past::default());
    within(look_limit(config), move || node.observe_for_fence(ask_network))
}

fn look_limit(config: &Config) -> Duration {
    LOOK + config.vip.interval.saturating_mul(config.vip.misses)
}

/// The takeover of this node that promotes now. What can't be learnt of it counts as none: the evidence is looked at then.
fn own_takeover(config: &Config) -> Option<OwnTakeover> {
    if !lock::is_held(&config.resource).unwrap_or(false) {
        return None;
    }
    let entries = journal::read(&journal::path(&config.name)).ok()?;
    journal::promoting(&entries, &journal::boot_id())
}

fn run_fence(words: &[String], limit: Duration) -> Result<(), String> {
    match command::run(words, limit) {
        Ok(finished) if finished.succeeded() => Ok(()),
        Ok(finished) => Err(finished.describe()),
        Err(error) => Err(error.to_string()),
    }
}

/// For whoever reads the kernel's log, or calls the handler by hand.
fn note(line: &str) {
    say_error(format_args!("standin: {line}"));
    if let Err(error) = kernel_log::note(line) {
        log::debug!("/dev/kmsg can't be written: {error}");
    }
}

fn append(config: &Config, event: &Event) {
    let path = journal::path(&config.name);
    if let Err(error) = Journal::open(&path).and_then(|mut journal| journal.append(event)) {
        note(&format!("the journal {} can't be written: {error}", path.display()));
    }
}
