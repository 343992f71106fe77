//! What the agent remembers from look to look. The clock is given, so that every rule of time can be tested.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::decide::{self, Guarding, Standing};
use crate::observation::{Connection, Disk, Drbd, Fact, MysqldAnswer, Observation, Role};

/// A look that took this much longer than its probes was held up: the machine was paused, or has no time. Then what it did not hear
/// proves nothing.
const HELD_UP: Duration = Duration::from_secs(2);
/// How long DRBD must be connected after that, before its word counts again: it notices a broken connection after `ping-int` and
/// `ping-timeout` (10.5 s by default).
const CONTACT: Duration = Duration::from_secs(12);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// This node was seen to serve since it booted, or took over.
    pub(super) was_active: bool,
    /// The peer was seen to hold something.
    pub(super) peer_was_active: bool,
    /// It was seen to change from standby to active.
    pub(super) stepped_up: bool,
    /// DRBD was connected at some time since this node became active.
    pub(super) was_connected: bool,
    was_standby: bool,
    /// When the peer was last seen to live, both had the same data.
    same_data: bool,
    /// This node was held up or cut off, and has not been in contact with its peer for long enough since.
    held: bool,
    contact_since: Option<Instant>,
    results: VecDeque<bool>,
    silent_since: Option<Instant>,
    vip_silent_since: Option<Instant>,
    waited_for_peer: Option<Instant>,
    was_paused: bool,
    stalled_since: Option<Instant>,
    starting_since: Option<(i32, Instant)>,
    last_look: Option<Instant>,
}

impl Memory {
    /// Takes in what an agent before this one left, at the first look: whether this node was held up meanwhile; none when there was
    /// no agent since the boot. Then an active node may have been held up, too.
    pub(super) fn begin(&mut self, was_held: Option<bool>, seen: &Observation, config: &Config) {
        let is_active = decide::standing(seen, config) != Standing::Standby;
        self.held = was_held.unwrap_or(is_active);
    }

    /// Takes in a look at everything: the network was asked.
    pub(super) fn saw_everything(
        &mut self,
        seen: &Observation,
        config: &Config,
        began: Instant,
        ended: Instant,
    ) {
        let probes = config.vip.interval * config.vip.misses;
        let held_up = ended.saturating_duration_since(began) > probes + HELD_UP;
        if held_up {
            self.held_up();
        }
        // That of a look which was held up does not count.
        let silence_from = if held_up { ended } else { began };
        self.last_look = Some(ended);
        let heard = decide::answers(seen);
        self.silent_since = if heard { None } else { Some(self.silent_since.unwrap_or(silence_from)) };
        let vip_free = seen.vip.answer == Fact::Known(None) && seen.vip.here == Fact::Known(None);
        self.vip_silent_since =
            if vip_free { Some(self.vip_silent_since.unwrap_or(silence_from)) } else { None };
        if heard {
            self.same_data = is_in_step(seen);
            self.contact(self.same_data, ended);
        }
        // The peer may have gone on without this node meanwhile.
        if decide::hears_nobody(seen) {
            self.held = true;
            self.contact_since = None;
        }
        let holds = |drbd: &Drbd| drbd.connection == Connection::Connected && drbd.peer_role == Role::Primary;
        self.peer_was_active |=
            matches!(seen.vip.answer, Fact::Known(Some(_))) || seen.drbd.known().is_some_and(holds);
        self.note_standing(seen, config, ended);
    }

    /// The machine, or this process, did not run for a while.
    pub(super) fn held_up(&mut self) {
        self.held = true;
        self.contact_since = None;
        self.silent_since = None;
        self.vip_silent_since = None;
    }

    /// Whether this node was held up, and has not been in contact with its peer for long enough since.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether nothing can have been committed elsewhere that is not here, as of when the peer was last seen to live.
    pub(super) fn in_step(&self) -> bool {
        self.same_data && !self.held
    }

    fn contact(&mut self, is_in_contact: bool, now: Instant) {
        keep(&mut self.contact_since, is_in_contact, now);
        if self.contact_since.is_some_and(|since| now.saturating_duration_since(since) >= CONTACT) {
            self.held = false;
        }
    }

    /// Takes in a look at this node alone.
    pub(super) fn saw_this_node(&mut self, seen: &Observation, config: &Config, now: Instant) {
        self.contact(seen.drbd.known().is_some_and(has_same_data), now);
        self.note_standing(seen, config, now);
    }

