//! Setting flipped bits of a table right again, in a copy.
//!
//! A CRC-32 over so few bytes tells a single flipped bit from every other: so the one bit of a block that was flipped is known.
//! What is set right is verified like everything else, from the footer down: the footer and the roots, then the leaves, then
//! the blocks. Two flipped bits in one block are never taken for one
//! ([`MAX_MENDED_BITS`](crate::storage::codec::MAX_MENDED_BITS)).

use super::blocks::{BLOCK_LEN, SUM_LEN, sums_len};
use super::footer::{FOOTER_LEN, Footer};
use crate::storage::codec::{crc32, flipped_bit, u32_at};

/// Flips back what can be flipped back of a table's bytes; returns the places, in bytes. A table whose footer does not verify
/// then is left alone.
pub(super) fn mend(table: &mut [u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let Some(sums) = mend_footer(table, &mut places) else { return Vec::new() };
    mend_blocks(table, sums, sums + sums_len(sums), &mut places);
    mend_blocks(table, 0, sums, &mut places);
    places.sort_unstable();
    places
}

/// Makes the footer verify, and the roots with it; returns where the leaves begin.
fn mend_footer(table: &mut [u8], places: &mut Vec<usize>) -> Option<usize> {
    if let Ok((footer, _)) = Footer::decode(table) {
        return Some(footer.layout.sums);
    }
    let len = table.len();
    // The roots of the largest table take less than this.
    let from = len.saturating_sub(FOOTER_LEN + 2 * BLOCK_LEN);
    for bit in (from * 8..len * 8).rev() {
        table[bit / 8] ^= 1 << (bit % 8);
        if let Ok((footer, _)) = Footer::decode(table) {
            places.push(bit / 8);
            return Some(footer.layout.sums);
        }
        table[bit / 8] ^= 1 << (bit % 8);
    }
    None
}

/// Mends the blocks from `start` to `end`, whose checksums follow and are right where they verify.
fn mend_blocks(table: &mut [u8], start: usize, end: usize, places: &mut Vec<usize>) {
    for (index, at) in (start..end).step_by(BLOCK_LEN).enumerate() {
        let Some(sum) = u32_at(table, end + index * SUM_LEN) else { return };
        let block = &mut table[at..end.min(at + BLOCK_LEN)];
        let difference = crc32(&[block]) ^ sum;
        if difference != 0
            && let Some(bit) = flipped_bit(block.len(), difference)
        {
            block[bit / 8] ^= 1 << (bit % 8);
            places.push(at + bit / 8);
        }
    }
}
