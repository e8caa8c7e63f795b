//! The keys of a memtable in order, for whoever walks over them.
//!
//! Writers know nothing of the order: a walk first sorts in what was written since the last one. So a memtable that nobody
//! walks over costs nothing, and one that is walked over again and again costs a search per key written meanwhile.
//!
//! ```text
//!  Sorted ─► ┌───────┬───────┬───────┐
//!            │ chunk │ chunk │ chunk │   shared with the walks that began before, and copied
//!            └───┬───┴───┬───┴───┬───┘   when a key is put into it that those do not know
//!             a b c d  e f g    h i j
//! ```

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::storage::codec::head;

/// Items of a chunk at most.
const CHUNK_ITEMS: usize = 256;

/// Chunks are made this full when everything is sorted at once.
const FRESH_CHUNK_ITEMS: usize = 192;

/// What is new is sorted in one by one while it is less than this part of what is there.
const FEW: usize = 16;

/// A key: its number, and what it begins with.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// The first 8 bytes as a number that orders as they do; zeros stand for bytes that are missing.
    head: u64,
    number: u32,
}

/// What a number stands for; `None` when it does not stand for a key.
pub(super) trait Keys {
    fn key(&self, number: u32) -> Option<&[u8]>;
}

/// The order, as far as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Order(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sorted: Arc<Sorted>,
    /// Numbers below this are in it.
    below: u32,
}

/// Keys in order: at least those that it was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted {
    /// None is empty.
    chunks: Vec<Arc<Vec<Item>>>,
    /// The last item of each, side by side for searches.
    lasts: Vec<Item>,
    /// Items of all chunks.
    len: usize,
}

/// A place between two keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    chunk: usize,
    /// The item behind the place; 0 behind the last chunk.
    item: usize,
}

impl Order {
    /// All keys with numbers below `below` in order, and perhaps more.
    pub(super) fn sorted(&self, below: u32, keys: &impl Keys) -> Arc<Sorted> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.below < below {
            let item = |number| Some(Item { head: head(keys.key(number)?), number });
            let new: Vec<Item> = (known.below..below).filter_map(item).collect();
            if !new.is_empty() {
                Arc::make_mut(&mut known.sorted).add(new, keys);
            }
            known.below = below;
        }
        Arc::clone(&known.sorted)
    }
}

impl Sorted {
    fn add(&mut self, mut new: Vec<Item>, keys: &impl Keys) {
        let before = self.len;
        self.len += new.len();
        if new.len() * FEW < before {
            for item in new {
                self.insert(item, keys);
            }
            return;
        }
        new.extend(self.chunks.iter().flat_map(|chunk| chunk.iter()));
        let key = |item: &Item| keys.key(item.number).unwrap_or_default();
        new.sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| key(a).cmp(key(b))));
        self.lasts = new.chunks(FRESH_CHUNK_ITEMS).map(|chunk| chunk[chunk.len() - 1]).collect();
        self.chunks = new.chunks(FRESH_CHUNK_ITEMS).map(|chunk| Arc::new(chunk.to_vec())).collect();
    }

    fn insert(&mut self, item: Item, keys: &impl Keys) {
        let key = keys.key(item.number).unwrap_or_default();
        let mut at = self.seek(key, false, keys);
        if at.chunk == self.chunks.len() {
            // Behind everything: into the last chunk.
            at = self.before(at).map_or(at, |last| Position { item: last.item + 1, ..last });
        }
        let Some(chunk) = self.chunks.get_mut(at.chunk) else {
            self.lasts.push(item);
            return self.chunks.push(Arc::new(vec![item]));
        };
        let chunk = Arc::make_mut(chunk);
        chunk.insert(at.item, item);
        self.lasts[at.chunk] = chunk[chunk.len() - 1];
        if chunk.len() > CHUNK_ITEMS {
            let upper = chunk.split_off(CHUNK_ITEMS / 2);
            self.lasts.insert(at.chunk, chunk[chunk.len() - 1]);
            self.chunks.insert(at.chunk + 1, Arc::new(upper));
        }
    }

    /// The place before the first key that is not below `key`, or that is above it.
    pub(super) fn seek(&self, key: &[u8], above: bool, keys: &impl Keys) -> Position {
        let head = head(key);
        let is_before = |item: &Item| match compare(*item, head, key, keys) {
            Ordering::Less => true,
            Ordering::Equal => above,
            Ordering::Greater => false,
        };
        let chunk = self.lasts.partition_point(is_before);
        let item = self.chunks.get(chunk).map_or(0, |items| items.partition_point(is_before));
        Position { chunk, item }
    }

    /// The place behind all keys.
    pub(super) fn end(&self) -> Position {
        Position { chunk: self.chunks.len(), item: 0 }
    }

    /// The number of the key behind a place.
    #[inline]
    pub(super) fn number(&self, at: Position) -> Option<u32> {
        Some(self.chunks.get(at.chunk)?.get(at.item)?.number)
    }

    /// The place behind the next key, which there must be.
    #[inline]
    pub(super) fn behind(&self, at: Position) -> Position {
        if at.item + 1 < self.chunks[at.chunk].len() {
            Position { item: at.item + 1, ..at }
        } else {
            Position { chunk: at.chunk + 1, item: 0 }
        }
    }

    /// The place before the key before; `None` at the start.
    #[inline]
    pub(super) fn before(&self, at: Position) -> Option<Position> {
        if at.item > 0 {
            return Some(Position { item: at.item - 1, ..at });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(Position { chunk, item: self.chunks[chunk].len() - 1 })
    }
}

/// How an item's key stands to a key and its head.
#[inline]
fn compare(item: Item, head: u64, key: &[u8], keys: &impl Keys) -> Ordering {
    item.head.cmp(&head).then_with(|| keys.key(item.number).unwrap_or_default().cmp(key))
}
