//! A thread that panics takes the agent with it: without the thread of its looks it would run on and see nothing, and whoever
//! started it starts it again.

use std::panic;
use std::process;

/// From now on a panic of any thread ends this process, after saying what it says anyway.
pub(super) fn end_this_process() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        say(what);
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::node::command;

    /// Without a core that somebody would have to clear away.
    const SCRIPT: &str = r#"ulimit -c 0; export STANDIN_TEST_PANICS=1; exec "$0" --exact "$1" --nocapture"#;
    const TO_PANIC: &str = "STANDIN_TEST_PANICS";

    /// In a process of its own.
    #[test]
    fn a_thread_that_panics_takes_the_process_with_it() {
        if std::env::var_os(TO_PANIC).is_some() {
            end_this_process();
            let _ = thread::spawn(|| panic!("as it was told")).join();
            return;
        }
        let program = std::env::current_exe().unwrap().display().to_string();
        let test = "frontends::agent::panics::tests::a_thread_that_panics_takes_the_process_with_it";
        let words = ["sh", "-c", SCRIPT, &program, test].map(str::to_owned);
        let ended = command::run(&words, Duration::from_secs(20)).unwrap();
        assert!(!ended.succeeded());
        let said = ended.describe();
        assert!(said.contains("as it was told"), "what panicked is said before: {said}");
    }
}
