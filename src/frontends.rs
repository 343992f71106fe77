//! How people and programs call standin.

pub mod agent;
mod audit;
mod check;
pub mod cli;
mod contact;
mod doctor;
mod fence_peer;
mod forecast;
mod heartbeat;
mod history;
mod init;
mod keepalived;
mod kept;
mod lock;
mod managed;
mod manual;
mod news;
pub mod ocf;
mod operate;
mod pause;
mod peer_agent;
mod person;
mod rejoin;
mod report;
mod say;
mod status;
mod switchover;
