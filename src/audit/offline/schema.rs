//! One schema's directory.
//!
//! Names alone tell what most files are. Only data files are looked up (for their size), and only these are opened: an Aria
//! index file, for its crash safety; the definition of a table without files; what may be a sequence.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustc_hash::{FxBuildHasher, FxHashMap};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};
use rustix::io::Errno;

use super::files::{self, Family, Kind};
use super::{Problem, Settings};
use crate::audit::headers::{HeaderError, aria, frm, myisam, sdi};
use crate::audit::offenders::{Largest, Offender};
use crate::audit::{Engine, Totals, filename};

/// The data file of a sequence in MyISAM and Aria has this size, in bytes: one row of fixed length.
const SEQUENCE_DATA: u64 = 58;
/// An InnoDB file with more bytes is no sequence, which never has a second row.
const SEQUENCE_FILE: u64 = 128 * 1024;
/// For the entries of a directory, in bytes: most schemas fit into it.
const LISTING: usize = 64 * 1024;
/// Room for the tables of most schemas.
const TABLES: usize = 448;
/// Enough of an Aria index file for the header of all but tables with very many keys, in bytes.
const ARIA_HEADER: usize = 2048;
/// No definition up to the engine's name is longer, in bytes.
const DEFINITION_LIMIT: usize = 1024 * 1024;

/// What one schema's directory holds.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) engines: BTreeMap<Engine, Totals>,
    pub(super) leftovers: Totals,
    pub(super) in_system_tablespace: u64,
    pub(super) offenders: Vec<Offender>,
    /// Tables in files outside the directory: symbolic links and `.isl`.
    pub(super) linked: u64,
    /// Links whose file is gone.
    pub(super) dangling: Vec<PathBuf>,
    /// Tables of engines that leave no files here, by the engine's name.
    pub(super) others: BTreeMap<String, u64>,
    /// Definitions whose data files are missing.
    pub(super) missing: Vec<PathBuf>,
    /// Damaged headers, when they are tolerated.
    pub(super) damaged: Vec<String>,
    /// InnoDB tables that may be sequences: their definition files, and what they count until that is known.
    pub(super) sequences: Vec<(PathBuf, Totals)>,
}

/// The files of one table in one engine.
#[derive(Debug)]
struct Files {
    family: Family,
    bytes: u64,
    data_bytes: u64,
    /// Aria's index file; of a partitioned table the first one.
    header: Option<Box<[u8]>>,
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Table {
    defined: bool,
    linked: bool,
    files: Option<Files>,
    /// Of another engine under the same name: at most one of the two is a table, and a doubt counts for both.
    more: Vec<Files>,
}

impl Table {
    fn files(&mut self, family: Family) -> &mut Files {
        let fresh = Files { family, bytes: 0, data_bytes: 0, header: None };
        if self.files.as_ref().is_none_or(|files| files.family == family) {
            return self.files.get_or_insert(fresh);
        }
        let at = self.more.iter().position(|files| files.family == family).unwrap_or_else(|| {
            self.more.push(fresh);
            self.more.len() - 1
        });
        &mut self.more[at]
    }
}

struct Directory<'a> {
    path: &'a Path,
    fd: OwnedFd,
    settings: &'a Settings,
    wants_sequences: &'a AtomicBool,
    schema: Schema,
}

/// Adds up a schema's directory. What may be a sequence is left out while nobody wants to know.
pub(super) fn scan(
    path: &Path,
    settings: &Settings,
    wants_sequences: &AtomicBool,
) -> Result<Schema, Problem> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // Dropped while we looked.
        Err(Errno::NOENT) => return Ok(Schema::default()),
        Err(errno) => return Err(Problem::unreadable(path, errno.into())),
    };
    let mut directory = Directory { path, fd, settings, wants_sequences, schema: Schema::default() };
    let tables = directory.list()?;
    directory.judge(tables)?;
    Ok(directory.schema)
}

