//! A run: tables that are disjoint and in key order, as if a sorted file had been cut into pieces.
//!
//! ```text
//!  tables   ┌─ user:1042 … user:3999 ─┐ ┌─ user:4000 … user:7777 ─┐ ┌─ user:8000 … user:9313 ─┐
//!  shared   user:                          what all keys of the run begin with
//!  heads    1042 3999                   4000 7777                   8000 9313
//! ```
//!
//! Every get asks each run which of its tables may hold the key. The *head* of a bound, the eight bytes behind what all of them
//! begin with, as a number, nearly always says; the bounds themselves are looked at where a head is the key's own.
//!
//! Tables are opened when they are first read, and stay open as long as a version has them: an open table is readable even
//! after another process has removed its file.

use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use super::merge::Source;
use super::plan::RunShape;
use super::walk::Live;
use crate::engine::{Cursor, Item};
use crate::error::{Error, Result};
use crate::storage::codec::{head, shared_len};
use crate::storage::sstable::{Change, StoredValue, Table, TableCursor};
use crate::storage::{Place, RunTable};
use crate::types::{Direction, Key, KeyRange, Lsn, Timestamp};

/// A table, opened when it is first used.
#[derive(Debug)]
pub(crate) struct LazyTable {
    listed: RunTable,
    place: Place,
    /// Shared with other versions, where the floor may be another.
    table: Arc<OnceLock<Table>>,
}

impl LazyTable {
    /// A table that nobody has opened.
    pub(crate) fn new(listed: RunTable, place: Place) -> Self {
        Self { listed, place, table: Arc::default() }
    }

    /// The same table as another manifest lists it.
    pub(super) fn as_listed(&self, listed: RunTable) -> Self {
        Self { listed, place: self.place.clone(), table: Arc::clone(&self.table) }
    }

    pub(crate) fn listed(&self) -> &RunTable {
        &self.listed
    }

    /// The open table.
    ///
    /// # Errors
    /// Corruption; I/O, `NotFound` when another process replaced it meanwhile.
    pub(crate) fn open(&self) -> Result<&Table> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let opened = Table::open(&*self.place.fs, &self.place.dir, &self.listed.table)?;
        Ok(self.table.get_or_init(|| opened))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.table.get().is_some()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.listed.smallest() <= other.listed.largest() && other.listed.smallest() <= self.listed.largest()
    }

    fn cursor(&self, range: &KeyRange, direction: Direction) -> Result<TableCursor<'_>> {
        let table = self.open()?;
        if self.listed.floor.is_empty() {
            return table.cursor(range, direction);
        }
        table.cursor(&self.keys().intersect(range.clone()), direction)
    }

    fn keys(&self) -> KeyRange {
        KeyRange::from(self.listed.smallest().clone()..=self.listed.largest().clone())
    }

    /// The table as it is once everything up to `key` is in other tables; `None` when nothing is left.
    ///
    /// # Errors
    /// As [`LazyTable::open`].
    pub(crate) fn behind(&self, key: &Key) -> Result<Option<RunTable>> {
        if self.listed.smallest() > key {
            return Ok(Some(self.listed.clone()));
        }
        let table = self.open()?;
        let rest = KeyRange { start: Bound::Excluded(key.clone()), end: Bound::Unbounded };
        let mut cursor = table.cursor(&rest, Direction::Forward)?;
        if !cursor.advance()? {
            return Ok(None);
        }
        let floor = Key::from(cursor.key());
        Ok(Some(RunTable { hidden: table.count_below(&floor)?, floor, ..self.listed.clone() }))
    }
}

/// Disjoint tables in key order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    tables: Vec<Arc<LazyTable>>,
    /// What all keys begin with.
    shared: Key,
    /// The heads of each table's bounds.
    smallest_heads: Vec<u64>,
    largest_heads: Vec<u64>,
}

impl FromIterator<Arc<LazyTable>> for Run {
    fn from_iter<T: IntoIterator<Item = Arc<LazyTable>>>(tables: T) -> Self {
        let mut run = Self { tables: tables.into_iter().collect(), ..Self::default() };
        if let Some((first, last)) = run.smallest().zip(run.largest()) {
            run.shared = first[..shared_len(first, last)].into();
        }
        let head_of = |bound: &Key| head(bound.get(run.shared.len()..).unwrap_or_default());
        let of_both =
            |table: &Arc<LazyTable>| (head_of(table.listed.smallest()), head_of(table.listed.largest()));
        (run.smallest_heads, run.largest_heads) = run.tables.iter().map(of_both).unzip();
        run
    }
}

