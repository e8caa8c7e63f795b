//! What takes room: nothing that failed, or whose process died, and what expired for a while at most.

use std::path::PathBuf;

use super::*;
use crate::storage::fs::sim::{Fault, Op};
use crate::types::SetOptions;

const SECOND: Duration = Duration::from_secs(1);

/// Tables that the manifest does not name, and never did.
fn strays(disk: &SimFs) -> Vec<FileId> {
    let manifest = Manifest::read(&*disk.process(), "/db".as_ref()).unwrap().unwrap();
    let number = |name: PathBuf| name.to_str()?.strip_suffix(".sst")?.parse().ok().map(FileId);
    let mut tables: Vec<FileId> = disk.list("/db").unwrap().into_iter().filter_map(number).collect();
    tables.retain(|id| manifest.may_need_table(*id) && !manifest.names_table(*id));
    tables
}

/// A flush estimates how much it outdates; in that moment the tables that it asks are merged by another process.
#[test]
fn a_flush_does_not_fail_because_others_merge() {
    let disk = SimFs::new();
    let (first, mut model) = (open(&disk), BTreeMap::new());
    let db = Db::from_engine(first.clone());
    (1..4).for_each(|seed| write_run(&first, &db, &mut model, seed));
    let (other, merged) = (open(&disk), Arc::new(AtomicU64::new(0)));
    let (count, process) = (Arc::clone(&merged), disk.log().first().unwrap().process);
    disk.set_observer(Arc::new(move |call, _| {
        let is_flush = call.process == process && call.op == Op::SyncData;
        let is_table = call.path.extension().is_some_and(|extension| extension == "sst");
        if is_flush && is_table && count.fetch_add(1, Ordering::SeqCst) == 0 {
            merge_all(&other);
        }
    }));
    write_run(&first, &db, &mut model, 4);
    assert_eq!(merged.load(Ordering::SeqCst), 1);
    disk.set_observer(Arc::new(|_, _| ()));
    assert_same(&first, &model);
    assert_same(&open(&disk), &model);
}

/// Whatever call of a flush or a merge fails: no table stays that nobody knows.
#[test]
fn a_flush_or_a_merge_that_fails_leaves_no_table() {
    let disk = SimFs::new();
    let (first, mut model) = (open(&disk), BTreeMap::new());
    let db = Db::from_engine(first.clone());
    (1..4).for_each(|seed| write_run(&first, &db, &mut model, seed));
    db.set("key", "in the log").unwrap();
    drop((first, db));
    let works: [fn(&KvEngine) -> Result<()>; 2] = [flush, |engine| engine.compact(&mut |_| true).map(drop)];
    for work in works {
        let mut failed = 0;
        for number in 1.. {
            let disk = disk.clone_disk();
            let engine = open_small(disk.process());
            assert!(engine.get(b"key").unwrap().is_some());
            disk.reset_calls();
            disk.fail_at(number, Fault::Enospc);
            let done = work(&engine);
            disk.clear_faults();
            if done.is_ok() && disk.calls() < number {
                break;
            }
            failed += u64::from(done.is_err());
            assert_eq!(strays(&disk), [FileId(0); 0], "{number} {done:?}");
        }
        assert!(failed > 5);
    }
}

/// Writes many more changes than a bulk holds in memory.
fn fill(bulk: &mut dyn Bulk) {
    for number in 0..100_u32 {
        let (key, value) = (format!("bulk{:03}", number * 37 % 100).into(), vec![7; 200].into());
        bulk.apply(crate::types::Op::Set { key, value, expires: None }).unwrap();
    }
}

#[test]
fn the_tables_of_a_bulk_whose_process_died_are_removed_by_who_writes_the_next() {
    let disk = SimFs::new();
    let (first, mut model) = (open(&disk), BTreeMap::new());
    (1..4).for_each(|seed| write_run(&first, &Db::from_engine(first.clone()), &mut model, seed));
    let process = disk.process();
    let dying = open_small(Arc::clone(&process));
    let mut bulk = dying.bulk().unwrap();
    fill(&mut *bulk);
    assert!(strays(&disk).len() > 2);
    flush(&first).unwrap();
    assert!(first.shared.log.try_merge().unwrap().is_none());
    assert!(strays(&disk).len() > 2, "who flushes leaves the tables of a bulk that goes on alone");
    process.kill();
    drop(bulk);
    drop(dying);
    let works: [fn(&KvEngine); 3] = [
        |engine| assert!(engine.compact(&mut |_| true).is_ok()),
        merge_all,
        |engine| {
            let mut bulk = engine.bulk().unwrap();
            let op = |key: &str| crate::types::Op::Delete { key: key.into() };
            bulk.apply(op("a")).unwrap();
            (0..40).for_each(|n| bulk.apply(op(&format!("absent {n:040}"))).unwrap());
            bulk.commit().unwrap();
        },
    ];
    for work in works {
        let disk = disk.clone_disk();
        assert!(strays(&disk).len() > 2);
        let engine = open_small(disk.process());
        work(&engine);
        assert_eq!(strays(&disk), [FileId(0); 0]);
        assert_same(&engine, &model);
    }
}

