//! A page: some 8 KiB of neighbouring records and where each of them begins.
//!
//! ```text
//!  0       4       8
//!  ┌───────┬───────┬──────┬──────┬───┬────────┬────────┬───┐
//!  │ len   │ count │ at 0 │ at 1 │ … │ record │ record │ … │
//!  └───────┴───────┴──────┴──────┴───┴────────┴────────┴───┘
//!   len    of the page, this header included      at i   where record i begins, 2 bytes, from the page's start
//! ```
//!
//! 1. Keys ascend strictly within a page and from page to page. Keys are whole, so that a record can be understood without
//!    its neighbours: the hash section leads to records, not to pages.
//! 2. Every record begins within 64 KiB; only the last one may end behind that (a key may have 65,535 bytes). A page is closed
//!    before the record that would take it over [`TARGET_LEN`], so only a page of one record is longer.
//! 3. Pages begin at any byte. A page is neither aligned nor padded: what is cached and verified are blocks of the file.

use std::cmp::Ordering;

use super::blocks::Body;
use super::record::{self, MAX_HEADER_LEN, Record};
use super::{Checked, Damage, partition_point};
use crate::storage::codec::{u16_at, u32_at};
use crate::storage::prefetch::prefetch;

const LEN: usize = 0;
const COUNT: usize = LEN + 4;
const OFFSETS: usize = COUNT + 4;

/// Bytes of the place of one record.
const OFFSET_LEN: usize = 2;

/// Bytes that a page of several records has at most.
pub(super) const TARGET_LEN: usize = 8 << 10;

/// A search in a page narrows it down to one of so many parts at once.
const PARTS: usize = 8;

/// The page that a table is being written through.
#[derive(Debug, Default)]
pub(super) struct PageBuilder {
    /// Where each record begins in `records`.
    starts: Vec<u32>,
    records: Vec<u8>,
}

impl PageBuilder {
    /// Whether a record of `len` bytes would make the page too long.
    pub(super) fn is_full_for(&self, len: usize) -> bool {
        !self.starts.is_empty() && self.len() + OFFSET_LEN + len > TARGET_LEN
    }

    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of the page as it is.
    pub(super) fn len(&self) -> usize {
        self.header_len() + self.records.len()
    }

    /// Adds the record that `encode` appends.
    pub(super) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.starts.push(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
        encode(&mut self.records);
    }

    /// Hands the page's bytes to `write`, and the place of every record in the page to `place`. Then the page is empty.
    pub(super) fn flush<E>(
        &mut self,
        mut place: impl FnMut(u32),
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let header_len = self.header_len();
        let mut header = Vec::with_capacity(header_len);
        header.extend_from_slice(&u32::try_from(self.len()).unwrap_or(u32::MAX).to_le_bytes());
        header.extend_from_slice(&u32::try_from(self.starts.len()).unwrap_or(u32::MAX).to_le_bytes());
        let shift = u32::try_from(header_len).unwrap_or(u32::MAX);
        for start in self.starts.drain(..) {
            let at = start + shift;
            header.extend_from_slice(&u16::try_from(at).unwrap_or(u16::MAX).to_le_bytes());
            place(at);
        }
        write(&header)?;
        write(&self.records)?;
        self.records.clear();
        Ok(())
    }

    fn header_len(&self) -> usize {
        OFFSETS + OFFSET_LEN * self.starts.len()
    }
}

/// A page of a table, all of whose bytes have verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'t> {
    bytes: &'t [u8],
    start: usize,
    end: usize,
    count: usize,
}

impl<'t> Page<'t> {
    /// The page at `start`, which ends at `limit` or before.
    pub(super) fn open(body: Body<'t>, start: usize, limit: usize) -> Checked<Self> {
        let len = body.u32_at(start + LEN)? as usize;
        let count = body.u32_at(start + COUNT)? as usize;
        let end = start + len;
        if end > limit || count == 0 || OFFSETS + OFFSET_LEN * count > len {
            return Err(Damage::new(start, "the length of a page is impossible"));
        }
        body.check(start, end)?;
        Ok(Self { bytes: body.bytes(), start, end, count })
    }

