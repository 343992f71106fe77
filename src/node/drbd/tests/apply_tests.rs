//! The four changes on a machine of the test's own: a state, and what a command does to it.

use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Progress for Lines {
    fn report(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

type Effect = fn(&mut State);

/// Exit code, standard error, and a change of the state.
type CommandAnswer = (i32, &'static str, Effect);

struct Machine {
    state: RefCell<State>,
    /// What the next commands do, the next one last.
    answers: RefCell<Vec<CommandAnswer>>,
    commands: Cell<u32>,
    looks: Cell<u32>,
    holders: Vec<Holder>,
}

impl Machine {
    fn new(state: State, mut answers: Vec<CommandAnswer>) -> Self {
        answers.reverse();
        Self {
            state: RefCell::new(state),
            answers: RefCell::new(answers),
            commands: Cell::new(0),
            looks: Cell::new(0),
            holders: Vec::new(),
        }
    }

    fn apply(&self, change: Change, limit: Duration) -> Result<Applied, Failure> {
        self.apply_reporting(change, limit, &Lines::default())
    }

    fn apply_reporting(&self, change: Change, limit: Duration, lines: &Lines) -> Result<Applied, Failure> {
        let hands = Hands {
            look: &|_| {
                self.looks.set(self.looks.get() + 1);
                Ok(self.state.borrow().clone())
            },
            run: &|command, _| {
                self.commands.set(self.commands.get() + 1);
                let (code, stderr, effect) = self.answers.borrow_mut().pop().expect("an unplanned command");
                effect(&mut self.state.borrow_mut());
                Ok(Finished { command: command.to_vec(), ..finished(code, "", stderr) })
            },
            holders: &|| self.holders.clone(),
        };
        let attempt = Attempt::new(limit, Box::new(lines.clone()));
        apply_with(&hands, change, &argv(&["drbdsetup", "something"]), "r0", &attempt)
    }
}

const PLENTY: Duration = Duration::from_secs(30);

fn nothing(_: &mut State) {}

fn secondary() -> State {
    minor(CONNECTED, 0)
}

fn primary() -> State {
    State { role: Role::Primary, peer_role: Role::Secondary, ..secondary() }
}

fn alone() -> State {
    minor(RESYNC, 4)
}

#[test]
fn what_is_so_already_needs_no_command() {
    for (change, state) in [
        (Change::Promote, primary()),
        (Change::Demote, secondary()),
        (Change::Demote, State::unconfigured(DrbdGeneration::Eight)),
        (Change::Disconnect, alone()),
        (Change::Disconnect, State::unconfigured(DrbdGeneration::Nine)),
        (Change::Connect, secondary()),
    ] {
        let machine = Machine::new(state, vec![]);
        assert_eq!(machine.apply(change, PLENTY).unwrap().change, Changed::AlreadySo, "{change:?}");
        assert_eq!(machine.commands.get(), 0);
    }
}

#[test]
fn each_change_is_one_command_and_verified() {
    let cases: Vec<(Change, State, Effect)> = vec![
        (Change::Promote, secondary(), |state| state.role = Role::Primary),
        (Change::Demote, primary(), |state| state.role = Role::Secondary),
        (Change::Disconnect, secondary(), |state| state.connection = Connection::StandAlone),
        (Change::Connect, alone(), |state| state.connection = Connection::Connecting),
    ];
    for (change, state, effect) in cases {
        let machine = Machine::new(state, vec![(0, "", effect)]);
        assert_eq!(machine.apply(change, PLENTY).unwrap().change, Changed::Done, "{change:?}");
        assert_eq!(machine.commands.get(), 1);
    }
}

#[test]
fn success_without_effect_is_a_failure() {
    let machine = Machine::new(secondary(), vec![(0, "", nothing)]);
    let failure = machine.apply(Change::Promote, Duration::from_millis(50)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.seen.contains("reported success, but r0 is not Primary"), "{failure}");
    assert!(machine.looks.get() > 2, "it waited for the state to follow");
}

#[test]
fn an_error_with_the_effect_is_success() {
    let machine = Machine::new(secondary(), vec![(20, "timeout", |state| state.role = Role::Primary)]);
    assert_eq!(machine.apply(Change::Promote, PLENTY).unwrap().change, Changed::Done);
}

#[test]
fn refusals_are_explained() {
    use FailureKind::{Failed, Refused, TimedOut};
    for (code, stderr, kind, part) in [
        (
            11,
            "0: State change failed: (-1) Multiple primaries not allowed by config",
            Refused,
            "the peer is Primary",
        ),
        (17, "0: State change failed: (-2) Need access to UpToDate data", Refused, "not known to be current"),
        (17, "", Refused, "not known to be current"),
        (
            11,
            "0: State change failed: (-7) Refusing to be Primary while peer is not outdated",
            Refused,
            "fence-peer handler",
        ),
        (
            11,
            "r0: State change failed: (-10) State change was refused by peer node\nadditional info",
            Refused,
            "did not agree",
        ),
        (11, "0: State change failed: (-11) Device is diskless", Refused, "no disk attached"),
        (11, "r0: State change failed: (-23) Timeout in operation", TimedOut, "did not answer DRBD in time"),
        (11, "r0: State change failed: (-25) No quorum", Refused, "no quorum"),
        (10, "0: Failure: (127) Device minor not allocated", Failed, "dmesg"),
        (20, "", Failed, "it printed nothing"),
    ] {
        let machine = Machine::new(secondary(), vec![(code, stderr, nothing)]);
        let failure = machine.apply(Change::Promote, PLENTY).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.to_string().contains(part), "{failure}");
        assert!(failure.seen.contains(stderr) && failure.seen.contains("`drbdsetup something`"), "{failure}");
        assert_eq!(machine.commands.get(), 1);
    }
}

const HELD: &str = "0: State change failed: (-12) Device is held open by someone";

#[test]
fn a_device_held_open_for_a_moment_is_tried_again() {
    let release: Effect = |state| state.role = Role::Secondary;
    let machine = Machine::new(primary(), vec![(11, HELD, nothing), (11, HELD, nothing), (0, "", release)]);
    let lines = Lines::default();
    assert_eq!(machine.apply_reporting(Change::Demote, PLENTY, &lines).unwrap().change, Changed::Done);
    assert_eq!(machine.commands.get(), 3);
    assert_eq!(lines.0.lock().unwrap().len(), 2);
}

#[test]
fn whoever_holds_the_device_is_named() {
    let mut machine = Machine::new(primary(), vec![(11, HELD, nothing); 9]);
    machine.holders =
        vec![Holder { pid: 4711, name: "multipathd".into(), how: How::OpenFile, path: "/dev/drbd0".into() }];
    let failure = machine.apply(Change::Demote, Duration::from_millis(300)).unwrap_err();
    assert!(failure.seen.contains("held open by: multipathd (pid 4711, open file /dev/drbd0)"), "{failure}");
    machine.holders.clear();
    let failure = machine.apply(Change::Demote, Duration::from_millis(1)).unwrap_err();
    assert!(failure.next.contains("dmsetup"), "{failure}");
}

#[test]
fn a_resource_that_is_down_or_was_standalone_is_not_touched() {
    let machine = Machine::new(State::unconfigured(DrbdGeneration::Eight), vec![]);
    let failure = machine.apply(Change::Promote, PLENTY).unwrap_err();
    assert!(failure.seen.contains("is down") && failure.next.contains("drbdadm up r0"), "{failure}");
    let hands =
        Hands { look: &|_| Ok(secondary()), run: &|_, _| panic!("nothing to run"), holders: &Vec::new };
    let attempt = Attempt::new(PLENTY, Box::new(Lines::default()));
    let failure = apply_with(&hands, Change::Disconnect, &[], "r0", &attempt).unwrap_err();
    assert!(failure.seen.contains("was StandAlone when this was planned"), "{failure}");
}

#[test]
fn a_command_that_cannot_run_is_explained() {
    let run = |error: fn(Vec<String>) -> CommandError| {
        let hands = Hands {
            look: &|_| Ok(secondary()),
            run: &|command, _| Err(error(command.to_vec())),
            holders: &Vec::new,
        };
        let attempt = Attempt::new(PLENTY, Box::new(Lines::default()));
        apply_with(&hands, Change::Promote, &argv(&["drbdsetup"]), "r0", &attempt).unwrap_err()
    };
    let missing = run(|command| CommandError::NotFound { command });
    assert!(missing.next.contains("install drbd-utils"), "{missing}");
    let late = run(|command| CommandError::TimedOut {
        command,
        limit: PLENTY,
        stdout: String::new(),
        stderr: String::new(),
    });
    assert_eq!(late.kind, FailureKind::TimedOut);
    assert!(late.next.contains("fence-peer handler"), "{late}");
}

#[test]
fn an_unknown_state_is_not_acted_on() {
    let hands = Hands {
        look: &|_| Err("the drbd module is not loaded".to_owned()),
        run: &|_, _| panic!("nothing may be run"),
        holders: &Vec::new,
    };
    let attempt = Attempt::new(PLENTY, Box::new(Lines::default()));
    let failure = apply_with(&hands, Change::Promote, &argv(&["x"]), "r0", &attempt).unwrap_err();
    assert!(failure.seen.contains("can't be learnt: the drbd module is not loaded"), "{failure}");
}
