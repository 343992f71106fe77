//! MySQL and MariaDB option files (`my.cnf`), read as the server reads them.
//!
//! Sources: "Using Option Files" in the MySQL manual, "Configuring MariaDB with Option Files" in MariaDB's, and what
//! `my_print_defaults` prints (MariaDB 10.11). What is deliberately not known here is which options a server has, so an
//! option that is abbreviated to a unique prefix is found only by its abbreviation.

pub(crate) mod line;
mod name;
mod startup;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::startup::{Server, Startup};
pub use self::value::{boolean, size};
use super::Place;
use line::Line;
use name::normal;

/// How deep files may include each other: `max_recursion_level` of `mysys/my_default.c`. The server skips, with a
/// warning, what is deeper.
pub const DEPTH_LIMIT: usize = 10;

/// How many files are read for one server. Far more than anybody has; an include loop comes to it early, because each
/// round reads every file of it again.
pub const FILES_LIMIT: usize = 1000;

/// How many settings are kept for one server.
pub const SETTINGS_LIMIT: usize = 100_000;

/// What the parser needs of a file system.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why there is none.
    fn read(&self, file: &Path) -> Result<String, Unread>;

    /// The names of the files in a directory, in any order.
    ///
    /// # Errors
    /// The directory can't be listed: the cause.
    fn names(&self, directory: &Path) -> Result<Vec<String>, String>;
}

/// Why a file gave no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// There is none: no mistake for a file of the default list.
    Absent,
    /// Everybody may write it: the server ignores it with a warning.
    WorldWritable,
    /// Anything else: the cause.
    Failed(String),
}

/// One line that sets an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The group that it stands in, without brackets; empty for an argument on a command line.
    pub group: String,
    /// The option as it is written, without a leading `--`.
    pub name: String,
    /// Its value with quotes and escapes resolved; `None` for a lone name.
    pub value: Option<String>,
    /// Where; `None` for an argument on a command line.
    pub place: Option<Place>,
}

/// Something wrong in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, or only the file when it is the whole file.
    pub file: PathBuf,
    /// The line, when it is one.
    pub line: Option<usize>,
    /// What.
    pub what: String,
    /// Whether the server refuses to start over it.
    pub fatal: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.file.display(), self.what),
            None => write!(out, "{}: {}", self.file.display(), self.what),
        }
    }
}

/// What one option is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its value: `0` for `skip-NAME` and `disable-NAME`, `1` for `enable-NAME`, `None` for a lone name.
    pub value: Option<String>,
    /// Where; `None` on the command line.
    pub place: Option<Place>,
    /// The group of the file; empty on the command line.
    pub group: String,
}

impl Found {
    /// The value as the server takes a boolean: `ON`, `TRUE`, `1` and a lone name; `OFF`, `FALSE`, `0`.
    pub fn boolean(&self) -> Option<bool> {
        self.value.as_deref().map_or(Some(true), boolean)
    }

    /// The value as a number of bytes, with K, M, G, T, P and E as powers of 1024.
    pub fn size(&self) -> Option<u64> {
        size(self.value.as_deref()?)
    }

    /// The value, the empty text for none.
    pub fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// Where it was found, for people: `FILE:LINE`, or "the command line".
    pub fn shown_place(&self) -> String {
        self.place.as_ref().map_or_else(|| "the command line".to_owned(), Place::to_string)
    }
}

