//! The engine contract, held against a simulated disk.

mod agreement;
mod metamorphic;
mod oracle;
mod sightings;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::db::Db;
use crate::error::Result;
use crate::options::{Options, Pace};
use crate::storage::fs::sim::{Fault, Op, SimFs, SimProcess};
use crate::types::{Direction, Key, KeyRange, Value};

#[path = "."]
mod simple {
    const ENGINE: crate::types::EngineKind = crate::types::EngineKind::Simple;

    mod suite;
}

#[path = "."]
mod kv {
    const ENGINE: crate::types::EngineKind = crate::types::EngineKind::Kv;

    #[allow(clippy::duplicate_mod, reason = "the suite runs on each engine")]
    mod suite;
}

/// Where the databases of these tests lie.
const DIR: &str = "/db";

fn open_as(process: &Arc<SimProcess>, options: &Options) -> Result<Db> {
    open_in(process, DIR, options)
}

fn open_in(process: &Arc<SimProcess>, dir: &str, options: &Options) -> Result<Db> {
    let pace = if options.pace.in_background { Pace::SMALL } else { options.pace };
    let options = Options { pace, ..options.clone() };
    Ok(Db::from_engine(super::open_on(Arc::clone(process) as _, Path::new(dir), &options)?))
}

/// Everything that the database holds, in order.
fn contents(db: &Db) -> Vec<(Key, Value)> {
    let snapshot = db.snapshot().unwrap();
    let scan = |direction| snapshot.clone().into_scan(KeyRange::all(), direction);
    let entries: Vec<(Key, Value)> = scan(Direction::Forward).map(Result::unwrap).collect();
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut keys = Vec::new();
        let mut cursor = snapshot.key_cursor(&KeyRange::all(), direction).unwrap();
        while let Some((key, value_len)) = cursor.next().unwrap() {
            keys.push((Key::from(key), value_len));
        }
        if direction == Direction::Reverse {
            keys.reverse();
        }
        let expected: Vec<_> = entries.iter().map(|(key, value)| (key.clone(), value.len() as u64)).collect();
        assert_eq!(keys, expected, "a walk over keys shows others than a walk over entries");
    }
    entries
}

/// Makes the next call of this kind on a file whose name ends so fail with an I/O error.
fn fail_next(disk: &SimFs, op: Op, name: &'static str) {
    let done = AtomicBool::new(false);
    disk.set_observer(Arc::new(move |call, disk| {
        let applies = call.op == op && call.path.to_string_lossy().ends_with(name);
        if applies && !done.swap(true, Ordering::Relaxed) {
            disk.fail_at(call.number, Fault::Eio);
        }
    }));
}

/// Sebastiano Vigna's splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How many seeds a campaign runs for each of its places: `KVDB_SEEDS`, or `default`.
pub(crate) fn seeds(default: u64) -> u64 {
    std::env::var("KVDB_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(default)
}

/// Says what a campaign went through.
#[expect(
    clippy::print_stdout,
    reason = "the counts are what a campaign is run for; cargo shows them on request"
)]
pub(crate) fn report(campaign: &str, what: &str) {
    println!("{campaign}: {what}");
}
