//! A snapshot of the LSM tree, and what is read from it.

use std::sync::Arc;

use super::memtable::Memtable;
use super::merge::{Entries, Merge, Source};
use super::tree::{Tree, find};
use super::version::Version;
use crate::engine::{Cursor, Snapshot};
use crate::error::Result;
use crate::types::{Direction, Entry, KeyRange, Lsn};

/// A frozen view: memtables and tables as they were. Memtables are copied by who changes them, tables never change.
pub(crate) struct View {
    /// Newest first.
    memtables: Vec<Arc<Memtable>>,
    version: Arc<Version>,
    lsn: Lsn,
}

impl View {
    /// The tree as it is now. Its tables are opened, so that it stays readable whatever others remove.
    ///
    /// # Errors
    /// Corruption; I/O, `NotFound` when a table is gone already.
    pub(crate) fn of(tree: &Tree, lsn: Lsn) -> Result<Self> {
        tree.version.open_all()?;
        let memtables = tree.memtables().filter(|memtable| memtable.len() > 0).cloned().collect();
        Ok(Self { memtables, version: Arc::clone(&tree.version), lsn })
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

    /// Changes and bytes in memtables.
    pub(crate) fn in_memory(&self) -> (u64, u64) {
        let memtables = self.memtables.iter();
        memtables
            .fold((0, 0), |(keys, bytes), memtable| (keys + memtable.len() as u64, bytes + memtable.bytes()))
    }

    /// Keys and bytes, by looking at each.
    ///
    /// # Errors
    /// Corruption.
    pub(crate) fn count(&self) -> Result<(u64, u64)> {
        let mut entries = self.scan(&KeyRange::all(), Direction::Forward)?;
        let (mut keys, mut bytes) = (0, 0);
        while let Some((key, value)) = entries.next()? {
            keys += 1;
            bytes += (key.len() + value.len()) as u64;
        }
        Ok((keys, bytes))
    }
}

impl Snapshot for View {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        find(self.memtables.iter(), &self.version, key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        let mut sources: Vec<Box<dyn Source + '_>> = Vec::new();
        for memtable in &self.memtables {
            sources.push(Box::new(memtable.walk(range, direction)));
        }
        for run in &self.version.runs {
            sources.push(Box::new(run.walk(range, direction)));
        }
        if sources.len() == 1
            && let Some(only) = sources.pop()
        {
            return Ok(Box::new(Entries::new(only)));
        }
        Ok(Box::new(Entries::new(Box::new(Merge::new(sources, direction)?))))
    }

    fn lsn(&self) -> Lsn {
        self.lsn
    }
}
