//! How people and programs call standin.

mod audit;
pub mod cli;
mod history;
mod lock;
mod operate;
mod report;
mod say;
mod status;
