//! Merging runs, one slice at a time.
//!
//! ```text
//!                          floor
//!  newer    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│████████████████     ▒ written to other tables, does not count any more
//!  newer    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│██████
//!  oldest   ┌──────┐┌──────┐│███████████████████
//!           └ slices that are done
//! ```
//!
//! The runs of a merge become one, in place of the oldest of them, from the smallest key on. Each slice writes a few tables and
//! installs a manifest in which they take the place of what they were made of, and all runs of the merge count from the next
//! key on. So a process that dies loses one slice; whoever comes next finds in the manifest which runs are being merged,
//! and goes on. Flushes put new runs on top meanwhile: they have no part in the merge.
//!
//! A table that shares no key range with any other of the merge is not written again, if it is not small and packed as it would
//! be now: it moves to the oldest run as it is. So data that comes in key order is written to a table once. And a table in which
//! everything has expired is not even read, if nothing older has its keys: the manifest names it no more.
//!
//! So that what expired between the keys of the newer runs goes away as well, the oldest run is "merged" alone at times: those
//! of its tables that have something of no use are written anew. Who merges everything writes those anew as well that are packed
//! otherwise than the handle's setting says. In the background nobody does: two handles may have different settings.

use std::collections::HashSet;
use std::sync::Arc;

use super::plan::{Occasion, plan};
use super::run::{LazyTable, Run};
use super::tables::{self, Manner, Target, Written};
use super::version::{Version, merge_of_runs};
use crate::engine::Progress;
use crate::engine::wal_engine::{Maintenance, Memory};
use crate::error::{Error, Result};
use crate::storage::manifest::{self, Manifest, Merging};
use crate::storage::totals;
use crate::storage::{Place, RunTable, TableMeta};
use crate::types::{FileId, Key, Timestamp};

/// A table that has less than this part of the usual size is rather merged than moved.
const SMALL_TABLES: u64 = 8;

/// Merges the next slice of what [there is to merge](plan) on this occasion; `false` when there is nothing.
///
/// # Errors
/// `Interrupted` when `progress` says stop, corruption, I/O: the slice is not merged.
pub(crate) fn merge_slice<M: Memory>(
    right: &Maintenance<'_, M>,
    occasion: Occasion,
    manner: Manner,
    progress: &mut dyn FnMut() -> bool,
) -> Result<bool> {
    let state = State::read(right, right.expired_by(), manner, None)?;
    if state.drop_dead(right)? {
        return Ok(true);
    }
    let shapes = state.version.shapes(state.expired_by);
    let Some(merging) = plan(&shapes, state.manifest.merging, occasion) else { return Ok(false) };
    right.discard_strays();
    state.slice(right.place(), merging)?.merge(right, &mut |_, _| progress())?;
    Ok(true)
}

