//! Writing among snapshots: what a transaction and a scan between two writes cost beside the same work without the other.
//!
//! `cargo bench --bench mixed [-- KEYS [ROUNDS]] [NAMES]`. Nothing is synced, so that the work in memory shows. Both sides of a
//! line take turns in the same run, each on a database of its own. Printed are medians of all rounds and the ratio of rates.

mod common;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use common::{Failure, KEY_BYTES, Random, VALUE_BYTES, float, median, touch};
use kvdb::{Db, Direction, EngineKind, Key, KeyRange, Options, SyncMode};

const OPERATIONS_PER_ROUND: u64 = 20_000;
/// Of so many operations of a mix, one is an insert and the others are scans.
const MIX: u64 = 20;
/// Entries of the longest scan of a mix.
const SCAN_ENTRIES: usize = 100;

/// A database and the stream of keys that goes into it.
struct Side {
    db: Db,
    random: Random,
}

/// One operation, the how-manieth it is given.
type Operation = fn(&mut Side, u64) -> kvdb::Result<u64>;

fn insert(side: &mut Side, _: u64) -> kvdb::Result<u64> {
    let key = side.random.key();
    side.db.set(&key, &[7; VALUE_BYTES]).map(|()| 1)
}

fn transaction(side: &mut Side, _: u64) -> kvdb::Result<u64> {
    let mut transaction = side.db.begin()?;
    transaction.set(&side.random.key(), &[7; VALUE_BYTES]);
    transaction.commit().map(|()| 1)
}

fn scan(side: &mut Side, _: u64) -> kvdb::Result<u64> {
    let range = KeyRange::from(Key::from(&side.random.key())..);
    let limit = 1 + side.random.below(SCAN_ENTRIES);
    let snapshot = side.db.snapshot()?;
    let mut cursor = snapshot.cursor(&range, Direction::Forward)?;
    let mut sum = 0_u64;
    for _ in 0..limit {
        let Some((_, value)) = cursor.next()? else { break };
        sum = sum.wrapping_add(touch(value));
    }
    Ok(sum)
}

/// As YCSB E: mostly scans.
fn mix(side: &mut Side, number: u64) -> kvdb::Result<u64> {
    if number.is_multiple_of(MIX) { insert(side, number) } else { scan(side, number) }
}

/// As many inserts as scans.
fn halves(side: &mut Side, number: u64) -> kvdb::Result<u64> {
    if number.is_multiple_of(2) { insert(side, number) } else { scan(side, number) }
}

fn open(dir: &Path, keys: usize) -> Result<Side, Failure> {
    let db = Options::new().engine(EngineKind::Kv).sync(SyncMode::None).open(dir)?;
    let mut side = Side { db, random: Random(1) };
    let mut batch = kvdb::Batch::new();
    for _ in 0..keys {
        batch.set(&side.random.key(), &[7; VALUE_BYTES]);
        if batch.len() == 1_000 {
            side.db.write(std::mem::take(&mut batch))?;
        }
    }
    side.db.write(batch)?;
    side.db.compact()?;
    Ok(side)
}

fn rate(side: &mut Side, operation: Operation) -> Result<f64, Failure> {
    let start = Instant::now();
    for number in 0..OPERATIONS_PER_ROUND {
        std::hint::black_box(operation(side, number)?);
    }
    Ok(float(OPERATIONS_PER_ROUND) / start.elapsed().as_secs_f64())
}

fn main() -> Result<(), Failure> {
    let (keys, rounds) = common::arguments();
    let dir = tempfile::tempdir_in(".")?;
    writeln!(
        std::io::stdout(),
        "| {keys} keys of {KEY_BYTES} + {VALUE_BYTES} bytes | alone | among the other | ratio of rates |\n|---|---|---|---|"
    )?;
    let cases: [(&str, Operation, Operation); 3] = [
        ("set; begin, set, commit", insert, transaction),
        ("scan of 1 to 100; 95 % of them, 5 % inserts", scan, mix),
        ("scan of 1 to 100; half of them, half inserts", scan, halves),
    ];
    for (number, (name, alone, among)) in cases.into_iter().enumerate() {
        if !common::is_asked_for(name) {
            continue;
        }
        let mut sides = (
            open(&dir.path().join(format!("{number}-alone")), keys)?,
            open(&dir.path().join(format!("{number}-among")), keys)?,
        );
        let mut rates = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            rates.0.push(rate(&mut sides.0, alone)?);
            rates.1.push(rate(&mut sides.1, among)?);
        }
        let (alone, among) = (median(rates.0), median(rates.1));
        writeln!(
            std::io::stdout(),
            "| {name} | {:.0} k/s | {:.0} k/s | {:.3} |",
            alone / 1e3,
            among / 1e3,
            among / alone
        )?;
    }
    Ok(())
}
