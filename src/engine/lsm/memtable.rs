//! The newest changes of an LSM tree, in memory: one memtable per log segment.
//!
//! Every change is appended and stays, as its record stays in the segment, until the memtable is flushed as a whole. So a
//! snapshot is the memtable and the number of changes that it had: it is made at once, costs later writes nothing, and is
//! read without a lock while they go on. Deletions are kept as tombstones: they hide what older memtables and tables hold.
//!
//! A change is a place in the bytes of the log's records: of a group that was written together, or of many records that were read
//! together. Keys and values have no memory of their own.
//!
//! ```text
//!  index    hash of key ─► the key's first change
//!                                  │ newest
//!  changes  0   1   2   3   4   5  │ 6   7        appended by one thread at a time
//!           a   b   c   a₂  d   b₂ ▼ a₃  e
//!           │            ▲───older───┘
//!  bytes    ▼ record of a, b │ record of c, a₂, d │ …
//!  order    a b c d e: the keys' first changes, sorted as far as a walk has asked for it
//! ```

mod arena;
mod index;
mod order;

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::merge::Source;
use crate::error::Result;
use crate::storage::prefetch::prefetch;
use crate::storage::sstable::{Change, KeyHash, StoredValue};
use crate::storage::wal::record::OpRef;
use crate::types::{Direction, Entry, Key, KeyRange, Lsn, Timestamp};
use arena::Arena;
use index::Index;
use order::{Keys, Order, Position, Sorted};

/// Memory that a change takes beside the bytes of its record, about: its slot and its entry in the index.
const SLOT_BYTES: u64 = 96;

/// No change.
const NONE: u32 = u32::MAX;

/// In place of the length of a value: there is none.
const TOMBSTONE: u32 = u32::MAX;

/// One change to one key: where it lies in the log's own bytes.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Records, shared with other changes.
    bytes: Arc<[u8]>,
    /// Where the key begins in them. The value is right behind.
    at: usize,
    /// The batch that made it.
    pub(crate) lsn: Lsn,
    expires: Option<Timestamp>,
    value_len: u32,
    key_len: u16,
    /// The change to the same key before this one.
    older: u32,
    /// In the first change to a key: the newest.
    newest: AtomicU32,
}

impl Slot {
    #[inline]
    fn key(&self) -> &[u8] {
        &self.bytes[self.at..self.at + usize::from(self.key_len)]
    }

    /// `None` is a tombstone.
    #[inline]
    pub(crate) fn value(&self) -> Option<&[u8]> {
        let start = self.at + usize::from(self.key_len);
        (self.value_len != TOMBSTONE).then(|| &self.bytes[start..start + self.value_len as usize])
    }

    /// How many bytes the value has.
    #[inline]
    fn value_len(&self) -> Option<u64> {
        (self.value_len != TOMBSTONE).then_some(self.value_len.into())
    }

    /// Starts loading the key and what follows.
    #[inline]
    fn prefetch(&self) {
        prefetch(&self.bytes, self.at);
        prefetch(&self.bytes, self.at + usize::from(self.key_len));
    }

    /// What a reader sees of it as long as it has not expired: nothing of a tombstone.
    pub(crate) fn entry(&self) -> Option<Entry> {
        self.value().map(|value| Entry { value: value.into(), lsn: self.lsn, expires: self.expires })
    }
}

/// Changes by key.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// What keys are hashed with.
    seed: u64,
    changes: Arena<Slot>,
    index: Index,
    order: Order,
    keys: AtomicU64,
    bytes: AtomicU64,
    /// Bytes of records that changes lie in, whole.
    held: AtomicU64,
    /// Where the last of them begin.
    last_held: AtomicUsize,
}

/// A memtable as it was after so many changes: later ones do not show.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    memtable: Arc<Memtable>,
    len: u32,
}

impl Memtable {
    /// An empty memtable that hashes keys with `seed`, for about so many of them.
    pub(crate) fn new(seed: u64, expected: u64) -> Self {
        Self {
            seed,
            changes: Arena::default(),
            index: Index::for_about(expected),
            order: Order::default(),
            keys: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            held: AtomicU64::new(0),
            last_held: AtomicUsize::new(0),
        }
    }

    /// Starts loading what [`Memtable::apply`] needs first for `key`.
    pub(crate) fn prefetch(&self, key: &[u8]) {
        self.index.prefetch(KeyHash::new(key, self.seed).of(key, self.seed));
    }

