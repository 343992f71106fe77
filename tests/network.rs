//! Addresses, probes and the cluster manager's processes on a real kernel, in network namespaces of the tests' own.
//!
//! `cargo test --test network -- --ignored` as root; needs nothing but `ip` (iproute2).

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "network/assign.rs"]
mod assign;
#[path = "network/heartbeat.rs"]
mod heartbeat;
#[path = "network/namespaces.rs"]
mod namespaces;
#[path = "network/probe.rs"]
mod probe;
#[path = "network/wait_gone.rs"]
mod wait_gone;