/// Whatever call of a commit fails: what is not committed takes no room.
#[test]
fn a_bulk_that_is_not_committed_leaves_no_table() {
    let disk = SimFs::new();
    let (first, mut model) = (open(&disk), BTreeMap::new());
    let db = Db::from_engine(first.clone());
    (1..4).for_each(|seed| write_run(&first, &db, &mut model, seed));
    db.set("key", "in the log").unwrap();
    drop((first, db));
    let mut failed = 0;
    for number in 0.. {
        let disk = disk.clone_disk();
        let engine = open_small(disk.process());
        let mut bulk = engine.bulk().unwrap();
        fill(&mut *bulk);
        assert!(strays(&disk).len() > 2);
        disk.reset_calls();
        disk.fail_at(number, Fault::Enospc);
        let commits = number > 0;
        let done = commits.then(|| bulk.commit()).is_some_and(|done| done.is_ok());
        disk.clear_faults();
        if done && disk.calls() < number {
            break;
        }
        failed += u64::from(!done);
        assert_eq!(strays(&disk), [FileId(0); 0], "call {number}: {done}");
    }
    assert!(failed > 20, "{failed}");
}

/// Sets keys in order that last for `time`, and flushes them to a run of their own.
fn write_expiring(engine: &Arc<KvEngine>, keys: std::ops::Range<u64>, time: Duration) {
    let db = Db::from_engine(engine.clone());
    let mut bulk = db.begin().unwrap();
    for number in keys {
        let options = SetOptions::new().ttl(time);
        bulk.set_with(format!("{number:08}"), vec![7; 100], &options).unwrap();
    }
    bulk.commit().unwrap();
    flush(engine).unwrap();
}

/// Records in all tables, and bytes of them.
fn stored(engine: &KvEngine) -> (u64, u64) {
    let manifest = engine.shared.log.manifest().unwrap();
    let tables = || manifest.runs.iter().flatten();
    (tables().map(RunTable::entries).sum(), tables().map(|listed| listed.table.len).sum())
}

#[test]
fn a_compaction_gives_the_room_of_everything_that_expired_back_whichever_run_it_is_in() {
    // The first number of each run, oldest first, and whether it expires: with neighbours that do not, before and behind.
    let runs: [&[(u64, bool)]; 6] = [
        &[(0, true), (1_000, false)],
        &[(1_000, true), (0, false)],
        &[(0, true), (2_000, true), (1_000, false)],
        &[(0, true), (500, false)],
        &[(0, false), (500, true)],
        &[(0, false), (2_000, false), (1_000, true)],
    ];
    for runs in runs {
        let disk = SimFs::new();
        let engine = open(&disk);
        for (first, expires) in runs {
            let time = if *expires { 10 * SECOND } else { Duration::from_hours(1) };
            write_expiring(&engine, *first..first + 700, time);
        }
        disk.pass(20 * SECOND);
        let live = engine.stats().unwrap().keys;
        engine.compact(&mut |_| true).unwrap();
        assert_eq!((stored(&engine).0, engine.stats().unwrap().keys), (live, live), "{runs:?}");
        assert_eq!(open(&disk).stats().unwrap().keys, live);
    }
}

fn merge_what_is_due(engine: &KvEngine) {
    let right = engine.shared.log.merge().unwrap();
    while compact::merge_slice(&right, Occasion::NONE, MANNER, &mut || true).unwrap() {}
}

/// At most twice the 3,000 records that count were stored, and at most so many bytes written for each that came in.
fn assert_bounds(engine: &KvEngine, most_stored: u64, most_written: u64) {
    assert!(most_stored <= 2 * 10 * 300, "{most_stored} records of which 3,000 count");
    let totals = engine.shared.log.manifest().unwrap().totals;
    assert!(totals.table_bytes <= most_written * totals.user_bytes, "{totals:?}");
}

