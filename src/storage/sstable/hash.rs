//! The hash section: filter, index and search in one. Given a key's hash, it names the record, or says that there is none.
//!
//! ```text
//!  bucket 0        bucket 1                         bucket homes+6
//!  ┌──────────────┬──────────────┬─── 64 bytes each ─┬──────────────┐
//!  └──────────────┴──────┬───────┴───────────────────┴──────────────┘
//!                        │
//!  0                    20      21      22       24                              64
//!  ┌────────────────────┬───────┬───────┬────────┬───────────────────────────────┐
//!  │ 10 fingerprints    │ count │ flags │ passed │ 10 places                     │
//!  └────────────────────┴───────┴───────┴────────┴───────────────────────────────┘
//!   fingerprint  16 bits of the hash              place   where the record begins in the file, 4 bytes
//!   count        slots in use, from the first on; the others are zero
//!   flags        bit 0: some key whose home this is found no slot at all
//!   passed       bit h: a key whose hash has h at bits 16–19 passed this bucket because it was full
//! ```
//!
//! A hash is XXH3-64 of the key, seeded. Its high 32 bits choose the *home* among `homes` buckets (multiply and shift), its
//! low 16 bits are the fingerprint. With 7.5 keys per bucket on average:
//!
//! 1. A key lies in its home or, where that is full, in the first of the [`REACH`] − 1 buckets behind it that has a free slot.
//!    Every full bucket that it passed has its `passed` bit set. The section ends with so many buckets that are nobody's home.
//! 2. A key that finds no slot is left out, and its home says so.
//! 3. So a lookup reads the home, goes on while its own `passed` bit is set, at most [`REACH`] buckets, and compares the key at
//!    each place whose fingerprint matches. Not found, the key is absent, or, if the home says that one was left out,
//!    unknown: then the fences decide.
//!
//! Costs, at 7.5 keys per bucket: 8.5 bytes per key; a hit reads 1.06 buckets, a miss 1.07; a miss compares a record in vain
//! once in 8,000 times; one key in 9,000 is left out, and one miss in 1,200 goes on to the fences. Whoever chooses keys without
//! knowing the seed cannot make it worse. Whoever knows it can make keys that share a home: all but 80 of them are left out,
//! and their lookups cost what a seek costs.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::blocks::Body;
use super::{Checked, Damage};
use crate::storage::codec::{put, u16_at, u32_at};
use crate::storage::prefetch::prefetch;

/// Bytes of a bucket: a cache line.
pub(super) const BUCKET_LEN: usize = 64;

const SLOTS: usize = 10;
const FINGERPRINTS: usize = 0;
const FINGERPRINT_LEN: usize = 2;
const META: usize = FINGERPRINTS + FINGERPRINT_LEN * SLOTS;
const PLACES: usize = META + 4;
const PLACE_LEN: usize = 4;

/// Bits of the four bytes of count, flags and `passed`.
const COUNT: u32 = 0xff;
const LEFT_OUT: u32 = 1 << 8;
const PASSED_SHIFT: u32 = 16;

/// Buckets in which a key can lie.
const REACH: usize = 8;

/// Keys per bucket, on average, are this fraction.
const KEYS_PER_BUCKET: (usize, usize) = (15, 2);

/// How far ahead of its use a bucket is fetched while the section is built.
const FETCH_AHEAD: usize = 16;

/// A key's hash, and the seed that it was made with. Tables of one seed share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    hash: u64,
    seed: u64,
}

impl KeyHash {
    /// Hashes a key.
    #[inline]
    #[must_use]
    pub fn new(key: &[u8], seed: u64) -> Self {
        Self { hash: xxh3_64_with_seed(key, seed), seed }
    }

    /// The hash of the same key under `seed`.
    #[inline]
    pub(crate) fn of(self, key: &[u8], seed: u64) -> u64 {
        if self.seed == seed { self.hash } else { xxh3_64_with_seed(key, seed) }
    }

    /// The hash, whatever its seed.
    #[inline]
    pub(super) fn raw(self) -> u64 {
        self.hash
    }
}

#[inline]
fn home(hash: u64, homes: usize) -> usize {
    (((hash >> 32) * homes as u64) >> 32) as u32 as usize
}

#[inline]
fn fingerprint(hash: u64) -> u16 {
    (hash & 0xffff) as u16
}

/// The bit of META that a key with this hash sets where it passes.
#[inline]
fn passed_bit(hash: u64) -> u32 {
    1 << (PASSED_SHIFT + ((hash >> 16) & 15) as u32)
}

/// How many buckets are homes in a table of so many keys.
fn homes_for(keys: usize) -> usize {
    (keys * KEYS_PER_BUCKET.1).div_ceil(KEYS_PER_BUCKET.0).max(1)
}

/// Bytes of a section with so many homes.
pub(super) const fn section_len(homes: usize) -> usize {
    (homes + REACH - 1) * BUCKET_LEN
}