    /// Takes in one operation, which lies in `bytes`. Nobody else does so at the same time.
    pub(crate) fn apply(&self, op: OpRef<'_>, bytes: &Arc<[u8]>) {
        let OpRef { lsn, at, key, value, expires } = op;
        self.bytes.fetch_add((key.len() + value.map_or(0, <[u8]>::len)) as u64, Ordering::Relaxed);
        // What one change holds on to lies nowhere else for the next.
        if self.last_held.swap(bytes.as_ptr().addr(), Ordering::Relaxed) != bytes.as_ptr().addr() {
            self.held.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let hash = KeyHash::new(key, self.seed).of(key, self.seed);
        let first = self.first(hash, key);
        let older = first.map_or(NONE, |first| first.newest.load(Ordering::Relaxed));
        // Both lengths come from fields of these widths.
        let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
        let value_len = value.map_or(TOMBSTONE, |value| u32::try_from(value.len()).unwrap_or(TOMBSTONE));
        let slot = |number| {
            let (bytes, newest) = (Arc::clone(bytes), AtomicU32::new(number));
            Slot { bytes, at, lsn, expires, value_len, key_len, older, newest }
        };
        self.changes.push(slot, |number| {
            if let Some(first) = first {
                first.newest.store(number, Ordering::Release);
            } else {
                self.keys.fetch_add(1, Ordering::Relaxed);
                self.index.insert(hash, number);
            }
        });
    }

    /// Takes in one operation, in bytes of its own.
    #[cfg(test)]
    pub(super) fn put(&self, lsn: Lsn, op: crate::types::Op) {
        use crate::storage::wal::record;

        let mut bytes = vec![0; record::HEADER_LEN];
        record::encode_op(&mut bytes, &op);
        let bytes = bytes.into();
        record::laid_out(&[op], lsn, 0).for_each(|op| self.apply(op, &bytes));
    }

    /// The newest change to `key`.
    #[inline]
    pub(crate) fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&Slot> {
        self.get_of(self.changes.len(), hash, key)
    }

    /// The newest of the first `len` changes that is one to `key`.
    #[inline]
    fn get_of(&self, len: u32, hash: KeyHash, key: &[u8]) -> Option<&Slot> {
        if len == 0 {
            return None;
        }
        self.newest(self.first(hash.of(key, self.seed), key)?, len)
    }

    /// The first change to `key`.
    #[inline]
    fn first(&self, hash: u64, key: &[u8]) -> Option<&Slot> {
        let is_it = |number| self.changes.get(number).is_some_and(|slot| slot.key() == key);
        self.changes.get(self.index.get(hash, is_it)?)
    }

    /// The newest of the first `len` changes that is one to the key of `first`.
    #[inline]
    fn newest(&self, first: &Slot, len: u32) -> Option<&Slot> {
        let mut number = first.newest.load(Ordering::Acquire);
        while number >= len {
            number = self.changes.get(number)?.older;
        }
        self.changes.get(number)
    }

    /// Number of changes.
    pub(crate) fn len(&self) -> usize {
        self.changes.len() as usize
    }

    /// Number of keys with a change.
    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Bytes of keys and values that came in.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> u64 {
        self.held.load(Ordering::Relaxed) + self.len() as u64 * SLOT_BYTES
    }

    /// The newest changes to the keys of a range, in order.
    pub(crate) fn walk(&self, range: &KeyRange, direction: Direction) -> MemtableWalk<'_> {
        MemtableWalk::new(self, self.changes.len(), range, direction)
    }
}

impl Keys for Memtable {
    #[inline]
    fn key(&self, number: u32) -> Option<&[u8]> {
        self.changes.get(number).filter(|slot| slot.older == NONE).map(Slot::key)
    }
}

impl Frozen {
    /// The memtable as it is now; `None` when it is empty.
    pub(crate) fn of(memtable: &Arc<Memtable>) -> Option<Self> {
        let len = memtable.changes.len();
        (len > 0).then(|| Self { memtable: Arc::clone(memtable), len })
    }

    /// The newest change to `key`.
    pub(crate) fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&Slot> {
        self.memtable.get_of(self.len, hash, key)
    }

    /// Number of keys with a change, later ones too.
    pub(crate) fn keys(&self) -> u64 {
        self.memtable.keys()
    }

    /// Bytes of keys and values, of later changes too.
    pub(crate) fn bytes(&self) -> u64 {
        self.memtable.bytes()
    }

    /// The newest changes to the keys of a range, in order.
    pub(crate) fn walk(&self, range: &KeyRange, direction: Direction) -> MemtableWalk<'_> {
        MemtableWalk::new(&self.memtable, self.len, range, direction)
    }
}