impl Directory<'_> {
    fn unreadable(&self, name: &[u8], errno: Errno) -> Problem {
        Problem::unreadable(&self.file(name), errno.into())
    }

    fn file(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    fn list(&mut self) -> Result<FxHashMap<Box<[u8]>, Table>, Problem> {
        let fd = self.fd.try_clone().map_err(|error| Problem::unreadable(self.path, error))?;
        let mut buffer = [MaybeUninit::uninit(); LISTING];
        let mut listing = RawDir::new(fd, &mut buffer);
        let mut descriptions = Vec::new();
        let mut tables = FxHashMap::with_capacity_and_hasher(TABLES, FxBuildHasher);
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|errno| self.unreadable(b"", errno))?;
            let name = entry.file_name();
            let Some((stem, kind)) = files::classify(name.to_bytes()) else { continue };
            let kept = match kind {
                Kind::Definition => None,
                Kind::Description => {
                    descriptions.push(Box::from(name.to_bytes()));
                    continue;
                }
                Kind::Link => Some((Family::InnoDB, self.linked_size(name)?, true)),
                Kind::Data(family) => match self.size(name, entry.file_type())? {
                    Some(bytes) => Some((family, bytes, true)),
                    None => continue,
                },
                Kind::Index(family) => match self.size(name, entry.file_type())? {
                    Some(bytes) => Some((family, bytes, false)),
                    None => continue,
                },
            };
            let table = files::table_of(stem);
            let table = match tables.get_mut(table) {
                Some(table) => table,
                None => tables.entry(Box::from(table)).or_insert_with(Table::default),
            };
            let Some((family, bytes, holds_rows)) = kept else {
                table.defined = true;
                continue;
            };
            table.linked |= kind == Kind::Link || entry.file_type() == FileType::Symlink;
            let files = table.files(family);
            // A MERGE file is a list of names.
            if family != Family::Merge {
                files.bytes += bytes;
            }
            if holds_rows {
                files.data_bytes += bytes;
            } else if family == Family::Aria && files.header.is_none() {
                files.header = Some(name.to_bytes().into());
            } else if family == Family::MyISAM && bytes < myisam::SHORTEST && !files::is_leftover(stem) {
                let error =
                    HeaderError::Truncated { needed: myisam::SHORTEST as usize, length: bytes as usize };
                self.damaged(name.to_bytes(), error)?;
            }
        }
        self.described(descriptions, &tables)?;
        Ok(tables)
    }

    /// Tables of which nothing but MySQL's description is here: those of MEMORY, BLACKHOLE and the like.
    fn described(
        &mut self,
        descriptions: Vec<Box<[u8]>>,
        tables: &FxHashMap<Box<[u8]>, Table>,
    ) -> Result<(), Problem> {
        let has_files = |name: &[u8]| {
            let table = tables.get(name).or_else(|| tables.get(&*[name, b"@@@"].concat()));
            table
                .is_some_and(|table| table.files.as_ref().is_some_and(|files| files.family != Family::InnoDB))
        };
        for file in descriptions {
            let Some((stem, _)) = files::classify(&file) else { continue };
            if has_files(files::described(stem)) || files::is_leftover(stem) {
                continue;
            }
            let Some(bytes) = self.start(&file, DEFINITION_LIMIT)? else { continue };
            match sdi::parse(&bytes) {
                // The file's own name holds only the beginning of a long one.
                Ok(table) if filename::encode(&table.name).is_some_and(|name| has_files(name.as_bytes())) => {
                }
                Ok(table) => self.without_data(&file, Engine::by_name(&table.engine), table.engine),
                Err(error) => self.damaged(&file, error)?,
            }
        }
        Ok(())
    }

    /// A file's size in bytes, through symbolic links; none when it is gone.
    fn size(&mut self, name: &CStr, file_type: FileType) -> Result<Option<u64>, Problem> {
        match statat(&self.fd, name, AtFlags::empty()) {
            Ok(found) => Ok(Some(found.st_size.max(0) as u64)),
            Err(Errno::NOENT) => {
                if file_type == FileType::Symlink {
                    let file = self.file(name.to_bytes());
                    self.schema.dangling.push(file);
                }
                Ok(None)
            }
            Err(errno) => Err(self.unreadable(name.to_bytes(), errno)),
        }
    }

    /// The size of the file that an `.isl` file names.
    fn linked_size(&mut self, name: &CStr) -> Result<u64, Problem> {
        let Some(text) = self.start(name.to_bytes(), 4096)? else { return Ok(0) };
        let target = self.settings.datadir.join(OsStr::from_bytes(text.trim_ascii()));
        match std::fs::metadata(&target) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.schema.dangling.push(target);
                Ok(0)
            }
            Err(error) => Err(Problem::unreadable(&target, error)),
        }
    }

    /// A file to read; none when it is gone.
    fn open(&self, name: &[u8]) -> Result<Option<File>, Problem> {
        match openat(&self.fd, OsStr::from_bytes(name), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.unreadable(name, errno)),
        }
    }

    /// The first `limit` bytes of a file, by one system call; none when it is gone.
    fn start(&self, name: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Problem> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = vec![0; limit];
        let length =
            file.read_at(&mut bytes, 0).map_err(|error| Problem::unreadable(&self.file(name), error))?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    fn damaged(&mut self, name: &[u8], error: HeaderError) -> Result<(), Problem> {
        let file = self.file(name);
        if self.settings.tolerate_damage {
            self.schema.damaged.push(format!("{}: {error}", file.display()));
            return Ok(());
        }
        Err(Problem::Damaged { file, error })
    }

    fn judge(&mut self, tables: FxHashMap<Box<[u8]>, Table>) -> Result<(), Problem> {
        let name = self.path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let schema = filename::decode(&name);
        let mut largest = Largest::new(self.settings.top);
        for (stem, table) in tables {
            let Table { defined, linked, files, more } = table;
            if files::is_leftover(&stem) {
                let bytes = files.iter().chain(&more).map(|files| files.bytes).sum();
                self.schema.leftovers.add(Totals { tables: 1, empty_tables: 0, bytes });
                continue;
            }
            let Some(first) = files else {
                self.without_files(&stem)?;
                continue;
            };
            self.schema.linked += u64::from(linked);
            for files in std::iter::once(first).chain(more) {
                let Some((engine, totals)) = self.table(&stem, defined, &files)? else { continue };
                self.schema.engines.entry(engine).or_default().add(totals);
                if engine.is_fragile() && largest.takes(totals.bytes) {
                    let (schema, table) = (schema.clone(), filename::decode(&stem));
                    largest.push(Offender { bytes: totals.bytes, schema, table, engine });
                }
            }
        }
        self.schema.offenders = largest.into_vec();
        Ok(())
    }

    /// What a table with files counts; none for a sequence.
    fn table(
        &mut self,
        stem: &[u8],
        defined: bool,
        files: &Files,
    ) -> Result<Option<(Engine, Totals)>, Problem> {
        let mut engine = files.family.engine();
        let mut empty = files.family == Family::MyISAM && files.data_bytes == 0;
        let mut tables = 1;
        match files.family {
            Family::InnoDB if !defined && files::is_full_text_part(stem) => tables = 0,
            Family::InnoDB
                if defined
                    && files.bytes <= SEQUENCE_FILE
                    && self.wants_sequences.load(Ordering::Relaxed) =>
            {
                let definition = self.file(&[stem, b".frm"].concat());
                let totals = Totals { tables, empty_tables: 0, bytes: files.bytes };
                self.schema.sequences.push((definition, totals));
            }
            Family::MyISAM | Family::Aria
                if defined && files.data_bytes == SEQUENCE_DATA && self.is_sequence(stem)? =>
            {
                return Ok(None);
            }
            Family::Aria => {
                let header = match &files.header {
                    Some(name) => self.aria(name)?,
                    None => None,
                };
                match header {
                    Some(header) => {
                        empty = files.data_bytes <= header.empty_data_bytes && !header.transactional;
                        if !header.transactional {
                            engine = Engine::AriaNotCrashSafe;
                        }
                    }
                    // Nothing vouches for it.
                    None => engine = Engine::AriaNotCrashSafe,
                }
            }
            _ => {}
        }
        Ok(Some((engine, Totals { tables, empty_tables: u64::from(empty), bytes: files.bytes })))
    }

    fn aria(&mut self, name: &[u8]) -> Result<Option<aria::Aria>, Problem> {
        let Some(mut bytes) = self.start(name, ARIA_HEADER)? else { return Ok(None) };
        if let Ok(length) = aria::header_length(&bytes)
            && length > bytes.len()
            && let Some(longer) = self.start(name, length)?
        {
            bytes = longer;
        }
        match aria::parse(&bytes) {
            Ok(header) => Ok(Some(header)),
            Err(error) => self.damaged(name, error).map(|()| None),
        }
    }

    fn is_sequence(&mut self, stem: &[u8]) -> Result<bool, Problem> {
        let definition = self.start(&[stem, b".frm"].concat(), frm::HEADER)?;
        // A damaged definition beside data files hides nothing: the files show the engine.
        Ok(definition.is_some_and(|bytes| frm::is_sequence(&bytes) == Ok(true)))
    }

    /// A definition alone: a view, an engine without files, or InnoDB in the system tablespace.
    fn without_files(&mut self, stem: &[u8]) -> Result<(), Problem> {
        let file = [stem, b".frm"].concat();
        let Some(mut bytes) = self.start(&file, frm::HEADER)? else { return Ok(()) };
        // Most are views.
        if matches!(frm::parse(&bytes), Ok(frm::Definition::View)) {
            return Ok(());
        }
        bytes = self.start(&file, DEFINITION_LIMIT)?.unwrap_or_default();
        let (engine, name) = match frm::parse(&bytes) {
            Ok(frm::Definition::Table { engine, name, .. }) => (engine, name),
            Ok(frm::Definition::Sequence | frm::Definition::View) => return Ok(()),
            Err(error) => return self.damaged(&file, error),
        };
        self.without_data(&file, engine, name);
        Ok(())
    }

    fn without_data(&mut self, file: &[u8], engine: Engine, name: String) {
        match engine {
            Engine::InnoDB => self.schema.in_system_tablespace += 1,
            Engine::Memory => {}
            Engine::MyISAM | Engine::Aria | Engine::Csv | Engine::Archive | Engine::Merge => {
                let file = self.file(file);
                self.schema.missing.push(file);
            }
            _ => *self.schema.others.entry(name).or_default() += 1,
        }
        // Its crash safety stood in the header.
        let engine = if engine == Engine::Aria { Engine::AriaNotCrashSafe } else { engine };
        let one = Totals { tables: 1, empty_tables: 0, bytes: 0 };
        self.schema.engines.entry(engine).or_default().add(one);
    }
}

/// Whether a definition file is that of a sequence; false when it can't be told.
pub(super) fn defines_sequence(definition: &Path) -> bool {
    let mut bytes = Vec::with_capacity(frm::HEADER);
    let read = File::open(definition).and_then(|file| file.take(frm::HEADER as u64).read_to_end(&mut bytes));
    read.is_ok() && frm::is_sequence(&bytes) == Ok(true)
}
