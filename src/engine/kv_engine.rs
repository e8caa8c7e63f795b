//! The LSM engine: the newest changes in memtables, everything else in sorted tables.
//!
//! ```text
//!  write ─► log ─► active memtable ──(segment full)──► sealed memtables ──flush──► run ─┐
//!                                                                                       ├─merge─► larger run
//!  read ◄── active ◄── sealed, newest first ◄── runs, newest first                 run ─┘
//! ```
//!
//! A memtable belongs to one log segment. When a segment is full its memtable is sealed; flushing writes the sealed ones to
//! a table, names it in the manifest and lets the log begin behind it. Runs are merged as [`plan`](lsm::plan) decides, in
//! [slices](lsm::compact) each of which is worth something by itself.
//!
//! Both are the work of a thread, which is started, or woken, when there is enough to flush, or when the handle is opened and
//! finds something to merge, and ends when nothing is due. While nobody writes, and where enough was walked over, it also
//! merges what is not due but makes reads faster. While it merges it flushes, too: nobody waits for a merge. Where it falls
//! behind, or where there is to be no thread, a writer does the work itself, a piece at a time. A handle that is closed gives
//! up the slice it is at, flushes a log that would take the next process long to read, and pays for what it flushed with
//! slices of what there is to merge: so a database that only short-lived processes write to is kept in shape as well.
//!
//! Opening reads the manifest and the log behind it, never a table: tables are opened when they are first read. When a
//! table is gone because another process merged it, the handle takes up the manifest and looks again.

mod backup;
mod bulk;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lsm::compact;
use super::lsm::figures;
use super::lsm::flush::{self, SealedMemtables};
use super::lsm::memtable::Memtable;
use super::lsm::plan::{Occasion, is_worth_flushing, plan};
use super::lsm::tables::Manner;
use super::lsm::tree::Tree;
use super::lsm::view::View;
use super::lsm::walked::Walked;
use super::wal_engine::{Maintenance, WalEngine, WalTurn, is_missing, lost};
use super::{Backup, Bulk, Check, Compaction, Engine, Progress, Snapshot, Stats, Turn, check};
use crate::error::{Fault, Notice, Result};
use crate::options::{Options, Pace};
use crate::storage::manifest::Manifest;
use crate::storage::{Place, RunTable};
use crate::types::{Batch, Compression, EngineKind, Entry, FileId, Lsn, Timestamp};
use bulk::KvBulk;

/// With more runs than this a writer merges itself, if nobody else does: so that reads look at a bounded number.
const MAX_RUNS: usize = 40;

/// A handle that wrote leaves at most so many bytes in the log for the next process to read.
const MAX_LEFT_BYTES: u64 = 256 << 10;

/// A handle that is closed merges one byte for so many that it flushed, but at least a short slice.
const FLUSHED_PER_MERGED: u64 = 4;

/// How long the background leaves the right to merge to others between two slices: longer than they sleep while waiting.
const BETWEEN_SLICES: Duration = Duration::from_millis(8);

/// `.stats` counts so many keys; of more it gives an estimate.
const MAX_COUNTED: u64 = 1 << 20;

/// The LSM tree of one database.
pub(crate) struct KvEngine {
    shared: Arc<Shared>,
    /// The thread that flushes and merges, if one was started.
    background: Mutex<Option<JoinHandle<()>>>,
    /// The newest of the segments that it was asked to flush.
    asked_for: AtomicU64,
}

/// What the background thread needs too.
struct Shared {
    log: WalEngine<Tree>,
    pace: Pace,
    compression: Compression,
    /// The background is to end as soon as it can.
    stop: AtomicBool,
    /// Bytes of the log that this handle flushed and has not paid for.
    flushed_bytes: AtomicU64,
    walked: Arc<Walked>,
}

