//! What walks cost because there are many parts: the reason to merge them.
//!
//! A walk over one run goes from record to record; over many it compares what each of them has. Whoever walks a lot would be
//! better off if they were merged, and whoever does not needs no merge. So walks are counted, and a merge of so many records
//! is worth its work once walks have gone over as many: what is merged for them at most doubles what they cost anyway.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Cursor, Item, KeyCursor};
use crate::error::Result;

/// How many more records have to be walked over before somebody looks again whether there is something to do.
const LOOK_EVERY: u64 = 1 << 15;

/// The records that walks over several parts have gone over, as far as nothing was merged for them yet. Counts may get lost.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    records: AtomicU64,
    /// How many there were when somebody looked last.
    looked_at: AtomicU64,
}

impl Walked {
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Whether it is time to look if there is something to do; if so, this is the look.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        let (records, looked_at) = (self.records(), self.looked_at.load(Ordering::Relaxed));
        let is_time = records >= looked_at + LOOK_EVERY;
        if is_time {
            self.looked_at.store(records, Ordering::Relaxed);
        }
        is_time
    }

    /// Something was done for walks over so many records.
    pub(crate) fn spend(&self, records: u64) {
        let left = self.records().saturating_sub(records);
        self.records.store(left, Ordering::Relaxed);
        self.looked_at.store(left, Ordering::Relaxed);
    }
}

/// A walk over several parts, which is counted when it ends.
pub(super) struct Counted<'a, W> {
    walk: W,
    records: u64,
    walked: &'a Walked,
}

impl<'a, W> Counted<'a, W> {
    pub(super) const fn new(walk: W, walked: &'a Walked) -> Self {
        Self { walk, records: 0, walked }
    }
}

impl<W: Cursor> Cursor for Counted<'_, W> {
    #[inline]
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        self.records += 1;
        self.walk.next_entry()
    }

    fn check(&self) -> Result<()> {
        self.walk.check()
    }
}

impl<W: KeyCursor> KeyCursor for Counted<'_, W> {
    #[inline]
    fn next(&mut self) -> Result<Option<(&[u8], u64)>> {
        self.records += 1;
        self.walk.next()
    }
}

impl<W> Drop for Counted<'_, W> {
    fn drop(&mut self) {
        self.walked.records.fetch_add(self.records, Ordering::Relaxed);
    }
}
