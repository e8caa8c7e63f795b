//! The LSM engine: the newest changes in memtables, everything else in sorted tables.
//!
//! ```text
//!  write ─► log ─► active memtable ──(segment full)──► sealed memtables ──flush──► run ─┐
//!                                                                                       ├─merge─► larger run
//!  read ◄── active ◄── sealed, newest first ◄── runs, newest first                 run ─┘
//! ```
//!
//! A memtable belongs to one log segment. When a segment is full its memtable is sealed; flushing writes the sealed ones to
//! a table, names it in the manifest and lets the log begin behind it. Runs are merged as [`plan`](lsm::plan) decides: by a
//! thread of this handle, which waits for it when it is dropped, so that short-lived processes make progress too.
//!
//! Opening reads the manifest and the log behind it, never a table: tables are opened when they are first read. When a
//! table is gone because another process merged it, the handle starts again from the manifest.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::lsm::memtable::Memtable;
use super::lsm::merge::{Merge, Source};
use super::lsm::plan::plan;
use super::lsm::tables;
use super::lsm::tree::Tree;
use super::lsm::view::View;
use super::wal_engine::{Maintenance, Memory, Sealed, WalEngine, WalTurn};
use super::{Compaction, Engine, Progress, Snapshot, Stats, Turn};
use crate::error::{Error, Notice, Result};
use crate::options::Options;
use crate::storage::Place;
use crate::storage::manifest::Manifest;
use crate::types::{Batch, Direction, EngineKind, Entry, FileId, KeyRange, Lsn, Value};

/// How often a reader starts again before it takes a missing table for a lost one.
const MAX_RESTARTS: usize = 20;

/// With more sealed memtables than this a writer waits for its turn to flush, so that memory is bounded.
const MAX_SEALED: usize = 16;

/// A handle that wrote leaves at most so many bytes in the log for the next process to read.
const MAX_LEFT_BYTES: u64 = 256 << 10;

/// `.stats` counts so many keys; of more it gives an estimate.
const MAX_COUNTED: u64 = 1 << 20;

/// The LSM tree of one database.
pub(crate) struct KvEngine {
    shared: Arc<Shared>,
    /// The thread that merges runs, if one was started.
    merging: Mutex<Option<JoinHandle<()>>>,
}

/// What the merging thread needs too.
struct Shared {
    log: WalEngine<Tree>,
}

impl KvEngine {
    /// Opens the database at `place`, which has `manifest`.
    ///
    /// # Errors
    /// As [`WalEngine::open`].
    pub(crate) fn open(place: Place, manifest: Manifest, options: &Options) -> Result<Self> {
        let log = WalEngine::open(place, manifest, options)?;
        Ok(Self { shared: Arc::new(Shared { log }), merging: Mutex::default() })
    }

    fn view(&self) -> Result<View> {
        self.shared.read(View::of)
    }

    /// Flushes sealed memtables, unless somebody else is at it and few wait, and sees to it that runs are merged. The write that
    /// led here is durable: what goes wrong is left for the next time.
    fn maintain(&self) {
        let log = &self.shared.log;
        let maintenance = match log.peek(|tree| tree.sealed.len()) {
            0 => return,
            few if few <= MAX_SEALED => log.try_maintain(),
            _ => log.maintain().map(Some),
        };
        let flushed = match maintenance {
            Ok(Some(mut maintenance)) => flush_sealed(&mut maintenance),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        if flushed.is_ok() {
            self.merge_in_background();
        }
    }

    /// Flushes the log if this handle wrote to it and it has grown.
    fn flush_what_is_left(&self) {
        let log = &self.shared.log;
        let wrote = log.counters().commits.load(Ordering::Relaxed) > 0;
        if !wrote || log.log_bytes() < MAX_LEFT_BYTES {
            return;
        }
        if let Ok(Some(mut maintenance)) = log.try_maintain()
            && let Ok(sealed) = maintenance.seal(sealed_memtables)
            && flush(&mut maintenance, &sealed, &mut |_| true).is_ok()
        {
            drop(maintenance);
            self.merge_in_background();
        }
    }

    fn wait_for_merge(&self) {
        let merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = merging {
            // A merge that failed has changed nothing.
            drop(thread.join());
        }
    }

    /// Starts a thread that merges runs, if there is something to merge and none is at it.
    fn merge_in_background(&self) {
        let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        if merging.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        if self.shared.log.peek(|tree| plan(&tree.version.sizes()).is_some()) {
            let shared = Arc::clone(&self.shared);
            let work = move || shared.merge_as_planned();
            *merging = std::thread::Builder::new().name("kvdb-merge".into()).spawn(work).ok();
        }
    }
}

impl Drop for KvEngine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Merges until all is well, an error ends it, or another process is at it.
    fn merge_as_planned(&self) {
        while let Ok(Some(mut maintenance)) = self.log.try_maintain() {
            let sizes = run_sizes(maintenance.manifest());
            let Some(range) = plan(&sizes) else { break };
            if tables::merge(&mut maintenance, range, &mut |_| true).is_err() {
                break;
            }
        }
    }

