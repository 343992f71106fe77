//! Option names: `-` and `_`, and the prefixes that change what a line means (`mysys/my_getopt.c`).

use super::Setting;

/// With `_` for `-`, which mean the same. Case matters.
pub(super) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The value that a setting gives to an option, when it is one of that option. The option's name is in normal form.
#[allow(clippy::option_option, reason = "the outer is whether it is set, the inner whether it has a value")]
pub(super) fn value_for(setting: &Setting, option: &str) -> Option<Option<String>> {
    let name = normal(&setting.name);
    let name = name.strip_prefix("loose_").unwrap_or(&name);
    // Before the prefixes: skip_name_resolve is an option of its own.
    if name == option {
        return Some(setting.value.clone());
    }
    if name.strip_prefix("skip_").or_else(|| name.strip_prefix("disable_")) == Some(option) {
        return Some(Some("0".to_owned()));
    }
    (name.strip_prefix("enable_") == Some(option)).then(|| Some("1".to_owned()))
}
