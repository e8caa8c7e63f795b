//! Writing runs: a walk over changes becomes tables, and runs become one run.

use std::ops::Range;

use super::merge::{Merge, Source};
use super::version::{Run, Version};
use crate::engine::Progress;
use crate::engine::wal_engine::{Maintenance, Memory};
use crate::error::{Error, Result};
use crate::storage::manifest::Manifest;
use crate::storage::sstable::{TableWriter, file_name};
use crate::storage::{Place, TableMeta};
use crate::types::{Direction, FileId, KeyRange};

/// A run is cut into tables of about this many bytes.
const TABLE_BYTES: u64 = 64 << 20;

/// Changes between two reports of progress: few, because values may be large, and who wants to stop should not wait.
const PROGRESS_STEP: u64 = 256;

/// Writes the changes of a walk to tables, whose numbers are taken from `manifest`, and makes them and their names durable.
/// After an error nothing is left of them. `progress` is told of changes done and bytes written.
///
/// # Errors
/// `Interrupted` when `progress` says stop; corruption of what is read; I/O.
pub(crate) fn write_run(
    place: &Place,
    manifest: &mut Manifest,
    source: &mut dyn Source,
    keep_tombstones: bool,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Vec<TableMeta>> {
    let first = manifest.next_table;
    let written = write_tables(place, manifest, source, keep_tombstones, progress).and_then(|run| {
        place.fs.sync_dir(&place.dir).map_err(|error| Error::io("sync", &place.dir, error))?;
        Ok(run)
    });
    if written.is_err() {
        for id in first.0..manifest.next_table.0 {
            place.discard(file_name(FileId(id)));
        }
    }
    written
}

fn write_tables(
    place: &Place,
    manifest: &mut Manifest,
    source: &mut dyn Source,
    keep_tombstones: bool,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Vec<TableMeta>> {
    let mut run = Vec::new();
    let mut table: Option<TableWriter> = None;
    for done in 0.. {
        let written = || total_len(&run) + table.as_ref().map_or(0, TableWriter::len);
        if done % PROGRESS_STEP == 0 && !progress(done, written()) {
            return Err(Error::Interrupted);
        }
        if !source.advance()? {
            break;
        }
        if source.is_tombstone() && !keep_tombstones {
            continue;
        }
        let mut writer = match table.take() {
            Some(writer) => writer,
            None => begin_table(place, manifest)?,
        };
        writer.add(source.key(), source.value()?, source.lsn())?;
        if writer.len() >= TABLE_BYTES {
            run.push(writer.finish()?);
        } else {
            table = Some(writer);
        }
    }
    if let Some(writer) = table {
        run.push(writer.finish()?);
    }
    Ok(run)
}

/// Bytes of some tables.
pub(crate) fn total_len(tables: &[TableMeta]) -> u64 {
    tables.iter().map(|table| table.len).sum()
}

fn begin_table(place: &Place, manifest: &mut Manifest) -> Result<TableWriter> {
    let id = manifest.next_table;
    manifest.next_table = id.next();
    place.discard(file_name(id));
    TableWriter::create(&*place.fs, &place.dir, id, manifest.seed)
}

/// Merges neighbouring runs, counted from the newest, into one. Tombstones go when the oldest run is among them: below it
/// there is nothing that they could hide.
///
/// # Errors
/// As [`write_run`]; the database is as before then.
pub(crate) fn merge<M: Memory>(
    maintenance: &mut Maintenance<'_, M>,
    runs: Range<usize>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<()> {
    let mut manifest = maintenance.manifest().clone();
    let place = maintenance.place().clone();
    let version = Version::new(&manifest.runs[runs.clone()], manifest.seed, &place, None)?;
    let total = version.runs.iter().map(Run::entries).sum();
    let mut sources: Vec<Box<dyn Source + '_>> = Vec::new();
    for run in &version.runs {
        sources.push(Box::new(run.walk(&KeyRange::all(), Direction::Forward)));
    }
    let keep_tombstones = runs.end < manifest.runs.len();
    let mut report = |done, written_bytes| progress(Progress { done, total, written_bytes });
    let mut source = Merge::new(sources, Direction::Forward)?;
    let run = write_run(&place, &mut manifest, &mut source, keep_tombstones, &mut report)?;
    manifest.totals.count_merge(version.sizes().iter().sum(), total_len(&run));
    manifest.runs.splice(runs, (!run.is_empty()).then_some(run));
    maintenance.install(manifest)
}