/// Bytes of the section of a table of so many keys.
pub(super) fn section_len_for(keys: usize) -> usize {
    section_len(homes_for(keys))
}

/// Collects the hashes and places of a table's records: 12 bytes each.
#[derive(Debug, Default)]
pub(super) struct HashBuilder {
    hashes: Vec<u64>,
    places: Vec<u32>,
}

impl HashBuilder {
    /// Announces a record whose place will follow.
    pub(super) fn push_hash(&mut self, hash: KeyHash) {
        self.hashes.push(hash.raw());
    }

    /// The place of the next announced record.
    pub(super) fn push_place(&mut self, place: u32) {
        self.places.push(place);
    }

    /// The section's bytes and its number of homes.
    pub(super) fn build(self) -> (Vec<u8>, usize) {
        let homes = homes_for(self.hashes.len());
        let mut section = vec![0; section_len(homes)];
        for (index, (&hash, &place)) in self.hashes.iter().zip(&self.places).enumerate() {
            if let Some(&coming) = self.hashes.get(index + FETCH_AHEAD) {
                prefetch(&section, home(coming, homes) * BUCKET_LEN);
            }
            insert(&mut section, homes, hash, place);
        }
        (section, homes)
    }
}

fn insert(section: &mut [u8], homes: usize, hash: u64, place: u32) {
    let home = home(hash, homes);
    let (buckets, _) = section.as_chunks_mut::<BUCKET_LEN>();
    for bucket in &mut buckets[home..home + REACH] {
        let meta = meta(bucket);
        let slot = (meta & COUNT) as usize;
        if slot < SLOTS {
            put(bucket, FINGERPRINTS + FINGERPRINT_LEN * slot, &fingerprint(hash).to_le_bytes());
            put(bucket, PLACES + PLACE_LEN * slot, &place.to_le_bytes());
            put(bucket, META, &(meta + 1).to_le_bytes());
            return;
        }
        put(bucket, META, &(meta | passed_bit(hash)).to_le_bytes());
    }
    let left_out = meta(&buckets[home]) | LEFT_OUT;
    put(&mut buckets[home], META, &left_out.to_le_bytes());
}

#[inline]
fn meta(bucket: &[u8; BUCKET_LEN]) -> u32 {
    u32_at(bucket, META).unwrap_or_default()
}

/// Which slots of a bucket hold this fingerprint, a bit each.
#[inline]
fn matching_slots(bucket: &[u8; BUCKET_LEN], fingerprint: u16) -> u32 {
    let mut slots = 0;
    for slot in 0..SLOTS {
        let matches = u16_at(bucket, FINGERPRINTS + FINGERPRINT_LEN * slot) == Some(fingerprint);
        slots |= u32::from(matches) << slot;
    }
    slots & ((1 << (meta(bucket) & COUNT).min(31)) - 1)
}

/// Probes the places of a bucket whose fingerprint matches.
#[inline]
fn search<T>(
    bucket: &[u8; BUCKET_LEN],
    hash: u64,
    probe: &mut impl FnMut(usize) -> Checked<Option<T>>,
) -> Checked<Option<T>> {
    let mut slots = matching_slots(bucket, fingerprint(hash));
    while slots != 0 {
        let slot = slots.trailing_zeros() as usize;
        let place = u32_at(bucket, PLACES + PLACE_LEN * slot).unwrap_or_default();
        if let Some(found) = probe(place as usize)? {
            return Ok(Some(found));
        }
        slots &= slots - 1;
    }
    Ok(None)
}

/// What the section knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup<T> {
    Found(T),
    Absent,
    /// The section does not hold every key of that home.
    Unknown,
}

/// The hash section of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashSection {
    /// Where it begins in the file.
    pub start: usize,
    pub homes: usize,
}

impl HashSection {
    /// Where the bucket lies that a lookup reads first.
    #[inline]
    pub(super) fn place(&self, hash: u64) -> usize {
        self.start + home(hash, self.homes) * BUCKET_LEN
    }

    /// Hands the place of every record that may be the one to `probe`, until it has something to say.
    #[inline]
    pub(super) fn lookup<T>(
        &self,
        body: Body<'_>,
        hash: u64,
        probe: impl FnMut(usize) -> Checked<Option<T>>,
    ) -> Checked<Lookup<T>> {
        self.lookup_from(body.aligned(self.place(hash))?, body, hash, probe)
    }

    /// The same, given the bucket that is read first.
    #[inline]
    pub(super) fn lookup_from<T>(
        &self,
        bucket: &[u8; BUCKET_LEN],
        body: Body<'_>,
        hash: u64,
        mut probe: impl FnMut(usize) -> Checked<Option<T>>,
    ) -> Checked<Lookup<T>> {
        if let Some(found) = search(bucket, hash, &mut probe)? {
            return Ok(Lookup::Found(found));
        }
        if meta(bucket) & (passed_bit(hash) | LEFT_OUT) == 0 {
            return Ok(Lookup::Absent);
        }
        self.lookup_behind(body, hash, home(hash, self.homes), probe)
    }

