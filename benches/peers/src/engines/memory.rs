//! The memory's limits: a sorted array and a hash map that are made when they are opened, and never written.

use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;

use hashbrown::HashMap;

use crate::data::{self, Batch, KEY_BYTES, Key, Values};
use crate::store::{Ability, Result, Role, Session, Setup, Store};

/// Sorted records, one behind the other.
pub struct Array {
    keys: Vec<Key>,
    values: Vec<u8>,
    value_bytes: usize,
}

impl Store for Array {
    const NAME: &'static str = "array";
    const ROLE: Role = Role::Limit;
    const ABILITIES: &'static [Ability] = &[Ability::Get, Ability::Scan];
    const SETTINGS: &'static str =
        "a sorted array of keys in memory, binary search; values beside it in the same order";

    type Session<'a> = &'a Self;

    fn version() -> Result<String> {
        Ok(String::new())
    }

    fn open(_dir: &Path, setup: &Setup) -> Result<Self> {
        let mut numbers: Vec<u64> = (0..setup.keys).collect();
        numbers.sort_unstable_by_key(|number| data::key(*number));
        let keys = numbers.iter().map(|number| data::key(*number)).collect();
        Ok(Self { keys, values: values_of(&numbers, setup), value_bytes: setup.value_bytes })
    }

    fn session(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl Array {
    fn entries(&self, start: usize) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let values = self.values[start * self.value_bytes..].chunks_exact(self.value_bytes);
        self.keys[start..].iter().map(|key| &key[..]).zip(values)
    }
}

impl Session for &Array {
    fn put(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Err("it is never written".into())
    }

    fn write(&mut self, _batch: &Batch) -> Result<()> {
        Err("it is never written".into())
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        let place = self.keys.binary_search_by(|other| other[..].cmp(key));
        Ok(place.map(|place| found(&self.values[place * self.value_bytes..][..self.value_bytes])).is_ok())
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let start = self.keys.partition_point(|key| &key[..] < start);
        self.entries(start).take(limit).for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.entries(0).rev().for_each(|(key, value)| visit(key, value));
        Ok(())
    }
}

/// The values of these keys, one behind the other.
fn values_of(numbers: &[u64], setup: &Setup) -> Vec<u8> {
    let mut made = Values::new(setup.value_bytes);
    let mut values = Vec::with_capacity(numbers.len() * setup.value_bytes);
    for number in numbers {
        values.extend_from_slice(made.of(*number, 0));
    }
    values
}

/// Takes the first bytes of a key for its hash, which they are: keys are random.
#[derive(Default)]
pub struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _len: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where the value of each key lies.
pub struct Hashed {
    places: HashMap<Key, usize, BuildHasherDefault<FirstBytes>>,
    values: Vec<u8>,
    value_bytes: usize,
}

impl Store for Hashed {
    const NAME: &'static str = "hashmap";
    const ROLE: Role = Role::Limit;
    const ABILITIES: &'static [Ability] = &[Ability::Get];
    const SETTINGS: &'static str =
        "a hash map in memory from keys to places in an array of values; the key is its own hash";

    type Session<'a> = &'a Self;

    fn version() -> Result<String> {
        Ok(String::new())
    }

    fn open(_dir: &Path, setup: &Setup) -> Result<Self> {
        let numbers: Vec<u64> = (0..setup.keys).collect();
        let places = numbers.iter().enumerate().map(|(place, number)| (data::key(*number), place)).collect();
        Ok(Self { places, values: values_of(&numbers, setup), value_bytes: setup.value_bytes })
    }

    fn session(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl Session for &Hashed {
    fn put(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Err("it is never written".into())
    }

    fn write(&mut self, _batch: &Batch) -> Result<()> {
        Err("it is never written".into())
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        let place = key.first_chunk::<KEY_BYTES>().and_then(|key| self.places.get(key));
        Ok(place.map(|place| found(&self.values[place * self.value_bytes..][..self.value_bytes])).is_some())
    }
}