/// Merges all runs that there are into one without anything of no use, in slices.
///
/// # Errors
/// As [`merge_slice`]; the slices before stay merged.
pub(crate) fn merge_all<M: Memory>(
    right: &Maintenance<'_, M>,
    manner: Manner,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<()> {
    right.discard_strays();
    // What expires meanwhile is left: so there is an end.
    let expired_by = right.expired_by();
    let read = |previous: Option<&Version>| -> Result<State> {
        Ok(State { repacks: true, ..State::read(right, expired_by, manner, previous)? })
    };
    let mut state = read(None)?;
    let total = state.version.runs.iter().map(Run::entries).sum();
    state.drop_dead(right)?;
    state = read(Some(&state.version))?;
    let mut next = state.merge_of_all();
    let (mut done, mut written_bytes) = (0, 0);
    while let Some(merging) = next.map_or_else(|| state.merge_of_oldest(), |next| Ok(Some(next)))? {
        let mut slice = (0, 0);
        let mut report = |read, written| {
            slice = (read, written);
            progress(Progress {
                done: (done + read).min(total),
                total,
                written_bytes: written_bytes + written,
                ..Progress::default()
            })
        };
        next = state.slice(right.place(), merging)?.merge(right, &mut report)?;
        state = read(Some(&state.version))?;
        done += slice.0;
        written_bytes += slice.1;
    }
    progress(Progress { done: total, total, written_bytes, ..Progress::default() });
    Ok(())
}

/// The tables in force.
struct State {
    manifest: Manifest,
    version: Version,
    /// What has expired by then is left out.
    expired_by: Option<Timestamp>,
    manner: Manner,
    /// Tables that are packed otherwise are written anew. Only where somebody asks for it: handles may have different settings.
    repacks: bool,
}

impl State {
    fn read<M: Memory>(
        right: &Maintenance<'_, M>,
        expired_by: Option<Timestamp>,
        manner: Manner,
        previous: Option<&Version>,
    ) -> Result<Self> {
        let manifest = right.manifest()?;
        let version = Version::new(&manifest.runs, manifest.seed, right.place(), previous)?;
        Ok(Self { manifest, version, expired_by, manner, repacks: false })
    }

    /// The merge that makes one run of several.
    fn merge_of_all(&self) -> Option<Merging> {
        let count = u32::try_from(self.manifest.runs.len()).unwrap_or(u32::MAX);
        (count > 1).then_some(Merging { below: 0, count })
    }

    /// The merge of the oldest run with itself, if that would change it.
    fn merge_of_oldest(&self) -> Result<Option<Merging>> {
        for table in self.version.runs.last().into_iter().flat_map(Run::tables) {
            if self.is_outdated(table)? {
                return Ok(Some(Merging { below: 0, count: 1 }));
            }
        }
        Ok(None)
    }

    /// Whether a table of the oldest run is to be written anew.
    fn is_outdated(&self, table: &LazyTable) -> Result<bool> {
        Ok(has_dead(table.listed(), self.expired_by) || self.repacks && !self.manner.is_that_of(table)?)
    }

    /// Has the manifest name no [dead tables](Self::dead) any more. Whether there were any. While runs are being merged they stay
    /// what they are.
    fn drop_dead<M: Memory>(&self, right: &Maintenance<'_, M>) -> Result<bool> {
        let dead = self.dead();
        if dead.is_empty() || self.manifest.merging.is_some() {
            return Ok(false);
        }
        right.install(|manifest| {
            for run in &mut manifest.runs {
                run.retain(|listed| !dead.contains(&listed.table.id));
            }
            manifest.runs.retain(|run| !run.is_empty());
            Ok(())
        })?;
        Ok(true)
    }

    /// Tables in which nothing is left, and below which there is nothing either that it could hide.
    fn dead(&self) -> HashSet<FileId> {
        let mut dead = HashSet::new();
        for (age, run) in self.version.runs.iter().enumerate().rev() {
            let older = &self.version.runs[age + 1..];
            for table in run.tables().iter().filter(|table| is_dead(&table.listed().table, self.expired_by)) {
                let mut below = older.iter().flat_map(|run| run.overlapping(table));
                if below.all(|older| dead.contains(&older.listed().table.id)) {
                    dead.insert(table.listed().table.id);
                }
            }
        }
        dead
    }

    /// The runs of a merge as they are now.
    fn slice(&self, place: &Place, merging: Merging) -> Result<Slice<'_>> {
        let (below, count) = (merging.below as usize, merging.count as usize);
        let all = self.version.runs.len();
        let range = all.checked_sub(below).and_then(|end| Some(end.checked_sub(count)?..end));
        let slice = range.and_then(|range| {
            let (oldest, newer) = self.version.runs[range.clone()].split_last()?;
            let (listed, older) = (&self.manifest.runs[range.clone()], &self.version.runs[range.end..]);
            Some(Slice { state: self, merging, listed, newer, oldest, older })
        });
        slice.ok_or_else(|| {
            let path = place.path(manifest::NAME);
            Error::corruption(&path, 0, "the runs that it says are being merged do not exist")
        })
    }
}

/// The runs of a merge, of which the next piece is to be merged.
struct Slice<'a> {
    state: &'a State,
    merging: Merging,
    listed: &'a [Vec<RunTable>],
    newer: &'a [Run],
    oldest: &'a Run,
    /// Those that have no part in the merge.
    older: &'a [Run],
}

