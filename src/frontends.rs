//! How people and programs call standin.

pub mod agent;
mod audit;
mod check;
pub mod cli;
mod contact;
mod doctor;
mod fence_peer;
mod heartbeat;
mod history;
mod init;
mod keepalived;
mod kept;
mod lock;
mod managed;
mod manual;
pub mod ocf;
mod operate;
mod report;
mod say;
mod status;
