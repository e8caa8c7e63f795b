//! A snapshot of the LSM tree, and what is read from it.

use std::sync::Arc;

use super::memtable::Frozen;
use super::merge::Merge;
use super::tree::Tree;
use super::version::Version;
use super::walk::{KeyWalk, Keys, Live, Walk};
use super::walked::{Counted, Walked};
use crate::engine::{Cursor, KeyCursor, Snapshot};
use crate::error::Result;
use crate::storage::sstable::KeyHash;
use crate::types::{Direction, Entry, KeyRange, Lsn, Timestamp};

/// A frozen view: memtables and tables as they were.
pub(crate) struct View {
    /// Newest first, none empty.
    memtables: Vec<Frozen>,
    version: Arc<Version>,
    walked: Arc<Walked>,
    lsn: Lsn,
    now: Timestamp,
}

impl View {
    /// The tree as it is now, at the time `now`; what is walked over in it is counted.
    pub(crate) fn of(tree: &Tree, walked: &Arc<Walked>, lsn: Lsn, now: Timestamp) -> Self {
        let memtables = tree.memtables().filter_map(Frozen::of).collect();
        let (version, walked) = (Arc::clone(&tree.version), Arc::clone(walked));
        Self { memtables, version, walked, lsn, now }
    }

    /// Opens its tables, so that it stays readable whatever others remove.
    ///
    /// # Errors
    /// Corruption; I/O, `NotFound` when a table is gone already.
    pub(crate) fn open(self) -> Result<Self> {
        self.version.open_all()?;
        Ok(self)
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Keys and bytes, outdated versions and deleted keys included.
    pub(crate) fn estimate(&self) -> (u64, u64) {
        let tables = self.version.tables().map(|table| table.listed());
        tables.fold(self.in_memory(), |(keys, bytes), listed| {
            (keys + listed.entries(), bytes + listed.share(listed.table.payload_bytes))
        })
    }

    /// Keys and bytes in memtables.
    pub(crate) fn in_memory(&self) -> (u64, u64) {
        let memtables = self.memtables.iter();
        memtables.fold((0, 0), |(keys, bytes), memtable| (keys + memtable.keys(), bytes + memtable.bytes()))
    }

    /// Keys and bytes, by looking at each.
    ///
    /// # Errors
    /// Corruption.
    pub(crate) fn count(&self) -> Result<(u64, u64)> {
        let mut entries = self.keys(&KeyRange::all(), Direction::Forward)?;
        let (mut keys, mut bytes) = (0, 0);
        while let Some((key, value_len)) = entries.next()? {
            keys += 1;
            bytes += key.len() as u64 + value_len;
        }
        Ok((keys, bytes))
    }
}

impl Snapshot for View {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let hash = KeyHash::new(key, self.version.seed);
        let entry = match self.memtables.iter().find_map(|memtable| memtable.get(hash, key)) {
            Some(slot) => slot.entry(),
            None => self.version.entry(hash, key)?,
        };
        Ok(entry.filter(|entry| entry.is_there(self.now)))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        if let ([], [run]) = (&self.memtables[..], &self.version.runs[..]) {
            return Ok(Box::new(Live::new(run.walk(range, direction), self.now)));
        }
        let memtables = self.memtables.iter().map(|memtable| Walk::from(memtable.walk(range, direction)));
        let runs = self.version.runs.iter().map(|run| Walk::from(run.walk(range, direction)));
        let walk = Merge::new(memtables.chain(runs).collect(), direction)?;
        Ok(Box::new(Counted::new(Live::new(walk, self.now), &self.walked)))
    }

    fn keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>> {
        if let ([], [run]) = (&self.memtables[..], &self.version.runs[..]) {
            return Ok(Box::new(Keys::of(run.walk(range, direction), self.now)));
        }
        let memtables = self.memtables.iter().map(|memtable| KeyWalk::from(memtable.walk(range, direction)));
        let runs = self.version.runs.iter().map(|run| KeyWalk::from(run.walk(range, direction)));
        let walk = Merge::new(memtables.chain(runs).collect(), direction)?;
        Ok(Box::new(Counted::new(Keys::of(walk, self.now), &self.walked)))
    }

    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}
