//! Processes that meet: one that never lets go, one that reads slowly, two that create, two builds of different ages, and notes
//! that hold garbage.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{ENGINE, open, open_as, report, try_open};
use crate::engine::tests::{DIR, contents};
use crate::error::Error;
use crate::options::Options;
use crate::storage::FORMAT;
use crate::storage::fs::sim::SimFs;
use crate::storage::fs::{Fs as _, LockKind, OpenMode};
use crate::types::{Direction, EngineKind, KeyRange};

const PATIENCE: Duration = Duration::from_millis(30);

fn impatient(disk: &SimFs) -> crate::db::Db {
    try_open(disk, &Options::new().lock_timeout(PATIENCE)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

#[test]
fn who_waits_too_long_is_told_for_whom() {
    let disk = SimFs::new();
    let holder = open(&disk);
    holder.set("k", "v").unwrap();
    let waiting = impatient(&disk);
    assert!(waiting.get("k").unwrap().is_some());
    let turn = holder.turn("incr").unwrap();
    let Err(Error::Busy { lock, waited, holder: Some(named) }) = waiting.set("k", "w") else {
        panic!("it was to be busy");
    };
    assert_eq!((lock, named.pid, named.command.as_str()), ("LOCK", std::process::id(), "incr"));
    assert!(waited >= PATIENCE, "{waited:?}");
    let stats = waiting.stats().unwrap();
    assert!(stats.lock_waits > 0 && u128::from(stats.lock_wait_micros) >= PATIENCE.as_micros(), "{stats:?}");
    assert_eq!(holder.stats().unwrap().lock_waits, 0);
    assert!(waiting.get("k").unwrap().is_some(), "what is not behind needs no lock");
    let text = impatient(&disk).get("k").unwrap_err().to_string();
    assert!(text.contains("incr"), "{text}");
    turn.commit().unwrap();
    waiting.set("k", "w").unwrap();
    assert_eq!(holder.get("k").unwrap().unwrap(), b"w");
}

/// Nobody waits, so the turnstile is passed by; but not forever, because the note that says so may be wrong.
#[test]
fn who_is_told_that_nobody_waits_queues_now_and_then_all_the_same() {
    let disk = SimFs::new();
    let db = impatient(&disk);
    db.set("k", "v").unwrap();
    let process = disk.process();
    let turnstile = process.open(&path("TURN"), OpenMode::Read).unwrap();
    assert!(turnstile.try_lock(LockKind::Exclusive).unwrap());
    let outcome = (0..1_000).find_map(|number| Some((number, db.set("k", "v").err()?)));
    let (unqueued, error) = outcome.expect("it queues at last");
    assert!((1..100).contains(&unqueued), "{unqueued}");
    assert!(matches!(error, Error::Busy { lock: "TURN", .. }), "{error}");
}

#[test]
fn who_is_told_that_somebody_waits_queues() {
    let disk = SimFs::new();
    let (holder, waiting) = (open(&disk), open(&disk));
    holder.set("k", "v").unwrap();
    let quiet = disk.read_file(path("SHM")).unwrap();
    let turn = holder.turn("test").unwrap();
    let busy = std::thread::scope(|scope| {
        scope.spawn(|| waiting.set("k", "w").unwrap());
        let mut notes = (0..10_000).map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            disk.read_file(path("SHM")).unwrap()
        });
        let busy =
            notes.find(|notes| notes[192..] != quiet[192..]).expect("the waiting thread leaves a note");
        turn.commit().unwrap();
        busy
    });
    assert_eq!(disk.read_file(path("SHM")).unwrap()[192..], quiet[192..], "nobody waits any more");
    disk.write_file(path("SHM"), &busy).unwrap();
    let process = disk.process();
    let turnstile = process.open(&path("TURN"), OpenMode::Read).unwrap();
    assert!(turnstile.try_lock(LockKind::Exclusive).unwrap());
    let error = impatient(&disk).set("k", "x").unwrap_err();
    assert!(matches!(error, Error::Busy { lock: "TURN", .. }), "{error}");
    drop(process);
}