impl Run {
    pub(crate) fn tables(&self) -> &[Arc<LazyTable>] {
        &self.tables
    }

    /// The one table that may hold `key`.
    #[inline]
    pub(crate) fn table_for(&self, key: &[u8]) -> Option<&Arc<LazyTable>> {
        let head = head(key.strip_prefix(&self.shared[..])?);
        let mut at = self.largest_heads.partition_point(|&largest| largest < head);
        if self.largest_heads.get(at) == Some(&head) {
            at += Self::ending_before(key, &self.tables[at..]);
        }
        let (table, &smallest) = self.tables.get(at).zip(self.smallest_heads.get(at))?;
        let begins_before = smallest < head || smallest == head && table.listed.smallest()[..] <= *key;
        begins_before.then_some(table)
    }

    /// How many of these tables end before `key`.
    #[cold]
    fn ending_before(key: &[u8], tables: &[Arc<LazyTable>]) -> usize {
        tables.partition_point(|table| table.listed.largest()[..] < *key)
    }

    /// [`Run::table_for`], if somebody has opened it.
    pub(super) fn open_table_for(&self, key: &[u8]) -> Option<&Table> {
        self.table_for(key)?.table.get()
    }

    /// About how many records it has.
    pub(crate) fn entries(&self) -> u64 {
        self.tables.iter().map(|table| table.listed.entries()).sum()
    }

    /// About how many bytes of its tables count.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.listed.bytes()).sum()
    }

    pub(super) fn shape(&self, is_oldest: bool, expired_by: Option<Timestamp>) -> RunShape {
        let mut shape = RunShape::default();
        for listed in self.tables.iter().map(|table| table.listed()) {
            let RunTable { table, outdating, .. } = listed;
            let expired =
                table.expiries.zip(expired_by).map_or(0, |(expiries, now)| expiries.expired_by(now));
            // What the oldest run once outdated is gone.
            let outdating = if is_oldest { 0 } else { *outdating };
            let outdated = listed.share(outdating + table.tombstones + expired);
            let payload = listed.share(table.payload_bytes);
            shape.bytes += listed.bytes();
            shape.payload_bytes += payload;
            shape.entries += listed.entries();
            let outdated_bytes = (payload / listed.entries().max(1)).saturating_mul(outdated);
            shape.outdated_bytes = shape.outdated_bytes.saturating_add(outdated_bytes);
        }
        shape
    }

    /// The largest key.
    pub(crate) fn largest(&self) -> Option<&Key> {
        self.tables.last().map(|table| table.listed.largest())
    }

    /// The smallest key.
    pub(crate) fn smallest(&self) -> Option<&Key> {
        self.tables.first().map(|table| table.listed.smallest())
    }

    /// Whether it may hold a key that `table` may hold.
    pub(crate) fn overlaps(&self, table: &LazyTable) -> bool {
        self.overlapping(table).next().is_some()
    }

    /// The tables that share keys with `table`.
    pub(crate) fn overlapping<'a>(
        &'a self,
        table: &'a LazyTable,
    ) -> impl Iterator<Item = &'a Arc<LazyTable>> + 'a {
        let from = self.tables.partition_point(|other| other.listed.largest() < table.listed.smallest());
        self.tables[from..].iter().take_while(|other| other.overlaps(table))
    }

    /// The tables that may have keys of a range.
    fn touching(&self, range: &KeyRange) -> &[Arc<LazyTable>] {
        let is_before = |table: &Arc<LazyTable>| match &range.start {
            Bound::Unbounded => false,
            Bound::Included(start) => *table.listed.largest() < *start,
            Bound::Excluded(start) => *table.listed.largest() <= *start,
        };
        let is_not_behind = |table: &Arc<LazyTable>| match &range.end {
            Bound::Unbounded => true,
            Bound::Included(end) => *table.listed.smallest() <= *end,
            Bound::Excluded(end) => *table.listed.smallest() < *end,
        };
        let (from, to) = (self.tables.partition_point(is_before), self.tables.partition_point(is_not_behind));
        if range.is_empty() { &[] } else { self.tables.get(from..to).unwrap_or_default() }
    }

    /// A walk over the changes of a range.
    pub(crate) fn walk(&self, range: &KeyRange, direction: Direction) -> RunWalk<'_> {
        RunWalk { tables: self.touching(range), range: range.clone(), direction, current: None }
    }
}

