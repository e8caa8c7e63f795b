//! Values as they lie in a table: as they are, or, in a table that packs them, each as an LZ4 block of its own.
//!
//! ```text
//!  in its record  ┌─────┬───────┐   len    of the value: 7 bits a byte, the lowest first; the last byte is below 128
//!                 │ len │ block │
//!                 └─────┴───────┘
//!  distant        ┌───────┬─────┬───────┐   bytes  of what follows, 4; the value's own are in the record as well
//!                 │ bytes │ len │ block │
//!                 └───────┴─────┴───────┘
//! ```
//!
//! 1. A block as long as its value is the value: what would save less than an eighth is not packed.
//! 2. Each value is packed alone, so that a get unpacks one. What it has in common with other values is in the table's
//!    *dictionary*: samples of values, which every block is packed and unpacked behind.
//! 3. The dictionary lies behind the table's header and once more where the data ends: without it no value could be read.
//!
//! Keys are never packed: they are searched where they lie, and walks over keys unpack nothing.

use std::borrow::Cow;

use lz4_flex::block::{compress_into_with_dict, decompress_into_with_dict, get_maximum_output_size};

use super::reader::Table;
use super::{Checked, Damage};
use crate::error::Result;
use crate::types::{MAX_VALUE_LEN, Value};

/// Bytes of a dictionary at most. Measured: for values of 166 bytes of JSON, half of this makes blocks 2 % larger, twice as much
/// 4 % smaller, and each doubling takes nearly half as long again to pack.
pub(crate) const MAX_DICTIONARY_LEN: usize = 2 << 10;

/// Shorter values are not packed.
const MIN_PACKED_LEN: usize = 16;

/// A byte of a block stands for at most so many of its value.
const MAX_RATIO: usize = 255;

/// Says that another byte of a length follows.
const MORE: u8 = 0x80;

/// Bytes that say how long a distant block is.
pub(super) const DISTANT_HEADER_LEN: usize = 4;

/// Bytes of the longest length of a value.
const MAX_LEN_LEN: usize = 5;

/// Bytes that a packed value takes more than one that is not, at most.
pub(super) const MAX_GROWTH: usize = DISTANT_HEADER_LEN + MAX_LEN_LEN;

/// Memory for a value that is kept for the next one, in bytes.
pub(super) const MAX_KEPT: usize = 1 << 20;

/// A value as a table, or memory, has it.
#[derive(Clone, Copy, Debug)]
pub struct StoredValue<'t> {
    /// The value, or its length and its block.
    bytes: &'t [u8],
    /// The table that packs.
    table: Option<&'t Table>,
}

impl<'t> From<&'t [u8]> for StoredValue<'t> {
    #[inline]
    fn from(bytes: &'t [u8]) -> Self {
        Self { bytes, table: None }
    }
}

impl<'t> StoredValue<'t> {
    /// What `table`, which packs, has for a value.
    pub(super) fn packed(table: &'t Table, bytes: &'t [u8]) -> Checked<Self> {
        let is_possible = |(len, block): (usize, &[u8])| {
            block.len() == len || len <= MAX_VALUE_LEN && len / MAX_RATIO <= block.len()
        };
        if split(bytes).is_some_and(is_possible) {
            return Ok(Self { bytes, table: Some(table) });
        }
        Err(Damage::new(table.place_of(bytes), "the length of a packed value is impossible"))
    }

    /// Bytes of the value.
    #[inline]
    #[must_use]
    pub fn value_len(&self) -> u64 {
        let len = if self.table.is_some() { packed_len(self.bytes) } else { self.bytes.len() };
        len as u64
    }

    /// The value. One that is packed is unpacked into `buffer`.
    ///
    /// # Errors
    /// Corruption.
    #[inline]
    pub fn read<'b>(self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]>
    where
        't: 'b,
    {
        match self.table {
            None => Ok(self.bytes),
            Some(table) => {
                let plain = unpack(table, self.bytes, buffer).map_err(|damage| table.report(damage))?;
                Ok(plain.unwrap_or(buffer))
            }
        }
    }

    /// The value, copied if it is packed.
    ///
    /// # Errors
    /// Corruption.
    #[inline]
    pub fn bytes(self) -> Result<Cow<'t, [u8]>> {
        match self.table {
            None => Ok(Cow::Borrowed(self.bytes)),
            Some(table) => self.checked().map_err(|damage| table.report(damage)),
        }
    }

    /// A copy of the value.
    ///
    /// # Errors
    /// Corruption.
    #[inline]
    pub(crate) fn to_value(self) -> Result<Value> {
        match self.table {
            None => Ok(Value::from(self.bytes)),
            Some(_) => Ok(Value::from(self.read(&mut Vec::new())?)),
        }
    }

    /// [`StoredValue::bytes`], within this module.
    pub(super) fn checked(self) -> Checked<Cow<'t, [u8]>> {
        match self.table {
            None => Ok(Cow::Borrowed(self.bytes)),
            Some(table) => {
                let mut buffer = Vec::new();
                let plain = unpack(table, self.bytes, &mut buffer)?;
                Ok(plain.map_or(Cow::Owned(buffer), Cow::Borrowed))
            }
        }
    }
}

