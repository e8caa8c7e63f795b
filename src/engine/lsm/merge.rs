//! One ordered walk over many: newer sources hide what older ones hold for the same key.
//!
//! Sources come newest first. The next key is found by comparing the heads of all: their number is bounded by the number of
//! runs, and with one source nothing is compared.

use std::cmp::Ordering;

use crate::engine::Cursor;
use crate::error::Result;
use crate::types::{Direction, Lsn};

/// An ordered walk over changes, tombstones included.
pub(crate) trait Source {
    /// Moves to the next change; `false` at the end.
    ///
    /// # Errors
    /// Corruption and I/O errors, after which the walk must not be used.
    fn advance(&mut self) -> Result<bool>;

    /// The key of the current change.
    fn key(&self) -> &[u8];

    /// Whether the current change is a deletion.
    fn is_tombstone(&self) -> bool;

    /// The value of the current change; `None` for a tombstone.
    ///
    /// # Errors
    /// Corruption.
    fn value(&self) -> Result<Option<&[u8]>>;

    /// The batch that made the current change.
    fn lsn(&self) -> Lsn;
}

/// A merge of sources, itself one.
pub(crate) struct Merge<'a> {
    /// Newest first, each at a change that was not passed yet; those at their end are gone.
    sources: Vec<Box<dyn Source + 'a>>,
    direction: Direction,
    /// The source with the current change; none before the first.
    current: Option<usize>,
}

impl<'a> Merge<'a> {
    /// Merges sources that walk in `direction`, newest first.
    ///
    /// # Errors
    /// Those of the sources.
    pub(crate) fn new(sources: Vec<Box<dyn Source + 'a>>, direction: Direction) -> Result<Self> {
        let mut merge = Self { sources, direction, current: None };
        for at in (0..merge.sources.len()).rev() {
            merge.advance_source(at)?;
        }
        Ok(merge)
    }

    /// Advances one source, and drops it at its end.
    fn advance_source(&mut self, at: usize) -> Result<()> {
        if !self.sources[at].advance()? {
            self.sources.remove(at);
        }
        Ok(())
    }

    /// Moves every source past the current key. The one that holds it is the newest of those, and moves last, because the others
    /// are compared with it.
    fn pass(&mut self, current: usize) -> Result<()> {
        for other in (current + 1..self.sources.len()).rev() {
            if self.sources[other].key() == self.sources[current].key() {
                self.advance_source(other)?;
            }
        }
        self.advance_source(current)
    }

    /// The newest source whose key comes first.
    fn first(&self) -> Option<usize> {
        let mut first = None;
        for at in 0..self.sources.len() {
            if first.is_none_or(|first| self.order(at, first) == Ordering::Less) {
                first = Some(at);
            }
        }
        first
    }

    fn order(&self, a: usize, b: usize) -> Ordering {
        let order = self.sources[a].key().cmp(self.sources[b].key());
        if self.direction == Direction::Reverse { order.reverse() } else { order }
    }
}

impl Source for Merge<'_> {
    fn advance(&mut self) -> Result<bool> {
        if let Some(current) = self.current.take() {
            self.pass(current)?;
        }
        self.current = self.first();
        Ok(self.current.is_some())
    }

    fn key(&self) -> &[u8] {
        self.current.map_or(&[], |at| self.sources[at].key())
    }

    fn is_tombstone(&self) -> bool {
        self.current.is_some_and(|at| self.sources[at].is_tombstone())
    }

    fn value(&self) -> Result<Option<&[u8]>> {
        self.current.map_or(Ok(None), |at| self.sources[at].value())
    }

    fn lsn(&self) -> Lsn {
        self.current.map_or(Lsn::ZERO, |at| self.sources[at].lsn())
    }
}

/// What a reader sees of a walk over changes: tombstones are left out, and after an error or the end nothing more comes.
pub(crate) struct Entries<'a> {
    source: Box<dyn Source + 'a>,
    ended: bool,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(source: Box<dyn Source + 'a>) -> Self {
        Self { source, ended: false }
    }

    /// Moves to the next entry that is there.
    fn advance(&mut self) -> Result<bool> {
        while !self.ended {
            self.ended = true;
            if !self.source.advance()? {
                break;
            }
            self.ended = false;
            if !self.source.is_tombstone() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Cursor for Entries<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if !self.advance()? {
            return Ok(None);
        }
        Ok(self.source.value()?.map(|value| (self.source.key(), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::memtable::Memtable;
    use super::*;
    use crate::types::{KeyRange, Op};

    fn memtable(lsn: u64, changes: &[(&str, Option<&str>)]) -> Memtable {
        let mut memtable = Memtable::default();
        for (key, value) in changes {
            let key = (*key).into();
            let op = match value {
                Some(value) => Op::Set { key, value: (*value).into() },
                None => Op::Delete { key },
            };
            memtable.apply(Lsn(lsn), op);
        }
        memtable
    }

    fn seen(memtables: &[Memtable], direction: Direction) -> Vec<(String, String)> {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        for memtable in memtables {
            sources.push(Box::new(memtable.walk(&KeyRange::all(), direction)));
        }
        let mut entries = Entries::new(Box::new(Merge::new(sources, direction).unwrap()));
        let mut seen = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        while let Some((key, value)) = entries.next().unwrap() {
            seen.push((text(key), text(value)));
        }
        assert!(entries.next().unwrap().is_none(), "a walk that ended stays ended");
        seen
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn newer_sources_hide_older_ones_and_tombstones_hide_keys() {
        let newest = memtable(3, &[("b", None), ("c", Some("3"))]);
        let middle = memtable(2, &[("a", Some("2")), ("c", Some("2")), ("e", None)]);
        let oldest = memtable(1, &[("b", Some("1")), ("c", Some("1")), ("d", Some("1")), ("e", Some("1"))]);
        let memtables = [newest, middle, oldest];
        let expected = pairs(&[("a", "2"), ("c", "3"), ("d", "1")]);
        assert_eq!(seen(&memtables, Direction::Forward), expected);
        let reversed: Vec<_> = expected.into_iter().rev().collect();
        assert_eq!(seen(&memtables, Direction::Reverse), reversed);
    }

    #[test]
    fn no_source_and_empty_sources_yield_nothing() {
        assert!(seen(&[], Direction::Forward).is_empty());
        assert!(seen(&[Memtable::default(), Memtable::default()], Direction::Forward).is_empty());
    }
}
