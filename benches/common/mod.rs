//! What the benchmarks in this directory share: data of the same kind, and figures of the same kind.

pub(crate) const KEY_BYTES: usize = 16;
pub(crate) const VALUE_BYTES: usize = 100;
const DEFAULT_KEYS: usize = 1_000_000;
const DEFAULT_ROUNDS: usize = 15;

pub(crate) type Failure = Box<dyn std::error::Error>;
pub(crate) type Key = [u8; KEY_BYTES];

/// A stream of well-mixed numbers (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from((u128::from(self.next()) * bound as u128) >> 64).unwrap_or(0)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    pub(crate) fn key(&mut self) -> Key {
        let mut key = [0; KEY_BYTES];
        self.fill(&mut key);
        key
    }
}

/// Reads every byte of a value.
#[inline]
pub(crate) fn touch(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}

/// Counts of a benchmark are below 2³².
pub(crate) fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

pub(crate) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Keys and rounds, as the command line says.
pub(crate) fn arguments() -> (usize, usize) {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.replace('_', "").parse().ok());
    (numbers.next().unwrap_or(DEFAULT_KEYS), numbers.next().unwrap_or(DEFAULT_ROUNDS))
}

/// Whether the command line asks for the line of this name: it does unless it has words of which none is in it.
pub(crate) fn is_asked_for(name: &str) -> bool {
    let is_word = |arg: &String| !arg.starts_with('-') && arg.replace('_', "").parse::<usize>().is_err();
    let words: Vec<String> = std::env::args().skip(1).filter(is_word).collect();
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}
