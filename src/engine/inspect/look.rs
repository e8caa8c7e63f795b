//! One look at a database: what its manifest leads to, or, where that can't be read, what its files say of themselves.
//!
//! Without a manifest, of all that lies in the directory these count: every table with a footer that verifies; the newest base that
//! is complete; and the segments of the log that follow one another up to the newest, for what was written before may have been
//! deleted in one that is gone. Which record is the newest of a key, its LSN says.

use std::io;
use std::path::Path;

use super::segments::{self, FileKind};
use super::{Gate, Loss, MENDED, Sink};
use crate::engine::wal_engine::{LOCK, MAINTENANCE, MERGING, TURNSTILE};
use crate::error::{Error, Fault, Result};
use crate::storage::fs::OpenMode;
use crate::storage::manifest::{self, Manifest};
use crate::storage::sstable::{Table, file_name};
use crate::storage::{Life, Place, RunTable};
use crate::types::{EngineKind, FileId, Lsn};

/// Bytes that a table has at most: places in it have four bytes.
const MAX_TABLE_LEN: u64 = u32::MAX as u64;

/// How often a look begins anew because files go away.
const MAX_RESTARTS: usize = 20;

/// A table that counts.
#[derive(Debug)]
pub(in crate::engine) struct Listed {
    pub(in crate::engine) run: RunTable,
    /// Its number among the runs, newest first; 0 where no manifest says so.
    pub(in crate::engine) age: usize,
    /// Bytes of the file, which may be more or fewer than the manifest says.
    pub(in crate::engine) size: u64,
    /// What can be read of it.
    pub(in crate::engine) table: Table,
    /// Places of bits that were set right in memory.
    pub(in crate::engine) mended: Vec<usize>,
}

/// Where the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct LogStart {
    pub(in crate::engine) id: FileId,
    /// The segment's salt, if it is known otherwise than from its header.
    pub(in crate::engine) salt: Option<u64>,
    /// The last batch before it, if that is known.
    pub(in crate::engine) lsn: Option<Lsn>,
}

/// What a database consists of.
#[derive(Debug)]
pub(in crate::engine) struct Look {
    /// Flipped bits are set right, in memory.
    pub(in crate::engine) mends: bool,
    pub(in crate::engine) engine: EngineKind,
    /// In force, if it can be read.
    pub(in crate::engine) manifest: Option<Manifest>,
    /// Newest run first.
    pub(in crate::engine) tables: Vec<Listed>,
    pub(in crate::engine) base: Option<LogStart>,
    pub(in crate::engine) log: Option<LogStart>,
}

