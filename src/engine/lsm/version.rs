//! The tables of an LSM tree at one moment: runs of tables, newest run first.
//!
//! ```text
//!  run 0   ┌──────────┐                      newest: one flush
//!  run 1   ┌────────────────┐                a merge of flushes
//!  run 2   ┌──────┐┌──────┐┌──────┐┌──────┐  oldest: disjoint tables, each key at most once
//! ```
//!
//! 1. The tables of a run are disjoint and in key order.
//! 2. Where tables of two runs overlap, everything in the newer run is newer: its LSNs are all larger.
//! 3. A version never changes; a flush or a merge makes a new one that shares the tables that stay.
//!
//! A merge takes up runs from their smallest keys on, piece by piece. So a table may count only from its *floor* on: what lies
//! below has been written to other tables.
//!
//! Tables are opened when they are first read, and stay open as long as a version has them: an open table is readable even
//! after another process has removed its file.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::merge::{Merge, Source};
use super::plan::RunShape;
use super::walk::Live;
use crate::engine::{Cursor, Item};
use crate::error::{Error, Result};
use crate::storage::sstable::{Change, Found, KeyHash, StoredValue, Table, TableCursor};
use crate::storage::{Place, RunTable};
use crate::types::{Direction, Entry, FileId, Key, KeyRange, Lsn, Timestamp};

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

    fn covers(&self, key: &[u8]) -> bool {
        &self.listed.smallest()[..] <= key && key <= &self.listed.largest()[..]
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
pub(crate) struct Run(pub(crate) Vec<Arc<LazyTable>>);

impl Run {
    /// The one table that may hold `key`.
    pub(crate) fn table_for(&self, key: &[u8]) -> Option<&Arc<LazyTable>> {
        let at = self.0.partition_point(|table| &table.listed.largest()[..] < key);
        self.0.get(at).filter(|table| table.covers(key))
    }

    /// The same, if somebody has opened it.
    fn open_table_for(&self, key: &[u8]) -> Option<&Table> {
        self.table_for(key)?.table.get()
    }

    /// About how many records it has.
    pub(crate) fn entries(&self) -> u64 {
        self.0.iter().map(|table| table.listed.entries()).sum()
    }

    /// About how many bytes of its tables count.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|table| table.listed.bytes()).sum()
    }

    fn shape(&self, is_oldest: bool, expired_by: Option<Timestamp>) -> RunShape {
        let mut shape = RunShape::default();
        for listed in self.0.iter().map(|table| table.listed()) {
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
        self.0.last().map(|table| table.listed.largest())
    }

    /// The smallest key.
    pub(crate) fn smallest(&self) -> Option<&Key> {
        self.0.first().map(|table| table.listed.smallest())
    }
}

/// The runs, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    pub(crate) runs: Vec<Run>,
    /// Set once every table is open.
    all_open: OnceLock<()>,
    /// All tables hash keys with this seed, so that a key is hashed once.
    pub(crate) seed: u64,
}

impl Version {
    /// The version that a manifest lists, sharing the tables that `previous` has.
    ///
    /// # Errors
    /// Corruption when the runs contradict the rules above.
    pub(crate) fn new(
        runs: &[Vec<RunTable>],
        seed: u64,
        place: &Place,
        previous: Option<&Self>,
    ) -> Result<Self> {
        let previous = previous.into_iter().flat_map(Self::tables);
        let known: HashMap<FileId, &Arc<LazyTable>> =
            previous.map(|table| (table.listed.table.id, table)).collect();
        let table = |listed: &RunTable| {
            let known = known.get(&listed.table.id).filter(|known| known.listed.table == listed.table);
            match known {
                Some(known) if known.listed == *listed => Arc::clone(known),
                known => Arc::new(LazyTable {
                    listed: listed.clone(),
                    place: place.clone(),
                    table: known.map(|known| Arc::clone(&known.table)).unwrap_or_default(),
                }),
            }
        };
        let runs = runs.iter().map(|run| Run(run.iter().map(table).collect())).collect();
        let version = Self { runs, all_open: OnceLock::new(), seed };
        version.verify(&place.dir)?;
        Ok(version)
    }

