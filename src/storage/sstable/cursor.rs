//! Walking over the records of a range, forward or in reverse.
//!
//! A cursor stays within one page at a time and knows where in it the range ends, so that an advance is: the next place of
//! the page, and the record there. Keys are compared when a page is entered, at most:
//!
//! * The near end is sought once: fences, then binary search in the page.
//! * Forward, a page lies inside the range as a whole when the fence behind it is at or before the range's end; in reverse,
//!   when its own fence is not at or before the range's start. Else the range ends in this page, and a binary search says where.
//!
//! Each advance, the last one included, looks whether pages of the file were lost since the walk began: if it succeeds, what was
//! handed out before it was what the file held when it was used. [`TableCursor::check`] looks where no advance follows.

use std::ops::Bound;

use super::blocks::Body;
use super::page::Page;
use super::reader::Table;
use super::record::{Content, Record};
use super::value::StoredValue;
use super::{Checked, Damage};
use crate::error::Result;
use crate::types::{Direction, Key, KeyRange, Lsn, Timestamp};

/// What a record says.
#[derive(Clone, Copy, Debug)]
pub struct Change<'t> {
    /// The key.
    pub key: &'t [u8],
    /// The value; `None` when the key was deleted.
    pub value: Option<StoredValue<'t>>,
    /// The batch that stored or deleted it.
    pub lsn: Lsn,
    /// When the value expires, if it does.
    pub expires: Option<Timestamp>,
}

/// A walk over records. What it hands out lives as long as the table, not only until the next advance.
#[derive(Debug)]
pub struct TableCursor<'t> {
    table: &'t Table,
    body: Body<'t>,
    /// [`Table::packs`], at hand.
    packs: bool,
    page: Page<'t>,
    /// The records of the page that are still to come: the next one is at the lower end forward, at the upper in reverse.
    next: usize,
    end: usize,
    direction: Direction,
    /// The pages that are still to come after this one, the next one as above.
    next_page: usize,
    end_page: usize,
    far: Bound<Key>,
    record: Record<'t>,
    /// What [`Table::lost_pages`] was when the walk began.
    lost_pages: usize,
}

impl<'t> TableCursor<'t> {
    pub(super) fn new(table: &'t Table, range: &KeyRange, direction: Direction) -> Checked<Self> {
        let record = Record { key: &[], content: Content::Tombstone, lsn: Lsn::ZERO, expires: None, end: 0 };
        let lost_pages = table.lost_pages();
        let (body, end_page) = (table.body(), table.layout().fences.count);
        let (next, end, next_page, page) = (0, 0, 0, Page::empty());
        let far = match direction {
            Direction::Forward => range.end.clone(),
            Direction::Reverse => range.start.clone(),
        };
        let mut cursor = Self {
            table,
            body,
            packs: table.packs(),
            page,
            next,
            end,
            direction,
            next_page,
            end_page,
            far,
            record,
            lost_pages,
        };
        let begun = match direction {
            Direction::Forward => cursor.begin_at(&range.start),
            Direction::Reverse => cursor.begin_before(&range.end),
        };
        cursor.check_pages().and(begun)?;
        Ok(cursor)
    }

    /// Whether everything that was read is what the file holds.
    #[inline]
    fn check_pages(&self) -> Checked<()> {
        if self.table.lost_pages() == self.lost_pages { Ok(()) } else { Err(self.table.loss()) }
    }

