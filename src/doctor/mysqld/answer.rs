//! Who answers at the server's socket and port: the server itself, nobody, or something else.

use crate::config::Config;
use crate::doctor::Finding;
use crate::doctor::survey::MysqldSurvey;
use crate::observation::{Fact, Mysqld, MysqldAnswer, MysqldProcess, Observation};

pub(super) fn examine(survey: &MysqldSurvey, observation: &Observation, config: &Config) -> Vec<Finding> {
    [answers(observation, config), port_is_free(survey, observation, config)].into_iter().flatten().collect()
}

/// The server on the device's data; one on other data is another check's matter.
fn on_our_device(mysqld: &Mysqld) -> Option<&MysqldProcess> {
    mysqld.processes.iter().find(|process| process.on_our_device)
}

fn answers(observation: &Observation, config: &Config) -> Option<Finding> {
    let check = "mysqld-answers";
    let mysqld = observation.mysqld.known()?;
    let pid = on_our_device(mysqld)?.pid;
    let why = "clients that reach this node get no answer, and nothing takes over from a node that lives";
    Some(match &mysqld.answer {
        MysqldAnswer::Ready => Finding::pass(check, format!("ready (pid {pid})")),
        MysqldAnswer::Busy => {
            Finding::warn(check, format!("alive (pid {pid}), but takes no more connections"), why)
                .advice("see who holds the connections, and max_connections")
        }
        MysqldAnswer::Silent => {
            let socket = config.mysqld.socket.display();
            Finding::fail(check, format!("pid {pid}, NOTHING ANSWERS on its socket {socket}"), why).advice(
                "it may be in its crash recovery: follow its error log, and let it; otherwise see whether the socket is the \
                 one that it has",
            )
        }
        MysqldAnswer::Stalled(cause) => {
            Finding::fail(check, format!("pid {pid}, STALLED: {cause}"), why).advice(format!(
                "see what it waits for: its error log, the kernel log, drbd-held-io, and State in /proc/{pid}/status (T: \
                 somebody stopped it, and `kill -CONT {pid}` lets it go on)"
            ))
        }
    })
}

fn port_is_free(survey: &MysqldSurvey, observation: &Observation, config: &Config) -> Option<Finding> {
    let check = "mysqld-port-free";
    let port = config.mysqld.port;
    if survey.running.is_some() || observation.mysqld.known().and_then(on_our_device).is_some() {
        return None;
    }
    let listeners: Vec<String> = survey.port_listeners.iter().map(ToString::to_string).collect();
    if listeners.is_empty() {
        return Some(Finding::pass(check, format!("nobody listens on port {port}")));
    }
    if let Fact::Unknown(cause) = &observation.mysqld {
        return Some(Finding::unknown(check, &format!("whether it is the server itself: {cause}")));
    }
    Some(
        Finding::fail(
            check,
            format!("something listens on port {port} already ({})", listeners.join(", ")),
            "the server can't start on a port that is taken, and clients of the virtual IP would reach the other program",
        )
        .advice(format!("find out what it is (ss -ltnp 'sport = :{port}') and stop it, for good")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::survey::Survey;
    use crate::doctor::{Status, sample};

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        sample::status(&examine(&survey.mysqld, &survey.observation, &sample::config()), check)
    }

    #[test]
    fn a_taken_port_matters_on_the_standby_only() {
        let mut survey = sample::survey();
        survey.mysqld.port_listeners = vec!["0.0.0.0".parse().unwrap()];
        assert_eq!(status(&survey, "mysqld-port-free"), Some(Status::Fail));
        survey.observation.mysqld = Fact::Unknown("/proc can't be read".to_owned());
        assert_eq!(status(&survey, "mysqld-port-free"), Some(Status::Warn));
        sample::run(&mut survey.mysqld, &[]);
        assert_eq!(status(&survey, "mysqld-port-free"), None);
    }

    #[test]
    fn a_hung_server_fails_and_its_port_is_its_own() {
        let mut survey = sample::active();
        assert_eq!(status(&survey, "mysqld-answers"), Some(Status::Pass));
        survey.mysqld.port_listeners = vec!["0.0.0.0".parse().unwrap()];
        let answers = [
            (MysqldAnswer::Stalled("it accepts connections but sends no greeting".to_owned()), Status::Fail),
            (MysqldAnswer::Silent, Status::Fail),
            (MysqldAnswer::Busy, Status::Warn),
        ];
        for (answer, expected) in answers {
            if let Fact::Known(mysqld) = &mut survey.observation.mysqld {
                mysqld.answer = answer;
            }
            assert_eq!(status(&survey, "mysqld-answers"), Some(expected));
            assert_eq!(status(&survey, "mysqld-port-free"), None);
        }
        assert_eq!(status(&sample::survey(), "mysqld-answers"), None);
    }
}
