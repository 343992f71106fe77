//! The crash recoveries that takeovers on this node went through. Pure.

use super::{Entry, Event};
use crate::forecast::Recovery;

/// Every crash recovery in the journal, the oldest first.
pub fn recoveries(entries: &[Entry]) -> Vec<Recovery> {
    let recovery = |entry: &Entry| match &entry.event {
        Event::StepEnd { applied, .. } => applied.recovery,
        _ => None,
    };
    entries.iter().filter_map(recovery).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::journal::{Journal, Sink, read};
    use crate::node::Applied;

    #[test]
    fn what_a_start_measured_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r0.journal");
        let recovery = Recovery { redo_bytes: 5 << 20, pages: Some(300), milliseconds: 1200 };
        let end = |step: &str, recovery| Event::StepEnd {
            step: step.to_owned(),
            seconds: 2.0,
            applied: Applied { recovery, ..Applied::done().note("crash recovery: 300 pages, 1.2 s") },
        };
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&end("mount", None)).unwrap();
        journal.append(&end("start-mysqld", Some(recovery))).unwrap();
        journal.append(&end("start-mysqld", None)).unwrap();
        let later = Recovery { pages: None, ..recovery };
        journal.append(&end("start-mysqld", Some(later))).unwrap();
        assert_eq!(recoveries(&read(&path).unwrap()), [recovery, later]);
    }

    #[test]
    fn journals_without_recoveries_are_read() {
        let line = r#"{"at":"2026-01-01T00:00:00.000Z","run":1,"event":"step-end","step":"start-mysqld","seconds":2.0,"change":"done","note":"crash recovery: 300 pages, 1.2 s","warning":null}"#;
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(recoveries(&[entry]), []);
    }
}
