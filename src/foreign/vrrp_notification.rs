//! What keepalived tells its notify scripts and its notify FIFO.
//!
//! A script gets four arguments after its own: `INSTANCE|GROUP NAME STATE PRIORITY`; the FIFO gets the same as a line, with
//! the name in quotes. Source: keepalived.conf(5), `notify`; seen with keepalived 2.2.7.

use std::fmt;

/// What an instance has entered, as far as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VrrpState {
    /// It has put the addresses here.
    Master,
    /// It stands by.
    Backup,
    /// A tracked script or interface failed.
    Fault,
    /// keepalived ends, or the instance was taken out of its configuration.
    Stop,
    /// It could not be read: two readers tear the lines of one FIFO apart.
    NotSaid,
}

impl fmt::Display for VrrpState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            VrrpState::Master => "MASTER",
            VrrpState::Backup => "BACKUP",
            VrrpState::Fault => "FAULT",
            VrrpState::Stop => "STOP",
            VrrpState::NotSaid => "nothing that can be read",
        })
    }
}

/// Whether these can be the arguments that keepalived appends: four words, of which the first says what changes.
pub fn is_notification(arguments: &[String]) -> bool {
    matches!(arguments, [kind, _, _, _] if kind == "INSTANCE" || kind == "GROUP")
}

/// The state in the arguments of a notify script. None when they tell of something else (a priority, a rival's packet).
pub fn state_in_arguments(arguments: &[String]) -> Option<VrrpState> {
    match arguments {
        [kind, _, state, ..] if kind == "INSTANCE" || kind == "GROUP" => state_of(state),
        _ => Some(VrrpState::NotSaid),
    }
}

/// The state in a line of the notify FIFO. None when it tells of something else.
pub fn state_in_line(line: &str) -> Option<VrrpState> {
    let kind = line.split_whitespace().next().unwrap_or_default();
    // A name may hold blanks; what comes after its closing quote does not.
    let rest = line.rsplit_once('"').map_or("", |(_, rest)| rest);
    match (kind, rest.split_whitespace().next()) {
        ("INSTANCE" | "GROUP", Some(state)) => state_of(state),
        _ => Some(VrrpState::NotSaid),
    }
}

fn state_of(word: &str) -> Option<VrrpState> {
    match word {
        "MASTER" => Some(VrrpState::Master),
        "BACKUP" => Some(VrrpState::Backup),
        "FAULT" => Some(VrrpState::Fault),
        "STOP" | "DELETED" => Some(VrrpState::Stop),
        "MASTER_RX_LOWER_PRI" | "MASTER_PRIORITY" | "BACKUP_PRIORITY" => None,
        _ => Some(VrrpState::NotSaid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn arguments_and_lines_say_the_same() {
        for (word, state) in [
            ("MASTER", Some(VrrpState::Master)),
            ("BACKUP", Some(VrrpState::Backup)),
            ("FAULT", Some(VrrpState::Fault)),
            ("STOP", Some(VrrpState::Stop)),
            ("DELETED", Some(VrrpState::Stop)),
            ("MASTER_RX_LOWER_PRI", None),
            ("MASTER_PRIORITY", None),
            ("BACKUP_PRIORITY", None),
            ("MASTE", Some(VrrpState::NotSaid)),
        ] {
            assert_eq!(state_in_arguments(&words(&format!("INSTANCE db {word} 100"))), state, "{word}");
            assert_eq!(state_in_line(&format!("INSTANCE \"db\" {word} 100")), state, "{word}");
            assert_eq!(state_in_line(&format!("GROUP \"a b\" {word} 0")), state, "{word}");
        }
    }

    #[test]
    fn what_a_person_types_is_no_notification() {
        assert!(
            is_notification(&words("INSTANCE db MASTER 100")) && is_notification(&words("GROUP g STOP 0"))
        );
        for typed in
            ["rubbish", "MASTER", "INSTANCE db MASTER", "INSTANCE db MASTER 100 more", "stop r0 now please"]
        {
            assert!(!is_notification(&words(typed)), "{typed}");
        }
    }

    #[test]
    fn what_is_torn_is_a_reason_to_look() {
        for line in ["", "00", "\"db\" MASTER 100", "INSTANCE \"db", "INSTANCE \"db\"", "INSTANCE"] {
            assert_eq!(state_in_line(line), Some(VrrpState::NotSaid), "{line}");
        }
        assert_eq!(state_in_arguments(&[]), Some(VrrpState::NotSaid));
        assert_eq!(state_in_arguments(&words("INSTANCE db")), Some(VrrpState::NotSaid));
        assert_eq!(state_in_arguments(&words("VS db MASTER")), Some(VrrpState::NotSaid));
    }
}