/// A walk over the tables of a run, one after the other.
pub(crate) struct RunWalk<'a> {
    /// Those to come.
    tables: &'a [Arc<LazyTable>],
    range: KeyRange,
    direction: Direction,
    current: Option<(&'a RunTable, TableCursor<'a>)>,
}

impl<'a> RunWalk<'a> {
    /// Moves to the next change and hands it out; after an error or the end nothing more comes.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a scan takes half the time with it")]
    pub(crate) fn next_change(&mut self) -> Result<Option<Change<'a>>> {
        loop {
            let next = match &mut self.current {
                Some((listed, cursor)) => cursor
                    .next_change()
                    .map(|next| next.map(|change| Change { lsn: listed.lsn(change.lsn), ..change })),
                None => Ok(None),
            };
            match next {
                Ok(Some(change)) => return Ok(Some(change)),
                Ok(None) if self.enter_next_table()? => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.end(error)),
            }
        }
    }

    /// Goes on to the next table; `false` when there is none.
    #[cold]
    fn enter_next_table(&mut self) -> Result<bool> {
        let next = match self.direction {
            Direction::Forward => self.tables.split_first(),
            Direction::Reverse => self.tables.split_last(),
        };
        let Some((table, rest)) = next else {
            self.current = None;
            return Ok(false);
        };
        self.tables = rest;
        let cursor = table.cursor(&self.range, self.direction).map_err(|error| self.end(error))?;
        self.current = Some((&table.listed, cursor));
        Ok(true)
    }

    /// See [`Cursor::check`].
    pub(super) fn check(&self) -> Result<()> {
        self.current.as_ref().map_or(Ok(()), |(_, cursor)| cursor.check())
    }

    /// After an error nothing more comes.
    #[cold]
    fn end(&mut self, error: Error) -> Error {
        self.stop();
        error
    }

    fn stop(&mut self) {
        (self.tables, self.current) = (&[], None);
    }
}

impl Cursor for Live<RunWalk<'_>> {
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        while let Some(Change { key, value, expires, .. }) = self.walk.next_change()? {
            if let Some(value) = value
                && expires.is_none_or(|expires| expires > self.now)
            {
                let value = value.read(&mut self.unpacked).inspect_err(|_| self.walk.stop())?;
                return Ok(Some((key, value, expires)));
            }
        }
        Ok(None)
    }

    fn check(&self) -> Result<()> {
        self.walk.check()
    }
}

