//! Checksums of a table's bytes, verified when they are first touched.
//!
//! ```text
//!   records, values, hash section, fences      leaves           roots       footer
//!  ┌──────────┬──────────┬──────────┬─────┐  ┌───────────────┐ ┌─────┐     ┌─────┐
//!  │ block 0  │ block 1  │ block 2  │ …   │  │ crc crc crc … │ │ crc │ ◄── │ crc │
//!  └──────────┴──────────┴──────────┴─────┘  └───────────────┘ └─────┘     └─────┘
//!     4096 bytes each, the last shorter  ◄──── one per block ◄── one per 4096 bytes of leaves
//! ```
//!
//! Blocks know nothing of what is in them: whatever the structure, no byte is used before its block has verified. A block's
//! place in the file is its place among the leaves, so a block written to a wrong place fails like a damaged one. 4 GiB have
//! 4 MiB of leaves and 4 KiB of roots; the footer's checksum covers the roots and is verified when the table is opened.
//!
//! One bit per block and one per 4096 bytes of leaves remember, for this process, what has verified. A warm access costs one
//! load and a branch; the first touch of a block costs a CRC-32 over 4096 bytes. A block that fails is never remembered, so
//! every access to it fails. Any single flipped bit changes a CRC-32.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Checked, Damage};
use crate::storage::codec::{crc32, is_right, u32_at, u64_at};

/// Bytes that one checksum covers.
pub(super) const BLOCK_LEN: usize = 4096;

/// Bytes of one checksum.
pub(super) const SUM_LEN: usize = 4;

/// Appends the checksum of each block in `bytes`; all blocks but the last are full.
pub(super) fn append_sums(sums: &mut Vec<u8>, bytes: &[u8]) {
    for block in bytes.chunks(BLOCK_LEN) {
        sums.extend_from_slice(&crc32(&[block]).to_le_bytes());
    }
}

/// Bytes of the leaves of so many covered bytes.
pub(super) const fn sums_len(covered: usize) -> usize {
    covered.div_ceil(BLOCK_LEN) * SUM_LEN
}

/// Where the block of a byte ends.
#[inline]
pub(super) const fn block_end(at: usize) -> usize {
    (at / BLOCK_LEN + 1) * BLOCK_LEN
}

/// What has verified so far of a table.
#[derive(Debug)]
pub(super) struct Checks {
    covered: usize,
    blocks: Bits,
    leaves: Bits,
}

impl Checks {
    /// Of a table whose leaves begin at `covered`: nothing has verified yet, except the roots.
    pub(super) fn new(covered: usize) -> Self {
        let leaves_len = sums_len(covered);
        Self {
            covered,
            blocks: Bits::new(covered.div_ceil(BLOCK_LEN)),
            leaves: Bits::new(leaves_len.div_ceil(BLOCK_LEN)),
        }
    }

    /// The same, but what has verified is verified again every time.
    pub(super) fn forgetful(covered: usize) -> Self {
        Self { covered, blocks: Bits::new(0), leaves: Bits::new(0) }
    }

    /// Verifies what was not verified yet of `start..end`.
    #[inline(never)]
    fn check_each(&self, bytes: &[u8], start: usize, end: usize) -> Checked<()> {
        if end > self.covered {
            return Err(Damage::new(start, "a length or an offset leads outside of the table"));
        }
        (start / BLOCK_LEN..end.div_ceil(BLOCK_LEN)).try_for_each(|block| self.check_block(bytes, block))
    }

    fn check_block(&self, bytes: &[u8], block: usize) -> Checked<()> {
        if self.blocks.has(block) {
            return Ok(());
        }
        let sum_at = self.covered + block * SUM_LEN;
        self.check_leaf(bytes, block * SUM_LEN / BLOCK_LEN)?;
        let start = block * BLOCK_LEN;
        verify(bytes, start, (start + BLOCK_LEN).min(self.covered), sum_at)?;
        self.blocks.insert(block);
        Ok(())
    }

    fn check_leaf(&self, bytes: &[u8], leaf: usize) -> Checked<()> {
        if self.leaves.has(leaf) {
            return Ok(());
        }
        let roots = self.covered + sums_len(self.covered);
        let start = self.covered + leaf * BLOCK_LEN;
        verify(bytes, start, (start + BLOCK_LEN).min(roots), roots + leaf * SUM_LEN)?;
        self.leaves.insert(leaf);
        Ok(())
    }
}

fn verify(bytes: &[u8], start: usize, end: usize, sum_at: usize) -> Checked<()> {
    match bytes.get(start..end) {
        Some(block) if u32_at(bytes, sum_at).is_some_and(|sum| is_right("block", sum, crc32(&[block]))) => {
            Ok(())
        }
        _ => Err(Damage::of_block(start, end)),
    }
}

/// A table's bytes, readable where they have verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'t> {
    bytes: &'t [u8],
    checks: &'t Checks,
}

impl<'t> Body<'t> {
    pub(super) fn new(bytes: &'t [u8], checks: &'t Checks) -> Self {
        Self { bytes, checks }
    }