    /// Moves to the next record of the range; `false` when there is none, or after an error.
    ///
    /// # Errors
    /// Corruption.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        self.step().map_err(|damage| self.fail(damage))
    }

    /// Moves to the next record of the range and hands it out; `None` when there is none, or after an error.
    ///
    /// # Errors
    /// Corruption.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a scan takes half the time with it")]
    pub fn next_change(&mut self) -> Result<Option<Change<'t>>> {
        let change = match self.next_record() {
            // Measured: asked for like the others, these take a third longer.
            Ok(Some(Record { key, content: Content::Value(value), lsn, expires, .. })) if !self.packs => {
                Ok(Some(Change { key, value: Some(value.into()), lsn, expires }))
            }
            Ok(Some(Record { key, content, lsn, expires, .. })) => {
                let value = self.table.stored(self.body, content);
                value.map(|value| Some(Change { key, value, lsn, expires }))
            }
            Ok(None) => Ok(None),
            Err(damage) => Err(damage),
        };
        self.check_pages().and(change).map_err(|damage| self.fail(damage))
    }

    /// Whether everything that was handed out so far is what the file held when it was used.
    ///
    /// # Errors
    /// Corruption.
    pub fn check(&self) -> Result<()> {
        self.check_pages().map_err(|damage| self.table.report(damage))
    }

    /// The record's key. Before the first advance, and after the last one, it means nothing.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'t [u8] {
        self.record.key
    }

    /// The record's value; `None` when the key was deleted.
    ///
    /// # Errors
    /// Corruption of a value that lies outside of its record: those are verified here, so that walking over keys does not
    /// read them.
    #[inline]
    pub fn value(&self) -> Result<Option<StoredValue<'t>>> {
        self.table.stored(self.body, self.record.content).map_err(|damage| self.table.report(damage))
    }

    /// How many bytes the record's value has, without reading it; `None` when the key was deleted.
    #[inline]
    #[must_use]
    pub fn value_len(&self) -> Option<u64> {
        self.table.value_len(self.record.content)
    }

    /// Whether the record says that the key was deleted.
    #[inline]
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.record.content == Content::Tombstone
    }

    /// When the value expires, if it does.
    #[inline]
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.record.expires
    }

    /// The batch that stored or deleted the key.
    #[inline]
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.record.lsn
    }

    #[inline]
    fn step(&mut self) -> Checked<bool> {
        let next = self.next_record();
        self.check_pages()?;
        let next = next?;
        if let Some(record) = next {
            self.record = record;
        }
        Ok(next.is_some())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a scan takes half the time with it")]
    fn next_record(&mut self) -> Checked<Option<Record<'t>>> {
        while self.next == self.end {
            if !self.turn_page()? {
                return Ok(None);
            }
        }
        let index = match self.direction {
            Direction::Forward => {
                self.next += 1;
                self.next - 1
            }
            Direction::Reverse => {
                self.end -= 1;
                self.end
            }
        };
        self.page.record(index).map(Some)
    }

    /// Ends the walk.
    #[cold]
    fn fail(&mut self, damage: Damage) -> crate::error::Error {
        (self.next, self.next_page) = (self.end, self.end_page);
        self.table.report(damage)
    }

    /// Enters the next page; `false` when no page has records of the range any more.
    #[inline(never)]
    fn turn_page(&mut self) -> Checked<bool> {
        if self.next_page == self.end_page {
            return Ok(false);
        }
        match self.direction {
            Direction::Forward => {
                self.next_page += 1;
                self.enter(self.next_page - 1)?;
                self.end_at_far_end(self.next_page - 1)?;
            }
            Direction::Reverse => {
                self.end_page -= 1;
                self.enter(self.end_page)?;
                self.begin_at_far_end(self.end_page)?;
            }
        }
        Ok(true)
    }

    fn enter(&mut self, page: usize) -> Checked<()> {
        self.page = self.table.page(self.body, page)?;
        (self.next, self.end) = (0, self.page.count());
        Ok(())
    }

    /// How many fences are at or before `key`.
    fn fences_up_to(&self, key: &[u8]) -> Checked<usize> {
        self.table.layout().fences.count_up_to(self.body, key, self.table.layout().data_end)
    }

    /// Positions a forward walk.
    fn begin_at(&mut self, start: &Bound<Key>) -> Checked<()> {
        let (Bound::Included(key) | Bound::Excluded(key)) = start else { return Ok(()) };
        let Some(page) = self.fences_up_to(key)?.checked_sub(1) else { return Ok(()) };
        self.next_page = page;
        self.turn_page()?;
        self.next = self.page.position(key, matches!(start, Bound::Excluded(_)))?.min(self.end);
        Ok(())
    }

    /// Positions a reverse walk.
    fn begin_before(&mut self, end: &Bound<Key>) -> Checked<()> {
        let (Bound::Included(key) | Bound::Excluded(key)) = end else { return Ok(()) };
        self.end_page = self.fences_up_to(key)?;
        if self.turn_page()? {
            self.end = self.page.position(key, matches!(end, Bound::Included(_)))?.max(self.next);
        }
        Ok(())
    }

    /// Cuts the page just entered where a forward walk ends.
    fn end_at_far_end(&mut self, page: usize) -> Checked<()> {
        let (Bound::Included(key) | Bound::Excluded(key)) = &self.far else { return Ok(()) };
        let layout = self.table.layout();
        if page + 1 < layout.fences.count
            && layout.fences.is_at_or_before(self.body, page + 1, key, layout.data_end)?
        {
            return Ok(());
        }
        self.end = self.page.position(key, matches!(self.far, Bound::Included(_)))?;
        self.next_page = self.end_page;
        Ok(())
    }

    /// Cuts the page just entered where a reverse walk ends.
    fn begin_at_far_end(&mut self, page: usize) -> Checked<()> {
        let (Bound::Included(key) | Bound::Excluded(key)) = &self.far else { return Ok(()) };
        let layout = self.table.layout();
        if !layout.fences.is_at_or_before(self.body, page, key, layout.data_end)? {
            return Ok(());
        }
        self.next = self.page.position(key, matches!(self.far, Bound::Excluded(_)))?;
        self.end_page = self.next_page;
        Ok(())
    }
}
