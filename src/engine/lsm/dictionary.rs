//! Dictionaries: samples of the values that go to a table, for it to pack them behind.
//!
//! Where values are much alike, most of what one has is in those few others. Where they are not, a dictionary does no harm but for
//! its own bytes, of which a table has two times 2 KiB at most, and less where it is small.

use super::version::LazyTable;
use crate::error::Result;
use crate::storage::sstable::MAX_DICTIONARY_LEN;

/// Values of which a dictionary has samples, about.
pub(crate) const VALUES: usize = 16;

/// Bytes of a value that it has at most.
const MAX_SAMPLE_LEN: usize = 256;

/// It has one byte for so many bytes of keys and values at most.
const MIN_PAYLOAD: u64 = 16;

/// The dictionary for so many bytes of keys and values, of which these are samples.
pub(crate) fn of_values<V: AsRef<[u8]>>(payload_bytes: u64, samples: impl IntoIterator<Item = V>) -> Vec<u8> {
    let most = usize::try_from(payload_bytes / MIN_PAYLOAD).unwrap_or(usize::MAX).min(MAX_DICTIONARY_LEN);
    let mut dictionary = Vec::with_capacity(most);
    for (number, value) in samples.into_iter().enumerate() {
        let value = value.as_ref();
        // Of long values another part each time.
        let parts = value.len().div_ceil(MAX_SAMPLE_LEN).max(1);
        let part = value.chunks(MAX_SAMPLE_LEN).nth(number % parts).unwrap_or_default();
        dictionary.extend(part.iter().take(most - dictionary.len()));
    }
    dictionary
}

/// The dictionary for what is in these tables.
///
/// # Errors
/// Corruption; I/O.
pub(crate) fn of_tables(tables: &[&LazyTable]) -> Result<Vec<u8>> {
    let payload_bytes = tables.iter().map(|table| table.listed().table.payload_bytes).sum();
    let of_each = VALUES.div_ceil(tables.len().max(1));
    let mut samples = Vec::new();
    for table in tables.iter().step_by(tables.len().div_ceil(VALUES).max(1)) {
        samples.extend(table.open()?.sample_values(of_each)?);
    }
    Ok(of_values(payload_bytes, samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_small_beside_what_it_is_for() {
        let value = [[7; MAX_SAMPLE_LEN].as_slice(), b"the rest"].concat();
        assert_eq!(of_values(0, [&value]), b"");
        assert_eq!(of_values(160, [&value]), [7; 10]);
        assert_eq!(of_values(1 << 20, [&value, &value]), value, "of the second the other part");
        assert_eq!(of_values(1 << 20, vec![value; 100]).len(), MAX_DICTIONARY_LEN);
    }
}