    /// All bytes, verified or not.
    #[inline]
    pub(super) fn bytes(self) -> &'t [u8] {
        self.bytes
    }

    /// Verifies what was not verified yet of `start..end`. Nobody asks for bytes behind the covered ones, except in
    /// damaged tables.
    #[inline]
    pub(super) fn check(self, start: usize, end: usize) -> Checked<()> {
        if end <= block_end(start) && self.checks.blocks.has(start / BLOCK_LEN) {
            return Ok(());
        }
        self.checks.check_each(self.bytes, start, end)
    }

    /// Whether the bytes `start..end` have verified already: reading them now needs no look at the leaves.
    #[inline]
    pub(super) fn has_verified(self, start: usize, end: usize) -> bool {
        (start / BLOCK_LEN..end.div_ceil(BLOCK_LEN)).all(|block| self.checks.blocks.has(block))
    }

    /// The bytes from `start` on that lie in one block for certain, because `start` is a multiple of `N`, a power of two; `None`
    /// where they have not verified yet.
    #[inline]
    pub(super) fn verified<const N: usize>(self, start: usize) -> Option<&'t [u8; N]> {
        if !self.checks.blocks.has(start / BLOCK_LEN) {
            return None;
        }
        self.bytes.get(start..).and_then(<[u8]>::first_chunk)
    }

    /// The same, but they are verified if they were not yet.
    #[inline]
    pub(super) fn aligned<const N: usize>(self, start: usize) -> Checked<&'t [u8; N]> {
        if !self.checks.blocks.has(start / BLOCK_LEN) {
            self.checks.check_each(self.bytes, start, start + N)?;
        }
        let bytes = self.bytes.get(start..).and_then(<[u8]>::first_chunk);
        bytes.ok_or(Damage::new(start, "an offset leads outside of the table"))
    }

    /// The bytes `start..end`, verified.
    #[inline]
    pub(super) fn slice(self, start: usize, end: usize) -> Checked<&'t [u8]> {
        self.check(start, end)?;
        self.bytes
            .get(start..end)
            .ok_or(Damage::new(start, "a length or an offset leads outside of the table"))
    }

    /// The integer at `at`, verified.
    #[inline]
    pub(super) fn u32_at(self, at: usize) -> Checked<u32> {
        self.check(at, at + 4)?;
        u32_at(self.bytes, at).ok_or(Damage::new(at, "an offset leads outside of the table"))
    }

    /// The integer at `at`, verified.
    #[inline]
    pub(super) fn u64_at(self, at: usize) -> Checked<u64> {
        self.check(at, at + 8)?;
        u64_at(self.bytes, at).ok_or(Damage::new(at, "an offset leads outside of the table"))
    }

    /// The same bytes, judged by other checks.
    pub(super) fn judged_by(self, checks: &'t Checks) -> Self {
        Self { checks, ..self }
    }
}

/// A set of small numbers that only grows. Threads may see a number late, never one that was not set.
#[derive(Debug)]
pub(super) struct Bits(Box<[AtomicU64]>);

impl Bits {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    fn has(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word.load(Ordering::Relaxed) >> (index % 64) & 1 == 1)
    }

    /// Adds a number; `false` when it was there, or can't be.
    pub(super) fn insert(&self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        self.0.get(index / 64).is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes with their leaves and roots.
    fn protected(covered: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..=u8::MAX).cycle().take(covered).collect();
        let (mut leaves, mut roots) = (Vec::new(), Vec::new());
        append_sums(&mut leaves, &bytes);
        append_sums(&mut roots, &leaves);
        bytes.extend(leaves);
        bytes.extend(roots);
        bytes
    }

    #[test]
    fn intact_bytes_verify_in_any_pieces() {
        for covered in [1, BLOCK_LEN - 1, BLOCK_LEN, 3 * BLOCK_LEN + 5] {
            let bytes = protected(covered);
            let checks = Checks::new(covered);
            let body = Body::new(&bytes, &checks);
            assert_eq!(body.slice(covered / 2, covered).unwrap(), &bytes[covered / 2..covered]);
            body.check(0, covered).unwrap();
            body.judged_by(&Checks::new(covered)).check(0, covered).unwrap();
            assert!(body.check(covered - 1, covered + BLOCK_LEN).is_err(), "the leaves are not for use");
        }
    }

    #[test]
    fn only_the_damaged_block_fails_and_it_fails_again() {
        let covered = 3 * BLOCK_LEN + 5;
        for at in [0, BLOCK_LEN, 2 * BLOCK_LEN + 77, covered - 1] {
            let mut bytes = protected(covered);
            bytes[at] ^= 0x10;
            let checks = Checks::new(covered);
            let body = Body::new(&bytes, &checks);
            for block in 0..4 {
                let (start, end) = (block * BLOCK_LEN, ((block + 1) * BLOCK_LEN).min(covered));
                for _ in 0..2 {
                    assert_eq!(body.check(start, end).is_err(), at / BLOCK_LEN == block, "{at} {block}");
                }
            }
        }
    }

    #[test]
    fn forgetful_checks_notice_damage_after_the_first_touch() {
        let mut bytes = protected(2 * BLOCK_LEN);
        let checks = [Checks::new(2 * BLOCK_LEN), Checks::forgetful(2 * BLOCK_LEN)];
        for checks in &checks {
            Body::new(&bytes, checks).check(0, 2 * BLOCK_LEN).unwrap();
        }
        bytes[5] ^= 1;
        let verdicts = checks.each_ref().map(|checks| Body::new(&bytes, checks).check(0, 1).is_ok());
        assert_eq!(verdicts, [true, false]);
        Body::new(&bytes, &checks[1]).check(BLOCK_LEN, BLOCK_LEN + 1).unwrap();
    }

    #[test]
    fn damaged_leaves_are_not_believed() {
        let covered = BLOCK_LEN + 5;
        let intact = protected(covered);
        for bit in covered * 8..intact.len() * 8 {
            let mut bytes = intact.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let checks = Checks::new(covered);
            assert!(Body::new(&bytes, &checks).check(0, 1).is_err(), "bit {bit}");
        }
    }
}