    /// Runs `read` on the tree once it holds everything that was acknowledged before the call. A table that another process
    /// removed meanwhile makes it start again.
    fn read<R>(&self, read: impl Fn(&Tree, Lsn) -> Result<R>) -> Result<R> {
        let mut missing = None;
        for _ in 0..MAX_RESTARTS {
            match self.log.read(|tree, lsn| read(tree, lsn))? {
                Err(error) if is_missing(&error) => {
                    self.log.start_again()?;
                    missing = Some(error);
                }
                done => return done,
            }
        }
        let path = match missing {
            Some(Error::Io { path, .. }) => path,
            _ => std::path::PathBuf::new(),
        };
        Err(Error::corruption(&path, 0, "the table is missing, and the manifest needs it"))
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn run_sizes(manifest: &Manifest) -> Vec<u64> {
    manifest.runs.iter().map(|run| run.iter().map(|table| table.len).sum()).collect()
}

/// Writes the memtables of full segments to a table.
fn flush_sealed(maintenance: &mut Maintenance<'_, Tree>) -> Result<()> {
    match maintenance.sealed(sealed_memtables)? {
        Some(sealed) => flush(maintenance, &sealed, &mut |_| true),
        None => Ok(()),
    }
}

fn sealed_memtables(tree: &Tree) -> Vec<(FileId, Arc<Memtable>)> {
    tree.sealed.clone()
}

/// Writes memtables to a table and lets the log begin behind them.
fn flush(
    maintenance: &mut Maintenance<'_, Tree>,
    sealed: &Sealed<Vec<(FileId, Arc<Memtable>)>>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<()> {
    let mut manifest = maintenance.manifest().clone();
    let from = manifest.first.id;
    if sealed.first.id <= from {
        return Ok(());
    }
    let memtables: Vec<_> = sealed.view.iter().filter(|(segment, _)| *segment >= from).collect();
    let mut sources: Vec<Box<dyn Source + '_>> = Vec::new();
    for (_, memtable) in memtables.iter().rev() {
        sources.push(Box::new(memtable.walk(&KeyRange::all(), Direction::Forward)));
    }
    let keep_tombstones = !manifest.runs.is_empty();
    let mut merge = Merge::new(sources, Direction::Forward)?;
    let total = memtables.iter().map(|(_, memtable)| memtable.len() as u64).sum();
    let mut report = |done| progress(Progress { done, total });
    let run =
        tables::write_run(maintenance.place(), &mut manifest, &mut merge, keep_tombstones, &mut report)?;
    if !run.is_empty() {
        manifest.runs.insert(0, run);
    }
    maintenance.install(Manifest { first: sealed.first, flushed: sealed.lsn, ..manifest })
}

impl Engine for KvEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.shared.read(|tree, _| Ok(tree.entry(key)?.map(|entry| entry.value)))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.view()?))
    }

    fn turn(&self, verb: &'static str) -> Result<Box<dyn Turn + '_>> {
        Ok(Box::new(KvTurn { turn: self.shared.log.turn(verb)?, engine: self }))
    }

    fn stats(&self) -> Result<Stats> {
        let view = self.view()?;
        let estimate = view.estimate();
        let is_exact = estimate.0 <= MAX_COUNTED;
        let (keys, live_bytes) = if is_exact { view.count()? } else { estimate };
        let runs = &view.version().runs;
        Ok(Stats {
            engine: EngineKind::Kv,
            keys,
            live_bytes,
            is_exact,
            lsn: view.lsn(),
            runs: runs.len() as u64,
            tables: runs.iter().map(|run| run.0.len() as u64).sum(),
            ..self.shared.log.stats()?
        })
    }

    fn compact(&self, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction> {
        let bytes_before = self.shared.log.stats()?.disk_bytes;
        let mut maintenance = self.shared.log.maintain()?;
        let sealed = maintenance.seal(sealed_memtables)?;
        flush(&mut maintenance, &sealed, progress)?;
        let runs = maintenance.manifest().runs.len();
        let tombstones = maintenance.manifest().runs.iter().flatten().any(|table| table.tombstones > 0);
        if runs > 1 || tombstones {
            tables::merge(&mut maintenance, 0..runs, progress)?;
        }
        drop(maintenance);
        Ok(Compaction { bytes_before, bytes_after: self.shared.log.stats()?.disk_bytes })
    }

    /// Waits for a merge that is under way (processes that are killed lose its work, but others should not), and flushes a log
    /// that would take the next process long to read.
    fn close(&self) {
        self.wait_for_merge();
        self.flush_what_is_left();
        self.wait_for_merge();
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
        match self.turn.entry(key) {
            // Another process merged the table since the handle last looked, and can't again during the turn.
            Err(error) if is_missing(&error) => {
                self.turn.take_up_manifest()?;
                self.turn.entry(key)
            }
            found => found,
        }
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn> {
        self.turn.write(batch)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { turn, engine } = *self;
        turn.finish()?;
        engine.maintain();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::storage::fs::sim::SimFs;

    fn open(disk: &SimFs) -> Arc<KvEngine> {
        let (fs, dir) = (disk.process(), std::path::Path::new("/db"));
        let options = Options::new().engine(EngineKind::Kv);
        let manifest = crate::engine::wal_engine::find_or_create(&*fs, dir, &options).unwrap();
        let place = Place { fs, dir: dir.to_owned() };
        Arc::new(KvEngine::open(place, manifest, &options).unwrap())
    }

    /// Merges all runs without touching the log, as a background merge does.
    fn merge_all(engine: &KvEngine) {
        let mut maintenance = engine.shared.log.maintain().unwrap();
        let runs = maintenance.manifest().runs.len();
        assert!(runs > 0);
        tables::merge(&mut maintenance, 0..runs, &mut |_| true).unwrap();
    }

    #[test]
    fn a_handle_that_is_closed_after_much_writing_leaves_a_short_log() {
        let disk = SimFs::new();
        let engine = open(&disk);
        let db = Db::from_engine(engine.clone());
        for number in 0..400_u32 {
            db.set(number.to_be_bytes().to_vec(), vec![7; 20_000]).unwrap();
        }
        engine.close();
        assert!(engine.shared.log.log_bytes() < MAX_LEFT_BYTES);
        assert!(engine.stats().unwrap().runs > 0);
        assert_eq!(open(&disk).stats().unwrap().keys, 400);
    }

    #[test]
    fn tables_that_others_merged_away_are_found_again_by_reads_turns_and_snapshots() {
        let disk = SimFs::new();
        let merging = open(&disk);
        let db = Db::from_engine(merging.clone());
        db.set("k", "v").unwrap();
        db.set("other", "v").unwrap();
        db.compact().unwrap();
        let checks: [fn(&KvEngine); 4] = [
            |engine| assert_eq!(engine.get(b"k").unwrap().unwrap(), b"v"),
            |engine| {
                let turn = engine.turn("test").unwrap();
                assert_eq!(turn.entry(b"k").unwrap().unwrap().value, b"v");
            },
            |engine| {
                let _turn = engine.turn("test").unwrap();
                assert_eq!(engine.get(b"k").unwrap().unwrap(), b"v", "read by who has a turn");
            },
            |engine| assert!(engine.snapshot().unwrap().entry(b"k").unwrap().is_some()),
        ];
        for check in checks {
            // It has looked at the log, and opened no table.
            let behind = open(&disk);
            assert!(behind.get(b"a key below all tables").unwrap().is_none());
            merge_all(&merging);
            check(&behind);
        }
    }
}
