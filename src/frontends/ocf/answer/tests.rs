//! A table of every action × state → code.

use super::Code::{
    Arguments, Degraded, DegradedPromoted, FailedPromoted, Generic, NotConfigured, NotInstalled, NotRunning,
    Promoted, Success,
};
use super::*;

const BOTH: [Form; 2] = [Form::Primitive, Form::Promotable];

fn partial(holds: &[Part]) -> Standing {
    Standing::Partial { holds: holds.to_vec(), reason: "half-way".to_owned() }
}

fn unknown() -> Standing {
    Standing::Unknown { reason: "not known".to_owned() }
}

/// A node with this standing, DRBD up, and nothing else to say.
fn seen(standing: Standing) -> Seen {
    Seen {
        standing,
        drbd_is_up: Some(true),
        under_way: UnderWay::Nothing,
        lacks: None,
        missing: None,
        went_on: false,
        held_back: None,
        check_failed: None,
    }
}

/// Each state by its name.
fn states() -> Vec<(&'static str, Seen)> {
    let with = |standing: Standing, change: &dyn Fn(&mut Seen)| {
        let mut seen = seen(standing);
        change(&mut seen);
        seen
    };
    let takeover = || UnderWay::Takeover("start-mysqld".to_owned());
    let release = || UnderWay::Release("stop-mysqld".to_owned());
    let text = || Some("x".to_owned());
    vec![
        ("active", seen(Standing::Active)),
        ("active, degraded", with(Standing::Active, &|s| s.lacks = text())),
        ("active, check failed", with(Standing::Active, &|s| s.check_failed = text())),
        (
            "active, degraded, check failed",
            with(Standing::Active, &|s| {
                s.lacks = text();
                s.check_failed = text();
            }),
        ),
        ("active, release runs", with(Standing::Active, &|s| s.under_way = release())),
        ("active, takeover runs", with(Standing::Active, &|s| s.under_way = takeover())),
        ("standby", seen(Standing::Standby)),
        ("standby, DRBD down", with(Standing::Standby, &|s| s.drbd_is_up = Some(false))),
        ("standby, DRBD not known", with(Standing::Standby, &|s| s.drbd_is_up = None)),
        (
            "standby, something missing",
            with(Standing::Standby, &|s| {
                s.drbd_is_up = Some(false);
                s.missing = text();
            }),
        ),
        ("standby, takeover failed", with(Standing::Standby, &|s| s.went_on = true)),
        ("standby, takeover runs", with(Standing::Standby, &|s| s.under_way = takeover())),
        ("standby, release runs", with(Standing::Standby, &|s| s.under_way = release())),
        ("Primary alone", seen(partial(&[Part::Drbd]))),
        ("mysqld died", seen(partial(&[Part::Drbd, Part::Mount, Part::Vip]))),
        (
            "I/O held back",
            with(partial(&[Part::Drbd, Part::Mount, Part::Mysqld, Part::Vip]), &|s| s.held_back = text()),
        ),
        ("VIP alone", seen(partial(&[Part::Vip]))),
        ("half-way, takeover runs", with(partial(&[Part::Drbd]), &|s| s.under_way = takeover())),
        ("half-way, release runs", with(partial(&[Part::Drbd]), &|s| s.under_way = release())),
        ("unknown", seen(unknown())),
        ("unknown, something missing", with(unknown(), &|s| s.missing = text())),
    ]
}

fn asked(form: Form, probe: bool, promoted: bool) -> Asked {
    Asked { form, probe, promoted, knows_degraded: true }
}

