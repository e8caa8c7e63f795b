//! What was written to a database in its whole life: numbers that the manifest carries on from one to the next.
//!
//! ```text
//!  0                8                16               24               32
//!  ┌────────────────┬────────────────┬────────────────┬────────────────┐
//!  │ user bytes     │ log bytes      │ table bytes    │ flushes        │
//!  ├────────────────┼────────────────┴────────────────┴────────────────┤
//!  │ merges         │ last flush: when, bytes read, bytes written      │
//!  ├────────────────┴─────────────────────────────────┬────────────────┘
//!  │ last merge: when, bytes read, bytes written      │
//!  └──────────────────────────────────────────────────┘
//!  64                                                 88
//!   when   milliseconds since 1970; 0 is never
//! ```
//!
//! They change together with what they count: in the manifest that a flush or a merge installs. So work that was cut short
//! does not count, and what is in the log behind the manifest is not in them yet.

use std::time::{SystemTime, UNIX_EPOCH};

use super::codec::{put, u64_at};

const FIELDS: usize = 11;

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Bytes of keys and values that users wrote, up to the first segment of the log.
    pub user_bytes: u64,
    /// Bytes of the log's records of them.
    pub log_bytes: u64,
    /// Bytes of tables and bases that flushes and merges wrote.
    pub table_bytes: u64,
    pub flushes: u64,
    /// Merges that came to their end.
    pub merges: u64,
    pub last_flush: Rewrite,
    pub last_merge: Rewrite,
}

/// Files that took the place of others. By default, none ever did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// When, in milliseconds since 1970; 0 stands for never.
    pub unix_ms: u64,
    /// Bytes of what was replaced.
    pub read_bytes: u64,
    /// Bytes of what is there instead.
    pub written_bytes: u64,
}

/// A piece of a merge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub read_bytes: u64,
    pub written_bytes: u64,
    /// Nothing of the merge was done before.
    pub is_first: bool,
    /// Nothing of it is left.
    pub is_last: bool,
}

impl Rewrite {
    /// What there is before anything happened.
    const NEVER: Self = Self { unix_ms: 0, read_bytes: 0, written_bytes: 0 };

    fn now(read_bytes: u64, written_bytes: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX), read_bytes, written_bytes }
    }

    const fn fields(&self) -> [u64; 3] {
        [self.unix_ms, self.read_bytes, self.written_bytes]
    }
}

impl Totals {
    /// Those of a new database.
    pub(crate) const NONE: Self = Self {
        user_bytes: 0,
        log_bytes: 0,
        table_bytes: 0,
        flushes: 0,
        merges: 0,
        last_flush: Rewrite::NEVER,
        last_merge: Rewrite::NEVER,
    };

    /// Bytes that they take in a manifest.
    pub(crate) const LEN: usize = FIELDS * 8;

    /// Takes note of a flush: so many bytes of users in so many of log records became so many of tables. That of an empty log
    /// does not count.
    pub(crate) fn count_flush(&mut self, user_bytes: u64, log_bytes: u64, written_bytes: u64) {
        if log_bytes == 0 {
            return;
        }
        self.user_bytes += user_bytes;
        self.log_bytes += log_bytes;
        self.table_bytes += written_bytes;
        self.flushes += 1;
        self.last_flush = Rewrite::now(log_bytes, written_bytes);
    }

    /// Takes note of a merge: so many bytes of files became so many.
    pub(crate) fn count_merge(&mut self, read_bytes: u64, written_bytes: u64) {
        self.count_slice(Slice { read_bytes, written_bytes, is_first: true, is_last: true });
    }

    /// Takes note of a piece of a merge.
    pub(crate) fn count_slice(&mut self, slice: Slice) {
        let before = if slice.is_first { Rewrite::NEVER } else { self.last_merge };
        self.last_merge =
            Rewrite::now(before.read_bytes + slice.read_bytes, before.written_bytes + slice.written_bytes);
        self.table_bytes += slice.written_bytes;
        self.merges += u64::from(slice.is_last);
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let counts = [self.user_bytes, self.log_bytes, self.table_bytes, self.flushes, self.merges];
        let fields = counts.into_iter().chain(self.last_flush.fields()).chain(self.last_merge.fields());
        let mut bytes = [0; Self::LEN];
        for (index, field) in fields.enumerate() {
            put(&mut bytes, index * 8, &field.to_le_bytes());
        }
        bytes
    }

    /// Reads what `bytes` begin with.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        // More can always be added.
        let field = |index: usize| u64_at(bytes, index * 8).filter(|&field| field <= 1 << 62);
        let rewrite = |at: usize| {
            Some(Rewrite { unix_ms: field(at)?, read_bytes: field(at + 1)?, written_bytes: field(at + 2)? })
        };
        Some(Self {
            user_bytes: field(0)?,
            log_bytes: field(1)?,
            table_bytes: field(2)?,
            flushes: field(3)?,
            merges: field(4)?,
            last_flush: rewrite(5)?,
            last_merge: rewrite(8)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_read_back_as_they_were_written() {
        let mut totals = Totals::default();
        assert_eq!(Totals::decode(&totals.encode()), Some(totals));
        totals.count_flush(10, 20, 30);
        totals.count_flush(0, 0, 0);
        totals.count_merge(40, 50);
        assert_eq!((totals.user_bytes, totals.log_bytes, totals.table_bytes), (10, 20, 80));
        assert_eq!((totals.flushes, totals.merges), (1, 1));
        assert_eq!(totals.last_flush.fields()[1..], [20, 30]);
        assert_eq!(totals.last_merge.fields()[1..], [40, 50]);
        assert!(totals.last_flush.unix_ms > 0);
        totals.count_slice(Slice { read_bytes: 3, written_bytes: 2, is_first: true, is_last: false });
        totals.count_slice(Slice { read_bytes: 30, written_bytes: 20, is_first: false, is_last: true });
        assert_eq!((totals.merges, totals.table_bytes), (2, 102));
        assert_eq!(totals.last_merge.fields()[1..], [33, 22]);
        assert_eq!(Totals::decode(&totals.encode()), Some(totals));
        assert_eq!(Totals::decode(&totals.encode()[1..]), None);
    }
}
