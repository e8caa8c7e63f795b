//! A walk over one of the parts of a view, of whichever kind, for readers: where it stands is at hand without asking the part.

use super::memtable::MemtableWalk;
use super::merge::Source;
use super::run::RunWalk;
use crate::engine::KeyCursor;
use crate::error::Result;
use crate::storage::sstable::{Change, StoredValue};
use crate::types::{Lsn, Timestamp};

/// A walk as a reader goes it: past what has expired at a time.
pub(crate) struct Live<W> {
    pub(super) walk: W,
    pub(super) now: Timestamp,
    /// The value that was handed out last, if it was packed.
    pub(super) unpacked: Vec<u8>,
}

impl<W> Live<W> {
    pub(super) const fn new(walk: W, now: Timestamp) -> Self {
        Self { walk, now, unpacked: Vec::new() }
    }
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

    /// See [`Cursor::check`](crate::engine::Cursor::check).
    pub(super) fn check(&self) -> Result<()> {
        match &self.part {
            Part::Memtable(_) => Ok(()),
            Part::Run(walk) => walk.check(),
        }
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
    fn value(&self) -> Result<Option<StoredValue<'_>>> {
        Ok(self.at.value)
    }

    #[inline]
    fn expires(&self) -> Option<Timestamp> {
        self.at.expires
    }

    #[inline]
    fn value_len(&self) -> Option<u64> {
        self.at.value.map(|value| value.value_len())
    }

    #[inline]
    fn lsn(&self) -> Lsn {
        self.at.lsn
    }
}

/// A walk over keys: a value that lies apart from its key is not read.
pub(crate) struct KeyWalk<'a>(Part<'a>);

impl<'a> From<MemtableWalk<'a>> for KeyWalk<'a> {
    fn from(walk: MemtableWalk<'a>) -> Self {
        Self(Part::Memtable(walk))
    }
}

impl<'a> From<RunWalk<'a>> for KeyWalk<'a> {
    fn from(walk: RunWalk<'a>) -> Self {
        Self(Part::Run(walk))
    }
}

impl Source for KeyWalk<'_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        match &mut self.0 {
            Part::Memtable(walk) => walk.advance(),
            Part::Run(walk) => walk.advance(),
        }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        match &self.0 {
            Part::Memtable(walk) => walk.key(),
            Part::Run(walk) => walk.key(),
        }
    }

    #[inline]
    fn value(&self) -> Result<Option<StoredValue<'_>>> {
        match &self.0 {
            Part::Memtable(walk) => walk.value(),
            Part::Run(walk) => walk.value(),
        }
    }

    #[inline]
    fn expires(&self) -> Option<Timestamp> {
        match &self.0 {
            Part::Memtable(walk) => walk.expires(),
            Part::Run(walk) => walk.expires(),
        }
    }

    #[inline]
    fn value_len(&self) -> Option<u64> {
        match &self.0 {
            Part::Memtable(walk) => walk.value_len(),
            Part::Run(walk) => walk.value_len(),
        }
    }

    #[inline]
    fn lsn(&self) -> Lsn {
        match &self.0 {
            Part::Memtable(walk) => walk.lsn(),
            Part::Run(walk) => walk.lsn(),
        }
    }
}

/// What a reader of keys sees of a walk: tombstones and what has expired at a time are left out, and after an error or the end
/// nothing more comes.
pub(crate) struct Keys<S> {
    walk: S,
    now: Timestamp,
    ended: bool,
}

impl<S> Keys<S> {
    pub(crate) const fn of(walk: S, now: Timestamp) -> Self {
        Self { walk, now, ended: false }
    }
}

impl<S: Source> KeyCursor for Keys<S> {
    fn next(&mut self) -> Result<Option<(&[u8], u64)>> {
        while !self.ended {
            self.ended = !self.walk.advance().inspect_err(|_| self.ended = true)?;
            if !self.ended
                && let Some(len) = self.walk.value_len()
                && self.walk.expires().is_none_or(|expires| expires > self.now)
            {
                return Ok(Some((self.walk.key(), len)));
            }
        }
        Ok(None)
    }
}
