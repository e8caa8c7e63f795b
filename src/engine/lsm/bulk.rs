//! Many changes that become one commit without being held in memory: written to tables that nothing leads to until then.
//!
//! ```text
//!  changes ─► chunk ─(full: sort it)─► table ─┐
//!                                             ├─► run ─┐
//!  changes ─► chunk ─(keys go on)────► table ─┘        ├─► one run ─► commit: the manifest takes it in on top of all others
//!  changes ─► chunk ─(keys begin anew)► table ──► run ─┘
//! ```
//!
//! Changes in key order make one run. Others make a run a chunk, and these are merged before they are committed. In the file all
//! records have LSN 1; the commit says which LSN that counts from. Right until then the tables can be thrown away: who drops a bulk
//! does so, and where its process died, whoever has the right to merge next.

use std::sync::Arc;

use super::dictionary::Walks;
use super::merge::{Merge, Source};
use super::run::{LazyTable, Run};
use super::tables::{self, Manner, Target};
use super::version::merge_of_runs;
use crate::error::Result;
use crate::storage::manifest::Manifest;
use crate::storage::sstable::{StoredValue, file_name};
use crate::storage::{Place, RunTable, TableMeta};
use crate::types::{Direction, FileId, Lsn, Op, Timestamp, Value};

/// The LSN of all records, counted from the one before the commit.
const RAW_LSN: Lsn = Lsn(1);

/// Memory that a change takes beside the bytes of its key and value, about.
const CHANGE_BYTES: u64 = 64;

/// Changes that come out of order are put in order so many at a time: nobody notices the time it takes. The pieces are merged
/// as they are written, which can be interrupted.
const PIECE: usize = 32 << 10;

/// A value of more bytes is kept as it came.
const MAX_COPIED_LEN: usize = 4 << 10;

/// Changes that are held in memory. Keys and small values are copied behind one another: so they lie close together when they are
/// compared, and to let go of them takes no time, which somebody who interrupts would have to wait for.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    /// Of one key the later behind the earlier.
    changes: Vec<Change>,
    memory: u64,
    /// Whether keys came out of order, or twice.
    is_mixed: bool,
}

/// A change: where its key begins, how long it is, and what is stored under it.
#[derive(Debug)]
struct Change {
    start: usize,
    key_len: usize,
    stored: Stored,
    expires: Option<Timestamp>,
}

#[derive(Debug)]
enum Stored {
    /// The key is deleted.
    Nothing,
    /// The value lies behind the key, so many bytes.
    Here(usize),
    Apart(Value),
}

impl Change {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.start + self.key_len]
    }

    fn value<'a>(&'a self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.start + self.key_len;
        match &self.stored {
            Stored::Nothing => None,
            Stored::Here(len) => Some(&bytes[start..start + len]),
            Stored::Apart(value) => Some(value),
        }
    }
}

impl Chunk {
    pub(crate) fn push(&mut self, op: Op) {
        let (key, value, expires) = match op {
            Op::Set { key, value, expires } => (key, Some(value), expires),
            Op::Delete { key } => (key, None, None),
        };
        self.is_mixed |= self.changes.last().is_some_and(|last| last.key(&self.bytes) >= &key[..]);
        self.memory += CHANGE_BYTES + (key.len() + value.as_ref().map_or(0, |value| value.len())) as u64;
        let (start, key_len) = (self.bytes.len(), key.len());
        self.bytes.extend_from_slice(&key);
        let stored = match value {
            None => Stored::Nothing,
            Some(value) if value.len() > MAX_COPIED_LEN => Stored::Apart(value),
            Some(value) => {
                self.bytes.extend_from_slice(&value);
                Stored::Here(value.len())
            }
        };
        self.changes.push(Change { start, key_len, stored, expires });
        if self.is_mixed && self.changes.len().is_multiple_of(PIECE) {
            let piece = self.changes.len() - PIECE;
            sort(&mut self.changes[piece..], &self.bytes);
        }
    }

    /// About how many bytes of memory it takes.
    pub(crate) const fn memory(&self) -> u64 {
        self.memory
    }

