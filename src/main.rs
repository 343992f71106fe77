//! The `standin` command: parse, log, dispatch, exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use standin::failure::Outcome;
use standin::frontends::{cli, ocf};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format_target(false)
        .init();
    if let Some(code) = ocf::run_by_name() {
        return ExitCode::from(code);
    }
    let cli = cli::Cli::parse();
    if let Some(code) = cli::run_for_program(&cli) {
        return ExitCode::from(code);
    }
    let outcome = cli::run(&cli).unwrap_or_else(|error| {
        // Whoever reads standard error may be gone; the exit code still tells.
        let _ = writeln!(io::stderr(), "standin: {error:#}");
        Outcome::Failed
    });
    ExitCode::from(outcome.exit_code())
}
