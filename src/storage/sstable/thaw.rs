//! The first gets of a table of which nothing is in memory yet: how few reads of the device each of them waits for.
//!
//! By the hash section a get waits for two, one after the other: the bucket says where the record is. By the fences it waits for
//! one, the page, once the fences are in memory, and they are 0.3 % of a table where the buckets are 7 %. So buckets come into
//! memory where gets return to, and meanwhile the fences lead to the records.
//!
//! ```text
//!                                                           │◄ asked for when opened ►│
//!  ┌──────────────┬────────────────────────────┬────────┬───┴────┬───────┬────────────┤
//!  │ pages …      │ buckets                    │ fences │ leaves │ roots │ footer     │
//!  └──────────────┴────────────────────────────┴────────┴────────┴───────┴────────────┘
//!                                              ◄─ 128 KiB ── 128 KiB ──│ asked for by gets, the last first
//! ```
//!
//! What a get does that comes to a block of buckets which has not verified in this process:
//!
//! 1. The first one of all goes by the buckets and asks for nothing else: a process that gets one key reads what that takes.
//! 2. Each one behind it asks for the next piece of what the fences and leaves are, until all of that has been asked for, and goes
//!    by the buckets.
//! 3. Then the first one that comes to a block goes by the fences, and so does the second, who asks for the block and its
//!    neighbours and does not wait. Who comes later goes by the buckets, of which these are in memory by then.
//! 4. Where several runs have a table for the key, all but the oldest are most likely to know nothing of it, and buckets say so
//!    at the least cost: those are asked for at once, before the first is waited for.
//!
//! None of that is needed for an answer. What fails on the way by the fences is left to the buckets.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::blocks::{BLOCK_LEN, Bits};
use super::footer::Layout;

/// Bytes at the end of the file that opening asks for: the leaves of 64 MiB.
const TAIL_LEN: usize = 64 << 10;

/// Bytes that a get asks for beside what it needs: what a device reads in a fraction of a millisecond.
const PIECE_LEN: usize = 128 << 10;

/// Bytes of buckets that are asked for at once: reading them takes little longer than reading one block.
const PART_LEN: usize = 4 * BLOCK_LEN;

/// What of a table of `len` bytes is worth asking for when it is opened, because every use needs it.
pub(super) const fn tail(len: usize) -> Range<usize> {
    len.saturating_sub(TAIL_LEN)..len
}

/// Which way a get goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Buckets,
    Fences,
    /// By the fences, and then asks for these blocks of buckets.
    FencesThenAsk(Range<usize>),
}

/// How much of a table was asked for by the gets so far. Where threads get at the same time, some may ask twice.
#[derive(Debug)]
pub(super) struct Thaw {
    /// Where the fences begin: nothing before that is asked for.
    fences: usize,
    /// The file's length.
    len: usize,
    /// From there on the file was asked for; its length as long as no get has come.
    asked_from: AtomicUsize,
    /// The first block that has buckets. The others are counted from it.
    first_block: usize,
    /// Blocks that a get came to.
    visited: Bits,
    /// Blocks that were asked for.
    asked: Bits,
}

impl Thaw {
    /// Of a table of `len` bytes.
    pub(super) fn new(layout: &Layout, len: usize) -> Self {
        let (first_block, fences) = (layout.hash.start / BLOCK_LEN, layout.fences.start);
        let blocks = fences.div_ceil(BLOCK_LEN) - first_block;
        let (visited, asked) = (Bits::new(blocks), Bits::new(blocks));
        Self { fences, len, asked_from: AtomicUsize::new(len), first_block, visited, asked }
    }

    /// Which way a get goes whose bucket at `at` has not verified yet. Before that, `ask` may be told what to ask for.
    pub(super) fn way(&self, at: usize, ask: impl FnOnce(Range<usize>)) -> Way {
        let from = self.asked_from.load(Ordering::Relaxed);
        if from > self.fences {
            self.ask_before(from, ask);
            return Way::Buckets;
        }
        if self.visited.insert(at / BLOCK_LEN - self.first_block) {
            return Way::Fences;
        }
        self.around_bucket(at).map_or(Way::Buckets, Way::FencesThenAsk)
    }

    fn ask_before(&self, from: usize, ask: impl FnOnce(Range<usize>)) {
        // What comes first was asked for when the table was opened.
        let is_first = from == self.len;
        let start = if is_first { tail(self.len).start } else { from.saturating_sub(PIECE_LEN) };
        let start = start.max(self.fences);
        if !is_first {
            ask(start..from);
        }
        self.asked_from.store(start, Ordering::Relaxed);
    }

