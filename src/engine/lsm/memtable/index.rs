//! From the hash of a key to its number, for point reads: open addressing over integers, which one thread at a time fills
//! while any number read.
//!
//! ```text
//!  entry   63            32 31            0
//!         ┌────────────────┬───────────────┐
//!         │ upper half of  │ number + 1    │      0: free
//!         │ the key's hash │               │
//!         └────────────────┴───────────────┘
//! ```
//!
//! An entry lies where the upper bits of the hash say, or in the first free place behind. Nothing is ever removed or
//! changed. A table that is half full is followed by one twice as long; it stays for those who are reading it, who do not
//! know of newer keys anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::storage::prefetch::prefetch_all;

/// The first table has two to the power of so many places.
const FIRST_BITS: usize = 5;

/// Enough for tables of which the last has a place for every number twice.
const TABLES: usize = 33 - FIRST_BITS;

type Table = Box<[AtomicU64]>;

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    tables: [OnceLock<Table>; TABLES],
    /// How many tables there are: the last one has everything.
    count: AtomicUsize,
    used: AtomicUsize,
    /// The first table that is made.
    first: usize,
}

impl Index {
    /// An empty index, which has room for so many numbers at once. It takes no memory yet.
    pub(super) fn for_about(expected: u64) -> Self {
        let (count, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let bits = (2 * expected).checked_next_power_of_two().map_or(0, u64::ilog2) as usize;
        let first = bits.saturating_sub(FIRST_BITS).min(TABLES - 1);
        Self { tables: [const { OnceLock::new() }; TABLES], count, used, first }
    }

    /// The number that was put under a hash and which `is_it` confirms.
    #[inline]
    pub(super) fn get(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let last = self.count.load(Ordering::Acquire).checked_sub(1)?;
        let table = self.tables.get(last)?.get()?;
        let mut at = home(hash, last);
        loop {
            let entry = table.get(at)?.load(Ordering::Acquire);
            if entry == 0 {
                return None;
            }
            if entry >> 32 == hash >> 32 {
                let number = ((entry - 1) & 0xffff_ffff) as u32;
                if is_it(number) {
                    return Some(number);
                }
            }
            at = (at + 1) & (table.len() - 1);
        }
    }

    /// Starts loading the place of a hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let last = self.count.load(Ordering::Relaxed).checked_sub(1);
        let place = last.and_then(|last| self.tables.get(last)?.get()?.get(home(hash, last)));
        place.into_iter().for_each(prefetch_all);
    }

    /// Puts a number under a hash. Nobody else does so at the same time.
    pub(super) fn insert(&self, hash: u64, number: u32) {
        let count = self.count.load(Ordering::Relaxed);
        let used = self.used.load(Ordering::Relaxed);
        let entry = hash >> 32 << 32 | (u64::from(number) + 1);
        let table = count.checked_sub(1).and_then(|last| Some((last, self.tables[last].get()?)));
        match table {
            Some((last, table)) if 2 * used < table.len() => put(table, last, entry),
            before => {
                let count = count.max(self.first);
                let next = self.tables[count].get_or_init(|| empty(count));
                let entries = before.iter().flat_map(|(_, table)| table.iter());
                for entry in entries.map(|entry| entry.load(Ordering::Relaxed)).filter(|entry| *entry != 0) {
                    put(next, count, entry);
                }
                put(next, count, entry);
                self.count.store(count + 1, Ordering::Release);
            }
        }
        self.used.store(used + 1, Ordering::Relaxed);
    }
}

fn empty(table: usize) -> Table {
    (0..1_usize << (FIRST_BITS + table)).map(|_| AtomicU64::new(0)).collect()
}

/// Where an entry of this hash lies, if there is room.
#[inline]
fn home(hash: u64, table: usize) -> usize {
    ((hash >> 32) as u32 >> (32 - FIRST_BITS - table)) as usize
}

/// Puts an entry into the first free place from its home on.
fn put(table: &Table, number: usize, entry: u64) {
    let mut at = home(entry, number);
    while table[at].load(Ordering::Relaxed) != 0 {
        at = (at + 1) & (table.len() - 1);
    }
    table[at].store(entry, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A well-mixed number for each index.
    fn mixed(index: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&index.to_le_bytes())
    }

    #[test]
    fn what_was_put_is_found_and_nothing_else() {
        let index = Index::for_about(0);
        for number in 0..3_000 {
            assert_eq!(index.get(mixed(number), |_| true), None);
            index.insert(mixed(number), u32::try_from(number).unwrap());
        }
        for number in 0..3_000 {
            assert_eq!(u64::from(index.get(mixed(number), |_| true).unwrap()), number);
        }
    }

    #[test]
    fn equal_hashes_are_told_apart_by_who_asks() {
        for (hash, expected) in [(0, 0), (u64::MAX, 1), (7, 30)] {
            let index = Index::for_about(expected);
            for number in 0..100 {
                index.insert(hash, number);
            }
            assert!((0..100).all(|number| index.get(hash, |found| found == number) == Some(number)));
            assert_eq!(index.get(hash, |_| false), None);
        }
    }
}
