//! The decision on the engine totals. Pure.
//!
//! MyISAM's share is taken of the users' tables only, by bytes (what a repair costs and what can be lost) and by
//! tables (what the applications rely on); either above the threshold refuses. The rules behind the numbers:
//!
//! - Equal to the threshold allows: "more than half" refuses, half does not.
//! - A MyISAM table with an empty data file has no row to lose: it counts as a table but not as a MyISAM one. Whether an
//!   InnoDB table is empty can't be told from its size, so all of them count.
//! - InnoDB's shared files are as large on an empty server, so they are not held against MyISAM, except where user
//!   tables live inside them.
//! - No user table at all allows. A single small MyISAM table and nothing else refuses: all of that database is
//!   MyISAM, there is no size below which losing acknowledged rows is right, and the operator can accept it.
//! - Any MyISAM, CSV or ARCHIVE that does not refuse is a warning.

use serde::{Deserialize, Serialize};

use super::{Engine, EngineTotals, Totals};

/// What the totals mean for a takeover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The takeover may go on.
    Allow {
        /// What is not crash-safe although it is not most of the data.
        warning: Option<String>,
    },
    /// The takeover would rest on tables that do not survive a crash.
    Refuse {
        /// The shares that led to it.
        reason: String,
    },
}

/// Refuses when MyISAM holds more than `refuse_above_percent` of the users' bytes or tables; 100 never refuses.
pub fn verdict(totals: &EngineTotals, refuse_above_percent: u8) -> Verdict {
    let of = |engine: Engine| totals.user.get(&engine).copied().unwrap_or_default();
    let mut all = Totals::default();
    totals.user.values().for_each(|engine| all.add(*engine));
    let myisam = of(Engine::MyISAM);
    let with_rows = myisam.tables.saturating_sub(myisam.empty_tables);

    let by_bytes = share_above(myisam.bytes, all.bytes, refuse_above_percent);
    let by_tables = share_above(with_rows, all.tables, refuse_above_percent);
    if with_rows > 0 && (by_bytes || by_tables) {
        return Verdict::Refuse {
            reason: format!(
                "MyISAM holds {} of {} bytes ({}) and {with_rows} of {} tables ({}) of the users' data, above the \
                 limit of {refuse_above_percent} %; MyISAM does not survive a crash",
                myisam.bytes,
                all.bytes,
                percent(myisam.bytes, all.bytes),
                all.tables,
                percent(with_rows, all.tables),
            ),
        };
    }
    let fragile: Vec<String> = [Engine::MyISAM, Engine::Csv, Engine::Archive]
        .into_iter()
        .filter(|engine| of(*engine).tables > 0)
        .map(|engine| format!("{engine} ({} tables, {} bytes)", of(engine).tables, of(engine).bytes))
        .collect();
    let warning = (!fragile.is_empty()).then(|| {
        format!(
            "not crash-safe: {}; check these tables after the takeover, and convert them to InnoDB",
            fragile.join(", ")
        )
    });
    Verdict::Allow { warning }
}

/// Exact: no rounding decides a refusal.
fn share_above(part: u64, whole: u64, percent: u8) -> bool {
    u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
}

fn percent(part: u64, whole: u64) -> String {
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

    fn totals(innodb: (u64, u64), myisam: (u64, u64, u64)) -> EngineTotals {
        let mut totals = EngineTotals { innodb_shared_bytes: 1 << 40, ..EngineTotals::default() };
        if innodb.0 > 0 {
            let innodb = Totals { tables: innodb.0, empty_tables: 0, bytes: innodb.1 };
            totals.user.insert(Engine::InnoDB, innodb);
        }
        if myisam.0 > 0 {
            let myisam = Totals { tables: myisam.0, empty_tables: myisam.1, bytes: myisam.2 };
            totals.user.insert(Engine::MyISAM, myisam);
        }
        totals
    }

    fn refuses(innodb: (u64, u64), myisam: (u64, u64, u64)) -> bool {
        matches!(verdict(&totals(innodb, myisam), 50), Verdict::Refuse { .. })
    }

    #[test]
    fn the_larger_part_refuses_by_bytes_or_by_tables() {
        assert!(refuses((10, 1000), (1, 0, 1001)));
        assert!(refuses((1, 1_000_000), (2, 0, 10)));
        assert!(!refuses((10, 1000), (1, 0, 1000)));
        assert!(!refuses((2, 1000), (2, 0, 1000)));
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
        assert!(matches!(verdict, Verdict::Allow { warning: Some(_) }));
    }

    #[test]
    fn no_user_table_allows_without_a_warning() {
        assert_eq!(verdict(&totals((0, 0), (0, 0, 0)), 50), Verdict::Allow { warning: None });
    }

    #[test]
    fn the_reason_names_the_numbers() {
        let Verdict::Refuse { reason } = verdict(&totals((1, 250), (1, 0, 750)), 50) else {
            panic!("must refuse")
        };
        assert!(reason.contains("750 of 1000 bytes (75.0 %)"), "{reason}");
    }

    proptest! {
        #[test]
        fn a_higher_limit_never_refuses_more(i in 0..100u64, ib: u64, m in 0..100u64, mb: u64, low in 0..=100u8) {
            let totals = totals((i, ib), (m, 0, mb));
            let refuse = |limit| matches!(verdict(&totals, limit), Verdict::Refuse { .. });
            prop_assert!(!refuse(100));
            for high in low..=100 {
                prop_assert!(refuse(low) || !refuse(high));
            }
        }
    }
}
