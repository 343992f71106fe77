//! How people and programs call standin.

mod audit;
pub mod cli;
mod doctor;
mod fence_peer;
mod history;
mod init;
mod lock;
#[allow(dead_code)]
mod managed;
mod operate;
mod report;
mod say;
mod status;
