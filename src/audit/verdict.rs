//! The decision on the engine totals. Pure.
//!
//! What counts is what a crash may damage and no server repairs by itself: MyISAM, and Aria tables with `TRANSACTIONAL=0`,
//! which are lost in the same way. Their share is taken of the users' tables only, by bytes (what a repair costs and what
//! can be lost) and by tables (what the applications rely on); either above the limit refuses. The rules behind the numbers:
//!
//! - Equal to the limit allows: "more than half" refuses, half does not.
//! - A table with an empty data file has no row to lose: it counts as a table but not as a fragile one. Whether an
//!   InnoDB table is empty can't be told from its size, so all of them count.
//! - MERGE and MEMORY tables have no data of their own on disk: they do not count at all.
//! - InnoDB's shared files are as large on an empty server, so they are not held against MyISAM, except where user
//!   tables live inside them.
//! - No user table at all allows. A single small MyISAM table and nothing else refuses: all of that database is
//!   MyISAM, there is no size below which losing acknowledged rows is right, and the operator can accept it.
//! - Any MyISAM, Aria without `TRANSACTIONAL`, CSV or ARCHIVE that does not refuse is a warning. So are engines of which
//!   nothing is known, and damaged headers.

use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};

use super::{Engine, EngineTotals, Totals};

/// The default limit, in percent: the larger part refuses.
pub const REFUSE_ABOVE_PERCENT: u8 = 50;

/// The engines whose share refuses.
const REFUSING: [Engine; 2] = [Engine::MyISAM, Engine::AriaNotCrashSafe];

/// What the totals mean for a takeover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The takeover would rest on tables that do not survive a crash.
    pub refused: bool,
    /// What is not crash-safe although it does not refuse.
    pub warning: Option<String>,
    /// The decision with the shares that led to it.
    pub sentence: String,
}

/// Refuses when what is not crash-safe holds more than `refuse_above_percent` of the users' bytes or tables; 100 never
/// refuses.
pub fn verdict(totals: &EngineTotals, refuse_above_percent: u8) -> Verdict {
    let mut all = Totals::default();
    let mut fragile = Totals::default();
    let mut named = Vec::new();
    for (engine, held) in &totals.user {
        if !matches!(engine, Engine::Merge | Engine::Memory) {
            all.add(*held);
        }
        if REFUSING.contains(engine) {
            fragile.add(*held);
            named.push(engine.to_string());
        }
    }
    let with_rows = fragile.tables.saturating_sub(fragile.empty_tables);
    if named.is_empty() {
        named.push(Engine::MyISAM.to_string());
    }
    let shares = format!(
        "{} {} {} of {} ({}) and {with_rows} of {} tables ({}) of the users' data",
        named.join(" and "),
        if named.len() > 1 { "hold" } else { "holds" },
        HumanBytes(fragile.bytes),
        HumanBytes(all.bytes),
        percent(fragile.bytes, all.bytes),
        all.tables,
        percent(with_rows, all.tables),
    );

    let by_bytes = share_above(fragile.bytes, all.bytes, refuse_above_percent);
    let by_tables = share_above(with_rows, all.tables, refuse_above_percent);
    if with_rows > 0 && (by_bytes || by_tables) {
        return Verdict {
            refused: true,
            warning: warning(totals),
            sentence: format!(
                "{shares}, above the limit of {refuse_above_percent} %; that does not survive a crash, so a takeover is refused"
            ),
        };
    }
    let sentence = if all.tables == 0 {
        "there is no table of a user: a takeover may go on".to_owned()
    } else if fragile.tables == 0 {
        format!(
            "none of the {} tables ({}) of the users is MyISAM: a takeover may go on",
            all.tables,
            HumanBytes(all.bytes)
        )
    } else {
        format!("{shares}, not above the limit of {refuse_above_percent} %: a takeover may go on")
    };
    Verdict { refused: false, warning: warning(totals), sentence }
}

