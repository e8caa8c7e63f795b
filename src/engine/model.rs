//! A plain ordered map that obeys the contract of [`Engine`]: the oracle that tests hold the real engines against.
//!
//! One process, nothing on disk. Its clock stands still until it is told the time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Backup, BatchBulk, Bulk, Check, Compaction, Cursor, Engine, Item, Progress, Snapshot, Stats, Turn,
};
use crate::error::{Error, Fault, Notice, Result};
use crate::types::{Batch, Direction, Entry, Key, KeyRange, Lsn, Op, Timestamp};

#[derive(Clone, Default)]
pub(crate) struct Contents {
    map: BTreeMap<Key, Entry>,
    lsn: Lsn,
    now: Option<Timestamp>,
}

impl Contents {
    pub(crate) fn apply(&mut self, batch: Batch) -> Lsn {
        self.lsn = self.lsn.next();
        for op in batch.into_ops() {
            match op {
                Op::Set { key, value, expires } => {
                    self.map.insert(key, Entry { value, lsn: self.lsn, expires })
                }
                Op::Delete { key } => self.map.remove(&key),
            };
        }
        self.lsn
    }

    fn now(&self) -> Timestamp {
        self.now.unwrap_or(Timestamp::MIN)
    }

    fn entry(&self, key: &[u8]) -> Option<Entry> {
        self.map.get(key).filter(|entry| entry.is_there(self.now())).cloned()
    }

    fn there(&self) -> impl DoubleEndedIterator<Item = (&Key, &Entry)> {
        self.map.iter().filter(|(_, entry)| entry.is_there(self.now()))
    }
}

/// The model.
#[derive(Default)]
pub(crate) struct ModelEngine {
    contents: Mutex<Contents>,
}

impl ModelEngine {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is so late now, or later.
    pub(crate) fn set_clock(&self, now: Timestamp) {
        let mut contents = self.contents();
        contents.now = contents.now.max(Some(now));
    }
}

impl Engine for ModelEngine {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.contents().entry(key))
    }

    fn now(&self) -> Timestamp {
        self.contents().now()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(Arc::new(self.contents().clone())))
    }

    fn turn(&self, _verb: &'static str) -> Result<Box<dyn Turn + '_>> {
        let guard = self.contents();
        Ok(Box::new(ModelTurn { staged: guard.clone(), guard }))
    }

    fn bulk(&self) -> Result<Box<dyn Bulk + '_>> {
        Ok(Box::new(BatchBulk { engine: self, batch: Batch::new() }))
    }

    fn stats(&self) -> Result<Stats> {
        let contents = self.contents();
        let keys = contents.there().count() as u64;
        Ok(Stats { keys, is_exact: true, lsn: contents.lsn, ..Stats::default() })
    }

    fn compact(&self, _progress: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction> {
        Ok(Compaction::default())
    }

    fn check(&self, _progress: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check> {
        Ok(Check::default())
    }

    fn backup(&self, dir: &Path, _progress: &mut dyn FnMut(Progress) -> bool) -> Result<Backup> {
        Err(Error::BackupTarget { dir: dir.to_owned(), reason: "the model lies in no directory".into() })
    }

    fn read_only(&self) -> Option<&str> {
        None
    }

    fn take_notices(&self) -> Vec<Notice> {
        Vec::new()
    }
}

impl Snapshot for Arc<Contents> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(Contents::entry(self, key))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        let mut entries: Vec<_> = self.there().filter(|(key, _)| range.contains(key)).collect();
        if direction == Direction::Reverse {
            entries.reverse();
        }
        Ok(Box::new(ModelCursor(entries.into_iter())))
    }

    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn now(&self) -> Timestamp {
        Contents::now(self)
    }
}

struct ModelCursor<'a>(std::vec::IntoIter<(&'a Key, &'a Entry)>);

impl Cursor for ModelCursor<'_> {
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        Ok(self.0.next().map(|(key, entry)| (&key[..], &entry.value[..], entry.expires)))
    }
}

struct ModelTurn<'a> {
    guard: MutexGuard<'a, Contents>,
    staged: Contents,
}

impl Turn for ModelTurn<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.staged.entry(key))
    }

    fn now(&self) -> Timestamp {
        self.staged.now()
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn> {
        Ok(self.staged.apply(batch))
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        *self.guard = std::mem::take(&mut self.staged);
        Ok(())
    }
}
