//! The fences: for every page where it begins, and a string that separates it from the page before. They lead a seek to
//! its page, and are used where they lie.
//!
//! ```text
//!  ┌─────────────────┬──────────────────┬──────────────────┬──────────────────────────────┐
//!  │ heads, 8 each   │ pages, 4 each    │ ends, 4 each     │ separators, one behind the … │
//!  └─────────────────┴──────────────────┴──────────────────┴──────────────────────────────┘
//!   separator  of page i: the shortest string that is above every key of page i − 1 and not above any of page i, cut to 256
//!              bytes; of page 0 its first key, cut likewise
//!   end        where separator i ends among the separators; it begins where the one before ends
//!   head       bytes s … s + 7 of separator i as a big-endian number, as if zeros followed it
//!   page       where page i begins in the file
//! ```
//!
//! `s` is the length of what all separators begin with, but at most 248, so that the head of a separator that was cut has
//! no zeros in the place of bytes that were cut off (the footer has `s`). So heads of `user:…` keys differ where the keys
//! do, and nearly every step of the binary search is a comparison of two integers in one dense array.
//!
//! Fence i is *at or before* a key when
//!
//! 1. its head is below the key's head; or, the heads being equal,
//! 2. its separator is not above the key; except that for a separator of 256 bytes that the key begins with
//! 3. page i's first key is not above the key (the separator may have been cut: only the page knows).
//!
//! The fence of a key is the last one that is at or before it: no other page can hold the key.

use super::blocks::Body;
use super::page::Page;
use super::{Checked, Damage, partition_point};
use crate::storage::codec::{head, shared_len};

/// Bytes of a separator at most: what bounds the memory of a writer.
const MAX_SEPARATOR_LEN: usize = 256;

const HEAD_LEN: usize = 8;
const PAGE_LEN: usize = 4;
const END_LEN: usize = 4;

/// Bytes per page, without its separator.
const FIXED_LEN: usize = HEAD_LEN + PAGE_LEN + END_LEN;

/// Collects the fences of a table that is being written.
#[derive(Debug, Default)]
pub(super) struct FenceBuilder {
    pages: Vec<u32>,
    ends: Vec<u32>,
    separators: Vec<u8>,
}

impl FenceBuilder {
    /// Adds the separator of the next page, given its first key and the last one of the page before.
    pub(super) fn push_separator(&mut self, last: Option<&[u8]>, first: &[u8]) {
        let len = last.map_or(first.len(), |last| shared_len(last, first) + 1);
        self.separators.extend_from_slice(&first[..len.min(first.len()).min(MAX_SEPARATOR_LEN)]);
        self.ends.push(u32::try_from(self.separators.len()).unwrap_or(u32::MAX));
    }

    /// Adds where the page of the newest separator begins.
    pub(super) fn push_page(&mut self, start: u32) {
        self.pages.push(start);
    }

    /// Bytes of the section as it is.
    pub(super) fn len(&self) -> usize {
        FIXED_LEN * self.ends.len() + self.separators.len()
    }

    /// An upper bound for what one more page adds.
    pub(super) const MAX_GROWTH: usize = FIXED_LEN + MAX_SEPARATOR_LEN;

    /// The section's bytes, and where it lies once it begins at `start`.
    pub(super) fn build(self, start: usize) -> (Vec<u8>, FenceSection) {
        let separator = |index: usize| {
            let begin = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
            &self.separators[begin..self.ends[index] as usize]
        };
        let count = self.ends.len();
        let shared = count.checked_sub(1).map_or(0, |last| shared_len(separator(0), separator(last)));
        let shared = shared.min(MAX_SEPARATOR_LEN - HEAD_LEN);
        let mut bytes = Vec::with_capacity(self.len());
        for index in 0..count {
            bytes.extend_from_slice(&head(&separator(index)[shared..]).to_le_bytes());
        }
        for field in self.pages.iter().chain(&self.ends) {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.separators);
        (bytes, FenceSection { start, count, separators_len: self.separators.len(), shared })
    }
}