    /// Lets go of the changes.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.changes.clear();
        (self.memory, self.is_mixed) = (0, false);
    }

    /// The changes; those of one key in the order in which they came.
    pub(crate) fn ops(&self) -> impl Iterator<Item = Op> {
        self.changes.iter().map(|change| {
            let (key, expires) = (change.key(&self.bytes).into(), change.expires);
            let value = match &change.stored {
                Stored::Apart(value) => Some(value.clone()),
                _ => change.value(&self.bytes).map(Value::from),
            };
            match value {
                Some(value) => Op::Set { key, value, expires },
                None => Op::Delete { key },
            }
        })
    }

    /// Puts in order what is not yet.
    fn sort(&mut self) {
        let Self { bytes, changes, is_mixed, .. } = self;
        if *is_mixed {
            let whole = changes.len() - changes.len() % PIECE;
            sort(&mut changes[whole..], bytes);
        }
    }

    /// One walk over the pieces once they are in order, from behind a key.
    fn walk(&self, after: Option<&[u8]>) -> Result<Merge<ChunkWalk<'_>>> {
        let piece_len = if self.is_mixed { PIECE } else { self.changes.len() };
        let newest_first = self.changes.chunks(piece_len.max(1)).rev();
        let walks = newest_first.map(|piece| {
            let from =
                after.map_or(0, |after| piece.partition_point(|change| change.key(&self.bytes) <= after));
            ChunkWalk::new(&self.bytes, &piece[from..])
        });
        Merge::new(walks.collect(), Direction::Forward)
    }

    fn payload_bytes(&self) -> u64 {
        self.memory - self.changes.len() as u64 * CHANGE_BYTES
    }
}

/// Orders changes by key, those of one key as they were.
fn sort(changes: &mut [Change], bytes: &[u8]) {
    changes.sort_by(|a, b| a.key(bytes).cmp(b.key(bytes)));
}

/// A walk over changes in order, the last one of each key only.
struct ChunkWalk<'a> {
    bytes: &'a [u8],
    rest: std::slice::Iter<'a, Change>,
    current: Option<&'a Change>,
}

impl<'a> ChunkWalk<'a> {
    fn new(bytes: &'a [u8], changes: &'a [Change]) -> Self {
        Self { bytes, rest: changes.iter(), current: None }
    }
}

impl Source for ChunkWalk<'_> {
    fn advance(&mut self) -> Result<bool> {
        self.current = self.rest.next();
        while let (Some(current), Some(next)) = (self.current, self.rest.as_slice().first())
            && current.key(self.bytes) == next.key(self.bytes)
        {
            self.current = self.rest.next();
        }
        Ok(self.current.is_some())
    }

    fn key(&self) -> &[u8] {
        self.current.map_or(&[], |change| change.key(self.bytes))
    }

    fn value(&self) -> Result<Option<StoredValue<'_>>> {
        Ok(self.current.and_then(|change| change.value(self.bytes)).map(StoredValue::from))
    }

    fn expires(&self) -> Option<Timestamp> {
        self.current.and_then(|change| change.expires)
    }

    fn value_len(&self) -> Option<u64> {
        self.current.and_then(|change| change.value(self.bytes)).map(|value| value.len() as u64)
    }

    fn lsn(&self) -> Lsn {
        RAW_LSN
    }
}

/// Runs that nothing leads to yet.
#[derive(Debug)]
pub(crate) struct Loose {
    place: Place,
    seed: u64,
    manner: Manner,
    /// The number of the next table.
    next: FileId,
    /// Newest first.
    runs: Vec<Vec<TableMeta>>,
    user_bytes: u64,
    table_bytes_written: u64,
}

impl Loose {
    /// Tables are to be written with the numbers of merges: whoever has the right to merge may do so.
    pub(crate) fn new(place: &Place, manifest: &Manifest, manner: Manner) -> Self {
        let (seed, next) = (manifest.seed, manifest.next_merged);
        Self {
            place: place.clone(),
            seed,
            manner,
            next,
            runs: Vec::new(),
            user_bytes: 0,
            table_bytes_written: 0,
        }
    }

    /// Writes a chunk to tables.
    ///
    /// # Errors
    /// `Interrupted` when `goes_on` says no; I/O.
    pub(crate) fn write(&mut self, chunk: &mut Chunk, goes_on: &dyn Fn() -> bool) -> Result<()> {
        if chunk.changes.is_empty() {
            return Ok(());
        }
        let user_bytes = chunk.payload_bytes();
        chunk.sort();
        let largest = self.runs.first().and_then(|run| run.last()).map(|table| &table.largest);
        let first = chunk.walk(None)?;
        let is_behind = largest.is_some_and(|largest| &largest[..] < first.key());
        let tables = self.write_tables(&|after| Ok(Box::new(chunk.walk(after)?)), goes_on)?;
        self.user_bytes += user_bytes;
        match self.runs.first_mut() {
            Some(run) if is_behind => run.extend(tables),
            _ => self.runs.insert(0, tables),
        }
        Ok(())
    }