    /// What is to be asked for by a get that searches several tables and needs the bucket at `at`; `None` when that was done. Who
    /// comes there next goes by the buckets.
    pub(super) fn around_bucket(&self, at: usize) -> Option<Range<usize>> {
        if !self.asked.insert(at / BLOCK_LEN - self.first_block) {
            return None;
        }
        let start = (at / PART_LEN * PART_LEN).max(self.first_block * BLOCK_LEN);
        let end = ((at / PART_LEN + 1) * PART_LEN).min(self.fences);
        for block in start / BLOCK_LEN..end.div_ceil(BLOCK_LEN) {
            self.visited.insert(block - self.first_block);
            self.asked.insert(block - self.first_block);
        }
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fences::FenceSection;
    use super::super::hash::{HashSection, section_len};
    use super::Way::{Buckets, Fences, FencesThenAsk};
    use super::*;

    const HOMES: usize = 1000;

    /// A table whose fences take so many bytes, and where the buckets begin.
    fn table(fences_len: usize) -> (Thaw, usize, usize) {
        let start = 10 * BLOCK_LEN + 64;
        let fences = start + section_len(HOMES);
        let sums = fences + fences_len;
        let layout = Layout {
            data_end: 12,
            hash: HashSection { start, homes: HOMES },
            fences: FenceSection { start: fences, count: 0, separators_len: fences_len, shared: 0 },
            dictionary_len: None,
            sums,
        };
        (Thaw::new(&layout, sums + 100), start, fences)
    }

    /// Which way the gets of these places go, one after the other, and what they ask for.
    fn ways(thaw: &Thaw, places: &[usize]) -> (Vec<Way>, Vec<Range<usize>>) {
        let mut asked = Vec::new();
        let ways = places.iter().map(|&at| thaw.way(at, |range| asked.push(range))).collect();
        (ways, asked)
    }

    #[test]
    fn all_fences_are_asked_for_piece_by_piece_and_nothing_before_them() {
        for fences_len in [0, TAIL_LEN, TAIL_LEN + PIECE_LEN, 5 * PIECE_LEN + 7] {
            let (thaw, at, fences) = table(fences_len);
            let len = fences + fences_len + 100;
            let (ways, asked) = ways(&thaw, &[at; 9]);
            let by_buckets = ways.iter().take_while(|&way| *way == Buckets).count();
            assert_eq!(by_buckets, 1 + asked.len(), "the first one asks for nothing");
            let mut end = tail(len).start.max(fences);
            for range in asked {
                assert_eq!(range.end, end);
                assert!(range.start < end && range.len() <= PIECE_LEN, "{range:?}");
                end = range.start;
            }
            assert_eq!(end, fences);
        }
    }

    #[test]
    fn each_block_of_buckets_is_passed_by_twice_and_then_asked_for_with_its_neighbours() {
        let (thaw, at, fences) = table(0);
        ways(&thaw, &[at]);
        let (behind, last) = (at / PART_LEN * PART_LEN + PART_LEN, fences - 64);
        let (seen, asked) = ways(&thaw, &[at, last, last, at, at, last, behind - 64, behind]);
        let first_part = at / BLOCK_LEN * BLOCK_LEN..behind;
        let last_part = last / PART_LEN * PART_LEN..fences;
        let (first_ask, last_ask) = (FencesThenAsk(first_part), FencesThenAsk(last_part));
        assert_eq!(seen, [Fences, Fences, last_ask, first_ask, Buckets, Buckets, Buckets, Fences]);
        assert!(asked.is_empty());
    }

    #[test]
    fn what_was_asked_for_is_used_by_the_next_get() {
        let (thaw, at, fences) = table(0);
        ways(&thaw, &[at]);
        let parts = [at, at + BLOCK_LEN, at + PART_LEN, fences - 64].map(|at| thaw.around_bucket(at));
        for part in parts.iter().flatten() {
            assert!(part.start >= at / BLOCK_LEN * BLOCK_LEN && part.end <= fences, "{part:?}");
        }
        assert_eq!(parts.map(|part| part.is_some()), [true, false, true, true], "once is enough");
        assert_eq!(ways(&thaw, &[at, at + BLOCK_LEN, at + PART_LEN, fences - 64]).0, [const { Buckets }; 4]);
    }
}
