//! A walk over one of the parts of a view, of whichever kind, for readers: where it stands is at hand without asking the part.

use super::memtable::MemtableWalk;
use super::merge::Source;
use super::version::RunWalk;
use crate::error::Result;
use crate::storage::sstable::Change;
use crate::types::{Lsn, Timestamp};

/// A walk as a reader goes it: past what has expired at a time.
pub(crate) struct Live<W> {
    pub(super) walk: W,
    pub(super) now: Timestamp,
}

/// A walk.
pub(crate) struct Walk<'a> {
    part: Part<'a>,
    /// Where it stands, once it was advanced.
    pub(super) at: Change<'a>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a walk has few, and a box would be one step more for every record"
)]
enum Part<'a> {
    Memtable(MemtableWalk<'a>),
    Run(RunWalk<'a>),
}

impl<'a> Walk<'a> {
    fn new(part: Part<'a>) -> Self {
        Self { part, at: Change { key: &[], value: None, lsn: Lsn::ZERO, expires: None } }
    }
}

impl<'a> From<MemtableWalk<'a>> for Walk<'a> {
    fn from(walk: MemtableWalk<'a>) -> Self {
        Self::new(Part::Memtable(walk))
    }
}

impl<'a> From<RunWalk<'a>> for Walk<'a> {
    fn from(walk: RunWalk<'a>) -> Self {
        Self::new(Part::Run(walk))
    }
}

impl Source for Walk<'_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        let next = match &mut self.part {
            Part::Memtable(walk) => walk.next_change(),
            Part::Run(walk) => walk.next_change()?,
        };
        if let Some(change) = next {
            self.at = change;
        }
        Ok(next.is_some())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.at.key
    }

    #[inline]
    fn value(&self) -> Result<Option<&[u8]>> {
        Ok(self.at.value)
    }

    #[inline]
    fn expires(&self) -> Option<Timestamp> {
        self.at.expires
    }

    #[inline]
    fn lsn(&self) -> Lsn {
        self.at.lsn
    }
}