    fn note_standing(&mut self, seen: &Observation, config: &Config, now: Instant) {
        match decide::standing(seen, config) {
            Standing::Active => {
                if self.was_standby {
                    // From here on it is this node's data that counts.
                    self.stepped_up = true;
                    self.held = false;
                }
                self.was_standby = false;
                self.was_active = true;
                self.peer_was_active = false;
                let connected = |drbd: &Drbd| drbd.connection == Connection::Connected;
                self.was_connected |= seen.drbd.known().is_some_and(connected);
            }
            Standing::Standby => {
                self.was_standby = true;
                self.stepped_up = false;
                self.was_active = false;
                self.was_connected = false;
                self.results.clear();
            }
            Standing::Partial { .. } | Standing::Unknown { .. } => {}
        }
        if seen.drbd.known().is_some_and(|drbd| drbd.writes_wait_for_peer) {
            self.waited_for_peer = Some(now);
        }
        let Fact::Known(mysqld) = &seen.mysqld else { return };
        let process =
            mysqld.processes.iter().find(|process| process.on_our_device).map(|process| process.pid);
        keep(&mut self.stalled_since, matches!(mysqld.answer, MysqldAnswer::Stalled(_)), now);
        let listens_not = mysqld.answer == MysqldAnswer::Silent;
        self.starting_since = match (process, self.starting_since) {
            (Some(pid), Some((before, since))) if pid == before && listens_not => Some((pid, since)),
            (Some(pid), _) if listens_not => Some((pid, now)),
            _ => None,
        };
    }

    /// Notes whether a look at the active node found something wrong.
    pub(super) fn judged(&mut self, wrong: bool, config: &Config) {
        self.results.push_back(wrong);
        while self.results.len() > config.agent.of as usize {
            self.results.pop_front();
        }
    }

    /// What failed while the agents were paused does not count when they no longer are: whoever resumes may still be at it.
    pub(super) fn paused(&mut self, paused: bool) {
        if self.was_paused && !paused {
            self.results.clear();
        }
        self.was_paused = paused;
    }

    /// What this node had counted against it is over.
    pub(super) fn begins_anew(&mut self) {
        self.results.clear();
    }

    /// How many of the last looks found something wrong.
    pub(super) fn failures(&self) -> u32 {
        u32::try_from(self.results.iter().filter(|wrong| **wrong).count()).unwrap_or(u32::MAX)
    }

    /// Fills in what is measured by the clock.
    pub(super) fn guarding(&self, now: Instant) -> Guarding {
        let lasted = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| now - since.min(now));
        Guarding {
            was_active: self.was_active,
            failures: self.failures(),
            waited_for_peer: self.waited_for_peer.map(|last| now - last.min(now)),
            stalled_for: lasted(self.stalled_since),
            starting_for: lasted(self.starting_since.map(|(_, since)| since)),
            ..Guarding::default()
        }
    }

    /// How long nothing of the peer has answered, as of the end of the latest look.
    pub(super) fn silent_for(&self) -> Duration {
        self.until_last_look(self.silent_since)
    }

    /// How long nobody has answered for the virtual IP, as of the end of the latest look.
    pub(super) fn vip_silent_for(&self) -> Duration {
        self.until_last_look(self.vip_silent_since)
    }

    fn until_last_look(&self, since: Option<Instant>) -> Duration {
        match (since, self.last_look) {
            (Some(since), Some(last)) => last.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }
}

fn keep(since: &mut Option<Instant>, holds: bool, now: Instant) {
    *since = if holds { since.or(Some(now)) } else { None };
}

/// DRBD is connected, both disks are current, and that is no stale word: the replication address answers.
fn is_in_step(seen: &Observation) -> bool {
    let answers =
        seen.peer.addresses.first().is_some_and(|probe| matches!(probe.answer, Fact::Known(Some(_))));
    answers && seen.drbd.known().is_some_and(has_same_data)
}