/// A queue: keys come in order and expire in order.
#[test]
fn the_room_of_a_queue_whose_entries_expire_is_bounded() {
    let disk = SimFs::new();
    let engine = open(&disk);
    let mut most = 0;
    for round in 0..100_u64 {
        write_expiring(&engine, round * 300..(round + 1) * 300, 10 * SECOND);
        disk.pass(SECOND);
        merge_what_is_due(&engine);
        assert!(engine.stats().unwrap().keys >= 300 * (round + 1).min(9));
        most = most.max(stored(&engine).0);
    }
    assert_bounds(&engine, most, 3);
}

/// Keys in no order that expire, beside some that stay.
#[test]
fn the_room_of_entries_that_expire_in_no_order_is_bounded() {
    let disk = SimFs::new();
    let engine = open(&disk);
    let db = Db::from_engine(engine.clone());
    let mut most = 0;
    for round in 0..60_u64 {
        let mut batch = db.begin().unwrap();
        for number in 0..300 {
            let key = (round * 300 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
            let options = SetOptions::new().ttl(10 * SECOND);
            batch.set_with(key, vec![7; 100], &options).unwrap();
        }
        batch.commit().unwrap();
        flush(&engine).unwrap();
        disk.pass(SECOND);
        merge_what_is_due(&engine);
        most = most.max(stored(&engine).0);
    }
    assert_bounds(&engine, most, 8);
}

/// One run: it is written anew piece by piece, and who stops in between has not worked for nothing.
#[test]
fn a_compaction_of_one_run_that_is_stopped_keeps_what_it_did() {
    let disk = SimFs::new();
    let engine = open_small(disk.process());
    let db = Db::from_engine(engine.clone());
    for (name, time) in [("long", 3_600), ("short", 10)] {
        let mut transaction = db.begin().unwrap();
        for number in 0..2_000 {
            let options = SetOptions::new().ttl(time * SECOND);
            transaction.set_with(format!("{number:08}{name}"), vec![7; 100], &options).unwrap();
        }
        transaction.commit().unwrap();
    }
    engine.compact(&mut |_| true).unwrap();
    assert_eq!((engine.shared.log.manifest().unwrap().runs.len(), stored(&engine).0), (1, 4_000));
    disk.pass(20 * SECOND);
    let before = stored(&engine).1;
    let mut most_left = u64::MAX;
    let stopped = engine.compact(&mut |_| {
        most_left = stored(&engine).0;
        most_left > 3_000
    });
    assert!(matches!(stopped, Err(crate::Error::Interrupted)), "{stopped:?}");
    assert!((2_000..=3_000).contains(&stored(&engine).0));
    assert_eq!(strays(&disk), [FileId(0); 0]);
    engine.compact(&mut |_| true).unwrap();
    assert_eq!((stored(&engine).0, engine.stats().unwrap().keys), (2_000, 2_000));
    assert!(stored(&engine).1 < before * 6 / 10);
}

#[test]
fn a_table_in_which_all_has_expired_is_dropped_unread_unless_it_hides_something() {
    /// Keys, and how many seconds they last.
    type Written = (std::ops::Range<u64>, u32);
    let slices = |engine: &KvEngine| {
        let right = engine.shared.log.merge().unwrap();
        while compact::merge_slice(&right, Occasion::NONE, MANNER, &mut || true).unwrap() {}
        (stored(engine).0, right.manifest().unwrap().totals.table_bytes)
    };
    // Each outdates a little of the one before: not enough for a merge.
    let runs: [(u64, &[Written], u64); 4] = [
        (0, &[(0..500, 10), (490..900, 10)], 0),
        (1_000, &[(0..1_000, 3_600), (1_000..1_100, 10)], 1_000),
        (990, &[(0..1_000, 3_600), (500..510, 10)], 1_010),
        (990, &[(0..1_000, 3_600), (500..510, 3_600), (500..510, 10)], 1_020),
    ];
    for (keys, runs, expected) in runs {
        let disk = SimFs::new();
        let engine = open(&disk);
        for (keys, time) in runs {
            write_expiring(&engine, keys.clone(), *time * SECOND);
        }
        let (_, written) = slices(&engine);
        disk.pass(20 * SECOND);
        assert_eq!(slices(&engine), (expected, written), "{runs:?}");
        for engine in [&engine, &open(&disk)] {
            assert_eq!(engine.stats().unwrap().keys, keys, "{runs:?}");
        }
        engine.compact(&mut |_| true).unwrap();
        assert_eq!((stored(&engine).0, engine.stats().unwrap().keys), (keys, keys), "{runs:?}");
    }
}
