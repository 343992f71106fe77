#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn backlog(redo_bytes: u64, pages: u64) -> Backlog {
    Backlog { redo_bytes, dirty_pages: Some(pages), buffer_pool_bytes: None, only_files_because: None }
}

fn recovery(redo_mib: u64, pages: u64, seconds: f64) -> Recovery {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let milliseconds = (seconds * 1000.0) as u64;
    Recovery { redo_bytes: redo_mib * MIB, pages: Some(pages), milliseconds }
}

/// A node that needs 0.3 s, 40 ms a MiB and 1 ms a page.
fn slow(redo_mib: u64, pages: u64) -> Recovery {
    #[allow(clippy::cast_precision_loss)]
    let seconds = 0.3 + redo_mib as f64 * 0.04 + pages as f64 * 0.001;
    recovery(redo_mib, pages, seconds)
}

fn seconds(redo_mib: u64, pages: u64, history: &[Recovery]) -> f64 {
    forecast(&backlog(redo_mib * MIB, pages), history).seconds
}

fn is_near(value: f64, wanted: f64, factor: f64) -> bool {
    value < wanted * factor && value > wanted / factor
}

#[test]
fn the_figures_of_a_node_are_learnt() {
    let history: Vec<Recovery> = [(1, 40), (20, 3000), (50, 500), (100, 6000), (200, 1000), (300, 9000)]
        .map(|(m, p)| slow(m, p))
        .into();
    for (redo, pages) in [(10, 1000), (150, 400), (150, 8000), (400, 10_000)] {
        let wanted = slow(redo, pages).milliseconds as f64 / 1000.0;
        let value = seconds(redo, pages, &history);
        assert!(is_near(value, wanted, 1.15), "{redo} MiB, {pages} pages: {value} instead of {wanted}");
    }
}

#[test]
fn one_recovery_tells_how_fast_a_node_is() {
    let first = seconds(100, 5000, &[]);
    let ten_times = recovery(100, 5000, first * 10.0);
    assert!(is_near(seconds(100, 5000, &[ten_times]), first * 10.0, 1.1));
    assert!(is_near(seconds(20, 1000, &[ten_times]), seconds(20, 1000, &[]) * 10.0, 1.3));
}

#[test]
fn one_recovery_beside_a_busy_disk_does_not_spoil_the_rest() {
    let mut history: Vec<Recovery> =
        [(10, 500), (50, 2000), (100, 4000), (150, 2000), (200, 6000)].map(|(m, p)| slow(m, p)).into();
    history.push(recovery(100, 3000, 70.0));
    let wanted = slow(120, 3000).milliseconds as f64 / 1000.0;
    let value = seconds(120, 3000, &history);
    assert!(is_near(value, wanted, 1.5), "{value} instead of {wanted}");
}

#[test]
fn the_latest_recoveries_count() {
    let old = recovery(100, 5000, 300.0);
    let new = recovery(100, 5000, 3.0);
    let mut history = vec![old; 30];
    history.extend([new; REMEMBERED]);
    assert!(is_near(seconds(100, 5000, &history), 3.0, 1.1));
    assert_eq!(forecast(&backlog(1, 1), &history).measured, REMEMBERED);
}

#[test]
fn pages_that_nobody_told_are_guessed_from_the_redo_log() {
    let files = Backlog {
        redo_bytes: 96 * MIB,
        dirty_pages: None,
        buffer_pool_bytes: None,
        only_files_because: Some("no credentials are configured".to_owned()),
    };
    let bound = forecast(&files, &[]);
    assert!(bound.is_upper_bound && bound.seconds >= 9.6, "at 10 MiB/s: {}", bound.seconds);
    assert!(forecast(&files, &[slow(10, 300)]).seconds > seconds(96, 0, &[slow(10, 300)]), "pages count");
    // Recoveries of a MySQL, which tells records and not pages.
    let mysql = Recovery { pages: None, ..slow(100, 6000) };
    let wanted = slow(100, 6000).milliseconds as f64 / 1000.0;
    assert!(is_near(forecast(&Backlog { redo_bytes: 100 * MIB, ..files }, &[mysql]).seconds, wanted, 1.1));
}

