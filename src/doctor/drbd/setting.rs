//! One setting of DRBD as the kernel runs it and as the files say it, and the commands that change it.

use super::super::edit;
use super::super::survey::{DrbdSurvey, Source};
use crate::foreign::Place;
use crate::foreign::drbd_conf::{Section, Statement};

/// What DRBD takes where nothing is set, the same for 8.4 and 9 (drbd.conf(5) of both).
const DEFAULTS: [(&str, &str); 14] = [
    ("protocol", "C"),
    ("allow-two-primaries", "no"),
    ("after-sb-0pri", "disconnect"),
    ("after-sb-1pri", "disconnect"),
    ("after-sb-2pri", "disconnect"),
    ("rr-conflict", "disconnect"),
    ("on-io-error", "detach"),
    ("fencing", "dont-care"),
    ("ping-int", "10"),
    ("ping-timeout", "5"),
    ("timeout", "60"),
    ("connect-int", "10"),
    ("ko-count", "7"),
    ("quorum", "off"),
];

/// A setting by its section and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// What the files say, or the default; `None` when the files could not be read.
    pub(super) in_files: Option<String>,
    /// What the kernel runs; `None` when the resource is not up, or the kernel does not tell.
    pub(super) in_kernel: Option<String>,
}

impl Setting {
    /// `default` is what DRBD takes, for a setting whose default the generations do not share.
    pub(super) fn of(survey: &DrbdSurvey, section: &'static str, name: &'static str) -> Self {
        let default = DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let in_files = survey.configured.known().and_then(|resource| {
            let of_volumes = (section == "disk").then(|| {
                resource.hosts.iter().flat_map(|host| &host.volumes).find_map(|v| v.disk_settings.get(name))
            });
            let own = resource.section(section).and_then(|settings| settings.get(name));
            of_volumes.flatten().or(own).cloned().or(default)
        });
        let running = survey.running.known().and_then(Option::as_ref);
        let in_kernel = running.and_then(|running| running.section(section)?.get(name).cloned());
        Self { section, name, in_files, in_kernel }
    }

    /// The values that are known, the kernel's first.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.in_kernel.iter().chain(&self.in_files).map(String::as_str)
    }

    /// What counts now: the kernel's value, or else what the files say.
    pub(super) fn value(&self) -> Option<&str> {
        self.values().next()
    }

    /// `protocol A`, or where the two differ `protocol C (in the files: A)`.
    pub(super) fn shown(&self) -> String {
        let name = self.name;
        match (&self.in_kernel, &self.in_files) {
            (Some(kernel), Some(files)) if kernel != files => {
                format!("{name} {kernel} (in the files: {files})")
            }
            (Some(value), _) | (None, Some(value)) => format!("{name} {value}"),
            (None, None) => format!("{name} unknown"),
        }
    }

    /// The commands that set it in the files, when the value there is another, and make the kernel run it. Nothing when the
    /// place in the files can't be told.
    pub(super) fn remedy(&self, survey: &DrbdSurvey, resource: &str, value: &str) -> Vec<String> {
        let edits = if self.in_files.as_deref() == Some(value) {
            Vec::new()
        } else {
            let edits = set(&survey.sources, resource, self.section, self.name, value);
            if edits.is_empty() {
                return Vec::new();
            }
            edits
        };
        edits.into_iter().chain([format!("drbdadm adjust {resource}")]).collect()
    }
}

/// Commands that set `name` in that section of the resource, wherever it stands in it; in the resource, because that
/// beats `common`. Nothing when the resource was not found, or the setting spans lines.
pub(super) fn set(sources: &[Source], resource: &str, section: &str, name: &str, value: &str) -> Vec<String> {
    let Some((source, found)) = resource_in(sources, resource) else { return Vec::new() };
    let new = statement(name, value);
    let mut places = Vec::new();
    statements(found, section, name, &mut places);
    if !places.is_empty() {
        let edits: Option<Vec<String>> = places
            .iter()
            .filter(|old| old.value() != value)
            .map(|old| Some(edit::replace(&Place::new(&source.file, old.line), old.text.as_deref()?, &new)))
            .collect();
        return edits.unwrap_or_default();
    }
    let (at, text) = match found.of_kind(section).next() {
        Some(inner) => (inner, new),
        None => (found, format!("{section} {{ {new} }}")),
    };
    vec![put_in(source, at, &text)]
}

/// The section's opening is what the edit looks for: another edit may have put something before it.
fn put_in(source: &Source, section: &Section, text: &str) -> String {
    let header = &section.header;
    edit::replace(&Place::new(&source.file, section.line), header, &format!("{header} {text}"))
}

/// Commands that set several in one section.
pub(super) fn set_all(
    sources: &[Source],
    resource: &str,
    section: &str,
    values: &[(&str, String)],
) -> Vec<String> {
    let Some((source, found)) = resource_in(sources, resource) else { return Vec::new() };
    if found.of_kind(section).next().is_some() {
        return values
            .iter()
            .flat_map(|(name, value)| set(sources, resource, section, name, value))
            .collect();
    }
    let all: Vec<String> = values.iter().map(|(name, value)| statement(name, value)).collect();
    let text = format!("{section} {{ {} }}", all.join(" "));
    vec![put_in(source, found, &text)]
}

