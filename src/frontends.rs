//! How people and programs call standin.

pub mod cli;
mod doctor;
mod history;
mod init;
mod lock;
mod operate;
mod report;
mod say;
mod status;