#[test]
fn a_redo_log_larger_than_the_buffer_pool_has_pages_read_again() {
    let history = [slow(5, 100), slow(100, 6000), slow(50, 9000)];
    let with = |pool| {
        forecast(&Backlog { buffer_pool_bytes: Some(pool), ..backlog(300 * MIB, 4000) }, &history).seconds
    };
    let nearly = |value: f64, wanted: f64| is_near(value, wanted, 1.02);
    assert!(nearly(with(30_000 * MIB), seconds(300, 4000, &history)));
    assert!(nearly(with(300 * MIB), seconds(300, 8000, &history)));
    assert!(nearly(with(100 * MIB), seconds(300, 16_000, &history)));
}

#[test]
fn it_says_on_which_basis() {
    let text = |history: &[Recovery]| forecast(&backlog(61 * MIB, 2104), history).to_string();
    assert!(
        text(&[])
            .contains("61.0 MiB of redo log and 2104 dirty pages (first estimate: no recovery was measured")
    );
    assert!(text(&[slow(5, 100)]).ends_with("(by one recovery measured on this node)"));
    assert!(text(&[slow(5, 100); 3]).ends_with("(by 3 recoveries measured on this node)"));
    let files = Backlog {
        redo_bytes: 96 * MIB,
        dirty_pages: None,
        buffer_pool_bytes: None,
        only_files_because: Some("no credentials are configured".to_owned()),
    };
    let text = forecast(&files, &[]).to_string();
    assert!(
        text.starts_with("at most about ") && text.contains("the redo log's files hold 96 MiB"),
        "{text}"
    );
    assert!(text.ends_with("an upper bound, because no credentials are configured)"), "{text}");
}

#[test]
fn a_time_above_the_budget_is_warned_of() {
    let long = Forecast { seconds: 80.0, ..forecast(&backlog(100 * MIB, 6000), &[]) };
    let warning = long.warning(Duration::from_secs(60)).unwrap();
    assert!(warning.contains("about 80 s, more than agent.recovery_budget (1m)"), "{warning}");
    assert_eq!(long.warning(Duration::from_secs(120)), None);
    // The size of the files proves nothing of the kind.
    assert_eq!(Forecast { is_upper_bound: true, ..long }.warning(Duration::from_secs(60)), None);
}

#[test]
fn an_unknown_backlog_stays_unknown() {
    let unknown = Seen { backlog: Fact::Unknown("no redo log".to_owned()), history: Vec::new() };
    assert_eq!(judge(&unknown), Fact::Unknown("no redo log".to_owned()));
    let known = Seen { backlog: Fact::Known(backlog(MIB, 10)), ..unknown };
    assert!(judge(&known).known().is_some());
}

fn any_history() -> impl Strategy<Value = Vec<Recovery>> {
    let amount = || prop_oneof![0..10_000_000_000_u64, any::<u64>()];
    let one = (amount(), prop::option::of(amount()), amount())
        .prop_map(|(redo_bytes, pages, milliseconds)| Recovery { redo_bytes, pages, milliseconds });
    prop::collection::vec(one, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_is_finite_and_never_negative(
        redo in any::<u64>(), pages in prop::option::of(any::<u64>()), pool in prop::option::of(any::<u64>()),
        history in any_history(),
    ) {
        let backlog =
            Backlog { redo_bytes: redo, dirty_pages: pages, buffer_pool_bytes: pool, only_files_because: None };
        let seconds = forecast(&backlog, &history).seconds;
        prop_assert!(seconds.is_finite() && seconds >= 0.0);
    }

    #[test]
    fn more_to_do_never_takes_less(
        redo in 0..1_u64 << 40, pages in 0..1_u64 << 30, more in 0..1_u64 << 40, more_pages in 0..1_u64 << 30,
        pool in prop::option::of(any::<u64>()), history in any_history(),
    ) {
        let backlog = |redo, pages| Backlog { buffer_pool_bytes: pool, ..backlog(redo, pages) };
        let less = forecast(&backlog(redo, pages), &history).seconds;
        prop_assert!(forecast(&backlog(redo + more, pages), &history).seconds >= less);
        prop_assert!(forecast(&backlog(redo, pages + more_pages), &history).seconds >= less);
        let files = |redo| Backlog { dirty_pages: None, only_files_because: Some(String::new()), ..backlog(redo, 0) };
        prop_assert!(forecast(&files(redo + more), &history).seconds >= forecast(&files(redo), &history).seconds);
    }
}
