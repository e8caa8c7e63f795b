//! A map by key for what an engine keeps in memory: point reads are hash look-ups, and ordered walks are there for who asks.
//!
//! The first walk sorts the keys; from then on their order is kept up to date.

use std::collections::{BTreeSet, HashMap, btree_set, hash_map};
use std::sync::OnceLock;

use crate::types::{Direction, Key, KeyRange};

/// Values by key.
#[derive(Clone, Debug)]
pub(crate) struct KeyMap<V> {
    map: HashMap<Key, V>,
    /// The keys in order, once a walk has asked for it.
    order: OnceLock<BTreeSet<Key>>,
}

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: OnceLock::new() }
    }
}

impl<V> KeyMap<V> {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        self.map.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Puts a value in place of what was there, which is returned.
    pub(crate) fn insert(&mut self, key: Key, value: V) -> Option<V> {
        if let Some(order) = self.order.get_mut()
            && !self.map.contains_key(&key)
        {
            order.insert(key.clone());
        }
        self.map.insert(key, value)
    }

    /// Takes the value of a key out.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        if let Some(order) = self.order.get_mut() {
            order.remove(key);
        }
        self.map.remove(key)
    }

    /// All keys and values, in no order.
    pub(crate) fn iter(&self) -> hash_map::Iter<'_, Key, V> {
        self.map.iter()
    }

    /// The keys and values of a range, in order.
    pub(crate) fn walk(&self, range: &KeyRange, direction: Direction) -> Walk<'_, V> {
        let order = || self.order.get_or_init(|| self.map.keys().cloned().collect());
        let keys = (!range.is_empty()).then(|| order().range::<[u8], _>(range.as_bounds()));
        Walk { map: &self.map, keys, direction }
    }
}

/// A walk over the keys in order, looking each up.
pub(crate) struct Walk<'a, V> {
    map: &'a HashMap<Key, V>,
    keys: Option<btree_set::Range<'a, Key>>,
    direction: Direction,
}

impl<'a, V> Iterator for Walk<'a, V> {
    type Item = (&'a Key, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let keys = self.keys.as_mut()?;
        let key = match self.direction {
            Direction::Forward => keys.next(),
            Direction::Reverse => keys.next_back(),
        }?;
        Some((key, self.map.get(key)?))
    }
}
