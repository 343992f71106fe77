//! Output that never ends a run: whoever reads standard output may go away in the middle of a takeover.

use std::fmt::Display;
use std::io::{self, Write};

use crate::failure::Outcome;

/// A line on standard output; lost when nobody reads it any more.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Text on standard output as it is; whether anybody still reads it.
pub(super) fn say_text(text: impl Display) -> bool {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// A line on standard error; lost when nobody reads it any more.
pub(super) fn say_error(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text that is all that the command is for: `outcome`, unless it could not be written whole. A reader that went away has
/// had what it wanted.
pub(super) fn deliver(text: impl Display, outcome: Outcome) -> Outcome {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say_error(format_args!(
                "standard output can't be written: {error}\n  why it matters: what was printed is cut off\n  \
                 what to do next: make room where it goes, and run it again"
            ));
            Outcome::Failed
        }
        _ => outcome,
    }
}
