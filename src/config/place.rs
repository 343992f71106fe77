//! Where the keys and values of a YAML file stand. serde_yaml tells a place only for syntax errors; the events of
//! saphyr-parser tell it for every token, so that what is wrong with a value can be drawn under that value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, Span};

/// A token's place, in characters; line and column count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column of the first character, from 1.
    pub column: usize,
    /// Number of characters.
    pub length: usize,
}

/// The file's name and its lines. There is always at least one line.
pub(super) struct Source {
    file: PathBuf,
    lines: Vec<String>,
}

impl Source {
    pub(super) fn new(file: &Path, text: &str) -> Self {
        // YAML breaks lines at a lone carriage return too.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        if lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        Self { file: file.to_owned(), lines }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn line(&self, number: usize) -> &str {
        self.lines.get(number - 1).map_or("", String::as_str)
    }

    /// The same place, moved inside the file; a place just behind a line's end counts as inside.
    pub(super) fn clamp(&self, place: Place) -> Place {
        let line = place.line.clamp(1, self.lines.len());
        let width = self.line(line).chars().count();
        let column = if place.line > line { width + 1 } else { place.column.clamp(1, width + 1) };
        Place { line, column, length: place.length.clamp(1, (width + 1 - column).max(1)) }
    }

    /// Just behind the last line that has text: where something missing would be added.
    pub(super) fn end(&self) -> Place {
        let last = self.lines.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0);
        let width = self.lines[last].trim_end().chars().count();
        Place { line: last + 1, column: width + 1, length: 1 }
    }

    /// The place of a byte offset in `text`, which must be the text this was made of.
    pub(super) fn at_byte(text: &str, offset: usize) -> Place {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = text[..end].replace("\r\n", "\n").replace('\r', "\n");
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line, column: before[start..].chars().count() + 1, length: 1 }
    }
}

/// One step into a YAML tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// The way to a value, printed as `nodes.node1.address` or `witnesses[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct YamlPath(Vec<Segment>);

impl YamlPath {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn join(&self, tail: &[Segment]) -> Self {
        Self(self.0.iter().chain(tail).cloned().collect())
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for YamlPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if index == 0 => write!(out, "{key}")?,
                Segment::Key(key) => write!(out, ".{key}")?,
                Segment::Index(index) => write!(out, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A key that stands twice in one mapping.
pub(super) struct Duplicate {
    pub(super) path: YamlPath,
    pub(super) first: Place,
    pub(super) second: Place,
}

/// The places of all keys and values.
#[derive(Default)]
pub(super) struct Places {
    keys: BTreeMap<YamlPath, Place>,
    values: BTreeMap<YamlPath, Place>,
    /// Where `*name` stands → where `&name` stands.
    aliases: BTreeMap<YamlPath, YamlPath>,
    pub(super) duplicates: Vec<Duplicate>,
    /// Where a second document begins, if one does: a file holds one cluster.
    pub(super) second_document: Option<Place>,
}

impl Places {
    /// Reads as far as the text is well-formed.
    pub(super) fn of(text: &str) -> Self {
        let mut places = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: BTreeMap<usize, YamlPath> = BTreeMap::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            // serde_yaml refuses what is nested deeper, and every path repeats its depth.
            if open.len() > 128 {
                break;
            }
            match event {
                Event::DocumentStart(_) if !places.values.is_empty() => {
                    places.second_document = Some(Place { length: 3, ..place_of(span) });
                    break;
                }
                Event::Scalar(text, _, anchor, _) => {
                    if let Some(Open::Mapping { path, key: key @ None, .. }) = open.last_mut() {
                        let place = place_of(span);
                        let key_path = path.key(&text);
                        *key = Some(text.into_owned());
                        places.add_key(key_path, place);
                    } else if let Some(path) = next_value(&mut open) {
                        anchors.insert(anchor, path.clone());
                        places.add_value(path, span);
                    }
                }
                Event::Alias(anchor) => {
                    if let Some(path) = next_value(&mut open) {
                        if let Some(origin) = anchors.get(&anchor) {
                            places.aliases.insert(path.clone(), origin.clone());
                        }
                        places.add_value(path, span);
                    }
                }
                Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                    let path = next_value(&mut open).unwrap_or_default();
                    anchors.insert(anchor, path.clone());
                    // A block collection starts at its first entry: the key above it names it better.
                    let place =
                        places.keys.get(&path).copied().unwrap_or(Place { length: 1, ..place_of(span) });
                    places.values.entry(path.clone()).or_insert(place);
                    open.push(match event {
                        Event::SequenceStart(..) => Open::Sequence { path, next: 0 },
                        _ => Open::Mapping { path, key: None },
                    });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                }
                _ => {}
            }
        }
        places
    }

    fn add_key(&mut self, path: YamlPath, place: Place) {
        match self.keys.get(&path) {
            Some(&first) => self.duplicates.push(Duplicate { path, first, second: place }),
            None => {
                self.keys.insert(path, place);
            }
        }
    }

    fn add_value(&mut self, path: YamlPath, span: Span) {
        let place = if span.is_empty() { self.keys.get(&path).copied() } else { None };
        self.values.entry(path).or_insert(place.unwrap_or_else(|| place_of(span)));
    }

    /// The place of a key, or of the nearest thing around it that has one.
    pub(super) fn key(&self, path: &YamlPath) -> Option<Place> {
        self.find(path, &self.keys)
    }

    /// The place of a value, or of the nearest thing around it that has one.
    pub(super) fn value(&self, path: &YamlPath) -> Option<Place> {
        self.find(path, &self.values)
    }

