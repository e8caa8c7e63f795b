//! Reading and building one sorted table, beside binary search in a sorted array in memory.
//!
//! `cargo bench --bench table [-- KEYS [ROUNDS]]`. Keys have 16 random bytes, values 100; every value found is read as a whole.
//! Array and table take turns in the same run, so that a machine whose speed drifts moves both. Printed are medians of all
//! rounds and the ratio of rates. The table is warm: every page of it has been read and verified before.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use kvdb::storage::fs::RealFs;
use kvdb::storage::sstable::{KeyHash, Table, TableMeta, TableWriter};
use kvdb::types::FileId;
use kvdb::{Direction, Key, KeyRange, Lsn};

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;
const DEFAULT_KEYS: usize = 1_000_000;
const DEFAULT_ROUNDS: usize = 15;
const GETS_PER_ROUND: usize = 200_000;
const SEEKS_PER_ROUND: usize = 10_000;
const SEEK_ENTRIES: usize = 100;
const RUNS: usize = 6;
const SEED: u64 = 0x6b76_6462;

type Failure = Box<dyn std::error::Error>;
type Entry = [u8; KEY_BYTES + VALUE_BYTES];

/// A stream of well-mixed numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from((u128::from(self.next()) * bound as u128) >> 64).unwrap_or(0)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    fn key(&mut self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        self.fill(&mut key);
        key
    }
}

fn split(entry: &Entry) -> (&[u8], &[u8]) {
    entry.split_at(KEY_BYTES)
}

/// Reads every byte of a value.
#[inline]
fn touch(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}

fn sorted_entries(count: usize) -> Vec<Entry> {
    let mut random = Random(1);
    let mut entries = vec![[0; KEY_BYTES + VALUE_BYTES]; count];
    for entry in &mut entries {
        random.fill(entry);
    }
    entries.sort_unstable();
    entries
}

fn build<'e>(dir: &Path, id: u64, entries: impl Iterator<Item = &'e Entry>) -> Result<TableMeta, Failure> {
    let mut writer = TableWriter::create(&RealFs, dir, FileId(id), SEED)?;
    for (index, entry) in entries.enumerate() {
        let (key, value) = split(entry);
        writer.add(key, Some(value), Lsn(index as u64))?;
    }
    Ok(writer.finish()?)
}

/// What is measured, once for the array and once for the table. Returns operations done and something that depends on them.
type Work<'a> = Box<dyn Fn() -> (usize, u64) + Sync + 'a>;

struct Case<'a> {
    name: &'static str,
    array: Work<'a>,
    table: Work<'a>,
}

fn array_get(entries: &[Entry], key: &[u8]) -> Option<u64> {
    let index = entries.binary_search_by(|entry| entry[..KEY_BYTES].cmp(key)).ok()?;
    Some(touch(split(&entries[index]).1))
}

fn table_get(table: &Table, key: &[u8]) -> Option<u64> {
    touched(table.get(key))
}

fn touched(found: kvdb::Result<Option<kvdb::storage::sstable::Found<'_>>>) -> Option<u64> {
    found.ok().flatten().and_then(|found| found.value).map(touch)
}

fn runs_get(runs: &[Table], key: &[u8]) -> Option<u64> {
    let hash = KeyHash::new(key, SEED);
    for run in runs {
        run.prefetch(hash);
    }
    runs.iter().find_map(|run| touched(run.get_hashed(hash, key)))
}

fn each_key(keys: &[[u8; KEY_BYTES]], get: impl Fn(&[u8]) -> Option<u64>) -> (usize, u64) {
    (keys.len(), keys.iter().fold(0, |sum, key| sum.wrapping_add(get(key).unwrap_or(1))))
}

fn table_walk(table: &Table, range: &KeyRange, direction: Direction, limit: usize) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0_u64);
    let Ok(mut cursor) = table.cursor(range, direction) else { return (0, 0) };
    while count < limit && cursor.advance().unwrap_or(false) {
        sum = sum.wrapping_add(cursor.value().ok().flatten().map_or(1, touch));
        count += 1;
    }
    (count, sum)
}

fn add(total: (usize, u64), part: (usize, u64)) -> (usize, u64) {
    (total.0 + part.0, total.1.wrapping_add(part.1))
}

fn array_walk<'e>(entries: impl Iterator<Item = &'e Entry>) -> (usize, u64) {
    entries.fold((0, 0), |total, entry| add(total, (1, touch(split(entry).1))))
}

fn array_seek(entries: &[Entry], key: &[u8]) -> (usize, u64) {
    let from = entries.partition_point(|entry| &entry[..KEY_BYTES] < key);
    array_walk(entries[from..].iter().take(SEEK_ENTRIES))
}

fn table_seek(table: &Table, key: &[u8; KEY_BYTES]) -> (usize, u64) {
    table_walk(table, &KeyRange::from(Key::from(key)..), Direction::Forward, SEEK_ENTRIES)
}

fn on_two_threads(work: &Work<'_>) -> (usize, u64) {
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        add(work(), other.join().unwrap_or((0, 0)))
    })
}

fn timed(work: &Work<'_>) -> (f64, usize, u64) {
    let start = Instant::now();
    let (operations, sum) = black_box(work());
    (start.elapsed().as_secs_f64(), operations, sum)
}