/// The fences of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FenceSection {
    /// Where they begin in the file.
    pub start: usize,
    /// How many there are.
    pub count: usize,
    /// Bytes of all separators.
    pub separators_len: usize,
    /// Bytes that all separators begin with.
    pub shared: usize,
}

impl FenceSection {
    /// Where they end in the file.
    pub(super) fn end(&self) -> u64 {
        (self.start + self.separators_len) as u64 + FIXED_LEN as u64 * self.count as u64
    }

    /// Where page `index` begins in the file.
    pub(super) fn page(&self, body: Body<'_>, index: usize) -> Checked<usize> {
        Ok(body.u32_at(self.start + HEAD_LEN * self.count + PAGE_LEN * index)? as usize)
    }

    /// The separator of page `index`.
    pub(super) fn separator<'t>(&self, body: Body<'t>, index: usize) -> Checked<&'t [u8]> {
        let ends = self.start + (HEAD_LEN + PAGE_LEN) * self.count;
        let begin =
            index.checked_sub(1).map_or(Ok(0), |before| body.u32_at(ends + END_LEN * before))? as usize;
        let end = body.u32_at(ends + END_LEN * index)? as usize;
        if begin > end || end > self.separators_len {
            return Err(Damage::new(ends + END_LEN * index, "the fences are not in order"));
        }
        let separators = self.start + FIXED_LEN * self.count;
        body.slice(separators + begin, separators + end)
    }

    /// How many fences are at or before `key`: one more than the index of the only page that can hold it, 0 when none can.
    /// Pages end at `limit` or before.
    pub(super) fn count_up_to(&self, body: Body<'_>, key: &[u8], limit: usize) -> Checked<usize> {
        if self.count == 0 {
            return Ok(0);
        }
        let shared = self.separator(body, 0)?.get(..self.shared).unwrap_or_default();
        match key.strip_prefix(shared) {
            Some(rest) => {
                let head = head(rest);
                partition_point(self.count, |index| self.is_at_or_before_head(body, index, key, head, limit))
            }
            None if key < shared => Ok(0),
            None => Ok(self.count),
        }
    }

    /// Whether fence `index` is at or before `key`. Pages end at `limit` or before.
    pub(super) fn is_at_or_before(
        &self,
        body: Body<'_>,
        index: usize,
        key: &[u8],
        limit: usize,
    ) -> Checked<bool> {
        let separator = self.separator(body, index)?;
        if separator.len() < MAX_SEPARATOR_LEN || !key.starts_with(separator) {
            return Ok(separator <= key);
        }
        let page = Page::open(body, self.page(body, index)?, limit)?;
        Ok(page.record(0)?.key <= key)
    }

    #[inline]
    fn is_at_or_before_head(
        &self,
        body: Body<'_>,
        index: usize,
        key: &[u8],
        key_head: u64,
        limit: usize,
    ) -> Checked<bool> {
        let head = body.u64_at(self.start + HEAD_LEN * index)?;
        if head == key_head { self.is_at_or_before(body, index, key, limit) } else { Ok(head < key_head) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_the_shortest_string_that_separates() {
        let mut builder = FenceBuilder::default();
        builder.push_separator(None, b"user:000");
        builder.push_separator(Some(b"user:0199"), b"user:0200");
        builder.push_separator(Some(b"user:02"), b"user:02\0\0");
        (0..3).for_each(|page| builder.push_page(page));
        let (bytes, section) = builder.build(0);
        assert_eq!(section.shared, b"user:0".len());
        assert!(bytes.ends_with(b"user:000user:02user:02\0"));
        assert_eq!(section.end(), bytes.len() as u64);
    }

    #[test]
    fn separators_are_cut() {
        let mut builder = FenceBuilder::default();
        let (last, first) = (vec![b'a'; 60_000], [vec![b'a'; 60_000], vec![b'b']].concat());
        builder.push_separator(Some(&last), &first);
        assert_eq!(builder.separators, vec![b'a'; MAX_SEPARATOR_LEN]);
    }
}