/// A copy of what a record has for its value.
#[cfg(any(test, fuzzing))]
pub(crate) fn copied(value: Option<StoredValue<'_>>) -> Result<Option<Vec<u8>>> {
    value.map(|value| Ok(value.bytes()?.into_owned())).transpose()
}

/// Unpacks the value of which `table` has these bytes into `buffer`, or hands it out where it lies because it is not packed.
#[inline(never)]
fn unpack<'t>(table: &Table, stored: &'t [u8], buffer: &mut Vec<u8>) -> Checked<Option<&'t [u8]>> {
    let damage = |what| Err(Damage::new(table.place_of(stored), what));
    let Some((len, block)) = split(stored) else { return damage("a packed value has no length") };
    if block.len() == len {
        return Ok(Some(block));
    }
    let dictionary = table.dictionary()?;
    buffer.resize(len, 0);
    match decompress_into_with_dict(block, buffer, dictionary) {
        Ok(unpacked) if unpacked == len => Ok(None),
        _ => damage("a value can't be unpacked"),
    }
}

/// The value's length and its block.
fn split(stored: &[u8]) -> Option<(usize, &[u8])> {
    let mut len = 0;
    for (index, byte) in stored.iter().enumerate().take(MAX_LEN_LEN) {
        len |= usize::from(byte & !MORE) << (7 * index);
        if byte & MORE == 0 {
            return Some((len, &stored[index + 1..]));
        }
    }
    None
}

/// How long the value is of which a table that packs has these bytes.
#[inline(never)]
pub(super) fn packed_len(stored: &[u8]) -> usize {
    split(stored).map_or(0, |(len, _)| len)
}

/// Packs values behind a dictionary.
#[derive(Debug)]
pub(super) struct Packer {
    dictionary: Vec<u8>,
    /// What was packed last.
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new(dictionary: &[u8]) -> Self {
        let len = dictionary.len().min(MAX_DICTIONARY_LEN);
        Self { dictionary: dictionary[..len].to_vec(), packed: Vec::new() }
    }

    pub(super) fn dictionary(&self) -> &[u8] {
        &self.dictionary
    }

    /// What goes into a record for this value.
    pub(super) fn near(&mut self, value: &[u8]) -> &[u8] {
        self.pack(0, value);
        &self.packed
    }

    /// What is written apart from the record for this value.
    pub(super) fn distant(&mut self, value: &[u8]) -> &[u8] {
        self.pack(DISTANT_HEADER_LEN, value);
        let len = u32::try_from(self.packed.len() - DISTANT_HEADER_LEN).unwrap_or(u32::MAX);
        self.packed[..DISTANT_HEADER_LEN].copy_from_slice(&len.to_le_bytes());
        &self.packed
    }

    /// The value's length and block behind so many bytes.
    fn pack(&mut self, header_len: usize, value: &[u8]) {
        self.packed.clear();
        self.packed.shrink_to(MAX_KEPT);
        self.packed.resize(header_len, 0);
        let mut rest = value.len();
        while rest >= usize::from(MORE) {
            self.packed.push(rest.to_le_bytes()[0] | MORE);
            rest >>= 7;
        }
        self.packed.push(rest.to_le_bytes()[0]);
        let start = self.packed.len();
        if value.len() >= MIN_PACKED_LEN {
            self.packed.resize(start + get_maximum_output_size(value.len()), 0);
            let packed = compress_into_with_dict(value, &mut self.packed[start..], &self.dictionary);
            if let Ok(len) = packed
                && len + value.len() / 8 <= value.len()
            {
                self.packed.truncate(start + len);
                return;
            }
            self.packed.truncate(start);
        }
        self.packed.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that have nothing in common.
    fn random(len: usize) -> Vec<u8> {
        let numbers = (0_u64..).map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23));
        numbers.flat_map(u64::to_le_bytes).take(len).collect()
    }

    #[test]
    fn lengths_read_back() {
        let mut packer = Packer::new(b"");
        for len in [0, 1, 15, 16, 127, 128, 129, 255, 256, 2047, 2048, 16_383, 16_384, 300_000] {
            for value in [vec![7; len], random(len)] {
                let distant = packer.distant(&value).to_vec();
                let stored = packer.near(&value);
                assert_eq!(packed_len(stored), len);
                assert!(stored.len() <= len + MAX_LEN_LEN);
                assert_eq!(distant, [&u32::try_from(stored.len()).unwrap().to_le_bytes(), stored].concat());
            }
        }
        assert_eq!((split(b""), split(b"\x80"), split(&[0x80; 9])), (None, None, None));
    }

    #[test]
    fn what_does_not_become_an_eighth_shorter_stays_as_it_is() {
        let mut packer = Packer::new(b"");
        let random = random(200);
        assert_eq!(packer.near(&random)[2..], random);
        let even = [&random[..100], &[0; 100]].concat();
        assert!(packer.near(&even).len() < 120);
        assert_eq!(packer.near(&[0; MIN_PACKED_LEN - 1]).len(), MIN_PACKED_LEN);
    }

    #[test]
    fn what_the_dictionary_has_takes_no_room() {
        let value = br#"{"name":"Anna","city":"Berlin","active":true}"#;
        assert!(Packer::new(b"").near(value).len() > value.len());
        assert!(Packer::new(br#"{"name":"Bert","city":"Berlin","active":false}"#).near(value).len() < 30);
    }
}
