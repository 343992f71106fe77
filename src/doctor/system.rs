//! Checks of: clock, security modules, credentials.

use super::Finding;
use super::survey::Survey;
use crate::config::Config;

pub(super) fn examine(_survey: &Survey, _config: &Config) -> Vec<Finding> {
    Vec::new()
}
