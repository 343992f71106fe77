//! In place of `drbddisk`, for groups of Heartbeat that keep the scripts Filesystem, mysql and IPaddr2: DRBD alone, by the rules
//! of a takeover. So the group's first script waits for the virtual IP to drop and never promotes beside a living Primary.
//!
//! The text of the status is drbd-utils' own: "running (Primary)", "stopped (Secondary)", and "may be running" when it can't be
//! learnt, so that a stop that failed resets the machine.

use super::super::managed::{Managed, Run};
use super::super::say::{say, say_error};
use super::{
    Action, Arguments, FAILED, NOT_CONFIGURED, NOT_KNOWN, NOT_ROOT, OK, STOPPED, is_root, log, look,
    understand, wrong_arguments,
};
use crate::config::{self, Config, ConfigErrors};
use crate::failure::Outcome;
use crate::observation::{Connection, Drbd, DrbdGeneration, Fact, Role};
use crate::plan::Goal;

pub(in crate::frontends) const HELP: &str = "\
For /etc/ha.d/resource.d/drbddisk, which Heartbeat calls for drbddisk::RESOURCE in haresources. It needs the configuration of
the cluster on that resource: without the peer's addresses nobody knows whether the peer is dead.

  start   Primary, as in a takeover: waits for the virtual IP to drop, refuses beside a Primary and on a disk that is not current
  stop    Secondary
  status  running (Primary), stopped (Secondary)";

/// The exit code of `standin drbddisk`.
pub(in crate::frontends) fn run(selector: Option<&str>, arguments: &Arguments) -> u8 {
    let (resource, action) = match understand(&arguments.words) {
        Ok(understood) => understood,
        Err(wrong) => return wrong_arguments("drbddisk::RESOURCE", "standin drbddisk [RESOURCE]", &wrong),
    };
    let configuration = || configuration(resource, selector, action);
    if action == Action::Status {
        return status(configuration());
    }
    let _told = log::Log::open(&format!("drbddisk({})", resource.unwrap_or("default")));
    if !is_root() {
        return NOT_ROOT;
    }
    let config = match configuration() {
        Ok(config) => config,
        Err(errors) => {
            say_error(&errors);
            return NOT_CONFIGURED;
        }
    };
    let goal = if action == Action::Start { Goal::Takeover } else { Goal::Release };
    let file = config.file.display().to_string();
    match (Managed { config: &config, selector: Some(&file) }).only_drbd(goal) {
        Run::Ended { outcome: Outcome::Done, .. } => OK,
        Run::Ended { outcome, reason } => {
            let role = if goal == Goal::Takeover { "Primary" } else { "Secondary" };
            let reason = reason.unwrap_or_default();
            say_error(format_args!("ERROR: {} is not {role} ({outcome:?}): {reason}", config.resource));
            FAILED
        }
        Run::GoesOn { progress } => {
            say_error(format_args!("ERROR: {progress}"));
            FAILED
        }
    }
}

fn configuration(
    resource: Option<&str>,
    selector: Option<&str>,
    action: Action,
) -> Result<Config, ConfigErrors> {
    let host = super::host_for(action);
    match resource {
        Some(resource) => config::load_for_resource(resource, selector, &host),
        None => super::configuration(selector, action),
    }
}

fn status(config: Result<Config, ConfigErrors>) -> u8 {
    let seen = match config {
        Ok(config) => look(&config).drbd,
        Err(errors) => {
            say_error(&errors);
            // No word of running: a slip in a file would reset the machine, again after each boot.
            say("cannot determine status (no configuration)");
            return NOT_KNOWN;
        }
    };
    let (text, code) = answer(&seen);
    say(text);
    code
}

fn answer(seen: &Fact<Drbd>) -> (String, u8) {
    match seen {
        Fact::Known(drbd)
            if drbd.generation == DrbdGeneration::NotLoaded
                || drbd.connection == Connection::Unconfigured =>
        {
            ("stopped (Unconfigured)".to_owned(), STOPPED)
        }
        Fact::Known(Drbd { role: Role::Primary, .. }) => ("running (Primary)".to_owned(), OK),
        Fact::Known(Drbd { role: Role::Secondary, .. }) => ("stopped (Secondary)".to_owned(), STOPPED),
        Fact::Known(_) | Fact::Unknown(_) => {
            ("cannot determine status, may be running (Unknown)".to_owned(), NOT_KNOWN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Disk, DrbdCommands, Replication};

    fn drbd(role: Role, connection: Connection) -> Fact<Drbd> {
        Fact::Known(Drbd {
            generation: DrbdGeneration::Eight,
            connection,
            replication: Replication::Off,
            role,
            peer_role: Role::Unknown,
            disk: Disk::UpToDate,
            peer_disk: Disk::Unknown,
            resync_percent: None,
            io_suspended: false,
            writes_wait_for_peer: false,
            commands: DrbdCommands {
                disconnect: Vec::new(),
                promote: Vec::new(),
                demote: Vec::new(),
                connect: Vec::new(),
            },
        })
    }

    #[test]
    fn the_status_is_drbd_utils_own() {
        let told = |seen: &Fact<Drbd>| answer(seen).0;
        assert_eq!(told(&drbd(Role::Primary, Connection::Connecting)), "running (Primary)");
        assert_eq!(told(&drbd(Role::Secondary, Connection::Connected)), "stopped (Secondary)");
        assert_eq!(told(&drbd(Role::Unknown, Connection::Unconfigured)), "stopped (Unconfigured)");
        let unseen = answer(&Fact::Unknown("it hangs".to_owned()));
        assert_eq!(unseen, ("cannot determine status, may be running (Unknown)".to_owned(), NOT_KNOWN));
    }
}
