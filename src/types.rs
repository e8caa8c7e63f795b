//! The words every layer shares: keys, values, log sequence numbers, batches and ranges.
//!
//! Nothing here does I/O or depends on another module. Keys and values are byte strings; a key orders by its
//! unsigned bytes, shorter first when one is a prefix of the other, which is the order of every scan.

mod set;
mod timestamp;

use std::borrow::Borrow;
use std::fmt;
use std::ops::{
    Bound, Deref, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};
use std::sync::Arc;

pub(crate) use set::TooLate;
pub use set::{Condition, Lifetime, SetOptions};
pub use timestamp::{NotATimestamp, Timestamp};

/// Longest key, in bytes. The empty key is legal.
pub const MAX_KEY_LEN: usize = 65_535;

/// Longest value, in bytes (512 MiB). The empty value is legal.
pub const MAX_VALUE_LEN: usize = 512 << 20;

/// Defines a cheaply clonable, immutable byte string that behaves as `&[u8]` wherever one is asked for.
macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl Deref for $name {
            type Target = [u8];
            fn deref(&self) -> &[u8] {
                &self.0
            }
        }
        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                &self.0
            }
        }
        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(bytes.into())
            }
        }
        impl<const N: usize> From<&[u8; N]> for $name {
            fn from(bytes: &[u8; N]) -> Self {
                Self(bytes.as_slice().into())
            }
        }
        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes.into())
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.as_bytes().into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into_bytes().into())
            }
        }
        impl From<&$name> for $name {
            fn from(other: &$name) -> Self {
                other.clone()
            }
        }
        impl PartialEq<[u8]> for $name {
            fn eq(&self, other: &[u8]) -> bool {
                *self.0 == *other
            }
        }
        impl PartialEq<&[u8]> for $name {
            fn eq(&self, other: &&[u8]) -> bool {
                *self.0 == **other
            }
        }
        impl<const N: usize> PartialEq<&[u8; N]> for $name {
            fn eq(&self, other: &&[u8; N]) -> bool {
                *self.0 == other[..]
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "b\"{}\"", self.0.escape_ascii())
            }
        }
    };
}

byte_string! {
    /// A key: 0 to [`MAX_KEY_LEN`] bytes, ordered bytewise. Cloning shares the bytes.
    Key
}
byte_string! {
    /// A value: 0 to [`MAX_VALUE_LEN`] bytes. Cloning shares the bytes.
    Value
}

/// Log sequence number: the position of a committed batch in the history of a database.
///
/// The first batch is 1; 0 stands for "before anything was written". What was acknowledged has an LSN that nothing else ever
/// has. One that a crash cut short leaves its LSN to the next batch, or a gap where files were to bring it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first batch.
    pub const ZERO: Self = Self(0);

    /// The LSN that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a file in a database directory (`000012.wal`). Within a database no two files that ever counted have the same; the
/// number of one that nothing came to lead to, because its writer failed or died, is given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl FileId {
    /// The number that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// A value together with the LSN of the batch that wrote it, which is its version, and when it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The batch that wrote it.
    pub lsn: Lsn,
    /// From this moment on the key is not there any more; `None`: it stays.
    pub expires: Option<Timestamp>,
}

impl Entry {
    /// Whether the key is there at this moment.
    #[must_use]
    #[inline]
    pub fn is_there(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Store `value` under `key`, replacing what was there and when it would have expired.
    Set {
        /// Where to store.
        key: Key,
        /// What to store.
        value: Value,
        /// When the key is not there any more; `None`: it stays.
        expires: Option<Timestamp>,
    },
    /// Remove `key`; nothing happens when it is absent.
    Delete {
        /// What to remove.
        key: Key,
    },
}

impl Op {
    /// The key that the operation concerns.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Set { key, .. } | Self::Delete { key } => key,
        }
    }

    /// When what it stores expires, if it does.
    #[must_use]
    pub const fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::Set { expires, .. } => *expires,
            Self::Delete { .. } => None,
        }
    }
}

/// Changes that are applied all or not at all, in order: of two for one key the later wins.
///
/// ```
/// let mut batch = kvdb::Batch::new();
/// batch.set("user:1", "Ann").delete("user:2");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// A batch without changes.
    #[must_use]
    pub const fn new() -> Self {
        Self { ops: Vec::new() }
    }

    /// Adds "store `value` under `key`". Lengths are checked when the batch is written.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> &mut Self {
        self.ops.push(Op::Set { key: key.into(), value: value.into(), expires: None });
        self
    }

    /// Adds "store `value` under `key` until the moment `expires`": from then on the key is not there. See
    /// [`Db::now`](crate::Db::now).
    pub fn set_until(
        &mut self,
        key: impl Into<Key>,
        value: impl Into<Value>,
        expires: Timestamp,
    ) -> &mut Self {
        self.ops.push(Op::Set { key: key.into(), value: value.into(), expires: Some(expires) });
        self
    }

    /// Adds "remove `key`".
    pub fn delete(&mut self, key: impl Into<Key>) -> &mut Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Adds a change.
    pub fn push(&mut self, op: Op) -> &mut Self {
        self.ops.push(op);
        self
    }

    /// The changes in the order in which they were added.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The changes, taken out of the batch.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        Self { ops: ops.into_iter().collect() }
    }
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Ascending byte order.
    #[default]
    Forward,
    /// Descending byte order.
    Reverse,
}