/// Commands that take `name` out of that section of the resource and of `common`.
pub(super) fn remove(sources: &[Source], resource: &str, section: &str, name: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for source in sources {
        for outer in source
            .text
            .sections
            .iter()
            .filter(|outer| is_resource(outer, resource) || outer.kind() == "common")
        {
            let mut places = Vec::new();
            statements(outer, section, name, &mut places);
            for old in places {
                if let Some(text) = &old.text {
                    commands.push(edit::replace(&Place::new(&source.file, old.line), text, ""));
                }
            }
        }
    }
    commands
}

fn resource_in<'a>(sources: &'a [Source], resource: &str) -> Option<(&'a Source, &'a Section)> {
    sources.iter().find_map(|source| {
        source
            .text
            .sections
            .iter()
            .find(|section| is_resource(section, resource))
            .map(|section| (source, section))
    })
}

fn is_resource(section: &Section, name: &str) -> bool {
    section.kind() == "resource" && section.words.get(1).is_some_and(|word| word == name)
}

/// In the section directly in the resource, and in those of its volumes, hosts and connections.
fn statements<'a>(outer: &'a Section, section: &str, name: &str, found: &mut Vec<&'a Statement>) {
    for inner in &outer.sections {
        if inner.kind() == section {
            found.extend(inner.statements.iter().filter(|statement| statement.name() == name));
        } else {
            statements(inner, section, name, found);
        }
    }
}

fn statement(name: &str, value: &str) -> String {
    let bare = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c));
    if bare { format!("{name} {value};") } else { format!("{name} \"{value}\";") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::edit::tests::after;
    use super::*;
    use crate::foreign::drbd_conf::parse;

    const FILE: &str = "\
common { startup { become-primary-on both; } net { protocol A; } }
resource other { net { protocol B; } }
resource r0 { net { timeout 60; protocol A; }
    volume 0 { disk { on-io-error pass_on; } }
    startup { become-primary-on node1; wfc-timeout 5; }
}
";

    fn applied(commands: &[String]) -> String {
        commands.iter().fold(FILE.to_owned(), |text, command| after(&text, command))
    }

    fn sources() -> Vec<Source> {
        vec![Source { file: "/file".into(), text: parse(FILE).unwrap() }]
    }

    fn line(commands: &[String], number: usize) -> String {
        let text = applied(commands);
        assert_eq!(text.lines().count(), FILE.lines().count());
        text.lines().nth(number - 1).unwrap().to_owned()
    }

    #[test]
    fn a_setting_is_changed_where_it_stands_in_this_resource() {
        let commands = set(&sources(), "r0", "net", "protocol", "C");
        assert_eq!(line(&commands, 3), "resource r0 { net { timeout 60; protocol C; }");
        assert!(
            applied(&commands).contains("protocol B;") && applied(&commands).contains("common { startup")
        );
        let commands = set(&sources(), "r0", "disk", "on-io-error", "detach");
        assert_eq!(line(&commands, 4), "    volume 0 { disk { on-io-error detach; } }");
    }

    #[test]
    fn an_absent_setting_goes_into_its_section_and_an_absent_section_into_the_resource() {
        let commands = set(&sources(), "r0", "net", "ping-int", "10");
        assert_eq!(line(&commands, 3), "resource r0 { net { ping-int 10; timeout 60; protocol A; }");
        let handlers =
            [("fence-peer", "/s fence-peer".to_owned()), ("unfence-peer", "/s unfence-peer".to_owned())];
        let commands = set_all(&sources(), "r0", "handlers", &handlers);
        assert_eq!(
            line(&commands, 3),
            "resource r0 { handlers { fence-peer \"/s fence-peer\"; unfence-peer \"/s unfence-peer\"; } net { timeout 60; \
             protocol A; }"
        );
        parse(&applied(&commands)).unwrap();
        assert_eq!(set(&sources(), "r9", "net", "ping-int", "10"), Vec::<String>::new());
    }

    #[test]
    fn what_is_removed_is_gone_from_common_too() {
        let text = applied(&remove(&sources(), "r0", "startup", "become-primary-on"));
        assert!(!text.contains("become-primary-on") && text.contains("wfc-timeout 5;"));
    }

    #[test]
    fn several_commands_of_one_look_do_not_disturb_each_other() {
        let mut commands = set(&sources(), "r0", "options", "auto-promote", "no");
        commands.extend(set(&sources(), "r0", "handlers", "fence-peer", "/x y"));
        commands.extend(set(&sources(), "r0", "net", "protocol", "C"));
        commands.extend(set(&sources(), "r0", "net", "ping-int", "5"));
        commands.extend(remove(&sources(), "r0", "startup", "become-primary-on"));
        let text = applied(&commands);
        let whole = parse(&text).unwrap();
        let resource = whole.sections.iter().find(|section| is_resource(section, "r0")).unwrap();
        for (section, name, value) in [
            ("options", "auto-promote", "no"),
            ("handlers", "fence-peer", "/x y"),
            ("net", "protocol", "C"),
            ("net", "ping-int", "5"),
        ] {
            let inner = resource.of_kind(section).next().unwrap();
            assert_eq!(inner.statement(name).unwrap().value(), value, "{text}");
        }
    }
}