/// Columns: a primitive's monitor and probe; a promotable's monitor unpromoted, monitor promoted, probe.
#[test]
fn monitor() {
    let table = [
        ("active", Success, Success, Promoted, Promoted, Promoted),
        ("active, degraded", Degraded, Degraded, DegradedPromoted, DegradedPromoted, DegradedPromoted),
        ("active, check failed", Generic, Generic, FailedPromoted, FailedPromoted, FailedPromoted),
        ("active, degraded, check failed", Generic, Generic, FailedPromoted, FailedPromoted, FailedPromoted),
        ("active, release runs", Generic, Generic, FailedPromoted, FailedPromoted, FailedPromoted),
        ("active, takeover runs", Degraded, Degraded, DegradedPromoted, DegradedPromoted, DegradedPromoted),
        ("standby", NotRunning, NotRunning, Success, Success, Success),
        ("standby, DRBD down", NotRunning, NotRunning, NotRunning, NotRunning, NotRunning),
        ("standby, DRBD not known", NotRunning, NotRunning, Generic, Generic, Generic),
        ("standby, something missing", NotRunning, NotInstalled, NotRunning, NotRunning, NotInstalled),
        ("standby, takeover failed", Generic, NotRunning, Success, FailedPromoted, Success),
        ("standby, takeover runs", Degraded, Degraded, DegradedPromoted, DegradedPromoted, DegradedPromoted),
        ("standby, release runs", NotRunning, NotRunning, Success, Success, Success),
        ("Primary alone", Generic, Generic, FailedPromoted, FailedPromoted, FailedPromoted),
        ("mysqld died", Generic, Generic, FailedPromoted, FailedPromoted, FailedPromoted),
        ("I/O held back", Degraded, Degraded, DegradedPromoted, DegradedPromoted, DegradedPromoted),
        ("VIP alone", Generic, Generic, Generic, Generic, Generic),
        ("half-way, takeover runs", Degraded, Degraded, DegradedPromoted, DegradedPromoted, DegradedPromoted),
        ("half-way, release runs", Generic, Generic, FailedPromoted, FailedPromoted, FailedPromoted),
        ("unknown", Generic, Generic, Generic, Generic, Generic),
        ("unknown, something missing", Generic, NotInstalled, Generic, Generic, NotInstalled),
    ];
    let states = states();
    assert_eq!(table.map(|row| row.0).to_vec(), states.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for ((name, seen), (_, monitor, probe, unpromoted, promoted, promotable_probe)) in
        states.iter().zip(table)
    {
        let code = |form, probe, promoted| super::monitor(asked(form, probe, promoted), seen).code;
        assert_eq!(code(Form::Primitive, false, false), monitor, "monitor of a primitive: {name}");
        assert_eq!(code(Form::Primitive, true, false), probe, "probe of a primitive: {name}");
        assert_eq!(code(Form::Promotable, false, false), unpromoted, "monitor, unpromoted: {name}");
        assert_eq!(code(Form::Promotable, false, true), promoted, "monitor, promoted: {name}");
        assert_eq!(code(Form::Promotable, true, false), promotable_probe, "probe of a promotable: {name}");
    }
}

#[test]
fn a_monitor_says_not_running_only_of_what_holds_nothing_and_never_5_or_6_of_a_fault() {
    for (name, seen) in states() {
        for form in BOTH {
            for promoted in [false, true] {
                let answer = super::monitor(asked(form, false, promoted), &seen);
                assert!(answer.code != NotRunning || seen.standing == Standing::Standby, "{name}");
                assert!(![NotInstalled, NotConfigured].contains(&answer.code), "{name}");
                let healthy = matches!(answer.code, Success | Promoted | NotRunning);
                assert_eq!(healthy, answer.reason.is_none(), "what is not well has a reason: {name}");
            }
        }
    }
}

#[test]
fn an_old_cluster_manager_hears_of_no_degraded_codes() {
    for (name, seen) in states() {
        for form in BOTH {
            let old = Asked { knows_degraded: false, ..asked(form, false, false) };
            let answer = super::monitor(old, &seen);
            assert!(answer.code.number() < 10, "{name}");
            let new = super::monitor(asked(form, false, false), &seen);
            assert_eq!(answer.reason, new.reason, "{name}");
        }
    }
}

/// Columns: start of a primitive (none: takes over), start of a promotable (none: brings DRBD up), promote (none: takes over).
#[test]
fn start_and_promote() {
    let table = [
        ("active", Some(Success), Some(Generic), Some(Success)),
        ("active, degraded", Some(Success), Some(Generic), Some(Success)),
        ("active, check failed", Some(Success), Some(Generic), Some(Success)),
        ("active, degraded, check failed", Some(Success), Some(Generic), Some(Success)),
        ("active, release runs", None, Some(Generic), None),
        ("active, takeover runs", None, Some(Generic), None),
        ("standby", None, Some(Success), None),
        ("standby, DRBD down", None, None, None),
        ("standby, DRBD not known", None, Some(Generic), None),
        ("standby, something missing", Some(NotInstalled), Some(NotInstalled), Some(NotInstalled)),
        ("standby, takeover failed", None, Some(Success), None),
        ("standby, takeover runs", None, Some(Generic), None),
        ("standby, release runs", None, Some(Generic), None),
        ("Primary alone", None, Some(Generic), None),
        ("mysqld died", None, Some(Generic), None),
        ("I/O held back", None, Some(Generic), None),
        ("VIP alone", None, Some(Generic), None),
        ("half-way, takeover runs", None, Some(Generic), None),
        ("half-way, release runs", None, Some(Generic), None),
        ("unknown", None, Some(Generic), None),
        ("unknown, something missing", Some(NotInstalled), Some(NotInstalled), Some(NotInstalled)),
    ];
    for ((name, seen), (named, primitive, promotable, promote)) in states().iter().zip(table) {
        assert_eq!(*name, named);
        let of = |next: Next, does: Next| match next {
            Next::Answer(answer) => Some(answer.code),
            other => {
                assert_eq!(other, does, "{name}");
                None
            }
        };
        assert_eq!(
            of(super::start(Form::Primitive, seen), Next::TakeOver),
            primitive,
            "start, primitive: {name}"
        );
        assert_eq!(
            of(super::start(Form::Promotable, seen), Next::BringUp),
            promotable,
            "start, promotable: {name}"
        );
        assert_eq!(super::promote(seen).map(|answer| answer.code), promote, "promote: {name}");
    }
}

/// Columns: nothing is to be released, stop of a primitive, stop of a promotable, demote; the latter after a release that
/// says that it went well.
#[test]
fn stop_and_demote() {
    let table = [
        ("active", false, Generic, Generic, Generic),
        ("active, degraded", false, Generic, Generic, Generic),
        ("active, check failed", false, Generic, Generic, Generic),
        ("active, degraded, check failed", false, Generic, Generic, Generic),
        ("active, release runs", false, Generic, Generic, Generic),
        ("active, takeover runs", false, Generic, Generic, Generic),
        ("standby", true, Success, Generic, Success),
        ("standby, DRBD down", true, Success, Success, NotRunning),
        ("standby, DRBD not known", true, Success, Generic, Generic),
        ("standby, something missing", true, Success, Success, NotRunning),
        ("standby, takeover failed", true, Success, Generic, Success),
        ("standby, takeover runs", false, Generic, Generic, Generic),
        ("standby, release runs", false, Generic, Generic, Generic),
        ("Primary alone", false, Generic, Generic, Generic),
        ("mysqld died", false, Generic, Generic, Generic),
        ("I/O held back", false, Generic, Generic, Generic),
        ("VIP alone", false, Generic, Generic, Generic),
        ("half-way, takeover runs", false, Generic, Generic, Generic),
        ("half-way, release runs", false, Generic, Generic, Generic),
        ("unknown", false, Generic, Generic, Generic),
        ("unknown, something missing", false, Generic, Generic, Generic),
    ];
    let done = Run::Ended { outcome: Outcome::Done, reason: None };
    for ((name, seen), (named, nothing, primitive, promotable, demote)) in states().iter().zip(table) {
        assert_eq!(*name, named);
        assert_eq!(holds_nothing(seen, true), nothing, "{name}");
        assert!(
            !holds_nothing(seen, false),
            "DRBD that a takeover left disconnected is connected again: {name}"
        );
        for (action, code) in [
            (GivesUp::Stop(Form::Primitive), primitive),
            (GivesUp::Stop(Form::Promotable), promotable),
            (GivesUp::Demote, demote),
        ] {
            assert_eq!(released(action, Some(&done), seen).code, code, "{action:?}: {name}");
            assert_eq!(released(action, None, seen).code, code, "{action:?}, nothing done: {name}");
        }
    }
}

#[test]
fn a_release_that_did_not_go_well_is_a_failure_whatever_is_seen() {
    for outcome in [Outcome::Failed, Outcome::Refused, Outcome::Stuck, Outcome::Usage] {
        let run = Run::Ended { outcome, reason: Some("why".to_owned()) };
        for action in [GivesUp::Demote, GivesUp::Stop(Form::Primitive), GivesUp::Stop(Form::Promotable)] {
            for (name, seen) in states() {
                let answer = released(action, Some(&run), &seen);
                assert_eq!(answer.code, Generic, "{action:?} {name}");
                assert!(answer.reason.unwrap_or_default().contains("why"));
            }
        }
    }
}

#[test]
fn how_a_takeover_ended_is_the_answer_of_start_and_promote() {
    let ended = |outcome| taken_over(&Run::Ended { outcome, reason: Some("why".to_owned()) });
    assert_eq!(ended(Outcome::Done), Answer::plain(Success));
    for outcome in [Outcome::Failed, Outcome::Refused, Outcome::Stuck, Outcome::Usage] {
        assert_eq!(ended(outcome).code, Generic, "{outcome:?}");
        assert!(ended(outcome).reason.unwrap_or_default().ends_with(": why"));
    }
    let goes_on = taken_over(&Run::GoesOn { progress: "1200 of 4711 pages".to_owned() });
    assert_eq!(goes_on.code, Success);
    assert!(goes_on.reason.unwrap_or_default().contains("goes on in a scope of its own: 1200 of 4711"));
}

#[test]
fn drbd_that_was_brought_up_is_looked_at() {
    for (name, seen) in states() {
        let good = seen.standing == Standing::Standby && seen.drbd_is_up == Some(true);
        assert_eq!(brought_up(None, &seen).code == Success, good, "{name}");
        assert_eq!(brought_up(Some("why"), &seen), Answer::new(Generic, "why"), "{name}");
    }
}

/// Columns: probe; monitor, stop, demote; start, promote, validate-all.
#[test]
fn a_wrong_configuration() {
    let text = || "x".to_owned();
    for (wrong, probe, running, other) in [
        (Wrong::Parameters(text()), NotInstalled, Generic, NotConfigured),
        (Wrong::NoFile(text()), NotInstalled, Generic, NotInstalled),
        (Wrong::File(text()), NotInstalled, Generic, Arguments),
    ] {
        assert_eq!(misconfigured(Action::Monitor, true, &wrong).code, probe);
        for action in [Action::Monitor, Action::Stop, Action::Demote] {
            assert_eq!(misconfigured(action, false, &wrong).code, running, "{action:?}");
        }
        for action in [Action::Start, Action::Promote, Action::ValidateAll] {
            // Only a monitor can be a probe, but every action without an interval looks like one.
            assert_eq!(misconfigured(action, true, &wrong).code, other, "{action:?}");
        }
        assert_eq!(misconfigured(Action::Stop, true, &wrong).code, Generic);
    }
}

#[test]
fn the_numbers_are_those_of_the_api() {
    use super::Code::{Permission, Unimplemented};
    let codes = [
        Success,
        Generic,
        Arguments,
        Unimplemented,
        Permission,
        NotInstalled,
        NotConfigured,
        NotRunning,
        Promoted,
        FailedPromoted,
        Degraded,
        DegradedPromoted,
    ];
    assert_eq!(codes.map(Code::number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 190, 191]);
}