/// An interval of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it begins.
    pub start: Bound<Key>,
    /// Where it ends.
    pub end: Bound<Key>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that begins with `prefix`; all keys for the empty prefix.
    ///
    /// ```
    /// use kvdb::KeyRange;
    /// assert!(KeyRange::prefix(b"a").contains(b"apple"));
    /// assert!(!KeyRange::prefix(b"a").contains(b"banana"));
    /// assert!(KeyRange::prefix(&[0xff, 0xff]).contains(&[0xff, 0xff, 0xff]));
    /// ```
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bound::Included(prefix.into()), end: prefix_end(prefix) }
    }

    /// The keys that lie in both ranges.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self { start: later_start(self.start, other.start), end: earlier_end(self.end, other.end) }
    }

    /// What comes behind a key, or everything.
    pub(crate) fn behind(key: Option<&[u8]>) -> Self {
        let start = key.map_or(Bound::Unbounded, |key| Bound::Excluded(key.into()));
        Self { start, end: Bound::Unbounded }
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) => matches!(&self.end, Bound::Excluded(end) if end.is_empty()),
            (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Excluded(end) | Bound::Included(end),
            ) => start >= end,
        }
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        RangeBounds::<[u8]>::contains(&self.as_bounds(), key)
    }

    /// The range as bounds over byte slices, for ordered collections.
    #[must_use]
    pub fn as_bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.start.as_ref().map(AsRef::as_ref), self.end.as_ref().map(AsRef::as_ref))
    }
}

/// Lets a range of anything that is a key stand where a [`KeyRange`] is asked for.
macro_rules! key_range_from {
    ($($range:ty),*) => {$(
        impl<K: Into<Key> + Clone> From<$range> for KeyRange {
            fn from(range: $range) -> Self {
                Self {
                    start: range.start_bound().cloned().map(Into::into),
                    end: range.end_bound().cloned().map(Into::into),
                }
            }
        }
    )*};
}

key_range_from!(Range<K>, RangeInclusive<K>, RangeFrom<K>, RangeTo<K>, RangeToInclusive<K>);

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> Self {
        Self::all()
    }
}

/// The first key behind all keys with this prefix: the prefix with its last byte below 0xff raised by one.
fn prefix_end(prefix: &[u8]) -> Bound<Key> {
    match prefix.iter().rposition(|&byte| byte != 0xff) {
        None => Bound::Unbounded,
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bound::Excluded(end.into())
        }
    }
}

fn later_start(a: Bound<Key>, b: Bound<Key>) -> Bound<Key> {
    match (&a, &b) {
        (Bound::Unbounded, _) => b,
        (_, Bound::Unbounded) => a,
        (Bound::Included(x) | Bound::Excluded(x), Bound::Included(y) | Bound::Excluded(y)) => {
            if x > y || (x == y && matches!(a, Bound::Excluded(_))) { a } else { b }
        }
    }
}

fn earlier_end(a: Bound<Key>, b: Bound<Key>) -> Bound<Key> {
    match (&a, &b) {
        (Bound::Unbounded, _) => b,
        (_, Bound::Unbounded) => a,
        (Bound::Included(x) | Bound::Excluded(x), Bound::Included(y) | Bound::Excluded(y)) => {
            if x < y || (x == y && matches!(a, Bound::Excluded(_))) { a } else { b }
        }
    }
}

/// When a write is synced to the device, relative to its acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// One sync for every command.
    Each,
    /// Commands that already wait together share one sync; none is acknowledged before it. The default.
    #[default]
    Group,
    /// No sync: a process kill loses nothing, a power loss may lose the newest writes (never the older ones of two).
    None,
}

/// Which engine keeps a database's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// Hash map in memory, log on disk.
    Simple,
    /// Log-structured merge tree: memtables in memory, sorted tables on disk.
    #[default]
    Kv,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Simple, Self::Kv];

    /// The engine of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// The name used in settings and in `.stats`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Kv => "kv",
        }
    }
}

/// How the values of sorted tables are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all. The default.
    #[default]
    None,
    /// Each on its own as an LZ4 block, behind a dictionary of what values have in common.
    Lz4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ranges_end_behind_the_last_key_with_the_prefix() {
        let range = KeyRange::prefix(b"a\xff");
        assert!(range.contains(b"a\xff"));
        assert!(range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b"));
        assert_eq!(KeyRange::prefix(b"").end, Bound::Unbounded);
        assert_eq!(KeyRange::prefix(b"\xff\xff").end, Bound::Unbounded);
    }

    #[test]
    fn intersection_keeps_the_tighter_bounds() {
        let range = KeyRange::prefix(b"k").intersect(KeyRange::from("kb".."kd"));
        assert_eq!(range, KeyRange::from("kb".."kd"));
        let open = KeyRange { start: Bound::Excluded("kb".into()), end: Bound::Unbounded };
        assert!(!range.intersect(open).contains(b"kb"));
    }

    #[test]
    fn emptiness_is_decided_without_looking_at_data() {
        assert!(KeyRange::from("b".."a").is_empty());
        assert!(KeyRange::from("a".."a").is_empty());
        assert!(!KeyRange::from("a"..="a").is_empty());
        assert!(!KeyRange::all().is_empty());
    }
}
