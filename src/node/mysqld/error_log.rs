//! What the lines of an error log say of a start, a crash recovery or a shutdown. Pure.
//!
//! The wording is that of MariaDB 10.5 to 11 and of MySQL 5.7 to 9; a line that is not known says nothing, and nothing
//! depends on a line coming.

use std::fmt;

/// What one line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server starts; its process id.
    Starting(Option<i32>),
    /// Crash recovery begins, at this log sequence number when it is told.
    RecoveryStarted(Option<u64>),
    /// The log sequence number of the checkpoint that a recovery begins from (MySQL, which tells it in any start).
    Checkpoint(u64),
    /// The redo log is read up to this log sequence number.
    Scanned(u64),
    /// The redo log ends at this log sequence number.
    EndOfLog(u64),
    /// Pages that wait for their redo records (MariaDB); position and end of the redo log when there are several
    /// batches.
    Pages {
        /// Pages in this batch that remain.
        pages: u64,
        /// Log sequence number reached and last.
        position: Option<(u64, u64)>,
    },
    /// A batch of redo records is applied (MySQL); how many, when it is told.
    Records(Option<u64>),
    /// How much of that batch is done, in percent.
    Percent(u8),
    /// That batch is done.
    BatchDone,
    /// Transactions and rows to roll back. They are rolled back in the background, after the server is ready.
    ToRollBack {
        /// Unfinished transactions.
        transactions: u64,
        /// Row operations to undo.
        rows: u64,
    },
    /// InnoDB is up, and a crash recovery over; its log sequence number when it is told. The server is not ready yet.
    StorageStarted(Option<u64>),
    /// Every unfinished transaction was rolled back.
    RolledBack,
    /// It says that it serves.
    Ready,
    /// Shutdown was asked for.
    ShutdownStarted,
    /// One step or wait of a shutdown, in the server's words.
    ShutdownStep(String),
    /// Shutdown is complete.
    ShutdownDone,
    /// An error, in the server's words.
    Error(String),
}

impl Event {
    /// Whether the line is one of a crash recovery.
    pub fn is_recovery(&self) -> bool {
        matches!(
            self,
            Event::RecoveryStarted(_)
                | Event::Scanned(_)
                | Event::EndOfLog(_)
                | Event::Pages { .. }
                | Event::Records(_)
                | Event::Percent(_)
                | Event::BatchDone
                | Event::ToRollBack { .. }
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Starting(_) => write!(out, "mysqld starts"),
            Event::RecoveryStarted(None) => write!(out, "crash recovery starts"),
            Event::RecoveryStarted(Some(lsn)) => {
                write!(out, "crash recovery starts from checkpoint LSN {lsn}")
            }
            Event::Checkpoint(lsn) => write!(out, "the last checkpoint is at LSN {lsn}"),
            Event::Scanned(lsn) => write!(out, "crash recovery: redo log read up to LSN {lsn}"),
            Event::EndOfLog(lsn) => write!(out, "the redo log ends at LSN {lsn}"),
            Event::Pages { pages, position: None } => write!(out, "crash recovery: {pages} pages to recover"),
            Event::Pages { pages, position: Some((at, end)) } => {
                write!(out, "crash recovery: {pages} pages to recover at LSN {at} of {end}")
            }
            Event::Records(None) => write!(out, "crash recovery: applying redo records"),
            Event::Records(Some(records)) => write!(out, "crash recovery: applying {records} redo records"),
            Event::Percent(percent) => write!(out, "crash recovery: {percent} % of the redo records applied"),
            Event::BatchDone => write!(out, "crash recovery: redo records applied"),
            Event::ToRollBack { transactions, rows } => {
                write!(out, "crash recovery: {transactions} transactions with {rows} rows to roll back")
            }
            Event::StorageStarted(_) => write!(out, "InnoDB has started"),
            Event::RolledBack => write!(out, "unfinished transactions are rolled back"),
            Event::Ready => write!(out, "mysqld is ready for connections"),
            Event::ShutdownStarted => write!(out, "shutdown starts"),
            Event::ShutdownStep(text) => write!(out, "shutdown: {text}"),
            Event::ShutdownDone => write!(out, "shutdown is complete"),
            Event::Error(text) => write!(out, "error: {text}"),
        }
    }
}