/// All settings of some option files, in the order in which the server takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Every setting of every group, in order; arguments of the command line last.
    pub settings: Vec<Setting>,
    /// Every file that was read, in order.
    pub files: Vec<PathBuf>,
    /// Where each group begins, in order.
    pub groups: Vec<(String, Place)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Options {
    /// Reads these files and what they include. A relative `!include` is resolved against `/`, where systemd starts a
    /// service.
    pub fn load(files: &[PathBuf], reader: &dyn Files) -> Self {
        let mut options = Self::default();
        for file in files {
            options.file(file, None, 0, reader);
        }
        options
    }

    /// Reads what `startup` names and adds the arguments of its command line, which win.
    pub fn of(startup: &Startup, reader: &dyn Files) -> Self {
        let mut options = Self::load(&startup.files, reader);
        options.settings.extend(startup.settings.iter().cloned());
        options
    }

    /// The last setting of an option in these groups or on the command line; the order of the groups does not matter,
    /// only that of the lines. `-` and `_` are the same, and `loose-`, `skip-`, `disable-` and `enable-` before a name
    /// are understood.
    pub fn get(&self, groups: &[String], option: &str) -> Option<Found> {
        let option = normal(option);
        self.of_groups(groups).rev().find_map(|setting| found(setting, &option))
    }

    /// Every setting of an option in these groups, the one that wins last.
    pub fn all(&self, groups: &[String], option: &str) -> Vec<Found> {
        let option = normal(option);
        self.of_groups(groups).filter_map(|setting| found(setting, &option)).collect()
    }

    /// Where the first of these groups begins, the last one in the files: where a new line would win.
    pub fn last_group(&self, groups: &[String]) -> Option<&(String, Place)> {
        self.groups.iter().rev().find(|(group, _)| is_one_of(group, groups))
    }

    fn of_groups<'a>(&'a self, groups: &'a [String]) -> impl DoubleEndedIterator<Item = &'a Setting> {
        self.settings.iter().filter(|setting| setting.place.is_none() || is_one_of(&setting.group, groups))
    }

    fn problem(&mut self, file: &Path, line: Option<usize>, what: impl Into<String>, fatal: bool) {
        if self.problems.len() < FILES_LIMIT {
            self.problems.push(Problem { file: file.to_owned(), line, what: what.into(), fatal });
        }
    }

    /// `from` is the line that includes the file.
    fn file(&mut self, file: &Path, from: Option<(&Path, usize)>, depth: usize, reader: &dyn Files) {
        let text = match reader.read(file) {
            Ok(text) => text,
            Err(Unread::Absent) => {
                if let Some((including, line)) = from {
                    let what = format!("includes {}, which does not exist", file.display());
                    self.problem(including, Some(line), what, false);
                }
                return;
            }
            Err(Unread::WorldWritable) => {
                let what = "everybody may write it, so the server ignores it";
                return self.problem(file, None, what, false);
            }
            Err(Unread::Failed(cause)) => return self.problem(file, None, cause, false),
        };
        self.files.push(file.to_owned());
        self.text(file, &text, depth, reader);
    }

    fn text(&mut self, file: &Path, text: &str, depth: usize, reader: &dyn Files) {
        let mut group: Option<String> = None;
        // Only a newline ends a line; a carriage return is white space.
        for (index, line) in text.split('\n').enumerate() {
            let number = index + 1;
            match line::parse(line) {
                Line::Nothing => {}
                Line::Group(name) => {
                    self.groups.push((name.clone(), Place::new(file, number)));
                    group = Some(name);
                }
                Line::OpenGroup => {
                    return self.problem(file, Some(number), "a group without its `]`", true);
                }
                Line::Include(path) => self.include(file, number, &[rooted(&path)], depth, reader),
                Line::IncludeDirectory(path) => self.directory(file, number, &path, depth, reader),
                Line::Directive(text) => {
                    self.problem(file, Some(number), format!("not a known directive: {text}"), false);
                }
                Line::Option { name, value } => {
                    let Some(group) = group.clone() else {
                        return self.problem(file, Some(number), "an option before any group", true);
                    };
                    if self.settings.len() >= SETTINGS_LIMIT {
                        let what = format!("more than {SETTINGS_LIMIT} settings");
                        return self.problem(file, Some(number), what, false);
                    }
                    self.settings.push(Setting { group, name, value, place: Some(Place::new(file, number)) });
                }
            }
        }
    }

    fn directory(&mut self, file: &Path, line: usize, path: &str, depth: usize, reader: &dyn Files) {
        let directory = rooted(path);
        match reader.names(&directory) {
            Err(cause) => {
                let what = format!("the directory {} can't be listed: {cause}", directory.display());
                self.problem(file, Some(line), what, true);
            }
            Ok(mut names) => {
                // my_dir sorts, and only this extension counts on Unix.
                names.retain(|name| name.ends_with(".cnf"));
                names.sort();
                let files: Vec<PathBuf> = names.iter().map(|name| directory.join(name)).collect();
                self.include(file, line, &files, depth, reader);
            }
        }
    }

    fn include(&mut self, file: &Path, line: usize, files: &[PathBuf], depth: usize, reader: &dyn Files) {
        if depth >= DEPTH_LIMIT {
            let what = format!("includes are nested deeper than {DEPTH_LIMIT}, perhaps in a loop; skipped");
            return self.problem(file, Some(line), what, false);
        }
        for included in files {
            if self.files.len() >= FILES_LIMIT {
                let what = format!("more than {FILES_LIMIT} files are included, perhaps in a loop; skipped");
                return self.problem(file, Some(line), what, false);
            }
            self.file(included, Some((file, line)), depth + 1, reader);
        }
    }
}

fn rooted(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

/// Group names are compared without regard to case.
fn is_one_of(group: &str, groups: &[String]) -> bool {
    groups.iter().any(|wanted| wanted.eq_ignore_ascii_case(group))
}

fn found(setting: &Setting, option: &str) -> Option<Found> {
    let value = name::value_for(setting, option)?;
    Some(Found { value, place: setting.place.clone(), group: setting.group.clone() })
}
