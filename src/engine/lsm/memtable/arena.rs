//! A list that only grows, and whose elements stay where they are: one thread at a time appends, any number read meanwhile.
//!
//! Elements lie in chunks, so that nothing is ever moved and a number leads to its element in two steps. Four chunks are of one
//! length, the next four are twice as long: at most a fifth of the memory waits for elements.
//!
//! ```text
//!  chunk    0      1      2      3      4           5           6           7           8
//!  number   0 ‥ 7  8 ‥ 15 …             32 ‥ 47     48 ‥ 63     …                       96 ‥ 127
//! ```

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::storage::prefetch::prefetch_all;

/// The first chunk has two to the power of so many elements.
const FIRST_BITS: u32 = 3;

/// Two to the power of so many chunks are of one length.
const EQUAL_BITS: u32 = 2;

/// With so many chunks every `u32` but the last few has its place.
const CHUNKS: usize = ((u32::BITS - FIRST_BITS - EQUAL_BITS) as usize) << EQUAL_BITS;

type Chunk<T> = Box<[OnceLock<T>]>;

/// The list. Elements are numbered from 0 on.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: [OnceLock<Chunk<T>>; CHUNKS],
    len: AtomicU32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], len: AtomicU32::new(0) }
    }
}

impl<T> Arena<T> {
    /// How many elements there are. What a thread did before it appended them is seen by who sees this number.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// The element of this number.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, at) = place(number);
        self.chunks.get(chunk)?.get()?.get(at)?.get()
    }

    /// Starts loading the element of this number, if there is one.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        let (chunk, at) = place(number);
        if let Some(element) = self.chunks.get(chunk).and_then(|chunk| chunk.get()?.get(at)) {
            prefetch_all(element);
        }
    }

    /// Appends the element that `make` makes of its number. It counts after `before` was done. Nobody else appends at the same
    /// time.
    pub(super) fn push(&self, make: impl FnOnce(u32) -> T, before: impl FnOnce(u32)) {
        let number = self.len.load(Ordering::Relaxed);
        let (chunk, at) = place(number);
        let empty = || (0..chunk_len(chunk)).map(|_| OnceLock::new()).collect();
        self.chunks[chunk].get_or_init(empty)[at].get_or_init(|| make(number));
        before(number);
        self.len.store(number + 1, Ordering::Release);
    }
}

/// The chunk of an element, and its place there.
#[inline]
fn place(number: u32) -> (usize, usize) {
    let shifted = number as usize + (1 << (FIRST_BITS + EQUAL_BITS));
    let chunk_bits = shifted.ilog2() - EQUAL_BITS;
    // Chunks of one length have this in their upper bits: 4, 5, 6 and 7.
    let upper = shifted >> chunk_bits;
    let shorter = ((chunk_bits - FIRST_BITS) as usize) << EQUAL_BITS;
    (shorter + upper - (1 << EQUAL_BITS), shifted - (upper << chunk_bits))
}

/// How many elements a chunk has.
fn chunk_len(chunk: usize) -> usize {
    1 << (FIRST_BITS as usize + (chunk >> EQUAL_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_under_their_numbers() {
        let arena = Arena::default();
        for number in 0..5_000 {
            assert_eq!(arena.get(number), None);
            arena.push(|given| given * 3, |given| assert_eq!((given, arena.len()), (number, number)));
            assert_eq!(arena.len(), number + 1);
        }
        assert!((0..5_000).all(|number| arena.get(number) == Some(&(number * 3))));
    }

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for number in 0..10_000 {
            assert_eq!(place(number), next);
            next = if next.1 + 1 < chunk_len(next.0) { (next.0, next.1 + 1) } else { (next.0 + 1, 0) };
        }
        assert!(place(u32::MAX - 32).0 < CHUNKS);
        assert_eq!(Arena::<u8>::default().get(u32::MAX), None);
    }

    #[test]
    fn readers_see_whole_elements_while_more_are_appended() {
        let arena = Arena::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    arena.push(|number| vec![number; 3], |_| ());
                }
            });
            scope.spawn(|| {
                while arena.len() < 20_000 {
                    let last = arena.len().checked_sub(1);
                    assert!(last.is_none_or(|last| arena.get(last) == Some(&vec![last; 3])));
                }
            });
        });
    }
}