#[test]
fn a_second_compaction_is_told_that_one_is_running() {
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("k", "v").unwrap();
    let other = impatient(&disk);
    let result = db.compact_with(&mut |_| {
        assert!(matches!(other.compact(), Err(Error::Busy { lock: "MAINT" | "MERGE", .. })));
        other.set("k", "w").unwrap();
        true
    });
    result.unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), b"w");
    other.compact().unwrap();
}

#[test]
fn an_interrupted_compaction_changes_nothing() {
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("k", "v").unwrap();
    assert!(matches!(db.compact_with(&mut |_| false), Err(Error::Interrupted)));
    db.set("k", "w").unwrap();
    db.compact().unwrap();
    assert_eq!(contents(&open(&disk)), [("k".into(), "w".into())]);
}

/// One that writes tables; what is one batch anyway is soon written.
#[test]
fn an_interrupted_bulk_changes_nothing() {
    if ENGINE != EngineKind::Kv {
        return;
    }
    let disk = SimFs::new();
    let raised = Arc::new(AtomicBool::new(false));
    let db = try_open(&disk, &Options::new().interrupt(Arc::clone(&raised))).unwrap();
    db.set("k", "v").unwrap();
    let mut bulk = db.bulk().unwrap();
    for key in 0..200 {
        bulk.set(format!("{key}"), vec![7; 100]).unwrap();
    }
    raised.store(true, Ordering::SeqCst);
    assert!(matches!(bulk.commit(), Err(Error::Interrupted)));
    raised.store(false, Ordering::SeqCst);
    for db in [&db, &open(&disk)] {
        assert_eq!(contents(db), [("k".into(), "v".into())]);
    }
    db.set("k", "w").unwrap();
    db.compact().unwrap();
    assert_eq!(contents(&open(&disk)), [("k".into(), "w".into())]);
}

#[test]
fn a_reader_slower_than_two_compactions_catches_up() {
    let disk = SimFs::new();
    let (db, slow, slower) = (open(&disk), open(&disk), open(&disk));
    db.set("k", "0").unwrap();
    assert!(slow.get("k").unwrap().is_some());
    let frozen = slow.snapshot().unwrap();
    for round in 1..=3 {
        for write in 0..20 {
            db.set(format!("{write}"), vec![round; 9_000]).unwrap();
        }
        db.set("k", round.to_string()).unwrap();
        db.compact().unwrap();
    }
    assert_eq!(frozen.get("k").unwrap().unwrap(), b"0");
    assert_eq!(frozen.into_scan(KeyRange::all(), Direction::Forward).count(), 1);
    for reader in [&slow, &slower] {
        assert_eq!(reader.get("k").unwrap().unwrap(), b"3");
        assert_eq!(contents(reader), contents(&db));
    }
    slow.set("k", "4").unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), b"4");
}

/// The other process compacts, twice, between any two calls of the one that opens, reads, writes and rotates.
#[test]
fn compactions_at_any_moment_disturb_nobody() {
    let mut compactions = 0;
    for number in 1_u64.. {
        let disk = SimFs::new();
        let db = impatient(&disk);
        for round in 0..3 {
            db.set("k", vec![round; 30_000]).unwrap();
        }
        let process = disk.process();
        let opening = process.id();
        let (calls, compacted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, successes, compacting) = (Arc::clone(&calls), Arc::clone(&compacted), db.clone());
        disk.set_observer_of_all(Arc::new(move |call, _| {
            if call.process == opening && counted.fetch_add(1, Ordering::Relaxed) + 1 == number {
                for _ in 0..2 {
                    // It is refused while the other process has the lock.
                    successes.fetch_add(u64::from(compacting.compact().is_ok()), Ordering::Relaxed);
                }
            }
        }));
        let other = open_as(&process, &Options::new().lock_timeout(PATIENCE)).unwrap();
        assert_eq!(other.get("k").unwrap().unwrap(), &vec![2; 30_000][..], "before call {number}");
        other.set("large", vec![7; 70_000]).unwrap();
        other.set("k", "new").unwrap();
        assert_eq!(other.stats().unwrap().keys, 2);
        for db in [&db, &other, &open(&disk)] {
            assert_eq!(db.get("k").unwrap().unwrap(), b"new", "before call {number}");
        }
        compactions += compacted.load(Ordering::Relaxed);
        if calls.load(Ordering::Relaxed) < number {
            break;
        }
    }
    report("locking", &format!("{compactions} compactions between two calls"));
}

