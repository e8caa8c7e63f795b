//! The simple engine: every entry in a hash map in memory, every change in the log.
//!
//! It is the reference for what the language means, and the right choice while the data fits in memory. Point reads are hash
//! look-ups; the first scan sorts the keys, after which the order is kept up to date. A snapshot shares the map, and the
//! next change after it copies what it must not disturb (the map, not the values).
//!
//! Opening reads the base and the log, so it costs time in proportion to the data. The log is rebased — replaced by the live
//! entries — when it holds more than twice as many bytes as they do: each written byte is then written about three times
//! in all.

mod backup;
mod base;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key_map::{KeyMap, Walk};
use super::wal_engine::{Maintenance, Memory, Sealed, WalEngine, WalTurn};
use super::{
    Backup, BatchBulk, Bulk, Check, Compaction, Cursor, Engine, Item, Progress, Snapshot, Stats, Turn, check,
};
use crate::error::{Error, Fault, Notice, Result};
use crate::options::Options;
use crate::storage::manifest::Manifest;
use crate::storage::wal::record::OpRef;
use crate::storage::{Life, Place};
use crate::types::{Batch, Direction, EngineKind, Entry, FileId, Key, KeyRange, Lsn, Timestamp};
use base::BaseWriter;

/// A log smaller than this is never rebased of its own accord.
const MIN_REBASE_BYTES: u64 = 8 << 20;

/// Entries between two reports of progress: few, because values may be large, and who wants to stop should not wait.
const PROGRESS_STEP: u64 = 256;

/// What the log adds up to.
#[derive(Clone, Default)]
struct Contents {
    map: KeyMap<Entry>,
    /// Bytes of all of them, expired ones included.
    live_bytes: u64,
    /// How many expire, those that have expired included.
    expiring: u64,
    /// Bytes of keys and values that were written in the life of the database.
    user_bytes: u64,
}

impl Contents {
    fn set(&mut self, key: Key, entry: Entry) {
        let key_len = key.len();
        self.user_bytes += (key_len + entry.value.len()) as u64;
        self.live_bytes += (key_len + entry.value.len()) as u64;
        self.expiring += u64::from(entry.expires.is_some());
        if let Some(old) = self.map.insert(key, entry) {
            self.forget(key_len, &old);
        }
    }

    fn apply(&mut self, op: OpRef<'_>) {
        let OpRef { key, value, lsn, expires, .. } = op;
        match value {
            Some(value) => self.set(key.into(), Entry { value: value.into(), lsn, expires }),
            None => self.delete(key),
        }
    }

    fn delete(&mut self, key: &[u8]) {
        self.user_bytes += key.len() as u64;
        self.remove(key);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(old) = self.map.remove(key) {
            self.forget(key.len(), &old);
        }
    }

    fn forget(&mut self, key_len: usize, old: &Entry) {
        self.live_bytes -= (key_len + old.value.len()) as u64;
        self.expiring -= u64::from(old.expires.is_some());
    }

    /// How many keys are there, and bytes of them and their values.
    fn count(&self, now: Timestamp) -> (u64, u64) {
        if self.expiring == 0 {
            return (self.map.len() as u64, self.live_bytes);
        }
        let there = self.map.iter().filter(|(_, entry)| entry.is_there(now));
        there.fold((0, 0), |(keys, bytes), (key, entry)| {
            (keys + 1, bytes + (key.len() + entry.value.len()) as u64)
        })
    }

    /// Removes what has expired.
    fn purge(&mut self, now: Timestamp) {
        let expired = self.map.iter().filter(|(_, entry)| !entry.is_there(now));
        let expired: Vec<Key> = expired.map(|(key, _)| key.clone()).collect();
        for key in &expired {
            self.remove(key);
        }
    }
}

impl Memory for Arc<Contents> {
    const NEEDS_EVERY_BATCH: bool = true;
    const KEEPS_BYTES: bool = false;

    fn load(place: &Place, manifest: &Manifest) -> Result<Self> {
        let mut contents = Self::default();
        base::load(place, manifest, |op| Self::make_mut(&mut contents).apply(op))?;
        Self::make_mut(&mut contents).user_bytes = manifest.totals.user_bytes;
        Ok(contents)
    }

    fn load_again(&self, place: &Place, manifest: &Manifest) -> Result<Self> {
        Self::load(place, manifest)
    }

    fn segment_begins(&mut self, _id: FileId) {}

    fn adopt(&mut self, _place: &Place, manifest: &Manifest) -> Result<()> {
        if let Some(clock) = manifest.clock.filter(|_| self.expiring > 0) {
            Self::make_mut(self).purge(clock);
        }
        Ok(())
    }

    fn apply(&mut self, op: OpRef<'_>, _bytes: &Arc<[u8]>) {
        Self::make_mut(self).apply(op);
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.map.get(key).cloned())
    }
}

/// Hash map and log.
pub(crate) struct SimpleEngine {
    log: WalEngine<Arc<Contents>>,
    /// The log is rebased when it holds more bytes than this and than the live entries call for. Raised after a failure.
    rebase_bytes: AtomicU64,
}

impl SimpleEngine {
    /// Opens the database at `place`, which has `manifest`.
    ///
    /// # Errors
    /// As [`WalEngine::open`].
    pub(crate) fn open(place: Place, manifest: Manifest, options: &Options) -> Result<Self> {
        let log = WalEngine::open(place, manifest, options)?;
        Ok(Self { log, rebase_bytes: AtomicU64::new(MIN_REBASE_BYTES) })
    }

    fn view(&self) -> Result<View> {
        self.log.view(|contents, lsn, now| View { contents: Arc::clone(contents), lsn, now })
    }