/// What a line of an error log says, if it is one that matters.
pub fn parse_line(line: &str) -> Option<Event> {
    let (level, message) = split(line.trim_end());
    if level == Some("ERROR") {
        return Some(Event::Error(message.to_owned()));
    }
    let text = message.strip_prefix("InnoDB: ").unwrap_or(message).trim();

    if text.starts_with("Starting MariaDB ") || text.contains(" starting as process ") {
        return Some(Event::Starting(
            number_after(text, " as process ").and_then(|pid| i32::try_from(pid).ok()),
        ));
    }
    if text.starts_with("Starting crash recovery") {
        return Some(Event::RecoveryStarted(number_after(text, "LSN=")));
    }
    for before in ["Log scan progressed past the checkpoint lsn ", ", whereas checkpoint_lsn = "] {
        if let Some(lsn) = number_after(text, before) {
            return Some(Event::Checkpoint(lsn));
        }
    }
    for before in ["Doing recovery: scanned up to log sequence number ", "Read redo log up to LSN="] {
        if let Some(lsn) = number_after(text, before) {
            return Some(Event::Scanned(lsn));
        }
    }
    if let Some(rest) = text.strip_prefix("End of log at LSN=") {
        return number(rest).map(Event::EndOfLog);
    }
    if let Some(rest) = text.strip_prefix("To recover: ") {
        return pages(rest);
    }
    if text.starts_with("Starting a batch to recover ")
        || text.starts_with("Starting final batch to recover ")
    {
        return number_after(text, " to recover ").map(|pages| Event::Pages { pages, position: None });
    }
    if let Some(rest) = text.strip_prefix("Applying a batch of ") {
        return number(rest).map(|records| Event::Records(Some(records)));
    }
    if text.starts_with("Starting an apply batch of log records") {
        return Some(Event::Records(None));
    }
    if let Some(percent) = text.strip_suffix('%').and_then(|text| text.parse::<u8>().ok()) {
        return (percent <= 100).then_some(Event::Percent(percent));
    }
    if text.starts_with("Apply batch completed") {
        return Some(Event::BatchDone);
    }
    if text.contains("which must be rolled back or cleaned up") {
        let rows = number_after(text, " in total ").unwrap_or_default();
        return number(text).map(|transactions| Event::ToRollBack { transactions, rows });
    }
    if let Some(rest) = text.strip_prefix("To roll back: ") {
        let rows = number_after(rest, "transactions, ").unwrap_or_default();
        return number(rest).map(|transactions| Event::ToRollBack { transactions, rows });
    }
    if let Some(lsn) = number_after(text, " started; log sequence number ") {
        return Some(Event::StorageStarted(Some(lsn)));
    }
    if text.starts_with("InnoDB initialization has ended") {
        return Some(Event::StorageStarted(None));
    }
    if text.starts_with("Rollback of non-prepared transactions completed") {
        return Some(Event::RolledBack);
    }
    if text.contains(": ready for connections") {
        return Some(Event::Ready);
    }
    shutdown(text)
}

fn shutdown(text: &str) -> Option<Event> {
    if text.ends_with(": Normal shutdown") || text.contains("Received SHUTDOWN from user") {
        return Some(Event::ShutdownStarted);
    }
    if text.contains(": Shutdown complete") || text == "Shutdown complete" {
        return Some(Event::ShutdownDone);
    }
    // A server that starts says this too.
    if text.starts_with("Waiting for purge to start") {
        return None;
    }
    // Not "Removed temporary tablespace data file": a server that starts after a crash says it as well.
    const STEPS: [&str; 8] = [
        "Starting shutdown",
        "Waiting for ",
        "Pending ",
        "to purge",
        "Dumping buffer pool",
        "Buffer pool(s) dump completed",
        "FTS optimize thread exiting",
        "Shutdown completed; log sequence number",
    ];
    STEPS.iter().any(|step| text.starts_with(step)).then(|| Event::ShutdownStep(text.to_owned()))
}

/// `LSN 643014471/875362651; 812 pages` or `377 pages`.
fn pages(text: &str) -> Option<Event> {
    let Some(rest) = text.strip_prefix("LSN ") else {
        return number(text).map(|pages| Event::Pages { pages, position: None });
    };
    let (position, pages) = rest.split_once(';')?;
    let (at, end) = position.split_once('/')?;
    Some(Event::Pages { pages: number(pages)?, position: Some((number(at)?, number(end)?)) })
}

/// The level and the message, without time, thread, error code and subsystem.
fn split(line: &str) -> (Option<&str>, &str) {
    const LEVELS: [&str; 6] = ["Note", "Warning", "ERROR", "System", "Entry", "Information"];
    let Some((at, level)) =
        LEVELS.iter().filter_map(|level| Some((line.find(&format!("[{level}]"))?, *level))).min()
    else {
        return (None, line);
    };
    let mut rest = line[at + level.len() + 2..].trim_start();
    // MySQL 8 and 9: [MY-012550] [InnoDB] before the message.
    if rest.starts_with("[MY-") {
        for _ in 0..2 {
            rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((_, rest)) => rest.trim_start(),
                None => rest,
            };
        }
    }
    (Some(level), rest)
}

/// The number that a text begins with, after spaces.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn number_after(text: &str, before: &str) -> Option<u64> {
    number(&text[text.find(before)? + before.len()..])
}

#[cfg(test)]
mod tests;