fn warning(totals: &EngineTotals) -> Option<String> {
    let of = |engine: &Engine| totals.user.get(engine).copied().unwrap_or_default();
    let mut parts = Vec::new();
    let fragile: Vec<String> =
        [Engine::MyISAM, Engine::AriaNotCrashSafe, Engine::Csv, Engine::Archive, Engine::Other]
            .iter()
            .filter(|engine| of(engine).tables > 0)
            .map(|engine| {
                let Totals { tables, bytes, .. } = of(engine);
                let plural = if tables == 1 { "" } else { "s" };
                format!("{engine} ({tables} table{plural}, {})", HumanBytes(bytes))
            })
            .collect();
    if !fragile.is_empty() {
        parts.push(format!(
            "not crash-safe: {}; check these tables after the takeover, and convert them to InnoDB",
            fragile.join(", ")
        ));
    }
    if let Some(first) = totals.damaged.first() {
        let more = totals.damaged.len() - 1;
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        parts.push(format!("damaged: {first}{more}"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Exact: no rounding decides a refusal.
fn share_above(part: u64, whole: u64, percent: u8) -> bool {
    u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
}

/// With one decimal, cut off and not rounded: what is shown as 50.0 % is not below it.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none".into();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(engine: Engine, tables: u64, empty_tables: u64, bytes: u64) -> EngineTotals {
        let mut totals = EngineTotals::default();
        totals.user.insert(engine, Totals { tables, empty_tables, bytes });
        totals
    }

    fn totals(innodb: (u64, u64), myisam: (u64, u64, u64)) -> EngineTotals {
        let mut totals = EngineTotals { innodb_shared_bytes: 1 << 40, ..EngineTotals::default() };
        if innodb.0 > 0 {
            totals.user.extend(with(Engine::InnoDB, innodb.0, 0, innodb.1).user);
        }
        if myisam.0 > 0 {
            totals.user.extend(with(Engine::MyISAM, myisam.0, myisam.1, myisam.2).user);
        }
        totals
    }

    fn refuses(innodb: (u64, u64), myisam: (u64, u64, u64)) -> bool {
        verdict(&totals(innodb, myisam), 50).refused
    }

    #[test]
    fn the_larger_part_refuses_by_bytes_or_by_tables() {
        assert!(refuses((10, 1000), (1, 0, 1001)));
        assert!(refuses((1, 1_000_000), (2, 0, 10)));
        assert!(!refuses((10, 1000), (1, 0, 1000)));
        assert!(!refuses((2, 1000), (2, 0, 1000)));
    }

    #[test]
    fn aria_without_a_log_counts_as_myisam() {
        let mut totals = totals((10, 1000), (1, 0, 600));
        assert!(!verdict(&totals, 50).refused);
        totals.user.extend(with(Engine::AriaNotCrashSafe, 1, 0, 600).user);
        let found = verdict(&totals, 50);
        assert!(found.refused);
        assert!(found.sentence.contains("MyISAM and Aria without TRANSACTIONAL hold"), "{}", found.sentence);
        assert!(!verdict(&with(Engine::Aria, 1, 0, 600), 50).refused);
    }

    #[test]
    fn a_single_small_myisam_table_is_all_of_the_data() {
        assert!(refuses((0, 0), (1, 0, 1031)));
    }

    #[test]
    fn an_empty_myisam_table_loses_nothing_but_is_told() {
        assert!(!refuses((0, 0), (3, 3, 3072)));
        assert!(!refuses((2, 200_000), (5, 4, 5000)));
        let verdict = verdict(&totals((0, 0), (3, 3, 3072)), 50);
        assert!(!verdict.refused && verdict.warning.is_some());
    }

    #[test]
    fn no_user_table_allows_without_a_warning() {
        let verdict = verdict(&totals((0, 0), (0, 0, 0)), 50);
        assert!(!verdict.refused && verdict.warning.is_none());
    }

    #[test]
    fn unions_and_memory_tables_do_not_dilute_myisam() {
        for engine in [Engine::Merge, Engine::Memory] {
            let mut totals = totals((0, 0), (1, 0, 1031));
            totals.user.extend(with(engine, 9, 0, 1 << 30).user);
            assert!(verdict(&totals, 50).refused, "{engine}");
        }
    }

    #[test]
    fn what_is_not_crash_safe_warns_and_what_is_does_not() {
        for engine in [Engine::Csv, Engine::Archive, Engine::Other] {
            let verdict = verdict(&with(engine, 1, 0, 10), 50);
            assert!(!verdict.refused && verdict.warning.is_some(), "{engine}");
        }
        for engine in [Engine::InnoDB, Engine::Aria, Engine::OtherCrashSafe] {
            assert_eq!(verdict(&with(engine, 1, 0, 10), 50).warning, None, "{engine}");
        }
        let damaged = EngineTotals { damaged: vec!["t.frm".into(), "u.frm".into()], ..Default::default() };
        assert_eq!(verdict(&damaged, 50).warning.as_deref(), Some("damaged: t.frm (and 1 more)"));
    }

    #[test]
    fn the_sentence_names_the_numbers() {
        let Verdict { refused, sentence, .. } = verdict(&totals((1, 250), (1, 0, 750)), 50);
        assert!(refused && sentence.contains("750 B of 1000 B (75.0 %)"), "{sentence}");
    }

    proptest! {
        #[test]
        fn a_higher_limit_never_refuses_more(i in 0..100u64, ib: u64, m in 0..100u64, mb: u64, low in 0..=100u8) {
            let totals = totals((i, ib), (m, 0, mb));
            let refuse = |limit| verdict(&totals, limit).refused;
            prop_assert!(!refuse(100));
            for high in low..=100 {
                prop_assert!(refuse(low) || !refuse(high));
            }
        }
    }
}
