//! The data: every key and value is a function of its number, so that no process has to keep a list of them.
//!
//! ```text
//! key   = mix(number) mix(number ^ SALT)                                    16 bytes, in no order
//! value = tag(number, version) | random bytes to the half | one sentence over and over
//! ```
//!
//! The tag, its first 8 bytes, tells whether an engine answered with the value that was asked for.

/// Length of every key.
pub const KEY_BYTES: usize = 16;

/// A key.
pub type Key = [u8; KEY_BYTES];

/// Length of the tag that a value begins with.
const TAG_BYTES: usize = 8;

/// Shortest value: a tag.
pub const MIN_VALUE_BYTES: usize = TAG_BYTES;

/// Smaller than any key of 16 random bytes that is drawn here, and not empty: some engines have no empty key.
pub const BEFORE_ALL: &[u8] = &[0];

/// What the compressible half of a value repeats.
const FILLER: &[u8] = b"the quick brown fox jumps over the lazy dog, ";

const SALT: u64 = 0x6a09_e667_f3bc_c908;

/// Spreads the bits of a number: the finalizer of splitmix64 (Steele, Lea, Flood 2014).
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Key number `number`, in no order.
#[must_use]
pub fn key(number: u64) -> Key {
    join(mix(number), mix(number ^ SALT))
}

/// Key number `number` of `count` in ascending order.
#[must_use]
pub fn ordered_key(number: u64, count: u64) -> Key {
    let stride = u64::MAX / count.max(1);
    join(number * stride + mix(number) % stride, mix(number ^ SALT))
}

fn join(high: u64, low: u64) -> Key {
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

/// What the value of key `number` begins with after it was written `version` times.
fn tag(number: u64, version: u64) -> [u8; TAG_BYTES] {
    mix(mix(number).wrapping_add(version)).to_le_bytes()
}

/// Whether `value` is the one that was first stored under key `number`.
#[must_use]
pub fn is_value_of(value: &[u8], number: u64) -> bool {
    value.starts_with(&tag(number, 0))
}

/// Reads every byte of `bytes`.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// Makes values, one at a time.
pub struct Values {
    value: Vec<u8>,
}

impl Values {
    /// Values of `len` bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { value: FILLER.iter().copied().cycle().take(len.max(MIN_VALUE_BYTES)).collect() }
    }

    /// The value of key `number` when it is written for the `version`th time.
    pub fn of(&mut self, number: u64, version: u64) -> &[u8] {
        let tag = tag(number, version);
        let random_len = (self.value.len() / 2).max(TAG_BYTES);
        let mut random = Random::new(u64::from_le_bytes(tag));
        self.value[..TAG_BYTES].copy_from_slice(&tag);
        for chunk in self.value[TAG_BYTES..random_len].chunks_mut(8) {
            chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
        }
        &self.value
    }
}

/// Entries that are written all or not at all.
pub struct Batch {
    records: Vec<u8>,
    value_bytes: usize,
}

impl Batch {
    /// An empty batch of values of `value_bytes` bytes.
    #[must_use]
    pub const fn new(value_bytes: usize) -> Self {
        Self { records: Vec::new(), value_bytes }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.records.clear();
    }

    /// Adds an entry.
    pub fn add(&mut self, key: &Key, value: &[u8]) {
        self.records.extend_from_slice(key);
        self.records.extend_from_slice(value);
    }

    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.chunks_exact(KEY_BYTES + self.value_bytes).map(|record| record.split_at(KEY_BYTES))
    }

    /// The entries as they lie in memory, one behind the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.records
    }
}

/// Numbers that look random and are the same in every run.
#[derive(Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers that belong to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is below `bound` and as even as 64 bits allow.
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// The next number from 0 up to 1.
    pub fn fraction(&mut self) -> f64 {
        float(self.next() >> 11) / float(1 << 53)
    }
}

/// Ranks with the distribution that YCSB calls zipfian: rank 0 is the most frequent (Gray et al., SIGMOD 1994).
#[derive(Clone)]
pub struct Zipf {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

/// YCSB's constant.
const THETA: f64 = 0.99;

impl Zipf {
    /// Ranks below `count`. It takes time in proportion to it.
    #[must_use]
    pub fn new(count: u64) -> Self {
        let zeta = (1..=count).map(|rank| float(rank).powf(-THETA)).sum::<f64>();
        let first_two = 1.0 + 2_f64.powf(-THETA);
        let eta = (1.0 - (2.0 / float(count)).powf(1.0 - THETA)) / (1.0 - first_two / zeta);
        Self { count, zeta, alpha: 1.0 / (1.0 - THETA), eta }
    }

    /// The next rank.
    pub fn rank(&self, random: &mut Random) -> u64 {
        let uniform = random.fraction();
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(THETA) {
            return 1;
        }
        let rank = float(self.count) * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        truncate(rank).min(self.count - 1)
    }

    /// The number of a key: frequent ones lie anywhere in the order of keys.
    pub fn number(&self, random: &mut Random) -> u64 {
        mix(self.rank(random)) % self.count
    }
}

/// The number as one that can be divided.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "figures are printed with three digits")]
pub const fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is cut off is the fraction"
)]
const fn truncate(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_keys_ascend_and_random_ones_differ() {
        for number in 1..1000 {
            assert!(ordered_key(number - 1, 1000) < ordered_key(number, 1000));
            assert_ne!(key(number - 1), key(number));
        }
    }

    #[test]
    fn a_value_is_known_by_its_first_version() {
        let mut values = Values::new(100);
        assert!(is_value_of(values.of(7, 0), 7));
        assert!(!is_value_of(values.of(7, 1), 7));
        assert_eq!(values.of(7, 0).len(), 100);
    }

    #[test]
    fn the_first_of_many_zipfian_ranks_is_the_most_frequent() {
        let (zipf, mut random) = (Zipf::new(1000), Random::new(1));
        let mut counts = vec![0; 1000];
        for _ in 0..10_000 {
            counts[usize::try_from(zipf.rank(&mut random)).unwrap()] += 1;
        }
        assert!(counts[0] > counts[1] && counts[1] > counts[100], "{:?}", &counts[..3]);
    }
}