    fn find(&self, path: &YamlPath, map: &BTreeMap<YamlPath, Place>) -> Option<Place> {
        let mut shorter = path.clone();
        loop {
            // Merge keys can multiply the ways to a value; no honest file comes near this many.
            let mut tries = 200;
            let written = self.written(&shorter, &mut tries).unwrap_or_else(|| shorter.clone());
            if let Some(place) = map.get(&written).or_else(|| self.values.get(&written)) {
                return Some(*place);
            }
            shorter.0.pop()?;
        }
    }

    /// Where a value is written, through aliases and merge keys.
    fn written(&self, path: &YamlPath, tries: &mut usize) -> Option<YamlPath> {
        *tries = tries.checked_sub(1)?;
        if self.values.contains_key(path) && !self.aliases.contains_key(path) {
            return Some(path.clone());
        }
        (0..=path.0.len()).rev().find_map(|length| {
            let (head, tail) = path.0.split_at(length);
            let head = YamlPath(head.to_vec());
            if let Some(origin) = self.aliases.get(&head) {
                return self.written(&origin.join(tail), tries);
            }
            let merge = head.key("<<");
            let inside_merge = [head.0.last(), tail.first()].contains(&merge.0.last());
            if tail.is_empty() || inside_merge || !self.values.contains_key(&merge) {
                return None;
            }
            self.written(&merge.join(tail), tries).or_else(|| {
                (0..)
                    .map(|index| merge.index(index))
                    .take_while(|element| self.values.contains_key(element))
                    .find_map(|element| self.written(&element.join(tail), tries))
            })
        })
    }
}

enum Open {
    Sequence { path: YamlPath, next: usize },
    Mapping { path: YamlPath, key: Option<String> },
}

/// The path of the value that starts now; `None` at the root.
fn next_value(open: &mut [Open]) -> Option<YamlPath> {
    match open.last_mut() {
        None => Some(YamlPath::default()),
        Some(Open::Sequence { path, next }) => {
            let path = path.index(*next);
            *next += 1;
            Some(path)
        }
        // A key that is not a scalar has no name; the reader reports it by its mapping.
        Some(Open::Mapping { path, key }) => match key.take() {
            Some(key) => Some(path.key(&key)),
            None => {
                *key = Some(String::new());
                Some(path.key(""))
            }
        },
    }
}

fn place_of(span: Span) -> Place {
    let (start, end) = (span.start, span.end);
    // A value of several lines is underlined to the end of its first; `Source::clamp` cuts it there.
    let length =
        if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { usize::MAX / 2 };
    Place { line: start.line(), column: start.col() + 1, length: length.max(1) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> YamlPath {
        text.split('.').fold(YamlPath::default(), |path, part| match part.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(part),
        })
    }

    /// The text at a place.
    fn token(text: &str, place: Option<Place>) -> String {
        let source = Source::new(Path::new("x"), text);
        let place = source.clamp(place.unwrap());
        source.line(place.line).chars().skip(place.column - 1).take(place.length).collect()
    }

    const TEXT: &str = "# Übung: ein Kommentar\nvip:   # Adresse für Clients\n  address: 10.0.0.1/24   # ü\n  \"interface\": 'eth0'\nnodes: {a: {address: 1.2.3.4}, b: }\nlist: [x, {y: z}]\nblock:\n  - one\n  - two words\n";

    #[test]
    fn values_are_found_by_their_path() {
        let places = Places::of(TEXT);
        for (at, expected) in [
            ("vip.address", "10.0.0.1/24"),
            ("vip.interface", "'eth0'"),
            ("nodes.a.address", "1.2.3.4"),
            ("nodes.b", "b"),
            ("list.0", "x"),
            ("list.1.y", "z"),
            ("block.1", "two words"),
            ("vip", "vip"),
            ("vip.no.such", "vip"),
        ] {
            assert_eq!(token(TEXT, places.value(&path(at))), expected, "{at}");
        }
    }

    #[test]
    fn keys_are_found_by_their_path() {
        let places = Places::of(TEXT);
        for (at, expected) in [
            ("vip.address", "address"),
            ("vip.interface", "\"interface\""),
            ("nodes", "nodes"),
            ("nodes.b", "b"),
        ] {
            assert_eq!(token(TEXT, places.key(&path(at))), expected, "{at}");
        }
    }

    #[test]
    fn aliases_and_merge_keys_lead_to_what_is_written() {
        let text = "base: &base {port: 3306, deep: {x: y}}\na: *base\nb:\n  <<: *base\n  port: 1\nc:\n  <<: [{z: 5}, *base]\n";
        let places = Places::of(text);
        for (at, expected) in [
            ("a.port", "3306"),
            ("b.port", "1"),
            ("a.deep.x", "y"),
            ("b.deep.x", "y"),
            ("b.deep", "deep"),
            ("c.z", "5"),
            ("c.port", "3306"),
        ] {
            assert_eq!(token(text, places.value(&path(at))), expected, "{at}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_found_twice() {
        let text = "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n";
        let found: Vec<(String, usize, usize)> = Places::of(text)
            .duplicates
            .iter()
            .map(|duplicate| (duplicate.path.to_string(), duplicate.first.line, duplicate.second.line))
            .collect();
        assert_eq!(found, [("b.c".to_owned(), 3, 4), ("a".to_owned(), 1, 5)]);
    }

    #[test]
    fn a_byte_offset_becomes_line_and_column_in_characters() {
        let place = Source::at_byte("ä: 1\r\nüü: x", "ä: 1\r\nüü".len());
        assert_eq!((place.line, place.column), (2, 3));
    }
}
