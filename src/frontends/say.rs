//! Output that never ends a run: whoever reads standard output may go away in the middle of a takeover.

use std::fmt::Display;
use std::io::{self, Write};

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