/// What is left of a range.
#[derive(Clone, Copy)]
struct Left {
    from: Position,
    to: Position,
}

/// A walk over a memtable.
pub(crate) struct MemtableWalk<'a> {
    memtable: &'a Memtable,
    /// Changes from this number on do not show.
    len: u32,
    sorted: Arc<Sorted>,
    direction: Direction,
    left: Left,
    current: Option<&'a Slot>,
}

impl<'a> MemtableWalk<'a> {
    fn new(memtable: &'a Memtable, len: u32, range: &KeyRange, direction: Direction) -> Self {
        let sorted = memtable.order.sorted(len, memtable);
        let seek = |bound: &Bound<Key>, open, above| match bound {
            Bound::Unbounded => open,
            Bound::Included(key) => sorted.seek(key, above, memtable),
            Bound::Excluded(key) => sorted.seek(key, !above, memtable),
        };
        let to = seek(&range.end, sorted.end(), true);
        let from = if range.is_empty() { to } else { seek(&range.start, Position::default(), false) };
        let walk = Self { memtable, len, sorted, direction, left: Left { from, to }, current: None };
        walk.prefetch_first();
        walk
    }

    /// Starts loading what the first two steps come to: the walks that go along with this one are begun meanwhile.
    fn prefetch_first(&self) {
        let mut left = self.left;
        for _ in 0..2 {
            self.next_of(&mut left).into_iter().for_each(|number| self.memtable.changes.prefetch(number));
        }
    }

    /// Starts loading what the next two steps come to. Changes lie where they happened to be made, and so do keys and values:
    /// without that a step would wait for memory three times.
    #[inline]
    fn prefetch_next(&self) {
        let (changes, mut left) = (&self.memtable.changes, self.left);
        let next = self.next_of(&mut left).and_then(|next| Some((next, changes.get(next)?)));
        let Some((number, first)) = next else { return };
        let newest = first.newest.load(Ordering::Relaxed);
        if newest == number {
            first.prefetch();
        } else {
            changes.prefetch(newest);
        }
        if let Some(second) = self.next_of(&mut left) {
            changes.prefetch(second);
        }
    }

    /// Moves to the next change and hands it out.
    #[inline]
    pub(crate) fn next_change(&mut self) -> Option<Change<'a>> {
        let slot = self.next_slot()?;
        let value = slot.value().map(StoredValue::from);
        Some(Change { key: slot.key(), value, lsn: slot.lsn, expires: slot.expires })
    }

    #[inline]
    fn next_slot(&mut self) -> Option<&'a Slot> {
        let mut left = self.left;
        while let Some(number) = self.next_of(&mut left) {
            self.left = left;
            // Whoever asked for the order after us may have brought in keys that are new to us.
            if number < self.len
                && let Some(first) = self.memtable.changes.get(number)
            {
                self.prefetch_next();
                return self.memtable.newest(first, self.len);
            }
        }
        None
    }

    /// Takes the next key out of what is left: its first change.
    #[inline]
    fn next_of(&self, left: &mut Left) -> Option<u32> {
        if left.from == left.to {
            return None;
        }
        match self.direction {
            Direction::Forward => {
                let at = left.from;
                left.from = self.sorted.behind(at);
                self.sorted.number(at)
            }
            Direction::Reverse => {
                left.to = self.sorted.before(left.to)?;
                self.sorted.number(left.to)
            }
        }
    }
}