#[test]
fn two_creators_end_up_in_one_database() {
    let mut raced = 0;
    for number in 1..60 {
        let disk = SimFs::new();
        let process = disk.process();
        let first = process.id();
        let other = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&other);
        disk.set_observer_of_all(Arc::new(move |call, disk| {
            if call.process == first && call.number == number {
                let db = impatient(disk);
                // Once the first process writes, it has the lock.
                let wrote = db.set("other", "1").is_ok();
                *slot.lock().unwrap() = wrote.then_some(db);
            }
        }));
        let db = open_as(&process, &Options::new()).unwrap();
        db.set("own", "2").unwrap();
        let Some(other) = other.lock().unwrap().take() else { continue };
        raced += 1;
        let expected = [("other".into(), "1".into()), ("own".into(), "2".into())];
        for db in [&db, &other, &open(&disk)] {
            assert_eq!(contents(db), expected, "at call {number}");
        }
        assert_eq!(disk.list("/").unwrap(), [PathBuf::from("db")], "the loser cleans up");
        let [nothing_kept, _] = disk.power_loss_extremes();
        assert_eq!(contents(&open(&nothing_kept)), expected, "at call {number}");
    }
    assert!(raced > 20, "{raced}");
    report("locking", &format!("{raced} races between two creators"));
}

#[test]
fn garbage_in_the_notes_harms_nobody() {
    let disk = SimFs::new();
    let (one, two) = (open(&disk), open(&disk));
    let mut old = Vec::new();
    for round in 0..60_u8 {
        let key = format!("{}", round % 7);
        one.set(key.as_str(), vec![round; 3_000]).unwrap();
        match round % 6 {
            0 => disk.write_file(path("SHM"), &[round; 300]).unwrap(),
            1 => disk.write_file(path("SHM"), b"").unwrap(),
            2 => disk.write_file(path("SHM"), &old).unwrap(),
            3 => disk.process().remove_file(&path("SHM")).unwrap(),
            4 => disk.flip_bit(path("SHM"), u64::from(round) * 3).unwrap_or(()),
            _ => old = disk.read_file(path("SHM")).unwrap_or_default(),
        }
        for db in [&two, &one, &open(&disk)] {
            assert_eq!(db.get(key.as_str()).unwrap().unwrap(), &vec![round; 3_000][..]);
        }
        if round % 13 == 0 {
            two.compact().unwrap();
        }
        two.set("two", vec![round; 10]).unwrap();
        assert_eq!(one.get("two").unwrap().unwrap(), &[round; 10][..]);
    }
}

#[test]
fn files_of_a_newer_format_are_left_alone() {
    for (name, version) in [("MANIFEST", 8), ("000001.wal", 8)] {
        let disk = SimFs::new();
        open(&disk).set("k", "v").unwrap();
        let mut bytes = disk.read_file(path(name)).unwrap();
        bytes[version] += 1;
        let header = if name == "MANIFEST" { bytes.len() } else { 72 };
        let crc = crc32fast::hash(&[&bytes[..12], &bytes[16..header]].concat());
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        disk.write_file(path(name), &bytes).unwrap();
        let error = try_open(&disk, &Options::new()).err().unwrap();
        let Error::Format { file, found, supported } = &error else { panic!("{name}: {error}") };
        assert_eq!((file, *found, *supported), (&path(name), FORMAT + 1, FORMAT));
        assert_eq!(disk.read_file(path(name)).unwrap(), bytes);
    }
}

/// A process that stands still while it has the lock is waited for; one that was killed is not.
#[test]
fn a_killed_holder_is_no_obstacle() {
    let disk = SimFs::new();
    open(&disk).set("k", "v").unwrap();
    let process = disk.process();
    let lock = process.open(&path("LOCK"), OpenMode::Read).unwrap();
    assert!(lock.try_lock(LockKind::Exclusive).unwrap());
    let waiting = impatient(&disk);
    assert!(matches!(waiting.set("k", "w"), Err(Error::Busy { .. })));
    assert!(matches!(waiting.get("k"), Err(Error::Busy { .. })));
    process.kill();
    waiting.set("k", "w").unwrap();
}