    /// The rest of a lookup in whose home there was no room for some key.
    #[cold]
    fn lookup_behind<T>(
        &self,
        body: Body<'_>,
        hash: u64,
        home: usize,
        mut probe: impl FnMut(usize) -> Checked<Option<T>>,
    ) -> Checked<Lookup<T>> {
        let mut bucket = self.bucket(body, home)?;
        let left_out = meta(bucket) & LEFT_OUT != 0;
        for index in home + 1..home + REACH {
            if meta(bucket) & passed_bit(hash) == 0 {
                break;
            }
            bucket = self.bucket(body, index)?;
            if let Some(found) = search(bucket, hash, &mut probe)? {
                return Ok(Lookup::Found(found));
            }
        }
        Ok(if left_out { Lookup::Unknown } else { Lookup::Absent })
    }

    #[inline]
    fn bucket<'t>(&self, body: Body<'t>, index: usize) -> Checked<&'t [u8; BUCKET_LEN]> {
        body.aligned(self.start + index * BUCKET_LEN)
    }

    /// How many slots are in use.
    pub(super) fn count_slots(&self, body: Body<'_>) -> Checked<u64> {
        (0..self.homes + REACH - 1).try_fold(0, |slots, index| {
            let used = meta(self.bucket(body, index)?) & COUNT;
            if used as usize > SLOTS {
                return Err(Damage::new(
                    self.start + index * BUCKET_LEN,
                    "a bucket has more slots than there are",
                ));
            }
            Ok(slots + u64::from(used))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::{Checks, append_sums};
    use super::*;

    /// The section of these hashes, with places 1, 2, …, and its checksums.
    fn built(hashes: &[u64]) -> (Vec<u8>, HashSection, Checks) {
        let mut builder = HashBuilder::default();
        for (index, &hash) in hashes.iter().enumerate() {
            builder.push_hash(KeyHash { hash, seed: 0 });
            builder.push_place(u32::try_from(index + 1).unwrap());
        }
        let (mut bytes, homes) = builder.build();
        let covered = bytes.len();
        let (mut leaves, mut roots) = (Vec::new(), Vec::new());
        append_sums(&mut leaves, &bytes);
        append_sums(&mut roots, &leaves);
        bytes.extend(leaves);
        bytes.extend(roots);
        (bytes, HashSection { start: 0, homes }, Checks::new(covered))
    }

    /// A well-mixed number for each index.
    fn mixed(index: u64) -> u64 {
        xxh3_64_with_seed(&index.to_le_bytes(), 1)
    }

    #[test]
    fn every_key_is_found_or_known_to_be_left_out() {
        let hashes: Vec<u64> = (0..100_000).map(mixed).collect();
        let (bytes, section, checks) = built(&hashes);
        let body = Body::new(&bytes, &checks);
        let mut left_out = 0;
        for (index, &hash) in hashes.iter().enumerate() {
            match section.lookup(body, hash, |place| Ok((place == index + 1).then_some(()))).unwrap() {
                Lookup::Found(()) => {}
                Lookup::Unknown => left_out += 1,
                Lookup::Absent => panic!("key {index} is lost"),
            }
        }
        assert!(left_out < 100, "{left_out} left out");
        assert_eq!(section.count_slots(body).unwrap(), 100_000 - left_out);
    }

    #[test]
    fn absent_keys_are_rarely_looked_for_twice() {
        let hashes: Vec<u64> = (0..100_000).map(mixed).collect();
        let (bytes, section, checks) = built(&hashes);
        let (mut probes, mut unknown) = (0, 0);
        for hash in (100_000..200_000).map(mixed) {
            let body = Body::new(&bytes, &checks);
            let lookup = section.lookup(body, hash, |_| -> Checked<Option<()>> {
                probes += 1;
                Ok(None)
            });
            unknown += u32::from(lookup.unwrap() == Lookup::Unknown);
        }
        assert!(probes < 40, "{probes} records were compared in vain");
        assert!(unknown < 200, "{unknown} lookups went on to the fences");
    }

    #[test]
    fn equal_hashes_fill_their_reach_and_no_more() {
        let hashes = vec![0xdead_beef_dead_beef; 1000];
        let (bytes, section, checks) = built(&hashes);
        let body = Body::new(&bytes, &checks);
        let mut seen = Vec::new();
        let lookup = section.lookup(body, hashes[0], |place| -> Checked<Option<()>> {
            seen.push(place);
            Ok(None)
        });
        assert_eq!(lookup.unwrap(), Lookup::Unknown);
        assert_eq!(seen, (1..=SLOTS * REACH).collect::<Vec<_>>());
    }

    #[test]
    fn a_section_without_keys_knows_that() {
        let (bytes, section, checks) = built(&[]);
        let lookup = section.lookup(Body::new(&bytes, &checks), 7, |_| Ok(Some(())));
        assert_eq!(lookup.unwrap(), Lookup::Absent);
    }
}