/// Counts of a benchmark are below 2³².
fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn measure(case: &Case<'_>, rounds: usize) -> Result<(), Failure> {
    let (mut array_rates, mut table_rates) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (array, table) = (timed(&case.array), timed(&case.table));
        if (array.1, array.2) != (table.1, table.2) {
            return Err(format!("{}: array and table disagree", case.name).into());
        }
        // The first round warms up.
        if round > 0 {
            array_rates.push(float(array.1 as u64) / array.0);
            table_rates.push(float(table.1 as u64) / table.0);
        }
    }
    let (array, table) = (median(array_rates), median(table_rates));
    let (name, array_ns, table_ns) = (case.name, 1e9 / array, 1e9 / table);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| {name} | {:.2} M/s, {array_ns:.1} ns | {:.2} M/s, {table_ns:.1} ns | {:.2} |",
        array / 1e6,
        table / 1e6,
        table / array,
    )?;
    Ok(())
}

fn measure_builds(dir: &Path, entries: &[Entry], rounds: usize) -> Result<TableMeta, Failure> {
    let mut times = Vec::new();
    for round in 0..rounds.min(5) {
        let id = 100 + round as u64;
        let start = Instant::now();
        let meta = build(dir, id, entries.iter())?;
        times.push(start.elapsed());
        if round + 1 == rounds.min(5) {
            report_builds(&mut times, &meta)?;
            return Ok(meta);
        }
        std::fs::remove_file(dir.join(kvdb::storage::sstable::file_name(FileId(id))))?;
    }
    Err("at least one round is needed".into())
}

fn report_builds(times: &mut [Duration], meta: &TableMeta) -> Result<(), Failure> {
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64();
    let (entries, payload, len) = (float(meta.entries), float(meta.payload_bytes), float(meta.len));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "build and sync: {:.2} M entries/s, {:.0} MB/s; {:.3} bytes of file per byte of key and value\n",
        entries / seconds / 1e6,
        len / seconds / 1e6,
        len / payload,
    )?;
    writeln!(out, "| {entries} keys | array | table | rate, table / array |\n|---|---|---|---|")?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.replace('_', "").parse().ok());
    let count: usize = numbers.next().unwrap_or(DEFAULT_KEYS);
    let rounds: usize = numbers.next().unwrap_or(DEFAULT_ROUNDS);
    let dir = tempfile::tempdir_in(".")?;
    let entries = sorted_entries(count);
    let meta = measure_builds(dir.path(), &entries, rounds)?;
    let table = Table::open(&RealFs, dir.path(), &meta)?;
    table.verify()?;
    let runs = (0..RUNS)
        .map(|run| {
            let meta = build(dir.path(), 1 + run as u64, entries.iter().skip(run).step_by(RUNS))?;
            Ok(Table::open(&RealFs, dir.path(), &meta)?)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut random = Random(2);
    let present: Vec<[u8; KEY_BYTES]> =
        (0..GETS_PER_ROUND).filter_map(|_| entries[random.below(count)].first_chunk().copied()).collect();
    let absent: Vec<[u8; KEY_BYTES]> = (0..GETS_PER_ROUND).map(|_| random.key()).collect();
    cases(&entries, &table, &runs, &present, &absent).iter().try_for_each(|case| measure(case, rounds))
}

fn cases<'a>(
    entries: &'a [Entry],
    table: &'a Table,
    runs: &'a [Table],
    present: &'a [[u8; KEY_BYTES]],
    absent: &'a [[u8; KEY_BYTES]],
) -> Vec<Case<'a>> {
    let case = |name, array: Work<'a>, table: Work<'a>| Case { name, array, table };
    let array_gets = |keys: &'a [[u8; KEY_BYTES]]| -> Work<'a> {
        Box::new(move || each_key(keys, |key| array_get(entries, key)))
    };
    let gets = |keys: &'a [[u8; KEY_BYTES]]| -> Work<'a> {
        Box::new(move || each_key(keys, |key| table_get(table, key)))
    };
    let runs_gets = |keys: &'a [[u8; KEY_BYTES]]| -> Work<'a> {
        Box::new(move || each_key(keys, |key| runs_get(runs, key)))
    };
    let twice = |work: Work<'a>| -> Work<'a> { Box::new(move || on_two_threads(&work)) };
    let scan = |direction| -> Work<'a> {
        Box::new(move || table_walk(table, &KeyRange::all(), direction, usize::MAX))
    };
    let array_seeks: Work<'a> = Box::new(move || {
        present[..SEEKS_PER_ROUND].iter().map(|key| array_seek(entries, key)).fold((0, 0), add)
    });
    let seeks: Work<'a> = Box::new(move || {
        present[..SEEKS_PER_ROUND].iter().map(|key| table_seek(table, key)).fold((0, 0), add)
    });
    vec![
        case("get, present", array_gets(present), gets(present)),
        case("get, present, 2 threads", twice(array_gets(present)), twice(gets(present))),
        case("get, absent", array_gets(absent), gets(absent)),
        case("get, absent, 2 threads", twice(array_gets(absent)), twice(gets(absent))),
        case("get, present, in one of 6 tables", array_gets(present), runs_gets(present)),
        case("get, absent from 6 tables", array_gets(absent), runs_gets(absent)),
        case("scan", Box::new(move || array_walk(entries.iter())), scan(Direction::Forward)),
        case("scan in reverse", Box::new(move || array_walk(entries.iter().rev())), scan(Direction::Reverse)),
        case("seek + 100", array_seeks, seeks),
    ]
}
