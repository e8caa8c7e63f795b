//! One record of a table: a key, what it maps to, and the LSN of the batch that wrote it.
//!
//! ```text
//!  ┌─────────┬─────────┬───────────┬─────────┬──────────┬─────┬───────┐
//!  │ control │ key len │ value len │ LSN     │ (expiry) │ key │ value │
//!  └─────────┴─────────┴───────────┴─────────┴──────────┴─────┴───────┘
//!   1         1 or 2    see below   1 to 8    8
//!
//!  control   bits 0–1  kind: 1 value, 2 tombstone, 3 distant value; 0 is none, so that zeros are no record
//!            bit  2    an expiry follows the LSN: milliseconds since 1970 (kinds 1 and 3; since format 2)
//!            bit  3    the key's length takes 2 bytes, not 1
//!            bit  4    the value's length takes 2 bytes, not 1 (kind 1 only)
//!            bits 5–7  bytes of the LSN, less 1
//!  value len kind 1: 1 or 2 bytes; kind 2: none; kind 3: offset in the file and length, 4 bytes each, and no value
//! ```
//!
//! In a table that packs its values, what is a value here is what [`value`](super::value) makes of one; but the length of a
//! distant value is its own, so that it is known without reading it.
//!
//! All integers are little-endian. The control byte says where everything is, so that the lengths come out of one 8-byte load
//! by shifting, without a loop or a branch per field. A record of a 16-byte key and a 100-byte value with an LSN below 2²⁴
//! takes 6 bytes beside them.

use crate::storage::codec::{u32_at, u64_at};
use crate::types::{Lsn, Timestamp};

const KIND: u64 = 0b11;
const EXPIRY_BIT: u32 = 2;
const WIDE_KEY_BIT: u32 = 3;
const WIDE_VALUE_BIT: u32 = 4;
const LSN_SHIFT: u32 = 5;

const VALUE: u64 = 1;
const TOMBSTONE: u64 = 2;
const DISTANT: u64 = 3;

/// Bytes of the place and length of a distant value.
const EXTENT_LEN: usize = 8;

/// Bytes of an expiry, if there is one.
const EXPIRY_LEN: usize = 8;

/// Bytes of the longest header: control, key length, extent, LSN, expiry.
pub(super) const MAX_HEADER_LEN: usize = 1 + 2 + EXTENT_LEN + 8 + EXPIRY_LEN;

/// Where a distant value lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub offset: u32,
    pub len: u32,
}

/// What a key maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'t> {
    /// The value, which lies in the record.
    Value(&'t [u8]),
    /// Nothing: the key was deleted.
    Tombstone,
    /// The value, which lies elsewhere in the file.
    Distant(Extent),
}

/// A decoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'t> {
    pub key: &'t [u8],
    pub content: Content<'t>,
    pub lsn: Lsn,
    pub expires: Option<Timestamp>,
    /// Where the record ends in the file.
    pub end: usize,
}

/// The record at `at`, which must end at `limit` or before. `None` when the bytes are no record. A few bytes behind
/// `limit` are loaded and must be there: in a table the footer is.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: a scan takes 15 ns per record with it, 20 without")]
pub(super) fn decode(bytes: &[u8], at: usize, limit: usize) -> Option<Record<'_>> {
    let word = u64_at(bytes, at)?;
    let (key_len, key_width) = short_len(word >> 8, word >> WIDE_KEY_BIT);
    let lengths_at = at + 1 + key_width;
    let lsn_width = 1 + ((word >> LSN_SHIFT) & 7) as usize;
    let (lsn_at, value_len) = match word & KIND {
        VALUE => {
            let (len, width) = short_len(word >> (8 + 8 * key_width), word >> WIDE_VALUE_BIT);
            (lengths_at + width, len)
        }
        TOMBSTONE => (lengths_at, 0),
        DISTANT => (lengths_at + EXTENT_LEN, 0),
        _ => return None,
    };
    let lsn = Lsn(u64_at(bytes, lsn_at)? & (u64::MAX >> (64 - 8 * lsn_width)));
    let has_expiry = (word >> EXPIRY_BIT) & 1;
    let key_at = lsn_at + lsn_width + EXPIRY_LEN * has_expiry as usize;
    let end = key_at + key_len + value_len;
    if end > limit {
        return None;
    }
    let (key, value) = bytes.get(key_at..end)?.split_at_checked(key_len)?;
    let content = match word & KIND {
        VALUE => Content::Value(value),
        TOMBSTONE => Content::Tombstone,
        _ => Content::Distant(Extent {
            offset: u32_at(bytes, lengths_at)?,
            len: u32_at(bytes, lengths_at + 4)?,
        }),
    };
    let expires = if has_expiry == 0 { None } else { Some(expiry(bytes, key_at, content)?) };
    Some(Record { key, content, lsn, expires, end })
}

/// The expiry before the key at `key_at`: what is there until then is a value.
#[cold]
fn expiry(bytes: &[u8], key_at: usize, content: Content<'_>) -> Option<Timestamp> {
    let expires = Timestamp::from_unix_millis(u64_at(bytes, key_at - EXPIRY_LEN)?);
    expires.filter(|_| content != Content::Tombstone)
}

/// A length of one byte, or of two if the lowest bit of `wide` is set, and how many bytes it took.
#[inline]
fn short_len(word: u64, wide: u64) -> (usize, usize) {
    let wide = wide & 1;
    let len = word & (0xff | (0xff00 * wide));
    ((len & 0xffff) as usize, 1 + wide as usize)
}