fn has_same_data(drbd: &Drbd) -> bool {
    drbd.connection == Connection::Connected
        && drbd.disk == Disk::UpToDate
        && drbd.peer_disk == Disk::UpToDate
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::{Host, parse};
    use crate::node::Node;
    use crate::node::simulated::{SimulatedNode, World};
    use crate::observation::AddressProbe;

    const LOOK: Duration = Duration::from_millis(300);

    fn config() -> Config {
        let text = include_str!("../../../docs/examples/heartbeat.yaml");
        parse(text, "orders.yaml".as_ref(), &Host::fixed("node2")).unwrap()
    }

    fn seen(dead: bool) -> Observation {
        let mut world = World::new();
        if dead {
            world.power_cut(0);
        }
        SimulatedNode::new(Arc::new(Mutex::new(world)), 1, config()).observe()
    }

    struct Story {
        memory: Memory,
        now: Instant,
    }

    impl Story {
        fn begin() -> Self {
            Self { memory: Memory::default(), now: Instant::now() }
        }

        fn look(&mut self, seen: &Observation) {
            self.look_for(seen, LOOK);
        }

        fn look_for(&mut self, seen: &Observation, took: Duration) {
            let ended = self.now + took;
            self.memory.saw_everything(seen, &config(), self.now, ended);
            self.now = ended;
        }
    }

    #[test]
    fn silence_is_what_lasted_from_the_beginning_of_the_first_silent_look() {
        let mut story = Story::begin();
        story.look(&seen(false));
        assert_eq!(story.memory.silent_for(), Duration::ZERO);
        assert!(story.memory.in_step() && story.memory.peer_was_active);
        for look in 1..=5 {
            story.look(&seen(true));
            assert_eq!(story.memory.silent_for(), LOOK * look);
        }
        assert!(story.memory.in_step(), "what was so when the peer was last seen");
        story.look(&seen(false));
        assert_eq!(story.memory.silent_for(), Duration::ZERO);
    }

    #[test]
    fn what_failed_during_a_pause_does_not_count_after_it() {
        let mut memory = Memory::default();
        for paused in [true, true, true] {
            memory.paused(paused);
            memory.judged(true, &config());
        }
        assert_eq!(memory.failures(), 3);
        memory.paused(false);
        memory.judged(true, &config());
        assert_eq!(memory.failures(), 1);
    }

    #[test]
    fn a_machine_that_was_held_up_has_heard_nothing_meanwhile() {
        let mut story = Story::begin();
        story.look(&seen(false));
        story.look_for(&seen(true), Duration::from_secs(20));
        assert_eq!(story.memory.silent_for(), Duration::ZERO, "the look itself was held up");
        story.look(&seen(true));
        assert_eq!(story.memory.silent_for(), LOOK);
        assert!(!story.memory.in_step(), "the peer may have gone on alone meanwhile");
        story.memory.held_up();
        assert_eq!(story.memory.silent_for(), Duration::ZERO, "the loop was held up between two looks");
        story.look(&seen(true));
        assert_eq!(story.memory.silent_for(), LOOK);
    }

    #[test]
    fn who_was_held_up_is_in_step_again_only_after_a_lasting_contact() {
        let mut story = Story::begin();
        story.look(&seen(false));
        assert!(story.memory.in_step());
        story.memory.held_up();
        let begun = story.now;
        while story.now - begun < CONTACT {
            story.look(&seen(false));
            assert!(!story.memory.in_step());
        }
        story.look(&seen(false));
        story.look(&seen(false));
        assert!(story.memory.in_step());
        let mut cut_off = seen(true);
        let address = std::net::Ipv4Addr::new(10, 77, 0, 254);
        cut_off.witnesses = vec![AddressProbe { address, answer: Fact::Known(None) }];
        story.look(&cut_off);
        assert!(!story.memory.in_step(), "neither the peer nor a witness was heard");
    }

    #[test]
    fn a_restart_of_the_agent_forgets_nothing() {
        for (left, held) in [(None, false), (Some(true), true), (Some(false), false)] {
            let mut story = Story::begin();
            let standby = seen(false);
            story.look(&standby);
            story.memory.begin(left, &standby, &config());
            assert_eq!(story.memory.is_held(), held, "{left:?}");
        }
        let mut memory = Memory::default();
        let active = SimulatedNode::new(Arc::new(Mutex::new(World::new())), 0, config()).observe();
        memory.begin(None, &active, &config());
        assert!(memory.is_held(), "nobody knows what it did before");
    }

    #[test]
    fn a_peer_that_answers_and_is_not_connected_is_out_of_step() {
        let mut story = Story::begin();
        story.look(&seen(false));
        let mut cut = seen(false);
        if let Fact::Known(drbd) = &mut cut.drbd {
            drbd.connection = Connection::Connecting;
        }
        story.look(&cut);
        assert!(!story.memory.in_step());
        story.look(&seen(true));
        assert!(!story.memory.in_step(), "its death does not make good what it took alone");
    }

    #[test]
    fn connected_is_not_believed_while_the_replication_address_is_silent() {
        let mut story = Story::begin();
        let mut cut = seen(false);
        cut.peer.addresses[0].answer = Fact::Known(None);
        story.look(&cut);
        assert!(!story.memory.in_step());
    }

    #[test]
    fn the_last_looks_count_and_older_ones_do_not() {
        let mut memory = Memory::default();
        for wrong in [true, true, false, false, false, true, true] {
            memory.judged(wrong, &config());
        }
        assert_eq!(memory.failures(), 2);
        memory.begins_anew();
        assert_eq!(memory.failures(), 0);
    }

    #[test]
    fn a_server_that_starts_is_told_from_one_that_was_started_again() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let mut active = SimulatedNode::new(Arc::new(Mutex::new(World::new())), 0, config()).observe();
        let later = |seconds| now + Duration::from_secs(seconds);
        if let Fact::Known(mysqld) = &mut active.mysqld {
            mysqld.answer = MysqldAnswer::Silent;
        }
        memory.saw_this_node(&active, &config(), now);
        memory.saw_this_node(&active, &config(), later(30));
        assert_eq!(memory.guarding(later(30)).starting_for, Duration::from_secs(30));
        if let Fact::Known(mysqld) = &mut active.mysqld {
            mysqld.processes[0].pid += 1;
        }
        memory.saw_this_node(&active, &config(), later(31));
        assert_eq!(memory.guarding(later(31)).starting_for, Duration::ZERO);
    }
}
