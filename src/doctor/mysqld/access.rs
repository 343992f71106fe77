//! How clients and standin reach the server: port, address, socket, `read_only`.

use std::net::IpAddr;

use super::settings::{Applies, Change, Rule, Setting, judge};
use crate::config::Config;
use crate::doctor::survey::MysqldSurvey;
use crate::doctor::{Finding, Status};
use crate::foreign::option_file::boolean;

pub(super) fn examine(survey: &MysqldSurvey, config: &Config) -> Vec<Finding> {
    [
        bind_address(survey, config),
        networking(survey, config),
        port(survey, config),
        socket(survey, config),
        read_only(survey, config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn bind_address(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let vip = IpAddr::V4(config.vip.address.addr());
    let rule = Rule {
        check: "mysqld-bind-address",
        name: "bind_address",
        wanted: "0.0.0.0",
        applies: Applies::AtStart,
        why: "clients come through the virtual IP. The server must listen on every address: it starts before the virtual IP \
              is there, and can't bind to it then",
    };
    judge(survey, config, &rule, |value| {
        let mut addresses = value.split(',').map(str::trim);
        let reaches = addresses.any(|address| {
            let wildcard = matches!(address, "" | "*" | "0.0.0.0" | "::");
            wildcard || survey.nonlocal_bind && address.parse() == Ok(vip)
        });
        if reaches { Status::Pass } else { Status::Fail }
    })
}

fn networking(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let rule = Rule {
        check: "mysqld-networking",
        name: "skip_networking",
        wanted: "OFF",
        applies: Applies::AtStart,
        why: "the server does not listen on any address, so that nobody reaches it through the virtual IP",
    };
    let is_off = |value: &str| boolean(value) == Some(false);
    judge(survey, config, &rule, |value| if is_off(value) { Status::Pass } else { Status::Fail })
}

fn port(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let wanted = config.mysqld.port.to_string();
    let rule = Rule {
        check: "mysqld-port",
        name: "port",
        wanted: &wanted,
        applies: Applies::AtStart,
        why: "standin and the clients ask for the server at the configured port; the takeover's verification would fail \
              and undo it",
    };
    // 0 means the default.
    let of = |value: &str| if value == "0" { "3306".to_owned() } else { value.to_owned() };
    judge(survey, config, &rule, |value| if of(value) == wanted { Status::Pass } else { Status::Fail })
}

fn socket(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let wanted = config.mysqld.socket.to_string_lossy();
    let datadir = &config.mysqld.datadir;
    let rule = Rule {
        check: "mysqld-socket",
        name: "socket",
        wanted: &wanted,
        applies: Applies::AtStart,
        why: "standin learns there that the server is ready: at another socket the takeover waits until its limit and fails",
    };
    let same = |value: &str| {
        // The directory may be reached by more than one name: /var/run is /run.
        let of = |path: &str| path.replacen("/var/run/", "/run/", 1);
        of(&datadir.join(value).to_string_lossy()) == of(&wanted)
    };
    let finding = judge(survey, config, &rule, |value| if same(value) { Status::Pass } else { Status::Fail });
    // The compiled default differs between distributions.
    finding.or_else(|| {
        let finding = Finding::warn(
            rule.check,
            "no option file sets the socket; the compiled default is not known",
            rule.why,
        );
        let mut change = Change::default();
        change.write(survey, rule.name, rule.wanted);
        Some(change.remedy(finding))
    })
}

fn read_only(survey: &MysqldSurvey, config: &Config) -> Option<Finding> {
    let wanted = config.mysqld.read_only;
    let rule = Rule {
        check: "mysqld-read-only",
        name: "read_only",
        wanted: if wanted { "ON" } else { "OFF" },
        applies: Applies::Now,
        why: "the last step of a takeover compares read_only with mysqld.read_only in standin's configuration, and undoes \
              the takeover when they differ",
    };
    let grade = |value: &str| {
        let on = boolean(value).or_else(|| value.to_ascii_uppercase().starts_with("NO_LOCK").then_some(true));
        if on == Some(wanted) { Status::Pass } else { Status::Fail }
    };
    let finding = judge(survey, config, &rule, grade)?;
    let super_read_only = Setting::of(survey, "super_read_only");
    let is_on = |value: Option<&str>| value.is_some_and(|value| boolean(value) == Some(true));
    let next = super_read_only.next.as_ref().map(|(value, _)| value.as_str());
    // It switches read_only on with it.
    if finding.status != Status::Pass || wanted || !is_on(next) && !is_on(super_read_only.now.as_deref()) {
        return Some(finding);
    }
    let rule = Rule { name: "super_read_only", ..rule };
    judge(survey, config, &rule, grade)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    fn status(survey: &MysqldSurvey, check: &str) -> Option<Status> {
        sample::status(&examine(survey, &sample::config()), check)
    }

    #[test]
    fn a_healthy_server_passes() {
        let findings = examine(&sample::survey().mysqld, &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert_eq!(findings.len(), 5);
    }

    #[test]
    fn each_setting_is_judged_both_ways() {
        let cases = [
            ("mysqld-bind-address", "bind_address", "::", "127.0.0.1"),
            ("mysqld-bind-address", "bind_address", "127.0.0.1,0.0.0.0", "10.77.0.100"),
            ("mysqld-networking", "skip_networking", "0", "1"),
            ("mysqld-port", "port", "0", "3307"),
            ("mysqld-socket", "socket", "/var/run/mysqld/mysqld.sock", "/tmp/mysql.sock"),
            ("mysqld-read-only", "read_only", "OFF", "1"),
            ("mysqld-read-only", "super_read_only", "OFF", "ON"),
        ];
        for (check, name, good, bad) in cases {
            let mut survey = sample::survey().mysqld;
            sample::set(&mut survey, name, good);
            assert_eq!(status(&survey, check), Some(Status::Pass), "{name} = {good}");
            sample::set(&mut survey, name, bad);
            assert_eq!(status(&survey, check), Some(Status::Fail), "{name} = {bad}");
        }
    }

    #[test]
    fn the_virtual_ip_itself_can_be_bound_where_the_kernel_allows_it() {
        let mut survey = sample::survey().mysqld;
        sample::set(&mut survey, "bind_address", "10.77.0.100");
        survey.nonlocal_bind = true;
        assert_eq!(status(&survey, "mysqld-bind-address"), Some(Status::Pass));
    }

    #[test]
    fn a_socket_that_nobody_sets_is_a_warning() {
        let mut survey = sample::survey().mysqld;
        survey.options = crate::foreign::option_file::Options::default();
        assert_eq!(status(&survey, "mysqld-socket"), Some(Status::Warn));
    }
}
