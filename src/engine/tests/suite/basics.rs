//! What every engine does on a good day: one process, several, small values and large.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ENGINE, files, open, segments, try_open};
use crate::db::Db;
use crate::engine::tests::contents;
use crate::error::Error;
use crate::options::Options;
use crate::storage::fs::sim::SimFs;
use crate::types::{Batch, Direction, EngineKind, KeyRange, SyncMode};

fn get(db: &Db, key: &str) -> Option<String> {
    db.get(key).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("a", "1").unwrap();
    db.set("b", "2").unwrap();
    assert!(db.delete("a").unwrap());
    assert!(!db.delete("a").unwrap());
    for db in [db, open(&disk)] {
        assert_eq!(get(&db, "a"), None);
        assert_eq!(get(&db, "b").as_deref(), Some("2"));
        assert_eq!(db.stats().unwrap().keys, 1);
        assert_eq!(db.stats().unwrap().lsn.0, 3);
    }
}

#[test]
fn two_handles_see_each_others_writes_at_once() {
    let disk = SimFs::new();
    let (one, two) = (open(&disk), open(&disk));
    for round in 0..200 {
        one.set("k", format!("one {round}")).unwrap();
        assert_eq!(get(&two, "k"), Some(format!("one {round}")));
        two.set("k", format!("two {round}")).unwrap();
        assert_eq!(get(&one, "k"), Some(format!("two {round}")));
    }
}

#[test]
fn a_log_of_many_segments_reads_back() {
    let disk = SimFs::new();
    let db = open(&disk);
    let other = open(&disk);
    for round in 0..50_u8 {
        db.set(format!("key {round:03}"), vec![round; 7_000]).unwrap();
    }
    db.set("large", vec![7; 9 << 20]).unwrap();
    db.set("small", "x").unwrap();
    for db in [db, other, open(&disk)] {
        assert_eq!(db.stats().unwrap().keys, 52);
        assert_eq!(db.get("key 049").unwrap().unwrap(), &vec![49; 7_000][..]);
        assert_eq!(db.get("large").unwrap().unwrap().len(), 9 << 20);
    }
    assert!(segments(&disk) > 3, "the log was meant to be rotated");
    assert_eq!(files(&disk, ".sst").is_empty(), ENGINE == EngineKind::Simple);
}

#[test]
fn compaction_keeps_what_is_live_and_other_handles_go_on() {
    let disk = SimFs::new();
    let (db, behind, reader) = (open(&disk), open(&disk), open(&disk));
    for round in 0..3_000_u32 {
        db.set(format!("k{}", round % 10), round.to_le_bytes().repeat(50)).unwrap();
    }
    assert_eq!(reader.stats().unwrap().keys, 10);
    let snapshot = reader.snapshot().unwrap();
    let before = contents(&db);
    let compaction = db.compact().unwrap();
    assert!(compaction.bytes_after < compaction.bytes_before, "{compaction:?}");
    db.set("new", "1").unwrap();
    behind.set("newer", "2").unwrap();
    for db in [&db, &behind, &reader, &open(&disk)] {
        let mut expected = before.clone();
        expected.extend([("new".into(), "1".into()), ("newer".into(), "2".into())]);
        assert_eq!(contents(db), expected);
    }
    let frozen: Vec<_> =
        snapshot.into_scan(KeyRange::all(), Direction::Forward).map(Result::unwrap).collect();
    assert_eq!(frozen, before);
    db.compact().unwrap();
    assert_eq!(contents(&open(&disk)), contents(&db));
}

#[test]
fn a_snapshot_outlives_merges_by_another_process() {
    let disk = SimFs::new();
    let (db, other) = (open(&disk), open(&disk));
    for round in 0..30_u8 {
        db.set(format!("{}", round % 7), vec![round; 20_000]).unwrap();
    }
    db.delete("3").unwrap();
    let snapshot = db.snapshot().unwrap();
    let before = contents(&db);
    for mark in 100..103_u8 {
        for key in 0..7 {
            other.set(format!("{key}"), vec![mark; 20_000]).unwrap();
        }
        other.delete("5").unwrap();
        other.compact().unwrap();
    }
    for key in 0..7_u8 {
        let expected = before.iter().find(|(name, _)| **name == *format!("{key}").as_bytes());
        assert_eq!(
            snapshot.get(format!("{key}")).unwrap(),
            expected.map(|(_, value)| value.clone()),
            "{key}"
        );
    }
    let mut backwards: Vec<_> =
        snapshot.into_scan(KeyRange::all(), Direction::Reverse).map(Result::unwrap).collect();
    backwards.reverse();
    assert_eq!(backwards, before);
    assert_eq!(contents(&db), contents(&open(&disk)));
    assert_eq!(contents(&db).len(), 6);
}

