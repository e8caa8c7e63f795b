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
use super::record::{self, Record};
use super::{Checked, Damage, partition_point};
use crate::storage::codec::{u16_at, u32_at};

const LEN: usize = 0;
const COUNT: usize = LEN + 4;
const OFFSETS: usize = COUNT + 4;

/// Bytes of the place of one record.
const OFFSET_LEN: usize = 2;

/// Bytes that a page of several records has at most.
pub(super) const TARGET_LEN: usize = 8 << 10;

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
    pub(super) fn position(&self, key: &[u8], above: bool) -> Checked<usize> {
        partition_point(self.count, |index| {
            Ok(match self.record(index)?.key.cmp(key) {
                Ordering::Less => true,
                Ordering::Equal => above,
                Ordering::Greater => false,
            })
        })
    }
}
