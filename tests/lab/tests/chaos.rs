//! Random faults under load, a few of them from a seed that is known to be worth it; `make chaos` has more.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::Result;
use standin_lab::chaos::{Options, Under, run};

/// Under the agent alone.
#[test]
#[ignore = "needs the lab: root and its image"]
fn three_faults() -> Result<()> {
    let summary = run(&Options::new(2, 3, Under::Agent))?;
    assert_eq!(summary.outcomes.iter().map(|outcome| outcome.faults.len()).sum::<usize>(), 3);
    Ok(())
}