impl Source for RunWalk<'_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some((_, cursor)) = &mut self.current
                && cursor.advance()?
            {
                return Ok(true);
            }
            if !self.enter_next_table()? {
                return Ok(false);
            }
        }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |(_, cursor)| cursor.key())
    }

    #[inline]
    fn value(&self) -> Result<Option<StoredValue<'_>>> {
        self.current.as_ref().map_or(Ok(None), |(_, cursor)| cursor.value())
    }

    #[inline]
    fn expires(&self) -> Option<Timestamp> {
        self.current.as_ref().and_then(|(_, cursor)| cursor.expires())
    }

    #[inline]
    fn value_len(&self) -> Option<u64> {
        self.current.as_ref().and_then(|(_, cursor)| cursor.value_len())
    }

    #[inline]
    fn lsn(&self) -> Lsn {
        self.current.as_ref().map_or(Lsn::ZERO, |(listed, cursor)| listed.lsn(cursor.lsn()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::storage::TableMeta;
    use crate::storage::fs::sim::SimFs;
    use crate::types::FileId;

    /// A table with these keys and LSNs. Nobody reads it.
    pub(in super::super) fn table(id: u64, keys: [&str; 2], lsns: [u64; 2]) -> RunTable {
        between(id, keys.map(Key::from), lsns)
    }

    fn between(id: u64, [smallest, largest]: [Key; 2], lsns: [u64; 2]) -> RunTable {
        RunTable::whole(TableMeta {
            id: FileId(id),
            len: 4096,
            entries: 2,
            tombstones: 0,
            payload_bytes: 2,
            smallest,
            largest,
            smallest_lsn: Lsn(lsns[0]),
            largest_lsn: Lsn(lsns[1]),
            checksum: 0,
            expiries: None,
        })
    }

    fn run(tables: impl IntoIterator<Item = RunTable>) -> Run {
        let place = Place { fs: SimFs::new().process(), dir: "/db".into() };
        tables.into_iter().map(|listed| Arc::new(LazyTable::new(listed, place.clone()))).collect()
    }

    #[test]
    fn tables_that_outdate_more_than_there_can_be_are_counted_as_far_as_one_can_count() {
        let mut absurd = table(1, ["a", "f"], [1, 7]);
        (absurd.table.payload_bytes, absurd.outdating) = (1 << 40, 1 << 40);
        let shape = run([absurd.clone(), absurd]).shape(false, None);
        assert_eq!(shape.outdated_bytes, u64::MAX);
    }

    #[test]
    fn a_walk_enters_the_tables_that_its_range_touches() {
        let run =
            run([table(1, ["b", "d"], [1, 2]), table(2, ["f", "f"], [1, 2]), table(3, ["h", "k"], [1, 2])]);
        let key = |key: &str| Key::from(key);
        let touched = |start, end| {
            let tables = run.touching(&KeyRange { start, end }).iter();
            tables.map(|table| table.listed.table.id.0).collect::<Vec<_>>()
        };
        assert_eq!(touched(Bound::Unbounded, Bound::Unbounded), [1, 2, 3]);
        assert_eq!(touched(Bound::Included(key("d")), Bound::Included(key("h"))), [1, 2, 3]);
        assert_eq!(touched(Bound::Excluded(key("d")), Bound::Excluded(key("h"))), [2]);
        assert_eq!(touched(Bound::Included(key("g")), Bound::Included(key("g"))), [0; 0]);
        assert_eq!(touched(Bound::Included(key("i")), Bound::Included(key("c"))), [0; 0]);
        assert_eq!(touched(Bound::Unbounded, Bound::Excluded(key("b"))), [0; 0]);
        assert_eq!(touched(Bound::Excluded(key("k")), Bound::Unbounded), [0; 0]);
    }

    /// Keys that begin alike, that zeros follow, that differ behind their heads.
    fn awkward_keys(prefix: &[u8]) -> Vec<Key> {
        let mut keys = vec![prefix.to_vec()];
        for length in 0..3 {
            for shorter in keys.clone().into_iter().filter(|key| key.len() == prefix.len() + length) {
                keys.extend([0, b'a', 0xff].map(|byte| [&shorter[..], &[byte]].concat()));
            }
        }
        let longer = keys.clone().into_iter().map(|key| [&key[..], b"01234567"].concat());
        keys.extend(longer.collect::<Vec<_>>());
        keys.sort_unstable();
        keys.into_iter().map(Key::from).collect()
    }

    #[test]
    fn the_table_for_a_key_is_the_one_whose_bounds_enclose_it() {
        let (mut found, mut missed) = (0, 0);
        for prefix in [&b""[..], b"user:", &[0; 9]] {
            let keys = awkward_keys(prefix);
            let asked: Vec<Key> =
                [&b""[..], b"user:", &[0; 9], b"v"].into_iter().flat_map(awkward_keys).collect();
            for seed in 0..60_u64 {
                // Every bound is drawn from those keys, in order: some tables have a single key.
                let mixed = |index: usize| {
                    (index as u64 + 1).wrapping_mul(seed * 2 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61
                };
                let mut bounds: Vec<Key> = (0..keys.len())
                    .filter(|&index| mixed(index) == 0)
                    .map(|index| keys[index].clone())
                    .collect();
                if seed % 2 == 0 {
                    bounds = bounds.into_iter().flat_map(|key| [key.clone(), key]).collect();
                }
                let tables = bounds
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .zip(1..)
                    .map(|(bounds, id)| between(id, bounds.clone(), [1, 2]));
                let run = run(tables);
                for key in &asked {
                    let encloses = |table: &&Arc<LazyTable>| {
                        table.listed.smallest() <= key && key <= table.listed.largest()
                    };
                    let expected = run.tables().iter().find(encloses).map(|table| table.listed.table.id);
                    let table = run.table_for(key).map(|table| table.listed.table.id);
                    assert_eq!(table, expected, "{key:?} among {bounds:?}");
                    *(if table.is_some() { &mut found } else { &mut missed }) += 1;
                }
            }
        }
        assert!(found > 1_000 && missed > 1_000, "{found} {missed}");
    }
}
