//! Damage that was found by looking for it: where it is, and which keys and batches it concerns.

use std::fmt;
use std::ops::Bound;
use std::path::PathBuf;

use crate::types::{KeyRange, Lsn};

/// A part of a file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// How many bytes it concerns; 0 where that is not known, or where something is missing.
    pub len: u64,
    /// What is wrong.
    pub what: String,
    /// The keys whose records can't be read, none outside of this range. `None` when no record of a table is concerned, or when
    /// nothing is known about the keys.
    pub keys: Option<KeyRange>,
    /// The first and the last batch of the log that can't be read.
    pub lsns: Option<(Lsn, Lsn)>,
}

impl Fault {
    pub(crate) fn new(file: PathBuf, offset: u64, what: impl Into<String>) -> Self {
        Self { file, offset, len: 0, what: what.into(), keys: None, lsns: None }
    }

    /// The fault together with the keys that it concerns.
    pub(crate) fn of_keys(self, keys: KeyRange) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// The fault together with the batches that it concerns, from the first to the last.
    pub(crate) fn of_lsns(self, first: Lsn, last: Lsn) -> Self {
        Self { lsns: Some((first, last)), ..self }
    }
}

/// One line: file, place, what is wrong, which keys and batches it concerns.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.file.display(), self.offset)?;
        if self.len > 0 {
            write!(f, ", {} bytes", self.len)?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(keys) = &self.keys {
            write!(f, "; {}", keys_text(keys, &key_text))?;
        }
        match self.lsns {
            Some((first, last)) if first == last => write!(f, "; LSN {first}"),
            Some((first, last)) => write!(f, "; LSNs {first} to {last}"),
            None => Ok(()),
        }
    }
}

/// A key as the language reads it, in ASCII.
pub(crate) fn key_text(key: &[u8]) -> String {
    // Rust escapes single quotes as well.
    format!("\"{}\"", key.escape_ascii().to_string().replace("\\'", "'"))
}

/// A range of keys in words, each key as `show` writes it.
pub(crate) fn keys_text(keys: &KeyRange, show: &dyn Fn(&[u8]) -> String) -> String {
    if let (Bound::Included(first), Bound::Included(last)) = (&keys.start, &keys.end)
        && first == last
    {
        return format!("key {}", show(first));
    }
    let start = match &keys.start {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(format!("from {}", show(key))),
        Bound::Excluded(key) => Some(format!("behind {}", show(key))),
    };
    let end = match &keys.end {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(format!("to {}", show(key))),
        Bound::Excluded(key) => Some(format!("before {}", show(key))),
    };
    match (start, end) {
        (None, None) => "any keys".into(),
        (start, end) => format!("keys {}", start.into_iter().chain(end).collect::<Vec<_>>().join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_that_says_where_and_what_it_concerns() {
        let fault = Fault::new("db/000001.sst".into(), 4096, "a checksum does not match");
        let keys = KeyRange { start: Bound::Excluded("a\n".into()), end: Bound::Included("it's".into()) };
        let text = Fault { len: 10, ..fault.clone() }.of_keys(keys).to_string();
        assert_eq!(
            text,
            r#"db/000001.sst at offset 4096, 10 bytes: a checksum does not match; keys behind "a\n" to "it's""#
        );
        let text = |first, last| fault.clone().of_lsns(Lsn(first), Lsn(last)).to_string();
        assert!(text(3, 3).ends_with("; LSN 3") && text(3, 5).ends_with("; LSNs 3 to 5"));
    }

    #[test]
    fn ranges_are_told_in_words() {
        let text = |range: KeyRange| keys_text(&range, &|key| String::from_utf8_lossy(key).into_owned());
        assert_eq!(text(KeyRange::all()), "any keys");
        assert_eq!(text(KeyRange::from("k"..="k")), "key k");
        assert_eq!(text(KeyRange::from("a".."b")), "keys from a before b");
        assert_eq!(text(KeyRange::from(.."b")), "keys before b");
        assert_eq!(text(KeyRange::from("a"..)), "keys from a");
    }
}
