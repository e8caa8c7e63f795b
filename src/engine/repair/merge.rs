//! One ordered walk over everything that can be read: of each key the newest change, by its LSN.
//!
//! Where there is a manifest, the order of the LSNs is the order of the runs. Without one, a table that came in by a load says
//! nothing of its LSN: it then counts as written right behind all tables of merges and loads with a smaller number, because one
//! process at a time writes those.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::btree_map::Iter;
use std::path::PathBuf;

use super::{Newest, Stored};
use crate::engine::inspect::{Listed, Look};
use crate::error::Fault;
use crate::storage::Place;
use crate::storage::sstable::{Lost, Salvage, Salvaged, file_name};
use crate::types::{Key, KeyRange, Lsn, Timestamp};

/// A change to a key.
pub(super) struct Found<'a> {
    pub(super) key: &'a [u8],
    /// `None`: it was deleted, or has expired.
    pub(super) value: Option<Cow<'a, [u8]>>,
    pub(super) expires: Option<Timestamp>,
}

/// A record of a source: its key, its LSN, its value if it has one, and when that expires.
type Version<'a> = (&'a [u8], Lsn, Option<Cow<'a, [u8]>>, Option<Timestamp>);

/// What can be read of a table.
pub(super) struct TableSource<'a> {
    listed: &'a Listed,
    path: PathBuf,
    /// What is added to the LSNs in the file.
    base: u64,
    records: Salvage<'a>,
}

impl<'a> TableSource<'a> {
    pub(super) fn new(listed: &'a Listed, base: u64, place: &Place) -> Self {
        let path = place.path(file_name(listed.run.table.id));
        Self { listed, path, base, records: listed.table.salvage() }
    }

    /// The next record that counts, and what is lost before it.
    fn next(&mut self, lost: &mut Vec<(usize, Fault)>) -> Option<Version<'a>> {
        let floor = &self.listed.run.floor;
        for salvaged in self.records.by_ref() {
            match salvaged {
                Salvaged::Record(change) if change.key < &floor[..] => {}
                Salvaged::Record(change) => {
                    let lsn = Lsn(change.lsn.0 + self.base);
                    return Some((change.key, lsn, change.value, change.expires));
                }
                Salvaged::Lost(Lost { offset, len, what, keys }) => {
                    let keys = keys.intersect(KeyRange::from(floor.clone()..));
                    if !keys.is_empty() {
                        let fault = Fault { len, ..Fault::new(self.path.clone(), offset, what) };
                        lost.push((self.listed.age, fault.of_keys(keys)));
                    }
                }
            }
        }
        None
    }
}

/// A change that comes next in its source. The heap's greatest has the smallest key, and of those the largest LSN.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head<'a> {
    key: Reverse<&'a [u8]>,
    lsn: Lsn,
    /// Of a load and what is as old, the log is believed, then the table of the larger number.
    source: usize,
    value: Option<Cow<'a, [u8]>>,
    expires: Option<Timestamp>,
}

/// The walk.
pub(super) struct Merged<'a> {
    log: Iter<'a, Key, (Lsn, Option<Stored>)>,
    tables: Vec<TableSource<'a>>,
    heads: BinaryHeap<Head<'a>>,
    lost: Vec<(usize, Fault)>,
    /// Records that were read, of any age.
    read: u64,
    /// What expires up to then is not there.
    expired_by: Option<Timestamp>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(
        newest: &'a Newest,
        tables: Vec<TableSource<'a>>,
        expired_by: Option<Timestamp>,
    ) -> Self {
        let (log, heads) = (newest.iter(), BinaryHeap::new());
        let mut merged = Self { log, tables, heads, lost: Vec::new(), read: 0, expired_by };
        for source in 0..=merged.tables.len() {
            merged.advance(source);
        }
        merged
    }

    /// The next key and the newest change to it.
    pub(super) fn next(&mut self) -> Option<Found<'a>> {
        let Head { key: Reverse(key), value, expires, source, .. } = self.heads.pop()?;
        self.advance(source);
        while self.heads.peek().is_some_and(|next| next.key.0 == key) {
            if let Some(older) = self.heads.pop() {
                self.advance(older.source);
            }
        }
        let is_expired = expires.is_some_and(|expires| Some(expires) <= self.expired_by);
        Some(Found { key, value: value.filter(|_| !is_expired), expires })
    }

    /// Records that were read so far.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// What could not be read of the tables, each with the number of its run.
    pub(super) fn into_lost(self) -> Vec<(usize, Fault)> {
        self.lost
    }

    /// Takes the next change from a source; the one behind the tables is the log.
    fn advance(&mut self, source: usize) {
        let next = match self.tables.get_mut(source) {
            Some(table) => table.next(&mut self.lost),
            None => self.log.next().map(|(key, (lsn, stored))| {
                let expires = stored.as_ref().and_then(|(_, expires)| *expires);
                (&key[..], *lsn, stored.as_ref().map(|(value, _)| Cow::Borrowed(&value[..])), expires)
            }),
        };
        if let Some((key, lsn, value, expires)) = next {
            self.read += 1;
            self.heads.push(Head { key: Reverse(key), lsn, source, value, expires });
        }
    }
}

/// What is added to the LSNs of each table that is looked at.
pub(super) fn lsn_bases(look: &Look) -> Vec<u64> {
    if look.manifest.is_some() {
        return look.tables.iter().map(|listed| listed.run.lsn_base).collect();
    }
    let is_merged = |listed: &&Listed| listed.run.table.id.0.is_multiple_of(2);
    let base = |listed: &Listed| {
        let table = &listed.run.table;
        if !is_merged(&listed) || (table.smallest_lsn, table.largest_lsn) != (Lsn(1), Lsn(1)) {
            return 0;
        }
        let before = look.tables.iter().filter(is_merged).filter(|other| other.run.table.id < table.id);
        before.map(|other| other.run.table.largest_lsn.0).max().unwrap_or(0)
    };
    look.tables.iter().map(base).collect()
}
