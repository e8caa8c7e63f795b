//! Dictionaries: samples of the values that go to a table, for it to pack them behind.
//!
//! Where values are much alike, most of what one has is in a few others. A dictionary has nothing but what its table has: so what
//! was deleted is gone once the tables that had it are. It is bytes that the table has more, and a table that is small has little
//! of it.

use super::merge::Source;
use crate::error::Result;
use crate::storage::sstable::{MAX_DICTIONARY_LEN, StoredValue};

/// Samples that are kept at most.
const MAX_SAMPLES: usize = 32;

/// Bytes of a value that a dictionary has at most.
const MAX_SAMPLE_LEN: usize = 256;

/// It has one byte for so many bytes of keys and values at most.
const MIN_PAYLOAD: usize = 16;

/// Makes walks over what is to be written to tables: over all of it, or over what comes behind a key.
pub(crate) type Walks<'a> = &'a dyn Fn(Option<&[u8]>) -> Result<Box<dyn Source + 'a>>;

/// Values out of a sequence of unknown length, evenly chosen: when there are too many every other one is left out, and from
/// then on so many more are passed by.
#[derive(Debug)]
pub(super) struct Samples {
    kept: Vec<Vec<u8>>,
    /// Each value of this number, counted from the first, is one.
    step: usize,
    seen: usize,
    payload_bytes: usize,
}

impl Samples {
    pub(super) const fn new() -> Self {
        Self { kept: Vec::new(), step: 1, seen: 0, payload_bytes: 0 }
    }

    /// Counts a key of so many bytes and its value, and takes a sample of it if it is its turn.
    ///
    /// # Errors
    /// Corruption.
    pub(super) fn count(&mut self, key_len: usize, value: StoredValue<'_>) -> Result<()> {
        self.payload_bytes += key_len + usize::try_from(value.value_len()).unwrap_or(usize::MAX);
        let number = self.seen;
        self.seen += 1;
        if !number.is_multiple_of(self.step) {
            return Ok(());
        }
        if self.kept.len() == MAX_SAMPLES {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.step *= 2;
        }
        if number.is_multiple_of(self.step) {
            let value = value.bytes()?;
            // Of long values any part.
            let parts = value.len().div_ceil(MAX_SAMPLE_LEN).max(1);
            let part = value.chunks(MAX_SAMPLE_LEN).nth((number.wrapping_mul(0x9e37_79b1) >> 16) % parts);
            self.kept.push(part.unwrap_or_default().to_vec());
        }
        Ok(())
    }

    /// The dictionary for what was counted.
    pub(super) fn dictionary(&self) -> Vec<u8> {
        let most = (self.payload_bytes / MIN_PAYLOAD).min(MAX_DICTIONARY_LEN);
        let all: usize = self.kept.iter().map(Vec::len).sum();
        let step = all.div_ceil(most.max(1)).max(1);
        let mut dictionary = self.kept.iter().step_by(step).flatten().copied().collect::<Vec<u8>>();
        dictionary.truncate(most);
        dictionary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Vec<u8> {
        let mut samples = Samples::new();
        values.into_iter().for_each(|value| samples.count(4, StoredValue::from(value.as_ref())).unwrap());
        samples.dictionary()
    }

    #[test]
    fn samples_are_from_all_over() {
        for count in [1, 31, 32, 33, 1_000, 100_000] {
            let dictionary = dictionary((0..count).map(|number: u32| number.to_be_bytes().repeat(20)));
            let found: Vec<u32> = dictionary
                .chunks_exact(80)
                .map(|value| u32::from_be_bytes(value[..4].try_into().unwrap()))
                .collect();
            assert!(dictionary.len() <= count as usize * 84 / MIN_PAYLOAD);
            assert!(found.is_sorted());
            if count >= 1_000 {
                assert!(found.len() >= 8, "{found:?}");
                let gaps = found.windows(2).map(|pair| pair[1] - pair[0]);
                assert!(gaps.max() <= Some(count / 4), "{found:?}");
                assert!(found.last() > Some(&(count / 2)), "{found:?}");
            }
        }
    }

    #[test]
    fn a_dictionary_is_small_beside_what_it_is_for() {
        let none: [&[u8]; 0] = [];
        assert_eq!(dictionary(none), b"");
        assert_eq!(dictionary([[7; 156]]), [7; 10]);
        assert_eq!(dictionary(vec![[7; MAX_SAMPLE_LEN]; 1_000]).len(), MAX_DICTIONARY_LEN);
    }

    #[test]
    fn of_long_values_there_are_different_parts() {
        let value = [[b'a'; MAX_SAMPLE_LEN], [b'b'; MAX_SAMPLE_LEN]].concat();
        let dictionary = dictionary(vec![value; 200]);
        assert!(dictionary.contains(&b'a') && dictionary.contains(&b'b'));
    }
}
