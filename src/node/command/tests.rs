#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn shell(script: &str) -> Vec<String> {
    words(&["sh", "-c", script])
}

const PLENTY: Duration = Duration::from_secs(30);

/// A deadline that is meant to pass; long enough for a script's first lines on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

/// Gone, or a zombie that nobody reaps in a container without an init.
fn is_gone(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    state.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PLENTY;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PLENTY:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn output_code_and_signal_are_reported() {
    let finished = run(&shell("echo out; echo err >&2; exit 7"), PLENTY).unwrap();
    assert_eq!((finished.code, finished.signal), (Some(7), None));
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    assert!(!finished.succeeded());
    assert_eq!(
        finished.describe(),
        "`sh -c 'echo out; echo err >&2; exit 7'` ended with exit code 7: err\nout"
    );
    let killed = run(&shell("kill -KILL $$"), PLENTY).unwrap();
    assert_eq!((killed.code, killed.signal), (None, Some(9)));
    assert!(killed.describe().contains("was ended by SIGKILL (it printed nothing)"), "{}", killed.describe());
}

#[test]
fn locale_is_c_and_system_programs_are_found() {
    let finished = run(&shell("echo $LC_ALL $PATH"), PLENTY).unwrap();
    assert!(finished.stdout.starts_with("C /usr/sbin:/usr/bin:/sbin:/bin"), "{}", finished.stdout);
}

#[test]
fn deadline_ends_the_child_and_what_it_started() {
    let start = Instant::now();
    let error = run(&shell("sleep 100 & echo $! $$; sleep 100"), SHORT).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    let CommandError::TimedOut { stdout, .. } = &error else { panic!("{error}") };
    let pids: Vec<&str> = stdout.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "the script printed both process ids before the deadline: {stdout}");
    for pid in pids {
        wait_until("the killed process is gone", || is_gone(pid));
    }
}

#[test]
fn deadline_ends_what_ignores_sigterm() {
    let error = run(&shell("trap '' TERM; echo $$; while :; do sleep 0.05; done"), SHORT).unwrap_err();
    let CommandError::TimedOut { stdout, .. } = error else { panic!("{error}") };
    wait_until("the stubborn process is gone", || is_gone(&stdout));
}

#[test]
fn the_deadline_asks_before_it_kills() {
    let script = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done";
    let error = run(&shell(script), SHORT).unwrap_err();
    assert!(error.to_string().ends_with("ready\nbye"), "{error}");
}

/// A process in a session of its own is out of reach of the group's signal; the test ends it itself.
struct EndsAtDrop(i32);

impl Drop for EndsAtDrop {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

#[test]
fn a_daemon_that_keeps_the_pipe_is_not_waited_for() {
    let start = Instant::now();
    let finished = run(&shell("setsid sleep 100 & echo $!"), PLENTY).unwrap();
    let _daemon = EndsAtDrop(finished.stdout.trim().parse().unwrap());
    assert!(finished.succeeded());
    assert!(start.elapsed() < PLENTY);
    let start = Instant::now();
    let error = run(&shell("setsid sleep 100 & echo $!; exec sleep 100"), SHORT);
    let Err(CommandError::TimedOut { stdout, .. }) = error else { panic!("{error:?}") };
    let _daemon = EndsAtDrop(stdout.trim().parse().unwrap());
    assert!(start.elapsed() < PLENTY);
}

#[test]
fn much_output_neither_blocks_nor_grows() {
    let finished = run(&shell("head -c 3000000 /dev/zero; echo the end"), PLENTY).unwrap();
    assert!(finished.succeeded());
    assert_eq!(finished.stdout.len(), OUTPUT_LIMIT);
    assert!(finished.stdout.ends_with("the end\n"));
    let error = run(&words(&["yes"]), SHORT).unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn errors_name_the_command_and_what_it_said() {
    let missing = run(&words(&["no such program", "a b"]), PLENTY).unwrap_err();
    assert!(matches!(missing, CommandError::NotFound { .. }));
    assert!(missing.to_string().starts_with("`'no such program' 'a b'` could not be started: no such"));
    assert!(matches!(run(&[], PLENTY), Err(CommandError::NotFound { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    let denied = run(&words(&[file.path().to_str().unwrap()]), PLENTY).unwrap_err();
    assert!(matches!(denied, CommandError::PermissionDenied { .. }), "{denied}");
    let late = run(&shell("echo half way; exec sleep 100"), SHORT).unwrap_err();
    assert!(late.to_string().ends_with("did not end within 1.0 s and was killed: half way"), "{late}");
}

#[test]
fn starts_are_counted() {
    let before = processes_started();
    run(&words(&["true"]), PLENTY).unwrap();
    assert!(processes_started() > before);
}

#[test]
fn a_detached_process_has_its_own_session_and_inherits_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    std::fs::write(&log, "before\n").unwrap();
    let leaked = File::open("/dev/null").unwrap();
    fcntl(&leaked, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let options = DetachedOptions {
        output: Some(log.clone()),
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
    };
    let script = "echo $GREETING $(ps -o sid= -p $$); ls -l /proc/$$/fd; echo end; exec sleep 100";
    let detached = start_detached(&shell(script), &options).unwrap();
    let _daemon = EndsAtDrop(detached.pid());
    let text = || std::fs::read_to_string(&log).unwrap();
    wait_until("the detached process has written", || text().contains("end\n"));
    assert!(text().starts_with("before\nhello"), "{}", text());
    let session = nix::unistd::getsid(Some(Pid::from_raw(detached.pid()))).unwrap();
    assert_eq!(session.as_raw(), detached.pid());
    let inherited: Vec<String> =
        text().lines().filter(|l| l.contains("/dev/null")).map(str::to_owned).collect();
    assert_eq!(inherited.len(), 1, "only standard input is /dev/null: {inherited:?}");
    assert_eq!(detached.exited(), None);
    drop(leaked);
}

#[test]
fn an_early_exit_of_a_detached_process_is_seen_and_reaped() {
    let detached = start_detached(&shell("exit 3"), &DetachedOptions::default()).unwrap();
    let entry = format!("/proc/{}", detached.pid());
    // Looking at exited() would reap it, too.
    wait_until("it is reaped", || !Path::new(&entry).exists());
    wait_until("its exit is seen", || detached.exited().is_some());
    assert_eq!(detached.exited().unwrap(), "exit status: 3");
    let options = DetachedOptions { output: Some("/no/such/log".into()), environment: Vec::new() };
    let failure = start_detached(&words(&["true"]), &options).unwrap_err();
    assert!(failure.to_string().contains("its output file /no/such/log: No such file"), "{failure}");
    let missing = start_detached(&words(&["no such program"]), &DetachedOptions::default());
    assert!(matches!(missing, Err(CommandError::NotFound { .. })));
}

#[test]
fn what_protects_its_caller_from_the_oom_killer_protects_no_server() {
    assert!(is_protected("-900\n") && is_protected("-1\n"));
    assert!(!is_protected("0\n") && !is_protected("200\n") && !is_protected(""));
}