impl KvEngine {
    /// Opens the database at `place`, which has `manifest`.
    ///
    /// # Errors
    /// As [`WalEngine::open`].
    pub(crate) fn open(place: Place, manifest: Manifest, options: &Options) -> Result<Self> {
        let begun = manifest.merging;
        let log = WalEngine::open(place, manifest, options)?;
        let shared = Shared {
            log,
            pace: options.pace,
            compression: options.compression,
            stop: AtomicBool::new(false),
            flushed_bytes: AtomicU64::new(0),
            walked: Arc::default(),
        };
        let engine =
            Self { shared: Arc::new(shared), background: Mutex::default(), asked_for: AtomicU64::new(0) };
        if options.pace.in_background && engine.read_only().is_none() {
            let log = &engine.shared.log;
            let expired_by = log.expired_by();
            let shapes = log.peek(|tree| tree.version.shapes(expired_by));
            if plan(&shapes, begun, Occasion::LEISURE).is_some() {
                engine.work_in_background();
            }
        }
        Ok(engine)
    }

    fn view(&self) -> Result<View> {
        let look = |tree: &Tree, lsn, now| View::of(tree, &self.shared.walked, lsn, now);
        self.shared.log.lasting_view(look, View::open)
    }

    /// Sees to it that what is due is done, in the background or, when that falls behind, here. The write that led here is
    /// durable: what goes wrong is left for the next time.
    fn maintain(&self) {
        let shared = &self.shared;
        let (sealed_bytes, newest, runs) = shared.log.peek(|tree| {
            let newest = tree.sealed.last().map_or(0, |(segment, _)| segment.0);
            (tree.sealed_bytes(), newest, tree.version.runs.len())
        });
        if sealed_bytes >= shared.pace.flush {
            if shared.pace.in_background {
                // Once for each segment: where flushes fail, commits do not make it try again and again.
                if self.asked_for.swap(newest, Ordering::Relaxed) != newest {
                    self.work_in_background();
                }
            } else {
                shared.flush_if_due();
                shared.pay();
            }
        }
        if sealed_bytes > shared.pace.most_sealed {
            drop(shared.log.maintain().and_then(|right| shared.flush_sealed(&right)));
        }
        // If somebody else is at it, nobody waits for that.
        if runs > MAX_RUNS
            && let Ok(Some(right)) = shared.log.try_merge()
        {
            drop(shared.merge_slice(&right, Occasion::NONE, shared.pace.short_slice));
        }
    }

    /// Sees to it that what walks have paid for is done.
    fn maintain_for_walks(&self) {
        if self.shared.pace.in_background
            && self.shared.walked.is_worth_a_look()
            && self.read_only().is_none()
        {
            self.work_in_background();
        }
    }

    /// Starts the background, or wakes it.
    fn work_in_background(&self) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = background.as_ref().filter(|thread| !thread.is_finished()) {
            thread.thread().unpark();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let work = move || shared.work();
        *background = std::thread::Builder::new().name("kvdb-background".into()).spawn(work).ok();
    }

    /// Ends the background. A slice of a merge that is under way is given up.
    fn stop_background(&self) {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = background {
            self.shared.stop.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            // What it did not get done is left for the next time.
            drop(thread.join());
            self.shared.stop.store(false, Ordering::Relaxed);
        }
    }

    /// Flushes the log if this handle wrote to it and it has grown.
    fn flush_what_is_left(&self) {
        let log = &self.shared.log;
        if self.shared.commits() == 0 || log.log_bytes() < MAX_LEFT_BYTES {
            return;
        }
        if let Ok(Some(maintenance)) = log.try_maintain()
            && let Ok(sealed) = maintenance.seal(sealed_memtables)
        {
            drop(self.shared.flush(&maintenance, &sealed, &mut |_| true));
        }
    }
}

