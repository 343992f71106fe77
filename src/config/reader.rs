//! Walks a YAML value and collects everything that is wrong instead of stopping at the first error.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::error::ConfigError;
use super::place::{Places, Source, YamlPath};

/// The value of one file, the places of its tokens and what was found wrong so far.
pub(super) struct Reader<'a> {
    source: &'a Source,
    places: &'a Places,
    errors: RefCell<Vec<ConfigError>>,
}

/// What is wrong with a value: `message` completes the sentence that its key begins.
pub(super) struct Fault {
    message: String,
    help: String,
}

/// A fault as the error of a conversion.
pub(super) fn fault<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { message: message.into(), help: help.into() })
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, places: &'a Places) -> Self {
        Self { source, places, errors: RefCell::default() }
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }

    /// An error under the value at this path.
    pub(super) fn error(&self, path: &YamlPath, message: impl Into<String>, help: impl Into<String>) {
        let place = self.places.value(path).unwrap_or_else(|| self.source.end());
        self.errors.borrow_mut().push(ConfigError::at(self.source, place, message, help));
    }

    fn error_at_key(&self, path: &YamlPath, message: String, help: String) {
        let place = self.places.key(path).unwrap_or_else(|| self.source.end());
        self.errors.borrow_mut().push(ConfigError::at(self.source, place, message, help));
    }

    /// Something is missing in the mapping at this path.
    fn missing(&self, mapping: &YamlPath, message: String, help: String) {
        let place = if mapping.is_root() { None } else { self.places.key(mapping) };
        let place = place.unwrap_or_else(|| self.source.end());
        self.errors.borrow_mut().push(ConfigError::at(self.source, place, message, help));
    }

    /// The whole file as a mapping.
    pub(super) fn root(&'a self, value: &'a Value) -> Option<Section<'a>> {
        Node { reader: self, path: YamlPath::default(), value }.section()
    }
}

/// One value and the way to it.
#[derive(Clone)]
pub(super) struct Node<'a> {
    reader: &'a Reader<'a>,
    pub(super) path: YamlPath,
    pub(super) value: &'a Value,
}

impl<'a> Node<'a> {
    /// Reports the value with a sentence that begins with its path.
    pub(super) fn error(&self, message: impl std::fmt::Display, help: impl Into<String>) {
        let subject =
            if self.path.is_root() { "the configuration".to_owned() } else { format!("`{}`", self.path) };
        self.reader.error(&self.path, format!("{subject} {message}"), help);
    }

    fn wrong_type(&self, expected: &str, help: impl Into<String>) {
        self.error(format_args!("must be {expected}, not {}", kind(self.value)), help);
    }

    pub(super) fn section(&self) -> Option<Section<'a>> {
        match self.value {
            Value::Mapping(mapping) => Some(Section {
                reader: self.reader,
                path: self.path.clone(),
                mapping,
                known: RefCell::default(),
            }),
            _ => {
                self.wrong_type("a mapping", "write its keys below it, one per line, indented: `key: value`");
                None
            }
        }
    }

    /// Text that means something: `expected` names it, as in "an IPv4 address".
    pub(super) fn text_as<T>(
        &self,
        expected: &str,
        convert: impl FnOnce(&'a str) -> Result<T, Fault>,
    ) -> Option<T> {
        let Value::String(text) = self.value else {
            let help = match self.value {
                Value::Number(_) | Value::Bool(_) if expected == "text" => {
                    "if it is meant as text, put it between quotes".to_owned()
                }
                _ => format!("write {expected} here"),
            };
            self.wrong_type(expected, help);
            return None;
        };
        match convert(text) {
            Ok(value) => Some(value),
            Err(Fault { message, help }) => {
                self.error(message, help);
                None
            }
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.wrong_type("true or false", "write `true` or `false`; `yes`, `on` and `1` are not booleans");
        }
        flag
    }

    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match self.value.as_u64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.wrong_type(
                    &expected,
                    match self.value {
                        Value::Number(_) => "choose a whole number in that range",
                        _ => "write the number alone, without quotes and without a unit",
                    },
                );
                None
            }
        }
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let unit = |number: &dyn std::fmt::Display| format!("add the unit: `{number}s` or `{number}ms`");
        if let Value::Number(number) = self.value {
            self.error(format_args!("has no unit: {number}"), unit(number));
            return None;
        }
        self.text_as("a duration such as `30s`, `500ms` or `2m`", |text| {
            if let Ok(number) = text.trim().parse::<u64>() {
                return fault(format!("has no unit: {number}"), unit(&number));
            }
            let Ok(duration) = humantime::parse_duration(text) else {
                return fault(
                    format!("is not a duration: `{text}`"),
                    "write a number and a unit: `500ms`, `30s`, `2m`, `1m 30s`",
                );
            };
            if !range.contains(&duration) {
                let (low, high) = (range.start(), range.end());
                let [low, high] = [low, high].map(|&limit| humantime::format_duration(limit));
                return fault(
                    format!("is out of range: {text}"),
                    format!("choose a value from {low} to {high}"),
                );
            }
            Ok(duration)
        })
    }

    /// The elements of a list.
    pub(super) fn items(&self, example: &str) -> Option<Vec<Node<'a>>> {
        let Value::Sequence(items) = self.value else {
            self.wrong_type("a list", format!("put it between brackets: `{example}`"));
            return None;
        };
        let node = |(index, value)| Node { reader: self.reader, path: self.path.index(index), value };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// A list of words, none of them empty.
    pub(super) fn words(&self, example: &str) -> Option<Vec<String>> {
        let items = self.items(example)?;
        let words: Vec<String> = items
            .iter()
            .filter_map(|item| {
                item.text_as("text", |word| {
                    if word.trim().is_empty() {
                        return fault("is empty", "remove it or fill it in");
                    }
                    if word.contains('\0') {
                        return fault("contains a NUL character", "remove it");
                    }
                    Ok(word.to_owned())
                })
            })
            .collect();
        (words.len() == items.len()).then_some(words)
    }
}

