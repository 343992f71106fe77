//! Every seed of the fuzzer goes through its parser, and every parser has seeds.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use standin::fuzz::TARGETS;

/// So that mutations stay quick, in bytes.
const LARGEST_SEED: usize = 16 * 1024;

#[test]
fn seeds_run_through_their_parsers() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, target) in TARGETS {
        let mut seeds = 0;
        for seed in fs::read_dir(directory.join(name)).unwrap() {
            let bytes = fs::read(seed.unwrap().path()).unwrap();
            assert!(bytes.len() <= LARGEST_SEED);
            target(&bytes);
            // Cut off anywhere, as by a full disk or a process that was killed.
            (0..bytes.len()).step_by(bytes.len().div_ceil(50).max(1)).for_each(|end| target(&bytes[..end]));
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seed");
    }
    let known: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(name.as_str()), "seeds for {name}, which is no target");
    }
}
