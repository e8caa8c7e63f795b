//! Reading and building one sorted table, beside binary search in a sorted array in memory.
//!
//! `cargo bench --bench table [-- KEYS [ROUNDS]] [NAMES]`. The table is warm: every page of it has been read and verified before.

mod beside;
mod common;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use beside::{Data, Done, Entry, SEEK_ENTRIES, Work, measure, split, twice};
use common::{Failure, float, touch};
use kvdb::storage::fs::RealFs;
use kvdb::storage::sstable::{Found, KeyHash, StoredValue, Table, TableMeta, TableWriter};
use kvdb::types::FileId;
use kvdb::{Direction, Key, KeyRange, Lsn};

const RUNS: usize = 6;
const SEED: u64 = 0x6b76_6462;

fn build<'e>(dir: &Path, id: u64, entries: impl Iterator<Item = &'e Entry>) -> Result<TableMeta, Failure> {
    let mut writer = TableWriter::create(&RealFs, dir, FileId(id), SEED)?;
    for (index, entry) in entries.enumerate() {
        let (key, value) = split(entry);
        writer.add(key, Some(value), Lsn(index as u64))?;
    }
    Ok(writer.finish()?)
}

fn table_get(table: &Table, key: &[u8]) -> Option<u64> {
    touched(table.get(key))
}

fn touched(found: kvdb::Result<Option<Found<'_>>>) -> Option<u64> {
    found.ok().flatten().and_then(|found| found.value).map(touch_stored)
}

/// Tables that nobody asked to pack have their values at hand.
#[inline]
fn touch_stored(value: StoredValue<'_>) -> u64 {
    value.read(&mut Vec::new()).map_or(0, touch)
}

fn runs_get(runs: &[Table], key: &[u8]) -> Option<u64> {
    let hash = KeyHash::new(key, SEED);
    for run in runs {
        run.prefetch(hash);
    }
    runs.iter().find_map(|run| touched(run.get_hashed(hash, key)))
}

fn table_walk(table: &Table, range: &KeyRange, direction: Direction, limit: usize) -> Done {
    let (mut count, mut sum) = (0, 0_u64);
    let Ok(mut cursor) = table.cursor(range, direction) else { return (0, 0) };
    while count < limit
        && let Ok(Some(change)) = cursor.next_change()
    {
        sum = sum.wrapping_add(change.value.map_or(1, touch_stored));
        count += 1;
    }
    (count, sum)
}

fn table_seek(table: &Table, key: &common::Key) -> Done {
    table_walk(table, &KeyRange::from(Key::from(key)..), Direction::Forward, SEEK_ENTRIES)
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
        "build and sync: {:.2} M entries/s, {:.0} MB/s; {:.3} bytes of file per byte of key and value",
        entries / seconds / 1e6,
        len / seconds / 1e6,
        len / payload,
    )?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let (count, rounds) = common::arguments();
    let dir = tempfile::tempdir_in(".")?;
    let data = Data::new(count);
    let meta = measure_builds(dir.path(), &data.entries, rounds)?;
    let table = Table::open(&RealFs, dir.path(), &meta)?;
    table.verify()?;
    let runs = (0..RUNS)
        .map(|run| {
            let meta = build(dir.path(), 1 + run as u64, data.entries.iter().skip(run).step_by(RUNS))?;
            Ok(Table::open(&RealFs, dir.path(), &meta)?)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    beside::print_head(count, "table")?;
    for (name, array, measured) in cases(&data, &table, &runs) {
        measure(name, &array, &measured, rounds)?;
    }
    Ok(())
}

fn cases<'a>(data: &'a Data, table: &'a Table, runs: &'a [Table]) -> Vec<(&'static str, Work<'a>, Work<'a>)> {
    let gets = || data.gets(|key| table_get(table, key));
    let misses = || data.misses(|key| table_get(table, key));
    let scan = |direction| -> Work<'a> {
        Box::new(move || table_walk(table, &KeyRange::all(), direction, usize::MAX))
    };
    vec![
        ("get, present", data.array_gets(), gets()),
        ("get, present, 2 threads", twice(data.array_gets()), twice(gets())),
        ("get, absent", data.array_misses(), misses()),
        ("get, absent, 2 threads", twice(data.array_misses()), twice(misses())),
        ("get, present, in one of 6 tables", data.array_gets(), data.gets(|key| runs_get(runs, key))),
        ("get, absent from 6 tables", data.array_misses(), data.misses(|key| runs_get(runs, key))),
        ("scan", data.array_scan(), scan(Direction::Forward)),
        ("scan in reverse", data.array_scan_in_reverse(), scan(Direction::Reverse)),
        ("seek + 100", data.array_seeks(), data.seeks(|key| table_seek(table, key))),
    ]
}
