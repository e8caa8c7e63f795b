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

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::merge::{Merge, Source};
use super::plan::RunShape;
use super::run::{LazyTable, Run};
use crate::error::{Error, Result};
use crate::storage::sstable::{Found, KeyHash};
use crate::storage::{Place, RunTable};
use crate::types::{Direction, Entry, FileId, KeyRange, Timestamp};

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
            previous.map(|table| (table.listed().table.id, table)).collect();
        let table = |listed: &RunTable| {
            let known = known.get(&listed.table.id).filter(|known| known.listed().table == listed.table);
            match known {
                Some(known) if *known.listed() == *listed => Arc::clone(known),
                Some(known) => Arc::new(known.as_listed(listed.clone())),
                None => Arc::new(LazyTable::new(listed.clone(), place.clone())),
            }
        };
        let runs = runs.iter().map(|run| run.iter().map(table).collect()).collect();
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
        self.runs.iter().flat_map(Run::tables)
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
                    let lsn = table.listed().lsn(lsn);
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
        for pair in self.runs.iter().flat_map(|run| run.tables().windows(2)) {
            let (lower, upper) = (pair[0].listed(), pair[1].listed());
            if lower.largest() >= upper.smallest() {
                let (lower, upper) = (lower.table.id, upper.table.id);
                violations.push(format!("tables {lower} and {upper} of one run overlap"));
            }
        }
        for (newer, run) in self.runs.iter().enumerate() {
            for table in run.tables() {
                for older in self.runs[newer + 1..].iter().flat_map(|older| older.overlapping(table)) {
                    let (above, below) = (&table.listed().table, &older.listed().table);
                    if table.listed().lsn(above.smallest_lsn) <= older.listed().lsn(below.largest_lsn) {
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
    let runs = runs.iter().map(|run| run.iter().map(table).collect()).collect();
    Version { runs, ..Version::default() }.violations()
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::table;
    use super::*;
    use crate::storage::fs::sim::SimFs;

    /// What the verifier says against these runs.
    fn refusal(runs: &[Vec<RunTable>]) -> Option<String> {
        let place = Place { fs: SimFs::new().process(), dir: "/db".into() };
        let error = Version::new(runs, 0, &place, None).err()?;
        assert!(matches!(&error, Error::Corruption { file, .. } if file.ends_with("MANIFEST")), "{error}");
        Some(error.to_string())
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
    fn tables_of_one_run_that_overlap_are_refused() {
        for second in [["c", "d"], ["b", "z"], ["a", "a"]] {
            let run = vec![table(1, ["a", "c"], [1, 2]), table(2, second, [3, 4])];
            let what = refusal(&[run]).unwrap();
            assert!(what.contains("tables 000001 and 000002 of one run overlap"), "{what}");
        }
    }
}
