//! One program for all parsers; the environment variable `TARGET` names the one.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    let names: Vec<_> = standin::fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    let Some((_, target)) = standin::fuzz::TARGETS.iter().find(|(known, _)| *known == name) else {
        panic!("TARGET must be one of {names:?}");
    };
    *target
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