impl Source for MemtableWalk<'_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        self.current = self.next_slot();
        Ok(self.current.is_some())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current.map_or(&[], Slot::key)
    }

    #[inline]
    fn value(&self) -> Result<Option<StoredValue<'_>>> {
        Ok(self.current.and_then(Slot::value).map(StoredValue::from))
    }

    #[inline]
    fn expires(&self) -> Option<Timestamp> {
        self.current.and_then(|slot| slot.expires)
    }

    #[inline]
    fn value_len(&self) -> Option<u64> {
        self.current.and_then(Slot::value_len)
    }

    #[inline]
    fn lsn(&self) -> Lsn {
        self.current.map_or(Lsn::ZERO, |slot| slot.lsn)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::storage::sstable::copied;
    use crate::types::Op;

    fn set(key: &str, value: &str) -> Op {
        Op::Set { key: key.into(), value: value.into(), expires: None }
    }

    fn walked(memtable: &Memtable, direction: Direction) -> Vec<(Vec<u8>, Option<Vec<u8>>, u64)> {
        entries(memtable.walk(&KeyRange::all(), direction))
    }

    fn entries(mut walk: MemtableWalk<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>, u64)> {
        let mut entries = Vec::new();
        while walk.advance().unwrap() {
            entries.push((walk.key().to_vec(), copied(walk.value().unwrap()).unwrap(), walk.lsn().0));
        }
        entries
    }

    #[test]
    fn the_order_follows_changes_made_after_it_was_first_asked_for() {
        let memtable = Memtable::new(0, 0);
        memtable.put(Lsn(1), set("b", "1"));
        assert_eq!(walked(&memtable, Direction::Forward).len(), 1);
        memtable.put(Lsn(2), set("a", "2"));
        memtable.put(Lsn(3), Op::Delete { key: "b".into() });
        let expected = [(b"a".to_vec(), Some(b"2".to_vec()), 2), (b"b".to_vec(), None, 3)];
        assert_eq!(walked(&memtable, Direction::Forward), expected);
        let mut reversed = walked(&memtable, Direction::Reverse);
        reversed.reverse();
        assert_eq!(reversed, expected);
    }

    #[test]
    fn ranges_bound_a_walk() {
        let memtable = Memtable::new(0, 0);
        for key in ["a", "b", "c", "d"] {
            memtable.put(Lsn(1), set(key, ""));
        }
        let mut walk = memtable.walk(&KeyRange::from("b".."d"), Direction::Reverse);
        assert!(walk.advance().unwrap());
        assert_eq!(walk.key(), b"c");
        assert!(walk.advance().unwrap());
        assert_eq!(walk.key(), b"b");
        assert!(!walk.advance().unwrap());
    }

    /// A frozen memtable answers as a map that was copied at the time, whatever is written and walked over later.
    #[test]
    fn frozen_memtables_do_not_change() {
        let (memtable, mut model) = (Arc::new(Memtable::new(7, 0)), BTreeMap::new());
        let mut frozen = Vec::new();
        let mut random = 1_u64;
        for lsn in 1..3_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("{}", (random >> 33) % 700);
            let value = (lsn % 7 != 0).then(|| lsn.to_string());
            let op = match &value {
                Some(value) => set(&key, value),
                None => Op::Delete { key: key.as_str().into() },
            };
            memtable.put(Lsn(lsn), op);
            model.insert(key.into_bytes(), (value.map(String::into_bytes), lsn));
            if lsn % 170 == 0 {
                frozen.push((Frozen::of(&memtable).unwrap(), model.clone()));
            }
            if lsn % 430 == 0 {
                for (frozen, model) in &frozen {
                    agree(frozen, model);
                }
            }
        }
        for (frozen, model) in &frozen {
            agree(frozen, model);
        }
    }

    fn agree(frozen: &Frozen, model: &BTreeMap<Vec<u8>, (Option<Vec<u8>>, u64)>) {
        let mut expected: Vec<_> =
            model.iter().map(|(key, (value, lsn))| (key.clone(), value.clone(), *lsn)).collect();
        assert_eq!(entries(frozen.walk(&KeyRange::all(), Direction::Forward)), expected);
        expected.reverse();
        assert_eq!(entries(frozen.walk(&KeyRange::all(), Direction::Reverse)), expected);
        for number in 0..700 {
            let key = format!("{number}").into_bytes();
            let slot = frozen.get(KeyHash::new(&key, 7), &key);
            let found = slot.map(|slot| (slot.value().map(<[u8]>::to_vec), slot.lsn.0));
            assert_eq!(found.as_ref(), model.get(&key), "{number}");
        }
    }

    #[test]
    fn snapshots_are_read_while_a_thread_writes() {
        let memtable = Arc::new(Memtable::new(3, 0));
        let (done, len) = (AtomicU32::new(0), 4_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for lsn in 1..=len {
                    memtable.put(Lsn(lsn), set(&format!("{}", lsn % 1_000), &lsn.to_string()));
                }
                done.store(1, Ordering::Release);
            });
            while done.load(Ordering::Acquire) == 0 {
                let Some(frozen) = Frozen::of(&memtable) else { continue };
                let newest = u64::from(frozen.len);
                let walked = entries(frozen.walk(&KeyRange::all(), Direction::Forward));
                assert_eq!(walked.len() as u64, newest.min(1_000));
                assert_eq!(walked.iter().map(|(_, _, lsn)| *lsn).max(), Some(newest));
                let key = format!("{}", newest % 1_000);
                let slot = frozen.get(KeyHash::new(key.as_bytes(), 3), key.as_bytes()).unwrap();
                assert_eq!(slot.lsn.0, newest);
            }
        });
    }
}