/// Bytes of a record.
pub(super) fn encoded_len(key: &[u8], content: Content<'_>, lsn: Lsn, expires: Option<Timestamp>) -> usize {
    let wide = |len: usize| usize::from(len > usize::from(u8::MAX));
    let content_len = match content {
        Content::Value(value) => 1 + wide(value.len()) + value.len(),
        Content::Tombstone => 0,
        Content::Distant(_) => EXTENT_LEN,
    };
    let expiry_len = expires.map_or(0, |_| EXPIRY_LEN);
    2 + wide(key.len()) + content_len + lsn_width(lsn) as usize + expiry_len + key.len()
}

/// How many bytes an LSN needs.
fn lsn_width(lsn: Lsn) -> u32 {
    (64 - lsn.0.leading_zeros()).div_ceil(8).max(1)
}

/// Appends a record. Lengths were checked when the record came in: a key has at most 65,535 bytes, a value inside the record
/// too.
pub(super) fn encode(
    out: &mut Vec<u8>,
    key: &[u8],
    content: Content<'_>,
    lsn: Lsn,
    expires: Option<Timestamp>,
) {
    let lsn_width = lsn_width(lsn);
    let wide_key = key.len() > usize::from(u8::MAX);
    let (kind, wide_value) = match content {
        Content::Value(value) => (VALUE, value.len() > usize::from(u8::MAX)),
        Content::Tombstone => (TOMBSTONE, false),
        Content::Distant(_) => (DISTANT, false),
    };
    let control = kind
        | u64::from(expires.is_some()) << EXPIRY_BIT
        | u64::from(wide_key) << WIDE_KEY_BIT
        | u64::from(wide_value) << WIDE_VALUE_BIT
        | u64::from(lsn_width - 1) << LSN_SHIFT;
    out.push((control & 0xff) as u8);
    put_len(out, key.len(), wide_key);
    match content {
        Content::Value(value) => put_len(out, value.len(), wide_value),
        Content::Tombstone => {}
        Content::Distant(extent) => {
            out.extend_from_slice(&extent.offset.to_le_bytes());
            out.extend_from_slice(&extent.len.to_le_bytes());
        }
    }
    out.extend_from_slice(&lsn.0.to_le_bytes()[..lsn_width as usize]);
    if let Some(expires) = expires {
        out.extend_from_slice(&expires.unix_millis().to_le_bytes());
    }
    out.extend_from_slice(key);
    if let Content::Value(value) = content {
        out.extend_from_slice(value);
    }
}

fn put_len(out: &mut Vec<u8>, len: usize, wide: bool) {
    let len = u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes();
    out.extend_from_slice(if wide { &len } else { &len[..1] });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: &[u8], content: Content<'_>, lsn: Lsn, expires: Option<Timestamp>) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        encode(&mut bytes, key, content, lsn, expires);
        let len = bytes.len();
        bytes.extend_from_slice(&[0xff; 16]);
        (bytes, len)
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let (short, long) = (vec![7; 255], vec![8; 2048]);
        let extent = Extent { offset: 0x0123_4567, len: 512 << 20 };
        let contents = [
            Content::Value(b""),
            Content::Value(&short),
            Content::Value(&long),
            Content::Tombstone,
            Content::Distant(extent),
        ];
        for key_len in [0, 1, 255, 256, 65_535] {
            for content in contents {
                for lsn in
                    (0..8).flat_map(|bytes| [1 << (8 * bytes), (1 << (8 * bytes)) - 1]).chain([u64::MAX])
                {
                    for expires in [None, Some(Timestamp::MIN), Some(Timestamp::MAX)] {
                        reads_back(&vec![b'k'; key_len], content, Lsn(lsn), expires);
                    }
                }
            }
        }
    }

    fn reads_back(key: &[u8], content: Content<'_>, lsn: Lsn, expires: Option<Timestamp>) {
        let (bytes, len) = encoded(key, content, lsn, expires);
        assert_eq!(len, encoded_len(key, content, lsn, expires));
        let is_possible = expires.is_none() || content != Content::Tombstone;
        let expected = is_possible.then_some(Record { key, content, lsn, expires, end: len });
        assert_eq!(decode(&bytes, 0, len), expected);
        assert_eq!(decode(&bytes, 0, len - 1), None);
    }

    #[test]
    fn a_small_record_has_six_bytes_of_header() {
        let (_, len) = encoded(&[1; 16], Content::Value(&[2; 100]), Lsn(0xff_ffff), None);
        assert_eq!(len, 6 + 116);
        let (_, len) = encoded(&[1; 16], Content::Value(&[2; 100]), Lsn(0xff_ffff), Some(Timestamp::MAX));
        assert_eq!(len, 6 + 8 + 116);
    }

    #[test]
    fn zeros_and_impossible_expiries_are_no_records() {
        assert_eq!(decode(&[0; 64], 0, 64), None);
        let (mut bytes, len) = encoded(b"k", Content::Value(b"v"), Lsn(1), Some(Timestamp::MAX));
        bytes[4..12].copy_from_slice(&(Timestamp::MAX.unix_millis() + 1).to_le_bytes());
        assert_eq!(decode(&bytes, 0, len), None, "behind the last moment");
        bytes[4..12].fill(0);
        assert_eq!(decode(&bytes, 0, len), None, "no moment");
    }

    #[test]
    fn no_bytes_lead_outside_the_buffer() {
        for control in 0..=255 {
            for len in 0..MAX_HEADER_LEN + 2 {
                let mut bytes = vec![0xff; len];
                if let Some(first) = bytes.first_mut() {
                    *first = control;
                }
                assert_eq!(decode(&bytes, 0, len), None);
                assert_eq!(decode(&bytes, usize::MAX - 100_000, usize::MAX), None);
            }
        }
    }
}
