//! A directory that is swapped for another at any moment of a command: what is there then is left alone, and what was acknowledged
//! is where the directory went.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ENGINE, open_as, report};
use crate::db::Db;
use crate::engine::tests::{DIR, open_in};
use crate::error::{ErrorKind, Result};
use crate::options::Options;
use crate::storage::fs::Fs as _;
use crate::storage::fs::sim::{Op, SimFs};

const OTHER: &str = "/other";
const ASIDE: &str = "/aside";

type Command = (&'static str, fn(&Db) -> Result<()>);

const COMMANDS: [Command; 4] = [
    ("set", |db| db.set("new", "v")),
    ("set what needs another segment", |db| db.set("new", vec![b'v'; 200_000])),
    ("compact", |db| db.compact().map(drop)),
    ("bulk", |db| {
        let mut bulk = db.bulk()?;
        for number in 0..400 {
            bulk.set(format!("new {number}"), "v")?;
        }
        bulk.commit()
    }),
];

/// Two databases whose files have the same names.
fn two_databases() -> SimFs {
    let disk = SimFs::new();
    for dir in [DIR, OTHER] {
        let db = open_in(&disk.process(), dir, &Options::new().engine(ENGINE)).unwrap();
        for _ in 0..3 {
            db.set("key", vec![b'v'; 60_000]).unwrap();
            db.compact().unwrap();
        }
        db.set(dir, "v").unwrap();
    }
    disk
}

/// Whether a call goes by an open file: what goes by path is looked at before, and nobody looks in between.
fn is_on_a_file(op: Op) -> bool {
    matches!(op, Op::Read | Op::Write | Op::Allocate | Op::SyncData | Op::Size | Op::TryLock(_) | Op::Unlock)
}

/// Puts the other database in the place of the first when the call of this number is made on an open file. Returns the counter of
/// such calls.
fn swap_at(disk: &SimFs, number: u64) -> Arc<AtomicU64> {
    let calls = Arc::new(AtomicU64::new(0));
    let (counted, process) = (Arc::clone(&calls), disk.process());
    disk.set_observer_of_all(Arc::new(move |call, _| {
        if is_on_a_file(call.op) && counted.fetch_add(1, Ordering::Relaxed) + 1 == number {
            process.rename(Path::new(DIR), Path::new(ASIDE)).unwrap();
            process.rename(Path::new(OTHER), Path::new(DIR)).unwrap();
            // So long that nobody goes by an earlier look any more.
            std::thread::sleep(Duration::from_millis(1));
        }
    }));
    calls
}

fn bytes(disk: &SimFs, dir: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let names = disk.list(dir).unwrap().into_iter();
    names.map(|name| (name.clone(), disk.read_file(Path::new(dir).join(name)).unwrap())).collect()
}

#[test]
fn a_database_that_takes_the_place_of_another_is_left_alone() {
    let begun = two_databases();
    let (mut swaps, mut acknowledged) = (0, 0);
    for (name, command) in COMMANDS {
        for number in 1.. {
            let disk = begun.clone_disk();
            let db = open_as(&disk.process(), &Options::new()).unwrap();
            db.set("mine", "v").unwrap();
            let before = bytes(&disk, OTHER);
            let calls = swap_at(&disk, number);
            let outcome = command(&db);
            if calls.load(Ordering::Relaxed) < number {
                outcome.unwrap();
                break;
            }
            drop(db);
            swaps += 1;
            assert!(bytes(&disk, DIR) == before, "{name}, call {number}: {outcome:?}");
            let moved = open_in(&disk.process(), ASIDE, &Options::new()).unwrap();
            assert!(moved.get("mine").unwrap().is_some(), "{name}, call {number}");
            match outcome {
                Ok(()) if name == "compact" => {}
                Ok(()) => {
                    acknowledged += 1;
                    let found = moved.get("new").unwrap().or(moved.get("new 399").unwrap());
                    assert!(found.is_some(), "{name}, call {number}: it was acknowledged");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{name}, call {number}: {error}"),
            }
        }
    }
    report("directories swapped", &format!("{swaps} times, {acknowledged} writes acknowledged"));
    assert!(swaps > 50 && acknowledged > 3, "{swaps} {acknowledged}");
}
