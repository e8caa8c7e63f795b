//! Durable single puts beside the device's limit: a bare loop that overwrites a zero-filled file and syncs.
//!
//! `cargo bench --bench durable [-- ROUNDS]`. Both write records of the same length, in turns of 100 operations in the same
//! run, so that a machine whose speed drifts moves both. Printed are medians per operation and the ratio of rates; in the
//! last line four threads of one process put at once, beside the bare loop of one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kvdb::{Db, Options, SyncMode};

const OPERATIONS_PER_TURN: u32 = 100;
const THREADS: u32 = 4;
const DEFAULT_ROUNDS: u32 = 30;
const RAW_FILE_BYTES: u64 = 4 << 20;
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;
/// What a put of that size takes in the log: 40 bytes of record header, 8 of operation header, padding.
const RECORD_BYTES: usize = 168;

type Failure = Box<dyn std::error::Error>;

/// The device's limit: overwrite in place, sync, move on, wrap around.
struct Raw {
    file: File,
    offset: u64,
}

impl Raw {
    fn create(path: &Path) -> Result<Self, Failure> {
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all(&vec![0; usize::try_from(RAW_FILE_BYTES)?])?;
        file.sync_all()?;
        Ok(Self { file, offset: 0 })
    }

    fn put(&mut self, record: &[u8]) -> Result<(), Failure> {
        if self.offset + record.len() as u64 > RAW_FILE_BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(record, self.offset)?;
        self.file.sync_data()?;
        self.offset += record.len() as u64;
        Ok(())
    }
}

fn time_each(
    times: &mut Vec<Duration>,
    mut operation: impl FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    for _ in 0..OPERATIONS_PER_TURN {
        let start = Instant::now();
        operation()?;
        times.push(start.elapsed());
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap_or(u32::MAX)
}

fn main() -> Result<(), Failure> {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(DEFAULT_ROUNDS);
    let dir = tempfile::tempdir_in(".")?;
    let mut raw = Raw::create(&dir.path().join("raw"))?;
    let open = |name, mode| Options::new().sync(mode).open(dir.path().join(name));
    let (db, shared) = (open("db", SyncMode::Each)?, open("shared", SyncMode::Group)?);
    let mut times = (Vec::new(), Vec::new());
    let mut turns = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let before = times.0.len();
        time_each(&mut times.0, || raw.put(&[1; RECORD_BYTES]))?;
        turns.0.push(times.0[before..].iter().sum());
        let mut key = u64::from(round) << 32;
        time_each(&mut times.1, || Ok(put(&db, &mut key)?))?;
        turns.1.push(time_threads(&shared, key)?);
    }
    report(&mut times.0, &mut times.1)?;
    report_threads(&mut turns.0, &mut turns.1, &shared)
}

fn put(db: &Db, key: &mut u64) -> kvdb::Result<()> {
    *key += 1;
    db.set(format!("{key:0KEY_BYTES$x}"), vec![1; VALUE_BYTES])
}

/// A turn of each of the threads, at once.
fn time_threads(db: &Db, first: u64) -> Result<Duration, Failure> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut key = first + (u64::from(thread) << 24);
                scope.spawn(move || (0..OPERATIONS_PER_TURN).try_for_each(|_| put(db, &mut key)))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?.map_err(Failure::from))
    })?;
    Ok(start.elapsed())
}

fn report(raw: &mut [Duration], kvdb: &mut [Duration]) -> Result<(), Failure> {
    let (raw_mean, kvdb_mean) = (mean(raw), mean(kvdb));
    let (raw, kvdb) = (median(raw), median(kvdb));
    let mut out = std::io::stdout().lock();
    writeln!(out, "| durable put of {KEY_BYTES} + {VALUE_BYTES} bytes | raw | kvdb | rate, kvdb / raw |")?;
    writeln!(out, "|---|---|---|---|")?;
    writeln!(out, "| median | {raw:.1?} | {kvdb:.1?} | {:.3} |", ratio(raw, kvdb))?;
    writeln!(out, "| mean | {raw_mean:.1?} | {kvdb_mean:.1?} | {:.3} |", ratio(raw_mean, kvdb_mean))?;
    Ok(())
}

/// Rates of all threads together, beside one raw thread.
fn report_threads(raw: &mut [Duration], kvdb: &mut [Duration], db: &Db) -> Result<(), Failure> {
    let (raw, kvdb) = (median(raw) / OPERATIONS_PER_TURN, median(kvdb) / (OPERATIONS_PER_TURN * THREADS));
    let stats = db.stats()?;
    let puts_per_sync = float(stats.commits) / float(stats.syncs);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| {THREADS} threads, median turn, per put | {raw:.1?} | {kvdb:.1?} ({puts_per_sync:.1} puts per sync) | {:.3} |",
        ratio(raw, kvdb)
    )?;
    Ok(())
}

/// Counts of a benchmark are below 2³².
fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

fn ratio(raw: Duration, kvdb: Duration) -> f64 {
    raw.as_secs_f64() / kvdb.as_secs_f64()
}