/// Before every call that changes the disk, while a writer fills segments, flushes and compacts, another process reads.
#[test]
fn a_reader_goes_on_while_another_process_flushes_and_merges() {
    let disk = SimFs::new();
    let writer = open(&disk);
    writer.set("fixed", "value").unwrap();
    let reader = try_open(&disk, &Options::new().lock_timeout(Duration::from_millis(1))).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let reads = Arc::new(AtomicU64::new(0));
    let (least, counted) = (Arc::clone(&acknowledged), Arc::clone(&reads));
    disk.set_observer_of_all(Arc::new(move |call, _| {
        if call.process != 1 {
            return;
        }
        let least = least.load(Ordering::SeqCst);
        let found = match reader.get("round") {
            Ok(found) => found.map_or(0, |value| u64::from_le_bytes(value[..8].try_into().unwrap())),
            Err(Error::Busy { .. }) => return,
            Err(error) => panic!("before {call}: {error}"),
        };
        assert!((least..=least + 1).contains(&found), "before {call}: {found} after {least}");
        assert_eq!(reader.get("fixed").unwrap().unwrap(), b"value");
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    for round in 1..=30_u64 {
        writer.set("round", round.to_le_bytes().repeat(2_500)).unwrap();
        acknowledged.store(round, Ordering::SeqCst);
        if round % 12 == 0 {
            writer.compact().unwrap();
        }
    }
    drop(writer);
    assert!(segments(&disk) > 3);
    assert!(reads.load(Ordering::Relaxed) > 50, "{reads:?} reads");
}

#[test]
fn transactions_of_two_handles_conflict_on_the_key_that_both_wrote() {
    let disk = SimFs::new();
    let (one, two) = (open(&disk), open(&disk));
    one.set("shared", "0").unwrap();
    let (mut first, mut second) = (one.begin().unwrap(), two.begin().unwrap());
    first.set("shared", "1");
    second.set("shared", "2");
    second.set("own", "2");
    one.compact().unwrap();
    first.commit().unwrap();
    assert!(matches!(second.commit(), Err(Error::Conflict { key }) if key == b"shared"));
    assert_eq!(get(&two, "shared").as_deref(), Some("1"));
    assert_eq!(get(&two, "own"), None);
}

#[test]
fn a_compaction_between_begin_and_commit_is_no_conflict() {
    let disk = SimFs::new();
    let (one, two) = (open(&disk), open(&disk));
    one.set("a", "0").unwrap();
    let mut transaction = two.begin().unwrap();
    for round in 0..100 {
        one.set("b", vec![round; 5_000]).unwrap();
    }
    one.compact().unwrap();
    one.compact().unwrap();
    transaction.set("a", "1");
    transaction.commit().unwrap();
    assert_eq!(get(&one, "a").as_deref(), Some("1"));
}

#[test]
fn a_turn_that_is_dropped_leaves_nothing_behind() {
    let disk = SimFs::new();
    let (one, two) = (open(&disk), open(&disk));
    let mut turn = one.turn("test").unwrap();
    let mut batch = Batch::new();
    batch.set("k", "v");
    turn.write(batch).unwrap();
    assert_eq!(turn.entry(b"k").unwrap().unwrap().value, b"v");
    drop(turn);
    assert_eq!(get(&one, "k"), None);
    two.set("k", "w").unwrap();
    assert_eq!(get(&one, "k").as_deref(), Some("w"));
}

#[test]
fn threads_share_syncs_and_lose_nothing() {
    const THREADS: usize = 8;
    const WRITES: usize = 200;
    let disk = SimFs::new();
    let db = open(&disk);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let db = &db;
            scope.spawn(move || {
                for write in 0..WRITES {
                    db.set(format!("{thread}/{write}"), "v").unwrap();
                    assert!(db.get(format!("{thread}/{write}")).unwrap().is_some());
                }
            });
        }
    });
    assert_eq!(db.stats().unwrap().keys, (THREADS * WRITES) as u64);
    assert_eq!(open(&disk).stats().unwrap().lsn.0, (THREADS * WRITES) as u64);
}

#[test]
fn every_sync_mode_reads_back() {
    for sync in [SyncMode::Each, SyncMode::Group, SyncMode::None] {
        let disk = SimFs::new();
        let db = try_open(&disk, &Options::new().sync(sync)).unwrap();
        for round in 0..100 {
            db.set(format!("{round}"), vec![1; 2_000]).unwrap();
        }
        assert_eq!(open(&disk).stats().unwrap().keys, 100);
        let syncs = db.stats().unwrap().syncs;
        assert_eq!(syncs >= 100, sync != SyncMode::None, "{sync:?}: {syncs}");
    }
}

#[test]
fn a_database_that_can_not_be_written_can_be_read() {
    let disk = SimFs::new();
    open(&disk).set("k", "v").unwrap();
    let db = try_open(&disk, &Options::new().read_only(true)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some("v"));
    assert!(matches!(db.set("k", "w"), Err(Error::ReadOnly { .. })));
}

#[test]
fn reading_never_creates_a_database() {
    let disk = SimFs::new();
    let opened = try_open(&disk, &Options::new().create(false));
    assert!(matches!(opened, Err(Error::NoDatabase { .. })));
    assert!(disk.list("/").unwrap().is_empty());
}

#[test]
fn what_is_too_long_is_refused_and_the_turn_goes_on() {
    let disk = SimFs::new();
    let db = open(&disk);
    assert!(matches!(db.set(vec![0; 65_536], "v"), Err(Error::KeyTooLong { len: 65_536 })));
    db.set(vec![0; 65_535], "v").unwrap();
    db.set("", "").unwrap();
    assert_eq!(open(&disk).get("").unwrap().unwrap(), b"");
    assert_eq!(db.stats().unwrap().keys, 2);
}
