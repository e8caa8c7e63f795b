//! Flushing: memtables become a run, and the log begins behind them.

use std::sync::Arc;

use super::memtable::Memtable;
use super::merge::{Merge, Source};
use super::tables::{self, Manner, Target};
use super::version::Version;
use crate::engine::Progress;
use crate::engine::wal_engine::Sealed;
use crate::error::Result;
use crate::storage::manifest::Manifest;
use crate::storage::{Life, Place, RunTable};
use crate::types::{Direction, FileId, KeyRange, Lsn, Timestamp};

/// Memtables of full segments, oldest first, with the number of their segment.
pub(crate) type SealedMemtables = Sealed<Vec<(FileId, Arc<Memtable>)>>;

/// A run that was written, and what the manifest has to know.
pub(crate) struct Flushed {
    run: Vec<RunTable>,
    next: FileId,
    first: Life,
    lsn: Lsn,
    log_bytes: u64,
    user_bytes: u64,
    table_bytes: u64,
}

/// Writes those memtables that `manifest` does not have yet, without what has expired by the time `expired_by`; `None` when it
/// has all.
///
/// # Errors
/// `Interrupted` when `progress` says stop; corruption, I/O. Then tables may be left that nothing leads to.
pub(crate) fn write(
    place: &Place,
    manifest: &Manifest,
    sealed: &SealedMemtables,
    manner: Manner,
    expired_by: Option<Timestamp>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Option<Flushed>> {
    let Sealed { first, lsn, log_bytes, .. } = *sealed;
    if first.id <= manifest.first.id {
        return Ok(None);
    }
    let memtables: Vec<&Memtable> =
        sealed.view.iter().filter(|(segment, _)| *segment >= manifest.first.id).map(|(_, m)| &**m).collect();
    let walk = |after: Option<&[u8]>| {
        let (newest_first, range) = (memtables.iter().rev(), KeyRange::behind(after));
        let sources = newest_first.map(|memtable| memtable.walk(&range, Direction::Forward)).collect();
        Ok(Box::new(Merge::new(sources, Direction::Forward)?) as Box<dyn Source>)
    };
    let target = Target {
        place,
        seed: manifest.seed,
        first: manifest.next_flushed,
        keep_tombstones: !manifest.runs.is_empty(),
        expired_by,
        manner,
        limit: None,
    };
    let total = memtables.iter().map(|memtable| memtable.keys()).sum();
    let mut report =
        |done, written_bytes| progress(Progress { done, total, written_bytes, ..Progress::default() });
    let written = target.write(&walk, &mut report)?;
    let next = written.next;
    let user_bytes = memtables.iter().map(|memtable| memtable.bytes()).sum();
    let table_bytes = tables::total_len(&written.tables);
    let older = Version::new(&manifest.runs, manifest.seed, place, None)?;
    let run = tables::list(place, written.tables, &older.runs)?;
    Ok(Some(Flushed { run, next, first, lsn, log_bytes, user_bytes, table_bytes }))
}

impl Flushed {
    /// Puts the run on top of those of a manifest.
    pub(crate) fn put_into(self, manifest: &mut Manifest) {
        manifest.totals.count_flush(self.user_bytes, self.log_bytes, self.table_bytes);
        if !self.run.is_empty() {
            manifest.runs.insert(0, self.run);
        }
        (manifest.first, manifest.flushed, manifest.next_flushed) = (self.first, self.lsn, self.next);
    }
}