    /// What a plan has to know of each run, where nobody needs what expired by `expired_by`.
    pub(crate) fn shapes(&self, expired_by: Option<Timestamp>) -> Vec<RunShape> {
        let ages = (0..self.runs.len()).rev();
        self.runs.iter().zip(ages).map(|(run, newer)| run.shape(newer == 0, expired_by)).collect()
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<LazyTable>> {
        self.runs.iter().flat_map(|run| &run.0)
    }

    /// Opens every table, so that the version stays readable whatever others remove.
    ///
    /// # Errors
    /// As [`LazyTable::open`].
    pub(crate) fn open_all(&self) -> Result<()> {
        if self.all_open.get().is_none() {
            self.tables().try_for_each(|table| table.open().map(drop))?;
            self.all_open.get_or_init(|| ());
        }
        Ok(())
    }

    /// The newest version of `key`; `None` where no table knows it, or where it was deleted.
    ///
    /// # Errors
    /// As [`LazyTable::open`].
    pub(crate) fn entry(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Entry>> {
        // With one run there is nothing to overlap. The key is most likely in the oldest one, whose table goes its own way.
        if let [newer @ .., oldest] = &self.runs[..]
            && !newer.is_empty()
        {
            let newer = newer.iter().filter_map(|run| run.open_table_for(key));
            newer.for_each(|table| table.prefetch_or_ask(hash));
            oldest.open_table_for(key).into_iter().for_each(|table| table.prefetch(hash));
        }
        for run in &self.runs {
            if let Some(table) = run.table_for(key)
                && let Some(entry) = table.open()?.get_copied(hash, key, |found| {
                    let Found { value, lsn, expires } = found;
                    let lsn = table.listed.lsn(lsn);
                    value.map(|value| Ok(Entry { value: value.to_value()?, lsn, expires })).transpose()
                })?
            {
                return Ok(entry);
            }
        }
        Ok(None)
    }

    /// Checks rules 1 and 2.
    fn verify(&self, dir: &Path) -> Result<()> {
        match self.violations().into_iter().next() {
            Some(what) => Err(Error::corruption(&dir.join("MANIFEST"), 0, what)),
            None => Ok(()),
        }
    }

    /// Where rules 1 and 2 do not hold.
    fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for pair in self.runs.iter().flat_map(|run| run.0.windows(2)) {
            let (lower, upper) = (&pair[0].listed, &pair[1].listed);
            if lower.largest() >= upper.smallest() {
                let (lower, upper) = (lower.table.id, upper.table.id);
                violations.push(format!("tables {lower} and {upper} of one run overlap"));
            }
        }
        for (newer, run) in self.runs.iter().enumerate() {
            for table in &run.0 {
                for older in self.runs[newer + 1..].iter().flat_map(|older| older.overlapping(table)) {
                    let (above, below) = (&table.listed.table, &older.listed.table);
                    if table.listed.lsn(above.smallest_lsn) <= older.listed.lsn(below.largest_lsn) {
                        violations
                            .push(format!("table {} lies above the newer table {}", above.id, below.id));
                    }
                }
            }
        }
        violations
    }
}

/// One walk over runs, the newest first, forward from behind a key.
///
/// # Errors
/// Corruption and I/O errors.
pub(crate) fn merge_of_runs<'a>(runs: &[&'a Run], after: Option<&[u8]>) -> Result<Box<dyn Source + 'a>> {
    let range = KeyRange::behind(after);
    let sources = runs.iter().map(|run| run.walk(&range, Direction::Forward)).collect();
    Ok(Box::new(Merge::new(sources, Direction::Forward)?))
}

/// What is wrong with the order of the runs that a manifest lists, newest first.
pub(crate) fn violations(runs: &[Vec<RunTable>], place: &Place) -> Vec<String> {
    let table = |listed: &RunTable| Arc::new(LazyTable::new(listed.clone(), place.clone()));
    let runs = runs.iter().map(|run| Run(run.iter().map(table).collect())).collect();
    Version { runs, ..Version::default() }.violations()
}

impl Run {
    /// Whether it may hold a key that `table` may hold.
    pub(crate) fn overlaps(&self, table: &LazyTable) -> bool {
        self.overlapping(table).next().is_some()
    }