impl Drop for KvEngine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Flushes and merges until all is well, an error ends it, or another process is at it.
    fn work(&self) {
        let mut seen = None;
        while !self.is_stopped() {
            self.flush_if_due();
            let commits = self.commits();
            let is_idle = seen.replace(commits) == Some(commits);
            let occasion = Occasion { leisure: is_idle, walked: self.walked.records() };
            let pause = match self.try_to_merge(occasion, self.pace.slice) {
                Some(true) => BETWEEN_SLICES,
                Some(false) if !is_idle => self.pace.pause,
                Some(false) | None => break,
            };
            std::thread::park_timeout(pause);
        }
    }

    /// Merges a slice of what there is to merge. Whether there was something to merge; `None` when another process is at it, or
    /// after an error, which is left for the next time.
    fn try_to_merge(&self, occasion: Occasion, slice: u64) -> Option<bool> {
        let right = self.log.try_merge().ok()??;
        self.merge_slice(&right, occasion, slice).ok()
    }

    /// How many batches this handle committed.
    fn commits(&self) -> u64 {
        self.log.counters().commits.load(Ordering::Relaxed)
    }

    /// Merges a little of what there is to merge, in proportion to what the handle flushed. It is as well if somebody else is at
    /// it.
    fn pay(&self) {
        let flushed = self.flushed_bytes.swap(0, Ordering::Relaxed);
        let mut debt = if flushed == 0 { 0 } else { self.pace.short_slice.max(flushed / FLUSHED_PER_MERGED) };
        while debt > 0 {
            let slice = debt.min(self.pace.slice);
            debt -= slice;
            if self.try_to_merge(Occasion::NONE, slice) != Some(true) {
                break;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Flushes sealed memtables if they amount to much and nobody else is at it.
    fn flush_if_due(&self) {
        if self.log.peek(|tree| self.is_flush_due(tree))
            && let Ok(Some(maintenance)) = self.log.try_maintain()
        {
            // What goes wrong is left for the next time.
            drop(self.flush_sealed(&maintenance));
        }
    }

    /// Whether sealed memtables amount to much, or walks are worth it.
    fn is_flush_due(&self, tree: &Tree) -> bool {
        let is_worth_it = |walked| is_worth_flushing(tree.sealed_shape(), &tree.version.shapes(None), walked);
        let walked = self.walked.records();
        tree.sealed_bytes() >= self.pace.flush || walked > 0 && is_worth_it(walked)
    }

    /// How tables are written.
    const fn manner(&self) -> Manner {
        let Pace { slice, table, .. } = self.pace;
        Manner { slice, table, compression: self.compression }
    }

    /// Merges a slice, and flushes meanwhile what is due.
    fn merge_slice(&self, right: &Maintenance<'_, Tree>, occasion: Occasion, slice: u64) -> Result<bool> {
        let manner = Manner { slice, ..self.manner() };
        let is_merged = compact::merge_slice(right, occasion, manner, &mut || {
            self.flush_if_due();
            !self.is_stopped()
        })?;
        if is_merged {
            self.walked.spend(u64::MAX);
        }
        Ok(is_merged)
    }

    /// Writes the memtables of full segments to a table.
    fn flush_sealed(&self, maintenance: &Maintenance<'_, Tree>) -> Result<()> {
        match maintenance.sealed(sealed_memtables)? {
            Some(sealed) => self.flush(maintenance, &sealed, &mut |_| true),
            None => Ok(()),
        }
    }

    /// Writes memtables to a run and lets the log begin behind them.
    fn flush(
        &self,
        maintenance: &Maintenance<'_, Tree>,
        sealed: &SealedMemtables,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<()> {
        maintenance.discard_strays();
        let manifest = maintenance.manifest()?;
        let expired_by = maintenance.expired_by();
        let written =
            flush::write(maintenance.place(), &manifest, sealed, self.manner(), expired_by, progress);
        match written.inspect_err(|_| maintenance.discard_strays())? {
            // Another process has flushed them: they need not be kept.
            None => self.log.take_up_manifest(),
            Some(flushed) => {
                let installed = maintenance.install(|manifest| {
                    flushed.put_into(manifest);
                    Ok(())
                });
                installed.inspect_err(|_| maintenance.discard_strays())?;
                self.flushed_bytes.fetch_add(sealed.log_bytes, Ordering::Relaxed);
                self.walked.spend(sealed.view.iter().map(|(_, memtable)| memtable.keys()).sum());
                Ok(())
            }
        }
    }
}

fn sealed_memtables(tree: &Tree) -> Vec<(FileId, Arc<Memtable>)> {
    tree.sealed.clone()
}

impl Engine for KvEngine {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.shared.log.entry(key)
    }

    fn now(&self) -> Timestamp {
        self.shared.log.now()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.maintain_for_walks();
        Ok(Box::new(self.view()?))
    }

    fn turn(&self, verb: &'static str) -> Result<Box<dyn Turn + '_>> {
        let turn = self.shared.log.turn(verb)?;
        self.shared.log.forget_the_time();
        Ok(Box::new(KvTurn { turn, engine: self }))
    }

    fn bulk(&self) -> Result<Box<dyn Bulk + '_>> {
        self.shared.log.check_writable()?;
        Ok(Box::new(KvBulk::new(self)))
    }

    fn stats(&self) -> Result<Stats> {
        let log = &self.shared.log;
        log.look_for_changes()?;
        let (open_tables, mapped_bytes) = log.peek(|tree| figures::open_tables(&tree.version));
        let view = self.view()?;
        let estimate = view.estimate();
        let is_exact = estimate.0 <= MAX_COUNTED;
        let (keys, live_bytes) = if is_exact { view.count()? } else { estimate };
        let (memtable_keys, memtable_bytes) = view.in_memory();
        let levels = figures::levels(view.version());
        let log = log.stats()?;
        Ok(Stats {
            engine: EngineKind::Kv,
            keys,
            live_bytes,
            is_exact,
            lsn: view.lsn(),
            memtable_keys,
            memtable_bytes,
            runs: levels.len() as u64,
            tables: levels.iter().map(|level| level.tables).sum(),
            levels,
            user_bytes: log.user_bytes + memtable_bytes,
            open_tables,
            mapped_bytes,
            ..log
        })
    }

    fn compact(&self, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction> {
        let bytes_before = self.shared.log.stats()?.disk_bytes;
        self.stop_background();
        let right = self.shared.log.merge()?;
        let maintenance = self.shared.log.maintain()?;
        let sealed = maintenance.seal(sealed_memtables)?;
        let in_memory: u64 = sealed.view.iter().map(|(_, memtable)| memtable.keys()).sum();
        let stored: u64 = right.manifest()?.runs.iter().flatten().map(RunTable::entries).sum();
        // What is flushed above older runs is then merged with them.
        let total = if stored == 0 { in_memory } else { 2 * in_memory + stored };
        let mut flushed = 0;
        let flush = self.shared.flush(&maintenance, &sealed, &mut |now| {
            flushed = now.written_bytes;
            progress(Progress { total, ..now })
        });
        flush.map_err(lost)?;
        drop(maintenance);
        let merge = compact::merge_all(&right, self.shared.manner(), &mut |now| {
            let written_bytes = flushed + now.written_bytes;
            progress(Progress { done: in_memory + now.done, total, written_bytes, ..now })
        });
        merge.map_err(lost)?;
        drop(right);
        Ok(Compaction { bytes_before, bytes_after: self.shared.log.stats()?.disk_bytes })
    }

    fn check(&self, progress: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check> {
        let log = &self.shared.log;
        check::check(log.place(), log.patience().clone(), progress)
    }

    fn backup(&self, dir: &Path, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Backup> {
        self.back_up(dir, progress)
    }

    fn close(&self) {
        self.stop_background();
        self.flush_what_is_left();
        self.shared.pay();
    }

    fn read_only(&self) -> Option<&str> {
        self.shared.log.read_only()
    }

    fn take_notices(&self) -> Vec<Notice> {
        self.shared.log.take_notices()
    }
}

struct KvTurn<'a> {
    turn: WalTurn<'a, Tree>,
    engine: &'a KvEngine,
}

impl Turn for KvTurn<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let found = match self.turn.entry(key) {
            // Another process merged the table since the handle last looked, and can't again during the turn.
            Err(error) if is_missing(&error) => {
                self.turn.take_up_manifest()?;
                self.turn.entry(key)
            }
            found => found,
        };
        self.engine.shared.log.vouch()?;
        found
    }

    fn now(&self) -> Timestamp {
        self.turn.now()
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn> {
        self.turn.write(batch)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { turn, engine } = *self;
        engine.shared.log.vouch()?;
        turn.finish()?;
        engine.maintain();
        Ok(())
    }
}