    /// Rebases the log if it has grown out of proportion and nobody else is at it. The write that led here is durable: what
    /// goes wrong is left for a later try.
    fn rebase_if_due(&self) {
        let log_bytes = self.log.log_bytes();
        if log_bytes < self.rebase_bytes.load(Ordering::Relaxed) {
            return;
        }
        let live_bytes = self.log.read(|contents, _| contents.live_bytes).unwrap_or(u64::MAX);
        if log_bytes / 2 < live_bytes {
            return;
        }
        let rebased = match self.log.try_maintain() {
            Ok(Some(maintenance)) => rebase(&maintenance, &mut |_| true).is_ok(),
            _ => false,
        };
        let next = if rebased { MIN_REBASE_BYTES } else { log_bytes.saturating_mul(2) };
        self.rebase_bytes.store(next, Ordering::Relaxed);
    }
}

/// Replaces the log by a base of the live entries.
fn rebase(
    maintenance: &Maintenance<'_, Arc<Contents>>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<()> {
    let sealed = maintenance.seal(Arc::clone)?;
    let place = maintenance.place().clone();
    let base = write_base(&place, &sealed, maintenance.expired_by(), progress)
        .inspect_err(|_| base::discard(&place, sealed.first))?;
    let written_bytes = base::len(&place, Some(base));
    maintenance.install(|manifest| {
        let read_bytes = sealed.log_bytes + base::len(&place, manifest.base);
        manifest.totals.user_bytes = sealed.view.user_bytes;
        manifest.totals.log_bytes += sealed.log_bytes;
        manifest.totals.count_merge(read_bytes, written_bytes);
        (manifest.base, manifest.flushed, manifest.first) = (Some(base), sealed.lsn, sealed.first);
        Ok(())
    })
}

fn write_base(
    place: &Place,
    sealed: &Sealed<Arc<Contents>>,
    expired_by: Option<Timestamp>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Life> {
    let total = sealed.view.map.len() as u64;
    let mut base = BaseWriter::create(place, sealed.first, sealed.lsn)?;
    for (done, (key, entry)) in (0..).zip(sealed.view.map.iter()) {
        let written_bytes = base.written_bytes();
        if done % PROGRESS_STEP == 0
            && !progress(Progress { done, total, written_bytes, ..Progress::default() })
        {
            return Err(Error::Interrupted);
        }
        if expired_by.is_none_or(|now| entry.is_there(now)) {
            base.add(key, entry)?;
        }
    }
    progress(Progress { done: total, total, written_bytes: base.written_bytes(), ..Progress::default() });
    base.finish(sealed.first)
}

impl Engine for SimpleEngine {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.log.entry(key)
    }

    fn now(&self) -> Timestamp {
        self.log.now()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.view()?))
    }

    fn turn(&self, verb: &'static str) -> Result<Box<dyn Turn + '_>> {
        let turn = self.log.turn(verb)?;
        self.log.forget_the_time();
        Ok(Box::new(SimpleTurn { turn, engine: self }))
    }

    fn bulk(&self) -> Result<Box<dyn Bulk + '_>> {
        Ok(Box::new(BatchBulk { engine: self, batch: Batch::new() }))
    }

    fn stats(&self) -> Result<Stats> {
        let View { contents, lsn, now } = self.view()?;
        let (keys, live_bytes) = contents.count(now);
        Ok(Stats {
            engine: EngineKind::Simple,
            keys,
            live_bytes,
            is_exact: true,
            lsn,
            memtable_keys: contents.map.len() as u64,
            memtable_bytes: contents.live_bytes,
            user_bytes: contents.user_bytes,
            ..self.log.stats()?
        })
    }

    fn compact(&self, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction> {
        let bytes_before = self.log.stats()?.disk_bytes;
        rebase(&self.log.maintain()?, progress)?;
        Ok(Compaction { bytes_before, bytes_after: self.log.stats()?.disk_bytes })
    }

    fn check(&self, progress: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check> {
        check::check(self.log.place(), self.log.patience().clone(), progress)
    }

    fn backup(&self, dir: &Path, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Backup> {
        self.back_up(dir, progress)
    }

    fn read_only(&self) -> Option<&str> {
        self.log.read_only()
    }

    fn take_notices(&self) -> Vec<Notice> {
        self.log.take_notices()
    }
}

/// A frozen view: the map as it was, shared until it changes.
struct View {
    contents: Arc<Contents>,
    lsn: Lsn,
    now: Timestamp,
}

impl Snapshot for View {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.contents.entry(key)?.filter(|entry| entry.is_there(self.now)))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        Ok(Box::new(EntryWalk { walk: self.contents.map.walk(range, direction), now: self.now }))
    }

    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

struct EntryWalk<'a> {
    walk: Walk<'a, Entry>,
    now: Timestamp,
}

impl Cursor for EntryWalk<'_> {
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        let next = self.walk.find(|(_, entry)| entry.is_there(self.now));
        Ok(next.map(|(key, entry)| (&key[..], &entry.value[..], entry.expires)))
    }
}

struct SimpleTurn<'a> {
    turn: WalTurn<'a, Arc<Contents>>,
    engine: &'a SimpleEngine,
}

impl Turn for SimpleTurn<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let found = self.turn.entry(key)?;
        self.engine.log.vouch()?;
        Ok(found)
    }

    fn now(&self) -> Timestamp {
        self.turn.now()
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn> {
        self.turn.write(batch)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { turn, engine } = *self;
        engine.log.vouch()?;
        turn.finish()?;
        engine.rebase_if_due();
        Ok(())
    }
}