    fn write_tables(&mut self, walks: Walks<'_>, goes_on: &dyn Fn() -> bool) -> Result<Vec<TableMeta>> {
        let target = Target {
            place: &self.place,
            seed: self.seed,
            first: self.next,
            keep_tombstones: true,
            expired_by: None,
            manner: self.manner,
            limit: None,
        };
        let written = target.write(walks, &mut |_, _| goes_on())?;
        self.next = written.next;
        self.table_bytes_written += tables::total_len(&written.tables);
        Ok(written.tables)
    }

    /// Makes the runs one, and estimates what it outdates in the older ones.
    ///
    /// # Errors
    /// `Interrupted` when `goes_on` says no; corruption, I/O.
    pub(crate) fn complete(&mut self, older: &[Run], goes_on: &dyn Fn() -> bool) -> Result<Vec<RunTable>> {
        if self.runs.len() > 1 {
            self.merge(goes_on)?;
        }
        tables::list(&self.place, self.runs.concat(), older)
    }

    fn merge(&mut self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let open =
            |table: &TableMeta| Arc::new(LazyTable::new(RunTable::whole(table.clone()), self.place.clone()));
        let runs: Vec<Run> = self.runs.iter().map(|run| run.iter().map(open).collect()).collect();
        let runs: Vec<&Run> = runs.iter().collect();
        let merged = self.write_tables(&|after| merge_of_runs(&runs, after), goes_on)?;
        let before = std::mem::replace(&mut self.runs, vec![merged]);
        for table in before.iter().flatten() {
            self.place.discard(file_name(table.id));
        }
        Ok(())
    }

    /// Puts the completed run on top of those of a manifest, as the batch behind `lsn`.
    pub(crate) fn put_into(&self, manifest: &mut Manifest, mut run: Vec<RunTable>, lsn: Lsn) {
        for table in &mut run {
            table.lsn_base = lsn.0;
        }
        manifest.runs.insert(0, run);
        manifest.next_merged = self.next;
        manifest.flushed = Lsn(lsn.0 + RAW_LSN.0);
        manifest.bulk = manifest.flushed;
        manifest.totals.count_flush(self.user_bytes, self.user_bytes, self.table_bytes_written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Key;

    #[test]
    fn of_each_key_the_last_change_stays_however_they_came() {
        let mut chunk = Chunk::default();
        let key = |number: usize| Key::from(format!("{number:06}").into_bytes());
        let changes = 5 * PIECE + 7;
        let keys = 2 * PIECE + 3;
        // A step without a common factor visits every key, in no order.
        let places = (0..changes).map(|change| (change * 7_919) % keys);
        for (change, place) in places.clone().enumerate() {
            let value = change.to_string().into_bytes();
            chunk.push(Op::Set { key: key(place), value: value.into(), expires: None });
        }
        chunk.push(Op::Set { key: "w".into(), value: vec![7; MAX_COPIED_LEN + 1].into(), expires: None });
        chunk.push(Op::Delete { key: "x".into() });
        let payload: usize = (0..changes).map(|change| 6 + change.to_string().len()).sum();
        assert_eq!(chunk.payload_bytes(), (payload + 1 + MAX_COPIED_LEN + 1 + 1) as u64);
        let last: std::collections::BTreeMap<usize, usize> = places.zip(0..).collect();
        let set = |(place, change): (&usize, &usize)| (key(*place), Some(change.to_string().into_bytes()));
        let mut expected: Vec<(Key, Option<Vec<u8>>)> = last.iter().map(set).collect();
        expected.push(("w".into(), Some(vec![7; MAX_COPIED_LEN + 1])));
        expected.push(("x".into(), None));
        chunk.sort();
        let mut merge = chunk.walk(None).unwrap();
        for (key, value) in expected {
            assert!(merge.advance().unwrap());
            let len = value.as_ref().map(|value| value.len() as u64);
            let found = merge.value().unwrap().map(|value| value.bytes().unwrap());
            assert_eq!((merge.key(), found.as_deref(), merge.value_len()), (&key[..], value.as_deref(), len));
        }
        assert!(!merge.advance().unwrap());
        chunk.clear();
        assert_eq!((chunk.memory(), chunk.ops().count()), (0, 0));
    }
}
