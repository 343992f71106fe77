#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::path::Path;

use super::*;

/// The test binary as a worker: the harness would write to standard output, so the answers go through another
/// descriptor to the same pipe.
pub(super) fn own_command() -> Vec<String> {
    let script = "exec 3>&1 >/dev/null; STANDIN_TEST_WORKER=1 exec \"$0\" --exact node::worker::tests::worker_process --ignored";
    let binary = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    vec!["sh".to_owned(), "-c".to_owned(), script.to_owned(), binary]
}

/// Not a test: what the worker of the tests runs. An audit of `/hang` never ends, of `/die` ends the process, and any
/// other answers with the process id.
#[test]
#[ignore = "runs as the worker of other tests"]
fn worker_process() {
    if std::env::var_os("STANDIN_TEST_WORKER").is_none() {
        return;
    }
    let mut output = File::options().write(true).open("/proc/self/fd/3").unwrap();
    let announcement = serve_on(io::stdin().lock(), &mut output, &|request| match &request {
        Request::Audit { settings } if settings.datadir == Path::new("/hang") => loop {
            std::thread::park();
        },
        Request::Audit { settings } if settings.datadir == Path::new("/die") => std::process::exit(1),
        Request::Audit { .. } => Ok(Value::from(std::process::id())),
        _ => handle(request),
    })
    .unwrap();
    if let Some((marker, ..)) = announcement {
        release_standard_streams().unwrap();
        let streams: Vec<String> = (0..3)
            .map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().display().to_string())
            .collect();
        fs::write(&marker, streams.join(" ")).unwrap();
    }
}

const PLENTY: Duration = Duration::from_secs(30);

fn soon() -> Instant {
    Instant::now() + PLENTY
}

fn audit_of(directory: &str) -> Request {
    Request::Audit { settings: Settings { datadir: directory.into(), top: 0, tolerate_damage: true } }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PLENTY:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ended with all its threads: until then the pipes that they share stay open.
fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads <= 1
        && stat.map_or(true, |stat| {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        })
}

fn pid_of(idle: &Mutex<Option<Worker>>) -> u32 {
    call_with(idle, &start, &audit_of("/"), soon()).unwrap()
}

#[test]
fn one_process_serves_all_requests_and_ends_with_its_input() {
    let idle = Mutex::new(None);
    let first = pid_of(&idle);
    assert_eq!(pid_of(&idle), first);
    assert_ne!(first, std::process::id());
    drop(idle);
    wait_until("the worker ended at the end of its input", || is_gone(first));
}

#[test]
fn a_call_that_hangs_is_abandoned_at_its_deadline() {
    let idle = Mutex::new(None);
    let first = pid_of(&idle);
    let start_of_call = Instant::now();
    let deadline = Instant::now() + Duration::from_millis(200);
    let failure = call_with::<Value>(&idle, &start, &audit_of("/hang"), deadline).unwrap_err();
    assert_eq!(failure.kind, crate::failure::FailureKind::TimedOut);
    assert!(start_of_call.elapsed() < Duration::from_secs(10));
    wait_until("the hanging worker was killed", || is_gone(first));
    assert_ne!(pid_of(&idle), first);
}

#[test]
fn nothing_is_asked_when_the_deadline_has_passed() {
    let idle = Mutex::new(None);
    let start = || -> Result<Worker, Failure> { panic!("a worker was started") };
    let failure = call_with::<Value>(&idle, &start, &audit_of("/"), Instant::now()).unwrap_err();
    assert_eq!(failure.kind, crate::failure::FailureKind::TimedOut);
}

#[test]
fn a_hanging_call_keeps_no_other_caller_waiting() {
    let idle = Mutex::new(None);
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| {
            call_with::<Value>(&idle, &start, &audit_of("/hang"), Instant::now() + Duration::from_secs(3))
        });
        pid_of(&idle);
        assert!(!hanging.is_finished());
        assert!(hanging.join().unwrap().is_err());
    });
}

#[test]
fn a_dead_worker_is_a_failure_during_a_call_and_replaced_between_calls() {
    let idle = Mutex::new(None);
    let first = pid_of(&idle);
    let failure = call_with::<Value>(&idle, &start, &audit_of("/die"), soon()).unwrap_err();
    assert!(failure.seen.contains("ended without an answer"), "{failure}");
    let second = pid_of(&idle);
    assert_ne!(second, first);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(second).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("the waiting worker is dead", || is_gone(second));
    assert_ne!(pid_of(&idle), second);
}

#[test]
fn an_announcement_goes_on_after_its_caller_with_closed_streams() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("marker");
    let idle = Mutex::new(None);
    let request = Request::Announce {
        interface: marker.to_str().unwrap().to_owned(),
        vip: Ipv4Addr::LOCALHOST,
        count: 1,
        interval: Duration::ZERO,
    };
    call_with::<()>(&idle, &start, &request, soon()).unwrap();
    assert!(idle.lock().unwrap().is_none(), "a worker that announces takes no more requests");
    let streams = || fs::read_to_string(&marker).unwrap_or_default();
    wait_until("the worker has let go of its streams", || !streams().is_empty());
    assert_eq!(streams(), "/dev/null /dev/null /dev/null");
}

#[test]
fn requests_that_are_not_understood_are_answered() {
    let mut output = Vec::new();
    let end = serve_on("garbage\n{\"do\":\"fly\"}\n".as_bytes(), &mut output, &handle).unwrap();
    assert_eq!(end, None);
    let answers: Vec<Answer> = output
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(Result::is_err));
}

#[test]
fn a_refused_system_call_is_an_error_number() {
    let idle = Mutex::new(None);
    let request = Request::Unmount { directory: "/no such directory".into() };
    let errno: Option<i32> = call_with(&idle, &start, &request, soon()).unwrap();
    assert!(matches!(errno.map(Errno::from_raw), Some(Errno::ENOENT | Errno::EPERM)), "{errno:?}");
}
