//! How people and programs call standin.

pub mod cli;
mod doctor;
mod fence_peer;
mod history;
mod init;
mod lock;
mod operate;
mod report;
mod say;
mod status;
