//! The server's settings.

use crate::config::Config;
use crate::doctor::survey::MysqldSurvey;

pub(super) fn look(_config: &Config) -> MysqldSurvey {
    MysqldSurvey::default()
}