/// What a value is, for "must be X, not …".
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "empty text".to_owned(),
        Value::String(text) if text.chars().count() > 40 => "text".to_owned(),
        Value::String(text) => format!("the text `{}`", text.escape_debug()),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Tagged(tagged) => format!("a value tagged {}", tagged.tag),
    }
}

/// A mapping whose keys are asked for by name; [`Section::finish`] reports those nobody asked for.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    pub(super) path: YamlPath,
    mapping: &'a Mapping,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn error(&self, path: &YamlPath, message: impl Into<String>, help: impl Into<String>) {
        self.reader.error(path, message, help);
    }

    /// A key that may be absent, or present without a value.
    pub(super) fn optional(&self, key: &'static str) -> Option<Node<'a>> {
        self.known.borrow_mut().insert(key);
        let value = self.mapping.get(key)?;
        (!value.is_null()).then(|| Node { reader: self.reader, path: self.path.key(key), value })
    }

    /// A key without which there is no configuration; `example` is one line that shows it.
    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<Node<'a>> {
        let node = self.optional(key);
        if node.is_none() {
            let path = self.path.key(key);
            if self.mapping.contains_key(key) {
                let message = format!("`{path}` has no value");
                self.reader.error_at_key(&path, message, format!("for example: `{example}`"));
            } else {
                let below =
                    if self.path.is_root() { String::new() } else { format!(" below `{}`", self.path) };
                let message = format!("`{path}` is missing");
                self.reader.missing(&self.path, message, format!("add{below}: `{example}`"));
            }
        }
        node
    }

    /// Every key with its value, for a mapping whose keys are names. A key that is not text is reported.
    pub(super) fn named(&self) -> Vec<(&'a str, Node<'a>)> {
        let mut named = Vec::new();
        for (key, value) in self.mapping {
            match key.as_str() {
                Some(name) => {
                    named.push((name, Node { reader: self.reader, path: self.path.key(name), value }));
                }
                None => self.odd_key(key),
            }
        }
        named
    }

    fn odd_key(&self, key: &Value) {
        let path = match key {
            Value::Bool(flag) => self.path.key(&flag.to_string()),
            Value::Number(number) => self.path.key(&number.to_string()),
            Value::Null => self.path.key("null"),
            _ => self.path.clone(),
        };
        let message = format!("a key must be text, not {}", kind(key));
        self.reader.error_at_key(&path, message, "put the key between quotes".to_owned());
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (name, node) in self.named() {
            if known.contains(name) || name == "<<" {
                continue;
            }
            let place = if self.path.is_root() {
                "at the top level".to_owned()
            } else {
                format!("in `{}`", self.path)
            };
            let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
            self.reader.error_at_key(
                &node.path,
                format!("unknown key `{shown}` {place}"),
                suggestion(name, &known),
            );
        }
    }
}

/// "did you mean", or the list of what there is.
fn suggestion(name: &str, known: &BTreeSet<&'static str>) -> String {
    let lower = name.to_lowercase();
    if lower.contains("passw") || lower == "user" {
        return "user and password belong in an option file of mode 0600 that `mysqld.credentials` names"
            .to_owned();
    }
    // A line of a megabyte would take the comparison a while.
    let close = (name.len() < 100).then(|| {
        let spelled = lower.replace('-', "_");
        let distance = |known: &&&str| strsim::damerau_levenshtein(&spelled, known);
        known.iter().min_by_key(distance).filter(|known| distance(known) <= 1 + spelled.len() / 4)
    });
    match close.flatten() {
        Some(close) => format!("did you mean `{close}`?"),
        None => {
            let known: Vec<&str> = known.iter().copied().collect();
            match known.as_slice() {
                [only] => format!("remove it; the only key here is {only}"),
                _ => format!("remove it; the keys here are {}", known.join(", ")),
            }
        }
    }
}