    /// The tables that share keys with `table`.
    pub(crate) fn overlapping<'a>(
        &'a self,
        table: &'a LazyTable,
    ) -> impl Iterator<Item = &'a Arc<LazyTable>> + 'a {
        let from = self.0.partition_point(|other| other.listed.largest() < table.listed.smallest());
        self.0[from..].iter().take_while(|other| other.overlaps(table))
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
        let (from, to) = (self.0.partition_point(is_before), self.0.partition_point(is_not_behind));
        if range.is_empty() { &[] } else { self.0.get(from..to).unwrap_or_default() }
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
mod tests {
    use super::*;
    use crate::storage::TableMeta;
    use crate::storage::fs::sim::SimFs;

    /// A table with these keys and LSNs. Nobody reads it.
    fn table(id: u64, keys: [&str; 2], lsns: [u64; 2]) -> RunTable {
        RunTable::whole(TableMeta {
            id: FileId(id),
            len: 4096,
            entries: 2,
            tombstones: 0,
            payload_bytes: 2,
            smallest: keys[0].into(),
            largest: keys[1].into(),
            smallest_lsn: Lsn(lsns[0]),
            largest_lsn: Lsn(lsns[1]),
            checksum: 0,
            expiries: None,
        })
    }

    /// What the verifier says against these runs.
    fn refusal(runs: &[Vec<RunTable>]) -> Option<String> {
        let place = Place { fs: SimFs::new().process(), dir: "/db".into() };
        let error = Version::new(runs, 0, &place, None).err()?;
        assert!(matches!(&error, Error::Corruption { file, .. } if file.ends_with("MANIFEST")), "{error}");
        Some(error.to_string())
    }

    #[test]
    fn tables_that_outdate_more_than_there_can_be_are_counted_as_far_as_one_can_count() {
        let mut absurd = table(1, ["a", "f"], [1, 7]);
        (absurd.table.payload_bytes, absurd.outdating) = (1 << 40, 1 << 40);
        let listed = |table: &RunTable| {
            Arc::new(LazyTable {
                listed: table.clone(),
                place: Place { fs: SimFs::new().process(), dir: "/db".into() },
                table: Arc::default(),
            })
        };
        let shape = Run(vec![listed(&absurd), listed(&absurd)]).shape(false, None);
        assert_eq!(shape.outdated_bytes, u64::MAX);
    }

    #[test]
    fn newer_runs_above_older_ones_are_accepted() {
        let newest = vec![table(4, ["c", "p"], [9, 12])];
        let oldest = vec![table(1, ["a", "f"], [1, 7]), table(2, ["g", "m"], [2, 8])];
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&[newest, oldest]), None);
    }

    #[test]
    fn an_older_run_above_a_newer_one_is_refused() {
        let newer = vec![table(4, ["c", "p"], [9, 12])];
        let older = vec![table(1, ["a", "b"], [1, 7]), table(2, ["p", "z"], [2, 8])];
        let what = refusal(&[older, newer]).unwrap();
        assert!(what.contains("table 000002 lies above the newer table 000004"), "{what}");
    }

    #[test]
    fn runs_that_share_keys_and_an_lsn_are_refused() {
        let what = refusal(&[
            vec![table(9, ["x", "y"], [20, 21])],
            vec![table(4, ["a", "c"], [8, 12])],
            vec![table(1, ["c", "d"], [1, 8])],
        ]);
        assert!(what.unwrap().contains("table 000004 lies above the newer table 000001"));
    }

    #[test]
    fn runs_without_a_common_key_may_be_of_any_age() {
        assert_eq!(refusal(&[vec![table(1, ["a", "b"], [1, 2])], vec![table(2, ["c", "d"], [3, 4])]]), None);
    }

    #[test]
    fn a_walk_enters_the_tables_that_its_range_touches() {
        let place = Place { fs: SimFs::new().process(), dir: "/db".into() };
        let run =
            vec![table(1, ["b", "d"], [1, 2]), table(2, ["f", "f"], [1, 2]), table(3, ["h", "k"], [1, 2])];
        let version = Version::new(&[run], 0, &place, None).unwrap();
        let key = |key: &str| crate::types::Key::from(key);
        let touched = |start, end| {
            let tables = version.runs[0].touching(&KeyRange { start, end }).iter();
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

    #[test]
    fn tables_of_one_run_that_overlap_are_refused() {
        for second in [["c", "d"], ["b", "z"], ["a", "a"]] {
            let run = vec![table(1, ["a", "c"], [1, 2]), table(2, second, [3, 4])];
            let what = refusal(&[run]).unwrap();
            assert!(what.contains("tables 000001 and 000002 of one run overlap"), "{what}");
        }
    }
}
