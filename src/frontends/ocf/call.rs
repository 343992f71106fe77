//! What the agent is asked: the action and the environment that comes with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::{Asked, Form};

/// Before the name of each parameter.
const PARAMETER: &str = "OCF_RESKEY_";
/// Before the name of each of Pacemaker's own.
const META: &str = "CRM_meta_";
/// What the API's names say when nobody says otherwise.
const REASON_PREFIX: &str = "ocf-exit-reason:";

/// An action that the agent knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Monitor,
    Promote,
    Demote,
    Notify,
    ValidateAll,
    MetaData,
    Usage,
}

impl Action {
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "start" => Action::Start,
            "stop" => Action::Stop,
            "monitor" => Action::Monitor,
            "promote" => Action::Promote,
            "demote" => Action::Demote,
            "notify" => Action::Notify,
            "validate-all" => Action::ValidateAll,
            "meta-data" => Action::MetaData,
            "usage" | "help" | "-h" | "--help" => Action::Usage,
            _ => return None,
        })
    }
}

/// The environment of a call, taken apart. Source: the OCF resource agent API 1.1, and Pacemaker 2.1, which leaves the
/// interval out where it is 0 and says of a promotable clone only how many may be promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) form: Form,
    /// How deep a monitor looks: 0, 10 or 20.
    pub(super) level: u32,
    /// What the cluster manager gives; none when it does not say.
    pub(super) timeout: Option<Duration>,
    /// A monitor with interval 0.
    pub(super) probe: bool,
    /// The monitor of a promoted instance.
    pub(super) promoted: bool,
    /// The cluster manager knows the codes 190 and 191.
    pub(super) knows_degraded: bool,
    /// The resource's name, without the number of an instance.
    pub(super) instance: String,
    /// The resource's parameters that have a value.
    pub(super) parameters: BTreeMap<String, String>,
    /// Before an exit reason.
    pub(super) reason_prefix: String,
}

impl Call {
    pub(super) fn of_environment() -> Self {
        Self::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let meta = |name: &str| variables.get(&format!("{PARAMETER}{META}{name}")).map(String::as_str);
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let more_than_0 = |name| number(meta(name)).is_some_and(|number| number > 0);
        let promotable = meta("promotable") == Some("true")
            || more_than_0("promoted_max")
            // Before Pacemaker 2.1.
            || more_than_0("master_max");
        let api = |name: &str| number(variables.get(name).map(String::as_str)).unwrap_or(0);
        Self {
            form: if promotable { Form::Promotable } else { Form::Primitive },
            level: variables.get("OCF_CHECK_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(0),
            timeout: number(meta("timeout")).filter(|limit| *limit > 0).map(Duration::from_millis),
            probe: number(meta("interval")).unwrap_or(0) == 0,
            promoted: matches!(meta("role"), Some("Promoted" | "Master")),
            // The codes came with 1.1 of the API.
            knows_degraded: (api("OCF_RA_VERSION_MAJOR"), api("OCF_RA_VERSION_MINOR")) >= (1, 1),
            instance: variables
                .get("OCF_RESOURCE_INSTANCE")
                .map_or_else(String::new, |name| name.split(':').next().unwrap_or_default().to_owned()),
            parameters: variables
                .iter()
                .filter_map(|(name, value)| Some((name.strip_prefix(PARAMETER)?, value.trim())))
                .filter(|(name, value)| !name.starts_with(META) && !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            reason_prefix: variables
                .get("OCF_EXIT_REASON_PREFIX")
                .filter(|prefix| !prefix.is_empty())
                .map_or(REASON_PREFIX, String::as_str)
                .to_owned(),
        }
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            form: self.form,
            probe: self.probe,
            promoted: self.promoted,
            knows_degraded: self.knows_degraded,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call(text: &str) -> Call {
        Call::new(
            text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())),
        )
    }

    /// As Pacemaker 2.1.5 calls the recurring monitor of a promotable clone's promoted instance.
    const PROMOTED: &str = "\
OCF_EXIT_REASON_PREFIX=ocf-exit-reason:
OCF_RA_VERSION_MAJOR=1
OCF_RA_VERSION_MINOR=1
OCF_RESKEY_CRM_meta_clone=1
OCF_RESKEY_CRM_meta_clone_max=2
OCF_RESKEY_CRM_meta_interval=10000
OCF_RESKEY_CRM_meta_master_max=1
OCF_RESKEY_CRM_meta_name=monitor
OCF_RESKEY_CRM_meta_promoted_max=1
OCF_RESKEY_CRM_meta_role=Promoted
OCF_RESKEY_CRM_meta_timeout=15000
OCF_RESKEY_config=r0
OCF_RESKEY_crm_feature_set=3.16.1
OCF_RESOURCE_INSTANCE=db
";

    #[test]
    fn pacemakers_environment_is_understood() {
        let promoted = call(PROMOTED);
        assert_eq!(promoted.form, Form::Promotable);
        assert_eq!(promoted.timeout, Some(Duration::from_secs(15)));
        assert!(promoted.promoted && !promoted.probe && promoted.knows_degraded);
        assert_eq!(promoted.instance, "db");
        assert_eq!(promoted.parameters.get("config").map(String::as_str), Some("r0"));
        assert!(!promoted.parameters.contains_key("CRM_meta_timeout"));
    }

    #[test]
    fn a_call_without_an_environment_is_a_probe_of_a_primitive() {
        let bare = call("");
        assert_eq!((bare.form, bare.level, bare.timeout), (Form::Primitive, 0, None));
        assert!(bare.probe && !bare.knows_degraded && bare.parameters.is_empty());
        assert_eq!(bare.reason_prefix, "ocf-exit-reason:");
    }

    #[test]
    fn each_way_to_say_promotable_is_heard_and_a_plain_clone_is_none() {
        let form = |line: &str| call(&format!("OCF_RESKEY_CRM_meta_clone=0\n{line}")).form;
        for line in ["promotable=true", "promoted_max=1", "master_max=1"] {
            assert_eq!(form(&format!("OCF_RESKEY_CRM_meta_{line}")), Form::Promotable, "{line}");
        }
        for line in ["promotable=false", "promoted_max=0", "clone_max=2"] {
            assert_eq!(form(&format!("OCF_RESKEY_CRM_meta_{line}")), Form::Primitive, "{line}");
        }
    }

    #[test]
    fn the_old_api_knows_no_degraded_codes() {
        for (minor, knows) in [("0", false), ("1", true), ("2", true)] {
            let text = PROMOTED.replace("MINOR=1", &format!("MINOR={minor}"));
            assert_eq!(call(&text).knows_degraded, knows, "1.{minor}");
        }
    }

    #[test]
    fn the_number_of_an_instance_and_empty_parameters_are_left_out() {
        let call = call(
            "OCF_RESOURCE_INSTANCE=db:1\nOCF_RESKEY_vip=\nOCF_RESKEY_unit= mariadb \nOCF_CHECK_LEVEL=20",
        );
        assert_eq!(call.instance, "db");
        assert_eq!(
            call.parameters.into_iter().collect::<Vec<_>>(),
            [("unit".to_owned(), "mariadb".to_owned())]
        );
        assert_eq!(call.level, 20);
    }
}
