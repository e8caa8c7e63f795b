//! The newest changes of an LSM tree, in memory: one memtable per log segment.
//!
//! A memtable is shared by snapshots and copied when it must change under one (its size is bounded by its log segment's).
//! Deletions are kept as tombstones: they hide what older memtables and tables hold.

use super::merge::Source;
use crate::engine::key_map::{KeyMap, Walk};
use crate::error::Result;
use crate::types::{Direction, Key, KeyRange, Lsn, Op, Value};

/// Memory that a slot takes beside the bytes of its key and value, about.
const SLOT_BYTES: u64 = 96;

/// The newest change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The batch that made it.
    pub(crate) lsn: Lsn,
    /// `None` is a tombstone.
    pub(crate) value: Option<Value>,
}

/// Changes by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memtable {
    slots: KeyMap<Slot>,
    bytes: u64,
}

impl Memtable {
    /// Takes in one operation of the batch `lsn`.
    pub(crate) fn apply(&mut self, lsn: Lsn, op: Op) {
        let (key, value) = match op {
            Op::Set { key, value } => (key, Some(value)),
            Op::Delete { key } => (key, None),
        };
        self.bytes += (key.len() + value.as_ref().map_or(0, |value| value.len())) as u64;
        self.slots.insert(key, Slot { lsn, value });
    }

    /// The newest change to `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// Number of keys with a change.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of keys and values that came in.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> u64 {
        self.bytes + self.slots.len() as u64 * SLOT_BYTES
    }

    /// The changes of a range, in order.
    pub(crate) fn walk(&self, range: &KeyRange, direction: Direction) -> MemtableWalk<'_> {
        MemtableWalk { changes: self.slots.walk(range, direction), current: None }
    }
}

/// A walk over a memtable.
pub(crate) struct MemtableWalk<'a> {
    changes: Walk<'a, Slot>,
    current: Option<(&'a Key, &'a Slot)>,
}

impl Source for MemtableWalk<'_> {
    fn advance(&mut self) -> Result<bool> {
        self.current = self.changes.next();
        Ok(self.current.is_some())
    }

    fn key(&self) -> &[u8] {
        self.current.map_or(&[], |(key, _)| key)
    }

    fn is_tombstone(&self) -> bool {
        self.current.is_some_and(|(_, slot)| slot.value.is_none())
    }

    fn value(&self) -> Result<Option<&[u8]>> {
        Ok(self.current.and_then(|(_, slot)| slot.value.as_deref()))
    }

    fn lsn(&self) -> Lsn {
        self.current.map_or(Lsn::ZERO, |(_, slot)| slot.lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Op {
        Op::Set { key: key.into(), value: value.into() }
    }

    fn walked(memtable: &Memtable, direction: Direction) -> Vec<(Vec<u8>, Option<Vec<u8>>, u64)> {
        let mut walk = memtable.walk(&KeyRange::all(), direction);
        let mut entries = Vec::new();
        while walk.advance().unwrap() {
            entries.push((walk.key().to_vec(), walk.value().unwrap().map(<[u8]>::to_vec), walk.lsn().0));
        }
        entries
    }

    #[test]
    fn the_order_follows_changes_made_after_it_was_first_asked_for() {
        let mut memtable = Memtable::default();
        memtable.apply(Lsn(1), set("b", "1"));
        assert_eq!(walked(&memtable, Direction::Forward).len(), 1);
        memtable.apply(Lsn(2), set("a", "2"));
        memtable.apply(Lsn(3), Op::Delete { key: "b".into() });
        let expected = [(b"a".to_vec(), Some(b"2".to_vec()), 2), (b"b".to_vec(), None, 3)];
        assert_eq!(walked(&memtable, Direction::Forward), expected);
        let mut reversed = walked(&memtable, Direction::Reverse);
        reversed.reverse();
        assert_eq!(reversed, expected);
    }

    #[test]
    fn ranges_bound_a_walk() {
        let mut memtable = Memtable::default();
        for key in ["a", "b", "c", "d"] {
            memtable.apply(Lsn(1), set(key, ""));
        }
        let mut walk = memtable.walk(&KeyRange::from("b".."d"), Direction::Reverse);
        assert!(walk.advance().unwrap());
        assert_eq!(walk.key(), b"c");
        assert!(walk.advance().unwrap());
        assert_eq!(walk.key(), b"b");
        assert!(!walk.advance().unwrap());
    }
}
