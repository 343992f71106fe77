//! The database server: found by its data directory, ready when it shakes hands.
//!
//! | file | idea |
//! | --- | --- |
//! | `datadir` | which processes have a directory as their data directory |
//! | `handshake` | what a server answers before anybody logs in |
//! | `error_log`, `follow` | what the lines of its error log say, and following them |
//! | `backlog` | what a crash recovery would have to do |
//! | `activity`, `watch` | whether it moves: what extends a deadline, and what is reported |
//! | `start`, `stop`, `verify`, `dirty_pages` | the steps |
//! | `session` | a session that is kept, and a query now and then |

mod activity;
mod backlog;
mod connect;
mod datadir;
pub mod dirty_pages;
pub mod engines;
pub mod error_log;
mod follow;
mod handshake;
mod session;
mod start;
mod stop;
pub mod variables;
mod verify;
mod watch;

use std::time::Duration;

pub use backlog::backlog;
pub use handshake::handshake;
pub(crate) use handshake::parse as parse_greeting;
pub use session::{Answered, Session};
pub use start::start;
pub use stop::stop;
pub use verify::verify;

use super::filesystem;
use crate::config::{MountConfig, MysqldConfig};
use crate::observation::{Fact, Mysqld, MysqldAnswer, MysqldProcess};

/// For the greeting on the socket; a healthy server needs a millisecond.
const GREETING_LIMIT: Duration = Duration::from_millis(500);

/// Looks at the server: its processes, the device they are on, and what its socket answers. Ends within about two
/// seconds even when the disk under it is dead.
pub fn observe(config: &MysqldConfig, mount: &MountConfig) -> Fact<Mysqld> {
    look(config, mount).into()
}

fn look(config: &MysqldConfig, mount: &MountConfig) -> Result<Mysqld, String> {
    let servers = datadir::Datadir::look(&config.datadir, &config.control).servers()?;
    let mut processes = Vec::new();
    for server in &servers {
        processes.push(MysqldProcess {
            pid: server.pid(),
            name: server.process.name.clone(),
            directory: server.process.cwd.clone().unwrap_or_else(|| config.datadir.clone()),
            on_our_device: server.is_on(device_number(mount)?),
        });
    }
    // Looking up a socket that lies on a dead disk hangs.
    let socket = config.socket.clone();
    let answered = datadir::within(GREETING_LIMIT * 2, move || handshake::ask(&socket, GREETING_LIMIT));
    let answer = match answered {
        None => MysqldAnswer::Stalled(format!("looking up {} does not end", config.socket.display())),
        Some((MysqldAnswer::Ready | MysqldAnswer::Busy, Some(pid)))
            if pid != 1 && !servers.iter().any(|server| server.pid() == pid) =>
        {
            MysqldAnswer::Stalled(format!("process {pid} answers, which does not run on the data directory"))
        }
        Some((answer, _)) => answer,
    };
    Ok(Mysqld { processes, answer })
}

fn device_number(mount: &MountConfig) -> Result<u64, String> {
    let (major, minor) = filesystem::device_number(&mount.device)?
        .ok_or_else(|| format!("{} does not exist", mount.device.display()))?;
    Ok(nix::sys::stat::makedev(major, minor))
}