    /// Whether bytes that have not been verified look as if a page began at `start`.
    pub(super) fn may_begin(body: Body<'_>, start: usize, limit: usize) -> bool {
        let field = |at: usize| u32_at(body.bytes(), start + at).map(|field| field as usize);
        let (Some(len), Some(count)) = (field(LEN), field(COUNT)) else { return false };
        let first = OFFSETS as u64 + OFFSET_LEN as u64 * count as u64;
        start + len <= limit
            && count > 0
            && first < len as u64
            && u16_at(body.bytes(), start + OFFSETS).map(u64::from) == Some(first)
    }

    /// A page without records.
    pub(super) const fn empty() -> Self {
        Self { bytes: &[], start: 0, end: 0, count: 0 }
    }

    pub(super) fn end(&self) -> usize {
        self.end
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Where the first record must begin.
    pub(super) fn first_place(&self) -> usize {
        self.start + OFFSETS + OFFSET_LEN * self.count
    }

    /// The place in the file of record `index`.
    #[inline]
    pub(super) fn place(&self, index: usize) -> Checked<usize> {
        match u16_at(self.bytes, self.start + OFFSETS + OFFSET_LEN * index) {
            Some(at) => Ok(self.start + usize::from(at)),
            None => Err(Damage::new(self.start, "a page has no such record")),
        }
    }

    /// Record `index` of the page.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a scan takes half the time with it")]
    pub(super) fn record(&self, index: usize) -> Checked<Record<'t>> {
        let at = self.place(index)?;
        record::decode(self.bytes, at, self.end)
            .ok_or(Damage::new(at, "there is no record where a page says so"))
    }

    /// The first record whose key is not below `key`, or is above it; [`Page::count`] when there is none.
    ///
    /// A search in halves would wait for memory at each of its steps. This one asks for all records that its next three steps may
    /// come to, and waits once for them.
    pub(super) fn position(&self, key: &[u8], above: bool) -> Checked<usize> {
        let is_before = |index| {
            Ok(match self.record(index)?.key.cmp(key) {
                Ordering::Less => true,
                Ordering::Equal => above,
                Ordering::Greater => false,
            })
        };
        let (mut low, mut high) = (0, self.count);
        while high - low >= PARTS {
            let border = |part: usize| low + (high - low) * part / PARTS;
            (1..PARTS).for_each(|part| self.prefetch(border(part)));
            let after = 1 + partition_point(PARTS - 1, |part| is_before(border(part + 1)))?;
            let below = if after < PARTS { border(after) } else { high };
            low = if after > 1 { border(after - 1) + 1 } else { low };
            high = below;
        }
        (low..high).for_each(|index| self.prefetch(index));
        Ok(low + partition_point(high - low, |index| is_before(low + index))?)
    }

    /// Starts loading the key of record `index`.
    #[inline]
    fn prefetch(&self, index: usize) {
        let place = self.place(index).unwrap_or(self.start);
        prefetch(self.bytes, place);
        prefetch(self.bytes, place + MAX_HEADER_LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::{Checks, append_sums};
    use super::super::record::Content;
    use super::*;
    use crate::types::Lsn;

    /// A page with the keys 1, 3, 5, …, as many as that, and its checksums.
    fn built(count: u8) -> (Vec<u8>, usize) {
        let (mut builder, mut bytes) = (PageBuilder::default(), Vec::new());
        for number in 0..count {
            let key = [number * 2 + 1];
            builder.add(|out| record::encode(out, &key, Content::Tombstone, Lsn(1), None));
        }
        let write = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok::<(), ()>(())
        };
        builder.flush(|_| (), write).unwrap();
        let (covered, mut leaves, mut roots) = (bytes.len(), Vec::new(), Vec::new());
        append_sums(&mut leaves, &bytes);
        append_sums(&mut roots, &leaves);
        bytes.extend(leaves);
        bytes.extend(roots);
        (bytes, covered)
    }

    #[test]
    fn every_key_and_every_gap_is_found_in_pages_of_any_size() {
        for count in 1..100 {
            let (bytes, covered) = built(count);
            let checks = Checks::new(covered);
            let page = Page::open(Body::new(&bytes, &checks), 0, covered).unwrap();
            for key in 0..=2 * count {
                let below = usize::from(key / 2);
                assert_eq!(page.position(&[key], false).unwrap(), below, "{key} of {count}");
                assert_eq!(
                    page.position(&[key], true).unwrap(),
                    usize::from(key.div_ceil(2)),
                    "{key} of {count}"
                );
            }
        }
    }
}
