//! Reading through [`Db`]: gets and scans, beside binary search in a sorted array in memory.
//!
//! `cargo bench --bench engine [-- KEYS [ROUNDS]] [NAMES]`. Once from one run, after a compaction, and once from the runs that
//! loading the keys in random order leaves. The database is warm: everything has been read and verified before.

mod beside;
mod common;

use std::io::Write;
use std::path::Path;

use beside::{Data, Done, Entry, SEEK_ENTRIES, Work, measure, split, twice};
use common::{Failure, Random, touch};
use kvdb::{Batch, Db, Direction, EngineKind, Key, KeyRange, Options, Snapshot, SyncMode};

const BATCH_ENTRIES: usize = 1_000;

/// A database with these entries, written in random order.
fn load(dir: &Path, entries: &[Entry]) -> Result<Db, Failure> {
    let db = Options::new().engine(EngineKind::Kv).sync(SyncMode::None).open(dir)?;
    let (mut shuffled, mut random) = (entries.to_vec(), Random(3));
    for index in (1..shuffled.len()).rev() {
        shuffled.swap(index, random.below(index + 1));
    }
    for entries in shuffled.chunks(BATCH_ENTRIES) {
        let mut batch = Batch::new();
        for (key, value) in entries.iter().map(split) {
            batch.set(key, value);
        }
        db.write(batch)?;
    }
    db.close();
    Ok(db)
}

fn get(db: &Db, key: &[u8]) -> Option<u64> {
    db.get(key).ok().flatten().map(|value| touch(&value))
}

fn snapshot_get(snapshot: &Snapshot, key: &[u8]) -> Option<u64> {
    snapshot.get(key).ok().flatten().map(|value| touch(&value))
}

fn walk(db: &Db, range: &KeyRange, direction: Direction, limit: usize) -> kvdb::Result<Done> {
    let (mut count, mut sum) = (0, 0_u64);
    let snapshot = db.snapshot()?;
    let mut cursor = snapshot.cursor(range, direction)?;
    while count < limit
        && let Some((_, value)) = cursor.next()?
    {
        sum = sum.wrapping_add(touch(value));
        count += 1;
    }
    Ok((count, sum))
}

fn seek(db: &Db, key: &common::Key) -> Done {
    let range = KeyRange::from(Key::from(key)..);
    walk(db, &range, Direction::Forward, SEEK_ENTRIES).unwrap_or_default()
}

fn main() -> Result<(), Failure> {
    let (count, rounds) = common::arguments();
    let dir = tempfile::tempdir_in(".")?;
    let data = Data::new(count);
    let db = load(&dir.path().join("db"), &data.entries)?;
    let runs = db.stats()?.runs;
    measure_all(&data, &db, rounds)?;
    writeln!(
        std::io::stdout(),
        "\nAbove: {runs} runs, as the load left them. Below: 1 run, after a compaction."
    )?;
    db.compact()?;
    measure_all(&data, &db, rounds)
}

fn measure_all(data: &Data, db: &Db, rounds: usize) -> Result<(), Failure> {
    let snapshot = db.snapshot()?;
    beside::print_head(data.entries.len(), "kvdb")?;
    for (name, array, measured) in cases(data, db, &snapshot) {
        measure(name, &array, &measured, rounds)?;
    }
    Ok(())
}

fn cases<'a>(data: &'a Data, db: &'a Db, snapshot: &'a Snapshot) -> Vec<(&'static str, Work<'a>, Work<'a>)> {
    let gets = || data.gets(|key| get(db, key));
    let misses = || data.misses(|key| get(db, key));
    let snapshot_gets = || data.gets(|key| snapshot_get(snapshot, key));
    let scan = |direction| -> Work<'a> {
        Box::new(move || walk(db, &KeyRange::all(), direction, usize::MAX).unwrap_or_default())
    };
    vec![
        ("get, present", data.array_gets(), gets()),
        ("get, present, 2 threads", twice(data.array_gets()), twice(gets())),
        ("get, absent", data.array_misses(), misses()),
        ("get, absent, 2 threads", twice(data.array_misses()), twice(misses())),
        ("get from a snapshot", data.array_gets(), snapshot_gets()),
        ("get from a snapshot, 2 threads", twice(data.array_gets()), twice(snapshot_gets())),
        ("scan", data.array_scan(), scan(Direction::Forward)),
        ("scan in reverse", data.array_scan_in_reverse(), scan(Direction::Reverse)),
        ("snapshot + seek + 100", data.array_seeks(), data.seeks(|key| seek(db, key))),
    ]
}
