//! How people and programs call standin.

pub mod cli;
mod history;
mod lock;
mod operate;
mod report;
mod say;
mod status;
