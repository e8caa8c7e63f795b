//! Measuring reads beside a sorted array in memory.
//!
//! Keys have 16 random bytes, values 100; every value found is read as a whole. The array and what is measured take turns in
//! the same run, so that a machine whose speed drifts moves both. Printed are medians of all rounds and the ratio of rates.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use crate::common::{Failure, KEY_BYTES, Key, Random, VALUE_BYTES, float, is_asked_for, median, touch};

pub(crate) const SEEK_ENTRIES: usize = 100;
const GETS_PER_ROUND: usize = 200_000;
const SEEKS_PER_ROUND: usize = 10_000;

pub(crate) type Entry = [u8; KEY_BYTES + VALUE_BYTES];

/// Operations done, and something that depends on what they found.
pub(crate) type Done = (usize, u64);

/// One side of a comparison.
pub(crate) type Work<'a> = Box<dyn Fn() -> Done + Sync + 'a>;

/// The array, and keys to look for.
pub(crate) struct Data {
    pub(crate) entries: Vec<Entry>,
    present: Vec<Key>,
    absent: Vec<Key>,
}

impl Data {
    pub(crate) fn new(count: usize) -> Self {
        let mut random = Random(1);
        let mut entries = vec![[0; KEY_BYTES + VALUE_BYTES]; count];
        for entry in &mut entries {
            random.fill(entry);
        }
        entries.sort_unstable();
        let mut random = Random(2);
        let key_of = |entry: &Entry| entry.first_chunk().copied();
        let present = (0..GETS_PER_ROUND).filter_map(|_| key_of(&entries[random.below(count)])).collect();
        let absent = (0..GETS_PER_ROUND).map(|_| random.key()).collect();
        Self { entries, present, absent }
    }

    /// A get of each key that is there.
    pub(crate) fn gets<'a>(&'a self, get: impl Fn(&[u8]) -> Option<u64> + Sync + 'a) -> Work<'a> {
        each_key(&self.present, get)
    }

    /// A get of each key that is not there.
    pub(crate) fn misses<'a>(&'a self, get: impl Fn(&[u8]) -> Option<u64> + Sync + 'a) -> Work<'a> {
        each_key(&self.absent, get)
    }

    /// A seek to each of some keys.
    pub(crate) fn seeks<'a>(&'a self, seek: impl Fn(&Key) -> Done + Sync + 'a) -> Work<'a> {
        let keys = &self.present[..SEEKS_PER_ROUND];
        Box::new(move || keys.iter().map(&seek).fold((0, 0), add))
    }

    pub(crate) fn array_gets(&self) -> Work<'_> {
        self.gets(|key| array_get(&self.entries, key))
    }

    pub(crate) fn array_misses(&self) -> Work<'_> {
        self.misses(|key| array_get(&self.entries, key))
    }

    pub(crate) fn array_seeks(&self) -> Work<'_> {
        self.seeks(|key| array_seek(&self.entries, key))
    }

    pub(crate) fn array_scan(&self) -> Work<'_> {
        Box::new(|| array_walk(self.entries.iter()))
    }

    pub(crate) fn array_scan_in_reverse(&self) -> Work<'_> {
        Box::new(|| array_walk(self.entries.iter().rev()))
    }
}

fn each_key<'a>(keys: &'a [Key], get: impl Fn(&[u8]) -> Option<u64> + Sync + 'a) -> Work<'a> {
    Box::new(move || (keys.len(), keys.iter().fold(0, |sum, key| sum.wrapping_add(get(key).unwrap_or(1)))))
}

pub(crate) fn split(entry: &Entry) -> (&[u8], &[u8]) {
    entry.split_at(KEY_BYTES)
}

fn array_get(entries: &[Entry], key: &[u8]) -> Option<u64> {
    let index = entries.binary_search_by(|entry| entry[..KEY_BYTES].cmp(key)).ok()?;
    Some(touch(split(&entries[index]).1))
}

fn array_walk<'e>(entries: impl Iterator<Item = &'e Entry>) -> Done {
    entries.fold((0, 0), |total, entry| add(total, (1, touch(split(entry).1))))
}

fn array_seek(entries: &[Entry], key: &[u8]) -> Done {
    let from = entries.partition_point(|entry| &entry[..KEY_BYTES] < key);
    array_walk(entries[from..].iter().take(SEEK_ENTRIES))
}

fn add(total: Done, part: Done) -> Done {
    (total.0 + part.0, total.1.wrapping_add(part.1))
}

/// The same work on two threads at once.
pub(crate) fn twice(work: Work<'_>) -> Work<'_> {
    Box::new(move || {
        std::thread::scope(|scope| {
            let other = scope.spawn(&work);
            add(work(), other.join().unwrap_or((0, 0)))
        })
    })
}

fn timed(work: &Work<'_>) -> (f64, Done) {
    let start = Instant::now();
    let done = black_box(work());
    (start.elapsed().as_secs_f64(), done)
}

/// Prints the head of the table that [`measure`] prints the rows of.
pub(crate) fn print_head(keys: usize, measured: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n| {keys} keys | array | {measured} | rate, {measured} / array |\n|---|---|---|---|")?;
    Ok(())
}

/// Lets the array and what is measured take turns. Both must find the same.
pub(crate) fn measure(
    name: &str,
    array: &Work<'_>,
    measured: &Work<'_>,
    rounds: usize,
) -> Result<(), Failure> {
    if !is_asked_for(name) {
        return Ok(());
    }
    let (mut array_rates, mut rates) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (array, measured) = (timed(array), timed(measured));
        if array.1 != measured.1 {
            return Err(format!("{name}: the array and what is measured disagree").into());
        }
        // The first round warms up.
        if round > 0 {
            array_rates.push(float(array.1.0 as u64) / array.0);
            rates.push(float(measured.1.0 as u64) / measured.0);
        }
    }
    let (array, measured) = (median(array_rates), median(rates));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| {name} | {:.2} M/s, {:.1} ns | {:.2} M/s, {:.1} ns | {:.2} |",
        array / 1e6,
        1e9 / array,
        measured / 1e6,
        1e9 / measured,
        measured / array,
    )?;
    Ok(())
}
