//! The text format itself.
//!
//! Source: Prometheus' "Exposition formats", text-based format.

use std::fmt::Write;

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Sum and count of what was measured.
    Summary,
}

/// A text in the making.
pub(super) struct Text {
    /// Labels of every sample.
    common: String,
    text: String,
}

/// One metric; its head is written with its first sample, so that one without samples is left out.
pub(super) struct Family<'a> {
    text: &'a mut Text,
    name: &'a str,
    head: Option<(Kind, &'a str)>,
}

impl Text {
    pub(super) fn new(common: &[(&str, &str)]) -> Self {
        Self { common: labels(common), text: String::with_capacity(8 * 1024) }
    }

    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &'a str) -> Family<'a> {
        Family { text: self, name, head: Some((kind, help)) }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    pub(super) fn sample(&mut self, own: &[(&str, &str)], value: f64) {
        self.line("", &labels(own), value);
    }

    /// A sample of a summary, whose name is the family's with this at its end.
    pub(super) fn part(&mut self, suffix: &str, value: f64) {
        self.line(suffix, "", value);
    }

    fn line(&mut self, suffix: &str, own: &str, value: f64) {
        // Nothing that is measured here is infinite or no number.
        if !value.is_finite() {
            return;
        }
        let name = self.name;
        let out = &mut self.text.text;
        // Writing to a string does not fail.
        if let Some((kind, help)) = self.head.take() {
            let kind = match kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
                Kind::Summary => "summary",
            };
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        let separator = if own.is_empty() || self.text.common.is_empty() { "" } else { "," };
        let _ = writeln!(out, "{name}{suffix}{{{}{separator}{own}}} {value}", self.text.common);
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The other way round, by the description of the format.
    fn value_of(text: &str) -> Option<String> {
        let mut value = String::new();
        let mut characters = text.strip_prefix("name=\"")?.chars();
        loop {
            match characters.next()? {
                '"' => return characters.as_str().is_empty().then_some(value),
                '\n' => return None,
                '\\' => value.push(match characters.next()? {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    _ => return None,
                }),
                other => value.push(other),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_label_holds_comes_back(value in any::<String>()) {
            prop_assert_eq!(value_of(&labels(&[("name", &value)])), Some(value));
        }

        #[test]
        fn and_what_has_to_be_escaped_most_of_all(value in r#"[\\"\nn{},=a]{0,12}"#) {
            prop_assert_eq!(value_of(&labels(&[("name", &value)])), Some(value));
        }
    }

    #[test]
    fn a_family_has_its_head_once_and_only_with_a_sample() {
        let mut text = Text::new(&[("cluster", "a")]);
        text.family("empty", Kind::Gauge, "Nothing.");
        text.family("odd", Kind::Gauge, "No number.").sample(&[], f64::NAN);
        let mut family = text.family("runs_total", Kind::Counter, "Runs.");
        family.sample(&[("outcome", "done")], 2.0);
        family.sample(&[("outcome", "failed")], 0.5);
        assert_eq!(
            text.finish(),
            "# HELP runs_total Runs.\n# TYPE runs_total counter\nruns_total{cluster=\"a\",outcome=\"done\"} 2\n\
             runs_total{cluster=\"a\",outcome=\"failed\"} 0.5\n"
        );
    }
}