impl Look {
    /// Looks at the database at `place`, and opens its tables. `mends`: sets flipped bits right, in memory.
    ///
    /// # Errors
    /// `NoDatabase`, `NotADatabase`, `Format`, `Busy`, I/O.
    pub(in crate::engine) fn at(
        place: &Place,
        gate: &Gate,
        mends: bool,
        sink: &mut dyn Sink,
    ) -> Result<Self> {
        check_is_database(place)?;
        check_locks(place, sink)?;
        for _ in 0..MAX_RESTARTS {
            gate.check()?;
            let held = gate.hold()?;
            let found = Manifest::find(&*place.fs, &place.dir, mends);
            drop(held);
            match found {
                Ok(Some((manifest, flipped))) => {
                    if let Some(at) = flipped {
                        sink.fault(Fault::new(place.path(manifest::NAME), at as u64, MENDED), Loss::Nothing);
                    }
                    if let Some(look) = Self::of_manifest(place, manifest, mends, sink)? {
                        return Ok(look);
                    }
                }
                Ok(None) => {
                    let what = "the manifest is missing: it says which files the database consists of";
                    sink.fault(Fault::new(place.path(manifest::NAME), 0, what), Loss::Nothing);
                    return Self::without_manifest(place, mends, sink);
                }
                Err(Error::Corruption { file, offset, what }) => {
                    sink.fault(Fault::new(file, offset, what), Loss::Nothing);
                    return Self::without_manifest(place, mends, sink);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::corruption(
            &place.path(manifest::NAME),
            0,
            "the files keep changing faster than they can be opened",
        ))
    }

    /// `None` when a file is gone and the manifest is another one by now.
    fn of_manifest(
        place: &Place,
        manifest: Manifest,
        mends: bool,
        sink: &mut dyn Sink,
    ) -> Result<Option<Self>> {
        let mut tables = Vec::new();
        let mut faults = Vec::new();
        for (age, run) in manifest.runs.iter().enumerate() {
            for listed in run {
                sink.check(0)?;
                match open_table(place, listed, age, mends) {
                    Ok(table) => tables.push(table),
                    Err(Error::Corruption { file, offset, what }) => {
                        faults.push(lost_table(Fault::new(file, offset, what), listed));
                    }
                    Err(Error::Io { path, source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                        if Manifest::read(&*place.fs, &place.dir).ok().flatten().as_ref() != Some(&manifest) {
                            return Ok(None);
                        }
                        let what = "the table is missing, and the manifest needs it";
                        faults.push(lost_table(Fault::new(path, 0, what), listed));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for fault in faults {
            sink.fault(fault, Loss::Records);
        }
        let start = |life: Life, lsn| LogStart { id: life.id, salt: Some(life.salt), lsn: Some(lsn) };
        Ok(Some(Self {
            mends,
            engine: manifest.engine,
            tables,
            base: manifest.base.map(|life| start(life, manifest.flushed)),
            log: Some(start(manifest.first, manifest.flushed)),
            manifest: Some(manifest),
        }))
    }

    fn without_manifest(place: &Place, mends: bool, sink: &mut dyn Sink) -> Result<Self> {
        let mut tables = Vec::new();
        for id in ids(place, "sst")? {
            sink.check(0)?;
            match open_unlisted(place, id, mends) {
                Ok(table) => tables.push(table),
                Err(Error::Corruption { file, offset, .. }) => {
                    let what =
                        "the footer before this place does not verify: it was never completed, or is lost";
                    sink.fault(Fault::new(file, offset, what), Loss::Records);
                }
                Err(error) => return Err(error),
            }
        }
        tables.sort_by_key(|table| std::cmp::Reverse(table.run.table.largest_lsn));
        let base = segments::newest_base(place, &ids(place, "base")?)?;
        let log = segments::first_of_suffix(place, &ids(place, "wal")?, base.map(|base| base.id))?;
        let engine = if base.is_some() { EngineKind::Simple } else { EngineKind::Kv };
        let oldest = tables.iter().map(|table| table.run.table.largest_lsn).max();
        if let Some(fault) = hole_before_log(place, base, oldest, log) {
            sink.fault(fault, Loss::Records);
        }
        Ok(Self { mends, engine, manifest: None, tables, base, log })
    }
}

/// What lies between what the base or the tables hold, up to `stored`, and where the log begins.
fn hole_before_log(
    place: &Place,
    base: Option<LogStart>,
    stored: Option<Lsn>,
    log: Option<LogStart>,
) -> Option<Fault> {
    let log = log?;
    let stored = base.map_or(stored, |base| base.lsn).unwrap_or_default();
    let first = log.lsn?.next();
    let what = "nothing holds what was written before this segment";
    let fault = Fault::new(place.path(FileKind::Segment.name(log.id)), 0, what);
    let last = Lsn(first.0 - 1);
    (stored < last).then(|| fault.of_lsns(stored.next(), last))
}

/// The whole table is lost.
fn lost_table(fault: Fault, listed: &RunTable) -> Fault {
    let keys = listed.smallest().clone()..=listed.largest().clone();
    Fault { len: listed.table.len, ..fault.of_keys(keys.into()) }
}

fn open_table(place: &Place, listed: &RunTable, age: usize, mends: bool) -> Result<Listed> {
    let mut mended = Vec::new();
    let strict = Table::open(&*place.fs, &place.dir, &listed.table);
    let table = match strict {
        Ok(table) if !mends || table.is_intact() => table,
        Err(error @ (Error::Format { .. } | Error::Io { .. })) => return Err(error),
        _ => {
            let (id, meta) = (listed.table.id, Some(&listed.table));
            Table::open_damaged(&*place.fs, &place.dir, id, meta, mends.then_some(&mut mended))?
        }
    };
    let size = table.file_len(&*place.fs)?;
    Ok(Listed { run: listed.clone(), age, size, table, mended })
}

fn open_unlisted(place: &Place, id: FileId, mends: bool) -> Result<Listed> {
    let mut mended = Vec::new();
    // Only what is not longer than a table is worth being read into memory.
    let size = place.open(file_name(id), OpenMode::Read)?.size();
    let size = size.map_err(|error| Error::io("read the length of", &place.path(file_name(id)), error))?;
    let mends = mends && size <= MAX_TABLE_LEN;
    let table = match Table::open_damaged(&*place.fs, &place.dir, id, None, None) {
        Ok(table) if !mends || table.is_intact() => table,
        Err(error) if !matches!(error, Error::Corruption { .. }) || !mends => return Err(error),
        _ => Table::open_damaged(&*place.fs, &place.dir, id, None, Some(&mut mended))?,
    };
    let run = RunTable::whole(table.meta().clone());
    Ok(Listed { age: 0, size: run.table.len, run, table, mended })
}

/// A directory that holds none of the files of a database is none.
fn check_is_database(place: &Place) -> Result<()> {
    let names = match place.fs.read_dir(&place.dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotADatabase { dir: place.dir.clone(), reason: "it is a file".into() });
        }
        Err(error) => return Err(Error::io("list", &place.dir, error)),
    };
    let is_ours = |name: &Path| {
        name == Path::new(manifest::NAME)
            || ["wal", "sst", "base"].iter().any(|extension| id_of(name, extension).is_some())
    };
    match names.first() {
        None => Err(Error::NoDatabase { dir: place.dir.clone() }),
        Some(_) if names.iter().any(|name| is_ours(name)) => Ok(()),
        Some(name) => {
            let reason = format!("it has no {}, but holds {}", manifest::NAME, name.display());
            Err(Error::NotADatabase { dir: place.dir.clone(), reason })
        }
    }
}

/// Without its lock files a database can't be opened.
fn check_locks(place: &Place, sink: &mut dyn Sink) -> Result<()> {
    for name in [TURNSTILE, LOCK, MAINTENANCE, MERGING] {
        match place.fs.open(&place.path(name), OpenMode::Read) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = "the file is missing: processes take turns by locking it; an empty one will do";
                sink.fault(Fault::new(place.path(name), 0, what), Loss::Nothing);
            }
            Err(error) => return Err(Error::io("open", &place.path(name), error)),
        }
    }
    Ok(())
}

/// The numbers of the files of this kind, in order.
pub(super) fn ids(place: &Place, extension: &str) -> Result<Vec<FileId>> {
    let names = place.fs.read_dir(&place.dir).map_err(|error| Error::io("list", &place.dir, error))?;
    let mut ids: Vec<FileId> = names.iter().filter_map(|name| id_of(name, extension)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The number of a file that is named as kvdb names files of this kind.
fn id_of(name: &Path, extension: &str) -> Option<FileId> {
    let id = FileId(name.file_stem()?.to_str()?.parse().ok()?);
    let expected = if extension == "sst" { file_name(id) } else { format!("{id}.{extension}") };
    (name == Path::new(&expected)).then_some(id)
}
