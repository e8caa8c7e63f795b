//! Durable single puts beside the device's limit: a bare loop that overwrites a zero-filled file and syncs.
//!
//! `cargo bench --bench durable [-- ROUNDS]`. Both write records of the same length, in turns of 100 operations in the same
//! run, so that a machine whose speed drifts moves both. Printed are medians per operation and the ratio of rates.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kvdb::{Db, Options, SyncMode};

const OPERATIONS_PER_TURN: u32 = 100;
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
    let db = Options::new().sync(SyncMode::Each).open(dir.path().join("db"))?;
    let mut times = (Vec::new(), Vec::new());
    for round in 0..rounds {
        time_each(&mut times.0, || raw.put(&[1; RECORD_BYTES]))?;
        let mut key = u64::from(round) << 32;
        time_each(&mut times.1, || put(&db, &mut key))?;
    }
    report(&mut times.0, &mut times.1)
}

fn put(db: &Db, key: &mut u64) -> Result<(), Failure> {
    *key += 1;
    Ok(db.set(format!("{key:0KEY_BYTES$x}"), vec![1; VALUE_BYTES])?)
}

fn report(raw: &mut [Duration], kvdb: &mut [Duration]) -> Result<(), Failure> {
    let (raw_mean, kvdb_mean) = (mean(raw), mean(kvdb));
    let (raw, kvdb) = (median(raw), median(kvdb));
    let ratio = |raw: Duration, kvdb: Duration| raw.as_secs_f64() / kvdb.as_secs_f64();
    let mut out = std::io::stdout().lock();
    writeln!(out, "| durable put of {KEY_BYTES} + {VALUE_BYTES} bytes | raw | kvdb | rate, kvdb / raw |")?;
    writeln!(out, "|---|---|---|---|")?;
    writeln!(out, "| median | {raw:.1?} | {kvdb:.1?} | {:.3} |", ratio(raw, kvdb))?;
    writeln!(out, "| mean | {raw_mean:.1?} | {kvdb_mean:.1?} | {:.3} |", ratio(raw_mean, kvdb_mean))?;
    Ok(())
}