/// The tables of the oldest run of a merge: those that share no key with the newer ones stay. Where there are no newer ones,
/// those before the first that is to be written anew, and those behind as many such as make a slice.
struct Split<'a> {
    before: &'a [Arc<LazyTable>],
    touched: Run,
    behind: &'a [Arc<LazyTable>],
    /// The last key of the newer runs.
    end: Option<&'a Key>,
}

impl Slice<'_> {
    /// Merges from the first key of the newer runs on. Returns what is left of the merge.
    fn merge<M: Memory>(
        &self,
        right: &Maintenance<'_, M>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Merging>> {
        if let Some(moved) = self.moved()? {
            return self.install(right, moved, self.state.manifest.next_merged, (0, 0));
        }
        self.write(right, progress).inspect_err(|_| right.discard_strays())
    }

    /// Writes a slice, and puts it in the place of what it is made of.
    fn write<M: Memory>(
        &self,
        right: &Maintenance<'_, M>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Merging>> {
        let split = self.split()?;
        let target = Target {
            place: right.place(),
            seed: self.state.manifest.seed,
            first: self.state.manifest.next_merged,
            keep_tombstones: self.merging.below > 0,
            expired_by: self.state.expired_by,
            limit: split.end.map(|end| (self.state.manner.slice, end)),
            manner: self.state.manner,
        };
        let runs: Vec<&Run> = self.newer.iter().chain([&split.touched]).collect();
        let written = target.write(&|after| merge_of_runs(&runs, after), progress)?;
        let next_merged = written.next;
        let written_bytes = tables::total_len(&written.tables);
        let merged = self.merged(right.place(), &split, written)?;
        let kept_bytes = total_bytes(&merged).saturating_sub(written_bytes);
        let read_bytes = total_bytes(self.listed).saturating_sub(kept_bytes);
        self.install(right, merged, next_merged, (read_bytes, written_bytes))
    }

    /// Puts `merged` in the place of the runs of the merge. Returns what is left of it.
    fn install<M: Memory>(
        &self,
        right: &Maintenance<'_, M>,
        merged: Vec<Vec<RunTable>>,
        next_merged: FileId,
        (read_bytes, written_bytes): (u64, u64),
    ) -> Result<Option<Merging>> {
        let left = (merged.len() > 1)
            .then(|| Merging { count: u32::try_from(merged.len()).unwrap_or(u32::MAX), ..self.merging });
        right.install(|manifest| {
            let end = manifest.runs.len().saturating_sub(self.merging.below as usize);
            let start = end.saturating_sub(self.merging.count as usize);
            if manifest.runs[start..end] != *self.listed {
                let path = right.place().path(manifest::NAME);
                return Err(Error::corruption(&path, 0, "runs that were being merged have changed"));
            }
            manifest.runs.splice(start..end, merged);
            let (is_first, is_last) = (manifest.merging.is_none(), left.is_none());
            (manifest.merging, manifest.next_merged) = (left, next_merged);
            manifest.totals.count_slice(totals::Slice { read_bytes, written_bytes, is_first, is_last });
            Ok(())
        })?;
        Ok(left)
    }

    /// The runs once every table of the newer ones that has a key range of its own, and is not small, is in the oldest; `None` if
    /// there is none.
    fn moved(&self) -> Result<Option<Vec<Vec<RunTable>>>> {
        let (mut runs, mut oldest) = (Vec::new(), Vec::new());
        for (number, run) in self.newer.iter().enumerate() {
            let mut others = Vec::new();
            for table in run.tables() {
                let goes_to = if self.is_alone(number, table)? { &mut oldest } else { &mut others };
                goes_to.push(table.listed().clone());
            }
            runs.push(others);
        }
        if oldest.is_empty() {
            return Ok(None);
        }
        oldest.extend(self.oldest.tables().iter().map(|table| table.listed().clone()));
        oldest.sort_by(|a, b| a.smallest().cmp(b.smallest()));
        runs.retain(|run| !run.is_empty());
        runs.push(oldest);
        Ok(Some(runs))
    }

    /// Whether a table of the newer run of this number can be moved as it is.
    fn is_alone(&self, own: usize, table: &LazyTable) -> Result<bool> {
        let others = self.newer.iter().enumerate().filter(|(run, _)| *run != own).map(|(_, run)| run);
        if table.listed().table.len < self.state.manner.table / SMALL_TABLES
            || others.chain([self.oldest]).any(|run| run.overlaps(table))
        {
            return Ok(false);
        }
        if self.merging.below > 0 {
            return Ok(table.listed().hidden == 0);
        }
        Ok(!has_dead(table.listed(), self.state.expired_by) && self.state.manner.is_that_of(table)?)
    }

    fn split(&self) -> Result<Split<'_>> {
        let tables = self.oldest.tables();
        let first = self.newer.iter().filter_map(Run::smallest).min();
        let end = self.newer.iter().filter_map(Run::largest).max();
        let (from, to) = match first.zip(end) {
            Some((first, end)) => (
                tables.partition_point(|table| table.listed().largest() < first),
                tables.partition_point(|table| table.listed().smallest() <= end),
            ),
            None => self.first_outdated()?,
        };
        let to = to.max(from);
        let touched = tables[from..to].iter().cloned().collect();
        Ok(Split { before: &tables[..from], touched, behind: &tables[to..], end })
    }

    /// The first tables of the oldest run that would be others if they were written anew, as many as make a slice.
    fn first_outdated(&self) -> Result<(usize, usize)> {
        let (mut from, mut to, mut bytes) = (0, 0, 0);
        for (number, table) in self.oldest.tables().iter().enumerate() {
            let is_outdated = self.state.is_outdated(table)?;
            if to > 0 && (!is_outdated || bytes >= self.state.manner.slice) {
                break;
            }
            if is_outdated {
                (from, to) = (if to == 0 { number } else { from }, number + 1);
                bytes += table.listed().bytes();
            }
        }
        Ok((from, to))
    }

    /// The runs that take the place of those of the merge, newest first; the last one is what they are merged into.
    fn merged(&self, place: &Place, split: &Split<'_>, written: Written) -> Result<Vec<Vec<RunTable>>> {
        let mut merged = Vec::new();
        let mut oldest: Vec<RunTable> = split.before.iter().map(|table| table.listed().clone()).collect();
        oldest.extend(tables::list(place, written.tables, self.older)?);
        if let Some(key) = &written.stopped_at {
            for run in self.newer {
                merged.push(behind(run, key)?);
            }
            oldest.extend(behind(&split.touched, key)?);
        }
        oldest.extend(split.behind.iter().map(|table| table.listed().clone()));
        merged.retain(|run| !run.is_empty());
        // While there is something to merge into it, it stays where it is, even if it has nothing.
        if !merged.is_empty() || !oldest.is_empty() {
            merged.push(oldest);
        }
        Ok(merged)
    }
}

/// Whether a table has something that is of no use where nothing lies below it.
fn has_dead(listed: &RunTable, expired_by: Option<Timestamp>) -> bool {
    let TableMeta { tombstones, expiries, .. } = listed.table;
    listed.hidden > 0 || tombstones > 0 || expiries.is_some_and(|expiries| Some(expiries.first) <= expired_by)
}

/// Whether a table has nothing else: each record is a tombstone or has expired.
fn is_dead(table: &TableMeta, expired_by: Option<Timestamp>) -> bool {
    let expiries = table.expiries.filter(|expiries| Some(expiries.last) <= expired_by);
    table.tombstones + expiries.map_or(0, |expiries| expiries.count) == table.entries
}

/// About how many bytes of tables count.
fn total_bytes(runs: &[Vec<RunTable>]) -> u64 {
    runs.iter().flatten().map(RunTable::bytes).sum()
}

/// What is left of a run once everything up to `key` is in other tables.
fn behind(run: &Run, key: &Key) -> Result<Vec<RunTable>> {
    let mut left = Vec::new();
    for table in run.tables() {
        left.extend(table.behind(key)?);
    }
    Ok(left)
}
