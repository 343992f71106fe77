//! What the service manager is told: ready, how it goes, still alive, stopping (sd_notify(3)).
//!
//! Written by hand because no message may ever wait: systemd may hang on the same disk that the agent is there to judge, and the
//! client libraries send to a socket that blocks when systemd's queue is full.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Longer than any sentence of standin's; systemd cuts off much later.
const LONGEST_STATUS: usize = 1024;

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    told: String,
    /// What says that the agent works, until the service manager has taken it: it would end an agent that never says so.
    unheard: Option<String>,
}

impl Notifier {
    /// As the service manager said in the environment; to nobody when there is none.
    pub fn from_environment() -> Self {
        let variable = |name: &str| env::var(name).ok();
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("the service manager can't be told anything: {}: {error}", name.display());
                None
            }
        });
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        Self { socket, watchdog, told: String::new(), unheard: None }
    }

    /// How often [`Notifier::alive`] has to be called: half of what the service manager waits; none when it does not wait for it.
    pub fn keep_alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The agent works; `status` says what it does.
    pub fn ready(&mut self, status: &str) {
        let status = one_line(status);
        self.unheard = self.socket.is_some().then(|| format!("READY=1\nSTATUS={status}"));
        self.told = status;
        self.ready_again();
    }

    fn ready_again(&mut self) {
        if self.unheard.as_ref().is_some_and(|message| self.send(message)) {
            self.unheard = None;
        }
    }

    /// What `systemctl status` shows. The same words are not sent twice.
    pub fn status(&mut self, status: &str) {
        let status = one_line(status);
        if status != self.told && self.send(&format!("STATUS={status}")) {
            self.told = status;
        }
    }

    /// The loop goes round. Says again that the agent works, until that has been heard.
    pub fn alive(&mut self) {
        self.ready_again();
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// It is about to end.
    pub fn stopping(&mut self, status: &str) {
        let status = one_line(status);
        self.send(&format!("STOPPING=1\nSTATUS={status}"));
        self.told = status;
    }

    /// Lost when the queue is full: whoever sends it sees to that the next one tells the same.
    fn send(&self, message: &str) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.send(message.as_bytes()).is_ok())
    }
}

/// A path, or a name in the kernel's own namespace after an @.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The watchdog's limit, if it is for this process (sd_watchdog_enabled(3)).
fn watchdog(microseconds: Option<String>, pid: Option<String>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    let microseconds: u64 = microseconds?.parse().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

/// Each line of a message is a variable of its own.
fn one_line(status: &str) -> String {
    let mut line: String = status.replace(['\n', '\r', '\0'], " ");
    line.truncate(line.floor_char_boundary(LONGEST_STATUS));
    line
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn manager() -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier {
            socket: Some(connect(path.as_os_str()).unwrap()),
            watchdog: Some(Duration::from_secs(30)),
            told: String::new(),
            unheard: None,
        };
        (directory, manager, notifier)
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 2048];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn the_manager_hears_what_it_is_told_and_nothing_twice() {
        let (_directory, manager, mut notifier) = manager();
        notifier.ready("node1 is active");
        notifier.status("node1 is active");
        notifier.alive();
        notifier.status("trouble\nREADY=0");
        notifier.stopping("ended by SIGTERM");
        let all: Vec<String> = std::iter::from_fn(|| heard(&manager)).collect();
        assert_eq!(
            all,
            [
                "READY=1\nSTATUS=node1 is active",
                "WATCHDOG=1",
                "STATUS=trouble READY=0",
                "STOPPING=1\nSTATUS=ended by SIGTERM"
            ]
        );
    }

    #[test]
    fn a_manager_that_hangs_holds_nobody_up() {
        let (_directory, manager, mut notifier) = manager();
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            for number in 0..10_000 {
                notifier.alive();
                notifier.status(&number.to_string());
            }
            done.send(notifier)
        });
        let mut notifier = ended.recv_timeout(Duration::from_secs(10)).expect("it waits for the manager");
        while heard(&manager).is_some() {}
        notifier.status("9999");
        assert_eq!(heard(&manager).as_deref(), Some("STATUS=9999"), "what got lost is told again");
    }

    #[test]
    fn that_it_works_is_said_until_it_is_heard() {
        let (_directory, manager, mut notifier) = manager();
        while notifier.send("full") {}
        notifier.ready("looks for the first time");
        notifier.alive();
        while heard(&manager).is_some() {}
        notifier.alive();
        notifier.alive();
        let all: Vec<String> = std::iter::from_fn(|| heard(&manager)).collect();
        assert_eq!(all, ["READY=1\nSTATUS=looks for the first time", "WATCHDOG=1", "WATCHDOG=1"]);
    }

    #[test]
    fn a_name_in_the_kernels_own_namespace_is_found() {
        let name = format!("standin-notify-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        connect(OsStr::new(&format!("@{name}"))).unwrap().send(b"READY=1").unwrap();
        assert_eq!(heard(&manager).as_deref(), Some("READY=1"));
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let limit =
            |usec: &str, pid: Option<&str>| watchdog(Some(usec.to_owned()), pid.map(str::to_owned), 7);
        assert_eq!(limit("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(limit("30000000", Some("7")), Some(Duration::from_secs(30)));
        assert_eq!(limit("30000000", Some("8")), None);
        assert_eq!(limit("0", None), None);
        assert_eq!(limit("soon", None), None);
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[test]
    fn a_long_status_is_cut_between_characters() {
        let line = one_line(&"ä".repeat(1000));
        assert_eq!((line.len(), line.chars().all(|c| c == 'ä')), (LONGEST_STATUS, true));
    }
}
